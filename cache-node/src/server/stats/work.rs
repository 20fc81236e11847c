//! What one command cost on one loop: calls, time, refusals, failures, and how its times are spread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Buckets for every doubling of the time: a time is known to a sixteenth.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Times from `2^MOST_BITS` ticks on (minutes) share the last bucket.
const MOST_BITS: u32 = 40;
/// How many buckets there are.
pub const BUCKETS: usize = ((MOST_BITS - STEP_BITS + 1) as usize) * STEPS as usize;

/// The bucket of a time in ticks.
#[inline]
pub fn bucket(ticks: u64) -> usize {
    if ticks < STEPS {
        return ticks as usize;
    }
    let ticks = ticks.min((1 << MOST_BITS) - 1);
    let shift = ticks.ilog2() - STEP_BITS;
    ((u64::from(shift) << STEP_BITS) + (ticks >> shift)) as usize
}

/// The largest time of a bucket, in ticks.
pub fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let steps = (bucket & (STEPS - 1)) + STEPS;
    ((steps + 1) << shift) - 1
}

/// The account of one command on one loop.
#[derive(Debug, Default)]
pub struct Work {
    calls: AtomicU64,
    ticks: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// Made at the first call: most commands are never called.
    spread: OnceLock<Box<[AtomicU64; BUCKETS]>>,
}

/// Adds to a counter that `alone` one thread adds to, or several do.
#[inline]
pub(super) fn add(counter: &AtomicU64, n: u64, alone: bool) {
    if alone {
        // Half the price of an atomic addition; readers see one or the other value.
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    } else {
        counter.fetch_add(n, Relaxed);
    }
}

impl Work {
    /// Counts a call that took `ticks`; with `spread` also among its times.
    #[inline]
    pub fn ran(&self, ticks: u64, spread: bool, alone: bool) {
        add(&self.calls, 1, alone);
        add(&self.ticks, ticks, alone);
        if spread {
            let spread =
                self.spread.get_or_init(|| Box::new([const { AtomicU64::new(0) }; BUCKETS]));
            add(&spread[bucket(ticks).min(BUCKETS - 1)], 1, alone);
        }
    }

    /// Counts a call that was refused before it ran.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// Counts a call whose reply was an error.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Takes back a call: it turned out to be refused before it ran.
    pub fn uncall(&self) {
        self.calls.fetch_sub(1, Relaxed);
    }

    /// Adds this account to a sum.
    pub fn add_to(&self, sum: &mut Account) {
        sum.calls += self.calls.load(Relaxed);
        sum.ticks = sum.ticks.wrapping_add(self.ticks.load(Relaxed));
        sum.rejected += self.rejected.load(Relaxed);
        sum.failed += self.failed.load(Relaxed);
        if let Some(spread) = self.spread.get() {
            sum.spread.resize(BUCKETS, 0);
            for (sum, part) in sum.spread.iter_mut().zip(spread.iter()) {
                *sum += part.load(Relaxed);
            }
        }
    }
}

/// What one command cost on all loops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// How often it ran.
    pub calls: u64,
    /// How long, in ticks.
    pub ticks: u64,
    /// How often it was refused before it ran.
    pub rejected: u64,
    /// How often its reply was an error.
    pub failed: u64,
    /// How many calls took how long, by [`bucket`]; empty if none was measured.
    pub spread: Vec<u64>,
}

impl Account {
    /// What came since `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        self.calls = self.calls.saturating_sub(before.calls);
        self.ticks = self.ticks.saturating_sub(before.ticks);
        self.rejected = self.rejected.saturating_sub(before.rejected);
        self.failed = self.failed.saturating_sub(before.failed);
        for (now, before) in self.spread.iter_mut().zip(&before.spread) {
            *now = now.saturating_sub(*before);
        }
        self
    }

    /// Calls whose time was measured.
    pub fn measured(&self) -> u64 {
        self.spread.iter().sum()
    }

    /// The time in ticks that `percent` of the calls did not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = (self.measured() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.spread.iter().position(|calls| {
            seen += calls;
            seen >= wanted
        });
        highest(at.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_in_a_bucket_that_ends_at_most_a_sixteenth_later(ticks in 0u64..1 << MOST_BITS) {
            let bucket = bucket(ticks);
            prop_assert!(bucket < BUCKETS);
            let highest = highest(bucket);
            prop_assert!(highest >= ticks && highest - ticks <= ticks / 16);
            prop_assert!(ticks == 0 || super::bucket(ticks - 1) <= bucket);
        }
    }

    #[test]
    fn times_beyond_the_last_bucket_are_in_it() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_percentile_is_what_so_many_calls_did_not_exceed() {
        let work = Work::default();
        (1..=100).for_each(|ticks| work.ran(ticks * 1000, true, true));
        let mut account = Account::default();
        work.add_to(&mut account);
        assert_eq!((account.calls, account.measured()), (100, 100));
        for (percent, least) in [(50.0, 50_000), (99.0, 99_000), (100.0, 100_000)] {
            let found = account.percentile(percent);
            assert!(found >= least && found <= least + least / 16, "{percent}: {found}");
        }
    }

    #[test]
    fn what_was_before_does_not_count() {
        let work = Work::default();
        work.ran(5, true, false);
        let mut before = Account::default();
        work.add_to(&mut before);
        work.ran(7, true, false);
        work.failed();
        let mut now = Account::default();
        work.add_to(&mut now);
        let since = now.since(&before);
        assert_eq!((since.calls, since.ticks, since.failed, since.measured()), (1, 7, 1, 1));
    }
}
