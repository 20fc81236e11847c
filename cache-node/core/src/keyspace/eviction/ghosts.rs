//! Who left of late: how often a key that comes back was used, how long it was away, and from
//! which part of the store it left.
//!
//! Fingerprints in small buckets, each one line of memory, in which the oldest makes way. Against
//! a sketch of counters of half the size, what is remembered is right: in a store that most
//! accesses miss, counters fill up with keys that came once, and then every key seems to be known.

use super::pace::{Pace, keys_a_turn};
use super::usage::{MAX_FREQUENCY, halved};
use crate::keyspace::hash::mix;
use crate::keyspace::memory::block_bytes;

/// Keys in a bucket.
const WAYS: usize = 16;
/// So many keys are remembered for every key of the store, at four bytes each.
const KEYS_A_KEY: u64 = 2;
const MIN_BUCKETS: u64 = 4;
/// Times are told in this part of the turns in which the whole store's keys come in.
const STEPS_A_STORE: u64 = 256;
const TIME_BITS: u32 = 12;
const TIME_MASK: u32 = (1 << TIME_BITS) - 1;
const FREQUENCY_AT: u32 = TIME_BITS;
const MAIN_AT: u32 = FREQUENCY_AT + 5;
/// The fingerprint is all above.
const FINGERPRINT_AT: u32 = MAIN_AT + 1;

/// One key that left: from the lowest bit the time, how often it was used (never 0), whether it
/// was not of the window, and a fingerprint. 0 is nobody.
type Ghost = u32;

/// What is known of a key that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// How often it was used, by now.
    pub frequency: u8,
    /// It left the rest of the store, not the window.
    pub from_main: bool,
    /// So many turns ago it left.
    pub away_turns: u64,
}

/// The keys that left of late.
#[derive(Debug, Default)]
pub struct Ghosts {
    buckets: Box<[[Ghost; WAYS]]>,
    /// The turns of one step of time.
    step: u64,
}

impl Ghosts {
    /// Makes room for what a store of so many keys needs, nine bytes for each; forgets all when the
    /// size changes, so that happens only where keys became an eighth more, or a quarter.
    pub fn fit(&mut self, keys: u64) {
        let buckets = (keys.saturating_mul(KEYS_A_KEY) / WAYS as u64).max(MIN_BUCKETS);
        let buckets = usize::try_from(buckets).unwrap_or(usize::MAX);
        if buckets > self.buckets.len() || buckets < self.buckets.len() / 4 {
            self.buckets = vec![[0; WAYS]; buckets.saturating_add(buckets / 8)].into();
            self.step = (keys / keys_a_turn(keys) / STEPS_A_STORE).max(1);
        }
    }

    /// What it costs.
    pub fn heap_bytes(&self) -> usize {
        block_bytes(size_of_val(&*self.buckets))
    }

    /// The bucket of a key, and its fingerprint in place.
    fn find(&mut self, hash: u64) -> Option<(&mut [Ghost; WAYS], u32)> {
        let spread = mix(hash);
        let bucket = ((spread >> 32) * self.buckets.len() as u64) >> 32;
        let bucket = self.buckets.get_mut(usize::try_from(bucket).ok()?)?;
        Some((bucket, (spread as u32) << FINGERPRINT_AT))
    }

    /// A key leaves that was used so often.
    pub fn remember(&mut self, hash: u64, frequency: u8, from_main: bool, pace: &Pace) {
        let time = (pace.turn() / self.step.max(1)) as u32 & TIME_MASK;
        let Some((bucket, fingerprint)) = self.find(hash) else { return };
        let age = |ghost: Ghost| match ghost {
            0 => u32::MAX - 1,
            _ if is(ghost, fingerprint) => u32::MAX,
            _ => time.wrapping_sub(ghost) & TIME_MASK,
        };
        let oldest = bucket.iter_mut().max_by_key(|ghost| age(**ghost));
        if let Some(ghost) = oldest {
            let frequency = u32::from(frequency.clamp(1, MAX_FREQUENCY));
            *ghost =
                fingerprint | u32::from(from_main) << MAIN_AT | frequency << FREQUENCY_AT | time;
        }
    }

    /// A key comes in: what is known of it, which is then forgotten.
    pub fn take(&mut self, hash: u64, pace: &Pace) -> Option<Return> {
        let (turn, step) = (pace.turn(), self.step.max(1));
        let (bucket, fingerprint) = self.find(hash)?;
        let found = bucket.iter_mut().find(|ghost| is(**ghost, fingerprint))?;
        let ghost = std::mem::take(found);
        let steps = ((turn / step) as u32).wrapping_sub(ghost) & TIME_MASK;
        let away_turns = u64::from(steps) * step;
        let frequency = (ghost >> FREQUENCY_AT) as u8 & MAX_FREQUENCY;
        let left = turn.saturating_sub(away_turns);
        Some(Return {
            frequency: halved(frequency, pace.halvings(left as u32)),
            from_main: ghost >> MAIN_AT & 1 == 1,
            away_turns,
        })
    }
}

/// Whether a fingerprint is that of a key.
fn is(ghost: Ghost, fingerprint: u32) -> bool {
    ghost != 0 && ghost >> FINGERPRINT_AT == fingerprint >> FINGERPRINT_AT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_that_comes_back_is_known_once_with_all_that_was_noted() {
        let (mut ghosts, pace) = (Ghosts::default(), Pace::default());
        ghosts.fit(10_000);
        (0..500).for_each(|_| _ = pace.next_turn());
        ghosts.remember(7, 9, true, &pace);
        ghosts.remember(8, 200, false, &pace);
        (0..390).for_each(|_| _ = pace.next_turn());
        let back = ghosts.take(7, &pace).unwrap();
        assert_eq!((back.frequency, back.from_main, back.away_turns), (9, true, 390));
        assert_eq!(ghosts.take(7, &pace), None);
        pace.mark();
        let back = ghosts.take(8, &pace).unwrap();
        assert_eq!((back.frequency, back.from_main), (halved(MAX_FREQUENCY, 1), false));
    }

    #[test]
    fn those_that_left_last_are_remembered_and_few_are_taken_for_others() {
        let (mut ghosts, pace) = (Ghosts::default(), Pace::default());
        ghosts.fit(10_000);
        assert!(ghosts.heap_bytes() <= 10 * 10_000);
        for key in 0..100_000 {
            ghosts.remember(mix(key), 1, false, &pace);
            pace.next_turn();
        }
        let known = (85_000..100_000).filter(|k| ghosts.take(mix(*k), &pace).is_some()).count();
        assert!(known > 14_000, "{known}");
        let wrong =
            (0..10_000).filter(|k| ghosts.take(mix(k + 1_000_000), &pace).is_some()).count();
        assert!(wrong < 30, "{wrong}");
    }

    proptest! {
        #[test]
        fn whatever_leaves_and_comes_a_key_stands_there_once(
            steps in proptest::collection::vec((0..40u64, 0..=255u8, any::<bool>()), 1..400),
        ) {
            let (mut ghosts, pace) = (Ghosts::default(), Pace::default());
            ghosts.fit(1);
            let mut last = std::collections::HashMap::new();
            for (key, frequency, from_main) in steps {
                ghosts.remember(mix(key), frequency, from_main, &pace);
                last.insert(key, (frequency.clamp(1, MAX_FREQUENCY), from_main));
                pace.next_turn();
            }
            for (key, last) in last {
                if let Some(back) = ghosts.take(mix(key), &pace) {
                    prop_assert_eq!((back.frequency, back.from_main), last);
                }
                prop_assert_eq!(ghosts.take(mix(key), &pace), None);
            }
        }
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let (mut ghosts, pace) = (Ghosts::default(), Pace::default());
        ghosts.remember(1, 5, true, &pace);
        assert_eq!(ghosts.take(1, &pace), None);
        assert_eq!(ghosts.heap_bytes(), 0);
    }
}
