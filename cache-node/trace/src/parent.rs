//! The context of a request, in the form of W3C's [Trace Context](https://www.w3.org/TR/trace-context/):
//! who its parent is, and whether that has spans.

use std::fmt::Write;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The header with the parent.
pub const TRACEPARENT: &str = "traceparent";
/// The header with what others have to say to each other.
pub const TRACESTATE: &str = "tracestate";

/// The length of a parent of version 0.
const PARENT_BYTES: usize = 55;
/// The longest `tracestate` that is passed on, as the specification has it: a longer one is left out.
const MAX_STATE_BYTES: usize = 512;

/// Reads both headers. `None` if the parent is malformed; a malformed state is left out.
pub fn parse(parent: &[u8], state: Option<&[u8]>) -> Option<SpanContext> {
    let (trace, span, flags) = parse_parent(parent)?;
    let state = state
        .filter(|state| state.len() <= MAX_STATE_BYTES)
        .and_then(|state| TraceState::from_str(std::str::from_utf8(state).ok()?).ok())
        .unwrap_or_default();
    // Of the flags, this version knows one.
    let context = SpanContext::new(trace, span, flags & TraceFlags::SAMPLED, true, state);
    context.is_valid().then_some(context)
}

fn parse_parent(parent: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, rest) = parent.split_at_checked(PARENT_BYTES)?;
    let [v1, v2, b'-', ids @ .., b'-', f1, f2] = known else { return None };
    let (trace, span) = ids.split_at_checked(33)?;
    let [trace @ .., b'-'] = trace else { return None };
    match hex(&[*v1, *v2])? {
        0xff => return None,
        0 if !rest.is_empty() => return None,
        // Later versions may say more behind a dash.
        _ if rest.first().is_some_and(|byte| *byte != b'-') => return None,
        _ => {}
    }
    let (trace, span) = (TraceId::from(hex(trace)?), SpanId::from(hex(span)? as u64));
    Some((trace, span, TraceFlags::new(hex(&[*f1, *f2])? as u8)))
}

/// Digits as the specification allows them: no capitals.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The two headers' values for what `span` is the parent of; the second is empty where there is nothing to say.
pub fn put(span: &SpanContext) -> (String, String) {
    let mut parent = String::with_capacity(PARENT_BYTES);
    let flags = span.trace_flags().to_u8();
    // Writing into a text does not fail.
    let _ = write!(parent, "00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    (parent, span.trace_state().header())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parsed(parent: &str) -> Option<SpanContext> {
        parse(parent.as_bytes(), None)
    }

    #[test]
    fn a_parent_says_whose_child_the_request_is_and_whether_it_has_spans() {
        for (flags, sampled) in [("00", false), ("01", true), ("03", true), ("02", false)] {
            let context = parsed(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!(context.trace_id().to_string(), TRACE);
            assert_eq!(context.span_id().to_string(), SPAN);
            assert_eq!((context.is_sampled(), context.is_remote()), (sampled, true));
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(parsed(&format!("01-{TRACE}-{SPAN}-01")).unwrap().is_sampled());
        assert!(parsed(&format!("cc-{TRACE}-{SPAN}-01-what-comes")).unwrap().is_sampled());
        assert!(parsed(&format!("cc-{TRACE}-{SPAN}-01x")).is_none());
    }

    #[test]
    fn a_malformed_parent_is_none() {
        let zero = ("0".repeat(32), "0".repeat(16));
        for bad in [
            String::new(),
            "x".repeat(100_000),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", zero.0),
            format!("00-{TRACE}-{}-01", zero.1),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}0{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}001"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
        ] {
            assert!(parsed(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic() {
        let mut number = 0x9e37_79b9_7f4a_7c15u64;
        for length in (0..200).cycle().take(20_000) {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    number ^= number << 13;
                    number ^= number >> 7;
                    number ^= number << 17;
                    b"0123456789abcdef-,="[number as usize % 19]
                })
                .collect();
            let _ = parse(&bytes, Some(&bytes));
        }
    }

    #[test]
    fn the_state_is_passed_on_if_it_is_one() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state =
            |state: &[u8]| parse(parent.as_bytes(), Some(state)).unwrap().trace_state().header();
        assert_eq!(
            state(b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
            "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
        );
        for bad in [&b"no state"[..], b"\xff=1", &b"a=b,".repeat(200)] {
            assert_eq!(state(bad), "");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let context = parse(parent.as_bytes(), Some(b"a=b")).unwrap();
        assert_eq!(put(&context), (parent, "a=b".to_owned()));
    }
}
