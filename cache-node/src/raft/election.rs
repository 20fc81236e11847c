//! When the leader's process is gone, nobody need wait until its lease is over: a voter campaigns as
//! if the leader had asked it to take over.

use super::shared::Shared;
use openraft::{ServerState, raft::TransferLeaderRequest};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// One voter after the other, so that they do not split the votes.
const NEXT_VOTER: Duration = Duration::from_millis(60);
const AGAIN: Duration = Duration::from_millis(30);

/// Campaigns when the leader is gone, until the member stops.
pub async fn follow(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut gone = shared.deaths.gone();
    // The vote of the leader that is gone, and since when.
    let mut since = None;
    loop {
        let metrics = shared.metrics();
        let leader = metrics.current_leader.filter(|id| gone.borrow_and_update().contains(id));
        let follows = metrics.state == ServerState::Follower;
        let voters: Vec<_> = metrics.membership_config.membership().voter_ids().collect();
        let there = voters.iter().filter(|id| !gone.borrow().contains(id));
        let rank = there.copied().collect::<Vec<_>>().iter().position(|id| *id == shared.me.id);
        match (leader, rank) {
            (Some(_), Some(rank)) if follows => {
                let began = match since {
                    Some((vote, began)) if vote == metrics.vote => began,
                    _ => Instant::now(),
                };
                since = Some((metrics.vote, began));
                if began.elapsed() >= NEXT_VOTER * rank as u32 {
                    tracing::info!(
                        action = "election-begun",
                        "the leader is gone: this member campaigns"
                    );
                    let last = metrics.last_applied;
                    let request = TransferLeaderRequest::new(metrics.vote, shared.me.id, last);
                    let _ = shared.raft.handle_transfer_leader(request).await;
                }
            }
            _ => since = None,
        }
        let wait = if since.is_some() { AGAIN } else { Duration::from_secs(3600) };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Ok(()) = gone.changed() => {}
            () = sleep(wait) => {}
        }
    }
}
