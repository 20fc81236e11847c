//! Members that were told to stop, and have said so: they hand over what they have, and nothing is
//! given to them any more. Neither the table nor gossip carries it: who stops tells everybody before its first
//! hand-over, and it is true until another process of that member is let in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hypercache_core::cluster::{ClusterState, Liveness, MemberId};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::control::{self, Ask};
use super::shared::Shared;

/// How long others may take to hear it: who has not heard may give slots to this one yet, and they are handed
/// over again.
const TELL_TIMEOUT: Duration = Duration::from_millis(300);

/// Who has said that it stops, and in which incarnation.
#[derive(Debug, Default)]
pub struct Stopping(Mutex<BTreeMap<MemberId, u64>>);

impl Stopping {
    /// A member of the table has said so, of the process that it is now.
    pub fn add(&self, table: &ClusterState, member: MemberId, incarnation: u64) {
        let mut stopping = self.0.lock();
        stopping.retain(|id, _| table.members.contains_key(id));
        if table.members.contains_key(&member) {
            stopping.insert(member, incarnation);
        }
    }

    /// Whether a member stops, or has stopped and not come back.
    pub fn is(&self, table: &ClusterState, member: MemberId) -> bool {
        let incarnation = table.members.get(&member).map(|member| member.incarnation);
        incarnation.is_some() && self.0.lock().get(&member).copied() == incarnation
    }

    /// All of the table who do.
    pub fn all(&self, table: &ClusterState) -> BTreeSet<MemberId> {
        table.members.keys().copied().filter(|id| self.is(table, *id)).collect()
    }
}

/// Tells all members who live, this one too, that this one stops.
pub async fn tell(shared: &Arc<Shared>) {
    let table = shared.table.borrow().clone();
    let (member, incarnation) = (shared.me.id, shared.me.incarnation);
    shared.stopping.add(&table, member, incarnation);
    let view = shared.view.load_full();
    let deadline = Instant::now() + TELL_TIMEOUT;
    let others = table.members.values().filter(|other| other.id != member);
    let alive = others.filter(|other| view.liveness(other.id) == Liveness::Alive);
    let told = alive.map(|other| async {
        let other = shared.reach(other);
        let said = control::ask(shared, &other, Ask::Stops { member, incarnation }, deadline).await;
        if let Err(error) = said {
            tracing::debug!(
                action = "stop-not-told",
                member = other.name,
                %error,
                "a member was not told that this one stops"
            );
        }
    });
    futures::future::join_all(told).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::Member;

    fn table(incarnation: u64) -> ClusterState {
        let mut state = ClusterState::default();
        let member = Member {
            id: 7,
            name: "m-7".into(),
            host: "127.0.0.1".into(),
            resp_port: 1,
            http_port: 2,
            gossip_port: 3,
            zone: None,
            weight: 1,
            incarnation,
        };
        state.members.insert(7, member);
        state
    }

    #[test]
    fn a_member_stops_until_another_process_of_it_is_let_in() {
        let stopping = Stopping::default();
        assert!(!stopping.is(&table(1), 7));
        stopping.add(&table(1), 7, 1);
        assert!(stopping.is(&table(1), 7));
        assert_eq!(stopping.all(&table(1)), BTreeSet::from([7]));
        assert!(!stopping.is(&table(2), 7));
    }

    #[test]
    fn what_is_said_of_members_that_are_in_no_table_is_not_kept() {
        let stopping = Stopping::default();
        stopping.add(&table(1), 8, 1);
        assert!(stopping.0.lock().is_empty());
    }
}
