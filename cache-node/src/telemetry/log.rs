//! The member's log: which lines it has, and which traces they belong to.

use hypercache_log::{Origin, Service, Trace};
use opentelemetry::trace::TraceContextExt;
use tracing::Dispatch;
use tracing::span::Id;

use super::Options;

/// Whose lines a level is for. openraft warns at every heartbeat that a member which is down does not
/// answer.
pub const ORIGIN: Origin =
    Origin { own: &["hypercache", "hypercache_core"], libraries: "warn,openraft=error" };

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

/// The trace of a span that is exported.
pub fn trace_of(span: &Id, dispatch: &Dispatch) -> Option<Trace> {
    let context = tracing_opentelemetry::get_otel_context(span, dispatch)?;
    let of = context.span().span_context().clone();
    (of.is_valid() && of.is_sampled())
        .then(|| Trace { trace_id: of.trace_id().to_string(), span_id: of.span_id().to_string() })
}
