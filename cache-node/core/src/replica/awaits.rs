//! What the commands that a thread runs have to wait for before they are answered: the disk
//! ([`crate::log::awaits`]), and other members.

use super::need::Need;
use crate::log::{Ticket, awaits};
use std::cell::{Cell, RefCell};

/// So many needs are put in order by slot before more are added.
const MANY: usize = 64;

thread_local! {
    static IS_SOME: Cell<bool> = const { Cell::new(false) };
    static NEEDS: RefCell<Vec<Need>> = const { RefCell::new(Vec::new()) };
}

/// What one answer, or several together, wait for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Awaited {
    /// What has to be on this member's disk.
    pub ticket: Option<Ticket>,
    /// What has to be confirmed by others.
    needs: Vec<Need>,
}

impl Awaited {
    /// Whether there is nothing to wait for.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ticket.is_none() && self.needs.is_empty()
    }

    /// What waits for this member's disk only.
    pub fn of_disk(ticket: Option<Ticket>) -> Self {
        Self { ticket, needs: Vec::new() }
    }

    /// What has to be confirmed by others.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// Waits for what another one waits for, as well.
    pub fn merge(&mut self, other: Self) {
        self.ticket = self.ticket.max(other.ticket);
        if self.needs.is_empty() {
            self.needs = other.needs;
            return;
        }
        for need in other.needs {
            self.add(need);
        }
    }

    /// Waits for one thing more.
    pub(crate) fn add(&mut self, need: Need) {
        add(&mut self.needs, need);
    }
}

fn add(needs: &mut Vec<Need>, need: Need) {
    // Commands of one client are mostly about few slots, or about many in turn.
    let near = needs.iter_mut().rev().take(4).find(|known| known.is_like(&need));
    match near {
        Some(known) => known.merge(&need),
        None => {
            needs.push(need);
            if needs.len() >= MANY && needs.len().is_power_of_two() {
                compact(needs);
            }
        }
    }
}

/// Makes one of those that are alike.
fn compact(needs: &mut Vec<Need>) {
    needs.sort_by_key(|need| (need.slot, need.tenure, need.replication_factor));
    needs.dedup_by(|next, kept| {
        let is_like = kept.is_like(next);
        if is_like {
            kept.merge(next);
        }
        is_like
    });
}

/// Notes that the command that runs on this thread may be answered only once this is confirmed.
pub fn note(need: Need) {
    IS_SOME.set(true);
    NEEDS.with_borrow_mut(|needs| add(needs, need));
}

/// What the commands that ran on this thread since the last call have to wait for.
#[inline]
pub fn take() -> Option<Awaited> {
    let ticket = awaits::take();
    if !IS_SOME.get() {
        return ticket.map(|ticket| Awaited { ticket: Some(ticket), needs: Vec::new() });
    }
    IS_SOME.set(false);
    Some(Awaited { ticket, needs: NEEDS.take() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Acks;

    fn need(slot: u16, cycle: u64) -> Need {
        Need {
            slot,
            tenure: 1,
            acks: Acks::All,
            replication_factor: 2,
            tickets: [(0, Ticket::of_cycle(cycle))].into_iter().collect(),
        }
    }

    #[test]
    fn what_many_commands_of_one_slot_wait_for_is_one_need() {
        assert_eq!(take(), None);
        (0..1000).for_each(|n| note(need(n % 100, u64::from(n))));
        let mut awaited = take().unwrap();
        assert!(awaited.needs().len() <= 200, "{}", awaited.needs().len());
        compact(&mut awaited.needs);
        assert_eq!(awaited.needs().len(), 100);
        assert_eq!(awaited.needs()[7].tickets[0].1, Ticket::of_cycle(907));
        assert_eq!(take(), None);
    }
}
