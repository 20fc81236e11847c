//! What `/metrics` tells of the cluster.

use super::{
    Handle,
    failover::FailOverCounts,
    leader,
    types::{LogId, Metrics},
};
use hypercache_core::cluster::{Liveness, PlacementRun, View};

/// How Raft stands on this member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RaftFigures {
    /// The term.
    pub term: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// The last entry that this member knows is decided.
    pub committed_index: u64,
    /// The last entry that is in this member's table.
    pub applied_index: u64,
    /// Those who vote.
    pub voters: u64,
    /// Of these, those who seem to be alive.
    pub voters_alive: u64,
    /// What this member did as the leader.
    pub fail_overs: FailOverCounts,
}

/// How slots are spread, as this member's table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotFigures {
    /// Slots of which this member is the primary.
    pub primary: u64,
    /// Slots that it holds for another primary.
    pub replica: u64,
    /// Slots of either kind in which it is in sync.
    pub in_sync: u64,
    /// Slots of the whole cluster that any member owns.
    pub assigned: u64,
    /// Slots of the whole cluster that are on their way: their owners are not those that they shall have.
    pub misplaced: u64,
}

fn index(id: &Option<LogId>) -> u64 {
    id.as_ref().map_or(0, |id| id.index)
}

fn raft(metrics: &Metrics, view: &View, fail_overs: FailOverCounts) -> RaftFigures {
    let alive = view.voters.iter().filter(|id| view.liveness(**id) == Liveness::Alive);
    RaftFigures {
        term: metrics.current_term,
        last_index: metrics.last_log_index.unwrap_or(0),
        committed_index: index(&metrics.cluster_committed).max(index(&metrics.local_committed)),
        applied_index: index(&metrics.last_applied),
        voters: view.voters.len() as u64,
        voters_alive: alive.count() as u64,
        fail_overs,
    }
}

impl Handle {
    /// How Raft stands on this member.
    pub fn raft_figures(&self) -> RaftFigures {
        raft(&self.shared.metrics(), &self.view(), self.shared.fail_overs.counts())
    }

    /// How slots are spread.
    pub fn slot_figures(&self) -> SlotFigures {
        let view = self.view();
        let assignment = &view.state.assignment;
        let slots = |run: &PlacementRun| u64::from(run.last - run.first) + 1;
        let mut figures =
            SlotFigures { assigned: assignment.assigned().into(), ..SlotFigures::default() };
        for run in assignment.placements() {
            match run.placement.primary() == Some(view.me) {
                true => figures.primary += slots(&run),
                false if run.placement.owns(view.me) => figures.replica += slots(&run),
                false => {}
            }
            if run.placement.is_in_sync(view.me) {
                figures.in_sync += slots(&run);
            }
        }
        if let Some(target) = self.target(&view) {
            figures.misplaced = leader::aside(|| assignment.differing(&target)).into();
        }
        figures
    }
}
