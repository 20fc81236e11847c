//! Which cycles of a link's session its peer has done.

use super::incoming::Refused;
use crate::cluster::Slot;
use crate::log::Ticket;

/// Which cycles of a session were done, and what of them was refused: what comes twice is done once, in
/// order, and what was refused is told until the sender must have heard it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    session: u64,
    /// The last cycle that was done; 0 for none.
    number: u64,
    /// Slots that were refused since they were attached last.
    refused: Vec<(Slot, Refused)>,
    /// What has to be on the disk before anything more is confirmed; also of earlier sessions.
    ticket: Option<Ticket>,
    /// The last cycle of which it is known that it is there, with all before it.
    on_disk: u64,
}

/// What is to be done with a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receive {
    /// It is the next.
    Next,
    /// It was done before. It is confirmed again, with all that was refused.
    Again,
    /// It is of another session, or one before it is missing.
    Unknown,
}

impl Received {
    /// Nothing of a session yet.
    pub fn new(session: u64) -> Self {
        Self { session, ..Self::default() }
    }

    /// Nothing of another session yet. What was done in the one before may have yet to be on the disk.
    #[must_use]
    pub fn follow(&self, session: u64) -> Self {
        Self { ticket: self.ticket, ..Self::new(session) }
    }

    /// The session; 0 for none.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// The last cycle that was done and is on the disk, as far as it has to be; 0 for none. `is_durable` says it of what
    /// was appended to the log. Who goes on with the session over another connection is told this, and
    /// [`Self::refused`], before anything else: a confirmation of a cycle may have been lost with what was refused of
    /// it. What comes after it is sent again.
    pub fn confirmed(&mut self, is_durable: impl Fn(Ticket) -> bool) -> u64 {
        if self.ticket.is_none_or(is_durable) {
            self.on_disk = self.number;
        }
        self.on_disk
    }

    /// What has to be on the disk before anything more is confirmed.
    pub fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    /// Slots that were refused since they were attached last.
    pub fn refused(&self) -> &[(Slot, Refused)] {
        &self.refused
    }

    /// What is to be done with a cycle. The first one of a session may have any number.
    pub fn receive(&self, session: u64, number: u64) -> Receive {
        if session != self.session || session == 0 {
            return Receive::Unknown;
        }
        match number {
            _ if self.number == 0 || number == self.number + 1 => Receive::Next,
            _ if number <= self.number => Receive::Again,
            _ => Receive::Unknown,
        }
    }

    /// A cycle was done: what was refused of it, and what was attached by it; and what has to be on the disk before it
    /// is confirmed. `is_durable` as for [`Self::confirmed`].
    pub fn done(
        &mut self,
        number: u64,
        refused: &[(Slot, Refused)],
        attached: &[Slot],
        ticket: Option<Ticket>,
        is_durable: impl Fn(Ticket) -> bool,
    ) {
        // How far it was until now: afterwards that can be told no more.
        self.confirmed(is_durable);
        self.number = number;
        self.ticket = self.ticket.max(ticket);
        self.refused.retain(|(slot, _)| !attached.contains(slot));
        for (slot, why) in refused {
            self.refused.retain(|(known, _)| known != slot);
            self.refused.push((*slot, *why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_done_once_and_in_its_turn() {
        let mut received = Received::new(7);
        assert_eq!(received.receive(7, 5), Receive::Next);
        received.done(5, &[], &[], None, |_| true);
        assert_eq!(received.receive(7, 6), Receive::Next);
        assert_eq!(received.receive(7, 5), Receive::Again);
        assert_eq!(received.receive(7, 7), Receive::Unknown);
        assert_eq!(received.receive(8, 6), Receive::Unknown);
        assert_eq!(Received::default().receive(0, 1), Receive::Unknown);
    }

    #[test]
    fn what_was_refused_is_told_until_the_slot_is_attached_again() {
        let mut received = Received::new(7);
        received
            .done(1, &[(3, Refused::Unattached), (4, Refused::Unattached)], &[], None, |_| true);
        received.done(2, &[(3, Refused::Newer { epoch: 9 })], &[4], None, |_| true);
        assert_eq!(received.refused(), [(3, Refused::Newer { epoch: 9 })]);
    }

    #[test]
    fn who_goes_on_with_a_session_is_told_of_no_cycle_that_is_not_on_the_disk() {
        let ticket = Ticket::of_cycle;
        let mut received = Received::new(7);
        received.done(1, &[], &[], Some(ticket(4)), |_| false);
        assert_eq!(received.confirmed(|at| at <= ticket(4)), 1);
        received.done(2, &[], &[], Some(ticket(5)), |at| at <= ticket(4));
        received.done(3, &[], &[], None, |at| at <= ticket(4));
        assert_eq!(received.confirmed(|at| at <= ticket(4)), 1);
        assert_eq!(received.follow(8).confirmed(|at| at <= ticket(4)), 0);
        assert_eq!(received.confirmed(|at| at <= ticket(5)), 3);
    }
}
