//! Logs, traces, metrics, and what the process costs.
//!
//! [`Options::install`] makes the process log JSON lines (see [`hypercache_log`]) and, when an endpoint is
//! configured, send spans (see [`trace`]). Metrics are told by [`metrics`] when they are asked
//! for; [`times`] counts what took how long.

pub mod log;
pub mod metrics;
pub mod process;
pub mod times;
pub mod trace;

use std::time::Duration;

use hypercache_log::{Levels, Lines};
use hypercache_trace::{Push, Ratio, Spans};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::Config;
use trace::Traces;

/// What the process tells, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// This member's name, in every line and span.
    pub member: String,
    /// A level or directives, as `log.level` of the configuration takes them.
    pub level: String,
    /// Where spans go; `None`: none are made.
    pub otlp_endpoint: Option<String>,
    /// The part of requests that have spans, of those that do not say so themselves.
    pub trace_sample_ratio: Ratio,
    /// Whether buckets of requests' times tell the trace of the last request in them that has spans.
    pub exemplars: bool,
    /// The service's name in traces.
    pub service_name: String,
    /// The cluster's name, in every line and span.
    pub cluster_name: String,
}

/// Why telemetry could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one.
    #[error(transparent)]
    Log(#[from] hypercache_log::Error),
    /// The exporter of spans refuses its endpoint.
    #[error("telemetry.otlp_endpoint: {0}")]
    Traces(#[from] hypercache_trace::Error),
    /// What sends metrics refuses its endpoint.
    #[error("telemetry.otlp_metrics_endpoint: {0}")]
    Metrics(#[source] hypercache_trace::Error),
    /// Something installed a subscriber before.
    #[error("logging is installed already: {0}")]
    Installed(#[from] TryInitError),
}

impl From<&Config> for Options {
    fn from(config: &Config) -> Self {
        Self {
            member: config.node.id.clone(),
            level: config.log.level.clone(),
            otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
            trace_sample_ratio: config.telemetry.trace_sample_ratio,
            exemplars: config.telemetry.exemplars,
            service_name: config.telemetry.service_name.clone(),
            cluster_name: config.cluster.name.clone(),
        }
    }
}

/// What sends metrics, where an endpoint is configured.
///
/// # Errors
/// An endpoint that cannot be.
pub fn push(config: &Config) -> Result<Option<Push>, Error> {
    let of = &config.telemetry;
    let Some(endpoint) = of.otlp_metrics_endpoint.clone() else { return Ok(None) };
    let options = hypercache_trace::Options {
        service: of.service_name.clone(),
        version: env!("CARGO_PKG_VERSION"),
        instance: config.node.id.clone(),
        cluster: Some(config.cluster.name.clone()),
        endpoint,
    };
    let interval = Duration::from_millis(of.otlp_metrics_interval_ms);
    Push::new(options, interval).map(Some).map_err(Error::Metrics)
}

impl Options {
    /// Makes this process log and trace accordingly, from now on and in every thread.
    ///
    /// # Errors
    /// A level or endpoint that cannot be, or a process that logs already.
    pub fn install(&self) -> Result<Guard, Error> {
        let (filter, levels) = log::ORIGIN.build(&self.level)?;
        let mut lines = Lines::new(log::service(self), std::io::stdout);
        if self.otlp_endpoint.is_some() {
            lines = lines.with_traces(log::current_trace);
        }
        let spans = self.spans().map(|there| hypercache_trace::start(&there)).transpose()?;
        tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
        // A panic is a line of the log like any other, so that whoever reads it by lines sees it.
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let what = info.payload_as_str().unwrap_or("a panic without words");
            tracing::error!(action = "panic", place, error = what, "panic");
        }));
        let traces = spans.as_ref();
        let traces =
            traces.map(|spans| Traces::new(spans, self.trace_sample_ratio, self.exemplars));
        Ok(Guard { spans, traces: traces.unwrap_or_default(), levels })
    }

    /// How spans are made and sent, if they are.
    fn spans(&self) -> Option<hypercache_trace::Options> {
        Some(hypercache_trace::Options {
            service: self.service_name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            instance: self.member.clone(),
            cluster: Some(self.cluster_name.clone()),
            endpoint: self.otlp_endpoint.clone()?,
        })
    }
}

/// Keeps the exporter of spans; to be shut down as the last thing before the process ends.
#[derive(Debug)]
pub struct Guard {
    spans: Option<Spans>,
    traces: Traces,
    levels: Levels,
}

impl Guard {
    /// The way to change what is logged.
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }

    /// What makes spans.
    pub fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// Sends the spans that are still queued, for at most `deadline`. Blocks the thread for that
    /// time, so it is called when no runtime is left.
    pub fn shutdown(self, deadline: Duration) {
        if let Some(spans) = self.spans {
            spans.shutdown(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(level: &str) -> Options {
        Options {
            member: "a".into(),
            level: level.into(),
            otlp_endpoint: None,
            trace_sample_ratio: Ratio::default(),
            exemplars: false,
            service_name: "hypercache".into(),
            cluster_name: "demo".into(),
        }
    }

    #[test]
    fn a_level_that_is_none_is_an_error_and_not_a_panic() {
        assert!(matches!(options("hypercache=loud").install(), Err(Error::Log(_))));
    }

    #[test]
    fn an_endpoint_that_is_none_is_an_error_and_not_a_panic() {
        let options = Options { otlp_endpoint: Some("http://[".into()), ..options("info") };
        assert!(matches!(options.install(), Err(Error::Traces(_))));
    }
}
