//! Clusters as the status of their resources says: read from the watches' stores at each scrape, so that
//! one that is gone is told no more.

use std::fmt::Error;
use std::sync::{Arc, PoisonError, RwLock};

use hypercache_core::metric::Metric;
use hypercache_crds::{HyperCacheCluster, HyperCacheClusterStatus};
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::table;

/// Where resources are found.
#[derive(Clone, Default)]
pub(super) struct Clusters(Arc<RwLock<Vec<Store<HyperCacheCluster>>>>);

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clusters")
    }
}

impl Clusters {
    /// From now on these are told as well.
    pub fn add(&self, store: Store<HyperCacheCluster>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    fn all(&self) -> Vec<Arc<HyperCacheCluster>> {
        let stores = self.0.read().unwrap_or_else(PoisonError::into_inner);
        stores.iter().flat_map(Store::state).collect()
    }
}

impl Collector for Clusters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.all();
        let mut gauges = |metric: &Metric, values: Vec<(Vec<String>, f64)>| {
            if values.is_empty() {
                return Ok(());
            }
            let (base, help) = (metric.base(), metric.help);
            let mut family = encoder.encode_descriptor(base, help, None, MetricType::Gauge)?;
            for (labels, value) in values {
                let labels: Vec<_> = metric.labels.iter().copied().zip(labels).collect();
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
            Ok::<(), Error>(())
        };
        gauges(&table::CLUSTERS, vec![(Vec::new(), all.len() as f64)])?;
        for (metric, values) in [
            (&table::CLUSTER_CONDITION, conditions as fn(&Seen<'_>) -> Values),
            (&table::CLUSTER_MEMBERS, members),
            (&table::CLUSTER_OPERATION, operation),
            (&table::CLUSTER_PROBLEMS, problems),
        ] {
            let mut told = Vec::new();
            for cluster in &all {
                let (namespace, name) =
                    (cluster.namespace().unwrap_or_default(), cluster.name_any());
                let Some(status) = &cluster.status else { continue };
                for (words, value) in values(&Seen { cluster, status }) {
                    let labels = [namespace.clone(), name.clone()].into_iter().chain(words);
                    told.push((labels.collect(), value));
                }
            }
            gauges(metric, told)?;
        }
        Ok(())
    }
}

/// A resource that has a status.
struct Seen<'a> {
    cluster: &'a HyperCacheCluster,
    status: &'a HyperCacheClusterStatus,
}

/// The labels behind the cluster's, and the value.
type Values = Vec<(Vec<String>, f64)>;

fn conditions(seen: &Seen<'_>) -> Values {
    let value = |status: &str| match status {
        "True" => 1.0,
        "False" => 0.0,
        _ => -1.0,
    };
    let conditions = seen.status.conditions.iter();
    conditions.map(|known| (vec![known.type_.clone()], value(&known.status))).collect()
}

fn members(seen: &Seen<'_>) -> Values {
    let Seen { cluster, status } = seen;
    [("wanted", cluster.spec.members), ("exist", status.members), ("ready", status.ready_members)]
        .map(|(state, members)| (vec![state.to_owned()], f64::from(members)))
        .to_vec()
}

fn operation(seen: &Seen<'_>) -> Values {
    let operation = seen.status.operation.iter();
    operation.map(|now| (vec![now.kind.clone(), now.step.clone()], 1.0)).collect()
}

fn problems(seen: &Seen<'_>) -> Values {
    vec![(Vec::new(), seen.status.problems.len() as f64)]
}
