use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::*;

fn set(change: impl Fn(&mut Value)) -> StatefulSet {
    let mut set = json!({
        "metadata": {
            "name": "demo", "namespace": "default", "generation": 1, "resourceVersion": "1",
            "ownerReferences": [{
                "apiVersion": "hypercache.io/v1alpha1", "kind": "HyperCacheCluster",
                "name": "demo", "uid": "u1", "controller": true,
            }],
        },
        "spec": {
            "replicas": 3, "serviceName": "demo-headless",
            "selector": {}, "template": {},
        },
        "status": { "replicas": 3, "readyReplicas": 3, "observedGeneration": 1 },
    });
    change(&mut set);
    serde_json::from_value(set).unwrap()
}

fn demo() -> Vec<ObjectRef<HyperCacheCluster>> {
    vec![ObjectRef::new("demo").within("default")]
}

fn sets() -> Known<StatefulSet> {
    Known::new(set_relevant, controlling_owner)
}

#[test]
fn o9_an_owned_objects_own_status_says_nothing_unless_a_decision_depends_on_it() {
    let mut known = sets();
    assert_eq!(known.note(&Event::Apply(set(|_| {}))), demo());
    for irrelevant in [
        set(|set| set["metadata"]["resourceVersion"] = json!("2")),
        set(|set| set["status"]["availableReplicas"] = json!(3)),
        set(|set| set["status"]["collisionCount"] = json!(0)),
    ] {
        assert_eq!(known.note(&Event::Apply(irrelevant)), []);
    }
    assert_eq!(known.note(&Event::Apply(set(|s| s["status"]["readyReplicas"] = json!(2)))), demo());
    assert_eq!(known.note(&Event::Apply(set(|s| s["spec"]["replicas"] = json!(9)))), demo());
}

#[test]
fn o9_a_budgets_own_status_says_nothing() {
    let budget = |allowed: i32| -> PodDisruptionBudget {
        serde_json::from_value(json!({
            "metadata": { "name": "demo", "namespace": "default", "resourceVersion": allowed.to_string() },
            "spec": { "maxUnavailable": 1 },
            "status": {
                "disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 2,
                "expectedPods": 3, "observedGeneration": 1,
            },
        }))
        .unwrap()
    };
    assert_eq!(all_but_status(&budget(0)), all_but_status(&budget(1)));
}

#[test]
fn what_is_deleted_is_told_also_when_nobody_looked() {
    let mut known = sets();
    known.note(&Event::Apply(set(|_| {})));
    assert_eq!(known.note(&Event::Delete(set(|_| {}))), demo());

    known.note(&Event::Apply(set(|_| {})));
    assert_eq!(known.note(&Event::Init), []);
    assert_eq!(known.note(&Event::InitDone), demo(), "it was not listed again");

    known.note(&Event::Apply(set(|_| {})));
    known.note(&Event::Init);
    assert_eq!(known.note(&Event::InitApply(set(|_| {}))), [], "a new list of the same");
    assert_eq!(known.note(&Event::InitDone), []);
}

#[test]
fn an_object_that_changes_hands_tells_both() {
    let mut known = sets();
    known.note(&Event::Apply(set(|_| {})));
    let other = set(|set| set["metadata"]["ownerReferences"][0]["name"] = json!("other"));
    let told = known.note(&Event::Apply(other));
    assert_eq!(told, [demo()[0].clone(), ObjectRef::new("other").within("default")]);
}

#[test]
fn pods_tell_of_readiness_and_address_and_of_little_else() {
    let pod = |change: fn(&mut Value)| -> Pod {
        let mut pod = json!({
            "metadata": {
                "name": "demo-0", "namespace": "default", "uid": "p0",
                "labels": { "app.kubernetes.io/instance": "demo", "controller-revision-hash": "r1" },
            },
            "status": { "podIP": "10.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    };
    let base = pod_relevant(&pod(|_| {}));
    assert_eq!(pod_relevant(&pod(|p| p["status"]["message"] = json!("m"))), base);
    assert_eq!(pod_relevant(&pod(|p| p["metadata"]["annotations"] = json!({ "a": "b" }))), base);
    assert_ne!(pod_relevant(&pod(|p| p["status"]["podIP"] = json!("10.0.0.2"))), base);
    assert_ne!(
        pod_relevant(&pod(|p| p["status"]["conditions"][0]["status"] = json!("False"))),
        base
    );
    assert_eq!(labelled_owner(&pod(|_| {})), demo().into_iter().next());
}

#[test]
fn the_resources_own_status_says_nothing() {
    let cluster = |status: Value, generation: i64| -> HyperCacheCluster {
        serde_json::from_value(json!({
            "apiVersion": "hypercache.io/v1alpha1", "kind": "HyperCacheCluster",
            "metadata": { "name": "demo", "namespace": "default", "generation": generation },
            "spec": {}, "status": status,
        }))
        .unwrap()
    };
    let mut known = Known::new(resource::relevant, resource::owner);
    assert_eq!(known.note(&Event::Apply(cluster(json!({}), 1))), demo());
    assert_eq!(known.note(&Event::Apply(cluster(json!({ "members": 3 }), 1))), []);
    assert_eq!(known.note(&Event::Apply(cluster(json!({ "members": 3 }), 2))), demo());
}
