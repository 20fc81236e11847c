//! Replies that wait until what they tell of is on the disk, and at as many members as it has to be.
//!
//! A command notes what it has to wait for with the thread that ran it
//! ([`hypercache_core::replica::awaits`]); whoever has its reply takes that before anything else runs there.

use std::future::poll_fn;
use std::time::Duration;

use hypercache_core::replica::{self, awaits};
use hypercache_core::resp::{Protocol, Writer};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Router;
use crate::raft::Lease;

/// How long a write may take to get to the disk, and how long it waits for room in the journal.
const PATIENCE: Duration = Duration::from_secs(10);

/// The reply to what ran here and may not be answered any more.
///
/// No `CLUSTERDOWN`: clients of clusters take that for "not done", and ask again.
pub const CUT_OFF: &str = "UNKNOWN This member reached no majority of the voters any more when this had \
                           run; it may have been done";

/// Replies in a row of replies, and what they wait for together.
#[derive(Debug, Default)]
pub struct Awaited {
    for_what: replica::Awaited,
    /// Where each stands.
    replies: SmallVec<[(usize, usize); 4]>,
}

impl Awaited {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.for_what.is_empty()
    }

    /// Takes what the command that just ran on this thread waits for; its reply stands between these
    /// places.
    #[inline]
    pub fn note(&mut self, start: usize, end: usize) {
        if let Some(awaited) = awaits::take() {
            self.for_what.merge(awaited);
            self.replies.push((start, end));
        }
    }

    /// Puts an error in the place of each reply that waits. Gives what became of each: where it was, and
    /// where its error stands.
    fn refuse(self, protocol: Protocol, text: &str, out: &mut Vec<u8>) {
        let mut error = Vec::new();
        Writer::new(&mut error, protocol).error(text);
        for (start, end) in self.replies.into_iter().rev() {
            out.splice(start..end.min(out.len()).max(start), error.iter().copied());
        }
    }

    /// Where a place in the replies is once each that waits was put an error of `len` bytes in its place.
    fn moved(replies: &[(usize, usize)], len: usize, at: usize) -> usize {
        let before = replies.iter().filter(|(_, end)| *end <= at);
        before.fold(at, |at, (start, end)| at + len - (end - start))
    }
}

impl Router {
    /// This member's lease, to be taken before the view and before anything runs.
    #[inline]
    pub fn lease(&self) -> Lease {
        self.0.cluster.lease()
    }

    /// Whether what ran here since that lease was taken may be answered: no other member can have become the
    /// primary of its slots before it ran.
    #[inline]
    pub fn holds(&self, lease: Lease) -> bool {
        // Who is not in the table serves no slot.
        self.0.cluster.holds(lease) || self.0.cluster.view().is_outside()
    }

    /// As [`Self::until_met`], of what another command did for one that waited, at a time that is not known.
    pub(super) async fn until_met_by_another(
        &self,
        awaited: &replica::Awaited,
    ) -> Result<(), String> {
        let lease = self.lease();
        if !self.0.cluster.view().quorum {
            return Err(CUT_OFF.into());
        }
        self.until_met(lease, awaited).await
    }

    /// Waits until this, which ran under a lease, is on the disk, and at as many members as it has to be. The
    /// lease has to hold then as well: who would be the next primary counts what was confirmed until it was over.
    ///
    /// # Errors
    /// The error that is to be replied in the place of the replies.
    pub async fn until_met(&self, lease: Lease, awaited: &replica::Awaited) -> Result<(), String> {
        self.until_confirmed(awaited).await?;
        if self.holds(lease) { Ok(()) } else { Err(CUT_OFF.into()) }
    }

    async fn until_confirmed(&self, awaited: &replica::Awaited) -> Result<(), String> {
        if !awaited.needs().is_empty() {
            let (began, met) = (Instant::now(), self.0.keyspace.feed().until_met(awaited));
            match tokio::time::timeout(PATIENCE, met).await {
                Ok(Ok(())) => self.0.times.confirmed.note(super::micros(began)),
                Ok(Err(lost)) => return Err(format!("UNKNOWN {lost}; it may have been done")),
                Err(_) => {
                    return Err(format!(
                        "UNKNOWN Too few replicas confirmed within {PATIENCE:?}; it may have been done"
                    ));
                }
            }
        }
        let Some(ticket) = awaited.ticket else { return Ok(()) };
        let journal = self.0.keyspace.journal();
        match tokio::time::timeout(PATIENCE, journal.until_durable(ticket)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failed)) => Err(format!(
                "MISCONF Errors writing to the log: {failed}; the write may have been done, and is not on \
                 the disk"
            )),
            Err(_) => Err(format!(
                "MISCONF The write was not on the disk within {PATIENCE:?}; it may have been done"
            )),
        }
    }

    /// Whether there is room in the journal, and on the links to other members, for another write.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.0.keyspace.journal().has_room() && self.0.keyspace.feed().has_room()
    }

    /// Waits until there is room in the journal, and on the links to other members, for another write.
    pub async fn room(&self) {
        let (journal, feed) = (self.0.keyspace.journal(), self.0.keyspace.feed());
        let room = async {
            poll_fn(|cx| journal.poll_room(cx.waker())).await;
            poll_fn(|cx| feed.poll_room(cx.waker())).await;
        };
        let _ = tokio::time::timeout(PATIENCE, room).await;
    }

    /// Waits for what the command that just ran on this thread has to wait for, and whose reply begins
    /// at `start` of `out`; that becomes an error if it does not come.
    pub(super) async fn settle(
        &self,
        lease: Lease,
        protocol: Protocol,
        start: usize,
        out: &mut Vec<u8>,
    ) {
        let awaited = awaits::take().unwrap_or_default();
        // What was refused anyhow tells nothing of the slot.
        if awaited.is_empty() && out.get(start) == Some(&b'-') {
            return;
        }
        if let Err(text) = self.until_met(lease, &awaited).await {
            out.truncate(start);
            Writer::new(out, protocol).error(&text);
        }
    }

    /// Waits for all of these; those that wait for what does not come become errors. Places in `out` that are to
    /// stay at their commands are moved with them.
    pub async fn settle_all<'p>(
        &self,
        lease: Lease,
        awaited: Awaited,
        protocol: Protocol,
        out: &mut Vec<u8>,
        places: impl Iterator<Item = &'p mut usize>,
    ) {
        if awaited.is_empty() {
            return;
        }
        if let Err(text) = self.until_met(lease, &awaited.for_what).await {
            let mut error = Vec::new();
            Writer::new(&mut error, protocol).error(&text);
            for place in places {
                *place = Awaited::moved(&awaited.replies, error.len(), *place);
            }
            awaited.refuse(protocol, &text, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_replies_of_writes_that_waited_become_errors() {
        let mut out = b"+a\r\n+OK\r\n$1\r\nx\r\n:1\r\n".to_vec();
        let replies = SmallVec::from_slice(&[(4, 9), (16, 20)]);
        let moved = [0, 4, 9, 16, 20].map(|at| Awaited::moved(&replies, 4, at));
        assert_eq!(moved, [0, 4, 8, 15, 19]);
        Awaited { for_what: replica::Awaited::default(), replies }.refuse(
            Protocol::Resp2,
            "E",
            &mut out,
        );
        assert_eq!(out.escape_ascii().to_string(), "+a\\r\\n-E\\r\\n$1\\r\\nx\\r\\n-E\\r\\n");
    }
}
