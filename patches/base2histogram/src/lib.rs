//! A histogram of powers of two in the place of the crate of this name: what openraft asks of it,
//! and no more.
//!
//! The crate makes tables for sixteen scales when the first histogram is made, of which openraft
//! uses one: 27 MB that a member of a cluster would hold for ever. Percentiles here are exact to
//! an eighth of their value, as with the scale that openraft uses. Nothing in HyperCache reads
//! them. See `docs/decisions/0013-memory-layout.md`.

use std::fmt;
use std::marker::PhantomData;

/// Buckets for every doubling.
const PER_DOUBLING: u32 = 4;
/// Buckets for all values of 64 bits: one each for 0 to 3, and four for each doubling from there.
const BUCKETS: usize = 4 + 62 * PER_DOUBLING as usize;

/// How often values of about a size were seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Made with the first value.
    counts: Vec<u64>,
    kind: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self { counts: Vec::new(), kind: PhantomData }
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").field("total", &self.total()).finish_non_exhaustive()
    }
}

/// The bucket of a value.
fn bucket(value: u64) -> usize {
    if value < 4 {
        return value as usize;
    }
    let log = value.ilog2();
    let step = (value >> (log - 2)) & 3;
    4 + ((log - 2) * PER_DOUBLING) as usize + step as usize
}

/// The least value of a bucket.
fn least(bucket: usize) -> u64 {
    match bucket {
        0..4 => bucket as u64,
        _ => {
            let (log, step) = ((bucket - 4) / 4, (bucket - 4) % 4);
            (4 + step as u64) << log
        }
    }
}

impl<T> Histogram<T> {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// A value that this part (0 to 1) of all values is not above; 0 if there is none.
    #[must_use]
    pub fn percentile(&self, part: f64) -> u64 {
        let wanted = (self.total() as f64 * part).ceil().max(1.0);
        let mut seen = 0.0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += *count as f64;
            if seen >= wanted {
                let behind = if bucket + 1 < BUCKETS { least(bucket + 1) } else { u64::MAX };
                return least(bucket) + (behind - 1 - least(bucket)) / 2;
            }
        }
        0
    }

    /// The usual percentiles.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say all")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p1, p50, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p1 {p1}, p50 {p50}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// Several histograms, one a line.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// No histograms.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the name that its user knows")]
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_the_values_from_its_least_to_the_next_ones() {
        for bucket_index in 0..BUCKETS {
            assert_eq!(bucket(least(bucket_index)), bucket_index);
            if bucket_index > 0 {
                assert_eq!(bucket(least(bucket_index) - 1), bucket_index - 1);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_near_and_nothing_is_kept_before_there_is_a_value() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!((histogram.percentile(0.5), histogram.counts.capacity()), (0, 0));
        (0..1000).for_each(|value| histogram.record(value));
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 1000);
        for (found, wanted) in [(stats.p10, 100), (stats.p50, 500), (stats.p90, 900)] {
            assert!(found.abs_diff(wanted) <= wanted / 8, "{found} for {wanted}");
        }
        let chart = AsciiChart::new().add("one", histogram);
        assert!(chart.to_string().starts_with("one: 1000 samples"));
    }
}
