//! What is on the disk, for Prometheus.

use std::fmt::Error;

use prometheus_client::registry::Unit;

use super::{NO_LABELS, Out};
use crate::disk::{SnapshotStats, Stats, StoreDisk};

/// Tells of the disk; nothing where the member has none.
pub(super) fn encode(stats: &Stats, out: &mut Out<'_>) -> Result<(), Error> {
    if !stats.enabled {
        return Ok(());
    }
    let (log, recovery) = (&stats.log, stats.recovery.clone().unwrap_or_default());
    let (bytes, seconds) = (Some(Unit::Bytes), Some(Unit::Seconds));
    let us = |us: u64| us as f64 / 1e6;
    for (name, help, unit, value) in [
        ("hypercache_log", "The log of all stores on the disk", bytes.clone(), log.bytes as f64),
        ("hypercache_log_segments", "Its files", None, log.segments as f64),
        (
            "hypercache_log_last_fsync_duration",
            "How long the last fsync of the log took",
            seconds.clone(),
            us(log.last_fsync_us),
        ),
        (
            "hypercache_log_longest_fsync_duration",
            "The longest fsync of the log since the start",
            seconds.clone(),
            us(log.longest_fsync_us),
        ),
        (
            "hypercache_log_waiting_writers",
            "Writers that wait until what they wrote is on the disk",
            None,
            log.waiting_writers as f64,
        ),
        (
            "hypercache_disk_degraded",
            "1 while stores that promise durability refuse writes, because the disk failed",
            None,
            f64::from(u8::from(stats.degraded.is_some())),
        ),
        (
            "hypercache_disk_loading",
            "1 while data is read from the disk after the start",
            None,
            f64::from(u8::from(stats.loading.is_some())),
        ),
        (
            "hypercache_recovery_duration",
            "How long the data was read from the disk at the start",
            seconds.clone(),
            recovery.took_ms as f64 / 1e3,
        ),
        ("hypercache_recovery_keys", "Keys that were there then", None, recovery.keys as f64),
        (
            "hypercache_recovery_records",
            "Records of the log that were replayed",
            None,
            recovery.records as f64,
        ),
        (
            "hypercache_recovery_damaged_frames",
            "Places of the log that were lost to damage",
            None,
            recovery.damaged_frames as f64,
        ),
        (
            "hypercache_recovery_damaged_snapshots",
            "Parts of snapshots in whose place older ones were used",
            None,
            recovery.damaged_snapshots as f64,
        ),
        (
            "hypercache_recovery_torn",
            "What was cut off the log's end",
            bytes.clone(),
            recovery.torn_bytes as f64,
        ),
    ] {
        out.gauge(name, help, unit, value)?;
    }
    for (name, help, unit, value) in [
        ("hypercache_log_records", "Records that went to the log", None, log.records),
        ("hypercache_log_written", "Bytes written to the log", bytes.clone(), log.written_bytes),
        ("hypercache_log_writes", "How often it was written", None, log.writes),
        ("hypercache_log_fsyncs", "How often it was forced to the disk", None, log.fsyncs),
        ("hypercache_log_errors", "Writes and fsyncs of it that failed", None, log.errors),
        ("hypercache_snapshot_errors", "Snapshots that failed", None, stats.snapshot_errors),
    ] {
        out.counters(name, help, unit, [(NO_LABELS, value as f64)])?;
    }
    let times = &log.fsync_times;
    let bound = |bound: u64| if bound == u64::MAX { f64::INFINITY } else { us(bound) };
    let buckets: Vec<_> = times.buckets.iter().map(|(to, count)| (bound(*to), *count)).collect();
    out.histogram(
        "hypercache_log_fsync_duration",
        "How long forcing the log to the disk took",
        seconds,
        us(times.sum_us),
        &buckets,
    )?;
    encode_stores(&stats.stores, out)
}

fn encode_stores(stores: &[StoreDisk], out: &mut Out<'_>) -> Result<(), Error> {
    let logged = stores.iter().filter(|store| store.mode.is_logged());
    out.gauges(
        "hypercache_store_log_since_snapshot",
        "What the log has of the store since its last snapshot",
        Some(Unit::Bytes),
        logged.map(|s| ([("store", s.name.as_str())], s.log_bytes_since_snapshot as f64)),
    )?;
    type Read = fn(&SnapshotStats) -> f64;
    let gauges: [(&str, &str, Option<Unit>, Read); 4] = [
        (
            "hypercache_store_last_snapshot_time",
            "When the store's last snapshot was complete, since the Unix epoch",
            Some(Unit::Seconds),
            |s| s.at_ms as f64 / 1e3,
        ),
        ("hypercache_store_last_snapshot_duration", "How long it took", Some(Unit::Seconds), |s| {
            s.took_ms as f64 / 1e3
        }),
        ("hypercache_store_last_snapshot", "Its size", Some(Unit::Bytes), |s| s.bytes as f64),
        ("hypercache_store_last_snapshot_keys", "The keys in it", None, |s| s.keys as f64),
    ];
    for (name, help, unit, read) in gauges {
        let taken = stores.iter().filter_map(|store| {
            Some(([("store", store.name.as_str())], read(store.last_snapshot.as_ref()?)))
        });
        out.gauges(name, help, unit, taken)?;
    }
    Ok(())
}
