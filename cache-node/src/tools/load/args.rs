//! The command line of `hypercache load`.

use std::time::Duration;

use clap::Args;

use super::command::Command;
use super::fault::Fault;
use super::generator::Mix;
use super::keys::{Keys, MOST_SKEW};
use super::random::Weighted;
use super::setup::Setup;
use super::sizes::{Range, Sizes, parse_lifetimes, parse_sizes};
use super::wording::Wording;
use crate::config::units::parse_duration;

/// Flags of `load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The servers; connections are dealt out to them in turn. 127.0.0.1:8080 unless given, with --http 127.0.0.1:9080
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub targets: Vec<String>,
    /// Speak HTTP (/api/cache) rather than Redis's protocol
    #[arg(long)]
    pub http: bool,
    /// Send each command to the owner of its key's slot, and follow MOVED and ASK
    #[arg(long, conflicts_with = "http")]
    pub cluster: bool,
    /// The password (auth.password); better in the environment [env: HYPERCACHE_PASSWORD]
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,

    /// Open loop: requests a second, of all connections together. Latencies count from when a request should have
    /// been sent. Without it each connection asks again as soon as it is answered (closed loop)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub rate: Option<u64>,
    /// How long to ask; 10s unless --requests is given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many requests to send
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub requests: Option<u64>,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub connections: u32,
    /// Threads that carry them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Requests of a connection that may be without an answer; 1 unless set, with --rate 128
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: Option<u32>,
    /// With --rate: so many requests may be late, of all connections together; what is beyond is not sent, and reported
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub backlog: u64,
    /// How long an answer, or a connection, may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,

    /// How many keys there are
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub keys: u64,
    /// Few keys are wanted much more than the rest, by Zipf's law with this exponent, such as 0.99. Without it all
    /// are wanted as often
    #[arg(long, value_name = "EXPONENT", value_parser = skew)]
    pub zipf: Option<f64>,
    /// What keys begin with; of several, a key has always the same. A prefix can pick a store
    #[arg(long, value_name = "PREFIX[,…]", value_delimiter = ',', default_value = "load:")]
    pub prefix: Vec<String>,
    /// The stores that connections use, dealt out by weight: numbers (SELECT), with --http names
    #[arg(long, value_name = "STORE[=WEIGHT][,…]", value_delimiter = ',', value_parser = weighted)]
    pub store: Vec<(String, u64)>,
    /// The sizes of values: 64, 1KB-4KB, or small, sessions, pages, wide
    #[arg(long, value_name = "SIZES", default_value = "64", value_parser = parse_sizes)]
    pub value_size: Sizes,
    /// How long what SET writes lives: 30s or 10s-5m; without it, as the store says
    #[arg(long, value_name = "DURATION[-DURATION]", value_parser = parse_lifetimes)]
    pub ttl: Option<Range>,
    /// The share of SETs that give one, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    pub ttl_share: f64,
    /// Commands and their weights: get, set, del, exists, incr, hset, hget, lpush, lpop, lrange, sadd, sismember, zadd,
    /// zrange; over HTTP get, set, del
    #[arg(long, value_name = "COMMAND[=WEIGHT][,…]", value_delimiter = ',', default_value = "get=80,set=20", value_parser = weighted)]
    pub mix: Vec<(String, u64)>,
    /// First write all keys once (SET), as fast as it goes; that is not in the report
    #[arg(long)]
    pub fill: bool,

    /// The share of requests that are wrong on purpose, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub faults: f64,
    /// How they are wrong: wrong-type, arguments, unknown, option, number, oversized, password, frame. All but the last
    /// two unless given
    #[arg(long, value_name = "FAULT[=WEIGHT][,…]", value_delimiter = ',', value_parser = weighted)]
    pub fault_kinds: Vec<(String, u64)>,

    /// The same seed asks for the same
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Tell nothing while it runs
    #[arg(long)]
    pub quiet: bool,
}

/// Unless `--duration` or `--requests` is given.
const USUAL_DURATION: Duration = Duration::from_secs(10);
/// Unless `--pipeline` is given, in the open loop.
const OPEN_WINDOW: u32 = 128;

fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
    match port.and_then(|port| port.parse::<u16>().ok()) {
        Some(1..) => Ok(text.to_owned()),
        _ => Err(format!("'{text}' is not HOST:PORT, such as 127.0.0.1:8080")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        0 => Err(format!("'{text}' is no time at all: write 1ms at least")),
        ms => Ok(Duration::from_millis(ms)),
    }
}

fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse::<f64>().ok().filter(|skew| *skew > 0.0 && *skew <= MOST_SKEW);
    skew.ok_or_else(|| {
        format!("'{text}' is no exponent above 0 and up to {MOST_SKEW}, such as 0.99")
    })
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is no share from 0 to 1, such as 0.05"))
}

fn weighted(text: &str) -> Result<(String, u64), String> {
    let (name, weight) = match text.split_once('=') {
        Some((name, weight)) => (name, weight.parse::<u32>().ok()),
        None => (text, Some(1)),
    };
    match weight {
        Some(weight) if !name.is_empty() => Ok((name.to_owned(), u64::from(weight))),
        _ => Err(format!("'{text}' is not NAME or NAME=WEIGHT, with a whole number as the weight")),
    }
}

/// Names with weights as what they stand for.
fn known<T: Copy>(
    flag: &str,
    given: &[(String, u64)],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Weighted<T>, String> {
    let read = given.iter().map(|(name, weight)| Ok((parse(name)?, *weight)));
    let read: Vec<(T, u64)> =
        read.collect::<Result<_, String>>().map_err(|e| format!("{flag}: {e}"))?;
    Weighted::new(read).ok_or_else(|| format!("{flag}: all weights are 0: one has to be more"))
}

impl LoadArgs {
    /// The load that is asked for.
    ///
    /// # Errors
    /// What does not go together, and what would.
    pub fn setup(&self, env: impl Fn(&str) -> Option<String>) -> Result<Setup, String> {
        let commands = known("--mix", &self.mix, Command::parse)?;
        let no_http = commands.items().find(|(command, _)| self.http && !command.over_http());
        if let Some((command, _)) = no_http {
            return Err(format!(
                "--mix: {} is not there over HTTP: get, set and del are",
                command.name()
            ));
        }
        let faults = if self.fault_kinds.is_empty() {
            Weighted::new(
                Fault::USUAL.map(|fault| (fault, u64::from(!self.http || fault.over_http()))),
            )
            .ok_or("--fault-kinds: none is left")?
        } else {
            known("--fault-kinds", &self.fault_kinds, Fault::parse)?
        };
        if let Some((fault, _)) = faults.items().find(|(fault, _)| self.http && !fault.over_http())
        {
            return Err(format!("--fault-kinds: {} cannot be done over HTTP", fault.name()));
        }
        let stores: Vec<String> = self.store.iter().map(|(name, _)| name.clone()).collect();
        let store_weights = match stores.is_empty() {
            true => None,
            false => {
                let places =
                    self.store.iter().enumerate().map(|(place, (_, weight))| (place, *weight));
                let weights = Weighted::new(places);
                Some(weights.ok_or("--store: all weights are 0: one has to be more")?)
            }
        };
        let dealt: u64 =
            store_weights.iter().flat_map(Weighted::items).map(|(_, weight)| weight).sum();
        if u64::from(self.connections) < dealt {
            return Err(format!(
                "--connections: the weights of --store need {dealt} connections at least, as each uses one store"
            ));
        }
        let duration = match (self.duration, self.requests) {
            (None, None) => Some(USUAL_DURATION),
            (duration, _) => duration,
        };
        let usual = if self.http { "127.0.0.1:9080" } else { "127.0.0.1:8080" };
        let targets = match self.targets.is_empty() {
            true => vec![usual.to_owned()],
            false => self.targets.clone(),
        };
        let window = self.pipeline.unwrap_or(if self.rate.is_some() { OPEN_WINDOW } else { 1 });
        Ok(Setup {
            targets,
            http: self.http,
            cluster: self.cluster,
            password: self.password.clone().or_else(|| env("HYPERCACHE_PASSWORD")),
            stores,
            store_weights,
            connections: self.connections as usize,
            threads: self.threads as usize,
            window: window as usize,
            rate: self.rate,
            backlog: self.backlog,
            duration,
            requests: self.requests,
            patience: self.timeout,
            keys: self.keys,
            fill: self.fill,
            seed: self.seed,
            wording: Wording::new(self.prefix.clone(), self.value_size.most_bytes(), self.seed),
            mix: Mix {
                commands,
                keys: Keys::new(self.keys, self.zipf),
                sizes: self.value_size.clone(),
                lifetimes: self.ttl,
                lifetime_share: self.ttl_share,
                fault_share: self.faults,
                faults,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn setup(words: &[&str]) -> Result<Setup, String> {
        let line = Line::try_parse_from([&["load"], words].concat()).map_err(|e| e.to_string())?;
        line.args.setup(|name| (name == "HYPERCACHE_PASSWORD").then(|| "from-env".to_owned()))
    }

    #[test]
    fn without_flags_it_asks_a_local_member_for_ten_seconds() {
        let usual = setup(&[]).unwrap();
        assert_eq!(usual.targets, ["127.0.0.1:8080"]);
        assert_eq!((usual.duration, usual.requests, usual.window), (Some(USUAL_DURATION), None, 1));
        assert_eq!(usual.password.as_deref(), Some("from-env"));
        assert_eq!(setup(&["--http"]).unwrap().targets, ["127.0.0.1:9080"]);
        assert_eq!(setup(&["--rate", "5"]).unwrap().window, 128);
        assert_eq!(setup(&["--requests", "5"]).unwrap().duration, None);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (words, told) in [
            (&["nohost"][..], "is not HOST:PORT"),
            (&["a:0"], "is not HOST:PORT"),
            (&["--rate", "0"], "1..=100000000"),
            (&["--mix", "fly"], "--mix: 'fly' is none of get, set"),
            (&["--mix", "get=x"], "NAME=WEIGHT"),
            (&["--mix", "get=0"], "all weights are 0"),
            (&["--http", "--mix", "incr"], "incr is not there over HTTP"),
            (&["--http", "--cluster"], "cannot be used with"),
            (&["--fault-kinds", "fire"], "'fire' is none of wrong-type"),
            (&["--http", "--fault-kinds", "frame"], "cannot be done over HTTP"),
            (&["--faults", "2"], "no share from 0 to 1"),
            (&["--zipf", "0"], "no exponent"),
            (&["--zipf", "NaN"], "no exponent"),
            (&["--duration", "10"], "has no unit"),
            (&["--duration", "0"], "no time at all"),
            (&["--value-size", "big"], "is not a size"),
            (&["--store", "1=3,2=4", "--connections", "6"], "need 7 connections"),
        ] {
            let error = setup(words).unwrap_err();
            assert!(error.contains(told), "{words:?}: {error}");
        }
    }

    #[test]
    fn stores_are_dealt_out_by_weight() {
        let setup = setup(&["--store", "1=2,3"]).unwrap();
        let stores: Vec<_> = (0..6).map(|n| setup.hello(n).store.unwrap()).collect();
        assert_eq!(stores, ["1", "1", "3", "1", "1", "3"]);
    }
}
