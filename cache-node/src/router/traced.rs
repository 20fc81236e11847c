//! How the spans of requests go on at another member: as a command before the one that it is about, in the
//! same batch ([`super::wire`]), whose name no client can send, because no command of the table has it.
//!
//! Arguments: name, version, W3C's `traceparent`, its `tracestate`. Its answer says nothing and is not looked at: a
//! member that knows no such command answers an error, and runs the next one all the same. With a command that waits
//! for keys, which travels alone and is answered once, it stands behind that, where nobody looks who does not know it.

use bytes::Bytes;
use hypercache_core::command::{self, Run};
use hypercache_core::resp::Protocol;
use hypercache_core::store::StoreNumber;
use hypercache_trace::parent;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};

use super::envelope;
use super::wire;
use crate::telemetry::trace::of_command;

/// The parent of what the next command does.
pub(super) const TRACE: &[u8] = b"\0trace";
/// What this version understands.
const VERSION: &[u8] = b"1";

/// Appends the command that makes a span the next command's parent.
pub fn put_parent(out: &mut Vec<u8>, span: &Context) {
    let (parent, state) = parent::put(span.span().span_context());
    let args = [TRACE, VERSION, parent.as_bytes(), state.as_bytes()];
    wire::put_command(out, 0, Protocol::Resp2, &args);
}

/// The parent that such a command's arguments name; `None` where nothing is to be told of the next command.
pub fn parent_in(args: &[&[u8]]) -> Option<Context> {
    let [TRACE, VERSION, parent, state, ..] = args else { return None };
    let span = parent::parse(parent, (!state.is_empty()).then_some(*state))?;
    span.is_sampled().then(|| Context::new().with_remote_span_context(span))
}

/// The parent that such a command at `at` names, if there is one.
pub fn parent_at(request: &[u8], at: usize) -> Option<Context> {
    let (command, _) = wire::command_at(request, at).ok()?;
    parent_in(&command.args)
}

/// A request of one command with its parent before it. `None` if the command takes a way of its own through the other
/// member, on which it has to be alone.
pub fn with_parent(request: &[u8], span: &Context) -> Option<Bytes> {
    let (command, _) = wire::command_at(request, 0).ok()?;
    if command::lookup(&command.args).is_ok_and(|spec| matches!(spec.run, Run::Walk(_))) {
        return None;
    }
    let mut with = Vec::with_capacity(request.len() + 128);
    put_parent(&mut with, span);
    with.extend_from_slice(request);
    Some(with.into())
}

/// The answers without that of the first command. `None` if they are malformed.
pub fn without_first(answers: &Bytes) -> Option<Bytes> {
    let (_, _, next) = wire::answer_at(answers, 0).ok()?;
    Some(answers.slice(next..))
}

/// What is said about a command that came from another member; `None` if it is none of a client.
pub fn of_forwarded(store: StoreNumber, args: &[&[u8]]) -> Option<Vec<KeyValue>> {
    if let [envelope::TRANSACTION, _, _, steps, ..] = args {
        // Its commands say of which store they are.
        let first = wire::command_at(steps, 0).map_or(store, |(step, _)| step.store);
        return of_forwarded(first, &[b"exec"]);
    }
    command::find(args).map(|spec| of_command(spec, store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::wire::Status;

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(command: &str) -> Vec<u8> {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let mut request = Vec::new();
        wire::put_command(&mut request, 7, Protocol::Resp3, &args);
        request
    }

    #[test]
    fn a_command_travels_with_its_parent_and_is_as_it_was() {
        let span = parent_in(&[TRACE, VERSION, PARENT, b"a=b"]).unwrap();
        let with = with_parent(&request("SET k v"), &span).unwrap();
        let (first, next) = wire::command_at(&with, 0).unwrap();
        let read = parent_in(&first.args).unwrap();
        assert_eq!(read.span().span_context(), span.span().span_context());
        assert_eq!(&with[next..], request("SET k v"));
    }

    #[test]
    fn a_parent_is_read_where_it_stands_and_nowhere_else() {
        let span = parent_in(&[TRACE, VERSION, PARENT, b"a=b"]).unwrap();
        let mut with = request("BLPOP k 0");
        let end = with.len();
        put_parent(&mut with, &span);
        assert!(parent_at(&with, end).is_some());
        for at in [0, end + 1, with.len(), with.len() + 1] {
            assert!(parent_at(&with, at).is_none());
        }
    }

    #[test]
    fn no_parent_is_read_from_what_is_none() {
        let other: [&[&[u8]]; 5] = [
            &[b"GET", b"k"],
            &[TRACE],
            &[TRACE, b"2", PARENT, b""],
            &[TRACE, VERSION, b"nonsense", b""],
            &[TRACE, VERSION, &PARENT[..54], b""],
        ];
        for args in other {
            assert!(parent_in(args).is_none());
        }
        let unsampled = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(parent_in(&[TRACE, VERSION, unsampled, b""]).is_none());
    }

    #[test]
    fn what_walks_over_all_keys_travels_alone() {
        let span = parent_in(&[TRACE, VERSION, PARENT, b""]).unwrap();
        assert!(with_parent(&request("FLUSHALL"), &span).is_none());
    }

    #[test]
    fn the_first_answer_is_taken_off_whatever_it_says() {
        for status in [Status::Done, Status::NotServing] {
            let mut answers = Vec::new();
            wire::put_answer(&mut answers, |out| {
                out.extend_from_slice(b"-ERR unknown command\r\n");
                status
            });
            wire::put_answer(&mut answers, |out| {
                out.extend_from_slice(b"+OK\r\n");
                Status::Done
            });
            let rest = without_first(&answers.into()).unwrap();
            assert_eq!(
                wire::answer_at(&rest, 0).unwrap(),
                (Status::Done, &b"+OK\r\n"[..], rest.len())
            );
        }
        assert!(without_first(&Bytes::from_static(b"\x09")).is_none());
    }

    #[test]
    fn what_is_said_of_a_command_has_no_key_of_it() {
        let said = format!("{:?}", of_forwarded(0, &[b"get", b"a-key"]).unwrap());
        assert!(said.contains("GET") && !said.contains("a-key"), "{said}");
        let steps = request("SET k v");
        let exec: [&[u8]; 4] = [envelope::TRANSACTION, b"1", b"", &steps];
        let said = format!("{:?}", of_forwarded(0, &exec).unwrap());
        assert!(said.contains("EXEC") && said.contains("\"7\""), "{said}");
        assert!(of_forwarded(0, &[b"\0watch"]).is_none());
    }
}
