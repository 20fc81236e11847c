//! Backups of this member.

use std::fmt::Error;

use super::out::Out;
use super::table;
use crate::backup::Status;

/// Tells of backups; nothing where none are configured.
pub(super) fn encode(status: &Status, out: &mut Out<'_>) -> Result<(), Error> {
    if status.url.is_none() {
        return Ok(());
    }
    let last = status.last.as_ref();
    for (metric, value) in [
        (&table::BACKUP_RUNNING, f64::from(u8::from(status.running_since_ms.is_some()))),
        (&table::BACKUP_TIME, last.map_or(0.0, |done| done.created_ms as f64 / 1e3)),
        (&table::BACKUP_DURATION, last.map_or(0.0, |done| done.took_ms as f64 / 1e3)),
        (&table::BACKUP, last.map_or(0.0, |done| done.stored_bytes as f64)),
        (&table::BACKUPS, status.tried as f64),
        (&table::BACKUP_ERRORS, status.failed as f64),
    ] {
        out.one(metric, value)?;
    }
    Ok(())
}
