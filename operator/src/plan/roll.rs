//! Which pod gives way to one of the newest revision, and when.
//!
//! One at a time, and the next one only when the cluster has again all that it should have: every
//! owner of every slot in sync. A pod that is told to stop hands its slots over itself, to owners
//! that are in sync, so that a roll costs no acknowledged write and nobody waits for it.

use crate::admin::Report;
use crate::facts::{Facts, PodFacts};

/// What is next in a roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roll<'a> {
    /// Every pod that stays is of the newest revision.
    Done,
    /// These pods may go now.
    Replace(Vec<&'a PodFacts>),
    /// None may go: a word and a sentence.
    Wait(&'static str, String),
}

/// Decides. Pods from `wanted` on are about to leave, and are not replaced.
///
/// `formed` says that the cluster has been seen to exist, in this pass or earlier.
pub fn next<'a>(facts: &'a Facts, report: Option<&Report>, formed: bool, wanted: i32) -> Roll<'a> {
    let outdated = outdated(facts, wanted);
    if outdated.is_empty() {
        return Roll::Done;
    }
    if !formed {
        // They wait for each other, and hold nothing yet.
        let running = outdated.into_iter().filter(|pod| !pod.terminating).collect();
        return Roll::Replace(running);
    }
    if let Some(pod) = facts.pods.iter().find(|pod| pod.terminating && pod.ordinal < wanted) {
        return Roll::Wait("PodStopping", format!("{} is stopping", pod.name));
    }
    // What can never get ready serves nobody, and may be what the new revision mends.
    if let Some(pod) = outdated.iter().find(|pod| pod.stuck.is_some() && !pod.ready) {
        return Roll::Replace(vec![pod]);
    }
    let Some(report) = report.filter(|report| report.formed()) else {
        return Roll::Wait("ClusterUnreachable", "no member says how the cluster is".to_owned());
    };
    if !report.quorum {
        return Roll::Wait("NoQuorum", "no majority of the voters answers".to_owned());
    }
    let is_away = |pod: &PodFacts| {
        !pod.ready && report.member(&pod.name).is_none_or(|member| member.state == "down")
    };
    if let Some(pod) = outdated.iter().find(|pod| is_away(pod)) {
        return Roll::Replace(vec![pod]);
    }
    if let Some((reason, message)) = unsettled(facts, report, wanted) {
        return Roll::Wait(reason, message);
    }
    // The leader last, so that it changes once.
    let leads = |pod: &PodFacts| report.leader.as_deref() == Some(pod.name.as_str());
    let last = outdated.into_iter().max_by_key(|pod| (!leads(pod), pod.ordinal));
    Roll::Replace(last.into_iter().collect())
}

/// Pods that stay and are not of the newest revision.
pub fn outdated(facts: &Facts, wanted: i32) -> Vec<&PodFacts> {
    let Some(set) = facts.set.as_ref().filter(|set| set.observed) else { return Vec::new() };
    let is_old = |pod: &&PodFacts| !pod.revision.is_empty() && pod.revision != set.update_revision;
    let pods = facts.pods.iter().filter(|pod| pod.ordinal < wanted);
    pods.filter(is_old).filter(|_| !set.update_revision.is_empty()).collect()
}

/// Why another member cannot be missed now.
fn unsettled(facts: &Facts, report: &Report, wanted: i32) -> Option<(&'static str, String)> {
    for ordinal in 0..wanted {
        match facts.pods.iter().find(|pod| pod.ordinal == ordinal) {
            None => return Some(("PodMissing", format!("the pod of member {ordinal} is missing"))),
            Some(pod) if !pod.ready => {
                return Some(("PodNotReady", format!("{} is not ready", pod.name)));
            }
            Some(pod) if report.member(&pod.name).is_none() => {
                let message = format!("{} is not yet a member of the cluster", pod.name);
                return Some(("MembersJoining", message));
            }
            Some(_) => {}
        }
    }
    if let Some(member) = report.members.iter().find(|member| member.state != "alive") {
        return Some(("MemberNotAlive", format!("{} is {}", member.name, member.state)));
    }
    // Versions that do not say so do not replicate.
    if report.fully_replicated == Some(false) {
        let message = "not all owners of slots are in sync yet".to_owned();
        return Some(("NotFullyReplicated", message));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::MemberReport;
    use crate::facts::SetFacts;

    fn pod(ordinal: i32, revision: &str) -> PodFacts {
        PodFacts {
            name: format!("demo-{ordinal}"),
            ordinal,
            uid: format!("pod-{ordinal}"),
            address: None,
            running: true,
            ready: true,
            terminating: false,
            revision: revision.into(),
            stuck: None,
        }
    }

    fn facts(revisions: [&str; 3]) -> Facts {
        let pods = revisions.iter().zip(0..).map(|(revision, ordinal)| pod(ordinal, revision));
        Facts {
            set: Some(SetFacts {
                replicas: 3,
                update_revision: "new".into(),
                observed: true,
                ..SetFacts::default()
            }),
            pods: pods.collect(),
            ..Facts::default()
        }
    }

    fn report() -> Report {
        let member = |ordinal| MemberReport {
            name: format!("demo-{ordinal}"),
            state: "alive".into(),
            ..MemberReport::default()
        };
        Report {
            cluster_id: Some("c1".into()),
            quorum: true,
            leader: Some("demo-2".into()),
            members: (0..3).map(member).collect(),
            fully_replicated: Some(true),
            ..Report::default()
        }
    }

    fn names(roll: Roll<'_>) -> Vec<String> {
        match roll {
            Roll::Replace(pods) => pods.iter().map(|pod| pod.name.clone()).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn waits(roll: Roll<'_>) -> &'static str {
        match roll {
            Roll::Wait(reason, _) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pods_go_one_by_one_from_the_last_on_and_the_leader_goes_last() {
        let order = [
            (["old", "old", "old"], vec!["demo-1"]),
            (["old", "new", "old"], vec!["demo-0"]),
            (["new", "new", "old"], vec!["demo-2"]),
        ];
        for (revisions, expected) in order {
            let facts = facts(revisions);
            assert_eq!(names(next(&facts, Some(&report()), true, 3)), expected);
        }
        let all = facts(["new", "new", "new"]);
        assert_eq!(next(&all, Some(&report()), true, 3), Roll::Done);
    }

    #[test]
    fn nobody_goes_before_all_owners_are_in_sync_and_all_members_are_there() {
        let facts = facts(["old", "old", "new"]);
        let wait = |facts: &Facts, report: &Report| waits(next(facts, Some(report), true, 3));
        let mut behind = report();
        behind.fully_replicated = Some(false);
        assert_eq!(wait(&facts, &behind), "NotFullyReplicated");
        let mut dead = report();
        dead.members[1].state = "suspect".into();
        assert_eq!(wait(&facts, &dead), "MemberNotAlive");
        let mut split = report();
        split.quorum = false;
        assert_eq!(wait(&facts, &split), "NoQuorum");
        let mut joining = report();
        joining.members.pop();
        assert_eq!(wait(&facts, &joining), "MembersJoining");
        assert_eq!(waits(next(&facts, None, true, 3)), "ClusterUnreachable");
        let mut loading = facts.clone();
        loading.pods[2].ready = false;
        assert_eq!(wait(&loading, &report()), "PodNotReady");
        let mut stopping = facts.clone();
        stopping.pods[2].terminating = true;
        assert_eq!(wait(&stopping, &report()), "PodStopping");
        let mut missing = facts;
        missing.pods.remove(2);
        assert_eq!(wait(&missing, &report()), "PodMissing");
    }

    #[test]
    fn a_pod_that_serves_nobody_goes_first_and_at_once() {
        let mut facts = facts(["old", "old", "new"]);
        facts.pods[0].ready = false;
        facts.pods[0].stuck = Some(("ImagePullBackOff".into(), String::new()));
        assert_eq!(names(next(&facts, None, true, 3)), ["demo-0"], "whatever the cluster says");
        facts.pods[0].stuck = None;
        assert_eq!(waits(next(&facts, Some(&report()), true, 3)), "PodNotReady");
        let mut down = report();
        down.members[0].state = "down".into();
        assert_eq!(names(next(&facts, Some(&down), true, 3)), ["demo-0"]);
    }

    #[test]
    fn members_that_never_formed_a_cluster_are_replaced_together() {
        let mut facts = facts(["old", "old", "new"]);
        facts.pods[1].terminating = true;
        assert_eq!(names(next(&facts, None, false, 3)), ["demo-0"], "the other one goes already");
    }

    #[test]
    fn a_changed_mind_is_followed_and_who_leaves_is_not_replaced() {
        // Two are of the revision in between, which is no longer wanted.
        let between = facts(["old", "between", "between"]);
        assert_eq!(names(next(&between, Some(&report()), true, 3)), ["demo-1"]);
        let leaving = facts(["new", "new", "old"]);
        assert_eq!(next(&leaving, Some(&report()), true, 2), Roll::Done);
        // Nothing is known of a template that its controller has not seen.
        let mut unseen = facts(["old", "old", "old"]);
        unseen.set.as_mut().unwrap().observed = false;
        assert_eq!(next(&unseen, Some(&report()), true, 3), Roll::Done);
    }
}
