//! What Raft is told to work with.

use hypercache_core::cluster::{Applied, Change, MemberId, Refused};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The table's changes; members by number, their addresses are in the table.
    pub TypeConfig:
        D = Change,
        R = Outcome,
        NodeId = MemberId,
        Node = openraft::EmptyNode,
);

/// What came of an entry of the log. `None`: it changed nothing in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome(pub Option<Result<Applied, Refused>>);

pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>;
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
pub type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;
