//! Replies that wait until what they tell of is on the disk, and at as many members as it has to be.
//!
//! A command notes what it has to wait for with the thread that ran it
//! ([`hypercache_core::replica::awaits`]); whoever has its reply takes that before anything else runs there.

use std::future::poll_fn;
use std::time::{Duration, SystemTime};

use hypercache_core::replica::{self, Need, awaits};
use hypercache_core::resp::{Protocol, Writer};
use opentelemetry::{Context, KeyValue};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Router;
use crate::raft::Lease;
use crate::server::stats::errors;
use crate::telemetry::trace::{self, Past};

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
    /// The requests of them that have spans.
    traced: Vec<Traced>,
}

/// A request that has spans, and what of it ran here.
#[derive(Debug)]
struct Traced {
    request: Context,
    executed: Context,
}

impl Awaited {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.for_what.is_empty()
    }

    /// Takes what the command that just ran on this thread waits for; its reply stands between these
    /// places. Whether it waits for anything.
    #[inline]
    pub fn note(&mut self, start: usize, end: usize) -> bool {
        let Some(awaited) = awaits::take() else { return false };
        self.for_what.merge(awaited);
        self.replies.push((start, end));
        true
    }

    /// What was noted last is of a request that has spans: it ends with the wait.
    #[cold]
    pub fn trace(&mut self, request: Context, executed: Context) {
        self.traced.push(Traced { request, executed });
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
        match self.0.traces.current() {
            None => self.until_met_for(lease, awaited, &[]).await,
            Some(span) => self.until_met_for(lease, awaited, &[span]).await,
        }
    }

    /// As [`Self::until_met`], for what ran in these spans.
    pub(super) async fn until_met_for(
        &self,
        lease: Lease,
        awaited: &replica::Awaited,
        spans: &[Context],
    ) -> Result<(), String> {
        if spans.is_empty() {
            self.until_confirmed(awaited).await?;
            self.until_durable(awaited).await?;
        } else {
            self.until_met_and_told(awaited, spans).await?;
        }
        if self.holds(lease) { Ok(()) } else { Err(CUT_OFF.into()) }
    }

    /// Waits for both side by side, to tell how long each took.
    async fn until_met_and_told(
        &self,
        awaited: &replica::Awaited,
        spans: &[Context],
    ) -> Result<(), String> {
        let began = SystemTime::now();
        let (confirmed, durable) =
            tokio::join!(ended(self.until_confirmed(awaited)), ended(self.until_durable(awaited)));
        let mut waits = Vec::new();
        if let Some(most) = awaited.needs().iter().map(Need::confirmations).max() {
            let asked = KeyValue::new("hypercache.replication.confirmations", i64::from(most));
            waits.push(("replicate", vec![asked], &confirmed));
        }
        if awaited.ticket.is_some() {
            waits.push(("log", Vec::new(), &durable));
        }
        for (name, attributes, (ended, met)) in waits {
            let past = Past { name, began, ended: *ended, attributes };
            let error = met.as_ref().err().map(|text| errors::kind(text.as_bytes()));
            spans.iter().for_each(|span| self.0.traces.tell(span, &past, error));
        }
        confirmed.1.and(durable.1)
    }

    async fn until_confirmed(&self, awaited: &replica::Awaited) -> Result<(), String> {
        if awaited.needs().is_empty() {
            return Ok(());
        }
        let (began, met) = (Instant::now(), self.0.keyspace.feed().until_met(awaited));
        match tokio::time::timeout(PATIENCE, met).await {
            Ok(Ok(())) => {
                self.0.times.confirmed.note(super::micros(began));
                Ok(())
            }
            Ok(Err(lost)) => Err(format!("UNKNOWN {lost}; it may have been done")),
            Err(_) => Err(format!(
                "UNKNOWN Too few replicas confirmed within {PATIENCE:?}; it may have been done"
            )),
        }
    }

    async fn until_durable(&self, awaited: &replica::Awaited) -> Result<(), String> {
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
        let spans: Vec<Context> =
            awaited.traced.iter().map(|traced| traced.executed.clone()).collect();
        let met = self.until_met_for(lease, &awaited.for_what, &spans).await;
        let error = met.as_ref().err().map(|text| errors::kind(text.as_bytes()));
        awaited.traced.iter().for_each(|traced| trace::end(&traced.request, error));
        if let Err(text) = met {
            let mut error = Vec::new();
            Writer::new(&mut error, protocol).error(&text);
            for place in places {
                *place = Awaited::moved(&awaited.replies, error.len(), *place);
            }
            awaited.refuse(protocol, &text, out);
        }
    }
}

/// What a future gives, and when it did.
async fn ended<T>(future: impl Future<Output = T>) -> (SystemTime, T) {
    let done = future.await;
    (SystemTime::now(), done)
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
        Awaited { replies, ..Awaited::default() }.refuse(Protocol::Resp2, "E", &mut out);
        assert_eq!(out.escape_ascii().to_string(), "+a\\r\\n-E\\r\\n$1\\r\\nx\\r\\n-E\\r\\n");
    }
}
