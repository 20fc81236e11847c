//! Seeing what is there.

use std::sync::Arc;

use hypercache_crds::Problem;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::apply::{in_time, problem};
use crate::build::Kind;
use crate::facts::{ClaimFacts, Facts, PodFacts, SetFacts};
use crate::names::Names;

/// The stores that watches keep.
#[derive(Clone)]
pub struct Stores {
    /// ServiceAccounts that the operator made.
    pub accounts: Store<ServiceAccount>,
    /// ConfigMaps that the operator made.
    pub configs: Store<ConfigMap>,
    /// Services that the operator made.
    pub services: Store<Service>,
    /// Disruption budgets that the operator made.
    pub budgets: Store<PodDisruptionBudget>,
    /// StatefulSets that the operator made.
    pub sets: Store<StatefulSet>,
    /// Pods of members.
    pub pods: Store<Pod>,
    /// Volume claims of members.
    pub claims: Store<PersistentVolumeClaim>,
}

impl Stores {
    /// What is there: from the stores, and from the API server what they do not have. Problems
    /// say what could not be seen.
    pub async fn observe(&self, client: &Client, names: &Names) -> (Facts, Vec<Problem>) {
        let mut facts = Facts::default();
        let mut problems = Vec::new();
        let stores = self;
        let instance = names.instance.as_str();
        let (config, headless) = (names.config(), names.headless());
        let see = See { client, namespace: &names.namespace };
        let account = see.one(&stores.accounts, Kind::ServiceAccount, instance).await;
        let config = see.one(&stores.configs, Kind::ConfigMap, &config).await;
        let client = see.one(&stores.services, Kind::Service, instance).await;
        let headless = see.one(&stores.services, Kind::Service, &headless).await;
        let budget = see.one(&stores.budgets, Kind::PodDisruptionBudget, instance).await;
        let set = see.one(&stores.sets, Kind::StatefulSet, instance).await;
        if let Ok(Some(set)) = &set {
            facts.set = Some(SetFacts::of(set));
        }
        let mut note =
            |kind: Kind, name: &str, object: Result<Option<serde_json::Value>, Problem>| {
                match object {
                    Ok(Some(object)) => {
                        facts.objects.insert((kind, name.to_owned()), object);
                    }
                    Ok(None) => {}
                    Err(problem) => problems.push(problem),
                }
            };
        note(Kind::ServiceAccount, instance, json(account));
        note(Kind::ConfigMap, &names.config(), json(config));
        note(Kind::Service, instance, json(client));
        note(Kind::Service, &names.headless(), json(headless));
        note(Kind::PodDisruptionBudget, instance, json(budget));
        note(Kind::StatefulSet, instance, json(set));

        let here = |namespace: Option<String>| namespace.as_deref() == Some(&names.namespace);
        facts.pods = stores
            .pods
            .state()
            .iter()
            .filter(|pod| here(pod.namespace()))
            .filter_map(|pod| PodFacts::of(names, pod))
            .collect();
        facts.pods.sort_by_key(|pod| pod.ordinal);
        facts.claims = stores
            .claims
            .state()
            .iter()
            .filter(|claim| here(claim.namespace()))
            .filter_map(|claim| ClaimFacts::of(names, claim))
            .collect();
        facts.claims.sort_by_key(|claim| claim.ordinal);
        (facts, problems)
    }
}

struct See<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl See<'_> {
    /// An object from its store or, when that does not have it, from the API server: it may be
    /// someone else's, or newer than the store.
    async fn one<K>(
        &self,
        store: &Store<K>,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Arc<K>>, Problem>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        if let Some(object) = store.get(&ObjectRef::new(name).within(self.namespace)) {
            return Ok(Some(object));
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace);
        match in_time(api.get_opt(name)).await {
            Ok(object) => Ok(object.map(Arc::new)),
            Err(error) => Err(problem(&format!("{} {name}", kind.as_str()), &error)),
        }
    }
}

fn json<K: Serialize>(
    object: Result<Option<Arc<K>>, Problem>,
) -> Result<Option<serde_json::Value>, Problem> {
    Ok(object?.and_then(|object| serde_json::to_value(&*object).ok()))
}
