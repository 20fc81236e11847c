use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fake::{self, State};
use super::*;
use crate::names::MANAGER;

const NAMESPACE: &str = "/api/v1/namespaces/default";
const SET: &str = "/apis/apps/v1/namespaces/default/statefulsets/demo";
const BUDGET: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/demo";
const STATUS: &str =
    "/apis/hypercache.io/v1alpha1/namespaces/default/hypercacheclusters/demo/status";

fn cluster(spec: Value) -> HyperCacheCluster {
    serde_json::from_value(json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": { "name": "demo", "namespace": "default", "uid": "u1", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

struct World {
    api: Arc<Mutex<State>>,
    cache: Arc<fake::Cluster>,
    context: Arc<Context>,
}

impl World {
    /// An operator that has just started, with the watches' stores as the API server has them.
    fn start(api: Arc<Mutex<State>>, client: Client, cache: Arc<fake::Cluster>) -> Self {
        let stores = Stores {
            accounts: store(&api, "serviceaccounts"),
            configs: store(&api, "configmaps"),
            services: store(&api, "services"),
            budgets: store(&api, "poddisruptionbudgets"),
            sets: store(&api, "statefulsets"),
            pods: store(&api, "pods"),
            claims: store(&api, "persistentvolumeclaims"),
        };
        let metrics = Metrics::default();
        let access: Arc<dyn ClusterAccess> = Arc::clone(&cache) as _;
        let context = Arc::new(Context {
            applier: Applier::new(client.clone(), metrics.clone()),
            recorder: Recorder::new(client.clone(), MANAGER.into()),
            client,
            access,
            stores,
            metrics,
            refusals: Mutex::default(),
        });
        Self { api, cache, context }
    }

    fn empty() -> Self {
        let (client, api) = fake::api();
        Self::start(api, client, Arc::default())
    }

    /// The operator again, after a crash.
    fn restarted(&self) -> Self {
        Self::start(Arc::clone(&self.api), self.context.client.clone(), Arc::clone(&self.cache))
    }

    async fn pass(&self, cluster: &HyperCacheCluster) -> Result<Action, Error> {
        self.api.lock().unwrap().requests.clear();
        reconcile(Arc::new(cluster.clone()), Arc::clone(&self.context)).await
    }

    fn written_status(&self) -> HyperCacheClusterStatus {
        let api = self.api.lock().unwrap();
        serde_json::from_value(api.objects[STATUS]["status"].clone()).unwrap()
    }

    fn condition(&self, type_: &str) -> (String, String, String) {
        let status = self.written_status();
        let found = status.conditions.into_iter().find(|c| c.type_ == type_).unwrap();
        (found.status, found.reason, found.message)
    }

    /// Kubernetes' controllers do their part: every pod runs and is ready.
    fn run_pods(&self, members: i32) {
        let mut api = self.api.lock().unwrap();
        let set = api.objects.get_mut(SET).unwrap();
        set["status"] = json!({
            "observedGeneration": 1, "replicas": members, "readyReplicas": members,
            "updatedReplicas": members, "currentRevision": "r1", "updateRevision": "r1",
        });
        for i in 0..members {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": format!("demo-{i}"), "namespace": "default", "uid": format!("p{i}"),
                    "labels": { "controller-revision-hash": "r1" },
                },
                "status": {
                    "podIP": format!("10.0.0.{i}"),
                    "conditions": [{ "type": "Ready", "status": "True" }],
                    "containerStatuses": [{
                        "name": "hypercache", "image": "", "imageID": "", "ready": true,
                        "restartCount": 0, "state": { "running": {} },
                    }],
                },
            });
            api.objects.insert(format!("{NAMESPACE}/pods/demo-{i}"), pod);
        }
    }

    /// A cluster that is settled, and the resource with its status.
    async fn settled(spec: Value) -> (Self, HyperCacheCluster) {
        let mut cluster = cluster(spec);
        let world = Self::empty();
        world.pass(&cluster).await.unwrap();
        world.run_pods(cluster.spec.members);
        let names = Names::new("demo", "default");
        world.cache.state.lock().unwrap().report =
            fake::report(&crate::plan::stores::desired_state(&cluster, &names));
        cluster.status = Some(world.written_status());
        let world = world.restarted();
        world.pass(&cluster).await.unwrap();
        cluster.status = Some(world.written_status());
        (world, cluster)
    }
}

fn store<K>(api: &Arc<Mutex<State>>, plural: &str) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
{
    let (store, mut writer) = reflector::store();
    let part = format!("/{plural}/");
    for (path, object) in &api.lock().unwrap().objects {
        if path.contains(&part) {
            writer.apply_watcher_event(&Event::Apply(
                serde_json::from_value(object.clone()).unwrap(),
            ));
        }
    }
    store
}

#[tokio::test]
async fn a_new_resource_is_carried_out_with_one_request_an_object() {
    let world = World::empty();
    let action = world.pass(&cluster(json!({}))).await.unwrap();
    let api = world.api.lock().unwrap();
    assert_eq!(
        api.writes(),
        [
            &format!("PATCH {NAMESPACE}/serviceaccounts/demo"),
            &format!("PATCH {NAMESPACE}/configmaps/demo-config"),
            &format!("PATCH {NAMESPACE}/services/demo-headless"),
            &format!("PATCH {NAMESPACE}/services/demo"),
            &format!("PATCH {BUDGET}"),
            &format!("PATCH {SET}"),
            &format!("PATCH {STATUS}"),
        ]
    );
    assert_eq!(api.events, ["CreateStarted"]);
    assert_eq!(action, Action::requeue(IN_PROGRESS));
    assert_eq!(world.cache.state.lock().unwrap().asked, 0, "nobody is there to ask");
}

#[tokio::test]
async fn o9_a_pass_that_changes_nothing_sends_nothing_to_the_api_server() {
    let (world, cluster) =
        World::settled(json!({ "stores": [{ "name": "a", "number": 1 }] })).await;
    let before = world.cache.state.lock().unwrap().asked;
    let action = world.pass(&cluster).await.unwrap();
    assert_eq!(world.api.lock().unwrap().requests, Vec::<String>::new());
    let cache = world.cache.state.lock().unwrap();
    assert_eq!(cache.asked - before, 1, "one member is asked");
    assert_eq!(cache.proposed, []);
    assert_eq!(action, Action::requeue(SETTLED));
}

#[tokio::test]
async fn an_edited_store_is_one_proposal_and_one_status() {
    let (world, mut cluster) =
        World::settled(json!({ "stores": [{ "name": "a", "number": 1, "maxMemory": "64Mi" }] }))
            .await;
    cluster.spec.stores[0].max_memory = Some("128Mi".into());
    cluster.metadata.generation = Some(2);
    world.pass(&cluster).await.unwrap();
    assert_eq!(world.api.lock().unwrap().requests, [format!("PATCH {STATUS}")]);
    let proposed = world.cache.state.lock().unwrap().proposed.clone();
    assert_eq!(proposed.len(), 1);
    assert_eq!(proposed[0].generation, 2);
    let status = world.written_status();
    assert_eq!(status.observed_generation, Some(2));
    let a = status.stores.iter().find(|store| store.name == "a").unwrap();
    assert_eq!((a.max_memory_bytes, a.applied), (Some(128 << 20), true));
    assert_eq!(world.condition("StoresApplied").0, "True");
}

#[tokio::test]
async fn what_the_cluster_does_not_take_is_told_with_the_field_and_not_sent_in_a_rush() {
    let (world, mut cluster) = World::settled(json!({})).await;
    world.cache.state.lock().unwrap().error =
        Some(admin::Error::Invalid { field: "stores[0].number".into(), message: "taken".into() });
    cluster.metadata.generation = Some(2);
    let action = world.pass(&cluster).await.unwrap();
    let (status, reason, message) = world.condition("StoresApplied");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Refused"));
    assert_eq!(message, "spec.stores[0].number: taken");
    assert_eq!(action, Action::requeue(BLOCKED));
}

#[tokio::test]
async fn o10_a_missing_permission_is_told_and_tried_again_ever_more_slowly() {
    let world = World::empty();
    world.api.lock().unwrap().refuse = Some(Box::new(|method, path| {
        (method == "PATCH" && path.contains("/services/demo"))
            .then_some((403, "services is forbidden: cannot patch resource"))
    }));
    let cluster = cluster(json!({}));
    let mut waits = Vec::new();
    for _ in 0..7 {
        waits.push(world.pass(&cluster).await.unwrap());
    }
    let (status, reason, message) = world.condition("ResourcesApplied");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Forbidden"));
    assert!(message.starts_with("Service demo-headless: services is forbidden"), "{message}");
    assert_eq!(world.condition("Ready").1, "Forbidden");
    assert_eq!(world.written_status().problems[0].object, "Service demo-headless");
    let seconds: Vec<Action> =
        [5, 10, 20, 40, 80, 120, 120].map(|s| Action::requeue(Duration::from_secs(s))).to_vec();
    assert_eq!(waits, seconds);

    // The permission is given: all is well, and the next refusal starts from the beginning.
    world.api.lock().unwrap().refuse = None;
    world.pass(&cluster).await.unwrap();
    assert_eq!(world.condition("ResourcesApplied").0, "True");
    assert!(world.context.refusals.lock().unwrap().is_empty());
}

#[tokio::test]
async fn o10_a_webhooks_refusal_is_told_as_such() {
    let world = World::empty();
    world.api.lock().unwrap().refuse = Some(Box::new(|method, path| {
        (method == "PATCH" && path.contains("statefulsets"))
            .then_some((403, "admission webhook \"policy\" denied the request: no"))
    }));
    world.pass(&cluster(json!({}))).await.unwrap();
    let (_, reason, message) = world.condition("ResourcesApplied");
    assert_eq!(reason, "AdmissionRefused");
    assert!(message.contains("denied the request"), "{message}");
}

#[tokio::test]
async fn members_do_not_start_without_their_configuration() {
    let world = World::empty();
    world.api.lock().unwrap().refuse = Some(Box::new(|method, path| {
        (method == "PATCH" && path.contains("configmaps")).then_some((500, "etcd is away"))
    }));
    world.pass(&cluster(json!({}))).await.unwrap();
    assert!(!world.api.lock().unwrap().objects.contains_key(SET));
    assert_eq!(world.condition("ResourcesApplied").1, "ApiServerError");
}

#[tokio::test]
async fn an_event_that_is_refused_keeps_nothing_from_being_done_and_is_not_told_later() {
    let world = World::empty();
    world.api.lock().unwrap().refuse =
        Some(Box::new(|method, _| (method == "POST").then_some((403, "cannot create events"))));
    let cluster = cluster(json!({}));
    world.pass(&cluster).await.unwrap();
    assert!(world.api.lock().unwrap().objects.contains_key(SET));
    assert_eq!(world.api.lock().unwrap().events, [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_overwritten() {
    let world = World::empty();
    world.api.lock().unwrap().refuse = Some(Box::new(|method, path| {
        (method == "GET" && path.contains("services")).then_some((403, "cannot get services"))
    }));
    world.pass(&cluster(json!({}))).await.unwrap();
    assert_eq!(world.api.lock().unwrap().writes(), [&format!("PATCH {STATUS}")]);
    assert_eq!(world.condition("ResourcesApplied").1, "Forbidden");
}

#[tokio::test]
async fn an_object_that_is_changed_on_its_way_in_is_applied_once_only() {
    let (world, cluster) = World::settled(json!({})).await;
    // A webhook adds itself to the ports each time.
    let path = format!("{NAMESPACE}/services/demo");
    let mutate = |world: &World| {
        let mut api = world.api.lock().unwrap();
        api.objects.get_mut(&path).unwrap()["spec"]["type"] = json!("NodePort");
    };
    mutate(&world);
    let seen = world.restarted();
    seen.pass(&cluster).await.unwrap();
    assert_eq!(seen.api.lock().unwrap().writes(), [&format!("PATCH {path}")]);
    // What came of it, mutated again, is in the version that the operator was given.
    mutate(&seen);
    let again = World {
        api: Arc::clone(&seen.api),
        cache: Arc::clone(&seen.cache),
        context: Arc::new(Context {
            applier: Arc::into_inner(seen.context).unwrap().applier,
            ..Arc::into_inner(world.restarted().context).unwrap()
        }),
    };
    again.pass(&cluster).await.unwrap();
    assert_eq!(again.api.lock().unwrap().writes(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_crash_after_any_request_leads_to_the_same_end() {
    let cluster = cluster(json!({ "stores": [{ "name": "a", "number": 1 }] }));
    let whole = World::empty();
    whole.pass(&cluster).await.unwrap();
    let plain = |world: &World| -> Vec<(String, Value)> {
        let api = world.api.lock().unwrap();
        api.objects
            .iter()
            .filter(|(path, _)| *path != STATUS)
            .map(|(path, object)| {
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = Value::Null;
                (path.clone(), object)
            })
            .collect()
    };
    let expected = plain(&whole);
    for survived in 0..6 {
        let world = World::empty();
        let left = Mutex::new(survived);
        world.api.lock().unwrap().refuse = Some(Box::new(move |method, _| {
            if method == "GET" {
                return None;
            }
            let mut left = left.lock().unwrap();
            if *left == 0 {
                return Some((500, "the operator is gone"));
            }
            *left -= 1;
            None
        }));
        // The status cannot be written either: the pass ends early, as a crash would.
        let _ = world.pass(&cluster).await;
        world.api.lock().unwrap().refuse = None;
        let world = world.restarted();
        world.pass(&cluster).await.unwrap();
        assert_eq!(plain(&world), expected, "after {survived} writes");
    }
}

#[tokio::test]
async fn a_status_that_is_not_written_is_an_error_that_is_tried_again() {
    let world = World::empty();
    world.api.lock().unwrap().refuse =
        Some(Box::new(|_, path| path.ends_with("/status").then_some((403, "cannot patch status"))));
    let error = world.pass(&cluster(json!({}))).await.unwrap_err();
    assert!(error.to_string().contains("cannot patch status"), "{error}");
    let wait = retry(Arc::new(cluster(json!({}))), &error, Arc::clone(&world.context));
    assert_eq!(wait, Action::requeue(FIRST_BACKOFF));
}

#[tokio::test]
async fn a_resource_on_its_way_out_is_left_to_kubernetes() {
    let world = World::empty();
    let mut cluster = cluster(json!({}));
    cluster.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(world.pass(&cluster).await.unwrap(), Action::await_change());
    assert_eq!(world.api.lock().unwrap().requests, Vec::<String>::new());
}

#[tokio::test]
async fn the_chart_gives_the_rights_that_are_used_and_no_others() {
    // Everything that a pass may send: making, a stuck pod, a bigger volume.
    let (world, mut cluster) = World::settled(json!({})).await;
    let mut used: Vec<String> = {
        let fresh = World::empty();
        fresh.pass(&cluster).await.unwrap();
        let api = fresh.api.lock().unwrap();
        api.requests.clone()
    };
    {
        let mut api = world.api.lock().unwrap();
        let pod = api.objects.get_mut(&format!("{NAMESPACE}/pods/demo-2")).unwrap();
        pod["metadata"]["labels"]["controller-revision-hash"] = json!("bad");
        pod["status"]["conditions"] = json!([]);
        pod["status"]["containerStatuses"][0]["state"] =
            json!({ "waiting": { "reason": "ImagePullBackOff" } });
        api.objects.insert(
            format!("{NAMESPACE}/persistentvolumeclaims/data-demo-0"),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": { "name": "data-demo-0", "namespace": "default" },
                "spec": { "resources": { "requests": { "storage": "1Gi" } } },
            }),
        );
    }
    cluster.spec.storage.size = "2Gi".into();
    let world = world.restarted();
    world.pass(&cluster).await.unwrap();
    used.extend(world.api.lock().unwrap().requests.clone());
    let mut used: Vec<(String, String)> = used.iter().map(|request| verb(request)).collect();
    // Server-side apply makes what is not there; watches list first.
    let made: Vec<_> = used
        .iter()
        .filter(|(verb, resource)| {
            verb == "patch"
                && !resource.contains("/status")
                && !resource.contains("persistentvolumeclaims")
        })
        .map(|(_, resource)| ("create".to_owned(), resource.clone()))
        .collect();
    used.extend(made);
    for watched in [
        "hypercache.io hypercacheclusters",
        " services",
        " configmaps",
        " serviceaccounts",
        " pods",
        " persistentvolumeclaims",
        "apps statefulsets",
        "policy poddisruptionbudgets",
    ] {
        used.push(("list".into(), watched.into()));
        used.push(("watch".into(), watched.into()));
    }
    // One that is told again is counted in the first.
    used.push(("patch".into(), "events.k8s.io events".into()));
    used.sort();
    used.dedup();
    assert_eq!(used, rights_of_the_chart());
}

/// The verb and `group resource` of a request.
fn verb(request: &str) -> (String, String) {
    let (method, path) = request.split_once(' ').unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, "namespaces", _, rest @ ..] => ("", rest),
        ["apis", group, _, "namespaces", _, rest @ ..] => (*group, rest),
        _ => panic!("{path}"),
    };
    let resource = match rest {
        [plural, _, sub] => format!("{plural}/{sub}"),
        [plural, ..] => (*plural).to_owned(),
        [] => panic!("{path}"),
    };
    let verb = if method == "POST" { "create".to_owned() } else { method.to_lowercase() };
    (verb, format!("{group} {resource}"))
}

fn rights_of_the_chart() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/hypercache/templates/_helpers.tpl");
    let text = std::fs::read_to_string(path).unwrap();
    let rules = text.split_once("{{- define \"hypercache.rules\" -}}").unwrap().1;
    let rules: Vec<Value> = serde_saphyr::from_str(rules.split_once("{{- end").unwrap().0).unwrap();
    let list = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for rule in &rules {
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                for verb in list(rule, "verbs") {
                    rights.push((verb, format!("{group} {resource}")));
                }
            }
        }
    }
    rights.sort();
    rights
}

#[tokio::test]
async fn a_pass_has_a_span_and_each_of_its_parts_one_below_that() {
    let (kept, _guard) = passes::tests::kept();
    World::empty().pass(&cluster(json!({}))).await.unwrap();
    let spans = kept.spans();
    let root = spans.iter().find(|span| span.name == "reconcile").unwrap();
    let of = |key: &str| passes::tests::attribute(root, key);
    assert_eq!((of("namespace"), of("cluster")), ("default".into(), "demo".into()));
    assert_eq!(of("hypercache.pass.result"), "in_progress");
    let mut parts: Vec<&str> = Vec::new();
    for part in spans.iter().filter(|span| span.name != "reconcile") {
        assert_eq!(part.parent_span_id, root.span_context.span_id(), "{part:?}");
        assert_eq!(part.span_context.trace_id(), root.span_context.trace_id());
        parts.push(&part.name);
    }
    assert_eq!(parts, ["observe", "ask", "carry_out", "write_status"]);
}
