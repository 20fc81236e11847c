//! Carries steps out: server-side apply with one field manager, one request a step, each with a
//! deadline. What the API server refuses becomes a problem that the status tells.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hypercache_crds::{HyperCacheCluster, HyperCacheClusterStatus, Problem};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::build::{Kind, Wanted};
use crate::facts::Facts;
use crate::names::{APPLIED_ANNOTATION, MANAGER};
use crate::plan::Step;
use crate::telemetry::Metrics;

/// How long a request to the API server may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most objects whose last apply is remembered.
const MAX_REMEMBERED: usize = 16_384;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or could not be asked.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// No answer came in time.
    #[error("no answer in {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
}

/// What became of the steps.
#[derive(Debug, Default)]
pub struct Done {
    /// The StatefulSet after it was applied.
    pub set: Option<StatefulSet>,
    /// Steps that were refused.
    pub refused: Vec<Problem>,
}

type ObjectKey = (String, Kind, String);

/// Sends steps to the API server.
pub struct Applier {
    client: Client,
    metrics: Metrics,
    /// What was last applied, and the version that came of it. An object that is in that version
    /// and still differs is changed by someone on its way in: applying the same once more
    /// changes nothing.
    applied: Mutex<HashMap<ObjectKey, (Value, String)>>,
}

impl Applier {
    /// An applier on a client.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics, applied: Mutex::default() }
    }

    /// Carries out the steps of one cluster.
    pub async fn carry_out(&self, namespace: &str, steps: &[Step], facts: &Facts) -> Done {
        let mut done = Done::default();
        for step in steps {
            let (action, object) = describe(step);
            let outcome = match step {
                Step::Apply(wanted) => {
                    if self.is_as_applied(namespace, wanted, facts) {
                        continue;
                    }
                    if wanted.kind == Kind::StatefulSet && lacks_needed(&done.refused) {
                        // Pods would start without what they need, or restart for nothing.
                        continue;
                    }
                    self.apply(namespace, wanted).await.map(|set| done.set = set)
                }
                Step::DeletePod { name, uid } => self.delete_pod(namespace, name, uid).await,
                Step::GrowClaim { name, size } => self.grow_claim(namespace, name, size).await,
            };
            match outcome {
                Ok(()) => {
                    self.metrics.step(action, "ok");
                    tracing::info!(
                        action = "step-done",
                        namespace,
                        object,
                        step = action,
                        "carried out"
                    );
                }
                Err(error) => {
                    let problem = problem(&object, &error);
                    self.metrics.step(action, &problem.kind);
                    tracing::warn!(
                        action = "step-refused",
                        namespace,
                        object,
                        step = action,
                        reason = problem.kind,
                        error = problem.message,
                        "refused"
                    );
                    done.refused.push(problem);
                }
            }
        }
        done
    }

    fn is_as_applied(&self, namespace: &str, wanted: &Wanted, facts: &Facts) -> bool {
        let key = (namespace.to_owned(), wanted.kind, wanted.name.clone());
        let live = facts.objects.get(&(wanted.kind, wanted.name.clone()));
        let version = live.and_then(|live| live["metadata"]["resourceVersion"].as_str());
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        match (applied.get(&key), version) {
            (Some((digest, applied)), Some(version)) => {
                *digest == wanted.body["metadata"]["annotations"][APPLIED_ANNOTATION]
                    && applied == version
            }
            _ => false,
        }
    }

    async fn apply(&self, namespace: &str, wanted: &Wanted) -> Result<Option<StatefulSet>, Error> {
        let mut set = None;
        let version = match wanted.kind {
            Kind::ServiceAccount => self.patch::<ServiceAccount>(namespace, wanted).await?.version,
            Kind::ConfigMap => self.patch::<ConfigMap>(namespace, wanted).await?.version,
            Kind::Service => self.patch::<Service>(namespace, wanted).await?.version,
            Kind::PodDisruptionBudget => {
                self.patch::<PodDisruptionBudget>(namespace, wanted).await?.version
            }
            Kind::StatefulSet => {
                let patched = self.patch::<StatefulSet>(namespace, wanted).await?;
                set = Some(patched.object);
                patched.version
            }
        };
        let digest = wanted.body["metadata"]["annotations"][APPLIED_ANNOTATION].clone();
        let key = (namespace.to_owned(), wanted.kind, wanted.name.clone());
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if applied.len() >= MAX_REMEMBERED {
            applied.clear();
        }
        applied.insert(key, (digest, version.unwrap_or_default()));
        Ok(set)
    }

    async fn patch<K>(&self, namespace: &str, wanted: &Wanted) -> Result<Patched<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(MANAGER).force();
        let object = in_time(api.patch(&wanted.name, &params, &Patch::Apply(&wanted.body))).await?;
        Ok(Patched { version: object.resource_version(), object })
    }

    async fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match in_time(api.delete(name, &params)).await {
            Ok(_) => Ok(()),
            // It is gone already, or another one has its name.
            Err(Error::Kube(kube::Error::Api(s))) if s.code == 404 || s.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn grow_claim(&self, namespace: &str, name: &str, size: &str) -> Result<(), Error> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let body = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": name },
            "spec": { "resources": { "requests": { "storage": size } } },
        });
        let params = PatchParams::apply(MANAGER).force();
        in_time(api.patch(name, &params, &Patch::Apply(&body))).await.map(|_| ())
    }

    /// Writes the status of a resource.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn write_status(
        &self,
        cluster: &HyperCacheCluster,
        status: &HyperCacheClusterStatus,
    ) -> Result<(), Error> {
        let namespace = cluster.namespace().unwrap_or_default();
        let api: Api<HyperCacheCluster> = Api::namespaced(self.client.clone(), &namespace);
        let body = json!({
            "apiVersion": HyperCacheCluster::api_version(&()),
            "kind": HyperCacheCluster::kind(&()),
            "metadata": { "name": cluster.name_any() },
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let name = cluster.name_any();
        let outcome = in_time(api.patch_status(&name, &params, &Patch::Apply(&body))).await;
        self.metrics.step("write_status", if outcome.is_ok() { "ok" } else { "error" });
        outcome.map(|_| ())
    }
}

struct Patched<K> {
    object: K,
    version: Option<String>,
}

/// A request with its deadline.
pub(crate) async fn in_time<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::Timeout),
    }
}

fn lacks_needed(refused: &[Problem]) -> bool {
    refused.iter().any(|problem| {
        [Kind::ServiceAccount, Kind::ConfigMap]
            .iter()
            .any(|kind| problem.object.split(' ').next() == Some(kind.as_str()))
    })
}

fn describe(step: &Step) -> (&'static str, String) {
    match step {
        Step::Apply(wanted) => ("apply", format!("{} {}", wanted.kind.as_str(), wanted.name)),
        Step::DeletePod { name, .. } => ("delete", format!("Pod {name}")),
        Step::GrowClaim { name, .. } => ("grow", format!("PersistentVolumeClaim {name}")),
    }
}

/// The object that a step is about, as a problem names it.
pub fn object(step: &Step) -> String {
    describe(step).1
}

/// A refusal in words that a person can act on.
pub(crate) fn problem(object: &str, error: &Error) -> Problem {
    let (kind, message) = match error {
        Error::Timeout => ("Timeout", error.to_string()),
        Error::Kube(kube::Error::Api(status)) => {
            let by_admission = ["admission webhook", "violates PodSecurity", "exceeded quota"]
                .iter()
                .any(|words| status.message.contains(words));
            let kind = match status.code {
                _ if by_admission => "AdmissionRefused",
                401 => "Unauthorized",
                403 => "Forbidden",
                404 => "NotFound",
                409 => "Conflict",
                400 | 422 => "Invalid",
                _ => "ApiServerError",
            };
            (kind, status.message.clone())
        }
        Error::Kube(error) => ("ApiServerUnreachable", error.to_string()),
    };
    Problem { kind: kind.to_owned(), object: object.to_owned(), message }
}
