//! What an entry knows about its own use: four bytes and two bits, changed at every access.
//!
//! Recency is kept in *turns* (one for every key that the store takes in), not in time: however
//! fast a store works, a turn is one place in its order of eviction. Beside it stands a small
//! logarithmic counter of accesses. [`Pace`] knows what time a turn was (for OBJECT IDLETIME).

use super::pace::Pace;
use crate::keyspace::hash::mix;

/// So many bits of a turn are kept. What was not used for 2^27 turns seems to be used of late.
pub const TURN_BITS: u32 = 27;
/// They.
pub const TURN_MASK: u32 = (1 << TURN_BITS) - 1;
/// A turn that seems to be older than this is another thread's, and ahead.
const MAX_IDLE_TURNS: u32 = TURN_MASK - (1 << 20);
const FREQUENCY_BITS: u32 = 5;

/// The highest value of a frequency counter.
pub const MAX_FREQUENCY: u8 = (1 << FREQUENCY_BITS) - 1;
/// Up to this a frequency counter counts every access; above it two steps double the count.
const EXACT: u8 = 8;

/// How many turns ago a turn was, of which the lowest bits are known.
#[inline]
pub fn idle_turns(touched: u32, turn: u64) -> u32 {
    let idle = (turn as u32).wrapping_sub(touched) & TURN_MASK;
    if idle > MAX_IDLE_TURNS { 0 } else { idle }
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
    /// From the lowest bit: the turn of the last access, and the frequency.
    word: u32,
    /// The key is in the window of W-TinyLFU.
    window: bool,
    /// The key's lifetime is its session's.
    session: bool,
}

impl Usage {
    /// That of a key that comes in at a turn.
    pub fn new(turn: u64) -> Self {
        Self { word: turn as u32 & TURN_MASK | 1 << TURN_BITS, window: false, session: false }
    }

    /// Its word and its flags, as a record has them.
    #[inline]
    pub fn pack(self) -> (u32, bool, bool) {
        (self.word, self.window, self.session)
    }

    /// What [`Self::pack`] gave.
    #[inline]
    pub fn unpack(word: u32, window: bool, session: bool) -> Self {
        Self { word, window, session }
    }

    /// Counts an access. `chance` is any number that changes from access to access.
    #[inline]
    pub fn touch(&mut self, pace: &Pace, now_ms: u64, chance: u64) {
        let turn = pace.turn_at(now_ms);
        let mut frequency = self.raw_frequency();
        if !pace.is_current(self.touched()) {
            frequency = halved(frequency, pace.halvings(self.touched()));
        }
        if frequency < EXACT || (frequency < MAX_FREQUENCY && steps_up(frequency, chance)) {
            frequency += 1;
        }
        self.word = turn as u32 & TURN_MASK | u32::from(frequency) << TURN_BITS;
    }

    /// Makes the accesses since `before` none; the flags stay as they are.
    pub fn take_back(&mut self, before: Self) {
        self.word = before.word;
    }

    /// The lowest bits of the turn of the last access.
    #[inline]
    pub fn touched(self) -> u32 {
        self.word & TURN_MASK
    }

    /// Makes this the turn of the last access.
    pub fn set_touched(&mut self, turn: u64) {
        self.word = self.word & !TURN_MASK | turn as u32 & TURN_MASK;
    }

    #[inline]
    fn raw_frequency(self) -> u8 {
        (self.word >> TURN_BITS) as u8
    }

    /// How often it was used of late: up to 8 a count, above that logarithmic.
    #[inline]
    pub fn frequency(self, pace: &Pace) -> u8 {
        halved(self.raw_frequency(), pace.halvings(self.touched()))
    }

    /// Sets the counter, as of the last access.
    pub fn set_frequency(&mut self, frequency: u8) {
        let frequency = u32::from(frequency.min(MAX_FREQUENCY));
        self.word = self.word & TURN_MASK | frequency << TURN_BITS;
    }

    /// Whether it is in the window of W-TinyLFU.
    #[inline]
    pub fn in_window(self) -> bool {
        self.window
    }

    /// Puts it into the window or takes it out.
    pub fn set_in_window(&mut self, inside: bool) {
        self.window = inside;
    }

    /// Whether its lifetime is that of a session.
    #[inline]
    pub fn in_session(self) -> bool {
        self.session
    }

    /// Says whether its lifetime is that of a session.
    #[inline]
    pub fn set_in_session(&mut self, inside: bool) {
        self.session = inside;
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
    fn a_counter_tells_a_hundred_accesses_from_ten_thousand() {
        let pace = Pace::default();
        let count = |accesses: u64| {
            let mut usage = Usage::new(0);
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
        let mut usage = Usage::new(pace.next_turn());
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
            let mut usage = Usage::new(0);
            usage.set_frequency(frequency);
            usage.set_in_window(window);
            usage.set_in_session(session);
            usage.touch(&pace, now, chance);
            prop_assert_eq!(usage.in_window(), window);
            prop_assert_eq!(usage.in_session(), session);
            prop_assert!(usage.frequency(&pace) >= frequency);
            prop_assert_eq!(pace.idle_ms(usage.touched(), now), 0);
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
