//! On which ports members send cluster-mode clients to each other: they ask each other for it, as the table does not
//! say it. Who is of an earlier release refuses that as what it does not understand, and is asked again.

use super::{
    control::{Ask, Said, ask},
    shared::Shared,
};
use hypercache_core::cluster::{ClusterState, Member, MemberId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How long a member may take to say it.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two attempts to ask those that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The ports of the members of a table, as far as they are known.
pub fn known(shared: &Shared, state: &ClusterState) -> BTreeMap<MemberId, u16> {
    let ports = shared.cluster_ports.lock();
    let of = |member: &Member| match ports.get(&member.id) {
        _ if member.id == shared.me.id => Some((member.id, shared.cluster_port?)),
        Some((incarnation, Some(port))) if *incarnation == member.incarnation => {
            Some((member.id, *port))
        }
        _ => None,
    };
    state.members.values().filter_map(of).collect()
}

/// Asks each process of a member once, until this member stops; where this one has no such port, nobody.
pub async fn learn(shared: Arc<Shared>) {
    if shared.cluster_port.is_none() {
        return;
    }
    let (mut table, mut stop) = (shared.table.clone(), shared.stop.subscribe());
    loop {
        let state = table.borrow_and_update().clone();
        let unknown: Vec<Member> = {
            let mut ports = shared.cluster_ports.lock();
            ports.retain(|id, _| state.members.contains_key(id));
            let is_unknown = |member: &&Member| {
                member.id != shared.me.id
                    && ports.get(&member.id).is_none_or(|(of, _)| *of != member.incarnation)
            };
            state.members.values().filter(is_unknown).cloned().collect()
        };
        let asked = unknown.iter().map(|member| async {
            let deadline = Instant::now() + ASK_TIMEOUT;
            let said = ask(&shared, &shared.reach(member), Ask::ClusterPort, deadline).await;
            let Ok(Said::ClusterPort(port)) = said else { return false };
            shared.cluster_ports.lock().insert(member.id, (member.incarnation, port));
            true
        });
        let answered = futures::future::join_all(asked).await;
        if answered.contains(&true) {
            shared.links.answered.notify_one();
        }
        let all = answered.iter().all(|answered| *answered);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = table.changed() => if changed.is_err() { return },
            () = sleep(AGAIN), if !all => {}
        }
    }
}
