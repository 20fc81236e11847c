//! What to tell: a pure function from what was seen and done to the resource's status.

mod conditions;
mod figures;
mod operation;
mod replication;

use hypercache_crds::{
    HyperCacheCluster, HyperCacheClusterStatus, Problem, RingStatus, StoreStatus, quantity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use crate::admin::{self, Report, StoreReport};
use crate::facts::Facts;
use crate::names::Names;
use crate::plan::{Plan, stores};

pub use figures::same;

/// The most problems that a status names.
const MAX_PROBLEMS: usize = 32;
/// The longest text of one message.
const MAX_MESSAGE: usize = 1024;

/// What a pass saw and did.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What was there; the StatefulSet as it was after the steps.
    pub facts: &'a Facts,
    /// What was to do.
    pub plan: &'a Plan,
    /// Steps that were refused.
    pub refused: &'a [Problem],
    /// What the cluster says, last.
    pub report: Option<&'a Report>,
    /// Why the cluster says nothing, or did not take the desired state.
    pub cluster_error: Option<&'a admin::Error>,
}

/// The status that is true now. Conditions that did not change keep their time.
pub fn status(cluster: &HyperCacheCluster, seen: Seen<'_>, now: &Time) -> HyperCacheClusterStatus {
    let names = Names::new(cluster.name_any(), cluster.namespace().unwrap_or_default());
    let before = cluster.status.clone().unwrap_or_default();
    let set = seen.facts.set.clone().unwrap_or_default();
    let report = seen.report.filter(|report| report.formed());
    let mut status = HyperCacheClusterStatus {
        observed_generation: cluster.meta().generation,
        members: set.existing,
        ready_members: set.ready,
        selector: Some(names.selector_text()),
        // What the cluster last said of itself stays true while it cannot be asked.
        leader: report.and_then(|report| report.leader.clone()),
        cluster_id: report.and_then(|report| report.cluster_id.clone()).or(before.cluster_id),
        epoch: report.map(|report| signed(report.epoch)).or(before.epoch),
        volume_size: volume_size(seen.facts),
        ring: report.map(ring).or(before.ring),
        fully_replicated: report.map_or(before.fully_replicated, |r| r.fully_replicated),
        operation: None,
        stores: report.map_or(before.stores, |report| store_statuses(seen.plan, report)),
        problems: problems(seen),
        conditions: Vec::new(),
    };
    let formed = status.cluster_id.is_some();
    status.operation = operation::operation(cluster, seen, &set, formed, before.operation.as_ref());
    status.conditions =
        conditions::conditions(cluster, seen, &set, &status, &before.conditions, now);
    status
}

/// The biggest size that was asked for; by the template while there is no volume.
fn volume_size(facts: &Facts) -> Option<String> {
    let size = |text: &String| quantity::millis(text).unwrap_or_default();
    let claimed = facts.claims.iter().map(|claim| &claim.requested).max_by_key(|text| size(text));
    let by_template = facts.set.as_ref().and_then(|set| set.claim.as_ref()).map(|c| &c.size);
    claimed.or(by_template).cloned()
}

fn ring(report: &Report) -> RingStatus {
    RingStatus {
        balanced: report.ring.balanced,
        reason: report.ring.reason.clone().unwrap_or_default(),
        message: clip(report.ring.message.clone().unwrap_or_default()),
        slots_assigned: i32::try_from(report.ring.slots_assigned).unwrap_or(i32::MAX),
    }
}

fn store_statuses(plan: &Plan, report: &Report) -> Vec<StoreStatus> {
    let mut stores: Vec<StoreStatus> =
        report
            .stores
            .iter()
            .map(|store| StoreStatus {
                name: store.name.clone(),
                number: i32::from(store.number),
                keys: signed(store.keys),
                used_memory_bytes: signed(store.used_memory_bytes),
                max_memory_bytes: store.max_memory_bytes.map(signed),
                eviction_policy: store.eviction_policy.clone(),
                replication_factor: i32::from(store.replication_factor),
                acks: store.acks.clone(),
                cuckoo_filter: store.cuckoo_filter.into(),
                persistence: store.persistence.mode.clone(),
                fsync: fsync(store),
                applied: plan.desired.stores.iter().any(|wanted| {
                    wanted.name == store.name && stores::applied(wanted, &report.stores)
                }),
            })
            .collect();
    stores.sort_by_key(|store| store.number);
    stores
}

/// When a store's log is forced to the disk; empty when it has none.
fn fsync(store: &StoreReport) -> String {
    let is_logged = store.persistence.mode.starts_with("aof");
    store.persistence.fsync.clone().filter(|_| is_logged).unwrap_or_default()
}

fn problems(seen: Seen<'_>) -> Vec<Problem> {
    let own = seen.plan.invalid.iter().chain(&seen.plan.refused).chain(seen.refused).cloned();
    let clusters =
        seen.report.into_iter().flat_map(|report| &report.problems).map(|problem| Problem {
            kind: problem.kind.clone(),
            object: problem.object.clone(),
            message: problem.message.clone(),
        });
    own.chain(clusters)
        .take(MAX_PROBLEMS)
        .map(|problem| Problem { message: clip(problem.message), ..problem })
        .collect()
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Bounds a text from elsewhere.
fn clip(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
