//! How many pods there should be. Growing is done at once; shrinking waits for the cluster's word
//! that the member is no longer one.

use hypercache_crds::HyperCacheCluster;

use crate::admin::Report;
use crate::facts::SetFacts;
use crate::names::Names;

/// How many pods there should be, and why not as many as the resource says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The pods that there should be now.
    pub replicas: i32,
    /// Why there are more than the resource says: a word and a sentence.
    pub held: Option<(String, String)>,
}

/// Decides.
pub fn decide(
    cluster: &HyperCacheCluster,
    names: &Names,
    set: Option<&SetFacts>,
    report: Option<&Report>,
) -> Members {
    let wanted = cluster.spec.members;
    let current = set.map_or(wanted, |set| set.replicas);
    if wanted >= current {
        return Members { replicas: wanted, held: None };
    }
    let hold = |replicas: i32, reason: &str, message: String| Members {
        replicas,
        held: Some((reason.to_owned(), message)),
    };
    let leaving = format!("{} to {}", names.member(wanted), names.member(current - 1));
    let Some(report) = report else {
        return hold(
            current,
            "ClusterUnreachable",
            format!("no member says whether {leaving} may go; their pods stay"),
        );
    };
    if !report.formed() {
        return Members { replicas: wanted, held: None };
    }
    if !report.quorum {
        return hold(
            current,
            "NoQuorum",
            format!("without a quorum no member leaves; the pods of {leaving} stay"),
        );
    }
    if report.desired_generation != cluster.metadata.generation {
        return hold(
            current,
            "Proposing",
            format!("the cluster has not yet been told that {leaving} should leave"),
        );
    }
    let last = report
        .members
        .iter()
        .filter_map(|member| names.ordinal(&member.name))
        .filter(|ordinal| (wanted..current).contains(ordinal))
        .max();
    let Some(last) = last else {
        return Members { replicas: wanted, held: None };
    };
    let blocked = report.problems.iter().find(|problem| {
        problem.kind == "MemberOwnsSlots"
            && names.ordinal(&problem.object).is_none_or(|ordinal| ordinal >= wanted)
    });
    // Versions before replication cannot move slots that hold data.
    let stuck = report.ring.reason.as_deref() == Some("SlotsHoldData");
    match blocked {
        Some(problem) => hold(
            last + 1,
            if stuck { "MemberOwnsSlots" } else { "Draining" },
            format!("spec.members is {wanted}, but {}: {}", problem.object, problem.message),
        ),
        None => hold(
            last + 1,
            "MembersLeaving",
            format!("{} is still a member of the cluster", names.member(last)),
        ),
    }
}
