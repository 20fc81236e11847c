//! An API server and a cluster for tests: in memory, and they write down what they are asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::http::{Request, Response};
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::admin::{
    ClusterAccess, DesiredState, Error, MemberReport, Report, RingReport, StoreReport, Target,
};

/// Refuses a request, or not: method and path to status and message.
pub type Refuse = Box<dyn Fn(&str, &str) -> Option<(u16, &'static str)> + Send>;

const EVENTS: &str = "/apis/events.k8s.io/";

#[derive(Default)]
pub struct State {
    /// Objects by path.
    pub objects: BTreeMap<String, Value>,
    /// `METHOD path`, in order.
    pub requests: Vec<String>,
    /// The reasons of all events, in order.
    pub events: Vec<String>,
    /// What is refused.
    pub refuse: Option<Refuse>,
    version: u64,
}

impl State {
    /// All that was written but events.
    pub fn writes(&self) -> Vec<&str> {
        let is_write = |r: &&str| !r.starts_with("GET") && !r.contains(EVENTS);
        self.requests.iter().map(String::as_str).filter(is_write).collect()
    }

    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        self.requests.push(format!("{method} {path}"));
        if let Some((code, message)) = self.refuse.as_ref().and_then(|refuse| refuse(method, path))
        {
            return status(code, message);
        }
        match method {
            "GET" => match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None => status(404, "not found"),
            },
            "DELETE" => match self.objects.remove(path) {
                Some(object) => (200, object),
                None => status(404, "not found"),
            },
            "PATCH" => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                self.version += 1;
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                object["metadata"]["generation"] = json!(1);
                if path.ends_with("/status") {
                    // The answer is the resource, which has a spec.
                    object["spec"] = json!({});
                }
                self.objects.insert(path.to_owned(), object.clone());
                (200, object)
            }
            "POST" if path.starts_with(EVENTS) => {
                let event: Value = serde_json::from_slice(body).unwrap();
                self.events.push(event["reason"].as_str().unwrap_or_default().to_owned());
                (201, event)
            }
            other => status(405, if other == "POST" { "no POST" } else { "no such method" }),
        }
    }
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    (code, body)
}

/// A client whose requests the state answers.
pub fn api() -> (Client, Arc<Mutex<State>>) {
    let state = Arc::new(Mutex::new(State::default()));
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let answering = Arc::clone(&state);
    tokio::spawn(async move {
        while let Some((request, respond)) = handle.next_request().await {
            let method = request.method().to_string();
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect_bytes().await.unwrap();
            let (code, answer) = answering.lock().unwrap().answer(&method, &path, &body);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            respond.send_response(Response::builder().status(code).body(body).unwrap());
        }
    });
    (Client::new(service, "default"), state)
}

/// A cluster that takes what it is told.
#[derive(Default)]
pub struct Cluster {
    pub state: Mutex<ClusterState>,
}

#[derive(Default)]
pub struct ClusterState {
    pub report: Report,
    pub asked: usize,
    pub proposed: Vec<DesiredState>,
    pub error: Option<Error>,
}

impl ClusterAccess for Cluster {
    fn report<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            state.asked += 1;
            Ok(state.report.clone())
        })
    }

    fn propose<'a>(
        &'a self,
        _: &'a Target,
        desired: &'a DesiredState,
    ) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            state.proposed.push(desired.clone());
            if let Some(error) = &state.error {
                return Err(error.clone());
            }
            state.report = report(desired);
            Ok(state.report.clone())
        })
    }
}

/// What a cluster says that has what it was told.
pub fn report(desired: &DesiredState) -> Report {
    Report {
        cluster_id: Some("c1".into()),
        epoch: 1,
        quorum: true,
        leader: Some("demo-0".into()),
        desired_generation: Some(desired.generation),
        members: desired
            .members
            .iter()
            .map(|name| MemberReport { name: name.clone(), state: "alive".into(), slots: 1 })
            .collect(),
        fully_replicated: Some(true),
        ring: RingReport { balanced: true, slots_assigned: 16384, ..RingReport::default() },
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
        problems: Vec::new(),
    }
}
