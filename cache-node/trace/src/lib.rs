//! Spans and metrics, as members and the operator make and send them: OTLP over HTTP.
//!
//! [`export`] sends them from a thread of its own, out of a bounded queue: an endpoint that is slow, gone or
//! hostile costs spans, which are counted, and never a request. [`parent`] is the context that comes and goes
//! with requests, in W3C's form. [`ratio`] says which of the requests without one have spans. [`push`] sends what is
//! scraped otherwise, made into OTLP's by
//! [`points`]; [`sample`] reads a line of that.

pub mod export;
mod lost;
pub mod parent;
pub mod points;
pub mod push;
pub mod ratio;
pub mod sample;

pub use export::{Error, Options, Spans, start};
pub use lost::{Figures, Sent};
pub use push::{PointFigures, Push, SentPoints};
pub use ratio::Ratio;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};

/// The span that this thread works for at the moment, if it works for one that is sent.
#[inline]
pub fn current() -> Option<Context> {
    Context::map_current(|context| is_sampled(context).then(|| context.clone()))
}

/// The identity of the span that this thread works for at the moment, if it works for one that is sent.
pub fn current_span() -> Option<SpanContext> {
    Context::map_current(|context| {
        is_sampled(context).then(|| context.span().span_context().clone())
    })
}

#[inline]
fn is_sampled(context: &Context) -> bool {
    context.has_active_span() && context.span().span_context().is_sampled()
}
