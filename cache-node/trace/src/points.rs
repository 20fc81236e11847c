//! Metrics as they are scraped, made into OTLP's: so that both say the same under the same names.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use crate::sample::Sample;

/// From when counters count, and when they were read; since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When the process started.
    pub started: Duration,
    /// When its figures were read.
    pub read: Duration,
}

/// The figures of a text in Prometheus's format or OpenMetrics, as our own encoders write it. What is neither is left
/// out.
pub fn of_text(text: &str, times: Times) -> Vec<Metric> {
    let mut reader = Reader { times, metrics: Vec::new(), family: String::new() };
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            reader.comment(comment);
        } else if let Some(sample) = Sample::of_line(line) {
            reader.sample(sample);
        }
    }
    reader.metrics.retain(|metric| count(metric) > 0);
    reader.metrics
}

/// How many points a metric has.
pub fn count(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

/// A text attribute.
pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

struct Reader {
    times: Times,
    metrics: Vec<Metric>,
    /// The name of the last one in the text, which in OpenMetrics is a counter's without `_total`.
    family: String,
}

impl Reader {
    /// `HELP name …` or `TYPE name kind`
    fn comment(&mut self, text: &str) {
        let mut words = text.splitn(3, ' ');
        let (Some(what), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        if self.family != name || self.metrics.is_empty() {
            name.clone_into(&mut self.family);
            self.metrics.push(Metric {
                name: name.to_owned(),
                unit: unit(name).to_owned(),
                ..Metric::default()
            });
        }
        let Some(metric) = self.metrics.last_mut() else { return };
        let cumulative = AggregationTemporality::Cumulative.into();
        match (what, rest) {
            ("HELP", help) => metric.description = help.to_owned(),
            ("TYPE", "counter") => {
                metric.data = Some(Data::Sum(Sum {
                    aggregation_temporality: cumulative,
                    is_monotonic: true,
                    ..Sum::default()
                }));
            }
            ("TYPE", "histogram") => {
                metric.data = Some(Data::Histogram(Histogram {
                    aggregation_temporality: cumulative,
                    ..Histogram::default()
                }));
            }
            ("TYPE", "gauge") => metric.data = Some(Data::Gauge(Gauge::default())),
            _ => {}
        }
    }

    fn sample(&mut self, sample: Sample) {
        let Times { started, read } = self.times;
        let Some(metric) = self.metrics.last_mut() else { return };
        let Some(rest) = sample.name.strip_prefix(self.family.as_str()) else { return };
        let point = || NumberDataPoint {
            attributes: attributes(&sample),
            time_unix_nano: nanos(read),
            value: Some(Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        match &mut metric.data {
            Some(Data::Gauge(gauge)) if rest.is_empty() => gauge.data_points.push(point()),
            Some(Data::Sum(sum)) if rest.is_empty() || rest == "_total" => {
                sample.name.clone_into(&mut metric.name);
                let start_time_unix_nano = nanos(started);
                sum.data_points.push(NumberDataPoint { start_time_unix_nano, ..point() });
            }
            Some(Data::Histogram(histogram)) => {
                let points = &mut histogram.data_points;
                let attributes = attributes(&sample);
                if points.last().is_none_or(|last| last.attributes != attributes) {
                    points.push(HistogramDataPoint {
                        attributes,
                        start_time_unix_nano: nanos(started),
                        time_unix_nano: nanos(read),
                        ..HistogramDataPoint::default()
                    });
                }
                if let Some(point) = points.last_mut() {
                    part(point, rest, &sample);
                }
            }
            _ => {}
        }
    }
}

/// Adds a sample of a histogram: its sum, its count, or one of its buckets, which in the text count what is in those
/// before as well.
fn part(point: &mut HistogramDataPoint, which: &str, sample: &Sample) {
    match which {
        "_sum" => point.sum = Some(sample.value),
        "_count" => point.count = sample.value as u64,
        "_bucket" => {
            let Some(to) = sample.label("le").and_then(|le| le.parse::<f64>().ok()) else { return };
            let before: u64 = point.bucket_counts.iter().sum();
            point.bucket_counts.push((sample.value as u64).saturating_sub(before));
            if to.is_finite() {
                point.explicit_bounds.push(to);
            }
        }
        _ => {}
    }
}

/// OTLP's word for the unit that a name ends with.
fn unit(name: &str) -> &'static str {
    match name.strip_suffix("_total").unwrap_or(name) {
        name if name.ends_with("_seconds") => "s",
        name if name.ends_with("_bytes") => "By",
        _ => "",
    }
}

fn nanos(since: Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The labels of a sample, without the bound of a bucket.
fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.labels.iter().filter(|(name, _)| name != "le");
    labels.map(|(name, value)| attribute(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times =
        Times { started: Duration::from_secs(1), read: Duration::from_nanos(5_000_000_007) };

    fn one(text: &str) -> Metric {
        let mut metrics = of_text(text, TIMES);
        assert_eq!(metrics.len(), 1, "{metrics:?}");
        metrics.remove(0)
    }

    #[test]
    fn a_counter_is_a_sum_from_the_start_under_its_scraped_name_in_both_formats() {
        for text in [
            "# HELP a_bytes_total Bytes\n# TYPE a_bytes_total counter\na_bytes_total{x=\"1\"} 7\n",
            "# HELP a_bytes Bytes\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{x=\"1\"} 7.0\n# EOF\n",
        ] {
            let metric = one(text);
            assert_eq!(
                (&*metric.name, &*metric.unit, &*metric.description),
                ("a_bytes_total", "By", "Bytes")
            );
            let Some(Data::Sum(sum)) = metric.data else { panic!("no sum") };
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
            let point = &sum.data_points[0];
            assert_eq!(point.value, Some(Value::AsDouble(7.0)));
            assert_eq!(point.attributes, [attribute("x", "1")]);
            assert_eq!(
                (point.start_time_unix_nano, point.time_unix_nano),
                (1_000_000_000, 5_000_000_007)
            );
        }
    }

    #[test]
    fn a_gauge_has_a_point_for_each_of_its_labels_whatever_is_in_them() {
        let metric = one(
            "# TYPE a gauge\na{x=\"a \\\"b\\\\ } \\n\",y=\"\"} -1.5\na{x=\"c\",y=\"d\"} NaN 123\n",
        );
        let Some(Data::Gauge(gauge)) = metric.data else { panic!("no gauge") };
        assert_eq!(
            gauge.data_points[0].attributes,
            [attribute("x", "a \"b\\ } \n"), attribute("y", "")]
        );
        assert_eq!(gauge.data_points.len(), 2);
    }

    #[test]
    fn buckets_of_a_histogram_count_what_is_in_none_before() {
        let metric = one(
            "# TYPE a_seconds histogram\na_seconds_sum{s=\"x\"} 2.5\na_seconds_count{s=\"x\"} 6\n\
             a_seconds_bucket{le=\"0.1\",s=\"x\"} 1\na_seconds_bucket{le=\"1.0\",s=\"x\"} 4\n\
             a_seconds_bucket{le=\"+Inf\",s=\"x\"} 6\na_seconds_sum{s=\"y\"} 0\n",
        );
        assert_eq!((&*metric.name, &*metric.unit), ("a_seconds", "s"));
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("no histogram") };
        assert_eq!(histogram.data_points.len(), 2);
        let point = &histogram.data_points[0];
        assert_eq!((point.sum, point.count), (Some(2.5), 6));
        assert_eq!(
            (&point.bucket_counts[..], &point.explicit_bounds[..]),
            (&[1, 3, 2][..], &[0.1, 1.0][..])
        );
        assert_eq!(point.attributes, [attribute("s", "x")]);
    }

    #[test]
    fn what_is_no_figure_is_left_out_and_no_panic() {
        for text in [
            "",
            "# TYPE a gauge\na{",
            "# TYPE a gauge\na{x=\"\\",
            "# TYPE a gauge\nb 1\na b\na\n#\n# \n# TYPE\n",
            "# TYPE a_seconds histogram\na_seconds 1\na{}} 1",
        ] {
            assert!(of_text(text, TIMES).iter().all(|metric| metric.name == "a_seconds"), "{text}");
        }
    }
}
