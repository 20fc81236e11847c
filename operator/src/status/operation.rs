//! What the cluster is in the middle of, and how far it is.

use hypercache_crds::{HyperCacheCluster, Operation};

use super::{Seen, clip};
use crate::admin::Report;
use crate::facts::SetFacts;
use crate::plan::roll;

/// Slots of a cluster.
const SLOTS: u32 = 16_384;

/// The operation that is under way, if one is. `before` is what it was at the last look: it says
/// what a step had to do when it began, and whose last part it is when slots move.
pub fn operation(
    cluster: &HyperCacheCluster,
    seen: Seen<'_>,
    set: &SetFacts,
    formed: bool,
    before: Option<&Operation>,
) -> Option<Operation> {
    if !seen.plan.invalid.is_empty() {
        return None;
    }
    let say = Say { before };
    let wanted = cluster.spec.members;
    let was = |kind: &str| before.is_some_and(|before| before.kind == kind);
    if seen.facts.set.is_none() || !formed {
        let message = format!("{} of {wanted} pods are ready", set.ready);
        return Some(say.step("Create", "Forming", count(wanted - set.ready), message));
    }
    if let Some((reason, message)) = &seen.plan.members.held {
        let left = match reason.as_str() {
            "Draining" => seen.report.map(leaving_slots),
            _ => None,
        };
        return Some(say.step("ScaleIn", reason, left, message.clone()));
    }
    if set.existing > wanted {
        let message = format!("{} pods exist, {wanted} should", set.existing);
        return Some(say.step("ScaleIn", "Deleting", count(set.existing - wanted), message));
    }
    let report = seen.report.filter(|report| report.formed());
    let missing = report.map_or(0, |report| {
        seen.plan.desired.members.iter().filter(|name| report.member(name).is_none()).count()
    });
    if missing > 0 {
        let message = format!("{missing} of {wanted} members are not yet of the cluster");
        return Some(say.step("ScaleOut", "Joining", count(missing), message));
    }
    let old = roll::outdated(seen.facts, wanted).len();
    let behind = report.is_some_and(|report| report.fully_replicated == Some(false));
    if old > 0 || was("Roll") && (set.ready < wanted || behind) {
        let updated = usize::try_from(wanted).unwrap_or(0).saturating_sub(old);
        let mut message = format!("{updated} of {wanted} pods are of the newest revision");
        let step = match &seen.plan.roll_waits {
            Some((reason, why)) => {
                message = format!("{message}; the next one waits: {why}");
                *reason
            }
            None if old > 0 => "Replacing",
            None if set.ready < wanted => "PodNotReady",
            None => "NotFullyReplicated",
        };
        return Some(Operation {
            progress: percent(old, usize::try_from(wanted).unwrap_or(0)),
            ..say.step("Roll", step, None, message)
        });
    }
    let report = report?;
    if report.ring.reason.as_deref() == Some("Moving") && !report.ring.balanced {
        let kind = if was("ScaleOut") { "ScaleOut" } else { "Rebalance" };
        let left = slots_to_move(report, &seen.plan.desired.members);
        let message = report.ring.message.clone().unwrap_or_default();
        return Some(say.step(kind, "MovingSlots", Some(left), message));
    }
    if behind {
        let message = "not all owners of slots are in sync yet".to_owned();
        return Some(say.step("Replicate", "CatchingUp", None, message));
    }
    None
}

fn count(number: impl TryInto<u32>) -> Option<u32> {
    number.try_into().ok()
}

fn percent(left: usize, total: usize) -> Option<i32> {
    let done = total.saturating_sub(left) * 100;
    done.checked_div(total).and_then(|percent| i32::try_from(percent).ok())
}

struct Say<'a> {
    before: Option<&'a Operation>,
}

impl Say<'_> {
    /// A step of which so much is left; how much it was when it began is remembered.
    fn step(&self, kind: &str, step: &str, left: Option<u32>, message: String) -> Operation {
        let left = left.map(|left| i32::try_from(left).unwrap_or(i32::MAX));
        let began = self.before.filter(|before| before.kind == kind && before.step == step);
        let total = left.map_or(0, |left| began.map_or(left, |before| before.total.max(left)));
        let of = |number: i32| usize::try_from(number).unwrap_or(0);
        Operation {
            kind: kind.to_owned(),
            step: step.to_owned(),
            progress: left.and_then(|left| percent(of(left), of(total))),
            message: clip(message),
            total,
        }
    }
}

/// Slots whose primary is a member that leaves.
fn leaving_slots(report: &Report) -> u32 {
    let leaves = |name: &str| {
        report.problems.iter().any(|p| p.kind == "MemberOwnsSlots" && p.object == name)
    };
    report.members.iter().filter(|member| leaves(&member.name)).map(|member| member.slots).sum()
}

/// Slots that members who stay lack to their even share.
fn slots_to_move(report: &Report, staying: &[String]) -> u32 {
    let members = || report.members.iter().filter(|member| staying.contains(&member.name));
    let share = SLOTS / u32::try_from(members().count()).unwrap_or(1).max(1);
    members().map(|member| share.saturating_sub(member.slots)).sum()
}
