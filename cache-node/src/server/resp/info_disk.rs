//! INFO persistence: what is on the disk, in Redis's fields.

use hypercache_core::cluster::View;

use super::Shared;
use super::commands::persistence::{is_logged, last_save_s};
use super::info::fields;
use crate::clock::now_ms;
use crate::disk::{SnapshotStats, Stats};

/// The section's text.
pub(super) fn persistence(out: &mut String, shared: &Shared, _: &View) {
    let stats = shared.router.disk().stats();
    let aof = stats.enabled && is_logged(shared);
    let progress = stats.snapshots;
    fields!(out,
        "loading": u8::from(stats.loading.is_some()),
        "async_loading": 0,
    );
    if let Some(loading) = &stats.loading {
        fields!(out,
            "loading_start_time": loading.started_ms / 1000,
            "loading_total_bytes": loading.total_bytes,
            "loading_loaded_bytes": loading.loaded_bytes,
            "loading_loaded_perc": format_args!("{:.2}", loading.percent()),
            "loading_eta_seconds": loading.eta_seconds(now_ms()),
            "loading_lanes_ready": loading.lanes_ready,
        );
    }
    let newest = newest(&stats);
    fields!(out,
        "rdb_changes_since_last_save": changes(&stats),
        "rdb_bgsave_in_progress": u8::from(progress.save),
        "rdb_last_save_time": last_save_s(shared),
        "rdb_last_bgsave_status": word(stats.snapshot_errors == 0 || stats.last_snapshot_ok),
        "rdb_last_bgsave_time_sec": seconds(newest.map(|snapshot| snapshot.took_ms)),
        "rdb_current_bgsave_time_sec": whole(progress.save_seconds),
    );
    let recovery = stats.recovery.clone().unwrap_or_default();
    fields!(out,
        "rdb_last_load_keys_expired": recovery.expired_keys,
        "rdb_last_load_keys_loaded": recovery.keys,
        "aof_enabled": u8::from(aof),
        // Rewriting the log is taking snapshots of the logged stores.
        "aof_rewrite_in_progress": u8::from(progress.rewrite),
        "aof_rewrite_scheduled": u8::from(progress.rewrite_scheduled),
        "aof_last_rewrite_time_sec": seconds(stats.last_rewrite.map(|rewrite| rewrite.took_ms)),
        "aof_current_rewrite_time_sec": whole(progress.rewrite_seconds),
        "aof_last_bgrewrite_status": word(stats.last_rewrite.is_none_or(|rewrite| rewrite.ok)),
        "aof_last_write_status": word(stats.degraded.is_none()),
    );
    if aof {
        fields!(out,
            "aof_current_size": stats.log.bytes,
            "aof_base_size": base_bytes(&stats),
            "aof_pending_rewrite": 0,
            "aof_pending_bio_fsync": u8::from(stats.log.waiting_writers > 0),
            "aof_last_fsync_time_usec": stats.log.last_fsync_us,
            "aof_fsyncs": stats.log.fsyncs,
            "aof_waiting_writers": stats.log.waiting_writers,
            "aof_segments": stats.log.segments,
            "aof_errors": stats.log.errors,
        );
    }
}

fn word(well: bool) -> &'static str {
    if well { "ok" } else { "err" }
}

/// In whole seconds; Redis says -1 where there was none.
fn seconds(ms: Option<u64>) -> i64 {
    whole(ms.map(|ms| ms / 1000))
}

fn whole(seconds: Option<u64>) -> i64 {
    seconds.map_or(-1, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn newest(stats: &Stats) -> Option<&SnapshotStats> {
    stats.stores.iter().filter_map(|store| store.last_snapshot.as_ref()).max_by_key(|s| s.at_ms)
}

/// Records that no snapshot has yet: those after the oldest of the logged stores' last ones.
fn changes(stats: &Stats) -> u64 {
    let logged = stats.stores.iter().filter(|store| store.mode.is_logged());
    let oldest = logged.map(|store| store.last_snapshot.as_ref().map_or(0, |s| s.sequence)).min();
    oldest.map_or(0, |sequence| stats.log.last_sequence.saturating_sub(sequence))
}

/// The snapshots that the log follows.
fn base_bytes(stats: &Stats) -> u64 {
    let logged = stats.stores.iter().filter(|store| store.mode.is_logged());
    logged.filter_map(|store| Some(store.last_snapshot.as_ref()?.bytes)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::StoreDisk;
    use hypercache_core::store::{Fsync, Mode};

    fn store(mode: Mode, sequence: Option<u64>) -> StoreDisk {
        StoreDisk {
            number: 0,
            name: "a".into(),
            mode,
            fsync: Fsync::Periodic,
            log_bytes: 0,
            log_bytes_since_snapshot: 0,
            last_snapshot: sequence.map(|sequence| SnapshotStats {
                sequence,
                bytes: 10,
                ..SnapshotStats::default()
            }),
            snapshot_in_progress: false,
            snapshot_errors: 0,
            last_snapshot_error: None,
        }
    }

    #[test]
    fn what_is_in_no_snapshot_is_counted_from_the_oldest_of_logged_stores() {
        let mut stats = Stats::default();
        stats.log.last_sequence = 100;
        assert_eq!(changes(&stats), 0, "nothing is logged");
        stats.stores = vec![store(Mode::Snapshot, Some(5)), store(Mode::Aof, Some(70))];
        assert_eq!((changes(&stats), base_bytes(&stats)), (30, 10));
        stats.stores.push(store(Mode::Aof, None));
        assert_eq!(changes(&stats), 100);
    }
}
