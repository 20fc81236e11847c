//! What became of spans, for the metrics.

use std::fmt::Error;

use hypercache_trace::Sent;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::table;

/// See the module.
#[derive(Debug)]
pub(super) struct Spans(pub Sent);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let figures = self.0.figures();
        let (metric, counter) = (&table::SPANS_SENT, MetricType::Counter);
        encoder
            .encode_descriptor(metric.base(), metric.help, None, counter)?
            .encode_counter::<NoLabelSet, _, f64>(&figures.sent, None)?;
        let metric = &table::SPANS_DROPPED;
        let mut lost =
            encoder.encode_descriptor(metric.base(), metric.help, None, MetricType::Counter)?;
        for (reason, spans) in [("queue", figures.dropped), ("endpoint", figures.failed)] {
            let labels = [("reason", reason)];
            lost.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&spans, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;

    #[test]
    fn lost_spans_are_told_also_while_there_are_none() {
        let text = Metrics::default().text().unwrap();
        for line in [
            "# TYPE hypercache_operator_spans_sent counter",
            "hypercache_operator_spans_sent_total 0",
            "hypercache_operator_spans_dropped_total{reason=\"queue\"} 0",
            "hypercache_operator_spans_dropped_total{reason=\"endpoint\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }
}
