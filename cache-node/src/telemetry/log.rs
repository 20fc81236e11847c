//! The member's log: which lines it has, and which traces they belong to.

use hypercache_log::{Origin, Service, Trace};

use super::Options;

/// Whose lines a level is for. openraft warns at every heartbeat that a member which is down does not
/// answer.
pub const ORIGIN: Origin = Origin {
    own: &["hypercache", "hypercache_core", "hypercache_trace"],
    libraries: "warn,openraft=error",
};

/// Who writes the lines.
pub fn service(options: &Options) -> Service {
    Service {
        name: "hypercache",
        version: env!("CARGO_PKG_VERSION"),
        node: options.member.clone(),
        cluster: Some(options.cluster_name.clone()),
        dataset: "hypercache.log",
    }
}

/// The trace that this thread works for.
pub fn current_trace() -> Option<Trace> {
    let of = hypercache_trace::current_span()?;
    Some(Trace { trace_id: of.trace_id().to_string(), span_id: of.span_id().to_string() })
}
