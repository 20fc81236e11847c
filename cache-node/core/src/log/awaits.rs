//! What the commands that a thread runs have to wait for before they are answered.
//!
//! A command runs on one thread from its start to its reply, and knows nothing of who waits for the
//! reply. So what it has to wait for is noted here, and whoever answers takes it.

use super::Ticket;
use std::cell::Cell;

thread_local! {
    static AWAITED: Cell<Option<Ticket>> = const { Cell::new(None) };
}

/// Notes that the command that runs on this thread may be answered only once this is durable.
#[inline]
pub fn note(ticket: Ticket) {
    AWAITED.with(|awaited| awaited.set(awaited.get().max(Some(ticket))));
}

/// What the commands that ran on this thread since the last call have to wait for: all of it is
/// durable once this is.
#[inline]
pub fn take() -> Option<Ticket> {
    AWAITED.with(Cell::take)
}
