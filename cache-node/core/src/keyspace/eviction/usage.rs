//! What an entry knows about its own use: eight bytes, changed at every access.
//!
//! Recency is kept in *turns* (one for every key that the store takes in), not in time: however
//! fast a store works, a turn is one place in its order of eviction. Beside it stand the second of
//! the last access (for OBJECT IDLETIME) and a small logarithmic counter of accesses.

use super::pace::Pace;
use crate::keyspace::hash::mix;

/// One unit of [`clock`] in milliseconds.
pub const CLOCK_UNIT_MS: u64 = 1000;
/// The seconds' bits of the word.
const CLOCK_BITS: u32 = 24;
const CLOCK_MASK: u32 = (1 << CLOCK_BITS) - 1;
const FREQUENCY_BITS: u32 = 5;
const FREQUENCY_MASK: u32 = ((1 << FREQUENCY_BITS) - 1) << CLOCK_BITS;
/// The key is in the window of W-TinyLFU.
const WINDOW: u32 = 1 << 29;
/// The key's lifetime is its session's.
const SESSION: u32 = 1 << 30;

/// The highest value of a frequency counter.
pub const MAX_FREQUENCY: u8 = (1 << FREQUENCY_BITS) - 1;
/// Up to this a frequency counter counts every access; above it two steps double the count.
const EXACT: u8 = 8;

/// The clock of last accesses in seconds; it wraps after 194 days, as that of Redis does.
#[inline]
pub fn clock(now_ms: u64) -> u32 {
    (now_ms / CLOCK_UNIT_MS) as u32 & CLOCK_MASK
}

/// How many turns ago a turn is. A difference above half the range means that another thread's
/// turn was ahead.
#[inline]
pub fn idle_turns(touched: u32, turn: u32) -> u32 {
    let idle = turn.wrapping_sub(touched);
    if idle > u32::MAX / 2 { 0 } else { idle }
}

/// A frequency after `times` halvings of the count it stands for.
#[inline]
pub const fn halved(frequency: u8, times: u32) -> u8 {
    let (mut frequency, mut left) = (frequency, times);
    while left > 0 && frequency > 0 {
        // Above `EXACT` two steps are a factor of two.
        frequency = if frequency > EXACT + 1 { frequency - 2 } else { frequency / 2 };
        left -= 1;
    }
    frequency
}

/// The frequency for the sum of what two frequencies stand for.
pub fn added(a: u8, b: u8) -> u8 {
    let (high, low) = (a.max(b), a.min(b));
    if high < EXACT {
        return (high + low).min(EXACT);
    }
    // Less than a fifth of a step away is not worth one.
    match high - low {
        0..=1 if low > 0 => (high + 2).min(MAX_FREQUENCY),
        2..=3 if low > 0 => (high + 1).min(MAX_FREQUENCY),
        _ => high,
    }
}

/// The use of one entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The turn of the last access.
    touched: u32,
    /// From the lowest bit: 24 bits [`clock`], 5 bits frequency, flags.
    word: u32,
}

impl Usage {
    /// That of a key that comes in now.
    pub fn new(turn: u32, now_ms: u64) -> Self {
        Self { touched: turn, word: clock(now_ms) | 1 << CLOCK_BITS }
    }

    /// Counts an access. `chance` is any number that changes from access to access.
    #[inline]
    pub fn touch(&mut self, pace: &Pace, now_ms: u64, chance: u64) {
        let turn = pace.turn();
        let mut frequency = self.raw_frequency();
        if !pace.is_current(self.touched) {
            frequency = halved(frequency, pace.halvings(self.touched));
        }
        if frequency < EXACT || (frequency < MAX_FREQUENCY && steps_up(frequency, chance)) {
            frequency += 1;
        }
        self.touched = turn;
        self.word = (self.word & !(CLOCK_MASK | FREQUENCY_MASK))
            | clock(now_ms)
            | u32::from(frequency) << CLOCK_BITS;
    }

    /// Makes the accesses since `before` none; the flags stay as they are.
    pub fn take_back(&mut self, before: Self) {
        const COUNTED: u32 = CLOCK_MASK | FREQUENCY_MASK;
        self.touched = before.touched;
        self.word = self.word & !COUNTED | before.word & COUNTED;
    }

    /// The turn of the last access.
    #[inline]
    pub fn touched(self) -> u32 {
        self.touched
    }

    /// Makes this the turn of the last access.
    pub fn set_touched(&mut self, turn: u32) {
        self.touched = turn;
    }

    /// How long it was not used, in units of [`clock`]; `now` is of [`clock`] too.
    #[inline]
    pub fn idle(self, now: u32) -> u32 {
        let idle = now.wrapping_sub(self.word) & CLOCK_MASK;
        // Above half the range, another command's clock was ahead.
        if idle > CLOCK_MASK / 2 { 0 } else { idle }
    }

    #[inline]
    fn raw_frequency(self) -> u8 {
        ((self.word & FREQUENCY_MASK) >> CLOCK_BITS) as u8
    }

    /// How often it was used of late: up to 8 a count, above that logarithmic.
    #[inline]
    pub fn frequency(self, pace: &Pace) -> u8 {
        halved(self.raw_frequency(), pace.halvings(self.touched))
    }

    /// Sets the counter, as of the last access.
    pub fn set_frequency(&mut self, frequency: u8) {
        let frequency = u32::from(frequency.min(MAX_FREQUENCY));
        self.word = (self.word & !FREQUENCY_MASK) | frequency << CLOCK_BITS;
    }

    /// Whether it is in the window of W-TinyLFU.
    #[inline]
    pub fn in_window(self) -> bool {
        self.word & WINDOW != 0
    }

    /// Puts it into the window or takes it out.
    pub fn set_in_window(&mut self, inside: bool) {
        self.word = if inside { self.word | WINDOW } else { self.word & !WINDOW };
    }

    /// Whether its lifetime is that of a session.
    #[inline]
    pub fn in_session(self) -> bool {
        self.word & SESSION != 0
    }

    /// Says whether its lifetime is that of a session.
    #[inline]
    pub fn set_in_session(&mut self, inside: bool) {
        self.word = if inside { self.word | SESSION } else { self.word & !SESSION };
    }
}

/// Whether an access moves a counter above [`EXACT`]: each step stands for half again as many.
#[cold]
fn steps_up(frequency: u8, chance: u64) -> bool {
    // From `EXACT` on, a pair of steps doubles the count: 8, 12, 16, 24, 32 ...
    let above = u32::from(frequency - EXACT);
    let accesses = 4u64 << (above / 2);
    mix(chance).is_multiple_of(accesses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn idle_time_is_in_seconds_and_survives_the_wrap_of_its_clock() {
        let wrap_ms = (1 << CLOCK_BITS) * CLOCK_UNIT_MS;
        for start in [0, 1_700_000_000_000, wrap_ms - 1000] {
            let usage = Usage::new(1, start);
            assert_eq!(usage.idle(clock(start + 999)) / 2, 0);
            assert_eq!(usage.idle(clock(start + 5000)), 5);
            assert_eq!(usage.idle(clock(start.saturating_sub(1000))) / 2, 0);
        }
    }

    #[test]
    fn a_counter_tells_a_hundred_accesses_from_ten_thousand() {
        let pace = Pace::default();
        let count = |accesses: u64| {
            let mut usage = Usage::new(0, 0);
            (1..accesses).for_each(|i| usage.touch(&pace, 0, i));
            usage.frequency(&pace)
        };
        for exact in 1..=8 {
            assert_eq!(u64::from(count(exact)), exact);
        }
        let (hundred, thousand, many) = (count(100), count(1000), count(10_000));
        assert!(
            8 < hundred && hundred + 4 < thousand && thousand + 4 < many,
            "{hundred} {thousand} {many}"
        );
        assert!(count(10_000_000) == MAX_FREQUENCY);
    }

    #[test]
    fn frequencies_halve_with_the_pace_of_their_store() {
        let pace = Pace::default();
        let mut usage = Usage::new(pace.next_turn(), 0);
        (0..7).for_each(|i| usage.touch(&pace, 0, i));
        assert_eq!(usage.frequency(&pace), 8);
        pace.next_turn();
        pace.mark();
        assert_eq!(usage.frequency(&pace), 4);
        usage.touch(&pace, 0, 0);
        assert_eq!(usage.frequency(&pace), 5);
    }

    proptest! {
        #[test]
        fn an_access_keeps_the_flags_and_never_lowers_the_counter(
            window: bool, session: bool, frequency in 0..=MAX_FREQUENCY, now: u64, chance: u64,
        ) {
            let pace = Pace::default();
            let mut usage = Usage::new(0, 0);
            usage.set_frequency(frequency);
            usage.set_in_window(window);
            usage.set_in_session(session);
            usage.touch(&pace, now, chance);
            prop_assert_eq!(usage.in_window(), window);
            prop_assert_eq!(usage.in_session(), session);
            prop_assert!(usage.frequency(&pace) >= frequency);
            prop_assert_eq!(usage.idle(clock(now)), 0);
        }

        #[test]
        fn sums_and_halves_stay_in_order(a in 0..=MAX_FREQUENCY, b in 0..=MAX_FREQUENCY, times in 0..9u32) {
            prop_assert!(added(a, b) >= a.max(b) || a.max(b) < 8);
            prop_assert!(added(a, b) <= MAX_FREQUENCY);
            prop_assert_eq!(added(a, b), added(b, a));
            prop_assert!(halved(a, times) <= a);
            if a <= b {
                prop_assert!(halved(a, times) <= halved(b, times));
            }
        }
    }
}
