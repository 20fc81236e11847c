//! Makes the cluster, and as its leader carries out what [`Planner`] decides.

use super::{
    Error,
    control::{self, Ask, Said, carry_out},
    shared::Shared,
    spoken::Spoken,
    types::Metrics,
};
use hypercache_core::cluster::{
    Act, Assignment, Change, ClusterState, Decision, Facts, Liveness, Member, MemberId, Planner,
    Seen, Slot, Step, bootstrap, slot_runs, slots_in, target,
};
use hypercache_log::AUDIT;
use openraft::{ChangeMembers, EmptyNode, Instant as _, ServerState};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinSet, block_in_place},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

const TICK: Duration = Duration::from_millis(250);
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// A hand-over waits for what is on its way; a primary that takes longer is asked again.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(10);
/// A member that should join others and make a cluster alone first looks for them.
const LOOK_AROUND: Duration = Duration::from_secs(3);
/// How long the first leader waits for voters that it does not see.
const WAIT_FOR_VOTERS: Duration = Duration::from_secs(10);
/// What could not be done is not tried again for so long.
const COOL_DOWN: Duration = Duration::from_secs(2);
/// A learner whose log is at most this far behind may vote.
const CAUGHT_UP_ENTRIES: u64 = 20;

struct Driver {
    shared: Arc<Shared>,
    planner: Planner,
    started: Instant,
    /// Since when this member leads, and in which term.
    leads_since: Option<(u64, Instant)>,
    cooling: HashMap<&'static str, Instant>,
    /// The primaries that are asked to hand over, and to whom.
    handing_over: BTreeSet<(MemberId, MemberId)>,
    hand_overs: JoinSet<(MemberId, MemberId)>,
    spoken: Spoken,
    /// This member has made a cluster; Raft says so itself a moment later.
    made: bool,
}

/// Leads, when this member is the leader, until the member stops.
pub async fn drive(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut changed = shared.changed.subscribe();
    let mut rumours = shared.gossip.rumours();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut driver = Driver {
        shared,
        planner: Planner::new(),
        started: Instant::now(),
        leads_since: None,
        cooling: HashMap::new(),
        handing_over: BTreeSet::new(),
        hand_overs: JoinSet::new(),
        spoken: Spoken::default(),
        made: false,
    };
    loop {
        let again = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            again = driver.step() => again,
        };
        if again {
            continue;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = tick.tick() => {}
            Ok(()) = changed.changed() => {}
            Ok(()) = rumours.changed() => {}
            Some(done) = driver.hand_overs.join_next() => match done {
                Ok(pair) => drop(driver.handing_over.remove(&pair)),
                Err(_) => driver.handing_over.clear(), // asked once more at worst
            },
        }
    }
}

impl Driver {
    /// Does the next thing there is to do; whether something was done.
    async fn step(&mut self) -> bool {
        let metrics = self.shared.metrics();
        let members = metrics.membership_config.membership().nodes().count();
        if members == 0 && metrics.last_log_index.is_none() {
            self.made = self.made || self.bootstrap().await;
            return false;
        }
        let leads = metrics.state == ServerState::Leader && self.shared.leads();
        if !leads {
            self.leads_since = None;
            return false;
        }
        if self.leads_since.is_none_or(|(term, _)| term != metrics.current_term) {
            self.leads_since = Some((metrics.current_term, Instant::now()));
        }
        let state = self.shared.table.borrow().clone();
        if !state.exists() {
            return self.first_table(&metrics).await;
        }
        let facts = self.facts(&metrics);
        let planner = &mut self.planner;
        for decision in aside(|| planner.plan(&state, &facts)) {
            let kind = kind(&decision);
            if self.cooling.get(kind).is_some_and(|until| Instant::now() < *until) {
                continue;
            }
            match self.carry_out(&state, decision.clone()).await {
                Ok(true) => return true,
                Ok(false) => drop(self.cooling.insert(kind, Instant::now() + COOL_DOWN)),
                // Raft stops, as it was told to.
                Err(_) if *self.shared.stop.borrow() => return false,
                Err(error) => {
                    tracing::warn!(
                        action = "leader-step-failed",
                        %error,
                        ?kind,
                        "a step of the cluster's leader failed"
                    );
                    self.cooling.insert(kind, Instant::now() + COOL_DOWN);
                }
            }
        }
        false
    }

    async fn bootstrap(&self) -> bool {
        let shared = &self.shared;
        let Some(wanted) = shared.wanted else { return false };
        if wanted <= 1 && shared.joins && self.started.elapsed() < LOOK_AROUND {
            return false;
        }
        let Some(voters) = bootstrap(&shared.me, &self.seen(), wanted) else { return false };
        let voters: BTreeMap<MemberId, EmptyNode> =
            voters.into_iter().map(|id| (id, EmptyNode {})).collect();
        match timeout(STEP_TIMEOUT, shared.raft.initialize(voters)).await {
            Ok(Ok(())) => {
                done("cluster-made", &shared.me.name, "this member has made a cluster");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(action = "cluster-not-made", %error, "the cluster was not made");
                false
            }
            Err(_) => false,
        }
    }

    /// The first table: all that are there and belong to no cluster, and their slots.
    async fn first_table(&mut self, metrics: &Metrics) -> bool {
        let voters: BTreeSet<MemberId> =
            metrics.membership_config.membership().voter_ids().collect();
        let mut members: Vec<Member> = vec![self.shared.me.clone()];
        for seen in self.seen() {
            let there = seen.liveness == Liveness::Alive && seen.cluster_id == 0;
            let new_name = members.iter().all(|member| member.name != seen.member.name);
            if (there || voters.contains(&seen.member.id)) && new_name {
                members.push(seen.member);
            }
        }
        // A voter that is not seen at this moment belongs into the table, unless it is gone.
        let complete = voters.iter().all(|id| members.iter().any(|member| member.id == *id));
        let led = self.leads_since.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        if !complete && led < WAIT_FOR_VOTERS {
            return false;
        }
        let mut bytes = [0; 8];
        if getrandom::fill(&mut bytes).is_err() {
            return false;
        }
        let factors = self.shared.stores.iter().map(|store| usize::from(store.replication_factor));
        let factor = factors.max().unwrap_or(1);
        let assignment = aside(|| target(&members, factor, &Assignment::default()));
        // Where it is known of all: nothing is written for that later.
        let spoken = self.spoken.by_all(&self.shared);
        let known = members.iter().map(|member| spoken.get(&member.id).copied().unwrap_or(0));
        let common = known.min().filter(|common| *common > self.shared.table.borrow().protocol());
        if let Some(common) = common
            && let Err(error) = self.propose(Change::RaiseProtocol(common)).await
        {
            tracing::debug!(action = "protocol-not-raised", %error, "it is raised later");
        }
        let init = Change::Init {
            cluster_id: u64::from_be_bytes(bytes).max(1),
            members,
            assignment,
            stores: self.shared.stores.clone(),
        };
        match self.propose(init).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(
                    action = "cluster-not-made",
                    %error,
                    "the first table was not written"
                );
                tokio::time::sleep(TICK).await;
                false
            }
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.shared.gossip.rumours().borrow().iter().map(|rumour| rumour.seen.clone()).collect()
    }

    fn facts(&mut self, metrics: &Metrics) -> Facts {
        let membership = metrics.membership_config.membership();
        let last = metrics.last_log_index.unwrap_or(0);
        let replicated = metrics.replication.iter().flatten();
        let caught_up = replicated
            .filter(|(_, at)| at.as_ref().is_some_and(|at| at.index + CAUGHT_UP_ENTRIES >= last))
            .map(|(id, _)| *id)
            .collect();
        let led = self.leads_since.map_or(Duration::ZERO, |(_, since)| since.elapsed());
        let silent_ms = metrics
            .heartbeat
            .iter()
            .flatten()
            .map(|(id, acked)| {
                let ago = acked.map_or(led, |acked| acked.into_inner().elapsed());
                (*id, ago.as_millis() as u64)
            })
            .collect();
        // The leader itself may have come back at another address, too (O3).
        let mut seen = self.seen();
        seen.push(Seen {
            member: self.shared.me.clone(),
            cluster_id: self.shared.identity.cluster(),
            initialised: true,
            liveness: Liveness::Alive,
        });
        let protocols = self.spoken.by_all(&self.shared);
        Facts {
            me: self.shared.me.id,
            seen,
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            caught_up,
            silent_ms,
            dead: self.shared.deaths.dead(&self.shared),
            stopping: self.shared.stopping.all(&self.shared.table.borrow()),
            handing_over: self.handing_over.clone(),
            empty_only: !self.shared.copies().replicate(),
            protocols,
        }
    }

    async fn propose(&self, change: Change) -> Result<(), Error> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        match carry_out(&self.shared, Ask::Propose(change), deadline).await {
            Said::Applied(_) => Ok(()),
            Said::Refused(refused) => Err(Error::Refused(refused)),
            Said::NotLeader => Err(Error::NoQuorum("this member no longer leads".into())),
            other => Err(Error::Failed(format!("{other:?}"))),
        }
    }

    /// Whether the decision was carried out; false: it cannot be for now.
    async fn carry_out(&mut self, state: &ClusterState, decision: Decision) -> Result<bool, Error> {
        let name = |id: MemberId| state.members.get(&id).map_or("?", |m| m.name.as_str());
        match decision {
            Decision::AddMember(member) => {
                let name = member.name.clone();
                self.propose(Change::AddMember(member)).await?;
                done("member-added", &name, "a member was added");
            }
            Decision::UpdateMember(member) => {
                let name = member.name.clone();
                self.propose(Change::UpdateMember(member)).await?;
                done("member-changed", &name, "a member has changed");
            }
            Decision::ReplaceMember { old, member } => {
                tracing::warn!(
                    action = "member-came-back-empty",
                    member = member.name,
                    old = format!("{old:016x}"),
                    new = format!("{:016x}", member.id),
                    slots = state.assignment.slots_of(old).count(),
                    "a member came back without its disk: it takes its old place, its data is lost"
                );
                let name = member.name.clone();
                self.propose(Change::ReplaceMember { old, member }).await?;
                done("member-replaced", &name, "a member took the place of its old disk's");
            }
            Decision::RemoveMember(id) => {
                self.propose(Change::RemoveMember(id)).await?;
                done("member-removed", name(id), "a member was removed");
            }
            Decision::AddLearner(id) => {
                let added = self.shared.raft.add_learner(id, EmptyNode {}, false);
                within(added).await?;
            }
            Decision::SetVoters(voters) => {
                let names = voters.iter().map(|id| name(*id)).collect::<Vec<_>>().join(" ");
                let changed = self.shared.raft.change_membership(voters, true);
                within(changed).await?;
                done("voters-changed", &names, "other members vote");
            }
            Decision::RemoveFromRaft(ids) => {
                if !self.told(&ids, state.epoch).await {
                    return Ok(false);
                }
                let change = ChangeMembers::RemoveNodes(ids);
                within(self.shared.raft.change_membership(change, false)).await?;
            }
            Decision::Place(steps) => {
                if !self.shared.copies().replicate() && !self.may_add(state, &steps).await {
                    return Ok(false);
                }
                self.propose(Change::Place(steps)).await?;
            }
            Decision::HandOver { from, to, runs } => {
                let ask = Ask::HandOver { epoch: state.epoch, runs, to };
                self.ask_primary(state, from, to, ask);
            }
            Decision::LetGo { from, member, runs } => {
                let ask = Ask::LetGo { epoch: state.epoch, runs, member };
                self.ask_primary(state, from, member, ask);
            }
            Decision::RaiseProtocol(protocol) => {
                self.propose(Change::RaiseProtocol(protocol)).await?;
                let what = format!("protocol {protocol}");
                done("protocol-raised", &what, "all members know a newer protocol: it is spoken");
            }
            Decision::DropStore(number) => {
                let said = control::gather(&self.shared, Instant::now() + ASK_TIMEOUT).await;
                if !control::is_empty(&said, number) {
                    return Ok(false);
                }
                self.propose(Change::DropStore(number)).await?;
                done(
                    "store-dropped",
                    &format!("store {number}"),
                    "a store that is no longer listed is gone",
                );
            }
        }
        Ok(true)
    }

    /// Whether members that leave Raft know of the table without them, as far as they live: one
    /// that did not would take itself for a member without a quorum for ever.
    async fn told(&self, ids: &BTreeSet<MemberId>, epoch: u64) -> bool {
        let deadline = Instant::now() + ASK_TIMEOUT;
        let alive = |seen: &Seen| seen.liveness == Liveness::Alive && ids.contains(&seen.member.id);
        let asked = self.seen().into_iter().filter(alive).map(|seen| async move {
            let said =
                control::ask(&self.shared, &seen.member, Ask::Reached(epoch), deadline).await;
            matches!(said, Ok(Said::Reached))
        });
        futures::future::join_all(asked).await.into_iter().all(|told| told)
    }

    /// Asks a primary, and does not wait for it. One that could not is asked again a while later.
    fn ask_primary(&mut self, state: &ClusterState, from: MemberId, to: MemberId, ask: Ask) {
        let Some(member) = state.members.get(&from).map(|member| self.shared.reach(member)) else {
            return;
        };
        let shared = self.shared.clone();
        self.handing_over.insert((from, to));
        self.hand_overs.spawn(async move {
            let deadline = Instant::now() + HAND_OVER_TIMEOUT;
            let said = control::ask(&shared, &member, ask, deadline).await;
            if !matches!(said, Ok(Said::HandedOver)) {
                tracing::debug!(
                    action = "primary-step-failed",
                    member = member.name,
                    error = ?said,
                    "a primary did not do what it was asked to"
                );
                sleep(COOL_DOWN).await;
            }
            (from, to)
        });
    }

    /// Where nothing is replicated, slots get other owners only while they are empty; and when a
    /// member shall get its first slots, while all are.
    async fn may_add(&self, state: &ClusterState, steps: &[Step]) -> bool {
        let adds = |step: &&Step| matches!(step.act, Act::AddOwner(_));
        if !steps.iter().any(|step| adds(&step)) {
            return true;
        }
        let deadline = Instant::now() + ASK_TIMEOUT;
        let goes = |id: &MemberId| state.members.get(id).is_some_and(|m| state.is_leaving(&m.name));
        let mut leaving: BTreeMap<MemberId, Vec<Slot>> = BTreeMap::new();
        for slot in steps.iter().filter(adds).flat_map(|step| slots_in(&step.runs)) {
            if let Some(primary) = state.assignment.primary(slot) {
                leaving.entry(primary).or_default().push(slot);
            }
        }
        if !leaving.keys().any(goes) {
            let said = control::gather(&self.shared, deadline).await;
            let owners = state.assignment.counts();
            return owners.keys().all(|id| {
                said.get(id).and_then(Option::as_ref).is_some_and(|stats| stats.keys() == 0)
            });
        }
        let asked = leaving.iter().map(|(id, slots)| async move {
            let Some(member) = state.members.get(id) else { return false };
            let ask = Ask::Keys(slot_runs(slots.iter().copied()));
            let member = self.shared.reach(member);
            let said = control::ask(&self.shared, &member, ask, deadline).await;
            matches!(said, Ok(Said::Keys(0)))
        });
        futures::future::join_all(asked).await.into_iter().all(|empty| empty)
    }
}

/// Runs what computes for long while this thread's other tasks go elsewhere.
pub(super) fn aside<R>(run: impl FnOnce() -> R) -> R {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(run),
        _ => run(),
    }
}

/// Tells the audit what the cluster did to itself.
fn done(action: &'static str, detail: &str, what: &'static str) {
    tracing::info!(
        target: AUDIT,
        action,
        user = "cluster",
        detail,
        outcome = "success",
        result = "done",
        "{what}"
    );
}

fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::AddMember(_) => "add a member",
        Decision::UpdateMember(_) => "update a member",
        Decision::ReplaceMember { .. } => "replace a member",
        Decision::RemoveMember(_) => "remove a member",
        Decision::AddLearner(_) => "add a learner",
        Decision::SetVoters(_) => "set the voters",
        Decision::RemoveFromRaft(_) => "remove from Raft",
        Decision::Place(_) => "place slots",
        Decision::HandOver { .. } => "hand over slots",
        Decision::LetGo { .. } => "let owners go",
        Decision::DropStore(_) => "drop a store",
        Decision::RaiseProtocol(_) => "raise the protocol",
    }
}

async fn within<T, E: std::fmt::Display>(
    change: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match timeout(MEMBERSHIP_TIMEOUT, change).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Error::Failed(error.to_string())),
        Err(_) => Err(Error::NoQuorum("a change of voters took too long".into())),
    }
}
