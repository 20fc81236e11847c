//! When the leader's process is gone, nobody need wait until its lease is over: a voter campaigns as
//! if the leader had asked it to take over. When it is silent, a voter campaigns as soon as what the leader granted is
//! over; Raft by itself would wait for an election's timeout on top of that.

use super::{lease::LEASE, shared::Shared, types::Metrics};
use crate::clock::boot_ms;
use hypercache_core::cluster::MemberId;
use openraft::{ServerState, raft::TransferLeaderRequest};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// One voter after the other, so that they do not split the votes.
const NEXT_VOTER: Duration = Duration::from_millis(60);
const AGAIN: Duration = Duration::from_millis(30);
/// What came while this process itself did not run is read first.
const WAKES: Duration = Duration::from_millis(60);
/// A campaign that came to nothing is not begun anew for so long: Raft's own elections go on meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why this member campaigns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The leader's process is gone.
    Gone,
    /// The leader was not heard for so long that nobody serves by its word any more.
    Silent,
}

/// Campaigns when the leader is gone or silent, until the member stops.
pub async fn follow(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut gone = shared.deaths.gone();
    let mut changed = shared.changed.subscribe();
    // The vote of the leader that does not lead any more, why, and since when.
    let mut since = None;
    let mut not_before = Instant::now();
    loop {
        let metrics = shared.metrics();
        let why = reason(&shared, &metrics);
        match why.zip(rank(&shared, &metrics)) {
            Some((why, rank)) => {
                let began = match since {
                    Some((vote, then, began)) if vote == metrics.vote && then == why => began,
                    _ => Instant::now(),
                };
                since = Some((metrics.vote, why, began));
                let wait = if why == Why::Silent { WAKES } else { Duration::ZERO };
                let is_due = began.elapsed() >= wait + NEXT_VOTER * rank as u32;
                match why {
                    Why::Gone if is_due => {
                        tell("the leader is gone: this member campaigns");
                        let last = metrics.last_applied;
                        let request = TransferLeaderRequest::new(metrics.vote, shared.me.id, last);
                        let _ = shared.raft.handle_transfer_leader(request).await;
                    }
                    Why::Silent if is_due && Instant::now() >= not_before => {
                        not_before = Instant::now() + PATIENCE;
                        tell("the leader is silent: this member campaigns");
                        let _ = shared.raft.trigger().elect(true).await;
                    }
                    _ => {}
                }
            }
            None => since = None,
        }
        let wait = if since.is_some() { AGAIN } else { LEASE };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Ok(()) = gone.changed() => {}
            Ok(()) = changed.changed(), if since.is_none() => {}
            () = sleep(wait) => {}
        }
    }
}

fn tell(what: &str) {
    tracing::info!(action = "election-begun", "{what}");
}

/// Why the leader does not lead any more, as a follower sees it.
fn reason(shared: &Shared, metrics: &Metrics) -> Option<Why> {
    if metrics.state != ServerState::Follower {
        return None;
    }
    let leader = metrics.current_leader?;
    if shared.deaths.gone().borrow().contains(&leader) {
        return Some(Why::Gone);
    }
    (!shared.links.standing.follows(boot_ms())).then_some(Why::Silent)
}

/// How many voters campaign before this one; `None`: it is no voter.
fn rank(shared: &Shared, metrics: &Metrics) -> Option<usize> {
    let gone = shared.deaths.gone().borrow().clone();
    let is_there = |id: &MemberId| metrics.current_leader != Some(*id) && !gone.contains(id);
    let voters = metrics.membership_config.membership().voter_ids();
    voters.filter(is_there).position(|id| id == shared.me.id)
}
