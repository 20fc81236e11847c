//! How long something took each time, in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The first bucket's upper bound, in microseconds; each next one is double: to about 13 seconds.
const FIRST_US: u64 = 50;
const BUCKETS: usize = 19;

/// Times of what is rarer than requests: all threads share the counters.
#[derive(Debug, Default)]
pub struct Times {
    buckets: [AtomicU64; BUCKETS],
    longer: AtomicU64,
    sum_us: AtomicU64,
}

/// How often it took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimesCounts {
    /// Upper bounds in microseconds, and how often it took no longer, and longer than the bound before;
    /// the last has no bound.
    pub buckets: Vec<(u64, u64)>,
    /// All of it together, in microseconds.
    pub sum_us: u64,
}

impl TimesCounts {
    /// How often in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

fn bounds() -> impl Iterator<Item = u64> {
    (0..BUCKETS).map(|index| FIRST_US << index)
}

impl Times {
    /// Notes one that took so long.
    pub fn note(&self, took_us: u64) {
        let found = bounds().zip(&self.buckets).find(|(bound, _)| took_us <= *bound);
        found.map_or(&self.longer, |(_, bucket)| bucket).fetch_add(1, Relaxed);
        self.sum_us.fetch_add(took_us, Relaxed);
    }

    /// What was noted so far.
    pub fn counts(&self) -> TimesCounts {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        let longer = (u64::MAX, self.longer.load(Relaxed));
        let buckets = bounds().zip(counts).chain([longer]).collect();
        TimesCounts { buckets, sum_us: self.sum_us.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_bucket_that_it_fits() {
        let times = Times::default();
        for us in [0, 50, 51, 100, 3_000, 60_000_000] {
            times.note(us);
        }
        let counts = times.counts();
        let there: Vec<_> = counts.buckets.iter().copied().filter(|(_, n)| *n > 0).collect();
        assert_eq!(there, [(50, 2), (100, 2), (3_200, 1), (u64::MAX, 1)]);
        assert_eq!((counts.count(), counts.sum_us), (6, 60_003_201));
    }
}
