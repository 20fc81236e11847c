use serde_json::json;

use super::*;
use crate::admin::{MemberReport, ProblemReport, StoreReport};
use crate::build::Kind;
use crate::facts::{ClaimFacts, PodFacts, SetFacts};

fn cluster(spec: Value) -> HyperCacheCluster {
    serde_json::from_value(json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": { "name": "demo", "namespace": "default", "uid": "u1", "generation": 2 },
        "spec": spec,
    }))
    .unwrap()
}

/// What is there when all of a cluster's objects are as they should be.
fn settled(cluster: &HyperCacheCluster) -> Facts {
    let members = cluster.spec.members;
    let claim = Claim { size: cluster.spec.storage.size.clone(), storage_class: None };
    let inputs = Inputs { replicas: members, bootstrap_members: members, claim: claim.clone() };
    let objects = build::objects(cluster, &inputs)
        .unwrap()
        .into_iter()
        .map(|object| ((object.kind, object.name), object.body))
        .collect();
    Facts {
        objects,
        set: Some(SetFacts {
            replicas: members,
            existing: members,
            ready: members,
            update_revision: "new".into(),
            observed: true,
            claim: Some(claim),
            bootstrap_members: Some(members),
        }),
        pods: (0..members).map(pod).collect(),
        claims: Vec::new(),
    }
}

fn pod(ordinal: i32) -> PodFacts {
    PodFacts {
        name: format!("demo-{ordinal}"),
        ordinal,
        uid: format!("pod-{ordinal}"),
        address: "10.0.0.1".parse().ok(),
        running: true,
        ready: true,
        terminating: false,
        revision: "new".into(),
        stuck: None,
    }
}

/// What a cluster says that is as the resource says.
fn report(cluster: &HyperCacheCluster) -> Report {
    let names = Names::new("demo", "default");
    let desired = stores::desired_state(cluster, &names);
    Report {
        cluster_id: Some("c1".into()),
        quorum: true,
        desired_generation: Some(desired.generation),
        fully_replicated: Some(true),
        members: members(desired.members.iter().map(String::as_str)),
        stores: desired
            .stores
            .iter()
            .map(|store| StoreReport {
                name: store.name.clone(),
                number: store.number,
                eviction_policy: store.eviction_policy.clone(),
                max_memory_bytes: store.max_memory_bytes,
                default_ttl_ms: store.default_ttl_ms,
                key_prefixes: store.key_prefixes.clone(),
                replication_factor: store.replication_factor,
                acks: store.acks.clone(),
                cuckoo_filter: store.cuckoo_filter,
                persistence: store.persistence.clone(),
                managed: true,
                ..StoreReport::default()
            })
            .collect(),
        ..Report::default()
    }
}

fn members<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<MemberReport> {
    names
        .into_iter()
        .map(|name| MemberReport { name: name.into(), state: "alive".into(), slots: 1 })
        .collect()
}

fn applied(plan: &Plan) -> Vec<(Kind, &str)> {
    plan.steps
        .iter()
        .filter_map(|step| match step {
            Step::Apply(wanted) => Some((wanted.kind, wanted.name.as_str())),
            _ => None,
        })
        .collect()
}

fn stores_spec() -> Value {
    json!([{ "name": "sessions", "number": 1, "maxMemory": "64Mi", "defaultTtl": "5m" }])
}

#[test]
fn everything_is_made_when_nothing_is_there() {
    let plan = plan(&cluster(json!({})), &Facts::default(), None, false);
    assert_eq!(plan.steps.len(), 6);
    assert_eq!(applied(&plan).last(), Some(&(Kind::StatefulSet, "demo")));
    assert!(!plan.propose, "nobody is there to tell");
    assert_eq!(plan.members, Members { replicas: 3, held: None });
}

#[test]
fn o9_when_all_is_as_it_should_be_there_is_nothing_to_do() {
    let cluster = cluster(json!({ "stores": stores_spec() }));
    let plan = plan(&cluster, &settled(&cluster), Some(&report(&cluster)), true);
    assert_eq!(plan.steps, []);
    assert!(!plan.propose);
    assert_eq!(plan.refused, []);
}

#[test]
fn an_object_that_someone_changed_or_removed_is_applied_again() {
    let cluster = cluster(json!({}));
    let mut facts = settled(&cluster);
    let service = facts.objects.get_mut(&(Kind::Service, "demo".into())).unwrap();
    service["spec"]["ports"][0]["port"] = json!(1);
    facts.objects.remove(&(Kind::PodDisruptionBudget, "demo".into()));
    let plan = plan(&cluster, &facts, Some(&report(&cluster)), true);
    assert_eq!(applied(&plan), [(Kind::Service, "demo"), (Kind::PodDisruptionBudget, "demo")]);
}

#[test]
fn an_object_of_someone_else_is_left_alone_and_named() {
    let cluster = cluster(json!({}));
    let mut facts = settled(&cluster);
    let service = facts.objects.get_mut(&(Kind::Service, "demo".into())).unwrap();
    service["metadata"]["ownerReferences"] = json!([{ "uid": "another" }]);
    let plan = plan(&cluster, &facts, Some(&report(&cluster)), true);
    assert_eq!(plan.steps, []);
    assert_eq!(plan.refused[0].kind, "NameTaken");
    assert_eq!(plan.refused[0].object, "Service demo");
}

#[test]
fn a_stores_new_bound_goes_to_the_cluster_and_touches_no_object() {
    let before = cluster(json!({ "stores": stores_spec() }));
    let mut spec = stores_spec();
    spec[0]["maxMemory"] = json!("128Mi");
    let after = cluster(json!({ "stores": spec }));
    let plan = plan(&after, &settled(&before), Some(&report(&before)), true);
    assert_eq!(plan.steps, []);
    assert!(plan.propose);
    let sessions = plan.desired.stores.iter().find(|s| s.name == "sessions").unwrap();
    assert_eq!(sessions.max_memory_bytes, Some(128 << 20));
    assert_eq!(sessions.default_ttl_ms, Some(300_000));
}

#[test]
fn the_default_store_is_always_told_so_that_its_policies_can_go_back() {
    let plan = plan(&cluster(json!({ "stores": stores_spec() })), &Facts::default(), None, false);
    let default = &plan.desired.stores[0];
    assert_eq!((default.name.as_str(), default.number), ("default", 0));
    assert_eq!(default.max_memory_bytes, None);
    let own = json!([{ "name": "default", "number": 0, "evictionPolicy": "noeviction" }]);
    let plan = super::plan(&cluster(json!({ "stores": own })), &Facts::default(), None, false);
    assert_eq!(plan.desired.stores.len(), 1);
    assert_eq!(plan.desired.stores[0].eviction_policy, "noeviction");
}

#[test]
fn a_store_s_filter_is_told_and_another_rate_is_a_difference() {
    let stores = json!([
        { "name": "a", "number": 1, "cuckooFilter": { "falsePositiveRate": 0.002 } },
        { "name": "b", "number": 2, "cuckooFilter": { "enabled": false } },
        { "name": "c", "number": 3, "cuckooFilter": {} },
    ]);
    let cluster = cluster(json!({ "stores": stores }));
    let desired = plan(&cluster, &Facts::default(), None, false).desired;
    let told: Vec<_> =
        desired.stores.iter().map(|store| json!(store)["cuckoo_filter"].clone()).collect();
    let on = |rate: f64| json!({ "enabled": true, "false_positive_rate": rate });
    let off = json!({ "enabled": false });
    assert_eq!(told, [off.clone(), on(0.002), off, on(0.01)]);

    let mut report = report(&cluster);
    assert!(!stores::differs(&desired, &report));
    report.stores[1].cuckoo_filter.false_positive_rate = Some(0.003.into());
    assert!(stores::differs(&desired, &report));
    assert_eq!(
        stores::spec_field(&cluster, &desired, "stores[1].cuckoo_filter"),
        "spec.stores[0].cuckooFilter"
    );
}

#[test]
fn a_store_s_durability_is_told_with_its_defaults_and_another_one_is_a_difference() {
    let stores = json!([
        { "name": "a", "number": 1, "persistence": {
            "mode": "aof+snapshot", "fsync": "always", "fsyncInterval": "250ms", "batchSize": 10,
            "compression": true, "snapshotInterval": "1m", "rewritePercentage": 0,
            "rewriteMinSize": "2Mi",
        } },
        { "name": "b", "number": 2, "persistence": { "mode": "snapshot" } },
        { "name": "c", "number": 3, "persistence": { "mode": "aof" } },
    ]);
    let cluster = cluster(json!({ "stores": stores }));
    let plan = plan(&cluster, &Facts::default(), None, false);
    assert_eq!(plan.invalid, []);
    let told: Vec<_> =
        plan.desired.stores.iter().map(|store| json!(store)["persistence"].clone()).collect();
    let defaults = |mode: &str| {
        json!({
            "mode": mode, "fsync": "periodic", "fsync_interval_ms": 1000, "batch_size": 1000,
            "compression": false, "snapshot_interval_ms": 300_000, "rewrite_percentage": 100,
            "rewrite_min_bytes": 64 << 20,
        })
    };
    assert_eq!(told[0], defaults("disabled"));
    assert_eq!(
        told[1],
        json!({
            "mode": "aof+snapshot", "fsync": "always", "fsync_interval_ms": 250, "batch_size": 10,
            "compression": true, "snapshot_interval_ms": 60_000, "rewrite_percentage": 0,
            "rewrite_min_bytes": 2 << 20,
        })
    );
    let snapshot =
        json!({ "mode": "snapshot", "compression": false, "snapshot_interval_ms": 300_000 });
    assert_eq!(told[2], snapshot, "nothing of a log");
    assert_eq!(told[3], defaults("aof"));

    let mut report = report(&cluster);
    assert!(!stores::differs(&plan.desired, &report));
    report.stores[0].persistence.snapshot_interval_ms = 5;
    assert!(!stores::differs(&plan.desired, &report), "of what is off nothing else counts");
    report.stores[3].persistence.fsync = Some("always".into());
    assert!(stores::differs(&plan.desired, &report));
    for (field, own) in [
        ("stores[1].persistence", "spec.stores[0].persistence"),
        ("stores[1].persistence.fsync", "spec.stores[0].persistence.fsync"),
        ("stores[1].persistence.rewrite_min_bytes", "spec.stores[0].persistence.rewriteMinSize"),
    ] {
        assert_eq!(stores::spec_field(&cluster, &plan.desired, field), own);
    }
}

#[test]
fn a_policy_edit_restarts_nobody() {
    let with = |fsync: &str| {
        let persistence = json!({ "mode": "aof", "fsync": fsync });
        let stores = json!([{ "name": "a", "number": 1, "persistence": persistence }]);
        cluster(json!({ "stores": stores }))
    };
    let (before, after) = (with("periodic"), with("always"));
    let plan = plan(&after, &settled(&before), Some(&report(&before)), true);
    assert_eq!(applied(&plan), []);
    assert!(plan.propose);
}

#[test]
fn copies_and_acks_are_told_by_store_or_from_the_cluster_and_restart_nobody() {
    let with = |factor: i32, acks: &str| {
        cluster(json!({
            "replicationFactor": factor,
            "acks": acks,
            "stores": [
                { "name": "a", "number": 1 },
                { "name": "b", "number": 2, "replicationFactor": 1, "acks": "one" },
            ],
        }))
    };
    let (before, after) = (with(2, "all"), with(3, "quorum"));
    let plan = plan(&after, &settled(&before), Some(&report(&before)), true);
    assert_eq!(applied(&plan), [], "online");
    assert!(plan.propose);
    let told: Vec<_> = plan
        .desired
        .stores
        .iter()
        .map(|s| (s.name.as_str(), s.replication_factor, s.acks.as_str()))
        .collect();
    assert_eq!(told, [("default", 3, "quorum"), ("a", 3, "quorum"), ("b", 1, "one")]);
    for (field, own) in [
        ("stores[1].replication_factor", "spec.stores[0].replicationFactor"),
        ("stores[2].acks", "spec.stores[1].acks"),
    ] {
        assert_eq!(stores::spec_field(&after, &plan.desired, field), own);
    }
    let mut other = report(&after);
    assert!(!stores::differs(&plan.desired, &other));
    other.stores[1].replication_factor = 2;
    assert!(stores::differs(&plan.desired, &other));
    other.stores[1].replication_factor = 3;
    other.stores[1].acks = "all".into();
    assert!(stores::differs(&plan.desired, &other));
}

#[test]
fn more_copies_than_members_and_acks_of_nobody_are_named() {
    let stores = json!([
        { "name": "a", "number": 1, "replicationFactor": 4 },
        { "name": "b", "number": 2, "acks": "all" },
    ]);
    let plan = plan(&cluster(json!({ "stores": stores })), &Facts::default(), None, false);
    let fields: Vec<_> = plan.invalid.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(fields, ["spec.stores[0].replicationFactor", "spec.stores[1].acks"]);
    assert!(plan.invalid[0].message.contains("spec.members is 3"), "{:?}", plan.invalid);
    assert_eq!(plan.steps, []);
}

#[test]
fn a_new_template_is_applied_first_and_then_one_pod_goes() {
    let before = cluster(json!({}));
    let after = cluster(json!({ "podAnnotations": { "a": "b" } }));
    let mut facts = settled(&before);
    // The controller has not made a revision of it yet.
    let first = plan(&after, &facts, Some(&report(&after)), true);
    assert_eq!(applied(&first), [(Kind::StatefulSet, "demo")]);
    assert_eq!(first.steps.len(), 1);
    facts = settled(&after);
    facts.set.as_mut().unwrap().update_revision = "newer".into();
    let second = plan(&after, &facts, Some(&report(&after)), true);
    assert_eq!(second.steps, [Step::DeletePod { name: "demo-2".into(), uid: "pod-2".into() }]);
    let mut behind = report(&after);
    behind.fully_replicated = Some(false);
    let third = plan(&after, &facts, Some(&behind), true);
    assert_eq!(third.steps, []);
    assert_eq!(third.roll_waits.unwrap().0, "NotFullyReplicated");
}

#[test]
fn a_change_of_mind_half_way_is_followed() {
    // 5 to 3, of which one has left already, and back to 5.
    let before = cluster(json!({ "members": 5 }));
    let shrinking = cluster(json!({ "members": 3 }));
    let mut facts = settled(&before);
    let mut half = report(&shrinking);
    half.members = members(["demo-0", "demo-1", "demo-2", "demo-3"]);
    let down = plan(&shrinking, &facts, Some(&half), true);
    assert_eq!(down.members.replicas, 4);
    facts.set.as_mut().unwrap().replicas = 4;
    half.desired_generation = Some(1);
    let up = plan(&before, &facts, Some(&half), true);
    assert_eq!(up.members, Members { replicas: 5, held: None });
    assert!(up.propose, "the cluster hears of it");
    assert_eq!(up.desired.members.len(), 5);
    // 3 to 5, and back before anybody has joined: nobody has to leave first.
    let back = plan(&shrinking, &settled(&before), Some(&report(&shrinking)), true);
    assert_eq!(back.members, Members { replicas: 3, held: None });
}

#[test]
fn intervals_and_sizes_of_durability_out_of_range_are_named() {
    let stores = json!([{ "name": "a", "number": 1, "persistence": {
        "mode": "aof+snapshot", "fsyncInterval": "2h", "snapshotInterval": "500ms",
        "rewriteMinSize": "1Ki",
    } }]);
    let plan = plan(&cluster(json!({ "stores": stores })), &Facts::default(), None, false);
    let fields: Vec<_> = plan.invalid.iter().map(|problem| problem.object.as_str()).collect();
    let own = |field: &str| format!("spec.stores[0].persistence.{field}");
    assert_eq!(fields, [own("fsyncInterval"), own("snapshotInterval"), own("rewriteMinSize")]);
}

#[test]
fn a_new_generation_a_leaving_member_and_a_dropped_store_are_told() {
    let cluster = cluster(json!({ "stores": stores_spec() }));
    let same = report(&cluster);
    let tell = |report: Report| plan(&cluster, &settled(&cluster), Some(&report), true).propose;
    assert!(!tell(same.clone()));
    assert!(tell(Report { desired_generation: Some(1), ..same.clone() }));
    assert!(tell(Report { desired_generation: None, ..same.clone() }));
    let mut more = same.clone();
    more.members.extend(members(["demo-3"]));
    assert!(tell(more));
    let mut extra = same.clone();
    extra.stores.push(StoreReport { name: "old".into(), managed: true, ..StoreReport::default() });
    assert!(tell(extra));
    // A store that someone made by hand is theirs.
    let mut by_hand = same.clone();
    by_hand.stores.push(StoreReport { name: "own".into(), number: 9, ..StoreReport::default() });
    assert!(!tell(by_hand));
    // A member that is still to come comes by itself, and a cluster that is still to form hears
    // nothing.
    assert!(!tell(Report { members: members(["demo-0"]), ..same.clone() }));
    assert!(!tell(Report { cluster_id: None, desired_generation: None, ..same }));
}

#[test]
fn growing_is_done_at_once_and_restarts_nobody() {
    let before = cluster(json!({ "members": 3 }));
    let after = cluster(json!({ "members": 5 }));
    let plan = plan(&after, &settled(&before), Some(&report(&before)), true);
    assert_eq!(applied(&plan), [(Kind::StatefulSet, "demo")]);
    let Step::Apply(set) = &plan.steps[0] else { panic!() };
    assert_eq!(set.body["spec"]["replicas"], 5);
    let live = &settled(&before).objects[&(Kind::StatefulSet, "demo".into())];
    assert_eq!(set.body["spec"]["template"], live["spec"]["template"]);
}

#[test]
fn before_a_cluster_forms_its_members_learn_of_a_changed_number() {
    let before = cluster(json!({ "members": 3 }));
    let after = cluster(json!({ "members": 1 }));
    let unformed = Report::default();
    let plan = plan(&after, &settled(&before), Some(&unformed), false);
    assert_eq!(applied(&plan), [(Kind::ConfigMap, "demo-config"), (Kind::StatefulSet, "demo")]);
    assert_eq!(plan.members.replicas, 1);
}

#[test]
fn shrinking_waits_until_the_cluster_has_let_the_member_go() {
    let before = cluster(json!({ "members": 3 }));
    let after = cluster(json!({ "members": 2 }));
    let facts = settled(&before);
    let decide = |report: Option<&Report>| plan(&after, &facts, report, true);

    // Nobody answers, no quorum, not told yet: the pods stay.
    let told = report(&after);
    let all = members(["demo-0", "demo-1", "demo-2"]);
    for (report, reason) in [
        (None, "ClusterUnreachable"),
        (Some(Report { quorum: false, ..told.clone() }), "NoQuorum"),
        (Some(Report { desired_generation: Some(1), ..told.clone() }), "Proposing"),
        (Some(Report { members: all.clone(), ..told.clone() }), "MembersLeaving"),
    ] {
        let plan = decide(report.as_ref());
        assert_eq!(applied(&plan), [], "{reason}");
        assert_eq!(plan.members.replicas, 3);
        assert_eq!(plan.members.held.unwrap().0, reason);
    }

    // It is gone from the table: now its pod goes.
    let plan = decide(Some(&told));
    assert_eq!(plan.members, Members { replicas: 2, held: None });
    let Step::Apply(set) = &plan.steps[0] else { panic!() };
    assert_eq!(set.body["spec"]["replicas"], 2);
}

#[test]
fn a_member_that_owns_slots_stays_and_the_reason_is_the_clusters() {
    let before = cluster(json!({ "members": 5 }));
    let after = cluster(json!({ "members": 2 }));
    let mut report = report(&after);
    report.members = members(["demo-0", "demo-1", "demo-2"]);
    report.problems = vec![ProblemReport {
        kind: "MemberOwnsSlots".into(),
        object: "demo-2".into(),
        message: "it owns 5461 slots".into(),
    }];
    let draining = self::plan(&after, &settled(&before), Some(&report), true).members.held;
    assert_eq!(draining.unwrap().0, "Draining");
    report.ring.reason = Some("SlotsHoldData".into());
    let plan = plan(&after, &settled(&before), Some(&report), true);
    // Those that are out of the table go, the one that owns slots stays.
    assert_eq!(plan.members.replicas, 3);
    let (reason, message) = plan.members.held.unwrap();
    assert_eq!(reason, "MemberOwnsSlots");
    assert_eq!(message, "spec.members is 2, but demo-2: it owns 5461 slots");
}

#[test]
fn o2_a_member_that_is_down_is_no_wish_to_scale() {
    let cluster = cluster(json!({ "members": 3 }));
    let mut report = report(&cluster);
    report.members[2].state = "down".into();
    report.leader = Some("demo-1".into());
    let plan = plan(&cluster, &settled(&cluster), Some(&report), true);
    assert_eq!(plan.steps, []);
    assert!(!plan.propose);
}

#[test]
fn what_cannot_be_is_named_and_the_running_cluster_stays_as_it_was() {
    let before = cluster(json!({ "stores": stores_spec() }));
    let after = cluster(json!({
        "members": 1,
        "image": "other",
        "stores": [
            { "name": "a", "number": 1, "maxMemory": "600Mi" },
            { "name": "b", "number": 2, "maxMemory": "0.5Gi" },
            { "name": "unbounded", "number": 3 },
        ],
        "resources": { "limits": { "memory": "1Gi" } },
    }));
    let plan = plan(&after, &settled(&before), Some(&report(&before)), true);
    assert_eq!(plan.steps, []);
    assert!(!plan.propose);
    assert_eq!(plan.invalid[0].kind, "MemoryBudgetExceeded");
    assert_eq!(plan.invalid[0].object, "spec.stores[].maxMemory");
    let message = &plan.invalid[0].message;
    assert!(message.contains("a 600Mi, b 0.5Gi"), "{message}");
    assert!(message.contains("spec.resources.limits.memory is 1Gi"), "{message}");
}

#[test]
fn values_that_got_past_an_older_schema_are_named_with_their_field() {
    let plan = plan(
        &cluster(json!({
            "stores": [{ "name": "a", "number": 1, "maxMemory": "1GB", "defaultTtl": "999999d" }],
            "config": { "idleTimeout": "soon" },
            "storage": { "size": "big" },
        })),
        &Facts::default(),
        None,
        false,
    );
    let fields: Vec<_> = plan.invalid.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.stores[0].maxMemory",
            "spec.stores[0].defaultTtl",
            "spec.config.idleTimeout",
            "spec.storage.size",
        ]
    );
}

#[test]
fn o4_a_pod_of_a_bad_revision_goes_once_another_one_is_wanted() {
    let cluster = cluster(json!({}));
    let mut facts = settled(&cluster);
    let stuck = |revision: &str| PodFacts {
        ready: false,
        running: false,
        revision: revision.into(),
        stuck: Some(("ImagePullBackOff".into(), String::new())),
        ..pod(2)
    };
    // The bad revision is the wanted one: nothing better would come.
    facts.pods[2] = stuck("new");
    assert_eq!(plan(&cluster, &facts, Some(&report(&cluster)), true).steps, []);
    // It is corrected, but the controller has not seen that yet.
    facts.pods[2] = stuck("bad");
    facts.set.as_mut().unwrap().observed = false;
    assert_eq!(plan(&cluster, &facts, Some(&report(&cluster)), true).steps, []);
    facts.set.as_mut().unwrap().observed = true;
    let steps = plan(&cluster, &facts, Some(&report(&cluster)), true).steps;
    assert_eq!(steps, [Step::DeletePod { name: "demo-2".into(), uid: "pod-2".into() }]);
    // One that is on its way, ready or only slow is left alone.
    facts.pods[2] = PodFacts { terminating: true, ..stuck("bad") };
    assert_eq!(plan(&cluster, &facts, Some(&report(&cluster)), true).steps, []);
    facts.pods[2] = PodFacts { stuck: None, ..stuck("bad") };
    assert_eq!(plan(&cluster, &facts, Some(&report(&cluster)), true).steps, []);
}

#[test]
fn bigger_volumes_are_asked_for_and_the_claim_template_stays() {
    let before = cluster(json!({ "storage": { "size": "1Gi" } }));
    let after = cluster(json!({ "storage": { "size": "2Gi" } }));
    let mut facts = settled(&before);
    let claim = |ordinal: i32, size: &str| ClaimFacts {
        name: format!("data-demo-{ordinal}"),
        ordinal,
        requested: size.into(),
        capacity: None,
    };
    facts.claims = vec![claim(0, "1Gi"), claim(1, "2048Mi"), claim(7, "1Gi")];
    let plan = plan(&after, &facts, Some(&report(&before)), true);
    assert_eq!(
        plan.steps,
        [Step::GrowClaim { name: "data-demo-0".into(), size: "2Gi".into() }],
        "one is big enough, one belongs to no member, and the template cannot change"
    );
}
