//! What is on the disk.

use std::fmt::Error;

use hypercache_core::metric::Metric;

use super::out::{Out, Spread};
use super::table;
use crate::disk::{SnapshotStats, Stats, StoreDisk};

/// Tells of the disk; nothing where the member has none.
pub(super) fn encode(stats: &Stats, out: &mut Out<'_>) -> Result<(), Error> {
    if !stats.enabled {
        return Ok(());
    }
    let (log, recovery) = (&stats.log, stats.recovery.clone().unwrap_or_default());
    let seconds_of_us = |us: u64| us as f64 / 1e6;
    let is = |yes: bool| f64::from(u8::from(yes));
    if let Some(space) = stats.space {
        out.one(&table::DISK_TOTAL, space.total_bytes as f64)?;
        out.one(&table::DISK_FREE, space.free_bytes as f64)?;
    }
    for (metric, value) in [
        (&table::DISK_DEGRADED, is(stats.degraded.is_some())),
        (&table::DISK_LOADING, is(stats.loading.is_some())),
        (&table::LOG, log.bytes as f64),
        (&table::LOG_SEGMENTS, log.segments as f64),
        (&table::LOG_LAST_FSYNC, seconds_of_us(log.last_fsync_us)),
        (&table::LOG_LONGEST_FSYNC, seconds_of_us(log.longest_fsync_us)),
        (&table::LOG_WAITING_WRITERS, log.waiting_writers as f64),
        (&table::LOG_RECORDS, log.records as f64),
        (&table::LOG_WRITTEN, log.written_bytes as f64),
        (&table::LOG_WRITES, log.writes as f64),
        (&table::LOG_FSYNCS, log.fsyncs as f64),
        (&table::LOG_ERRORS, log.errors as f64),
        (&table::SNAPSHOT_ERRORS, stats.snapshot_errors as f64),
        (&table::SNAPSHOTS_IN_PROGRESS, stats.snapshots_in_progress as f64),
        (&table::RECOVERY_DURATION, recovery.took_ms as f64 / 1e3),
        (&table::RECOVERY_KEYS, recovery.keys as f64),
        (&table::RECOVERY_RECORDS, recovery.records as f64),
        (&table::RECOVERY_DAMAGED_FRAMES, recovery.damaged_frames as f64),
        (&table::RECOVERY_DAMAGED_SNAPSHOTS, recovery.damaged_snapshots as f64),
        (&table::RECOVERY_TORN, recovery.torn_bytes as f64),
    ] {
        out.one(metric, value)?;
    }
    for (metric, times) in [
        (&table::LOG_WRITE_DURATION, &log.write_times),
        (&table::LOG_FSYNC_DURATION, &log.fsync_times),
    ] {
        out.spreads(metric, [([], Spread::from(times))])?;
    }
    encode_stores(&stats.stores, out)
}

fn encode_stores(stores: &[StoreDisk], out: &mut Out<'_>) -> Result<(), Error> {
    let logged = stores.iter().filter(|store| store.mode.is_logged());
    out.each(
        &table::STORE_LOG_SINCE_SNAPSHOT,
        logged.map(|store| ([store.name.as_str()], store.log_bytes_since_snapshot as f64)),
    )?;
    type Read = fn(&SnapshotStats) -> f64;
    let gauges: [(&Metric, Read); 4] = [
        (&table::STORE_SNAPSHOT_TIME, |s| s.at_ms as f64 / 1e3),
        (&table::STORE_SNAPSHOT_DURATION, |s| s.took_ms as f64 / 1e3),
        (&table::STORE_SNAPSHOT, |s| s.bytes as f64),
        (&table::STORE_SNAPSHOT_KEYS, |s| s.keys as f64),
    ];
    for (metric, read) in gauges {
        let taken = stores
            .iter()
            .filter_map(|store| Some(([store.name.as_str()], read(store.last_snapshot.as_ref()?))));
        out.each(metric, taken)?;
    }
    Ok(())
}
