//! Membership, slots and store policies: the cluster's table, held by Raft among up to five
//! voters. Nothing that a user writes passes through it.
//!
//! [`Options`] → [`Options::build`] → [`Cluster::run`]; the rest of the member asks by
//! [`Handle`]. What is decided is decided in `core::cluster`; here it is carried out:
//! `log`, `machine`, `disk` and `network` are what openraft needs, `serving` keeps the keyspace as
//! the table says, `observer` publishes what this member sees, `leader` makes the cluster and
//! carries out the leader's decisions, `deaths` knows who cannot serve any more, `failover` gives
//! their slots to others, `stopping` knows who was told to stop, `forget` does so for one that never comes back, `figures` tells
//! the metrics of all that, `control` is what members ask each other.

mod build;
mod control;
mod copies;
mod deaths;
mod disk;
mod election;
mod failover;
mod figures;
mod forecast;
mod forget;
mod handle;
mod leader;
mod lease;
mod log;
mod machine;
mod network;
mod observer;
mod ports;
mod recover;
mod room;
mod serving;
mod shared;
mod spoken;
mod status;
mod stopping;
mod types;

pub use build::{Cluster, Options};
pub use copies::Copies;
pub use failover::FailOverCounts;
pub use figures::{RaftFigures, SlotFigures};
pub use forecast::{Plan, PlannedMember, PlannedMove};
pub use forget::Forgotten;
pub use handle::Handle;
pub use lease::{LEASE, Lease};
pub use recover::{Recoverable, RecoveredStore};
pub use serving::{Serving, Slots};
pub use status::{MemberStatus, Problem, RingStatus, Role, Status, StoreStatus};

pub use hypercache_core::cluster::View;

use crate::peer;
use hypercache_core::{cluster::Refused, store::Invalid};

/// What goes wrong in the cluster layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No majority of voters answers, or no leader is known; it may have been done all the same.
    #[error("no quorum: {0}")]
    NoQuorum(String),
    /// The table's own rules refuse it.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(Invalid),
    /// A member could not be asked.
    #[error(transparent)]
    Peer(#[from] peer::Error),
    /// A file is damaged, foreign, newer or not writable.
    #[error("{0}")]
    Storage(String),
    /// An address cannot be bound.
    #[error("cannot listen on {what}: {reason}")]
    Bind {
        /// What was to be bound.
        what: String,
        /// The system's reason.
        reason: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests;
