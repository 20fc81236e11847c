//! Writes metrics of the table: one without values not at all.

use std::fmt::Error;

use hypercache_core::metric::{Kind, Metric};
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::telemetry::times::TimesCounts;

/// One histogram.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    /// All that was counted together.
    pub sum: f64,
    /// Upper bounds, and how many are in each and in none before; the last has no bound.
    pub buckets: Vec<(f64, u64)>,
}

impl From<&TimesCounts> for Spread {
    fn from(times: &TimesCounts) -> Self {
        let seconds = |us: u64| if us == u64::MAX { f64::INFINITY } else { us as f64 / 1e6 };
        let buckets = times.buckets.iter().map(|(to, count)| (seconds(*to), *count));
        Self { sum: times.sum_us as f64 / 1e6, buckets: buckets.collect() }
    }
}

/// See the module.
pub(super) struct Out<'a>(pub DescriptorEncoder<'a>);

/// The unit that a metric's name ends with.
pub(crate) fn unit(metric: &Metric) -> Option<Unit> {
    metric.unit().map(|unit| if unit == "bytes" { Unit::Bytes } else { Unit::Seconds })
}

impl Out<'_> {
    /// A gauge or counter without labels.
    pub fn one(&mut self, metric: &Metric, value: f64) -> Result<(), Error> {
        self.each(metric, [([], value)])
    }

    /// A gauge or counter, for each of some values of its labels, which are in the table's order.
    pub fn each<'v, const N: usize>(
        &mut self,
        metric: &Metric,
        values: impl IntoIterator<Item = ([&'v str; N], f64)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let (base, unit) = (metric.base(), unit(metric));
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge | Kind::Histogram => MetricType::Gauge,
        };
        let mut encoder = self.0.encode_descriptor(base, metric.help, unit.as_ref(), kind)?;
        for (labels, value) in values {
            let labels = named(metric, labels);
            let mut family = encoder.encode_family(&labels)?;
            match metric.kind {
                Kind::Counter => family.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                Kind::Gauge | Kind::Histogram => family.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// A histogram, for each of some values of its labels.
    pub fn spreads<'v, const N: usize>(
        &mut self,
        metric: &Metric,
        values: impl IntoIterator<Item = ([&'v str; N], Spread)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let (base, unit) = (metric.base(), unit(metric));
        let mut encoder =
            self.0.encode_descriptor(base, metric.help, unit.as_ref(), MetricType::Histogram)?;
        for (labels, Spread { sum, buckets }) in values {
            let labels = named(metric, labels);
            let count = buckets.iter().map(|(_, count)| count).sum();
            let mut family = encoder.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The labels' names of the table with their values.
fn named<'v, const N: usize>(
    metric: &Metric,
    values: [&'v str; N],
) -> Vec<(&'static str, &'v str)> {
    debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
    metric.labels.iter().copied().zip(values).collect()
}
