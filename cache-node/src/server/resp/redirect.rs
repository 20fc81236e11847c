//! Who connects to the cluster port is sent to the members of its keys, as a Redis Cluster does it.

use hypercache_core::cluster::{Liveness, View, slot_of};
use hypercache_core::command::{Known, Spec};

use super::session::Session;
use crate::router::Heard;
use crate::router::place::{Place, place_one, place_whole};

/// Where a command of such a client belongs that is another member's: `MOVED slot host:port`. `None`: it is answered
/// here. So it is, by forwarding, where it has keys of several slots; where nobody is there to whom the client could go,
/// as it waits here for the next primary; and where that is not known to know the slot as its own yet, as it would send
/// the client back (clients follow few redirections, at once).
pub(super) fn moved(
    view: &View,
    heard: &Heard,
    session: &Session,
    spec: &Spec,
    args: &[&[u8]],
    known: Known<'_>,
) -> Option<String> {
    if !view.quorum {
        return None;
    }
    let (slot, place) = match known.hashed {
        [hashed] => (hashed.slot, place_one(view, hashed.slot)),
        _ => {
            let keys = spec.keys(args);
            let slot = slot_of(keys.first()?);
            (slot, place_whole(view, keys.iter().map(|key| slot_of(key))))
        }
    };
    let Place::There(owner) = place else { return None };
    if !heard.knows(view, owner, slot) {
        return None;
    }
    // READONLY: by its own copy, or by asking the primary.
    let placement = view.state.assignment.placement(slot)?;
    if session.max_stale_ms.is_some() && !spec.may_write() && placement.owns(view.me) {
        return None;
    }
    let member = view.member(owner).filter(|_| view.liveness(owner) != Liveness::Down)?;
    Some(format!("MOVED {slot} {}:{}", member.host, view.port(member, true)))
}
