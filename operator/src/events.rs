//! What people read in `kubectl describe` and `kubectl get events`: a pure function from the status before and
//! after a pass, and from what was done in it. A status that did not change tells nothing.

use hypercache_crds::{HyperCacheClusterStatus, Operation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

use crate::plan::Step;

/// The longest note that the API server takes is 1 kB.
const MAX_NOTE: usize = 1000;

/// Conditions that are told when they turn, and the state that is good.
const TOLD: [(&str, &str); 6] = [
    ("Ready", "True"),
    ("Degraded", "False"),
    ("QuorumAvailable", "True"),
    ("SpecValid", "True"),
    ("ResourcesApplied", "True"),
    ("StoresApplied", "True"),
];

/// What a pass has to tell, in order.
pub fn events<'a>(
    before: &HyperCacheClusterStatus,
    after: &HyperCacheClusterStatus,
    done: impl IntoIterator<Item = &'a Step>,
) -> Vec<Event> {
    let mut events: Vec<Event> = done.into_iter().filter_map(step).collect();
    events.extend(operation(before.operation.as_ref(), after));
    for (type_, good) in TOLD {
        let Some(now) = find(after, type_) else { continue };
        let was = find(before, type_);
        let event = match (was.map(|was| was.status.as_str()), now.status.as_str()) {
            (Some(was), now) if was == now => None,
            // A new cluster has yet to become what it should be.
            (None, status) if status == good => (type_ == "Ready").then(|| normal(now)),
            (Some(_), status) if status == good => Some(normal(now)),
            (_, "Unknown") => None,
            // That is told as an operation.
            _ if is_planned(type_, after.operation.as_ref()) => None,
            _ => Some(event(EventType::Warning, &now.reason, type_, &now.message)),
        };
        let is_told = |event: &Event| {
            let same = |other: &Event| other.reason == event.reason && other.note == event.note;
            events.iter().any(same)
        };
        events.extend(event.filter(|event| !is_told(event)));
    }
    events
}

/// While something is done to a cluster on purpose, it need not be ready, and stores and members are on their way.
fn is_planned(type_: &str, operation: Option<&Operation>) -> bool {
    let creates = operation.is_some_and(|operation| operation.kind == "Create");
    match type_ {
        "Ready" | "StoresApplied" => operation.is_some(),
        "QuorumAvailable" => creates,
        _ => false,
    }
}

fn find<'s>(status: &'s HyperCacheClusterStatus, type_: &str) -> Option<&'s Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn operation(before: Option<&Operation>, after: &HyperCacheClusterStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let now = after.operation.as_ref();
    if let Some(was) = before.filter(|was| now.is_none_or(|now| now.kind != was.kind)) {
        let is_ready = find(after, "Ready").is_some_and(|ready| ready.status == "True");
        // What was given up, because the resource is not valid any more, say, is told by its condition.
        if is_ready || now.is_some() {
            let reason = format!("{}Finished", was.kind);
            events.push(event(EventType::Normal, &reason, &was.kind, "done"));
        }
    }
    if let Some(now) = now {
        let is_new = before.is_none_or(|was| was.kind != now.kind);
        if is_new {
            let reason = format!("{}Started", now.kind);
            events.push(event(EventType::Normal, &reason, &now.kind, &now.message));
        } else if before.is_some_and(|was| was.step != now.step) {
            events.push(event(EventType::Normal, &now.step, &now.kind, &now.message));
        }
    }
    events
}

fn step(step: &Step) -> Option<Event> {
    let (reason, action, note) = match step {
        Step::DeletePod { name, .. } => (
            "PodReplaced",
            "Roll",
            format!("{name} is deleted, so that it is made as the newest revision says"),
        ),
        Step::GrowClaim { name, size } => {
            ("VolumeGrows", "Resize", format!("{name} is to have {size}"))
        }
        Step::Apply(_) => return None,
    };
    Some(event(EventType::Normal, reason, action, &note))
}

/// A condition that has become as it should be.
fn normal(now: &Condition) -> Event {
    let reason = match now.type_.as_str() {
        "Degraded" => "Recovered",
        other => other,
    };
    event(EventType::Normal, reason, &now.type_, &now.message)
}

fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    let end = (0..=MAX_NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note[..end.unwrap_or(0)].to_owned()),
        action: action.to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn status(
        operation: Option<(&str, &str)>,
        conditions: &[(&str, &str, &str)],
    ) -> HyperCacheClusterStatus {
        let conditions = conditions.iter().map(|(type_, status, reason)| Condition {
            type_: (*type_).into(),
            status: (*status).into(),
            reason: (*reason).into(),
            message: format!("about {type_}"),
            observed_generation: None,
            last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        });
        HyperCacheClusterStatus {
            operation: operation.map(|(kind, step)| Operation {
                kind: kind.into(),
                step: step.into(),
                message: "2 of 3".into(),
                ..Operation::default()
            }),
            conditions: conditions.collect(),
            ..HyperCacheClusterStatus::default()
        }
    }

    fn told(before: &HyperCacheClusterStatus, after: &HyperCacheClusterStatus) -> Vec<String> {
        let events = events(before, after, []);
        let type_ = |event: &Event| match event.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        events.iter().map(|e| format!("{} {} {}", type_(e), e.action, e.reason)).collect()
    }

    #[test]
    fn a_new_cluster_tells_that_it_is_made_and_when_it_is_ready() {
        let new = HyperCacheClusterStatus::default();
        let forming = [("Ready", "False", "Creating"), ("QuorumAvailable", "False", "Forming")];
        let made = status(Some(("Create", "Forming")), &forming);
        assert_eq!(told(&new, &made), ["Normal Create CreateStarted"]);
        let ready = [("Ready", "True", "Serving"), ("QuorumAvailable", "True", "Quorum")];
        let ready = status(None, &ready);
        assert_eq!(
            told(&made, &ready),
            [
                "Normal Create CreateFinished",
                "Normal Ready Ready",
                "Normal QuorumAvailable QuorumAvailable"
            ]
        );
        assert_eq!(told(&ready, &ready), [""; 0]);
    }

    #[test]
    fn steps_of_an_operation_are_told_and_that_it_makes_the_cluster_not_ready_is_not() {
        let ready = status(None, &[("Ready", "True", "Serving")]);
        let rolls = status(Some(("Roll", "Replacing")), &[("Ready", "False", "Rolling")]);
        assert_eq!(told(&ready, &rolls), ["Normal Roll RollStarted"]);
        let waits = status(Some(("Roll", "PodNotReady")), &[("Ready", "False", "Rolling")]);
        assert_eq!(told(&rolls, &waits), ["Normal Roll PodNotReady"]);
        let moves = status(Some(("Rebalance", "MovingSlots")), &[("Ready", "True", "Serving")]);
        assert_eq!(
            told(&waits, &moves),
            ["Normal Roll RollFinished", "Normal Rebalance RebalanceStarted", "Normal Ready Ready"]
        );
    }

    #[test]
    fn what_breaks_is_a_warning_once_and_its_end_is_told() {
        let good = [("Ready", "True", "Serving"), ("Degraded", "False", "Healthy")];
        let good = status(None, &good);
        // Both say the same.
        let mut bad = status(
            None,
            &[("Ready", "False", "MembersNotReady"), ("Degraded", "True", "MembersNotReady")],
        );
        bad.conditions[1].message = bad.conditions[0].message.clone();
        assert_eq!(told(&good, &bad), ["Warning Ready MembersNotReady"]);
        assert_eq!(told(&bad, &bad), [""; 0]);
        assert_eq!(told(&bad, &good), ["Normal Ready Ready", "Normal Degraded Recovered"]);
    }

    #[test]
    fn an_operation_that_is_given_up_is_not_told_as_finished() {
        let grows = status(Some(("ScaleOut", "Joining")), &[("SpecValid", "True", "Valid")]);
        let refused = status(None, &[("SpecValid", "False", "TooFewMembers")]);
        assert_eq!(told(&grows, &refused), ["Warning SpecValid TooFewMembers"]);
    }

    #[test]
    fn a_pod_that_is_replaced_is_named_and_a_note_fits() {
        let step = Step::DeletePod { name: "demo-2".into(), uid: "u".into() };
        let same = status(None, &[]);
        let events = events(&same, &same, [&step]);
        assert_eq!(events.len(), 1);
        assert!(events[0].note.as_ref().unwrap().starts_with("demo-2 is deleted"));
        let long = event(EventType::Normal, "R", "A", &"ä".repeat(2000));
        assert_eq!(long.note.unwrap().len(), 1000);
    }
}
