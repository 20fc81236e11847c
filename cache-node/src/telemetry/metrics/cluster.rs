//! The cluster, as this member sees it.

use std::fmt::Error;

use super::out::Out;
use super::table;
use crate::raft::{RaftFigures, SlotFigures};

/// What of the cluster is told.
#[derive(Debug, Clone, Default)]
pub struct ClusterSnapshot {
    /// Members of the table by state: `alive`, `suspect`, `down`.
    pub members_by_state: Vec<(&'static str, u64)>,
    /// Whether a majority of voters stands behind this member.
    pub quorum: bool,
    /// Whether this member is Raft's leader.
    pub is_leader: bool,
    /// The table's epoch.
    pub epoch: u64,
    /// How slots are spread.
    pub slots: SlotFigures,
    /// How Raft stands.
    pub raft: RaftFigures,
    /// Gossip's datagrams by what became of them.
    pub datagrams: Vec<(&'static str, u64)>,
}

/// Tells of the cluster.
pub(super) fn encode(of: &ClusterSnapshot, out: &mut Out<'_>) -> Result<(), Error> {
    let by_word = |words: &[(&'static str, u64)]| {
        words.iter().map(|(word, n)| ([*word], *n as f64)).collect::<Vec<_>>()
    };
    let (slots, raft) = (&of.slots, &of.raft);
    for (metric, value) in [
        (&table::CLUSTER_QUORUM, u64::from(of.quorum)),
        (&table::CLUSTER_LEADER, u64::from(of.is_leader)),
        (&table::CLUSTER_EPOCH, of.epoch),
        (&table::CLUSTER_SLOTS_OWNED, slots.primary),
        (&table::CLUSTER_SLOTS_IN_SYNC, slots.in_sync),
        (&table::CLUSTER_SLOTS_ASSIGNED, slots.assigned),
        (&table::CLUSTER_SLOTS_MISPLACED, slots.misplaced),
        (&table::RAFT_TERM, raft.term),
        (&table::RAFT_LAST_INDEX, raft.last_index),
        (&table::RAFT_COMMITTED_INDEX, raft.committed_index),
        (&table::RAFT_APPLIED_INDEX, raft.applied_index),
        (&table::RAFT_COMMIT_LAG, raft.last_index.saturating_sub(raft.committed_index)),
        (&table::FAIL_OVERS, raft.fail_overs.done),
    ] {
        out.one(metric, value as f64)?;
    }
    let silent = raft.voters.saturating_sub(raft.voters_alive);
    for (metric, words) in [
        (&table::CLUSTER_MEMBERS, &of.members_by_state[..]),
        (&table::CLUSTER_SLOTS, &[("primary", slots.primary), ("replica", slots.replica)]),
        (&table::RAFT_VOTERS, &[("alive", raft.voters_alive), ("silent", silent)]),
        (&table::GOSSIP_DATAGRAMS, &of.datagrams),
        (
            &table::FAILED_OVER_SLOTS,
            &[("copy", raft.fail_overs.promoted_slots), ("empty", raft.fail_overs.restarted_slots)],
        ),
    ] {
        out.each(metric, by_word(words))?;
    }
    Ok(())
}
