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

pub type LogId = openraft::type_config::alias::LogIdOf<TypeConfig>;
pub type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;
pub type Snapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, Vec<u8>>;
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
pub type Raft = openraft::Raft<TypeConfig, super::machine::Machine>;
