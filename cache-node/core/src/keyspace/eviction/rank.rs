//! Which of two keys leaves first, by policy.

use super::pace::Pace;
use super::usage::{MAX_FREQUENCY, Usage, idle_turns};
use crate::keyspace::hash::mix;
use crate::store::EvictionPolicy;
use std::cmp::Ordering;

/// The class of what has to go whatever the policy: its lifetime is over.
pub const EXPIRED: u64 = u64::MAX;

/// What is known of a key that may leave.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The hash of its key.
    pub hash: u64,
    /// How it was used.
    pub usage: Usage,
    /// When it ends in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Its lifetime is over.
    pub expired: bool,
}

/// A key's class: a higher one leaves first; within one, the key that was not used for longest
/// does. `None` if it may not leave now. `window` is how many keys W-TinyLFU's window may hold,
/// `random` any number that changes from call to call.
pub fn class(
    policy: EvictionPolicy,
    facts: &Facts,
    pace: &Pace,
    window: usize,
    random: u64,
) -> Option<u64> {
    if facts.expired {
        return Some(EXPIRED);
    }
    let rarity = || u64::from(MAX_FREQUENCY - facts.usage.frequency(pace));
    Some(match policy {
        EvictionPolicy::NoEviction => return None,
        EvictionPolicy::Lru | EvictionPolicy::Session => 0,
        EvictionPolicy::Lfu => rarity(),
        EvictionPolicy::Random => mix(facts.hash ^ random) >> 1,
        EvictionPolicy::Ttl if facts.expires_at_ms == 0 => 0,
        EvictionPolicy::Ttl => (EXPIRED - 1).saturating_sub(facts.expires_at_ms).max(1),
        EvictionPolicy::WTinyLfu => {
            // The window's keys leave by its own order; but one that it forgot is as all others.
            let idle = idle_turns(facts.usage.touched(), pace.turn()) as usize;
            if facts.usage.in_window() && idle <= window.saturating_mul(2).saturating_add(128) {
                return None;
            }
            rarity()
        }
    })
}

/// A key of two of which one leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// How often it was used.
    pub frequency: u8,
    /// A newcomer: how many keys came in between its last two accesses; an incumbent: since its
    /// last. As [`super::newcomers::part`] tells it.
    pub distance: u16,
}

/// Whether a key that leaves the window takes the place of the one that would leave the rest: if
/// it was used more often. Of two that were used as often, the newcomer gets in if by its own
/// measure the incumbent is overdue twice (LIRS's question, Jiang and Zhang 2002): in a loop over
/// more than fits, none is. Of keys in use, one in 128 gets in all the same, so that nobody who
/// knows how this is decided can keep a place for ever (as Caffeine does).
pub fn is_admitted(newcomer: Contender, incumbent: Contender, random: u64) -> bool {
    let overdue = || u32::from(newcomer.distance) * 2 < u32::from(incumbent.distance);
    match newcomer.frequency.cmp(&incumbent.frequency) {
        Ordering::Greater => true,
        Ordering::Equal if overdue() => true,
        _ => newcomer.frequency >= 6 && random.is_multiple_of(128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(frequency: u8, expires_at_ms: u64) -> Facts {
        let mut usage = Usage::new(1);
        usage.set_frequency(frequency);
        Facts { hash: 1, usage, expires_at_ms, expired: false }
    }

    fn class_of(policy: EvictionPolicy, facts: &Facts) -> Option<u64> {
        class(policy, facts, &Pace::default(), 10, 3)
    }

    #[test]
    fn keys_whose_lifetime_is_over_leave_before_all_others() {
        let mut over = facts(31, 5);
        over.expired = true;
        for (_, policy) in EvictionPolicy::ALL {
            assert_eq!(class_of(policy, &over), Some(EXPIRED));
            assert!(class_of(policy, &facts(0, 1)) < Some(EXPIRED));
        }
    }

    #[test]
    fn a_key_in_the_window_is_left_to_the_window() {
        let mut inside = facts(1, 0);
        inside.usage.set_in_window(true);
        assert_eq!(class_of(EvictionPolicy::WTinyLfu, &inside), None);
        let pace = Pace::default();
        (0..200).for_each(|_| _ = pace.next_turn());
        assert!(class(EvictionPolicy::WTinyLfu, &inside, &pace, 10, 0).is_some());
    }

    #[test]
    fn who_was_used_no_more_than_the_incumbent_is_not_admitted_unless_that_is_overdue() {
        let of = |frequency, distance| Contender { frequency, distance };
        assert!(is_admitted(of(3, 900), of(2, 1), 1));
        assert!(!is_admitted(of(2, 1), of(3, 900), 0));
        assert!(is_admitted(of(2, 100), of(2, 201), 1));
        assert!(!is_admitted(of(2, 100), of(2, 200), 1));
        assert!(!is_admitted(of(1, u16::MAX), of(1, u16::MAX), 0));
        assert!(is_admitted(of(6, 9), of(9, 9), 128));
        assert!(!is_admitted(of(6, 9), of(9, 9), 129));
    }

    proptest! {
        #[test]
        fn policies_keep_the_order_that_their_names_say(
            a in 0..=MAX_FREQUENCY, b in 0..=MAX_FREQUENCY, x in 0u64.., y in 0u64..,
        ) {
            let (one, other) = (facts(a, x), facts(b, y));
            let of = |policy| (class_of(policy, &one), class_of(policy, &other));
            let (first, second) = of(EvictionPolicy::Lru);
            prop_assert_eq!(first, second);
            for policy in [EvictionPolicy::Lfu, EvictionPolicy::WTinyLfu] {
                let (first, second) = of(policy);
                prop_assert_eq!(first.cmp(&second), b.cmp(&a));
            }
            let (first, second) = of(EvictionPolicy::Ttl);
            if x == 0 || y == 0 {
                prop_assert_eq!(first > second, x != 0 && y == 0);
            } else if x < y {
                prop_assert!(first >= second);
            }
            prop_assert_eq!(class_of(EvictionPolicy::NoEviction, &one), None);
        }
    }
}
