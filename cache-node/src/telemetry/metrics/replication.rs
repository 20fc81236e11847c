//! Links to the other owners of slots.

use std::fmt::Error;

use hypercache_core::metric::Metric;
use hypercache_core::replica::CheckCounts;

use super::out::Out;
use super::table;
use crate::replica::LinkFigures;

/// What of replication is told.
#[derive(Debug, Clone, Default)]
pub struct ReplicationSnapshot {
    /// Each link and the name of the member that it leads to.
    pub links: Vec<(String, LinkFigures)>,
    /// Slots of which this member is the primary.
    pub slots_primary: u64,
    /// Of these, slots with fewer owners in sync than there should be.
    pub slots_under_replicated: u64,
    /// Slots that this member gave away with everything.
    pub slots_handed_over: u64,
    /// Slots that another member was the primary of before this one had stopped: found by a refusal.
    pub slots_deposed: u64,
    /// How copies were found, compared with what their primaries hold.
    pub checks: CheckCounts,
}

/// Tells of replication.
pub(super) fn encode(of: &ReplicationSnapshot, out: &mut Out<'_>) -> Result<(), Error> {
    for (metric, value) in [
        (&table::REPLICATION_SLOTS_PRIMARY, of.slots_primary),
        (&table::REPLICATION_SLOTS_UNDER_REPLICATED, of.slots_under_replicated),
        (&table::REPLICATION_SLOTS_HANDED_OVER, of.slots_handed_over),
        (&table::REPLICATION_SLOTS_DEPOSED, of.slots_deposed),
        (&table::REPLICATION_SLOTS_CHECKED, of.checks.compared),
        (&table::REPLICATION_SLOTS_DIFFERING, of.checks.differing),
        (&table::REPLICATION_SLOTS_REPAIRED, of.checks.repaired),
        (&table::REPLICATION_SLOTS_UNCHECKED, of.checks.left_out),
    ] {
        out.one(metric, value as f64)?;
    }
    type Read = fn(&LinkFigures) -> f64;
    let by_link: [(&Metric, Read); 14] = [
        (&table::LINK_UP, |link| f64::from(u8::from(link.is_online))),
        (&table::LINK_BEHIND, |link| link.behind_bytes as f64),
        (&table::LINK_BEHIND_RECORDS, |link| link.behind_records as f64),
        (&table::LINK_BEHIND_CYCLES, |link| link.behind_cycles as f64),
        (&table::LINK_LAG, |link| link.lag_ms as f64 / 1e3),
        (&table::LINK_SESSIONS, |link| link.counts.sessions as f64),
        (&table::LINK_RESUMED, |link| link.counts.resumed as f64),
        (&table::LINK_CYCLES, |link| link.counts.cycles as f64),
        (&table::LINK_RESENT_CYCLES, |link| link.counts.resent as f64),
        (&table::LINK_SENT, |link| link.counts.sent_bytes as f64),
        (&table::LINK_ATTACHED_BY_LOG, |link| link.counts.by_log as f64),
        (&table::LINK_ATTACHED_BY_SNAPSHOT, |link| link.counts.by_snapshot as f64),
        (&table::LINK_SNAPSHOT, |link| link.counts.piece_bytes as f64),
        (&table::LINK_REFUSED_SLOTS, |link| link.counts.refused as f64),
    ];
    for (metric, read) in by_link {
        out.each(metric, of.links.iter().map(|(name, link)| ([name.as_str()], read(link))))?;
    }
    Ok(())
}
