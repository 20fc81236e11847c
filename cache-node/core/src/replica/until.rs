//! Waiting until others have confirmed; whoever gives up leaves nothing behind.

use super::feed::Feed;
use super::link::Link;
use super::need::{Lost, Need, Progress};
use crate::log::Ticket;
use smallvec::SmallVec;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Links, each with a cycle.
type Cycles = SmallVec<[(Arc<Link>, Ticket); 4]>;

/// Ready when all needs are met, or one of their slots was lost.
#[derive(Debug)]
#[must_use = "nobody waits before it is polled"]
pub struct UntilMet<'f> {
    feed: &'f Feed,
    needs: Vec<Need>,
    /// Where it waits, and as who.
    at: SmallVec<[(Arc<Link>, u64); 2]>,
    /// As who it waits for something else than a link's cycle.
    changes: Option<u64>,
}

impl<'f> UntilMet<'f> {
    pub(super) fn new(feed: &'f Feed, needs: Vec<Need>) -> Self {
        Self { feed, needs, at: SmallVec::new(), changes: None }
    }

    fn leave(&mut self) {
        for (link, id) in self.at.drain(..) {
            link.journal().await_no_more(id);
        }
        if let Some(id) = self.changes.take() {
            self.feed.await_no_more(id);
        }
    }

    /// The first cycle of each link that is waited for; and whether there are links that have confirmed what
    /// was waited for.
    fn awaited(&self) -> (Cycles, bool) {
        let mut awaited = Cycles::new();
        let mut has_confirmed = false;
        for need in &self.needs {
            self.feed.look(need.slot, |slot| {
                for way in slot.ways.iter().filter(|way| way.is_attached() && way.is_whole) {
                    let ticket = need.ticket_of(&way.link).max(way.mark);
                    if way.link.has_confirmed(ticket) {
                        has_confirmed = true;
                        continue;
                    }
                    match awaited.iter_mut().find(|(link, _)| link.index() == way.link.index()) {
                        Some((_, least)) => *least = ticket.min(*least),
                        None => awaited.push((Arc::clone(&way.link), ticket)),
                    }
                }
            });
        }
        (awaited, has_confirmed)
    }
}

impl Future for UntilMet<'_> {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.leave();
        loop {
            let changes = this.feed.changes();
            let mut lost = None;
            this.needs.retain(|need| match this.feed.progress(need) {
                Progress::Met => false,
                Progress::Waits => true,
                Progress::Lost => {
                    lost = Some(Lost { slot: need.slot });
                    true
                }
            });
            if let Some(lost) = lost {
                return Poll::Ready(Err(lost));
            }
            if this.needs.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut again = false;
            let (awaited, has_confirmed) = this.awaited();
            for (link, ticket) in awaited {
                match link.journal().await_end(ticket, cx.waker()) {
                    Some(id) => this.at.push((link, id)),
                    None => again = true,
                }
            }
            if this.at.is_empty() && !again {
                this.changes = Some(this.feed.await_change(cx.waker()));
            }
            // What was confirmed after its progress was looked at wakes nobody any more.
            let mut needs = this.needs.iter();
            again |= has_confirmed && needs.any(|need| this.feed.progress(need) != Progress::Waits);
            if !again && this.feed.changes() == changes {
                return Poll::Pending;
            }
            this.leave();
        }
    }
}

impl Drop for UntilMet<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
