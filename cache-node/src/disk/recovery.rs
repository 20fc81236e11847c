//! Reading what is on the disk at start, on threads: lanes are read side by side, and each is served as
//! soon as it is read. What is read, and in which order, is in `core/src/log/recovery`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use hypercache_core::log::LANES;
use hypercache_core::log::recovery::{self, Report};

use super::Error;
use super::gate::Gate;
use super::keeper::stats_of;
use super::layout::OnDisk;
use super::shared::Shared;
use super::stats::Recovery;
use crate::clock::now_ms;

pub use hypercache_core::log::recovery::{LOST_RECORDS, is_ours};

/// How often it is looked whether that is due.
const LOOK: Duration = Duration::from_millis(100);
/// How often the log says how far it is.
const TELL: Duration = Duration::from_secs(3);

/// What is on the disk, and in which order it is read.
pub struct Plan {
    plan: recovery::Plan<OnDisk>,
    started_ms: u64,
}

fn tell(damages: &[String]) {
    for damage in damages {
        tracing::warn!(action = "data-damaged", error = damage, "data on the disk is damaged");
    }
}

fn stats(report: Report, started_ms: u64) -> Recovery {
    Recovery {
        started_ms,
        took_ms: 0,
        keys: 0,
        snapshot_keys: report.snapshot_keys,
        records: report.records,
        expired_keys: report.expired_keys,
        damaged_snapshots: report.damaged_snapshots,
        damaged_frames: report.damaged_frames,
        torn_bytes: report.torn_bytes,
        damages: report.damages,
    }
}

impl Plan {
    /// Reads the headers of all that is there, and cuts off what is torn.
    ///
    /// # Errors
    /// A file cannot be read, is foreign, or of a later version.
    pub fn make(shared: &Shared) -> Result<Self, Error> {
        let started_ms = now_ms();
        let files = &shared.layout.files;
        let plan = {
            let catalog = shared.catalog.lock();
            recovery::Plan::make(files, shared.layout.data_set, catalog.content())
        };
        let plan = plan.map_err(|error| files.wrong(error))?;
        tell(&plan.report.damages);
        let mut accounts = shared.accounts.lock();
        for (number, bytes) in plan.log_bytes() {
            accounts.entry(number).or_default().log_bytes += bytes;
        }
        for (number, store) in &plan.stores {
            let account = accounts.entry(*number).or_default();
            for source in store.sources.iter().rev() {
                account.snapshots.push(source.snapshot.header.first_sequence);
                account.last_snapshot = Some(stats_of(&source.snapshot, source.bytes));
            }
        }
        drop(accounts);
        *shared.segments.lock() = plan.segment_infos.clone();
        Ok(Self { plan, started_ms })
    }

    /// Higher than any sequence that was given before.
    pub fn last_sequence(&self) -> u64 {
        self.plan.last_sequence
    }

    /// Higher than any segment's number.
    pub fn next_number(&self) -> u64 {
        self.plan.next_number
    }

    /// Reads everything, on threads of their own, and opens the gate lane by lane.
    ///
    /// # Errors
    /// There are no threads.
    pub fn run(self, shared: &Arc<Shared>, gate: &Arc<Gate>) -> std::io::Result<()> {
        let Self { plan, started_ms } = self;
        let progress = &shared.progress;
        progress.started_ms.store(started_ms, Relaxed);
        if plan.is_empty() {
            *progress.report.lock() = Some(stats(plan.report, started_ms));
            progress.is_on.store(false, Release);
            (0..LANES).for_each(|lane| gate.lane_is_ready(lane));
            shared.keyspace.set_loading(false);
            return Ok(());
        }
        progress.total_bytes.store(plan.total_bytes, Relaxed);
        tracing::info!(
            action = "recovery-progress",
            bytes = plan.total_bytes,
            frames = plan.frames(),
            segments = plan.segment_infos.len(),
            "data is read from the disk"
        );
        let threads = thread::available_parallelism().map_or(1, usize::from).min(LANES);
        let (shared, gate) = (shared.clone(), gate.clone());
        thread::Builder::new().name("recovery".into()).spawn(move || {
            let counts = &shared.progress.counts;
            let next = AtomicUsize::new(0);
            let began = Instant::now();
            let (reader, left) = (thread::current(), AtomicUsize::new(threads));
            thread::scope(|scope| {
                let work = || {
                    loop {
                        let lane = next.fetch_add(1, Relaxed);
                        if lane >= LANES || shared.stop.load(Acquire) {
                            break;
                        }
                        plan.read_lane(lane, &*shared.keyspace, counts);
                        gate.lane_is_ready(lane);
                        if let Some(ready) = shared.progress.lanes.get(lane) {
                            ready.store(true, Release);
                        }
                    }
                    left.fetch_sub(1, AcqRel);
                    reader.unpark();
                };
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let mut told = Instant::now();
                // One that broke has not counted itself.
                let is_done = || workers.iter().all(thread::ScopedJoinHandle::is_finished);
                while left.load(Acquire) > 0 && !is_done() {
                    thread::park_timeout(LOOK);
                    if told.elapsed() >= TELL {
                        told = Instant::now();
                        let loaded = shared.loading().unwrap_or_default();
                        tracing::info!(
                            action = "recovery-progress",
                            percent = loaded.percent() as u64,
                            lanes = loaded.lanes_ready,
                            "data is read from the disk"
                        );
                    }
                }
            });
            let mut report = stats(counts.report(&plan.report), started_ms);
            tell(report.damages.get(plan.report.damages.len()..).unwrap_or_default());
            report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let kept = shared.kept();
            report.keys = kept.iter().map(|policy| shared.keyspace.keys(policy.number)).sum();
            tracing::info!(
                action = "recovery-done",
                keys = report.keys,
                snapshot_keys = report.snapshot_keys,
                records = report.records,
                damaged_frames = report.damaged_frames,
                damaged_snapshots = report.damaged_snapshots,
                torn_bytes = report.torn_bytes,
                took_ms = report.took_ms,
                "data was read from the disk"
            );
            *shared.progress.report.lock() = Some(report);
            shared.keyspace.set_loading(false);
            shared.progress.is_on.store(false, Release);
            shared.wake_keeper();
        })?;
        Ok(())
    }
}
