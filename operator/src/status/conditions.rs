//! The conditions. Each says with one word and one sentence what a person would ask next.

use hypercache_crds::{HyperCacheCluster, HyperCacheClusterStatus, Operation, Problem, quantity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Resource, ResourceExt};

use super::{Seen, clip, replication};
use crate::admin::Error;
use crate::facts::{PodFacts, SetFacts};
use crate::names::Names;
use crate::plan::stores;

/// A verdict: `Some(true)` is True, `None` is Unknown; the reason; the message.
pub(super) type Verdict = (Option<bool>, String, String);

pub(super) fn verdict(state: Option<bool>, reason: &str, message: impl Into<String>) -> Verdict {
    (state, reason.to_owned(), message.into())
}

fn first_and_all(problems: &[Problem]) -> Option<(String, String)> {
    let first = problems.first()?;
    let all: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.object, problem.message)).collect();
    Some((first.kind.clone(), all.join("; ")))
}

pub(super) fn conditions(
    cluster: &HyperCacheCluster,
    seen: Seen<'_>,
    set: &SetFacts,
    status: &HyperCacheClusterStatus,
    before: &[Condition],
    now: &Time,
) -> Vec<Condition> {
    let spec_valid = spec_valid(seen);
    let resources = resources_applied(seen);
    let volumes = volumes_sized(cluster, seen);
    let quorum = quorum_available(seen);
    let ring = ring_balanced(seen);
    let replicated = replication::fully_replicated(seen);
    let up_to_date = replication::up_to_date(cluster, seen, set);
    let stores = stores_applied(cluster, seen);
    let members = members_applied(cluster, seen, set);
    let under_way = unfinished(seen, set, status, &members);
    let needed = [&spec_valid, &resources, &quorum];
    let ready = ready(cluster, seen, set, under_way.as_ref(), &needed, &stores);
    let progressing = progressing(seen, status, under_way.as_ref(), &ready, &members, &stores);
    let degraded = degraded(
        seen,
        set,
        status,
        &[&spec_valid, &resources, &volumes],
        &quorum,
        (&members, &replicated),
        &progressing,
    );
    [
        ("Ready", ready),
        ("Progressing", progressing),
        ("Degraded", degraded),
        ("QuorumAvailable", quorum),
        ("RingBalanced", ring),
        ("FullyReplicated", replicated),
        ("UpToDate", up_to_date),
        ("StoresApplied", stores),
        ("MembersApplied", members),
        ("SpecValid", spec_valid),
        ("ResourcesApplied", resources),
        ("VolumesSized", volumes),
    ]
    .into_iter()
    .map(|(type_, verdict)| condition(type_, verdict, cluster, before, now))
    .collect()
}

fn condition(
    type_: &str,
    (state, reason, message): Verdict,
    cluster: &HyperCacheCluster,
    before: &[Condition],
    now: &Time,
) -> Condition {
    let status = match state {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let unchanged = before.iter().find(|c| c.type_ == type_ && c.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: word(reason),
        message: clip(message),
        observed_generation: cluster.meta().generation,
        last_transition_time: unchanged
            .map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
    }
}

/// A reason is one word, also when it comes from elsewhere.
fn word(reason: String) -> String {
    let fits = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.len() <= 128
        && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if fits { reason } else { "Other".to_owned() }
}

fn spec_valid(seen: Seen<'_>) -> Verdict {
    match first_and_all(&seen.plan.invalid) {
        None => verdict(Some(true), "Valid", "the resource can be carried out"),
        Some((reason, message)) => verdict(
            Some(false),
            &reason,
            format!("{message}. Nothing of it is applied; what runs stays as it was"),
        ),
    }
}

fn resources_applied(seen: Seen<'_>) -> Verdict {
    let refused: Vec<Problem> =
        seen.plan.refused.iter().chain(seen.refused).filter(|p| !is_claim(p)).cloned().collect();
    match first_and_all(&refused) {
        Some((reason, message)) => verdict(Some(false), &reason, message),
        None if !seen.plan.invalid.is_empty() => verdict(
            Some(false),
            "InvalidSpec",
            "not applied while the resource cannot be carried out",
        ),
        None => verdict(Some(true), "Applied", "all objects are as they should be"),
    }
}

fn is_claim(problem: &Problem) -> bool {
    problem.object.starts_with("PersistentVolumeClaim ")
}

fn volumes_sized(cluster: &HyperCacheCluster, seen: Seen<'_>) -> Verdict {
    let refused: Vec<Problem> = seen.refused.iter().filter(|p| is_claim(p)).cloned().collect();
    if let Some((reason, message)) = first_and_all(&refused) {
        return verdict(Some(false), &reason, message);
    }
    let size = &cluster.spec.storage.size;
    let wanted = quantity::millis(size).unwrap_or_default();
    let smaller = |text: &str| quantity::millis(text).is_ok_and(|has| has < wanted);
    let growing: Vec<&str> = seen
        .facts
        .claims
        .iter()
        .filter(|claim| claim.ordinal < seen.plan.members.replicas)
        .filter(|claim| smaller(&claim.requested) || claim.capacity.as_deref().is_some_and(smaller))
        .map(|claim| claim.name.as_str())
        .collect();
    if growing.is_empty() {
        verdict(Some(true), "Sized", format!("every volume has {size} or more"))
    } else {
        verdict(Some(false), "Growing", format!("growing to {size}: {}", growing.join(", ")))
    }
}

fn quorum_available(seen: Seen<'_>) -> Verdict {
    match (seen.report, seen.cluster_error) {
        (_, Some(Error::NoQuorum(message))) => verdict(Some(false), "NoQuorum", message.clone()),
        (Some(report), _) if !report.formed() => {
            verdict(Some(false), "Forming", "the members have not formed a cluster yet")
        }
        (Some(report), _) if report.quorum => {
            verdict(Some(true), "Quorum", "a majority of the voters answers")
        }
        (Some(_), _) => verdict(Some(false), "NoQuorum", "no majority of the voters answers"),
        (None, Some(error)) => verdict(None, "ClusterUnreachable", error.to_string()),
        (None, None) => verdict(None, "NoMembers", "no member runs"),
    }
}

fn ring_balanced(seen: Seen<'_>) -> Verdict {
    let Some(report) = seen.report.filter(|report| report.formed()) else {
        return verdict(None, "ClusterUnreachable", "no member says how the slots are spread");
    };
    let ring = &report.ring;
    let message = ring.message.clone().unwrap_or_default();
    match (ring.balanced, ring.reason.as_deref().filter(|reason| !reason.is_empty())) {
        (true, reason) => verdict(Some(true), reason.unwrap_or("Balanced"), message),
        (false, reason) => verdict(Some(false), reason.unwrap_or("Unbalanced"), message),
    }
}

fn stores_applied(cluster: &HyperCacheCluster, seen: Seen<'_>) -> Verdict {
    if !seen.plan.invalid.is_empty() {
        return verdict(Some(false), "InvalidSpec", "not sent while the resource is not valid");
    }
    match seen.cluster_error {
        Some(Error::Invalid { field, message }) => {
            let field = stores::spec_field(cluster, &seen.plan.desired, field);
            return verdict(Some(false), "Refused", format!("{field}: {message}"));
        }
        Some(Error::Refused { .. } | Error::NoQuorum(_)) if seen.plan.propose => {
            let text = seen.cluster_error.map(ToString::to_string).unwrap_or_default();
            return verdict(Some(false), "NotTaken", text);
        }
        _ => {}
    }
    let Some(report) = seen.report.filter(|report| report.formed()) else {
        return verdict(None, "ClusterUnreachable", "no member says which stores there are");
    };
    let desired = &seen.plan.desired;
    let missing: Vec<&str> = desired
        .stores
        .iter()
        .filter(|store| !stores::applied(store, &report.stores))
        .map(|store| store.name.as_str())
        .collect();
    if !missing.is_empty() {
        return verdict(
            Some(false),
            "Pending",
            format!("not yet as the resource says: {}", missing.join(", ")),
        );
    }
    let of_stores = ["StoreNotEmpty", "ReplicationFactorWaits"];
    if let Some(problem) = report.problems.iter().find(|p| of_stores.contains(&&*p.kind)) {
        return verdict(
            Some(false),
            &problem.kind,
            format!("{}: {}", problem.object, problem.message),
        );
    }
    let extra = report.stores.iter().find(|s| s.managed && !stores::listed(desired, s));
    match extra {
        Some(store) => verdict(Some(false), "Pending", format!("{} is to be dropped", store.name)),
        None => verdict(
            Some(true),
            "Applied",
            format!("the cluster runs {} stores as the resource says", desired.stores.len()),
        ),
    }
}

fn members_applied(cluster: &HyperCacheCluster, seen: Seen<'_>, set: &SetFacts) -> Verdict {
    let wanted = cluster.spec.members;
    if let Some((reason, message)) = &seen.plan.members.held {
        return verdict(Some(false), reason, message.clone());
    }
    let Some(report) = seen.report.filter(|report| report.formed()) else {
        return verdict(None, "ClusterUnreachable", "no member says who belongs to the cluster");
    };
    let names = Names::new(cluster.name_any(), cluster.namespace().unwrap_or_default());
    let missing: Vec<String> = names
        .members(wanted)
        .into_iter()
        .filter(|name| !report.members.iter().any(|member| member.name == *name))
        .collect();
    if !missing.is_empty() {
        let text = format!("not yet members of the cluster: {}", missing.join(", "));
        return verdict(Some(false), "MembersJoining", text);
    }
    let leaving = report.members.iter().find(|m| !seen.plan.desired.members.contains(&m.name));
    if let Some(member) = leaving {
        let text = format!("{} is still a member of the cluster", member.name);
        return verdict(Some(false), "MembersLeaving", text);
    }
    if set.existing > wanted {
        let text = format!("{} pods exist, {wanted} should", set.existing);
        return verdict(Some(false), "Scaling", text);
    }
    verdict(Some(true), "Applied", format!("the cluster has {wanted} members"))
}

/// Why a roll or a scaling of the StatefulSet is not through. A pod that is away while the cluster
/// has all its members is neither.
fn unfinished(
    seen: Seen<'_>,
    set: &SetFacts,
    status: &HyperCacheClusterStatus,
    members: &Verdict,
) -> Option<(&'static str, String)> {
    if seen.facts.set.is_none() {
        return Some(("Creating", "the StatefulSet does not exist yet".to_owned()));
    }
    if !set.observed {
        return Some(("Applying", "the StatefulSet is about to follow a change".to_owned()));
    }
    if set.existing != set.replicas && members.0 != Some(true) {
        let text = format!("{} of {} pods exist", set.existing, set.replicas);
        return Some(("Scaling", text));
    }
    let roll = status.operation.as_ref().filter(|operation| operation.kind == "Roll");
    roll.map(|operation| ("Rolling", operation.message.clone()))
}

fn not_ready(seen: Seen<'_>, set: &SetFacts) -> String {
    let pods: Vec<String> =
        seen.facts.pods.iter().filter(|pod| !pod.ready).map(pod_problem).collect();
    format!("{} of {} members are ready; {}", set.ready, set.replicas, pods.join("; "))
}

fn pod_problem(pod: &PodFacts) -> String {
    match &pod.stuck {
        Some((reason, message)) => format!("{}: {reason}: {message}", pod.name),
        None if pod.terminating => format!("{} is stopping", pod.name),
        None => format!("{} is not ready", pod.name),
    }
}

fn ready(
    cluster: &HyperCacheCluster,
    seen: Seen<'_>,
    set: &SetFacts,
    under_way: Option<&(&'static str, String)>,
    needed: &[&Verdict],
    stores: &Verdict,
) -> Verdict {
    if let Some((_, reason, message)) = needed.iter().find(|(state, ..)| *state == Some(false)) {
        return verdict(Some(false), reason, message.clone());
    }
    if let Some((reason, message)) = under_way {
        return verdict(Some(false), reason, message.clone());
    }
    if set.ready < set.replicas {
        return verdict(Some(false), "MembersNotReady", not_ready(seen, set));
    }
    if let Some((_, reason, message)) = needed.iter().find(|(state, ..)| *state != Some(true)) {
        return verdict(Some(false), reason, message.clone());
    }
    // A store that the resource no longer lists but that holds keys keeps nobody from being
    // served.
    if stores.0 != Some(true) && stores.1 != "StoreNotEmpty" {
        return verdict(Some(false), "StoresNotApplied", stores.2.clone());
    }
    let text = format!("{} members serve {} stores", set.ready, cluster.spec.stores.len().max(1));
    verdict(Some(true), "Serving", text)
}

fn progressing(
    seen: Seen<'_>,
    status: &HyperCacheClusterStatus,
    under_way: Option<&(&'static str, String)>,
    ready: &Verdict,
    members: &Verdict,
    stores: &Verdict,
) -> Verdict {
    if !seen.plan.invalid.is_empty() {
        return verdict(Some(false), "InvalidSpec", "waits for the resource to be corrected");
    }
    let refused = seen.refused.iter().chain(&seen.plan.refused).any(|p| !is_claim(p));
    if refused {
        return verdict(Some(false), "StepRefused", "a step is refused; it is tried again later");
    }
    let operation = status.operation.as_ref();
    let with_progress = |message: &str| match operation {
        Some(Operation { kind, step, progress: Some(percent), .. }) => {
            format!("{kind}, {step}, {percent} %: {message}")
        }
        Some(Operation { kind, step, .. }) => format!("{kind}, {step}: {message}"),
        None => message.to_owned(),
    };
    if let Some((reason, message)) = under_way {
        return verdict(Some(true), reason, with_progress(message));
    }
    for part in [members, stores] {
        match (part.0, part.1.as_str()) {
            (Some(true), _) | (None, _) => {}
            (_, "MemberOwnsSlots" | "StoreNotEmpty" | "Refused") => {
                return verdict(Some(false), &part.1, part.2.clone());
            }
            (Some(false), _) => return verdict(Some(true), &part.1, with_progress(&part.2)),
        }
    }
    // Not only is it as the resource says: slots are where they should be, and as often.
    if let Some(operation) = operation {
        let reason = match operation.kind.as_str() {
            "Replicate" => "Replicating",
            _ => "Rebalancing",
        };
        return verdict(Some(true), reason, with_progress(&operation.message));
    }
    if ready.0 == Some(true) {
        verdict(Some(false), "Settled", "the cluster is as the resource says")
    } else {
        verdict(Some(true), &ready.1, ready.2.clone())
    }
}

fn degraded(
    seen: Seen<'_>,
    set: &SetFacts,
    status: &HyperCacheClusterStatus,
    broken: &[&Verdict],
    quorum: &Verdict,
    (members, replicated): (&Verdict, &Verdict),
    progressing: &Verdict,
) -> Verdict {
    for (state, reason, message) in broken {
        if *state == Some(false) && reason != "Growing" {
            return verdict(Some(true), reason, message.clone());
        }
    }
    let formed = status.cluster_id.is_some();
    if formed && quorum.0 != Some(true) {
        return verdict(Some(true), &quorum.1, quorum.2.clone());
    }
    if members.1 == "MemberOwnsSlots" {
        return verdict(Some(true), "MemberOwnsSlots", members.2.clone());
    }
    let stuck: Vec<String> =
        seen.facts.pods.iter().filter(|p| p.stuck.is_some()).map(pod_problem).collect();
    if !stuck.is_empty() {
        return verdict(Some(true), "PodsStuck", stuck.join("; "));
    }
    let planned = matches!(progressing.1.as_str(), "Creating" | "Applying" | "Scaling" | "Rolling");
    if formed && set.ready < set.replicas && !planned {
        return verdict(Some(true), "MembersNotReady", not_ready(seen, set));
    }
    // Owners that catch up because slots move or pods roll are no fault.
    let replicates = progressing.1 == "Replicating";
    if replicated.1 == "SlotsWait" || replicated.0 == Some(false) && replicates {
        return verdict(Some(true), &replicated.1, replicated.2.clone());
    }
    verdict(Some(false), "Healthy", "nothing is broken")
}
