//! What `GET /api/admin/plan` says: what the ring wants against what is, and what that costs.

use super::{
    control::{self, Ask, Said},
    shared::Shared,
    status::natural,
};
use hypercache_core::cluster::{
    Assignment, ClusterState, Forecast, MemberId, Move, View, forecast,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// What there is to move, and how that is steered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// One word: `Done`, `Moving`, `Paused`, `NoCluster`.
    pub state: String,
    /// The table's epoch.
    pub epoch: u64,
    /// Nothing begins to move.
    pub paused: bool,
    /// The bytes that go from one member to another one in a second, at most.
    pub max_bytes_per_second: u64,
    /// How many copies of slots are to be brought.
    pub slots: u32,
    /// How many of these are under way.
    pub slots_under_way: u32,
    /// How many must be brought at least, for every member to own as many as it will.
    pub least_slots: u32,
    /// How many keys are to be brought; none when a member did not say in time.
    pub keys: Option<u64>,
    /// How many at least: the part of them that the slots are.
    pub least_keys: Option<u64>,
    /// How many bytes that are, by the mean of each store's keys on the member that sends them.
    pub bytes: Option<u64>,
    /// How many at least.
    pub least_bytes: Option<u64>,
    /// How many slots get another primary.
    pub primaries: u32,
    /// How many must at least.
    pub least_primaries: u32,
    /// How many copies go when others are there.
    pub removals: u32,
    /// From whom to whom.
    pub moves: Vec<PlannedMove>,
    /// What each member has, and will have.
    pub members: Vec<PlannedMember>,
}

/// What goes from one member to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMove {
    /// The slots' primary.
    pub from: String,
    /// Who gets them.
    pub to: String,
    /// How many slots.
    pub slots: u32,
    /// How many of these are under way.
    pub slots_under_way: u32,
    /// How many keys; none when the member did not say in time.
    pub keys: Option<u64>,
    /// How many bytes, about.
    pub bytes: Option<u64>,
}

/// What a member has, and will have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedMember {
    /// Its name.
    pub name: String,
    /// Its weight, as the operator or else the member itself says.
    pub weight: u32,
    /// It shall own no slots.
    pub drained: bool,
    /// It is no longer listed.
    pub leaving: bool,
    /// How many slots it is the primary of.
    pub primaries: u32,
    /// How many it will be.
    pub target_primaries: u32,
    /// How many it owns, as primary or replica.
    pub owned: u32,
    /// How many it will own.
    pub target_owned: u32,
}

/// What members said of what is to be moved: keys and bytes.
type Weighed = BTreeMap<(MemberId, MemberId), (u64, u64)>;

/// Makes the plan; asks members, until the deadline, what they hold of it.
pub async fn plan(
    shared: &Arc<Shared>,
    view: &View,
    target: Option<&Assignment>,
    deadline: Instant,
) -> Plan {
    let told = match target {
        Some(target) if view.state.exists() => forecast(&view.state, target),
        _ => Forecast::default(),
    };
    let weighed = weigh(shared, &view.state, &told.moves, deadline).await;
    let rate = move_rate(shared, &view.state);
    describe(&view.state, &told, &weighed, rate)
}

/// The bytes of slots on their way to one member in a second, at most.
pub fn move_rate(shared: &Shared, state: &ClusterState) -> u64 {
    state.steering.max_bytes_per_second.unwrap_or(shared.move_bytes_per_second)
}

async fn weigh(
    shared: &Arc<Shared>,
    state: &ClusterState,
    moves: &[Move],
    deadline: Instant,
) -> Weighed {
    let mut asked: BTreeMap<MemberId, Vec<&Move>> = BTreeMap::new();
    for of in moves {
        asked.entry(of.from).or_default().push(of);
    }
    let asked = asked.into_iter().filter_map(|(from, moves)| {
        let member = shared.reach(state.members.get(&from)?);
        Some(async move {
            let runs = moves.iter().map(|of| of.runs.clone()).collect();
            match control::ask(shared, &member, Ask::Weigh(runs), deadline).await {
                Ok(Said::Weighed(weighed)) if weighed.len() == moves.len() => {
                    moves.iter().map(|of| (from, of.to)).zip(weighed).collect()
                }
                _ => Weighed::new(),
            }
        })
    });
    futures::future::join_all(asked).await.into_iter().flatten().collect()
}

fn describe(state: &ClusterState, told: &Forecast, weighed: &Weighed, rate: u64) -> Plan {
    let name =
        |id: MemberId| state.members.get(&id).map_or_else(|| "?".to_owned(), |m| m.name.clone());
    let moves: Vec<PlannedMove> = told
        .moves
        .iter()
        .map(|of| {
            let weighed = weighed.get(&(of.from, of.to));
            PlannedMove {
                from: name(of.from),
                to: name(of.to),
                slots: of.slots,
                slots_under_way: of.under_way,
                keys: weighed.map(|(keys, _)| *keys),
                bytes: weighed.map(|(_, bytes)| *bytes),
            }
        })
        .collect();
    let mut members: Vec<PlannedMember> = told
        .members
        .iter()
        .map(|of| {
            let name = name(of.member);
            PlannedMember {
                weight: state.weight(of.member),
                drained: state.steering.drained.contains(&name),
                leaving: state.is_leaving(&name),
                primaries: of.primaries,
                target_primaries: of.target_primaries,
                owned: of.owned,
                target_owned: of.target_owned,
                name,
            }
        })
        .collect();
    members.sort_by_key(|member| natural(&member.name));
    let least = |all: Option<u64>| {
        let part = |all: u64| {
            let slots = u128::from(told.copies.max(1));
            (u128::from(all) * u128::from(told.least_copies) / slots) as u64
        };
        all.map(part)
    };
    let keys = moves.iter().map(|of| of.keys).sum();
    let bytes = moves.iter().map(|of| of.bytes).sum();
    let is_done = (told.copies, told.primaries, told.removals) == (0, 0, 0);
    let word = match (state.exists(), is_done, state.steering.paused) {
        (false, _, _) => "NoCluster",
        (true, true, _) => "Done",
        (true, false, true) => "Paused",
        (true, false, false) => "Moving",
    };
    Plan {
        state: word.to_owned(),
        epoch: state.epoch,
        paused: state.steering.paused,
        max_bytes_per_second: rate,
        slots: told.copies,
        slots_under_way: told.under_way,
        least_slots: told.least_copies,
        keys,
        least_keys: least(keys),
        bytes,
        least_bytes: least(bytes),
        primaries: told.primaries,
        least_primaries: told.least_primaries,
        removals: told.removals,
        moves,
        members,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::{Change, Member, Steer, target};

    fn member(id: MemberId) -> Member {
        Member {
            id,
            name: format!("demo-{id}"),
            host: "demo".into(),
            resp_port: 1,
            http_port: 2,
            gossip_port: 3,
            zone: None,
            weight: 1,
            incarnation: 0,
        }
    }

    #[test]
    fn a_plan_says_who_gets_what_from_whom_and_what_nobody_could_say_is_none() {
        let two = [member(1), member(2)];
        let assignment = target(&two, 1, &Assignment::default());
        let init =
            Change::Init { cluster_id: 5, members: two.to_vec(), assignment, stores: vec![] };
        let mut state = ClusterState::default();
        assert_eq!(describe(&state, &Forecast::default(), &Weighed::new(), 9).state, "NoCluster");
        state.apply(&init).unwrap();
        let none = forecast(&state, &state.assignment);
        assert_eq!(describe(&state, &none, &Weighed::new(), 9).state, "Done");
        state.apply(&Change::AddMember(member(10))).unwrap();
        let three: Vec<Member> = state.members.values().cloned().collect();
        let told = forecast(&state, &target(&three, 1, &state.assignment));
        let all = [((1, 10), (60, 6000)), ((2, 10), (40, 4000))].into();
        let plan = describe(&state, &told, &all, 9);
        assert_eq!((plan.state.as_str(), plan.max_bytes_per_second), ("Moving", 9));
        assert_eq!((plan.slots, plan.least_slots), (5461, 5461));
        assert_eq!((plan.keys, plan.bytes), (Some(100), Some(10_000)));
        assert_eq!((plan.least_keys, plan.least_bytes), (Some(100), Some(10_000)));
        let pairs: Vec<_> = plan.moves.iter().map(|m| (&*m.from, &*m.to, m.keys)).collect();
        assert_eq!(pairs, [("demo-1", "demo-10", Some(60)), ("demo-2", "demo-10", Some(40))]);
        assert_eq!(plan.members[2].target_owned, 5461);
        state.apply(&Change::Steer(Steer::Pause(true))).unwrap();
        let some = [((1, 10), (60, 6000))].into();
        let plan = describe(&state, &told, &some, 9);
        assert_eq!((plan.state.as_str(), plan.keys, plan.least_bytes), ("Paused", None, None));
    }
}
