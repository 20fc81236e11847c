//! A store's own time: turns, the marks at which frequencies halve, and when a turn was.

use super::usage::{TURN_BITS, idle_turns};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// So many halvings make any counter of few accesses zero; older marks are not kept.
const MARKS: usize = 6;
/// Up to so many keys, a turn is a key; beyond, a turn is several, so that a turn in
/// [`TURN_BITS`] bits is told from those before it for several rounds of the whole store.
const FINE_KEYS: u64 = 1 << (TURN_BITS - 3);
/// So many turns' times are known.
const TIMES: usize = 256;

/// Turns go by with every key that comes in, and with every second in which a key is used;
/// frequencies halve at every mark. Read at every access, so on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub struct Pace {
    turn: AtomicU64,
    /// The second of the last access.
    second: AtomicU64,
    /// The turns of the last marks, the newest first.
    marks: [AtomicU64; MARKS],
    /// Turns and the seconds in which they began, in order; the older, the fewer.
    times: Mutex<Vec<(u64, u64)>>,
}

impl Default for Pace {
    fn default() -> Self {
        // As if the marks had been long ago: nothing was touched before them.
        Self {
            turn: AtomicU64::new(1),
            second: AtomicU64::new(0),
            marks: [const { AtomicU64::new(0) }; MARKS],
            times: Mutex::default(),
        }
    }
}

/// How many keys make a turn in a store of so many.
#[inline]
pub fn keys_a_turn(keys: u64) -> u64 {
    keys / FINE_KEYS + 1
}

impl Pace {
    /// The turn it is.
    #[inline]
    pub fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// The turn it is for an access at this time.
    #[inline]
    pub fn turn_at(&self, now_ms: u64) -> u64 {
        let second = now_ms / 1000;
        if self.second.load(Relaxed) < second {
            self.begin_second(second);
        }
        self.turn()
    }

    #[cold]
    fn begin_second(&self, second: u64) {
        let mut times = self.times.lock();
        if self.second.load(Relaxed) >= second {
            return;
        }
        if times.len() >= TIMES {
            // The one goes without which the others say most, for how long ago they are.
            let fault = |three: &[(u64, u64)]| {
                let gap = three[2].1 - three[0].1;
                gap as f64 / (second - three[0].1) as f64
            };
            let faults = times.windows(3).map(fault).enumerate();
            if let Some((index, _)) = faults.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
                times.remove(index + 1);
            }
        }
        times.push((self.next_turn(), second));
        self.second.store(second, Relaxed);
    }

    /// How long ago a turn was, in milliseconds: exact to the second of late, and to some
    /// hundredths for what is long ago.
    pub fn idle_ms(&self, touched: u32, now_ms: u64) -> u64 {
        let touched = self.full(touched);
        let times = self.times.lock();
        let before = times.partition_point(|(turn, _)| *turn <= touched);
        let second = times.get(before.saturating_sub(1)).map_or(0, |(_, second)| *second);
        (now_ms / 1000).saturating_sub(second) * 1000
    }

    /// One more turn: which.
    #[inline]
    pub fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// One more key comes in to so many: its turn. `chance` is any number that changes from key
    /// to key.
    #[inline]
    pub fn key_turn(&self, keys: u64, chance: u64, now_ms: u64) -> u64 {
        let turn = self.turn_at(now_ms);
        if keys < FINE_KEYS || chance.is_multiple_of(keys_a_turn(keys)) {
            self.next_turn()
        } else {
            turn
        }
    }

    /// The whole turn of which a key knows the lowest bits.
    #[inline]
    pub fn full(&self, touched: u32) -> u64 {
        let turn = self.turn();
        turn.saturating_sub(u64::from(idle_turns(touched, turn)))
    }

    /// All frequencies halve now. Called by one thread at a time.
    pub fn mark(&self) {
        for at in (1..MARKS).rev() {
            self.marks[at].store(self.marks[at - 1].load(Relaxed), Relaxed);
        }
        self.marks[0].store(self.next_turn(), Relaxed);
    }

    /// Whether no mark was set since a turn.
    #[inline]
    pub fn is_current(&self, touched: u32) -> bool {
        self.full(touched) >= self.marks[0].load(Relaxed)
    }

    /// How many marks were set since a turn.
    #[inline]
    pub fn halvings(&self, touched: u32) -> u32 {
        let touched = self.full(touched);
        self.marks.iter().take_while(|mark| touched < mark.load(Relaxed)).count() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::usage::TURN_MASK;
    use super::*;

    #[test]
    fn marks_count_for_what_was_touched_before_them() {
        let pace = Pace::default();
        let first = pace.next_turn() as u32;
        assert_eq!(pace.halvings(first), 0);
        pace.mark();
        let second = pace.next_turn() as u32;
        assert_eq!((pace.halvings(first), pace.halvings(second)), (1, 0));
        (0..20).for_each(|_| pace.mark());
        assert_eq!(pace.halvings(first), MARKS as u32);
        assert!(!pace.is_current(second) && pace.is_current(pace.turn() as u32));
    }

    #[test]
    fn the_wrap_of_turns_does_no_harm() {
        let pace = Pace::default();
        pace.turn.store(u64::from(TURN_MASK) - 9, Relaxed);
        (0..MARKS).for_each(|_| pace.mark());
        let before = pace.next_turn() as u32 & TURN_MASK;
        pace.mark();
        pace.mark();
        let after = pace.next_turn() as u32 & TURN_MASK;
        assert!(after < before);
        assert_eq!(pace.halvings(before), 2);
        assert_eq!(pace.halvings(after), 0);
    }

    #[test]
    fn the_time_of_a_turn_is_exact_of_late_and_near_long_ago() {
        let pace = Pace::default();
        let start = 1_700_000_000u64;
        let touched: Vec<u32> = (0..20_000)
            .map(|second| {
                let turn = pace.turn_at((start + second) * 1000) as u32;
                (0..3).for_each(|_| _ = pace.next_turn());
                turn
            })
            .collect();
        let now = start + 19_999;
        for (second, touched) in touched.iter().enumerate() {
            let idle = now - start - second as u64;
            let told = pace.idle_ms(*touched, now * 1000 + 999) / 1000;
            assert!(told >= idle && told - idle <= idle / 12, "{told} for {idle}");
            assert!(idle > 20 || told == idle, "{told} for {idle}");
        }
        assert!(pace.times.lock().len() <= TIMES);
        assert_eq!(pace.idle_ms(pace.turn() as u32, 0), 0);
    }

    #[test]
    fn in_a_large_store_a_turn_is_several_keys() {
        let pace = Pace::default();
        (0..8000).for_each(|i| _ = pace.key_turn(4 * FINE_KEYS, crate::keyspace::hash::mix(i), 0));
        assert!((1300..1900).contains(&pace.turn()), "{}", pace.turn());
    }
}
