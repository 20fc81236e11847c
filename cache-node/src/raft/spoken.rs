//! Which protocol each member speaks, as the leader knows it.

use super::shared::Shared;
use hypercache_core::cluster::{Liveness, MemberId, PROTOCOLS, Protocol};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long a member may take to be reached.
const TIMEOUT: Duration = Duration::from_secs(1);
/// It is not asked again, or told of, for so long.
const AGAIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub struct Spoken {
    /// Members outside of the table that were asked lately.
    asked: HashMap<MemberId, Instant>,
}

impl Spoken {
    /// The newest protocol of each member that is known, this one among them, as far as this one speaks it. Members of
    /// the table are connected anyway; those that come are asked.
    pub fn by_all(&mut self, shared: &Arc<Shared>) -> BTreeMap<MemberId, Protocol> {
        let mut known = shared.links.peers.protocols();
        known.insert(shared.me.id, *shared.identity.protocols().end());
        let state = shared.table.borrow().clone();
        let now = Instant::now();
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < AGAIN);
        for rumour in shared.gossip.rumours().borrow().iter() {
            let member = &rumour.seen.member;
            let comes =
                rumour.seen.liveness == Liveness::Alive && !state.members.contains_key(&member.id);
            let spoken = known.get(&member.id).copied().unwrap_or(*PROTOCOLS.start());
            if !comes || spoken >= state.protocol() || self.asked.contains_key(&member.id) {
                continue;
            }
            self.asked.insert(member.id, now);
            let (shared, member, needed) = (shared.clone(), member.clone(), state.protocol());
            tokio::spawn(async move {
                if let Err(error) = shared.links.peers.hold(&member, TIMEOUT).await {
                    tracing::warn!(
                        action = "member-not-let-in",
                        member = member.name,
                        protocol = needed,
                        %error,
                        "a member is not let in before it was reached and speaks what all others do"
                    );
                }
            });
        }
        known
    }
}
