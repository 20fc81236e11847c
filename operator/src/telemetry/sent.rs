//! What became of spans and of values that were sent, for the metrics.

use std::fmt::Error;

use hypercache_core::metric::Metric;
use hypercache_trace::{Sent, SentPoints};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::table;

/// See the module.
#[derive(Debug)]
pub(super) struct OverOtlp {
    pub spans: Sent,
    pub points: SentPoints,
}

impl Collector for OverOtlp {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (spans, points) = (self.spans.figures(), self.points.figures());
        taken(&mut encoder, &table::SPANS_SENT, spans.sent)?;
        let reasons = [("queue", spans.dropped), ("endpoint", spans.failed)];
        lost(&mut encoder, &table::SPANS_DROPPED, reasons)?;
        taken(&mut encoder, &table::POINTS_SENT, points.sent)?;
        let reasons = [("endpoint", points.failed), ("refused", points.refused)];
        lost(&mut encoder, &table::POINTS_DROPPED, reasons)
    }
}

fn taken(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, count: u64) -> Result<(), Error> {
    encoder
        .encode_descriptor(metric.base(), metric.help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, f64>(&count, None)
}

fn lost(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    reasons: [(&str, u64); 2],
) -> Result<(), Error> {
    let mut family =
        encoder.encode_descriptor(metric.base(), metric.help, None, MetricType::Counter)?;
    for (reason, count) in reasons {
        let labels = [("reason", reason)];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn what_is_lost_is_told_also_while_nothing_is() {
        let text = Metrics::default().text().unwrap();
        for line in [
            "# TYPE hypercache_operator_spans_sent counter",
            "hypercache_operator_spans_sent_total 0",
            "hypercache_operator_spans_dropped_total{reason=\"queue\"} 0",
            "hypercache_operator_spans_dropped_total{reason=\"endpoint\"} 0",
            "# TYPE hypercache_operator_points_sent counter",
            "hypercache_operator_points_sent_total 0",
            "hypercache_operator_points_dropped_total{reason=\"endpoint\"} 0",
            "hypercache_operator_points_dropped_total{reason=\"refused\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }
}
