//! Configuration: YAML file, HYPERCACHE_… variables and flags, checked as a whole.
//!
//! [`load`] lays the layers over one another (default < file < variable < flag), checks every key
//! and returns the typed [`Config`], or every mistake at once: each with the key's path, the line
//! and column (or the variable or flag), and what would be right. The keys themselves are data in
//! [`schema`]; `config.example.yaml` shows them all.

mod cli;
mod error;
mod persistence;
mod read;
pub mod schema;
mod secret;
mod show;
mod source;
mod stores;
#[cfg(test)]
mod tests;
mod tree;
pub mod units;
mod values;

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hypercache_core::keyspace::EventClasses;
use hypercache_core::store::StorePolicy;
use hypercache_trace::Ratio;

use crate::backup;
use crate::server::stats::Thresholds;

pub use cli::{Cli, Command, ConfigCommand, ServerArgs};
pub use error::{Error, Place, Problem};
pub use secret::Secret;
pub use values::log_level;

/// The effective configuration of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This member.
    pub node: Node,
    /// Its sockets.
    pub network: Network,
    /// The cluster that it belongs to.
    pub cluster: Cluster,
    /// The stores of the file; the first is `default`, number 0, with the policies of `cache` and
    /// `persistence`.
    pub stores: Vec<StorePolicy>,
    /// How often expired keys are looked for, in milliseconds.
    pub cleanup_interval_ms: u64,
    /// What happens to keys that subscribers hear of.
    pub keyspace_events: EventClasses,
    /// Where backups go; `None`: none can be made.
    pub backup: Option<backup::Configured>,
    /// What scripts may.
    pub script: Script,
    /// Who may connect.
    pub auth: Auth,
    /// What is logged.
    pub log: Log,
    /// Which commands the slow log, and those of what is large, keep.
    pub slowlog: SlowLog,
    /// Where traces go.
    pub telemetry: Telemetry,
}

/// This member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub id: String,
    /// Where it keeps what must survive a restart; `None`: nothing is on disk.
    pub data_dir: Option<PathBuf>,
    /// The failure zone that it stands in.
    pub zone: Option<String>,
    /// Its share of slots against the other members' weights.
    pub weight: u32,
    /// I/O threads.
    pub threads: usize,
    /// What its process may hold at most in bytes, whatever the system allows; `None`: only that.
    pub memory_limit_bytes: Option<u64>,
}

/// Sockets and their bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The address that every port listens on.
    pub bind: IpAddr,
    /// The host under which other members and clients reach this one.
    pub advertise: String,
    /// Redis's protocol; 0: the system picks a free port.
    pub resp_port: u16,
    /// Redis's protocol as a member of a Redis Cluster speaks it: who asks for a key of another member is sent there.
    /// `None`: nowhere; 0: the system picks a free port.
    pub cluster_port: Option<u16>,
    /// HTTP; 0: the system picks a free port.
    pub http_port: u16,
    /// Gossip (UDP) and the protocol between members (TCP); 0: the system picks a free port.
    pub gossip_port: u16,
    /// The most client connections at once.
    pub max_connections: usize,
    /// How long a connection may be idle, in milliseconds; 0: for ever.
    pub idle_timeout_ms: u64,
    /// How long a request to another member may take, in milliseconds.
    pub request_timeout_ms: u64,
}

/// The cluster that a member belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Gossip addresses (`HOST:PORT`) of members; may hold this member's own. Empty: this member
    /// is a cluster of its own.
    pub join: Vec<String>,
    /// How many members make a new cluster together; 0: only join one that exists.
    pub bootstrap_members: u32,
    /// The bytes of slots that this member sends to another one in a second at most, while they are on
    /// their way; unless the cluster's table says otherwise.
    pub move_bytes_per_second: u64,
    /// In how many milliseconds this member asks the other owners of all its slots once whether they hold the same;
    /// 0: never.
    pub check_interval_ms: u64,
    /// The newest version in which this member speaks with others, while the cluster asks for no newer one.
    pub max_protocol: u16,
    /// What members prove to each other.
    pub secret: Option<Secret>,
}

/// What scripts may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How long a script may run, in milliseconds; twice that once it has written.
    pub time_limit_ms: u64,
    /// What one may take while it runs.
    pub memory_bytes: usize,
}

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The password of the default user; `None`: no password is asked for.
    pub password: Option<Secret>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives such as `info,hypercache::raft=debug`.
    pub level: String,
}

/// Which commands the slow log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowLog {
    /// Those that take at least so many microseconds; -1: none.
    pub slower_than_us: i64,
    /// So many of them.
    pub max_len: usize,
    /// Commands of at least so many bytes are kept too; -1: none.
    pub request_larger_than_bytes: i64,
    /// Commands whose replies have at least so many bytes are; -1: none.
    pub reply_larger_than_bytes: i64,
    /// So many of each of these.
    pub large_max_len: usize,
    /// What takes at least so many milliseconds goes to the latency monitor; 0: nothing.
    pub latency_threshold_ms: u64,
}

impl SlowLog {
    /// The same for the server.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            slowlog_us: u64::try_from(self.slower_than_us).ok(),
            slowlog_entries: self.max_len,
            request_bytes: u64::try_from(self.request_larger_than_bytes).ok(),
            request_entries: self.large_max_len,
            reply_bytes: u64::try_from(self.reply_larger_than_bytes).ok(),
            reply_entries: self.large_max_len,
            latency_ms: self.latency_threshold_ms,
            ..Thresholds::default()
        }
    }
}

/// Where traces and metrics go, and what is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The OTLP/HTTP endpoint; `None`: no spans are exported.
    pub otlp_endpoint: Option<String>,
    /// The part of requests that have spans, of those that do not say so themselves.
    pub trace_sample_ratio: Ratio,
    /// The OTLP/HTTP endpoint of metrics; `None`: they are told at `/metrics` alone.
    pub otlp_metrics_endpoint: Option<String>,
    /// How often metrics are sent there.
    pub otlp_metrics_interval_ms: u64,
    /// The service's name in traces and metrics that are sent.
    pub service_name: String,
    /// Whether requests are counted and timed by command family and store.
    pub request_metrics: bool,
    /// Whether buckets of these times tell the trace of the last request in them that has spans.
    pub exemplars: bool,
}

impl Config {
    /// The configuration as YAML that can be read again, secrets hidden.
    ///
    /// # Errors
    /// [`Error::Unwritable`], which no configuration is known to bring about.
    pub fn to_yaml(&self) -> Result<String, Error> {
        show::to_yaml(self)
    }
}

/// A file larger than this is no configuration.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads the effective configuration: defaults, the file that `--config` or HYPERCACHE_CONFIG
/// names, variables by `env`, flags.
///
/// # Errors
/// An unreadable file, or every key and value that is wrong.
pub fn load(args: &ServerArgs, env: impl Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let named = || env(schema::FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
    let file = args.config.clone().or_else(named);
    let text = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
    from_text(&text, file, args, &env)
}

/// Checks a file alone: neither variables nor flags are looked at.
///
/// # Errors
/// As [`load`].
pub fn check(file: &Path) -> Result<Config, Error> {
    let text = read_file(file)?;
    from_text(&text, Some(file.to_owned()), &ServerArgs::default(), &|_| None)
}

/// Carries out `hypercache config …` and returns what is to be printed.
///
/// # Errors
/// As [`load`].
pub fn run_command(
    command: &ConfigCommand,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    match command {
        ConfigCommand::Check { file } => {
            check(file)?;
            Ok(format!("{}: ok\n", file.display()))
        }
        ConfigCommand::Show(args) => load(args, env)?.to_yaml(),
    }
}

fn read_file(file: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { file: file.to_owned(), source };
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    let mut text = String::new();
    opened.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(std::io::Error::other(format!(
            "longer than {MAX_FILE_BYTES} bytes"
        ))));
    }
    Ok(text)
}

fn from_text(
    text: &str,
    file: Option<PathBuf>,
    args: &ServerArgs,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Error> {
    let tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(problem) => return Err(Error::Invalid { file, problems: vec![problem] }),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut source = source::Source::new(&tree, args, env);
    let config = read::read(&mut source, &host_name(), cores);
    let problems = source.into_problems();
    if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { file, problems }) }
}

/// This machine's name, as the kernel has it.
fn host_name() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the pointer and length describe `buffer`, which outlives the call.
    let result = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len()) };
    let end = buffer.iter().position(|b| *b == 0).unwrap_or(buffer.len());
    match (result, std::str::from_utf8(&buffer[..end])) {
        (0, Ok(name)) if !name.is_empty() => name.to_owned(),
        _ => "localhost".into(),
    }
}
