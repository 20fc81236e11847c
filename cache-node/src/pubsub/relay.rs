//! Telling the other members what was published here.
//!
//! For each member there is one queue and at most one request under way; what is published
//! meanwhile travels together in the next one. So a busy publisher costs few messages, and an idle
//! one no task. A queue is bounded: what does not fit is dropped and counted, because publishing
//! waits for nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypercache_core::cluster::{MemberId, View};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Target, wire};
use crate::peer;
use crate::raft;
use crate::server::stats::{Count, Stats};

/// What may wait for one member; one message always may.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// How long it is tried to reach a member, and how long it may take to deliver.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells the other members what was published here.
#[derive(Clone)]
pub struct Relay(Arc<Shared>);

struct Shared {
    cluster: raft::Handle,
    peers: peer::Client,
    stats: Arc<Stats>,
    /// Where requests are sent from: not the loop that happens to publish.
    runtime: tokio::runtime::Handle,
    queues: Mutex<HashMap<MemberId, Arc<Queue>>>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

/// What one member has still to be told.
struct Queue {
    member: MemberId,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    messages: u64,
    /// Whether somebody sends what waits.
    sending: bool,
    /// Messages dropped since the queue was last taken.
    dropped: u64,
}

impl Waiting {
    /// Adds a message, if there is room.
    fn add(&mut self, target: Target, channel: &[u8], message: &[u8]) -> bool {
        let bytes = wire::len(channel, message);
        if !self.bytes.is_empty() && self.bytes.len() + bytes > MAX_WAITING_BYTES {
            self.dropped += 1;
            return false;
        }
        wire::put(&mut self.bytes, target, channel, message);
        self.messages += 1;
        true
    }

    /// All that waits and how many messages it is; with nothing, the sender has ended.
    fn take(&mut self) -> Option<(Bytes, u64)> {
        self.dropped = 0;
        if self.bytes.is_empty() {
            self.sending = false;
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes).into();
        Some((bytes, std::mem::take(&mut self.messages)))
    }
}

impl Relay {
    /// A relay to all members of the table. Its requests are sent from the runtime that this is
    /// called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(cluster: raft::Handle, peers: peer::Client, stats: Arc<Stats>) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self(Arc::new(Shared { cluster, peers, stats, runtime, queues: Mutex::default() }))
    }

    /// Puts a message on its way to all other members. Never waits.
    pub fn tell(&self, view: &View, target: Target, channel: &[u8], message: &[u8]) {
        for member in view.state.members.keys().filter(|id| **id != view.me) {
            let queue = self.queue(*member);
            let mut waiting = queue.waiting.lock();
            if !waiting.add(target, channel, message) {
                self.0.stats.shared().add(Count::PublishedDropped, 1);
                if waiting.dropped == 1 {
                    tracing::warn!(
                        action = "messages-dropped",
                        member = format_args!("{member:x}"),
                        "a member takes published messages too slowly: some are dropped"
                    );
                }
            } else if !std::mem::replace(&mut waiting.sending, true) {
                self.0.runtime.spawn(send_all(self.0.clone(), queue.clone()));
            }
        }
    }

    fn queue(&self, member: MemberId) -> Arc<Queue> {
        let mut queues = self.0.queues.lock();
        let queue = queues
            .entry(member)
            .or_insert_with(|| Arc::new(Queue { member, waiting: Mutex::default() }));
        queue.clone()
    }
}

/// Sends what waits for a member until nothing does.
async fn send_all(shared: Arc<Shared>, queue: Arc<Queue>) {
    loop {
        let Some((batch, messages)) = queue.waiting.lock().take() else { return };
        if let Err(reason) = send(&shared, queue.member, batch).await {
            shared.stats.shared().add(Count::PublishedDropped, messages);
            tracing::warn!(
                action = "messages-dropped",
                member = format_args!("{:x}", queue.member),
                messages,
                reason,
                "published messages did not reach a member"
            );
        }
    }
}

/// Sends one request, and again while it surely has not arrived.
async fn send(shared: &Shared, member: MemberId, batch: Bytes) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = shared.cluster.view();
        let Some(to) = view.member(member) else {
            shared.queues.lock().remove(&member);
            return Err("it is no longer in the cluster's table".to_owned());
        };
        let answered = match shared.peers.send(to, peer::Kind::Publish, 0, batch.clone()) {
            Ok(pending) => pending.until(deadline).await,
            Err(error) => Err(error),
        };
        let error = match answered {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let never_sent = matches!(
            error,
            peer::Error::Unreachable { sent: false, .. }
                | peer::Error::Busy { .. }
                | peer::Error::Refused(_)
        );
        if !never_sent || Instant::now() + PAUSE >= deadline {
            return Err(error.to_string());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_travels_together_and_is_bounded() {
        let mut waiting = Waiting { sending: true, ..Waiting::default() };
        let big = vec![0; MAX_WAITING_BYTES];
        assert!(waiting.add(Target::Channel, b"a", &big), "one message always fits");
        assert!(!waiting.add(Target::Channel, b"a", b"one too many"));
        let (batch, messages) = waiting.take().unwrap();
        assert_eq!((batch.len(), messages), (wire::len(b"a", &big), 1));
        assert!(waiting.add(Target::Channel, b"a", b"1"));
        assert!(waiting.add(Target::Shard, b"b", b"2"));
        let (batch, messages) = waiting.take().unwrap();
        assert_eq!((batch.len(), messages), (2 * wire::len(b"a", b"1"), 2));
        assert!(waiting.take().is_none());
        assert!(!waiting.sending);
    }
}
