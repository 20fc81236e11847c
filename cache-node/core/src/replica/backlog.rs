//! What was written since this member became a slot's primary: who has what there was before goes on by that, and
//! does not need the whole slot.
//!
//! Redis keeps one backlog of all that it wrote for replicas that lost their connection; here a connection may break
//! without that (cycles are sent again), and what is short is the time between a change of primary and the moment at
//! which it has attached the other owners.

use super::feed::Fed;
use super::levels::Levels;
use super::link::Link;
use super::slot::Position;
use crate::cluster::Slot;
use crate::log::record::put_varint;
use crate::log::{Batch, Ticket};
use crate::mutation::{self, Mutation};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most of one slot that is kept, in bytes: with more, all that a slot holds is hardly more.
const MOST_BYTES: usize = 256 << 10;
/// The most that is kept of all slots, in bytes.
const MOST_BYTES_IN_ALL: usize = 32 << 20;
/// Who was not attached by then is not waited for.
const KEPT_MS: u64 = 10_000;

/// A record that was counted: its store, its number and its commands.
pub(crate) type Counted<'r> = (Fed, u64, &'r [u8]);

#[derive(Debug, Clone, Copy)]
struct Part {
    store: Fed,
    sequence: u64,
    time_ms: u64,
    /// Where its commands end in [`Backlog::commands`].
    end: usize,
    /// The next one is of the same batch.
    continues: bool,
}

/// See the module. Dropped as a whole: when all other owners are attached, when it grew too large or too old, and when
/// what was counted is not all that was written.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// How far the slot was, in the epoch before.
    before: Position,
    /// How far those were then who had all that they got.
    levels: Levels,
    /// The epoch in which the first record was written.
    epoch: u64,
    first_ms: u64,
    parts: Vec<Part>,
    commands: Vec<u8>,
    bytes: usize,
    all_bytes: Arc<AtomicUsize>,
}

impl Backlog {
    /// Nothing yet, after what there was at the end of another epoch.
    pub fn new(
        before: Position,
        levels: Levels,
        epoch: u64,
        time_ms: u64,
        all_bytes: &Arc<AtomicUsize>,
    ) -> Self {
        let (parts, commands, all_bytes) = (Vec::new(), Vec::new(), Arc::clone(all_bytes));
        Self { before, levels, epoch, first_ms: time_ms, parts, commands, bytes: 0, all_bytes }
    }

    /// Keeps records that belong together; `false`: they do not follow on what is kept, are too many, or it is too late.
    pub fn keep(&mut self, records: &[Counted<'_>], time_ms: u64) -> bool {
        let last = self.parts.last().map_or(self.before.sequence, |part| part.sequence);
        if records.first().is_some_and(|(_, first, _)| *first != last + 1) {
            return false;
        }
        let one = |(_, _, commands): &Counted<'_>| size_of::<Part>() + commands.len();
        let bytes: usize = records.iter().map(one).sum();
        self.bytes += bytes;
        let in_all = self.all_bytes.fetch_add(bytes, Relaxed) + bytes;
        let is_late = time_ms.saturating_sub(self.first_ms) > KEPT_MS;
        if is_late || self.bytes > MOST_BYTES || in_all > MOST_BYTES_IN_ALL {
            return false;
        }
        for (index, (store, sequence, commands)) in records.iter().enumerate() {
            self.commands.extend_from_slice(commands);
            let (store, sequence, end) = (*store, *sequence, self.commands.len());
            let continues = index + 1 < records.len();
            self.parts.push(Part { store, sequence, time_ms, end, continues });
        }
        true
    }

    /// Whether a copy of the stores of at least a replication factor is where the first record goes on from.
    pub fn follows(&self, least_factor: u8, theirs: Position) -> bool {
        theirs.sequence == self.levels.of(least_factor)
            && (theirs.epoch == self.before.epoch || theirs.epoch == self.epoch)
    }

    /// Appends all of it to a link that stores of at least a replication factor go to, behind the mark of the cycle
    /// `mark`: the cycle in which the last one is, and its number, if there is one. `None`: the session is over.
    pub fn send(
        &self,
        slot: Slot,
        link: &Link,
        session: u64,
        least_factor: u8,
        mark: Ticket,
    ) -> Option<(Ticket, Option<u64>)> {
        let (mut batch, mut start, mut last) = (Batch::default(), 0, (mark, None));
        if mutation::is(Mutation::LostBacklog) {
            return Some(last);
        }
        for part in &self.parts {
            let commands = self.commands.get(start..part.end).unwrap_or_default();
            start = part.end;
            if part.store.replication_factor >= least_factor {
                last.1 = Some(part.sequence);
                batch.add(part.store.number, slot, |out| {
                    put_varint(out, part.sequence);
                    out.extend_from_slice(commands);
                });
            }
            if part.continues || batch.is_empty() {
                continue;
            }
            let (ticket, is_in) = link.append_batch(session, slot, &batch, part.time_ms);
            if !is_in {
                return None;
            }
            last.0 = ticket;
            batch.clear();
        }
        Some(last)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Acks;

    const STORE: Fed = Fed { number: 0, replication_factor: 2, acks: Acks::Quorum };

    fn backlog(all: &Arc<AtomicUsize>) -> Backlog {
        let before = Position { epoch: 4, sequence: 9, coverage: 1 };
        let mut levels = Levels::all(8);
        levels.count(2, 9);
        Backlog::new(before, levels, 5, 1_000, all)
    }

    #[test]
    fn a_slots_backlog_and_all_of_them_are_bounded_and_what_is_dropped_counts_no_more() {
        let all = Arc::default();
        let (mut one, large) = (backlog(&all), vec![b'x'; MOST_BYTES / 2]);
        assert!(one.keep(&[(STORE, 10, &large)], 1_000));
        assert!(!one.keep(&[(STORE, 11, &large)], 1_000));
        drop(one);
        assert_eq!(all.load(Relaxed), 0);
        let mut many = Vec::new();
        let fit = (0..1_000).take_while(|_| {
            let mut one = backlog(&all);
            let fits = one.keep(&[(STORE, 10, &large)], 1_000);
            many.push(one);
            fits
        });
        assert_eq!(fit.count(), MOST_BYTES_IN_ALL / (MOST_BYTES / 2 + size_of::<Part>()));
    }

    #[test]
    fn a_backlog_ends_with_its_time_also_where_clocks_go_back() {
        let mut one = backlog(&Arc::default());
        assert!(one.keep(&[(STORE, 10, b"")], 1_000 + KEPT_MS));
        assert!(one.keep(&[(STORE, 11, b"")], 1));
        assert!(!one.keep(&[(STORE, 12, b"")], 1_001 + KEPT_MS));
    }

    #[test]
    fn a_backlog_with_a_gap_is_none() {
        let mut one = backlog(&Arc::default());
        assert!(one.keep(&[(STORE, 10, b""), (STORE, 11, b"")], 1_000));
        assert!(one.keep(&[(STORE, 12, b"")], 1_000));
        assert!(!one.keep(&[(STORE, 14, b"")], 1_000));
    }

    #[test]
    fn a_backlog_follows_what_there_was_at_the_end_of_the_epoch_before_and_nothing_else() {
        let one = backlog(&Arc::default());
        let at = |epoch, sequence| one.follows(2, Position { epoch, sequence, coverage: 1 });
        assert!(at(4, 9) && at(5, 9));
        assert!(!at(4, 8) && !at(4, 10) && !at(3, 9) && !at(6, 9));
        let fewer = |sequence| one.follows(3, Position { epoch: 4, sequence, coverage: 1 });
        assert!(fewer(8) && !fewer(9));
    }
}
