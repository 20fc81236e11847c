//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::backup::command::BackupCommand;
use crate::tools::cluster::ClusterCommand;
use crate::tools::doctor::DoctorArgs;
use crate::tools::load::LoadArgs;
use crate::tools::log::LogCommand;

/// A distributed cache that speaks Redis's protocol and HTTP.
#[derive(Debug, Parser)]
#[command(name = "hypercache", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a member: alone, or in a cluster with --join
    Server(Box<ServerArgs>),
    /// Check or show a configuration
    Config {
        /// Check or show.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make, check and restore backups of a member's data
    Backup {
        /// Which of these.
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Show and steer a cluster, or recover what is left of it
    Cluster {
        /// Which of these.
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Ask every member of a cluster, and say what is wrong, how bad it is, and where it is written what to do. Ends
    /// with 0: nothing is wrong, 1: something is, 2: refused, 3: no member answered
    Doctor(DoctorArgs),
    /// Ask servers as many users would, and tell how long they took. Ends with 0: all was answered, 1: there were
    /// errors that were not asked for, or requests that were too late, 2: refused, 3: no server answered
    Load(Box<LoadArgs>),
    /// Read, check, repair or export the log and snapshots of a data directory
    Log {
        /// What to do with it.
        #[command(subcommand)]
        command: LogCommand,
    },
}

/// What can be done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a file and report everything that is wrong with it
    Check {
        /// The YAML file
        file: PathBuf,
    },
    /// Print the effective values (defaults, file, variables and flags) as YAML, secrets hidden
    Show(Box<ServerArgs>),
}

/// The flags of `server`. A flag beats its HYPERCACHE_… variable, which beats the file.
///
/// Values are texts here: flags, variables and file are checked by the same code, so that the
/// same mistake has the same words wherever it was made.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArgs {
    /// The YAML file; config.example.yaml shows every key [env: HYPERCACHE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Port of Redis's protocol, 8080 unless set [env: HYPERCACHE_RESP_PORT]
    #[arg(long, value_name = "PORT")]
    pub resp_port: Option<String>,
    /// Port on which cluster-mode clients are sent to a key's member, none unless set [env: HYPERCACHE_CLUSTER_PORT]
    #[arg(long, value_name = "PORT")]
    pub cluster_port: Option<String>,
    /// Port of HTTP, 9080 unless set [env: HYPERCACHE_HTTP_PORT]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<String>,
    /// Port between members (TCP and UDP), 7946 unless set [env: HYPERCACHE_GOSSIP_PORT]
    #[arg(long, value_name = "PORT")]
    pub gossip_port: Option<String>,
    /// IP address that every port listens on, 127.0.0.1 unless set [env: HYPERCACHE_BIND]
    #[arg(long, value_name = "ADDR")]
    pub bind: Option<String>,
    /// Directory for what must survive a restart [env: HYPERCACHE_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// This member's name, the host name unless set [env: HYPERCACHE_NODE_ID]
    #[arg(long, value_name = "NAME")]
    pub node_id: Option<String>,
    /// Other members' gossip addresses [env: HYPERCACHE_JOIN]
    #[arg(long, value_name = "HOST:PORT[,…]")]
    pub join: Option<String>,
    /// How many members make a new cluster; 0: only join one that exists
    /// [env: HYPERCACHE_BOOTSTRAP_MEMBERS]
    #[arg(long, value_name = "N")]
    pub bootstrap_members: Option<String>,
    /// Host under which others reach this member [env: HYPERCACHE_ADVERTISE]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// I/O threads, one per core unless set [env: HYPERCACHE_THREADS]
    #[arg(long, value_name = "N")]
    pub threads: Option<String>,
}

impl ServerArgs {
    /// The value of a flag of the schema.
    pub(super) fn value(&self, flag: &str) -> Option<&str> {
        let value = match flag {
            "--resp-port" => &self.resp_port,
            "--cluster-port" => &self.cluster_port,
            "--http-port" => &self.http_port,
            "--gossip-port" => &self.gossip_port,
            "--bind" => &self.bind,
            "--data-dir" => &self.data_dir,
            "--node-id" => &self.node_id,
            "--join" => &self.join,
            "--bootstrap-members" => &self.bootstrap_members,
            "--advertise" => &self.advertise,
            "--threads" => &self.threads,
            _ => &None,
        };
        value.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::KEYS;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_schema_is_a_flag_and_reaches_its_key() {
        for flag in KEYS.iter().filter_map(|key| key.flag) {
            let cli = Cli::try_parse_from(["hypercache", "server", flag, "value"]).unwrap();
            let Command::Server(args) = cli.command else { panic!("not the server") };
            assert_eq!(args.value(flag), Some("value"), "{flag}");
        }
    }

    #[test]
    fn every_flag_names_its_variable_in_the_help() {
        let mut command = Cli::command();
        let server = command.find_subcommand_mut("server").unwrap();
        let help = server.render_long_help().to_string();
        for key in KEYS.iter().filter(|key| key.flag.is_some()) {
            let variable = key.variable.unwrap();
            assert!(help.contains(&format!("[env: {variable}]")), "{variable} in\n{help}");
        }
    }
}
