//! What `GET /api/admin/cluster` says.

use super::control::MemberStats;
use hypercache_core::{
    cluster::{Assignment, ClusterState, Liveness, MemberId, Protocol, View, node_id},
    store::{
        Acks, DurabilityFields, EvictionPolicy, FilterRate, StoreNumber, StorePolicy,
        filter_setting,
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The cluster as one member sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// 16 hexadecimal digits; none before the cluster exists.
    pub cluster_id: Option<String>,
    /// The table's epoch.
    pub epoch: u64,
    /// The version of what members say to each other that all of them know.
    pub protocol: Protocol,
    /// Whether a majority of voters stands behind this.
    pub quorum: bool,
    /// The leader's name.
    pub leader: Option<String>,
    /// The generation of the desired state that is in force.
    pub desired_generation: Option<u64>,
    /// The table's members by name.
    pub members: Vec<MemberStatus>,
    /// How slots are spread.
    pub ring: RingStatus,
    /// Whether every slot has as many owners as the stores ask for, or members there are, and all are in sync.
    pub fully_replicated: bool,
    /// The stores by number.
    pub stores: Vec<StoreStatus>,
    /// What keeps the cluster from the desired state.
    pub problems: Vec<Problem>,
}

/// A member of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// 40 hexadecimal digits, as Redis clients know it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub host: String,
    /// RESP's port.
    pub resp_port: u16,
    /// HTTP's port.
    pub http_port: u16,
    /// The members' own port.
    pub gossip_port: u16,
    /// Its part in Raft.
    pub role: Role,
    /// How it seems to be.
    pub state: Liveness,
    /// How many slots it is the primary of.
    pub slots: u32,
    /// How many keys it holds; none when it did not say.
    pub keys: Option<u64>,
    /// Its failure zone.
    pub zone: Option<String>,
    /// How many slots it holds for another primary.
    pub replica_slots: u32,
    /// Its share of slots against the others'.
    pub weight: u32,
    /// It shall own no slots.
    pub drained: bool,
}

/// A member's part in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It votes.
    Voter,
    /// It learns.
    Learner,
}

/// How slots are spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Whether every member that stays has its share.
    pub balanced: bool,
    /// One word: `Balanced`, `SlotsHoldData`, `Moving`, `Paused`, `NoCluster`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How many slots have an owner.
    pub slots_assigned: u32,
}

/// A store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: StoreNumber,
    /// What happens at its bound.
    pub eviction_policy: EvictionPolicy,
    /// The bound on each member.
    pub max_memory_bytes: Option<u64>,
    /// The lifetime of keys that are created without one.
    pub default_ttl_ms: Option<u64>,
    /// Keys of database 0 that belong to it.
    pub key_prefixes: Vec<String>,
    /// The rate of false positives of its filter; none: it has no filter.
    #[serde(with = "filter_setting")]
    pub cuckoo_filter: Option<FilterRate>,
    /// How many members shall hold each key.
    pub replication_factor: u8,
    /// How many do by the table: another one while `replication_factor` is on its way.
    pub replication_factor_in_force: u8,
    /// How many of them have a write before it is answered.
    pub acks: Acks,
    /// What of it is on disk: every field that means something in its mode.
    pub persistence: DurabilityFields,
    /// Made by the desired state.
    pub managed: bool,
    /// The keys on all members that said so.
    pub keys: u64,
    /// The bytes on all members that said so.
    pub used_memory_bytes: u64,
}

/// Something that keeps the cluster from the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One word: `StoreNotEmpty`, `MemberOwnsSlots`, `NameTaken`, `SlotsWait`, `ReplicationFactorWaits`.
    pub kind: String,
    /// What it is about.
    pub object: String,
    /// A sentence.
    pub message: String,
}

/// What members said they hold; `None`: no answer in time.
pub type Said = BTreeMap<MemberId, Option<MemberStats>>;

/// The status, from a view, where slots should be, whether slots that hold keys can move, what
/// members said, and the names under which more than one member is alive.
pub fn status(
    view: &View,
    target: Option<&Assignment>,
    replicates: bool,
    said: &Said,
    twins: &[String],
) -> Status {
    let state = &view.state;
    let slots = state.assignment.counts();
    let mut replicas: BTreeMap<MemberId, u32> = BTreeMap::new();
    for run in state.assignment.placements() {
        for id in run.placement.replicas() {
            *replicas.entry(*id).or_default() += u32::from(run.last - run.first) + 1;
        }
    }
    let name = |id: MemberId| view.member(id).map(|member| member.name.clone());
    let mut members: Vec<MemberStatus> = state
        .members
        .values()
        .map(|member| MemberStatus {
            id: node_id(member.id),
            name: member.name.clone(),
            host: member.host.clone(),
            resp_port: member.resp_port,
            http_port: member.http_port,
            gossip_port: member.gossip_port,
            role: if view.voters.contains(&member.id) { Role::Voter } else { Role::Learner },
            state: view.liveness(member.id),
            slots: slots.get(&member.id).copied().unwrap_or(0),
            keys: said.get(&member.id).and_then(Option::as_ref).map(MemberStats::keys),
            zone: member.zone.clone(),
            replica_slots: replicas.get(&member.id).copied().unwrap_or(0),
            weight: state.weight(member.id),
            drained: state.steering.drained.contains(&member.name),
        })
        .collect();
    members.sort_by_key(|member| natural(&member.name));
    let stores = state
        .stores
        .iter()
        .map(|store| {
            let held = said.values().flatten().filter_map(|stats| stats.stores.get(&store.number));
            let (keys, used) = held.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
            StoreStatus {
                name: store.name.clone(),
                number: store.number,
                eviction_policy: store.eviction_policy,
                max_memory_bytes: store.max_memory_bytes,
                default_ttl_ms: store.default_ttl_ms,
                key_prefixes: store.key_prefixes.clone(),
                cuckoo_filter: store.filter,
                replication_factor: state.asked_for(store).replication_factor,
                replication_factor_in_force: store.replication_factor,
                acks: store.acks,
                persistence: (&store.durability).into(),
                managed: store.managed,
                keys,
                used_memory_bytes: used,
            }
        })
        .collect();
    Status {
        cluster_id: state.exists().then(|| format!("{:016x}", state.cluster_id)),
        epoch: state.epoch,
        quorum: view.quorum,
        leader: view.leader.and_then(name),
        protocol: state.protocol(),
        desired_generation: state.desired.as_ref().map(|desired| desired.generation),
        ring: ring(view, target, replicates, said),
        problems: problems(view, said, twins),
        members,
        fully_replicated: fully_replicated(state),
        stores,
    }
}

/// demo-2 before demo-10.
pub(super) fn natural(name: &str) -> (String, u64) {
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (head.to_owned(), name[head.len()..].parse().unwrap_or(0))
}

fn ring(view: &View, target: Option<&Assignment>, replicates: bool, said: &Said) -> RingStatus {
    let state = &view.state;
    let slots_assigned = state.assignment.assigned();
    let say = |balanced: bool, reason: &str, message: String| RingStatus {
        balanced,
        reason: reason.to_owned(),
        message,
        slots_assigned,
    };
    if !state.exists() {
        return say(false, "NoCluster", "the cluster does not exist yet".into());
    }
    if target.is_none_or(|target| target.same_owners(&state.assignment)) {
        return say(true, "Balanced", "every member that stays has its share of the slots".into());
    }
    let keys: u64 = said.values().flatten().map(MemberStats::keys).sum();
    let idle: Vec<&str> = state
        .members
        .values()
        .filter(|m| !state.is_leaving(&m.name) && !state.assignment.owns(m.id))
        .map(|m| m.name.as_str())
        .collect();
    let who = match idle.is_empty() {
        true => "slots stay where they are".to_owned(),
        false => format!("{} own no slots and forward what they are asked", idle.join(", ")),
    };
    if keys > 0 && !replicates {
        let message = format!(
            "the cluster holds {keys} keys, and this version moves empty slots only: {who}"
        );
        return say(false, "SlotsHoldData", message);
    }
    if state.steering.paused {
        return say(
            false,
            "Paused",
            format!("no slot begins to move until that is resumed; {who}"),
        );
    }
    say(false, "Moving", format!("slots are on their way; until then {who}"))
}

fn problems(view: &View, said: &Said, twins: &[String]) -> Vec<Problem> {
    let state = &view.state;
    let mut problems = Vec::new();
    for store in state.unlisted_stores() {
        let held = said.values().flatten().filter_map(|stats| stats.stores.get(&store.number));
        let keys: u64 = held.map(|held| held.0).sum();
        problems.push(Problem {
            kind: "StoreNotEmpty".into(),
            object: store.name.clone(),
            message: format!("it is no longer listed, and stays because it holds {keys} keys"),
        });
    }
    for member in state.members.values() {
        let slots = state.assignment.slots_of(member.id).count();
        if state.is_leaving(&member.name) && slots > 0 {
            problems.push(Problem {
                kind: "MemberOwnsSlots".into(),
                object: member.name.clone(),
                message: format!(
                    "it is no longer listed, and stays until its {slots} slots are elsewhere"
                ),
            });
        }
    }
    problems.extend(waiting(view));
    problems.extend(factors(state));
    problems.extend(twins.iter().map(|name| Problem {
        kind: "NameTaken".into(),
        object: name.clone(),
        message: "two members that are alive have this name; the one in the table stays".into(),
    }));
    problems
}

/// Slots that nobody can serve until a member is back.
fn waiting(view: &View) -> Vec<Problem> {
    let mut slots: BTreeMap<Vec<MemberId>, u32> = BTreeMap::new();
    for run in view.state.assignment.placements() {
        let in_sync = run.placement.in_sync.into_vec();
        if in_sync.iter().all(|id| view.liveness(*id) == Liveness::Down) {
            *slots.entry(in_sync).or_default() += u32::from(run.last - run.first) + 1;
        }
    }
    let name = |id: &MemberId| view.member(*id).map_or("?", |member| member.name.as_str());
    slots
        .into_iter()
        .map(|(members, slots)| Problem {
            kind: "SlotsWait".into(),
            object: members.iter().map(name).collect::<Vec<_>>().join(", "),
            message: format!(
                "{slots} slots are not served until it is back: nobody else has what they hold"
            ),
        })
        .collect()
}

/// Replication factors that are asked for and not in force.
fn factors(state: &ClusterState) -> Vec<Problem> {
    let slots = state.slots_before_factors();
    let waits = state.stores.iter().filter(|store| state.coming.contains_key(&store.number));
    let problem = |store: &StorePolicy| Problem {
        kind: "ReplicationFactorWaits".into(),
        object: store.name.clone(),
        message: format!(
            "it goes from {} copies to {}: in {slots} slots a copy has yet to leave the in-sync set for that, which it \
             does once two others are in sync",
            store.replication_factor,
            state.asked_for(store).replication_factor
        ),
    };
    waits.map(problem).collect()
}

fn fully_replicated(state: &ClusterState) -> bool {
    let wanted = state.owners_wanted();
    let runs = state.assignment.placements();
    state.exists()
        && runs.iter().all(|run| {
            run.placement.owners.len() >= wanted
                && run.placement.in_sync.len() == run.placement.owners.len()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::{
        Assignment, Change, ClusterState, Desired, FACTORS_WAIT, Member, Owners, Placement, Ring,
        SLOTS,
    };
    use hypercache_core::store::StorePolicy;
    use std::sync::Arc;

    fn member(id: MemberId) -> Member {
        Member {
            id,
            name: format!("demo-{id}"),
            host: format!("demo-{id}.demo"),
            resp_port: 8080,
            http_port: 9080,
            gossip_port: 7946,
            zone: None,
            weight: 1,
            incarnation: 0,
        }
    }

    fn view() -> View {
        let members: Vec<Member> = [10, 2].map(member).to_vec();
        let assignment = Ring::new(&members).assign(0, 1);
        let mut state = ClusterState::default();
        let init = Change::Init { cluster_id: 0xab, members, assignment, stores: vec![] };
        state.apply(&init).unwrap();
        let voters = vec![2];
        View {
            me: 2,
            state: Arc::new(state),
            quorum: true,
            leader: Some(2),
            voters,
            liveness: [(10, Liveness::Alive)].into(),
            ..View::default()
        }
    }

    fn said(keys: u64) -> Said {
        let stats = MemberStats { stores: [(0, (keys, 100 * keys)), (1, (keys, 0))].into() };
        [(2, Some(stats)), (10, None)].into()
    }

    #[test]
    fn it_is_the_json_that_an_operator_reads() {
        let view = view();
        let status = status(&view, Some(&view.state.assignment), true, &said(4), &[]);
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["cluster_id"], "00000000000000ab");
        assert_eq!(json["leader"], "demo-2");
        assert_eq!(json["desired_generation"], serde_json::Value::Null);
        assert_eq!(json["members"][0]["name"], "demo-2", "2 before 10");
        assert_eq!(json["members"][0]["role"], "voter");
        assert_eq!(json["members"][0]["keys"], 8);
        assert_eq!(json["members"][1]["state"], "alive");
        assert_eq!(json["members"][1]["keys"], serde_json::Value::Null);
        assert_eq!(json["ring"]["balanced"], true);
        assert_eq!(json["ring"]["slots_assigned"], 16384);
        assert_eq!(json["stores"][0]["eviction_policy"], "wtinylfu");
        assert_eq!(json["stores"][0]["cuckoo_filter"], serde_json::json!({ "enabled": false }));
        assert_eq!(json["stores"][0]["used_memory_bytes"], 400);
        assert_eq!(json["problems"], serde_json::json!([]));
    }

    #[test]
    fn a_ring_that_data_holds_says_so() {
        let view = view();
        let target = Ring::new(&[member(2)]).assign(0, 1);
        assert_eq!(ring(&view, Some(&target), false, &said(4)).reason, "SlotsHoldData");
        assert_eq!(ring(&view, Some(&target), false, &said(0)).reason, "Moving");
        assert_eq!(ring(&view, Some(&target), true, &said(4)).reason, "Moving");
        assert_eq!(ring(&View::default(), None, true, &Said::new()).reason, "NoCluster");
    }

    #[test]
    fn what_stays_although_it_is_not_listed_is_a_problem() {
        let mut view = view();
        let state = Arc::make_mut(&mut view.state);
        for (members, stores) in [
            (vec!["demo-2".into(), "demo-10".into()], vec![StorePolicy::new("a", 1)]),
            (vec!["demo-2".into()], vec![]),
        ] {
            let desired = Desired { generation: 3, members, stores };
            state.apply(&Change::SetDesired { desired, drop: vec![] }).unwrap();
        }
        let problems = problems(&view, &said(4), &["demo-2".into()]);
        let kinds: Vec<_> = problems.iter().map(|p| (&*p.kind, &*p.object)).collect();
        assert_eq!(
            kinds,
            [("StoreNotEmpty", "a"), ("MemberOwnsSlots", "demo-10"), ("NameTaken", "demo-2")]
        );
    }

    #[test]
    fn a_replication_factor_that_waits_is_told_with_the_one_in_force() {
        let mut view = view();
        let state = Arc::make_mut(&mut view.state);
        state.apply(&Change::RaiseProtocol(FACTORS_WAIT)).unwrap();
        let store = |number, replication_factor| StorePolicy {
            replication_factor,
            ..StorePolicy::new(if number == 0 { "default" } else { "a" }, number)
        };
        state.apply(&Change::ChangeStore(store(0, 2))).unwrap();
        let owners: Owners = [2, 10].into_iter().collect();
        let both = Placement { in_sync: owners.clone(), owners, epoch: 1 };
        state.assignment = Assignment::from_placements(1, (0..SLOTS).map(|_| both.clone()));
        state.apply(&Change::CreateStore(store(1, 1))).unwrap();
        state.apply(&Change::ChangeStore(store(1, 2))).unwrap();
        let status = status(&view, None, true, &said(4), &[]);
        let told = &status.stores[1];
        assert_eq!((told.replication_factor, told.replication_factor_in_force), (2, 1));
        assert_eq!(status.stores[0].replication_factor_in_force, 2);
        let problem = &status.problems[0];
        assert_eq!((&*problem.kind, &*problem.object), ("ReplicationFactorWaits", "a"));
        let message = "it goes from 1 copies to 2: in 16384 slots a copy has yet to leave";
        assert!(problem.message.starts_with(message), "{}", problem.message);
    }

    #[test]
    fn slots_that_wait_for_a_member_are_a_problem() {
        let mut view = view();
        view.liveness.insert(10, Liveness::Down);
        let slots = view.state.assignment.slots_of(10).count();
        let problems = problems(&view, &said(4), &[]);
        assert_eq!((&*problems[0].kind, &*problems[0].object), ("SlotsWait", "demo-10"));
        assert!(problems[0].message.starts_with(&format!("{slots} slots are not served")));
    }
}
