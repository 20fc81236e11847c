//! The command line of `hypercache cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::units::parse_size;

/// What can be done with a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// How the cluster is. Ends with 0: all is well, 1: it is not, 2: refused, 3: no member answered
    Status(ShowArgs),
    /// What is to be moved, and the least possible. Ends with 1 while something is
    Plan(WatchArgs),
    /// The members, their weights and slots
    Members(ShowArgs),
    /// Have a member give all its slots away; it stays a member
    Drain(DrainArgs),
    /// Forget a member that never comes back, so that nobody waits for it. Says what is lost, and does it with
    /// --yes. Ends with 1 while slots wait for others
    Forget(ForgetArgs),
    /// Give members other weights than they say themselves, or show them
    Weights(WeightsArgs),
    /// Bound what goes from one member to another one in a second while slots are on their way
    Rate(RateArgs),
    /// Begin to move no more slots until `resume`
    Pause(ShowArgs),
    /// Move slots again
    Resume(WatchArgs),
    /// Give up what is under way: slots stay where they are, until `resume`
    Abort(ShowArgs),
    /// Let another voter lead
    TransferLeader(LeaderArgs),
    /// When the majority of voters is gone for good: make the member of this data directory, which is
    /// down, the only one of a new cluster with what it has. Says what is lost, and does it with --yes
    Recover(RecoverArgs),
}

/// Whom to ask, and how to print.
#[derive(Debug, Clone, Default, Args)]
pub struct Ask {
    /// A member's HTTP address, 127.0.0.1:9080 unless set [env: HYPERCACHE_MEMBER]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// The password (auth.password); better in the environment [env: HYPERCACHE_PASSWORD]
    #[arg(long, value_name = "PASSWORD")]
    pub token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of what only asks.
#[derive(Debug, Clone, Default, Args)]
pub struct ShowArgs {
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
}

/// Whether to wait.
#[derive(Debug, Clone, Default, Args)]
pub struct Watch {
    /// Show the progress until all slots are where they should be
    #[arg(long)]
    pub watch: bool,
    /// How long to watch, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub timeout: u64,
}

/// Flags of what moves slots.
#[derive(Debug, Clone, Default, Args)]
pub struct WatchArgs {
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
    /// Whether to wait.
    #[command(flatten)]
    pub watch: Watch,
}

/// Flags of `cluster drain`.
#[derive(Debug, Clone, Default, Args)]
pub struct DrainArgs {
    /// The member's name
    pub member: String,
    /// It may own slots again
    #[arg(long)]
    pub cancel: bool,
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
    /// Whether to wait.
    #[command(flatten)]
    pub watch: Watch,
}

/// Flags of `cluster forget`.
#[derive(Debug, Clone, Default, Args)]
pub struct ForgetArgs {
    /// The member's name
    pub member: String,
    /// Do it. Without it, only what would become of its slots is told
    #[arg(long)]
    pub yes: bool,
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
}

/// Flags of `cluster weights`.
#[derive(Debug, Clone, Default, Args)]
pub struct WeightsArgs {
    /// A member and its weight, 1 to 100, or '-' for what it says itself. None: they are shown
    #[arg(value_name = "MEMBER=WEIGHT", value_parser = weight)]
    pub weights: Vec<(String, Option<u32>)>,
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
    /// Whether to wait.
    #[command(flatten)]
    pub watch: Watch,
}

/// Flags of `cluster rate`.
#[derive(Debug, Clone, Default, Args)]
pub struct RateArgs {
    /// Bytes a second, such as 64MB, or '-' for what each member is configured with (cluster.move_rate)
    #[arg(value_name = "SIZE", value_parser = rate)]
    pub rate: Rate,
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
}

/// A rate; `None`: as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate(pub Option<u64>);

/// Flags of `cluster transfer-leader`.
#[derive(Debug, Clone, Default, Args)]
pub struct LeaderArgs {
    /// The name of the voter that shall lead; any other one unless given
    pub to: Option<String>,
    /// Whom.
    #[command(flatten)]
    pub ask: Ask,
}

/// Flags of `cluster recover`.
#[derive(Debug, Clone, Default, Args)]
pub struct RecoverArgs {
    /// The data directory (node.data_dir) of the member that survives
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Do it. Without it, only what would be lost is told
    #[arg(long)]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn weight(text: &str) -> Result<(String, Option<u32>), String> {
    let wrong = || format!("'{text}' is not MEMBER=WEIGHT with a weight of 1 to 100, or '-'");
    let (name, weight) = text.rsplit_once('=').ok_or_else(wrong)?;
    match weight {
        _ if name.is_empty() => Err(wrong()),
        "-" => Ok((name.to_owned(), None)),
        weight => Ok((name.to_owned(), Some(weight.parse().map_err(|_| wrong())?))),
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "-" => Ok(Rate(None)),
        text => Ok(Rate(Some(parse_size(text)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_rates_are_read_and_what_is_wrong_is_named() {
        assert_eq!(weight("m-0=3"), Ok(("m-0".into(), Some(3))));
        assert_eq!(weight("a=b=-"), Ok(("a=b".into(), None)));
        for wrong in ["m-0", "=3", "m-0=", "m-0=x", "m-0=-1"] {
            assert!(weight(wrong).unwrap_err().starts_with(&format!("'{wrong}' is not")));
        }
        assert_eq!(rate("64MB"), Ok(Rate(Some(64 << 20))));
        assert_eq!(rate("-"), Ok(Rate(None)));
        assert!(rate("fast").is_err());
    }
}
