//! The member's memory.

use std::fmt::Error;

use super::out::Out;
use super::table;
use crate::memory::Snapshot;
use crate::telemetry::process;

/// Tells of the memory.
pub(super) fn encode(of: &Snapshot, out: &mut Out<'_>) -> Result<(), Error> {
    let held = process::allocator();
    let fragmentation = match held.allocated {
        0 => 1.0,
        allocated => held.resident as f64 / allocated as f64,
    };
    for (metric, value) in [
        (&table::MEMORY_LIMIT, of.limit_bytes as f64),
        (&table::MEMORY_WORKING_SET, of.working_set_bytes as f64),
        (&table::MEMORY_STAGE, f64::from(of.stage as u8)),
        (&table::MEMORY_FRAGMENTATION, fragmentation),
        (&table::MEMORY_ACTIVE, held.active as f64),
        (&table::MEMORY_HELD, held.resident as f64),
        (&table::MEMORY_FREES_PENDING, of.frees_pending as f64),
        (&table::MEMORY_RELIEVED, of.relieved_bytes as f64),
        (&table::MEMORY_PURGES, of.purges as f64),
        (&table::MEMORY_MOVES, of.moves as f64),
        (&table::MEMORY_FREED_KEYS, of.freed as f64),
    ] {
        out.one(metric, value)?;
    }
    Ok(())
}
