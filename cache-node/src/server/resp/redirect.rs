//! Who connects to the cluster port is sent to the members of its keys, as a Redis Cluster does it.

use hypercache_core::cluster::{Liveness, Slot, View, slot_of};
use hypercache_core::command::{Known, Spec};

use super::session::Session;

/// Where a command of such a client belongs that is another member's: `MOVED slot host:port`. `None`: it is answered
/// here. So it is, by forwarding, where it has keys of several slots, and where nobody is there to whom the client could
/// go: it waits here for the next primary.
#[cold]
pub(super) fn moved(
    view: &View,
    session: &Session,
    spec: &Spec,
    args: &[&[u8]],
    known: Known<'_>,
) -> Option<String> {
    let slot = match known.hashed {
        [hashed] => hashed.slot,
        _ => one_slot(spec, args)?,
    };
    let owner = view.owner(slot).filter(|owner| *owner != view.me && view.quorum)?;
    // READONLY: by its own copy, or by asking the primary.
    let placement = view.state.assignment.placement(slot)?;
    if session.max_stale_ms.is_some() && !spec.may_write() && placement.owns(view.me) {
        return None;
    }
    let member = view.member(owner).filter(|_| view.liveness(owner) != Liveness::Down)?;
    Some(format!("MOVED {slot} {}:{}", member.host, view.port(member, true)))
}

/// The slot of all of a command's keys.
fn one_slot(spec: &Spec, args: &[&[u8]]) -> Option<Slot> {
    let keys = spec.keys(args);
    let (first, rest) = keys.split_first()?;
    let slot = slot_of(first);
    rest.iter().all(|key| slot_of(key) == slot).then_some(slot)
}
