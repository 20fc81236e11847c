//! Links to the other owners of slots, for Prometheus.

use std::fmt::Error;

use hypercache_core::replica::CheckCounts;
use prometheus_client::registry::Unit;

use super::{NO_LABELS, Out};
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
    for (name, help, value) in [
        (
            "hypercache_replication_slots_primary",
            "Slots of which this member is the primary",
            of.slots_primary,
        ),
        (
            "hypercache_replication_slots_under_replicated",
            "Of these, slots with fewer owners in sync than stores ask for and members can give",
            of.slots_under_replicated,
        ),
    ] {
        out.gauge(name, help, None, value as f64)?;
    }
    for (name, help, value) in [
        (
            "hypercache_replication_slots_handed_over",
            "Slots that this member gave to another with everything",
            of.slots_handed_over,
        ),
        (
            "hypercache_replication_slots_deposed",
            "Slots of which this member heard from a replica that another is the primary",
            of.slots_deposed,
        ),
        (
            "hypercache_replication_slots_checked",
            "Copies of slots on this member that were compared with what their primaries hold",
            of.checks.compared,
        ),
        (
            "hypercache_replication_slots_differing",
            "Of these, copies that were not the same",
            of.checks.differing,
        ),
        (
            "hypercache_replication_slots_repaired",
            "Of these, copies that their primaries have replaced",
            of.checks.repaired,
        ),
        (
            "hypercache_replication_slots_unchecked",
            "Times that a slot was not compared with its copies, as it holds too much to be read at once",
            of.checks.left_out,
        ),
    ] {
        out.counters(name, help, None, [(NO_LABELS, value as f64)])?;
    }
    type Read = fn(&LinkFigures) -> u64;
    let by_link = |read: Read| {
        of.links.iter().map(move |(name, link)| ([("to", name.as_str())], read(link) as f64))
    };
    let gauges: [(&str, &str, Option<Unit>, Read); 3] = [
        ("hypercache_replication_link_up", "1 while the other member answers", None, |link| {
            link.is_online.into()
        }),
        (
            "hypercache_replication_link_behind",
            "What the other member has not confirmed yet",
            Some(Unit::Bytes),
            |link| link.behind_bytes,
        ),
        (
            "hypercache_replication_link_behind_cycles",
            "The same, in cycles of the link: each is all that waited to be sent at once",
            None,
            |link| link.behind_cycles,
        ),
    ];
    for (name, help, unit, read) in gauges {
        out.gauges(name, help, unit, by_link(read))?;
    }
    out.gauges(
        "hypercache_replication_link_lag",
        "How long the other member was not heard while something was asked of it",
        Some(Unit::Seconds),
        of.links.iter().map(|(name, link)| ([("to", name.as_str())], link.lag_ms as f64 / 1e3)),
    )?;
    let counters: [(&str, &str, Option<Unit>, Read); 9] = [
        ("hypercache_replication_link_sessions", "Sessions that were begun", None, |link| {
            link.counts.sessions
        }),
        (
            "hypercache_replication_link_resumed",
            "Connections over which a session went on",
            None,
            |link| link.counts.resumed,
        ),
        ("hypercache_replication_link_cycles", "Cycles that were sent", None, |link| {
            link.counts.cycles
        }),
        ("hypercache_replication_link_resent_cycles", "Of these, again", None, |link| {
            link.counts.resent
        }),
        (
            "hypercache_replication_link_sent",
            "What cycles and pieces of slots had",
            Some(Unit::Bytes),
            |link| link.counts.sent_bytes,
        ),
        (
            "hypercache_replication_link_attached_by_log",
            "Slots that went on from where the other member was",
            None,
            |link| link.counts.by_log,
        ),
        (
            "hypercache_replication_link_attached_by_snapshot",
            "Slots that the other member got as a whole",
            None,
            |link| link.counts.by_snapshot,
        ),
        (
            "hypercache_replication_link_snapshot",
            "What the pieces of these had",
            Some(Unit::Bytes),
            |link| link.counts.piece_bytes,
        ),
        (
            "hypercache_replication_link_refused_slots",
            "Slots of which the other member did not take records",
            None,
            |link| link.counts.refused,
        ),
    ];
    for (name, help, unit, read) in counters {
        out.counters(name, help, unit, by_link(read))?;
    }
    Ok(())
}
