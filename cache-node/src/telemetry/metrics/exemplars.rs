//! Exemplars: the trace of the last request in a bucket that has spans, behind the bucket's line. OpenMetrics has
//! them, Prometheus's older format does not.
//!
//! prometheus-client writes those of its own histograms alone, and ours are counted by each loop for itself; so
//! they are put into the text that it wrote.

use std::fmt::Write;
use std::time::UNIX_EPOCH;

use hypercache_trace::sample::Sample;

use super::table::REQUEST_DURATION;
use crate::server::stats::exemplars::Exemplar;
use crate::server::stats::families::{BOUNDS, Requests, bounds_seconds};

/// Those of one family and store.
pub(super) struct Told {
    family: &'static str,
    store: String,
    buckets: [Option<Exemplar>; BOUNDS],
}

/// Those that there are.
pub(super) fn told(requests: &[(String, Requests)]) -> Vec<Told> {
    let has_some = |of: &Requests| of.exemplars.iter().any(Option::is_some);
    let some = requests.iter().filter(|(_, requests)| has_some(requests));
    some.map(|(store, requests)| Told {
        family: requests.group.as_str(),
        store: store.clone(),
        buckets: requests.exemplars,
    })
    .collect()
}

/// Puts them into a text in OpenMetrics.
pub(super) fn add(text: String, told: &[Told]) -> String {
    if told.is_empty() {
        return text;
    }
    let buckets = format!("{}_bucket{{", REQUEST_DURATION.name);
    let mut with = String::with_capacity(text.len() + told.len() * BOUNDS * 80);
    for line in text.lines() {
        with.push_str(line);
        if line.starts_with(&buckets)
            && let Some((exemplar, bound)) = of_line(line, told)
        {
            let Exemplar { trace, seconds, at } = exemplar;
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            // Ticks are rounded otherwise than the bound is, which it may not be over.
            let seconds = seconds.min(bound);
            // Writing into a string does not fail.
            let _ = write!(with, " # {{trace_id=\"{trace}\"}} {seconds} {at:.3}");
        }
        with.push('\n');
    }
    with
}

/// That of a bucket's line, and the bucket's bound.
fn of_line(line: &str, told: &[Told]) -> Option<(Exemplar, f64)> {
    let sample = Sample::of_line(line)?;
    let (family, store) = (sample.label("family")?, sample.label("store")?);
    let of = told.iter().find(|told| told.family == family && told.store == store)?;
    let le: f64 = sample.label("le")?.parse().ok()?;
    let (bound, exemplar) = bounds_seconds().zip(of.buckets).find(|(bound, _)| *bound == le)?;
    Some((exemplar?, bound))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hypercache_core::command::Group;
    use opentelemetry::trace::TraceId;
    use prometheus_client::registry::Registry;

    use super::super::{Format, RequestSnapshot, Snapshot};
    use super::*;

    fn snapshot() -> Snapshot {
        let exemplar = |trace: u128, seconds| {
            let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
            Some(Exemplar { trace: TraceId::from(trace), seconds, at })
        };
        let requests = |store, group| Requests {
            store,
            group,
            counts: [1; BOUNDS],
            seconds: 0.0,
            errors: [0; 3],
            exemplars: [None; BOUNDS],
        };
        let mut written = requests(0, Group::String);
        written.exemplars[1] = exemplar(10, 0.000_02);
        written.exemplars[3] = exemplar(11, 0.000_250_1);
        written.exemplars[BOUNDS - 1] = exemplar(12, 3.5);
        let named = |name: &str, requests| (name.to_owned(), requests);
        let requests = vec![
            named("default", written),
            named("default", requests(0, Group::List)),
            named("other", requests(1, Group::String)),
        ];
        let requests = RequestSnapshot { requests, ..RequestSnapshot::default() };
        Snapshot { requests, ..Snapshot::default() }
    }

    #[test]
    fn buckets_tell_the_trace_of_their_last_request_in_open_metrics() {
        let text = snapshot().write(Registry::default(), Format::OpenMetrics).unwrap();
        let found: Vec<_> = text.lines().filter(|line| line.contains("trace_id")).collect();
        let line = |le: &str, count: u64, trace: &str, seconds: &str| {
            format!(
                "hypercache_request_duration_seconds_bucket\
                 {{le=\"{le}\",family=\"string\",store=\"default\"}} {count} \
                 # {{trace_id=\"{:0>32}\"}} {seconds} 1700000000.123",
                trace
            )
        };
        let last = line("+Inf", BOUNDS as u64, "c", "3.5");
        let wanted = [line("0.00005", 2, "a", "0.00002"), line("0.00025", 4, "b", "0.00025"), last];
        assert_eq!(found, wanted);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_older_format_has_none_and_all_else_is_as_without_them() {
        let text = |of: Snapshot, format| of.write(Registry::default(), format).unwrap();
        assert!(!text(snapshot(), Format::Prometheus).contains("trace_id"));
        let with = text(snapshot(), Format::OpenMetrics);
        let samples = |text: &str| {
            let own = |line: &&str| line.starts_with("hypercache_request_");
            text.lines().filter(own).filter_map(Sample::of_line).collect::<Vec<_>>()
        };
        let mut without = snapshot();
        without.requests.requests.iter_mut().for_each(|(_, of)| of.exemplars = [None; BOUNDS]);
        let without = text(without, Format::OpenMetrics);
        assert!(!without.contains("trace_id"));
        assert!(!samples(&with).is_empty());
        assert_eq!(samples(&with), samples(&without));
    }
}
