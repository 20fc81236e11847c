//! Commands over many slots: split by the members that own them, run side by side, merged.
//!
//! Each part is atomic where it runs; the whole is not, as with cluster clients that split such
//! commands themselves.

use futures::future::join_all;
use hypercache_core::cluster::{MemberId, Slot, slot_of};
use hypercache_core::command::{Run, Spec, Spread};
use hypercache_core::resp::{Protocol, Reply, Writer, array_elements};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::wire::{self, Args, Status};
use super::{Caller, Router, lacks_replicas, lost};
use crate::clock::now_ms;
use crate::telemetry::trace;
use hypercache_core::cluster::View;

/// The part of a command that one slot's owner runs.
struct Part<'a> {
    owner: Option<MemberId>,
    args: Args<'a>,
    /// Which keys of the whole command these are, by their order there.
    keys: SmallVec<[usize; 8]>,
}

/// Splits `name key [value] …` by owner, keeping the order of keys within each part.
fn split<'a>(
    owner: impl Fn(Slot) -> Option<MemberId>,
    args: &[&'a [u8]],
    words_per_key: usize,
) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (index, words) in args[1..].chunks_exact(words_per_key).enumerate() {
        let to = owner(slot_of(words[0]));
        let part = match parts.iter().position(|p| p.owner == to) {
            Some(at) => &mut parts[at],
            None => {
                parts.push(Part {
                    owner: to,
                    args: SmallVec::from_slice(&args[..1]),
                    keys: SmallVec::new(),
                });
                let last = parts.len() - 1;
                &mut parts[last]
            }
        };
        part.args.extend_from_slice(words);
        part.keys.push(index);
    }
    parts
}

impl Router {
    /// Runs a command that several members share and appends its merged reply.
    pub(super) async fn scatter(
        &self,
        deadline: Instant,
        view: &View,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let protocol = caller.protocol;
        let merged = match spec.spread {
            Spread::SumByKeys | Spread::ArrayByKeys | Spread::OkByKeys => {
                let words = if matches!(spec.spread, Spread::OkByKeys) { 2 } else { 1 };
                // MSET with a value too few: the command's own check answers.
                if !(args.len() - 1).is_multiple_of(words) {
                    let text = format!("ERR wrong number of arguments for '{}' command", spec.name);
                    return Writer::new(out, protocol).error(&text);
                }
                let parts = split(|slot| view.owner(slot), args, words);
                let replies = join_all(parts.iter().map(async |part| {
                    let mut reply = Vec::new();
                    self.run_until(deadline, spec, caller, &part.args, &mut reply).await;
                    reply
                }))
                .await;
                match spec.spread {
                    Spread::ArrayByKeys => {
                        by_key(&parts, &replies, (args.len() - 1) / words, protocol)
                    }
                    Spread::SumByKeys => sum(&replies, protocol),
                    _ => first(replies),
                }
            }
            _ => {
                let mut members: Vec<MemberId> =
                    view.state.assignment.counts().into_keys().collect();
                // RANDOMKEY takes the first that has a key: each member is first in turn.
                let turn = now_ms() as usize % members.len().max(1);
                members.rotate_left(turn);
                let replies = join_all(
                    members
                        .iter()
                        .map(|id| self.on_member(deadline, view, *id, spec, caller, args)),
                )
                .await;
                match spec.spread {
                    Spread::SumMembers => sum(&replies, protocol),
                    Spread::ConcatMembers => concat(&replies, protocol),
                    Spread::AnyMember => any(replies, protocol),
                    _ => first(replies),
                }
            }
        };
        out.extend_from_slice(&merged);
    }

    /// Runs a command on one member's share of the slots.
    async fn on_member(
        &self,
        deadline: Instant,
        view: &View,
        member: MemberId,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
    ) -> Vec<u8> {
        let Caller { store, protocol, order, .. } = caller;
        let mut out = Vec::new();
        if member == view.me {
            if let Run::Walk(_) = spec.run
                && self.0.disk.is_loading()
            {
                Writer::new(&mut out, protocol).error(super::LOADING);
                return out;
            }
            if let Run::Walk(run) = spec.run {
                self.walk(deadline, run, caller, args, &mut out).await;
                return out;
            }
            let (lease, traced) = (self.lease(), self.begun());
            if self
                .0
                .keyspace
                .execute(spec, store, args, now_ms(), &mut Writer::new(&mut out, protocol))
                .is_err()
            {
                out.clear();
                let text = match self.0.disk.is_loading() {
                    true => super::LOADING,
                    false => "TRYAGAIN Slots are on the move",
                };
                Writer::new(&mut out, protocol).error(text);
            }
            let span = self.executed(traced, spec, store, &out);
            trace::within(span.as_ref(), self.settle(lease, protocol, 0, &mut out)).await;
            return out;
        }
        let mut request = Vec::new();
        wire::put_command(&mut request, store, protocol, args);
        let failure = match self.forward(view, member, order, request.into(), 1, deadline).await {
            Ok(answers) => match wire::answer_at(&answers, 0) {
                Ok((Status::Done, reply, _)) => {
                    out.extend_from_slice(reply);
                    return out;
                }
                Ok((Status::NotServing, reply, _)) if lacks_replicas(reply) => {
                    out.extend_from_slice(reply);
                    return out;
                }
                Ok(_) => "TRYAGAIN A member is not serving its slots at the moment".into(),
                Err(malformed) => format!("ERR {malformed}"),
            },
            Err(error) => lost(spec, &error),
        };
        Writer::new(&mut out, protocol).error(&failure);
        out
    }
}

fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// The first error among the replies, or else the first reply: for commands that answer OK.
fn first(replies: Vec<Vec<u8>>) -> Vec<u8> {
    let at = replies.iter().position(|r| is_error(r)).unwrap_or(0);
    replies.into_iter().nth(at).unwrap_or_default()
}

/// The sum of integer replies, or the first error.
fn sum(replies: &[Vec<u8>], protocol: Protocol) -> Vec<u8> {
    let mut total = 0i64;
    for reply in replies {
        match Reply::parse(reply) {
            Ok(Some((Reply::Integer(n), _))) => total = total.saturating_add(n),
            _ => return reply.clone(),
        }
    }
    let mut out = Vec::new();
    Writer::new(&mut out, protocol).integer(total);
    out
}

/// All elements of array replies in one array, or the first error.
fn concat(replies: &[Vec<u8>], protocol: Protocol) -> Vec<u8> {
    let mut parts = Vec::with_capacity(replies.len());
    for reply in replies {
        match array_elements(reply) {
            Some(elements) => parts.push(elements),
            None => return reply.clone(),
        }
    }
    let mut out = Vec::with_capacity(replies.iter().map(Vec::len).sum());
    Writer::new(&mut out, protocol).array(parts.iter().map(|p| p.len()).sum());
    for element in parts.iter().flatten() {
        out.extend_from_slice(element);
    }
    out
}

/// The elements of array replies, put back into the order of the command's keys.
fn by_key(parts: &[Part<'_>], replies: &[Vec<u8>], keys: usize, protocol: Protocol) -> Vec<u8> {
    let mut elements: Vec<&[u8]> = vec![b""; keys];
    for (part, reply) in parts.iter().zip(replies) {
        match array_elements(reply) {
            Some(found) if found.len() == part.keys.len() => {
                for (key, element) in part.keys.iter().zip(found) {
                    elements[*key] = element;
                }
            }
            _ if is_error(reply) => return reply.clone(),
            _ => {
                let mut out = Vec::new();
                Writer::new(&mut out, protocol)
                    .error("ERR a member answered with another number of values");
                return out;
            }
        }
    }
    let mut out = Vec::with_capacity(replies.iter().map(Vec::len).sum());
    Writer::new(&mut out, protocol).array(keys);
    for element in elements {
        out.extend_from_slice(element);
    }
    out
}

/// A reply that is not null, if there is one: for RANDOMKEY. Which of several is by chance the
/// caller's order; an error counts only when nothing else answered.
fn any(replies: Vec<Vec<u8>>, protocol: Protocol) -> Vec<u8> {
    let mut null = Vec::new();
    Writer::new(&mut null, protocol).null();
    let found = replies.iter().position(|r| !is_error(r) && *r != null);
    let error = replies.iter().position(|r| is_error(r));
    match found.or(error) {
        Some(at) => replies.into_iter().nth(at).unwrap_or(null),
        None => null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_the_order_of_their_keys() {
        let args: [&[u8]; 5] = [b"MGET", b"a", b"b", b"foo", b"c"];
        let parts = split(|slot| Some(u64::from(slot >= 8192)), &args, 1);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].args.as_slice(), [&b"MGET"[..], b"a", b"foo"]);
        assert_eq!(parts[1].keys.as_slice(), [1, 3]);
        let replies =
            [b"*2\r\n$1\r\nA\r\n$3\r\nFOO\r\n".to_vec(), b"*2\r\n$-1\r\n$1\r\nC\r\n".to_vec()];
        let merged = by_key(&parts, &replies, 4, Protocol::Resp2);
        assert_eq!(merged, b"*4\r\n$1\r\nA\r\n$-1\r\n$3\r\nFOO\r\n$1\r\nC\r\n");
    }

    #[test]
    fn pairs_stay_together() {
        let args: [&[u8]; 5] = [b"MSET", b"a", b"1", b"b", b"2"];
        let parts = split(|slot| Some(u64::from(slot)), &args, 2);
        assert_eq!(parts[1].args.as_slice(), [&b"MSET"[..], b"b", b"2"]);
    }

    #[test]
    fn one_members_error_is_the_whole_commands_error() {
        let replies = vec![b":3\r\n".to_vec(), b"-CLUSTERDOWN x\r\n".to_vec()];
        assert_eq!(sum(&replies, Protocol::Resp2), b"-CLUSTERDOWN x\r\n");
        assert_eq!(sum(&replies[..1], Protocol::Resp2), b":3\r\n");
        assert_eq!(first(vec![b"+OK\r\n".to_vec(), replies[1].clone()]), b"-CLUSTERDOWN x\r\n");
        let keys = [b"*1\r\n$1\r\na\r\n".to_vec(), b"*0\r\n".to_vec()];
        assert_eq!(concat(&keys, Protocol::Resp2), b"*1\r\n$1\r\na\r\n");
        assert_eq!(
            any(vec![b"$-1\r\n".to_vec(), b"$1\r\na\r\n".to_vec()], Protocol::Resp2),
            b"$1\r\na\r\n"
        );
    }
}
