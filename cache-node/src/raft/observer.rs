//! Watches Raft, the table and gossip, and publishes what this member sees.

use super::{
    control::{self, Ask, Said},
    lease::LEASE,
    shared::Shared,
    types::{LogId, Metrics},
};
use crate::clock::boot_ms;
use hypercache_core::cluster::{Liveness, Member, MemberId, View};
use openraft::{Instant as _, ServerState, async_runtime::watch::WatchReceiver};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const TICK: Duration = Duration::from_millis(100);
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Publishes what is seen until the member stops.
pub async fn observe(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut table = shared.table.clone();
    let mut rumours = shared.gossip.rumours();
    let mut metrics = shared.raft.metrics();
    loop {
        look(&shared);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = tick.tick() => {}
            () = over(&shared) => {}
            () = shared.links.answered.notified() => {}
            Ok(()) = table.changed() => {}
            Ok(()) = rumours.changed() => {}
            Ok(()) = WatchReceiver::changed(&mut metrics) => {}
        }
    }
    publish(&shared, View { quorum: false, ..View::clone(&shared.view.load_full()) });
}

/// Waits until the lease is over.
async fn over(shared: &Shared) {
    match shared.links.standing.until_ms().map(|until_ms| until_ms.saturating_sub(boot_ms())) {
        Some(rest_ms) if rest_ms > 0 => sleep(Duration::from_millis(rest_ms)).await,
        _ => std::future::pending().await,
    }
}

fn look(shared: &Arc<Shared>) {
    let metrics = shared.metrics();
    // Who serves has to hear of it, before there is another lease.
    let is_broken = shared.links.standing.is_broken(boot_ms());
    let majority = !is_broken && majority(shared, &metrics);
    if let Some(leader) = metrics.current_leader.filter(|id| *id != shared.me.id) {
        *shared.last_leader.lock() = Some((leader, metrics.current_term));
    }
    if !majority {
        shared.links.standing.lost();
        *shared.links.decided.lock() = None;
    }
    let leads = majority && leads(&metrics);
    let led = shared.links.leads.swap(leads, Ordering::AcqRel);
    let rumours = shared.gossip.rumours().borrow().clone();
    let state = shared.table.borrow().clone();

    // Addresses: the table's, and gossip's over them.
    let mut book: HashMap<MemberId, Member> = state.members.clone().into_iter().collect();
    for rumour in rumours.iter() {
        let member = &rumour.seen.member;
        let known = book.contains_key(&member.id);
        if rumour.seen.liveness != Liveness::Down || !known {
            book.insert(member.id, member.clone());
        }
        if let Some(address) = rumour.address {
            shared.links.peers.set_hint(member.id, address);
        }
    }
    if **shared.links.book.load() != book {
        let members: HashSet<MemberId> = book.keys().copied().collect();
        shared.links.peers.retain(&members);
        shared.links.book.store(Arc::new(book));
    }

    let liveness: BTreeMap<MemberId, Liveness> = state
        .members
        .keys()
        .map(|id| {
            let seen = rumours.iter().find(|rumour| rumour.seen.member.id == *id);
            let seems = seen.map_or(Liveness::Down, |rumour| rumour.seen.liveness);
            (*id, if *id == shared.me.id { Liveness::Alive } else { seems })
        })
        .collect();
    let before = shared.view.load();
    let quorum = state.exists()
        && state.members.contains_key(&shared.me.id)
        && majority
        && (before.quorum || is_caught_up(shared, &metrics));
    shared.links.standing.answers(quorum, boot_ms());
    let voters: Vec<MemberId> = metrics.membership_config.membership().voter_ids().collect();
    let heard = rumours.iter().filter(|rumour| state.members.contains_key(&rumour.seen.member.id));
    let addresses = heard
        .filter_map(|rumour| Some((rumour.seen.member.id, rumour.address?.to_string())))
        .collect();
    tell_gossip(shared, &metrics, &liveness, &state);
    // Gossip takes longer to tell of a silence. A member that stops may be long in answering what it was asked.
    let peers = &shared.links.peers;
    let is_silent = |(id, seems): &(&MemberId, &Liveness)| {
        **seems != Liveness::Alive || peers.waits_in_vain(**id) && !shared.stopping.is(&state, **id)
    };
    let silent: Vec<MemberId> = liveness.iter().filter(is_silent).map(|(id, _)| *id).collect();
    let primaries = if silent.is_empty() { BTreeMap::new() } else { state.assignment.counts() };
    publish(
        shared,
        View {
            me: shared.me.id,
            quorum,
            leader: metrics.current_leader,
            liveness,
            addresses,
            term: metrics.current_term,
            voters,
            cluster_ports: super::ports::known(shared, &state),
            state,
        },
    );
    // Others have its slots: who forwarded to it learns sooner than by his deadline that no answer will come.
    for id in silent.into_iter().filter(|id| !primaries.contains_key(id)) {
        peers.give_up(id);
    }
    if leads && !led {
        // The view says as much already; those who wait for their turn to lead do not know it yet.
        shared.changed.send_modify(|version| *version += 1);
    }
    if is_broken {
        shared.links.answered.notify_one();
    }
}

/// Whether a majority of voters stands behind this member, or behind its leader.
fn majority(shared: &Shared, metrics: &Metrics) -> bool {
    let standing = &shared.links.standing;
    if metrics.running_state.is_err() {
        return false; // the disk failed, say
    }
    if metrics.state == ServerState::Leader {
        let mut voters = metrics.membership_config.membership().voter_ids();
        let alone = voters.next() == Some(shared.me.id) && voters.next().is_none();
        let woke = shared.links.woke();
        let acked = metrics.last_quorum_acked.map(|acked| acked.into_inner().elapsed());
        let acked = acked.filter(|ago| woke.is_none_or(|woke| *ago < woke.elapsed()));
        let rest = match (alone, acked) {
            (true, _) => Some(Duration::MAX),
            (false, Some(ago)) => LEASE.checked_sub(ago).filter(|rest| !rest.is_zero()),
            (false, None) => None,
        };
        standing.lead_for(rest, boot_ms());
        // Until a majority has answered its first word it has what the leader before it granted. Whoever leads
        // next waits for longer than that.
        return rest.is_some() || standing.follows(boot_ms());
    }
    standing.leads_no_more(boot_ms());
    standing.follow(boot_ms())
}

/// Whether this member leads and has applied an entry of its own term. Before that a leader does
/// not know what the one before it decided last, so nobody may take its word for it.
fn leads(metrics: &Metrics) -> bool {
    let term = metrics.last_applied.as_ref().map(|id| id.leader_id.term);
    metrics.state == ServerState::Leader && term == Some(metrics.current_term)
}

/// One more than the number of the last entry that this member knows is decided.
pub fn decided(metrics: &Metrics) -> u64 {
    next(&metrics.cluster_committed).max(next(&metrics.local_committed))
}

fn next(id: &Option<LogId>) -> u64 {
    id.as_ref().map_or(0, |id| id.index + 1)
}

/// Whether this member has applied all that was decided before it had its quorum (again) (L25).
fn is_caught_up(shared: &Arc<Shared>, metrics: &Metrics) -> bool {
    let applied = next(&metrics.last_applied);
    if applied == 0 || applied < decided(metrics) {
        return false;
    }
    if metrics.state == ServerState::Leader {
        return leads(metrics);
    }
    let answer = *shared.links.decided.lock();
    if answer.is_none() && !shared.links.asking.swap(true, Ordering::AcqRel) {
        tokio::spawn(ask_decided(shared.clone(), metrics.current_leader));
    }
    answer.is_some_and(|answer| applied >= answer)
}

async fn ask_decided(shared: Arc<Shared>, leader: Option<MemberId>) {
    let losses = shared.links.standing.losses();
    let leader = leader.and_then(|id| shared.links.book.load().get(&id).cloned());
    let answer = match leader {
        Some(leader) => {
            control::ask(&shared, &leader, Ask::Decided, Instant::now() + ASK_TIMEOUT).await
        }
        None => Ok(Said::NotLeader),
    };
    match answer {
        // What was asked before the quorum was lost once more says too little.
        Ok(Said::Decided(next)) if losses == shared.links.standing.losses() => {
            *shared.links.decided.lock() = Some(next);
        }
        _ => sleep(ASK_AGAIN).await,
    }
    shared.links.asking.store(false, Ordering::Release);
    shared.links.answered.notify_one();
}

fn tell_gossip(
    shared: &Shared,
    metrics: &Metrics,
    liveness: &BTreeMap<MemberId, Liveness>,
    state: &hypercache_core::cluster::ClusterState,
) {
    shared.identity.set_common(state.protocol());
    if state.exists() && shared.identity.cluster() != state.cluster_id {
        shared.identity.set_cluster(state.cluster_id);
    }
    let initialised = metrics.last_log_index.is_some() || state.exists();
    shared.gossip.describe(shared.identity.cluster(), initialised);
    let away = |member: &&Member| liveness.get(&member.id) != Some(&Liveness::Alive);
    let seek: Vec<(String, u16)> = state
        .members
        .values()
        .filter(away)
        .map(|member| (member.host.clone(), member.gossip_port))
        .collect();
    let outside = !state.members.contains_key(&shared.me.id);
    let missing = !seek.is_empty() || (outside && shared.joins);
    shared.gossip.seek(seek, missing);
}

fn publish(shared: &Shared, view: View) {
    let before = shared.view.load_full();
    if *before == view {
        return;
    }
    if before.quorum != view.quorum || before.leader != view.leader {
        let leader = view.leader.and_then(|id| view.member(id)).map(|m| m.name.as_str());
        tracing::info!(
            action = "quorum-changed",
            quorum = view.quorum,
            leader,
            term = view.term,
            "the cluster's quorum"
        );
    }
    if before.state.epoch != view.state.epoch {
        tracing::info!(
            action = "table-seen",
            epoch = view.state.epoch,
            members = view.state.members.len(),
            slots_assigned = view.state.assignment.assigned(),
            "the cluster's table"
        );
    }
    shared.view.store(Arc::new(view));
    shared.changed.send_modify(|version| *version += 1);
}
