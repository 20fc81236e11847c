//! Backups of this member, for Prometheus.

use std::fmt::Error;

use prometheus_client::registry::Unit;

use super::{NO_LABELS, Out};
use crate::backup::Status;

/// Tells of backups; nothing where none are configured.
pub(super) fn encode(status: &Status, out: &mut Out<'_>) -> Result<(), Error> {
    if status.url.is_none() {
        return Ok(());
    }
    let last = status.last.as_ref();
    for (name, help, unit, value) in [
        (
            "hypercache_backup_running",
            "1 while a backup is made",
            None,
            f64::from(u8::from(status.running_since_ms.is_some())),
        ),
        (
            "hypercache_backup_last_time",
            "When the last backup that is complete was begun, since the Unix epoch; 0: none since the start",
            Some(Unit::Seconds),
            last.map_or(0.0, |done| done.created_ms as f64 / 1e3),
        ),
        (
            "hypercache_backup_last_duration",
            "How long it took",
            Some(Unit::Seconds),
            last.map_or(0.0, |done| done.took_ms as f64 / 1e3),
        ),
        (
            "hypercache_backup_last",
            "Its size",
            Some(Unit::Bytes),
            last.map_or(0.0, |done| done.stored_bytes as f64),
        ),
    ] {
        out.gauge(name, help, unit, value)?;
    }
    for (name, help, value) in [
        ("hypercache_backups", "Backups that were tried since the start", status.tried),
        ("hypercache_backup_errors", "Backups that failed", status.failed),
    ] {
        out.counters(name, help, None, [(NO_LABELS, value as f64)])?;
    }
    Ok(())
}
