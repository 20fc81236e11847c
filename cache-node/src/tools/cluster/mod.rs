//! `hypercache cluster …`: a cluster as people run it. All but `recover` asks a member over HTTP
//! (docs/operations/cluster.md); `recover` works on a data directory.
//!
//! | file | what it is about |
//! |---|---|
//! | `args` | the command line |
//! | `client` | asks a member |
//! | `show` | what it says, as tables |
//! | `recover` | a new cluster from what one member has |

pub(super) mod args;
pub(super) mod client;
mod recover;
mod show;

pub use args::ClusterCommand;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use args::{Ask, Watch};
use client::Client;

/// How often the plan is asked for while it is watched.
const LOOK: Duration = Duration::from_millis(500);
/// How long no member may answer while it is watched: another one may have to lead first.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No member answered, or none that could.
    #[error("{0}")]
    Unreachable(String),
    /// It cannot be done as it was asked for.
    #[error("{0}")]
    Refused(String),
    /// A data directory cannot be used.
    #[error(transparent)]
    Data(#[from] crate::raft::Error),
}

/// How a command ended that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// All is well.
    Well,
    /// It was told, and it is not well, or not done yet.
    NotWell,
}

/// Does what a command asks for. The process's exit code: 0 all is well, or it is done; 1 it was told that it
/// is not, or is not yet; 2 it was refused; 3 no member answered.
pub fn run(command: &ClusterCommand, env: impl Fn(&str) -> Option<String>) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(carry_out(command, env)),
        Err(error) => Err(Error::Refused(format!("threads: {error}"))),
    };
    match done {
        Ok(Ended::Well) => 0,
        Ok(Ended::NotWell) => 1,
        Err(error) => {
            eprintln!("hypercache: {error}");
            exit_code(&error)
        }
    }
}

/// The process's exit code when a command was not carried out.
pub(super) fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Refused(_) | Error::Data(_) => 2,
        Error::Unreachable(_) => 3,
    }
}

async fn carry_out(
    command: &ClusterCommand,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Ended, Error> {
    let client = |ask: &Ask| Client::new(ask, &env);
    match command {
        ClusterCommand::Status(args) => {
            let status = client(&args.ask)?.ask("GET", "/api/admin/cluster", None).await?;
            print(&args.ask, &status, show::status);
            Ok(if show::is_well(&status) { Ended::Well } else { Ended::NotWell })
        }
        ClusterCommand::Members(args) => {
            let status = client(&args.ask)?.ask("GET", "/api/admin/cluster", None).await?;
            print(&args.ask, &status["members"], |_| show::members(&status));
            Ok(Ended::Well)
        }
        ClusterCommand::Plan(args) => {
            let client = client(&args.ask)?;
            let plan = client.ask("GET", "/api/admin/plan", None).await?;
            match args.watch.watch {
                true => watch(&client, &args.ask, &args.watch, plan).await,
                false => {
                    print(&args.ask, &plan, show::plan);
                    Ok(if plan["state"] == "Done" { Ended::Well } else { Ended::NotWell })
                }
            }
        }
        ClusterCommand::Drain(args) => {
            let method = if args.cancel { "DELETE" } else { "POST" };
            let path = format!("/api/admin/members/{}/drain", escaped(&args.member));
            steer(&client(&args.ask)?, &args.ask, Some(&args.watch), method, &path, None).await
        }
        ClusterCommand::Forget(args) => {
            let path = format!("/api/admin/members/{}/forget", escaped(&args.member));
            let path = format!("{path}?dry_run={}", !args.yes);
            let done = client(&args.ask)?.ask("POST", &path, None).await?;
            print(&args.ask, &done, |done| show::forgotten(done, &args.member, args.yes));
            Ok(if done["waiting"] == 0 { Ended::Well } else { Ended::NotWell })
        }
        ClusterCommand::Weights(args) if args.weights.is_empty() => {
            let plan = client(&args.ask)?.ask("GET", "/api/admin/plan", None).await?;
            print(&args.ask, &plan["members"], |_| show::weights(&plan));
            Ok(Ended::Well)
        }
        ClusterCommand::Weights(args) => {
            let weights: BTreeMap<_, _> = args.weights.iter().cloned().collect();
            let body = Some(json!({ "weights": weights }));
            let client = client(&args.ask)?;
            steer(&client, &args.ask, Some(&args.watch), "PUT", "/api/admin/weights", body).await
        }
        ClusterCommand::Rate(args) => {
            let body = Some(json!({ "max_bytes_per_second": args.rate.0 }));
            let client = client(&args.ask)?;
            steer(&client, &args.ask, None, "PUT", "/api/admin/rebalance", body).await
        }
        ClusterCommand::Pause(args) => {
            let path = "/api/admin/rebalance/pause";
            steer(&client(&args.ask)?, &args.ask, None, "POST", path, None).await
        }
        ClusterCommand::Resume(args) => {
            let path = "/api/admin/rebalance/resume";
            steer(&client(&args.ask)?, &args.ask, Some(&args.watch), "POST", path, None).await
        }
        ClusterCommand::Abort(args) => {
            let path = "/api/admin/rebalance/abort";
            steer(&client(&args.ask)?, &args.ask, None, "POST", path, None).await
        }
        ClusterCommand::TransferLeader(args) => {
            let body = Some(json!({ "to": args.to }));
            let done = client(&args.ask)?.ask("POST", "/api/admin/leader", body).await?;
            print(&args.ask, &done, |done| {
                format!("{} leads\n", done["leader"].as_str().unwrap_or("?"))
            });
            Ok(Ended::Well)
        }
        ClusterCommand::Recover(args) => recover::run(args).await,
    }
}

/// Changes how slots move, prints the plan after that, and watches it where that is asked for.
async fn steer(
    client: &Client,
    ask: &Ask,
    watching: Option<&Watch>,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Ended, Error> {
    let plan = client.ask(method, path, body).await?;
    match watching.filter(|watching| watching.watch) {
        Some(watching) => watch(client, ask, watching, plan).await,
        None => {
            print(ask, &plan, show::plan);
            Ok(Ended::Well)
        }
    }
}

/// Shows how far a plan is until there is nothing to do, nothing is done, or the time is over.
async fn watch(
    client: &Client,
    ask: &Ask,
    watching: &Watch,
    mut plan: Value,
) -> Result<Ended, Error> {
    let until = Instant::now() + Duration::from_secs(watching.timeout);
    let (mut most, mut heard, mut told) = (0, Instant::now(), String::new());
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        most = most.max(show::left(&plan));
        let line = match ask.json {
            true => plan.to_string(),
            false => show::progress(&plan, most),
        };
        if line != told {
            match is_terminal && !ask.json {
                true => write(&format!("\r{line}\x1b[K")),
                false => write(&format!("{line}\n")),
            }
            told = line;
        }
        let state = plan["state"].as_str().unwrap_or_default();
        if state != "Moving" || Instant::now() >= until {
            let end = match state {
                "Done" => "all slots are where they should be",
                "Paused" => "paused: `hypercache cluster resume` goes on",
                _ => "it goes on; this was as long as it was to be watched",
            };
            if !ask.json {
                write(&format!("{}{end}\n", if is_terminal { "\n" } else { "" }));
            }
            return Ok(if state == "Done" { Ended::Well } else { Ended::NotWell });
        }
        tokio::time::sleep(LOOK).await;
        match client.ask("GET", "/api/admin/plan", None).await {
            Ok(next) => (plan, heard) = (next, Instant::now()),
            Err(error @ Error::Unreachable(_)) if heard.elapsed() >= PATIENCE => return Err(error),
            Err(Error::Unreachable(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Prints what was said, for programs or for people.
fn print(ask: &Ask, value: &Value, show: impl Fn(&Value) -> String) {
    match ask.json {
        true => write(&format!("{value}\n")),
        false => write(&show(value)),
    }
}

/// Nobody may read it any more, which is no error.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    name.bytes().fold(String::new(), |mut text, byte| {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => text.push(char::from(byte)),
            false => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_stays_one_part_of_a_path() {
        assert_eq!(super::escaped("m-0.x"), "m-0.x");
        assert_eq!(super::escaped("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
