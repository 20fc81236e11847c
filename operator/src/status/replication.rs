//! Conditions of what members hold and run.

use hypercache_crds::HyperCacheCluster;

use super::Seen;
use super::conditions::{Verdict, verdict};
use crate::facts::SetFacts;
use crate::plan::roll;

/// Whether every slot has all its owners, and all of them are in sync.
pub(super) fn fully_replicated(seen: Seen<'_>) -> Verdict {
    let Some(report) = seen.report.filter(|report| report.formed()) else {
        return verdict(None, "ClusterUnreachable", "no member says how slots are replicated");
    };
    let waiting: Vec<String> = report
        .problems
        .iter()
        .filter(|problem| problem.kind == "SlotsWait")
        .map(|problem| format!("{}: {}", problem.object, problem.message))
        .collect();
    if !waiting.is_empty() {
        return verdict(Some(false), "SlotsWait", waiting.join("; "));
    }
    match report.fully_replicated {
        Some(true) => verdict(Some(true), "InSync", "every slot has all its owners, in sync"),
        Some(false) => verdict(
            Some(false),
            "CatchingUp",
            "some slots have fewer owners than their stores ask for, or some that are not in sync",
        ),
        None => verdict(None, "NotSaid", "the members' version does not say"),
    }
}

/// Whether every pod is of the newest revision.
pub(super) fn up_to_date(cluster: &HyperCacheCluster, seen: Seen<'_>, set: &SetFacts) -> Verdict {
    if !seen.plan.invalid.is_empty() {
        return verdict(Some(false), "InvalidSpec", "waits for the resource to be corrected");
    }
    if seen.facts.set.is_none() {
        return verdict(Some(false), "Creating", "the StatefulSet does not exist yet");
    }
    if !set.observed {
        let message = "the StatefulSet is about to follow a change";
        return verdict(Some(false), "Applying", message);
    }
    let old: Vec<&str> = roll::outdated(seen.facts, cluster.spec.members)
        .into_iter()
        .map(|pod| pod.name.as_str())
        .collect();
    if old.is_empty() {
        return verdict(Some(true), "UpToDate", "every pod is of the newest revision");
    }
    let message = format!("not of the newest revision: {}", old.join(", "));
    match &seen.plan.roll_waits {
        Some((_, why)) => {
            verdict(Some(false), "Waiting", format!("{message}; the next one waits: {why}"))
        }
        None => verdict(Some(false), "Rolling", message),
    }
}
