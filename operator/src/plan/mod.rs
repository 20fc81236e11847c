//! What to do: a pure function from the resource and what is there to steps and a proposal.

pub mod check;
pub mod members;
pub mod roll;
pub mod stores;

use hypercache_crds::{HyperCacheCluster, Problem, quantity};
use kube::{Resource, ResourceExt};
use serde_json::Value;

use crate::admin::{DesiredState, Report};
use crate::build::{self, Claim, Inputs, Wanted};
use crate::difference::differs;
use crate::facts::{Facts, PodFacts};
use crate::names::Names;

pub use members::Members;
pub use roll::Roll;

/// One request to the API server.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Makes an object as it should be.
    Apply(Wanted),
    /// Lets a pod go, so that one of the newest revision can come.
    DeletePod {
        /// The pod.
        name: String,
        /// Its identity: another one of that name stays.
        uid: String,
    },
    /// Asks for a bigger volume.
    GrowClaim {
        /// The claim.
        name: String,
        /// The size.
        size: String,
    },
}

/// What to do about one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What in the resource cannot be. Then nothing is done, and what runs stays as it is.
    pub invalid: Vec<Problem>,
    /// What stands in the way of an object.
    pub refused: Vec<Problem>,
    /// What to do, in order. None when all is as it should be.
    pub steps: Vec<Step>,
    /// The state the cluster should have.
    pub desired: DesiredState,
    /// Whether the cluster must be told.
    pub propose: bool,
    /// How many pods there should be, and why.
    pub members: Members,
    /// Why no pod gives way to one of the newest revision although some should: a word and a
    /// sentence.
    pub roll_waits: Option<(&'static str, String)>,
}

/// Decides.
///
/// `formed` says that the cluster has been seen to exist, in this pass or earlier.
pub fn plan(
    cluster: &HyperCacheCluster,
    facts: &Facts,
    report: Option<&Report>,
    formed: bool,
) -> Plan {
    let names = Names::new(cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut invalid = check::check(cluster);
    let desired = stores::desired_state(cluster, &names);
    let members = members::decide(cluster, &names, facts.set.as_ref(), report);
    let mut plan = Plan {
        propose: false,
        refused: Vec::new(),
        steps: Vec::new(),
        invalid: Vec::new(),
        desired,
        members,
        roll_waits: None,
    };
    if invalid.is_empty() {
        match build::objects(cluster, &inputs(cluster, facts, plan.members.replicas, formed)) {
            Ok(wanted) => {
                plan.propose = report.is_some_and(|report| stores::differs(&plan.desired, report));
                for object in wanted {
                    weigh(cluster, facts, object, &mut plan);
                }
                match roll::next(facts, report, formed, cluster.spec.members) {
                    Roll::Done => {}
                    Roll::Replace(pods) => plan.steps.extend(pods.into_iter().map(delete)),
                    Roll::Wait(reason, message) => plan.roll_waits = Some((reason, message)),
                }
                plan.steps.extend(small_claims(cluster, facts, plan.members.replicas));
            }
            Err(error) => invalid.push(Problem {
                kind: "InvalidSpec".to_owned(),
                object: "spec.config".to_owned(),
                message: error.to_string(),
            }),
        }
    }
    plan.invalid = invalid;
    plan
}

fn inputs(cluster: &HyperCacheCluster, facts: &Facts, replicas: i32, formed: bool) -> Inputs {
    let set = facts.set.as_ref();
    // Members that wait for each other must see a changed number; once the cluster exists, the
    // number means nothing and must not restart anybody.
    let bootstrap_members = set
        .and_then(|set| set.bootstrap_members)
        .filter(|_| formed)
        .unwrap_or(cluster.spec.members);
    let claim = set.and_then(|set| set.claim.clone()).unwrap_or_else(|| Claim {
        size: cluster.spec.storage.size.clone(),
        storage_class: cluster.spec.storage.storage_class_name.clone(),
    });
    Inputs { replicas, bootstrap_members, claim }
}

/// Adds the step that makes an object as it should be, unless it is or belongs to someone else.
fn weigh(cluster: &HyperCacheCluster, facts: &Facts, wanted: Wanted, plan: &mut Plan) {
    let key = (wanted.kind, wanted.name.clone());
    match facts.objects.get(&key) {
        Some(live) if !owned(cluster, live) => plan.refused.push(Problem {
            kind: "NameTaken".to_owned(),
            object: format!("{} {}", wanted.kind.as_str(), wanted.name),
            message: "exists and does not belong to this cluster; it is left alone: remove or \
                      rename it, or give the cluster another name"
                .to_owned(),
        }),
        Some(live) if !differs(live, &wanted.body) => {}
        _ => plan.steps.push(Step::Apply(wanted)),
    }
}

fn owned(cluster: &HyperCacheCluster, live: &Value) -> bool {
    let uid = cluster.meta().uid.as_deref().unwrap_or_default();
    live["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid))
}

fn delete(pod: &PodFacts) -> Step {
    Step::DeletePod { name: pod.name.clone(), uid: pod.uid.clone() }
}

fn small_claims(cluster: &HyperCacheCluster, facts: &Facts, replicas: i32) -> Vec<Step> {
    let size = &cluster.spec.storage.size;
    let Ok(wanted) = quantity::millis(size) else { return Vec::new() };
    facts
        .claims
        .iter()
        .filter(|claim| claim.ordinal < replicas)
        .filter(|claim| quantity::millis(&claim.requested).is_ok_and(|has| has < wanted))
        .map(|claim| Step::GrowClaim { name: claim.name.clone(), size: size.clone() })
        .collect()
}

#[cfg(test)]
mod tests;
