//! Members that replicate, on a network that loses, delays and repeats as a seed says: the real keyspaces,
//! links and table under commands, kills, restarts, isolation, fail-over and hand-over.
//!
//! What the shell does between them (sending, attaching, proposing, leases) stands here as simply as it can
//! be, each step taken when the dice say so. Each member takes the table's versions at its own time, one after the
//! other.
//!
//! | file | what it is about |
//! |---|---|
//! | `table` | the cluster's table and its versions, of which each member has seen some |
//! | `process` | one life of a member: its data, and what it is for each slot |
//! | `duties` | what a primary does until another owner is in sync |
//! | `network` | connections in order, and requests in none |
//! | `disks` | stores on disks, of which any members may be killed at once |
//! | `faults` | kills, restarts, isolation, connections that break, copies that become other ones |
//! | `history` | what clients did, and what must be there |
//! | `shape` | what a world has: a narrow one, a wide one, or something between |
//! | `stores` | what stores a world has, who holds them, and how they change |
//! | `broken` | mistakes that have to be found |
//! | `leases` | leases by clocks that go at different rates, and are set |
//! | `leader` | who may serve, who is promoted, which owners come and go |
//! | `proposals` | what members propose for the table |
//! | `traffic` | what goes over connections, and beside them |
//! | `world` | all of that together, step by step |
//! | `settle` | the end: everything heals, and is compared |

mod broken;
mod disks;
mod duties;
mod faults;
mod history;
mod leader;
mod leases;
mod network;
mod process;
mod proposals;
mod settle;
mod shape;
mod stores;
mod table;
mod traffic;
mod world;

pub use broken::Broken;
pub use leases::Clocks;
pub use shape::Shape;
pub use stores::Stores;
pub use world::{Options, Ran, run};

use hypercache_core::cluster::{MemberId, Slot};
use hypercache_core::store::StoreNumber;

/// The members, of which a world has the first ones.
const MEMBERS: [MemberId; 4] = [1, 2, 3, 4];
/// How many own each slot, while none of them is being replaced by another.
const OWNERS: usize = 3;
/// The slots that are used, and the hash tags of their keys.
const SLOTS: [(Slot, &str); 3] = [(15495, "a"), (3300, "b"), (7365, "c")];
/// The stores.
const STORES: [StoreNumber; 3] = [0, 1, 2];
const START_MS: u64 = 1_700_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::slot_of;

    #[test]
    fn the_tags_are_of_their_slots() {
        for (slot, tag) in SLOTS {
            assert_eq!(slot_of(tag.as_bytes()), slot);
        }
    }
}
