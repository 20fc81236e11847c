//! The operator's process.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hypercache_operator::options::Options;
use hypercache_operator::telemetry;
use hypercache_trace::{Sent, Spans};
use tokio::signal::unix::{SignalKind, signal};

/// Threads of the runtime.
const THREADS: usize = 2;
/// How long the last spans may take to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hypercache-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let options = Options::parse();
    let spans = telemetry::start(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let sent = spans.as_ref().map(Spans::sent).unwrap_or_default();
    let ended = runtime.block_on(serve(options, sent));
    drop(runtime);
    if let Some(spans) = spans {
        spans.shutdown(LAST_SPANS);
    }
    ended
}

async fn serve(options: Options, sent: Sent) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let operator = options.build(sent).await.map_err(|error| error.to_string())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    operator.run(stop).await.map_err(|error| error.to_string())
}
