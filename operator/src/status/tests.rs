use hypercache_crds::HyperCacheCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::*;
use crate::admin::{Error, MemberReport, ProblemReport, RingReport, StoreReport};
use crate::facts::{PodFacts, SetFacts};
use crate::plan::plan;

fn cluster(spec: Value) -> HyperCacheCluster {
    serde_json::from_value(json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": { "name": "demo", "namespace": "default", "uid": "u1", "generation": 2 },
        "spec": spec,
    }))
    .unwrap()
}

fn at(second: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
}

fn facts(members: i32) -> Facts {
    Facts {
        set: Some(SetFacts {
            replicas: members,
            existing: members,
            ready: members,
            update_revision: "new".into(),
            observed: true,
            claim: None,
            bootstrap_members: Some(members),
        }),
        pods: (0..members)
            .map(|ordinal| PodFacts {
                name: format!("demo-{ordinal}"),
                ordinal,
                uid: String::new(),
                address: None,
                running: true,
                ready: true,
                terminating: false,
                revision: "new".into(),
                stuck: None,
            })
            .collect(),
        ..Facts::default()
    }
}

fn report(members: i32) -> Report {
    Report {
        cluster_id: Some("c1".into()),
        epoch: 7,
        quorum: true,
        leader: Some("demo-0".into()),
        desired_generation: Some(2),
        members: (0..members)
            .map(|i| MemberReport { name: format!("demo-{i}"), state: "alive".into(), slots: 1 })
            .collect(),
        fully_replicated: Some(true),
        ring: RingReport { balanced: true, slots_assigned: 16384, ..RingReport::default() },
        stores: vec![StoreReport {
            name: "default".into(),
            eviction_policy: "wtinylfu".into(),
            replication_factor: 1,
            acks: "one".into(),
            keys: 5,
            ..StoreReport::default()
        }],
        problems: Vec::new(),
    }
}

struct Case<'a> {
    cluster: &'a HyperCacheCluster,
    facts: Facts,
    report: Option<Report>,
    error: Option<Error>,
    refused: Vec<Problem>,
}

impl<'a> Case<'a> {
    fn new(cluster: &'a HyperCacheCluster) -> Self {
        let members = cluster.spec.members;
        Self {
            cluster,
            facts: facts(members),
            report: Some(report(members)),
            error: None,
            refused: vec![],
        }
    }

    fn status(&self, now: i64) -> HyperCacheClusterStatus {
        let plan = plan(self.cluster, &self.facts, self.report.as_ref(), true);
        let seen = Seen {
            facts: &self.facts,
            plan: &plan,
            refused: &self.refused,
            report: self.report.as_ref(),
            cluster_error: self.error.as_ref(),
        };
        status(self.cluster, seen, &at(now))
    }

    fn condition(&self, type_: &str) -> Condition {
        self.status(1).conditions.into_iter().find(|c| c.type_ == type_).unwrap()
    }

    /// Status and reason of a condition.
    fn says(&self, type_: &str) -> (String, String) {
        let condition = self.condition(type_);
        (condition.status, condition.reason)
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[test]
fn a_cluster_that_is_as_it_should_be_is_ready_and_at_rest() {
    let cluster = cluster(json!({}));
    let case = Case::new(&cluster);
    for (type_, status, reason) in [
        ("Ready", "True", "Serving"),
        ("Progressing", "False", "Settled"),
        ("Degraded", "False", "Healthy"),
        ("QuorumAvailable", "True", "Quorum"),
        ("RingBalanced", "True", "Balanced"),
        ("FullyReplicated", "True", "InSync"),
        ("UpToDate", "True", "UpToDate"),
        ("StoresApplied", "True", "Applied"),
        ("MembersApplied", "True", "Applied"),
        ("SpecValid", "True", "Valid"),
        ("ResourcesApplied", "True", "Applied"),
        ("VolumesSized", "True", "Sized"),
    ] {
        assert_eq!(case.says(type_), pair(status, reason), "{type_}");
        assert_eq!(case.condition(type_).observed_generation, Some(2));
    }
    let status = case.status(1);
    assert_eq!(status.observed_generation, Some(2));
    assert_eq!((status.members, status.ready_members), (3, 3));
    assert_eq!(
        status.selector.as_deref(),
        Some("app.kubernetes.io/name=hypercache,app.kubernetes.io/instance=demo")
    );
    assert_eq!(status.leader.as_deref(), Some("demo-0"));
    assert_eq!(status.stores[0].keys, 5);
    assert!(status.stores[0].applied);
}

#[test]
fn o9_conditions_keep_their_time_until_their_status_changes() {
    let mut cluster = cluster(json!({}));
    let first = Case::new(&cluster).status(100);
    cluster.status = Some(first.clone());
    let case = Case::new(&cluster);
    let second = case.status(200);
    assert_eq!(first, second, "a later pass over the same facts says the same");
    assert!(same(&first, &second));

    let mut case = Case::new(&cluster);
    case.facts.set.as_mut().unwrap().ready = 2;
    case.facts.pods[2].ready = false;
    let third = case.status(300);
    let time = |status: &HyperCacheClusterStatus, type_: &str| {
        let condition = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
        condition.last_transition_time.clone()
    };
    assert_eq!(time(&third, "Ready"), at(300));
    assert_eq!(time(&third, "QuorumAvailable"), at(100));
    assert!(!same(&second, &third));
}

#[test]
fn what_is_on_its_way_is_progress_and_not_ready() {
    let cluster = cluster(json!({}));
    let with = |change: fn(&mut SetFacts)| {
        let mut case = Case::new(&cluster);
        change(case.facts.set.as_mut().unwrap());
        case
    };
    let mut joining = with(|set| (set.existing, set.ready) = (2, 2));
    joining.report = Some(report(2));
    for (case, reason) in [
        (with(|set| set.observed = false), "Applying"),
        (with(|set| set.update_revision = "newer".into()), "Rolling"),
        (joining, "Scaling"),
        (Case { facts: Facts::default(), report: None, ..Case::new(&cluster) }, "Creating"),
    ] {
        assert_eq!(case.says("Ready"), pair("False", reason));
        assert_eq!(case.says("Progressing"), pair("True", reason));
    }
}

#[test]
fn a_member_that_is_away_is_named() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.facts.set.as_mut().unwrap().ready = 2;
    case.facts.pods[1].ready = false;
    case.facts.pods[1].stuck = Some(("ImagePullBackOff".into(), "no such image".into()));
    assert_eq!(case.says("Ready"), pair("False", "MembersNotReady"));
    assert_eq!(case.says("Degraded"), pair("True", "PodsStuck"));
    assert_eq!(case.condition("Degraded").message, "demo-1: ImagePullBackOff: no such image");
    case.facts.pods[1].stuck = None;
    assert_eq!(case.says("Degraded"), pair("True", "MembersNotReady"));
    // Its pod is deleted: that is neither a roll nor a wish to scale.
    case.facts.set.as_mut().unwrap().existing = 2;
    assert_eq!(case.says("Ready"), pair("False", "MembersNotReady"));
    assert_eq!(case.says("MembersApplied"), pair("True", "Applied"));
}

#[test]
fn without_a_quorum_or_an_answer_nothing_is_claimed() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.report.as_mut().unwrap().quorum = false;
    assert_eq!(case.says("QuorumAvailable"), pair("False", "NoQuorum"));
    assert_eq!(case.says("Ready"), pair("False", "NoQuorum"));
    assert_eq!(case.says("Degraded"), pair("True", "NoQuorum"));

    case.report = None;
    case.error = Some(Error::Unreachable("connection refused".into()));
    for unknown in ["QuorumAvailable", "RingBalanced", "StoresApplied", "MembersApplied"] {
        assert_eq!(case.says(unknown), pair("Unknown", "ClusterUnreachable"), "{unknown}");
    }
    assert_eq!(case.says("Ready"), pair("False", "ClusterUnreachable"));

    case.report = Some(Report::default());
    case.error = None;
    assert_eq!(case.says("QuorumAvailable"), pair("False", "Forming"));
}

#[test]
fn an_uneven_ring_says_why_and_is_no_failure() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.report.as_mut().unwrap().ring = RingReport {
        balanced: false,
        reason: Some("SlotsHoldData".into()),
        message: Some("demo-2 owns no slot as all hold data".into()),
        slots_assigned: 16384,
    };
    assert_eq!(case.says("RingBalanced"), pair("False", "SlotsHoldData"));
    assert_eq!(case.says("Ready"), pair("True", "Serving"));
    assert_eq!(case.status(1).ring.unwrap().reason, "SlotsHoldData");
}

#[test]
fn stores_that_the_cluster_lacks_or_keeps_are_named() {
    let cluster = cluster(json!({ "stores": [{ "name": "a", "number": 1 }] }));
    let mut case = Case::new(&cluster);
    assert_eq!(case.says("StoresApplied"), pair("False", "Pending"));
    assert_eq!(case.says("Ready"), pair("False", "StoresNotApplied"));

    case.error = Some(Error::Invalid {
        field: "stores[1].max_memory_bytes".into(),
        message: "too little".into(),
    });
    assert_eq!(case.says("StoresApplied"), pair("False", "Refused"));
    let message = case.condition("StoresApplied").message;
    assert_eq!(message, "spec.stores[0].maxMemory: too little");
    case.error = None;

    let a = StoreReport {
        name: "a".into(),
        number: 1,
        eviction_policy: "wtinylfu".into(),
        replication_factor: 1,
        acks: "one".into(),
        managed: true,
        ..StoreReport::default()
    };
    let old = StoreReport { name: "old".into(), number: 2, ..a.clone() };
    let report = case.report.as_mut().unwrap();
    report.stores.extend([a, old]);
    report.problems.push(ProblemReport {
        kind: "StoreNotEmpty".into(),
        object: "old".into(),
        message: "it holds 3 keys".into(),
    });
    assert_eq!(case.says("StoresApplied"), pair("False", "StoreNotEmpty"));
    assert_eq!(case.says("Ready"), pair("True", "Serving"));
    let status = case.status(1);
    assert_eq!(status.problems[0].object, "old");
    let applied: Vec<_> = status.stores.iter().map(|s| (s.name.as_str(), s.applied)).collect();
    assert_eq!(applied, [("default", true), ("a", true), ("old", false)]);
    case.report.as_mut().unwrap().problems[0].kind = "ReplicationFactorWaits".into();
    assert_eq!(case.says("StoresApplied"), pair("False", "ReplicationFactorWaits"));
}

#[test]
fn a_member_that_cannot_leave_degrades_but_serves() {
    let cluster = cluster(json!({ "members": 2 }));
    let mut case = Case::new(&cluster);
    case.facts = facts(3);
    case.report = Some(report(3));
    case.report.as_mut().unwrap().problems.push(ProblemReport {
        kind: "MemberOwnsSlots".into(),
        object: "demo-2".into(),
        message: "it owns 5461 slots".into(),
    });
    case.report.as_mut().unwrap().ring.reason = Some("SlotsHoldData".into());
    assert_eq!(case.says("MembersApplied"), pair("False", "MemberOwnsSlots"));
    assert_eq!(case.says("Degraded"), pair("True", "MemberOwnsSlots"));
    assert_eq!(case.says("Progressing"), pair("False", "MemberOwnsSlots"));
    assert_eq!(case.says("Ready"), pair("True", "Serving"));
    assert_eq!(case.status(1).members, 3, "the scale subresource tells what is");
}

#[test]
fn a_resource_that_cannot_be_is_said_with_its_field() {
    let cluster = cluster(json!({
        "stores": [{ "name": "a", "number": 1, "maxMemory": "2Gi" }],
        "resources": { "limits": { "memory": "1Gi" } },
    }));
    let case = Case::new(&cluster);
    assert_eq!(case.says("SpecValid"), pair("False", "MemoryBudgetExceeded"));
    assert_eq!(case.says("Ready"), pair("False", "MemoryBudgetExceeded"));
    assert_eq!(case.says("QuorumAvailable"), pair("True", "Quorum"), "what runs goes on");
    let message = case.condition("SpecValid").message;
    assert!(message.starts_with("spec.stores[].maxMemory: "), "{message}");
    assert_eq!(case.status(1).problems[0].object, "spec.stores[].maxMemory");
}

#[test]
fn o10_a_refused_step_is_a_condition_with_its_reason() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.refused.push(Problem {
        kind: "Forbidden".into(),
        object: "Service demo".into(),
        message: "cannot patch resource services".into(),
    });
    assert_eq!(case.says("ResourcesApplied"), pair("False", "Forbidden"));
    assert_eq!(case.says("Degraded"), pair("True", "Forbidden"));
    assert_eq!(case.says("Progressing"), pair("False", "StepRefused"));
    assert!(case.condition("ResourcesApplied").message.contains("cannot patch"));
}

#[test]
fn o8_a_volume_that_cannot_grow_is_said_once_and_the_cluster_serves() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.refused.push(Problem {
        kind: "Forbidden".into(),
        object: "PersistentVolumeClaim data-demo-0".into(),
        message: "the storage class does not allow it".into(),
    });
    assert_eq!(case.says("VolumesSized"), pair("False", "Forbidden"));
    assert_eq!(case.says("Degraded"), pair("True", "Forbidden"));
    assert_eq!(case.says("Ready"), pair("True", "Serving"));
}

#[test]
fn texts_from_elsewhere_are_bounded_and_reasons_are_words() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.report.as_mut().unwrap().ring = RingReport {
        balanced: false,
        reason: Some("not a word".into()),
        message: Some("é".repeat(5000)),
        slots_assigned: 0,
    };
    let condition = case.condition("RingBalanced");
    assert_eq!(condition.reason, "Other");
    assert!(condition.message.len() <= MAX_MESSAGE + 4);
}

fn operation(case: &Case<'_>) -> Option<(String, String, Option<i32>)> {
    case.status(1).operation.map(|o| (o.kind, o.step, o.progress))
}

fn step(kind: &str, step: &str, progress: Option<i32>) -> Option<(String, String, Option<i32>)> {
    Some((kind.to_owned(), step.to_owned(), progress))
}

#[test]
fn owners_that_catch_up_are_progress_and_not_full_replication() {
    let cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    assert_eq!(case.status(1).fully_replicated, Some(true));
    case.report.as_mut().unwrap().fully_replicated = Some(false);
    assert_eq!(case.says("FullyReplicated"), pair("False", "CatchingUp"));
    assert_eq!(case.says("Progressing"), pair("True", "Replicating"));
    assert_eq!(case.says("Degraded"), pair("True", "CatchingUp"));
    assert_eq!(case.says("Ready"), pair("True", "Serving"), "it serves all the same");
    assert_eq!(case.status(1).fully_replicated, Some(false));
    case.report.as_mut().unwrap().problems = vec![ProblemReport {
        kind: "SlotsWait".into(),
        object: "demo-1".into(),
        message: "5461 slots are not served until it is back".into(),
    }];
    assert_eq!(case.says("FullyReplicated"), pair("False", "SlotsWait"));
    assert_eq!(case.says("Degraded"), pair("True", "SlotsWait"));
    case.report = None;
    case.error = Some(Error::Unreachable("connection refused".into()));
    assert_eq!(case.says("FullyReplicated"), pair("Unknown", "ClusterUnreachable"));
}

#[test]
fn a_roll_says_how_far_it_is_and_what_it_waits_for() {
    let mut cluster = cluster(json!({}));
    let mut case = Case::new(&cluster);
    case.facts.set.as_mut().unwrap().update_revision = "newer".into();
    case.facts.pods[2].revision = "newer".into();
    case.report.as_mut().unwrap().fully_replicated = Some(false);
    assert_eq!(operation(&case), step("Roll", "NotFullyReplicated", Some(33)));
    assert_eq!(case.says("UpToDate"), pair("False", "Waiting"));
    assert_eq!(case.says("Degraded"), pair("False", "Healthy"), "it is what was asked for");
    let message = case.condition("Progressing").message;
    assert!(message.starts_with("Roll, NotFullyReplicated, 33 %: 1 of 3 pods"), "{message}");

    // All are new, and the last one is not back yet: the roll goes on until it is.
    let before = case.status(1);
    cluster.status = Some(before);
    let mut case = Case::new(&cluster);
    case.report.as_mut().unwrap().fully_replicated = Some(false);
    assert_eq!(operation(&case), step("Roll", "NotFullyReplicated", Some(100)));
    assert_eq!(case.says("Ready"), pair("False", "Rolling"));
    case.report.as_mut().unwrap().fully_replicated = Some(true);
    assert_eq!(operation(&case), None);
    assert_eq!(case.says("Ready"), pair("True", "Serving"));
}

#[test]
fn scaling_out_is_not_done_before_slots_are_where_they_should_be() {
    let mut cluster = cluster(json!({ "members": 4 }));
    let mut case = Case::new(&cluster);
    let set = case.facts.set.as_mut().unwrap();
    (set.existing, set.ready) = (3, 3);
    case.facts.pods.pop();
    case.report = Some(report(3));
    assert_eq!(operation(&case), step("ScaleOut", "Joining", Some(0)));
    assert_eq!(case.says("Progressing"), pair("True", "Scaling"));

    // Slots move: how many have to is remembered.
    let moving = |slots: [u32; 4]| {
        let mut report = report(4);
        report.ring.balanced = false;
        report.ring.reason = Some("Moving".into());
        report.fully_replicated = Some(false);
        for (member, slots) in report.members.iter_mut().zip(slots) {
            member.slots = slots;
        }
        report
    };
    cluster.status = Some(case.status(1));
    let mut case = Case::new(&cluster);
    case.report = Some(moving([5462, 5461, 5461, 0]));
    assert_eq!(operation(&case), step("ScaleOut", "MovingSlots", Some(0)));
    let first = case.status(1);
    cluster.status = Some(first);
    let mut case = Case::new(&cluster);
    case.report = Some(moving([4779, 4779, 4778, 2048]));
    assert_eq!(operation(&case), step("ScaleOut", "MovingSlots", Some(50)));
    assert_eq!(case.says("Progressing"), pair("True", "Rebalancing"));
    assert_eq!(case.says("Degraded"), pair("False", "Healthy"));
    case.report = Some(report(4));
    assert_eq!(operation(&case), None);
    assert_eq!(case.says("Progressing"), pair("False", "Settled"));
}

#[test]
fn scaling_in_says_how_much_of_the_members_that_leave_is_still_there() {
    let mut cluster = cluster(json!({ "members": 2 }));
    let leaving = |slots: u32| {
        let mut report = report(3);
        report.members[2].slots = slots;
        report.problems = vec![ProblemReport {
            kind: "MemberOwnsSlots".into(),
            object: "demo-2".into(),
            message: format!("it stays until its {slots} slots are elsewhere"),
        }];
        report
    };
    let mut status = None;
    for (slots, progress) in [(5000, 0), (2500, 50), (500, 90)] {
        cluster.status = status.take();
        let mut case = Case::new(&cluster);
        case.facts = facts(3);
        case.report = Some(leaving(slots));
        assert_eq!(operation(&case), step("ScaleIn", "Draining", Some(progress)));
        assert_eq!(case.says("Progressing"), pair("True", "Draining"));
        assert_eq!(case.says("Degraded"), pair("False", "Healthy"));
        status = Some(case.status(1));
    }
}
