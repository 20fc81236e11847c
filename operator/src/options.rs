//! The operator's options: flags, each also a variable.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Keeps HyperCache clusters as their resources say.
#[derive(Debug, Clone, Parser)]
#[command(name = "hypercache-operator", version)]
pub struct Options {
    /// Namespaces to look after, with commas; all of them when empty.
    #[arg(long, env = "HYPERCACHE_OPERATOR_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "HYPERCACHE_OPERATOR_LISTEN",
          default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9443)))]
    pub listen: SocketAddr,

    /// How many resources are worked on at a time.
    #[arg(long, env = "HYPERCACHE_OPERATOR_CONCURRENCY", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: u16,

    /// What is logged: a level for the operator itself, or levels by part such as `info,kube=debug`.
    #[arg(long, env = "HYPERCACHE_OPERATOR_LOG", default_value = "info")]
    pub log: String,

    /// Where spans of passes go, as OTLP over HTTP, such as `http://collector:4318`; without it none are made.
    #[arg(long, env = "HYPERCACHE_OPERATOR_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// Where what /metrics tells is sent as well, as OTLP over HTTP, such as `http://collector:4318`; without it
    /// nowhere.
    #[arg(long, env = "HYPERCACHE_OPERATOR_OTLP_METRICS_ENDPOINT")]
    pub otlp_metrics_endpoint: Option<String>,

    /// How often that is sent, from 1s to 1h.
    #[arg(long, env = "HYPERCACHE_OPERATOR_OTLP_METRICS_INTERVAL", default_value = "30s",
          value_parser = metrics_interval)]
    pub otlp_metrics_interval: Duration,

    /// The name of this process in its log: the pod's.
    #[arg(long, env = "HOSTNAME", default_value = "hypercache-operator")]
    pub pod: String,

    /// How members are reached.
    #[arg(long, env = "HYPERCACHE_OPERATOR_REACH", value_enum, default_value_t = Reach::Pods)]
    pub reach: Reach,
}

/// How members are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reach {
    /// By their pods' addresses.
    Pods,
    /// By the API server's proxy, for an operator that runs outside the Kubernetes cluster. It
    /// needs the right to `get` and `update` `pods/proxy`.
    ApiServer,
}

/// A number with its unit, within the bounds that members have for it.
fn metrics_interval(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        number.checked_mul(*seconds)
    });
    match seconds {
        Some(seconds @ 1..=3_600) => Ok(Duration::from_secs(seconds)),
        Some(_) => Err(format!("'{text}' is not between 1s and 1h")),
        None => Err(format!("'{text}' is no interval: write 30s, 5m or 1h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_a_unit_and_is_between_a_second_and_an_hour() {
        for (text, seconds) in [("1s", 1), ("30s", 30), ("90s", 90), ("5m", 300), ("1h", 3_600)] {
            assert_eq!(metrics_interval(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "s", "0s", "-1s", "61m", "2h", "1.5s", "10ms", "99999999999999999h"]
        {
            assert!(metrics_interval(text).is_err(), "{text}");
        }
        let options = Options::try_parse_from(["hypercache-operator"]).unwrap();
        assert_eq!(options.otlp_metrics_interval, Duration::from_secs(30));
    }
}
