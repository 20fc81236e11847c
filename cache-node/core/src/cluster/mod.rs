//! Who owns what: members, slots, the ring, and the cluster's table that Raft keeps.
//!
//! Everything here is pure: [`ClusterState::apply`] is how the table changes, [`Planner`] is what
//! the leader wants done next, [`bootstrap`] is who makes the first table, [`cluster_reply`] is
//! what Redis clients are told.

mod assignment;
mod factors;
mod holding;
mod member;
mod placement;
mod plan;
mod protocol;
mod recovery;
mod reply;
mod ring;
mod slot;
mod state;
mod steering;
mod step;
mod view;

pub use assignment::{Assignment, Run};
pub use factors::NextFactors;
pub use holding::not_lowered;
pub use member::{Liveness, MAX_WEIGHT, Member, MemberId, node_id};
pub use placement::{Owners, Placement, PlacementRun};
pub use plan::{
    Away, Decision, Facts, Failover, Forecast, MAX_VOTERS, MemberForecast, Move, Planner,
    Positions, REPLACE_AFTER_MS, Seen, VOTER_LOST_AFTER_MS, WHOLE_ON_DISK, Waiting, bootstrap,
    fail_over, forecast, still_counted, target, to_be_asked,
};
pub use protocol::{FACTORS_WAIT, PROTOCOLS, Protocol, REMOVES_BY_EPOCH, TELLS_OF_DISKS};
pub use recovery::Remains;
pub use reply::cluster_reply;
pub use ring::Ring;
pub use slot::{SLOTS, Slot, hash_tag, slot_of, slot_runs, slots_in};
pub use state::{Applied, Change, ClusterState, Desired, MAX_MEMBERS, Refused};
pub use steering::{MIN_MOVE_BYTES_PER_SECOND, Steer, Steering};
pub use step::{Act, Step};
pub use view::View;
