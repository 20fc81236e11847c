//! Watches: each fills a store and says which resources need a pass. Changes that no decision
//! depends on (an owned object's own status, most of all) say nothing.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::pin::pin;

use futures::StreamExt;
use hypercache_crds::HyperCacheCluster;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::facts::{ClaimFacts, PodFacts, SetFacts};
use crate::names::{INSTANCE_LABEL, Names};
use crate::telemetry::Metrics;

/// What of an object decisions depend on, as a hash.
pub type Relevant<K> = fn(&K) -> u64;
/// The resource that an object belongs to.
pub type Owner<K> = fn(&K) -> Option<ObjectRef<HyperCacheCluster>>;

/// Where watches report, and when they end.
#[derive(Clone)]
pub struct Reporter {
    /// Takes resources that need a pass.
    pub queue: mpsc::Sender<ObjectRef<HyperCacheCluster>>,
    /// Turns true when the operator stops.
    pub stop: watch::Receiver<bool>,
    /// Counts what breaks.
    pub metrics: Metrics,
}

/// Starts a watch that keeps a store.
pub fn start<K>(
    api: Api<K>,
    config: watcher::Config,
    relevant: Relevant<K>,
    owner: Owner<K>,
    reporter: Reporter,
) -> (Store<K>, JoinHandle<()>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let task = tokio::spawn(async move {
        let Reporter { queue, mut stop, metrics } = reporter;
        let events = watcher(api, config)
            .modify(|object| object.managed_fields_mut().clear())
            .default_backoff()
            .reflect(writer)
            .take_until(async move {
                // An error says that the operator is gone: stop as well.
                let _ = stop.wait_for(|stop| *stop).await;
            });
        let mut events = pin!(events);
        let mut known = Known::new(relevant, owner);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    for resource in known.note(&event) {
                        metrics.queued(1);
                        if queue.send(resource).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    let kind = K::kind(&());
                    metrics.watch_error(&kind);
                    tracing::warn!(
                        action = "watch-broke-off",
                        %kind,
                        %error,
                        "a watch broke off; it starts again"
                    );
                }
            }
        }
    });
    (store, task)
}

struct Entry {
    relevant: u64,
    owner: Option<ObjectRef<HyperCacheCluster>>,
    listed: bool,
}

/// What was last seen of each object of a kind.
struct Known<K> {
    relevant: Relevant<K>,
    owner: Owner<K>,
    entries: HashMap<(Option<String>, String), Entry>,
}

impl<K: Resource<DynamicType = ()>> Known<K> {
    fn new(relevant: Relevant<K>, owner: Owner<K>) -> Self {
        Self { relevant, owner, entries: HashMap::new() }
    }

    /// Takes an event; gives the resources that need a pass because of it.
    fn note(&mut self, event: &Event<K>) -> Vec<ObjectRef<HyperCacheCluster>> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let key = (object.namespace(), object.name_any());
                let relevant = (self.relevant)(object);
                let owner = (self.owner)(object);
                let entry = Entry { relevant, owner: owner.clone(), listed: true };
                match self.entries.insert(key, entry) {
                    Some(before) if before.relevant == relevant && before.owner == owner => vec![],
                    Some(before) if before.owner != owner => {
                        before.owner.into_iter().chain(owner).collect()
                    }
                    _ => owner.into_iter().collect(),
                }
            }
            Event::Delete(object) => {
                let known = self.entries.remove(&(object.namespace(), object.name_any()));
                known.and_then(|entry| entry.owner).or((self.owner)(object)).into_iter().collect()
            }
            Event::Init => {
                self.entries.values_mut().for_each(|entry| entry.listed = false);
                vec![]
            }
            Event::InitDone => {
                // What is no longer listed was deleted while nobody looked.
                let gone = self.entries.extract_if(|_, entry| !entry.listed);
                gone.filter_map(|(_, entry)| entry.owner).collect()
            }
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The resource itself.
pub mod resource {
    use super::{HyperCacheCluster, ObjectRef, Resource, ResourceExt, hash};

    /// What was asked for, not what was told.
    pub fn relevant(cluster: &HyperCacheCluster) -> u64 {
        hash(&(cluster.meta().generation, cluster.uid(), cluster.labels()))
    }

    /// Itself.
    pub fn owner(cluster: &HyperCacheCluster) -> Option<ObjectRef<HyperCacheCluster>> {
        Some(ObjectRef::from_obj(cluster))
    }
}

/// All of an object but its status and versions.
pub fn all_but_status<K: Serialize>(object: &K) -> u64 {
    let Ok(mut value) = serde_json::to_value(object) else { return 0 };
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
        if let Some(metadata) = map.get_mut("metadata").and_then(|m| m.as_object_mut()) {
            metadata.remove("resourceVersion");
            metadata.remove("generation");
        }
    }
    hash(&value.to_string())
}

/// A StatefulSet: also how far its pods are.
pub fn set_relevant(set: &k8s_openapi::api::apps::v1::StatefulSet) -> u64 {
    let facts = SetFacts::of(set);
    let progress = (facts.existing, facts.ready, facts.update_revision);
    hash(&(all_but_status(set), progress, facts.observed))
}

/// A pod: what its facts are made of, without the changing texts of what it waits for.
pub fn pod_relevant(pod: &k8s_openapi::api::core::v1::Pod) -> u64 {
    let Some(facts) = pod_names(pod).and_then(|names| PodFacts::of(&names, pod)) else { return 0 };
    let state = (facts.running, facts.ready, facts.terminating);
    hash(&(facts.uid, facts.address, state, facts.revision, facts.stuck.map(|(reason, _)| reason)))
}

/// A volume claim: its sizes.
pub fn claim_relevant(claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim) -> u64 {
    let facts = labelled_owner(claim).and_then(|owner| {
        ClaimFacts::of(&Names::new(owner.name, owner.namespace.unwrap_or_default()), claim)
    });
    facts.map_or(0, |facts| hash(&(facts.requested, facts.capacity)))
}

fn pod_names(pod: &k8s_openapi::api::core::v1::Pod) -> Option<Names> {
    labelled_owner(pod).map(|owner| Names::new(owner.name, owner.namespace.unwrap_or_default()))
}

/// The resource that owns an object.
pub fn controlling_owner<K: Resource<DynamicType = ()>>(
    object: &K,
) -> Option<ObjectRef<HyperCacheCluster>> {
    let kind = HyperCacheCluster::kind(&());
    let owner = object.owner_references().iter().find(|owner| owner.kind == kind)?;
    Some(ObjectRef::new(&owner.name).within(&object.namespace()?))
}

/// The resource that an object's label names, for what another controller made.
pub fn labelled_owner<K: Resource<DynamicType = ()>>(
    object: &K,
) -> Option<ObjectRef<HyperCacheCluster>> {
    let name = object.labels().get(INSTANCE_LABEL)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

#[cfg(test)]
mod tests;
