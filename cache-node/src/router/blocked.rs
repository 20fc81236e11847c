//! The owner's side of waits of other members' clients, and how they travel.
//!
//! A request begins with what it asks (u8) and the wait's number at the asking member (u64): 0 begins it,
//! with the longest that it may take in milliseconds (u64, 0 for ever) and one command in the form of
//! [`super::wire`], behind which [`super::traced`] may say whose part it is; 1 ends it, and is answered at once with nothing. What began is answered when it ends:
//! a byte (0: served, and the reply follows; 1: ended without one). All integers are little-endian.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::MemberId;
use hypercache_core::command::{self, Call};
use hypercache_core::keyspace::{Ended, Wait};
use hypercache_core::replica::awaits;
use hypercache_core::resp::{Protocol, Writer};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::blocking::Here;
use super::forwarded::Held;
use super::{Router, lacks_replicas, traced, wire};
use crate::clock::now_ms;
use crate::peer::{Answer, Handler};
use crate::telemetry::trace;

const BEGIN: u8 = 0;
const END: u8 = 1;

const SERVED: u8 = 0;
const ENDED: u8 = 1;

/// A request that begins a wait.
pub fn begin(id: u64, at_most: Option<Duration>, call: &Call<'_>) -> Vec<u8> {
    let mut request = vec![BEGIN];
    request.extend_from_slice(&id.to_le_bytes());
    let ms = at_most.map_or(0, |at_most| u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX));
    request.extend_from_slice(&ms.to_le_bytes());
    wire::put_command(&mut request, call.store, call.protocol, call.args);
    request
}

/// A request that ends a wait.
pub fn end(id: u64) -> Vec<u8> {
    let mut request = vec![END];
    request.extend_from_slice(&id.to_le_bytes());
    request
}

/// What a wait was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// It was served, or refused.
    Reply(&'a [u8]),
    /// It ended without a reply, and took nothing.
    Ended,
}

/// Reads an answer; `None` if it is none.
pub fn answered(answer: &[u8]) -> Option<Answered<'_>> {
    match answer.split_first()? {
        (&SERVED, reply) => Some(Answered::Reply(reply)),
        (&ENDED, _) => Some(Answered::Ended),
        _ => None,
    }
}

fn answer_to(ended: Ended) -> Vec<u8> {
    match ended {
        Ended::Served { mut reply, .. } => {
            reply.insert(0, SERVED);
            reply
        }
        Ended::Again | Ended::GivenUp => vec![ENDED],
    }
}

/// The answer to a wait, once what it was served with is on the disk.
async fn settled(router: &Router, protocol: Protocol, ended: Ended) -> Vec<u8> {
    let awaited = match &ended {
        Ended::Served { awaits, .. } if !awaits.is_empty() => awaits,
        _ => return answer_to(ended),
    };
    match router.until_met_by_another(awaited).await {
        Ok(()) => answer_to(ended),
        Err(text) => {
            let mut reply = vec![SERVED];
            Writer::new(&mut reply, protocol).error(&text);
            reply
        }
    }
}

type Waits = Arc<Mutex<HashMap<(MemberId, u64), Arc<Wait>>>>;

/// Lets the clients of other members wait for keys that this one owns.
pub struct Blocked {
    router: Router,
    held: Held,
    waits: Waits,
}

/// One wait, until its connection ends or its answer is made.
struct Known {
    here: Here,
    key: (MemberId, u64),
    waits: Waits,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.waits.lock().remove(&self.key);
    }
}

impl Blocked {
    /// Lets them wait in `router`'s keyspace. What is `held` up does not begin: the sender asks again
    /// until its deadline.
    pub fn new(router: Router, held: Held) -> Self {
        Self { router, held, waits: Waits::default() }
    }

    fn begin(&self, key: (MemberId, u64), request: &[u8], out: &mut BytesMut) -> Option<Answer> {
        let (ms, command) = request.split_first_chunk::<8>()?;
        let (wire::Command { store, protocol, args }, end) = wire::command_at(command, 0).ok()?;
        let Router(options) = &self.router;
        let parent = options.traces.is_on().then(|| traced::parent_at(command, end)).flatten();
        let begun = parent.map(|parent| (parent, SystemTime::now()));
        let lease = self.router.lease();
        if !options.cluster.view().quorum || (self.held)(&args) {
            out.extend_from_slice(&[ENDED]);
            return Some(Answer::Now);
        }
        let mut reply = vec![SERVED];
        let spec = match command::lookup(&args) {
            Ok(spec) if spec.blocking().is_some() => spec,
            // Members of one cluster may differ in version while it is upgraded.
            Ok(_) => {
                Writer::new(&mut reply, protocol).error("ERR this command is not one that waits");
                out.extend_from_slice(&reply);
                return Some(Answer::Now);
            }
            Err(text) => {
                Writer::new(&mut reply, protocol).error(&text);
                out.extend_from_slice(&reply);
                return Some(Answer::Now);
            }
        };
        let call = Call { spec, store, protocol, args: &args };
        let tried = options.keyspace.execute_or_wait(call, None, now_ms(), &mut reply);
        let awaited = awaits::take();
        let wait = match tried {
            Ok(Some(wait)) => wait,
            // The sender asks again until its deadline: owners that were away may be in sync soon.
            Ok(None) if lacks_replicas(&reply[1..]) => {
                out.extend_from_slice(&[ENDED]);
                return Some(Answer::Now);
            }
            Ok(None) if awaited.is_some() || !self.router.holds(lease) => {
                let router = self.router.clone();
                let span = router.executed(begun, spec, store, &reply[1..]);
                return Some(Answer::Later(Box::pin(async move {
                    let awaited = awaited.unwrap_or_default();
                    let met = trace::within(span.as_ref(), router.until_met(lease, &awaited));
                    if let Err(text) = met.await {
                        reply.truncate(1);
                        Writer::new(&mut reply, protocol).error(&text);
                    }
                    Ok(reply.into())
                })));
            }
            Ok(None) => {
                self.router.executed(begun, spec, store, &reply[1..]);
                out.extend_from_slice(&reply);
                return Some(Answer::Now);
            }
            Err(_) => {
                out.extend_from_slice(&[ENDED]);
                return Some(Answer::Now);
            }
        };
        self.waits.lock().insert(key, wait.clone());
        let here = Here::new(&options.keyspace, wait);
        let known = Known { here, key, waits: self.waits.clone() };
        let at_most = Some(u64::from_le_bytes(*ms)).filter(|ms| *ms > 0);
        let until = at_most.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let router = self.router.clone();
        Some(Answer::Later(Box::pin(async move {
            let ended = match until {
                None => known.here.ended().await,
                Some(until) => tokio::time::timeout_at(until, known.here.ended())
                    .await
                    .unwrap_or_else(|_| known.here.give_up()),
            };
            let span = match &ended {
                Ended::Served { reply, .. } => router.executed(begun, spec, store, reply),
                Ended::Again | Ended::GivenUp => None,
            };
            Ok(trace::within(span.as_ref(), settled(&router, protocol, ended)).await.into())
        })))
    }
}

impl Handler for Blocked {
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer {
        let asked = payload.split_first().and_then(|(what, rest)| {
            let (id, rest) = rest.split_first_chunk::<8>()?;
            Some((*what, u64::from_le_bytes(*id), rest))
        });
        match asked {
            Some((BEGIN, id, request)) => self.begin((from, id), request, out),
            Some((END, id, _)) => {
                let wait = self.waits.lock().get(&(from, id)).cloned();
                if let Some(wait) = wait {
                    wait.give_up();
                }
                Some(Answer::Now)
            }
            _ => None,
        }
        .unwrap_or_else(|| Answer::Refused("a malformed wait".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_back() {
        assert_eq!(
            answered(&answer_to(Ended::Served { reply: b"+x".into(), awaits: Default::default() })),
            Some(Answered::Reply(b"+x"))
        );
        assert_eq!(answered(&answer_to(Ended::Again)), Some(Answered::Ended));
        assert_eq!(answered(&answer_to(Ended::GivenUp)), Some(Answered::Ended));
        assert_eq!(answered(b""), None);
        assert_eq!(answered(b"\x07"), None);
    }

    #[test]
    fn a_wait_travels_with_its_command_and_its_longest_time() {
        let args: [&[u8]; 3] = [b"BLPOP", b"k", b"0"];
        let spec = command::lookup(&args).unwrap();
        let call = Call { spec, store: 7, protocol: Protocol::Resp3, args: &args };
        let request = begin(9, Some(Duration::from_millis(1500)), &call);
        assert_eq!(request[..9], [&[BEGIN][..], &9u64.to_le_bytes()].concat());
        assert_eq!(request[9..17], 1500u64.to_le_bytes());
        let (command, end) = wire::command_at(&request, 17).unwrap();
        assert_eq!((command.store, command.protocol), (7, Protocol::Resp3));
        assert_eq!((command.args.as_slice(), end), (&args[..], request.len()));
    }
}
