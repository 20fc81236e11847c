//! Waiting for a cycle's end; whoever gives up leaves nothing behind.

use super::journal::{Awaiting, Failed, Journal, Ticket};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Ready when a ticket's cycle is durable, or when nothing can be made durable by now.
#[derive(Debug)]
#[must_use = "nobody waits before it is polled"]
pub struct UntilDurable<'j> {
    journal: &'j Journal,
    ticket: Ticket,
    /// As who it waits, while it does.
    id: Option<u64>,
}

impl<'j> UntilDurable<'j> {
    pub(super) fn new(journal: &'j Journal, ticket: Ticket) -> Self {
        Self { journal, ticket, id: None }
    }
}

impl Future for UntilDurable<'_> {
    type Output = Result<(), Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let journal = self.journal;
        let mut ends = journal.ends.lock();
        let known = self.id.take();
        // Who is told is not among those who wait any more.
        if self.ticket.0 < ends.durable {
            return Poll::Ready(Ok(()));
        }
        if let Some(failed) = &ends.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        let found = known.and_then(|id| ends.awaiting.iter_mut().find(|each| each.id == id));
        if let Some(awaiting) = found {
            let before = std::mem::replace(&mut awaiting.waker, cx.waker().clone());
            drop(ends);
            drop(before);
            self.id = known;
            return Poll::Pending;
        }
        ends.waits += 1;
        let (cycle, id, waker) = (self.ticket.0, ends.waits, cx.waker().clone());
        ends.awaiting.push(Awaiting { cycle, id, waker });
        drop(ends);
        self.id = Some(id);
        journal.hurry();
        Poll::Pending
    }
}

impl Drop for UntilDurable<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let mut ends = self.journal.ends.lock();
            let index = ends.awaiting.iter().position(|awaiting| awaiting.id == id);
            let left = index.map(|index| ends.awaiting.swap_remove(index));
            // What goes with a waker may lock this as well.
            drop(ends);
            drop(left);
        }
    }
}
