//! The operator's options: flags, each also a variable.

use std::net::{Ipv6Addr, SocketAddr};

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
