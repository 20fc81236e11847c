//! What runs here, and what it costs.

use std::fmt::Error;

use hypercache_core::metric::Metric;
use hypercache_trace::{Figures, PointFigures};

use super::out::Out;
use super::table;
use crate::loops::Figures as LoopFigures;
use crate::telemetry::process;

/// An I/O loop: what it did, and how many connections it serves.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoopSnapshot {
    /// What it did.
    pub did: LoopFigures,
    /// Its RESP connections.
    pub connections: u64,
}

/// Tells of the build and the process.
pub(super) fn encode(member: &str, started_at_ms: u64, out: &mut Out<'_>) -> Result<(), Error> {
    out.each(&table::BUILD_INFO, [([env!("CARGO_PKG_VERSION"), member], 1.0)])?;
    let (user, system) = process::cpu_seconds();
    out.each(&table::CPU, [(["user"], user), (["system"], system)])?;
    for (metric, value) in [
        (&table::START_TIME, started_at_ms as f64 / 1e3),
        (&table::RESIDENT_MEMORY, process::resident_bytes() as f64),
        (&table::ALLOCATED_MEMORY, process::allocated_bytes() as f64),
        (&table::THREADS, process::threads() as f64),
        (&table::OPEN_FDS, process::open_fds() as f64),
        (&table::MAX_FDS, process::max_fds() as f64),
    ] {
        out.one(metric, value)?;
    }
    // Whoever asks outside a runtime learns nothing of one.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return Ok(()) };
    let runtime = runtime.metrics();
    let workers = runtime.num_workers();
    let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
    for (metric, value) in [
        (&table::RUNTIME_WORKERS, workers as f64),
        (&table::RUNTIME_TASKS, runtime.num_alive_tasks() as f64),
        (&table::RUNTIME_QUEUED, runtime.global_queue_depth() as f64),
        (&table::RUNTIME_BUSY, busy.sum()),
    ] {
        out.one(metric, value)?;
    }
    Ok(())
}

/// Tells of the I/O loops, by their numbers.
pub(super) fn encode_loops(loops: &[LoopSnapshot], out: &mut Out<'_>) -> Result<(), Error> {
    out.one(&table::LOOPS, loops.len() as f64)?;
    type Read = fn(&LoopSnapshot) -> Option<f64>;
    let by_loop: [(&Metric, Read); 3] = [
        (&table::LOOP_BUSY, |of| Some(of.did.busy.as_secs_f64())),
        (&table::LOOP_CPU, |of| Some(of.did.cpu?.as_secs_f64())),
        (&table::LOOP_CONNECTIONS, |of| Some(of.connections as f64)),
    ];
    let named: Vec<_> = (0..loops.len()).map(|index| index.to_string()).collect();
    for (metric, read) in by_loop {
        let values = named.iter().zip(loops);
        out.each(metric, values.filter_map(|(name, of)| Some(([name.as_str()], read(of)?))))?;
    }
    Ok(())
}

/// Tells what became of the spans of requests.
pub(super) fn encode_spans(spans: Figures, out: &mut Out<'_>) -> Result<(), Error> {
    out.one(&table::SPANS_SENT, spans.sent as f64)?;
    let lost = [(["queue"], spans.dropped as f64), (["endpoint"], spans.failed as f64)];
    out.each(&table::SPANS_DROPPED, lost)
}

/// Tells what became of metrics that were sent.
pub(super) fn encode_points(points: PointFigures, out: &mut Out<'_>) -> Result<(), Error> {
    out.one(&table::POINTS_SENT, points.sent as f64)?;
    let lost = [(["endpoint"], points.failed as f64), (["refused"], points.refused as f64)];
    out.each(&table::POINTS_DROPPED, lost)
}
