//! The spans of HTTP requests: who asks says whether there are any, in W3C's `traceparent`; of those who do not,
//! some have them.

use axum::http::{HeaderMap, StatusCode};
use hypercache_trace::parent;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::telemetry::trace::{self, Traces};

/// The parent that a request's headers name. One that is malformed, or of which there are several, is none.
fn parent_of(headers: &HeaderMap) -> Option<SpanContext> {
    let mut named = headers.get_all(parent::TRACEPARENT).iter();
    let (Some(named), None) = (named.next(), named.next()) else { return None };
    let state = headers.get(parent::TRACESTATE);
    parent::parse(named.as_bytes(), state.map(|state| state.as_bytes()))
}

/// Begins the span of a request, if it has one. The route is a row of the table: there is no key in it.
pub fn begin(
    traces: &Traces,
    headers: &HeaderMap,
    method: &'static str,
    route: &str,
) -> Option<Context> {
    if !traces.is_on() {
        return None;
    }
    let parent = parent_of(headers);
    let has_spans = match &parent {
        Some(parent) => parent.is_sampled(),
        None => traces.takes_next(),
    };
    has_spans.then(|| {
        let method = if method == "other" { "_OTHER" } else { method };
        let attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("http.route", route.to_owned()),
        ];
        traces.request(parent, attributes)
    })
}

/// Ends it with the answer's status: an error is only what the server is to blame for.
pub fn end(span: &Context, status: StatusCode) {
    let code = i64::from(status.as_u16());
    span.span().set_attribute(KeyValue::new("http.response.status_code", code));
    trace::end(span, status.is_server_error().then(|| status.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(named: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_request_says_whose_part_it_is() {
        let parent =
            parent_of(&headers(&[("traceparent", PARENT), ("tracestate", "a=b")])).unwrap();
        assert_eq!(parent.span_id().to_string(), "00f067aa0ba902b7");
        assert_eq!(parent.trace_state().header(), "a=b");
    }

    #[test]
    fn what_is_malformed_or_said_twice_is_not_said() {
        assert_eq!(parent_of(&headers(&[])), None);
        assert_eq!(parent_of(&headers(&[("traceparent", "nonsense")])), None);
        assert_eq!(parent_of(&headers(&[("traceparent", PARENT), ("traceparent", PARENT)])), None);
        assert_eq!(parent_of(&headers(&[("tracestate", "a=b")])), None);
    }

    #[test]
    fn where_no_spans_are_sent_a_parent_makes_none() {
        assert!(
            begin(&Traces::default(), &headers(&[("traceparent", PARENT)]), "GET", "/").is_none()
        );
    }
}
