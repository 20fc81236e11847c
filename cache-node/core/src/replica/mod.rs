//! Primary and replica of a slot: what of a slot's changes goes to whom, who has it, and who waits for
//! that. docs/decisions/0019-replication.md says what it is for.
//!
//! What a command does to a slot becomes records ([`crate::log`]). Under the slot's lock they go to the
//! log's journal, and to the journal of each [`Link`] of the slot's *route*: the other owners in their
//! order, each a [`way`](SlotFeed). The shell takes a link's [`Cycle`]s, sends them, and says what the peer
//! confirmed. Nothing here knows the data: [`crate::keyspace`] uses this, and not the other way round.
//!
//! | file | what it is about |
//! |---|---|
//! | `link` | this member as primary towards one other: sessions, cycles, what is not confirmed |
//! | `slot` | what this member is for a slot, how far its copy is, and where its records go |
//! | `way` | another owner of a slot: which stores go to it, and how far it is |
//! | `counting` | who has to have what was written before it is answered, and who has it |
//! | `levels` | how far who has only some of a slot's stores is |
//! | `backlog` | what was written before the other owners of a slot were attached |
//! | `mark` | what a link says of a slot beside its records |
//! | `check` | whether a copy of a slot holds what its primary does |
//! | `feed` | all links, and the state of all slots |
//! | `need` | what an answer waits for |
//! | `awaits` | the same, of what a thread ran |
//! | `until` | waiting for it |
//! | `incoming` | a slot's records and pieces on their way in |
//! | `losses` | which slots have a primary that may lack what one before it had |
//! | `received` | which cycles of a session were done, and what of them was refused |

pub mod awaits;
mod backlog;
pub(crate) mod check;
mod counting;
mod feed;
mod incoming;
mod levels;
mod link;
mod losses;
mod mark;
mod need;
mod received;
mod slot;
mod until;
mod way;

pub use awaits::Awaited;
pub use check::{CHECK, Check, CheckCounts};
pub(crate) use feed::Fed;
pub use feed::{Feed, Quiet};
pub(crate) use incoming::Held;
pub use incoming::{Incoming, Refused};
pub use link::{Cycle, Link};
pub use losses::Losses;
pub use mark::{MARK, Mark};
pub use need::{Lost, Need, Progress};
pub use received::{Receive, Received};
pub use slot::{Position, Role, SlotFeed};
pub use until::UntilMet;
pub use way::{Owner, Route, Synced};

/// The most links that a slot's records go to: beside the primary as many owners as a replication factor
/// asks for at most, while one of them is on its way to take another one's place.
pub const MAX_WAYS: usize = crate::store::MAX_REPLICATION_FACTOR as usize;

/// How many links have to confirm a `quorum` write beside the primary.
pub fn quorum_links(replication_factor: u8) -> u8 {
    replication_factor / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MAX_REPLICATION_FACTOR;
    use std::task::Waker;

    #[test]
    fn at_the_greatest_replication_factor_the_owner_that_is_on_its_way_gets_everything_too() {
        let feed = Feed::default();
        let link = |member| feed.link_to(member, || Waker::noop().clone());
        let links: Vec<_> = (2..=u64::from(MAX_REPLICATION_FACTOR) + 1).map(link).collect();
        let route = |link: &std::sync::Arc<Link>| Route {
            link: link.clone(),
            synced: Synced::No,
            least_factor: 1,
        };
        let mut slot = SlotFeed::default();
        slot.set_route(&links.iter().map(route).collect::<Vec<_>>(), |_| 0);
        assert!(links.iter().all(|link| slot.owner(link).is_some()), "{slot:?}");
    }

    #[test]
    fn a_majority_counts_the_primary() {
        let links = [1, 2, 3, 4, 5].map(quorum_links);
        assert_eq!(links, [0, 1, 1, 2, 2]);
    }
}
