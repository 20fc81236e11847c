//! The active expiry cycle: keys whose lifetime is over leave although nobody asks for them.

use super::Keyspace;
use super::entry::Entry;
use super::notice::Event;
use super::slot::{NEVER, StoreTable};
use super::values::Value;
use crate::cluster::{SLOTS, Slot};
use smallvec::SmallVec;
use std::sync::atomic::Ordering::Relaxed;

impl Keyspace {
    /// Until a time in Unix milliseconds, keys whose lifetime is over stay where they are: nobody
    /// finds them, and they are neither counted as expired nor told of. Only who writes to such a key
    /// takes it out. With 0, or later, they leave again.
    pub fn pause_expiry(&self, until_ms: u64) {
        self.expiry_paused_until_ms.store(until_ms, Relaxed);
    }

    /// Whether [`Self::pause_expiry`] is in force.
    #[cold]
    pub(super) fn is_expiry_paused(&self, now_ms: u64) -> bool {
        now_ms < self.expiry_paused_until_ms.load(Relaxed)
    }

    /// Removes expired keys, looking at about `budget` keys at most, and goes on next time where
    /// it stopped; tells how many left. A slot without due keys costs one load; a large table is
    /// done in steps of one segment, so that no lock is held for long.
    pub fn expire_cycle(&self, now_ms: u64, budget: usize) -> usize {
        self.seen_ms.store(now_ms, Relaxed);
        self.tend_filters(budget);
        if self.is_expiry_paused(now_ms) {
            return 0;
        }
        let (mut removed, mut looked) = (0, 0);
        let first = self.expiry_slot.load(Relaxed);
        for step in 0..u32::from(SLOTS) {
            let slot = (first.wrapping_add(step) % u32::from(SLOTS)) as u16;
            let Some(due) = self.due_ms(slot) else { continue };
            while due.load(Relaxed) <= now_ms {
                if looked >= budget {
                    self.expiry_slot.store(u32::from(slot), Relaxed);
                    return removed;
                }
                let Some((seen, gone)) = self.expire_step(slot, now_ms) else { break };
                looked += seen.max(1);
                removed += gone;
            }
        }
        self.expiry_slot.store(first, Relaxed);
        removed
    }

    /// One segment of each due table of a slot: how many keys it looked at and removed. `None` while
    /// others hold the slot, a script for long perhaps, and where its primary alone may remove keys: it has
    /// its turn in the next cycle.
    fn expire_step(&self, slot: Slot, now_ms: u64) -> Option<(usize, usize)> {
        let (mut seen, mut gone) = (0, 0);
        let mut buried = Vec::new();
        let (Some(cell), Some(due)) = (self.cell(slot), self.due_ms(slot)) else { return None };
        let mut state = cell.state.try_lock()?;
        if !self.may_remove(slot) {
            return None;
        }
        let mut next = NEVER;
        let mut idle = false;
        for table in &mut state.tables {
            if table.next_expiry_ms <= now_ms {
                let step = self.expire_table(table, now_ms, &mut buried);
                seen += step.0;
                gone += step.1;
            }
            next = next.min(table.next_expiry_ms);
            idle |= table.is_idle();
        }
        if idle {
            state.tidy_all();
        }
        due.store(next, Relaxed);
        drop(state);
        if !buried.is_empty() {
            self.let_go(buried);
        }
        Some((seen, gone))
    }

    fn expire_table(
        &self,
        table: &mut StoreTable,
        now_ms: u64,
        buried: &mut Vec<Value>,
    ) -> (usize, usize) {
        if table.with_ttl == 0 {
            table.next_expiry_ms = NEVER;
            table.expiry_position = 0;
            table.pass_least_ms = NEVER;
            return (0, 0);
        }
        let mut due: SmallVec<[u64; 32]> = SmallVec::new();
        let mut least = table.pass_least_ms;
        let mut seen = 0;
        let hasher = &self.hasher;
        let next = table.table.visit_segment(table.expiry_position, |entry| {
            seen += 1;
            let ends_at_ms = table.ends_at_ms(hasher, &entry, now_ms);
            if ends_at_ms != 0 && ends_at_ms <= now_ms {
                due.push(hasher.hash(entry.key));
            } else if ends_at_ms != 0 {
                least = least.min(ends_at_ms);
            }
        });
        match next {
            Some(position) => {
                table.expiry_position = position;
                table.pass_least_ms = least;
            }
            None => {
                // A whole pass is done: nothing that is still here ends before `least`.
                table.expiry_position = 0;
                table.pass_least_ms = NEVER;
                table.next_expiry_ms = least;
            }
        }
        let mut gone = 0;
        for hash in due {
            let is_over = |entry: &Entry<'_>| table.is_over(hasher, entry, now_ms);
            if let Some(place) = table.table.find_where(hash, is_over)
                && let Some(entry) = table.table.get(place)
            {
                self.notices.note(Event::EXPIRED, table.number, entry.key);
                self.log_gone(table.number, table.slot, entry.key, now_ms);
                let value = table.remove(hasher, place).flatten();
                gone += 1;
                buried.extend(value.filter(Value::is_large));
            }
        }
        table.counters.expired.fetch_add(gone as u64, Relaxed);
        (seen, gone)
    }
}
