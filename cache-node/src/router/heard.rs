//! What other members are known to know of the table: a client that is sent to the new primary of a slot must not be sent
//! back by it, because its table is not as far yet.

use std::collections::BTreeMap;

use hypercache_core::cluster::{MemberId, Slot, View};
use parking_lot::RwLock;

/// The newest slot's epoch at which each process of a member has answered for a slot. As epochs are the table's, it knows
/// of all changes before.
#[derive(Debug, Default)]
pub struct Heard(RwLock<BTreeMap<MemberId, At>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    /// The process: one that starts anew may be behind again for a while.
    incarnation: u64,
    epoch: u64,
}

impl Heard {
    /// A member has answered for a slot that is its own in this view. Noted, and the slot asked for, only where clients are
    /// sent to members.
    #[inline]
    pub fn note(&self, view: &View, member: MemberId, slot: impl FnOnce() -> Option<Slot>) {
        if !view.cluster_ports.is_empty()
            && let Some(slot) = slot()
        {
            self.note_at(view, member, slot);
        }
    }

    fn note_at(&self, view: &View, member: MemberId, slot: Slot) {
        let Some(at) = at(view, member, slot) else { return };
        let is_newer = |known: Option<&At>| {
            known.is_none_or(|known| known.incarnation != at.incarnation || known.epoch < at.epoch)
        };
        if is_newer(self.0.read().get(&member)) {
            let mut known = self.0.write();
            known.retain(|id, _| view.member(*id).is_some());
            if is_newer(known.get(&member)) {
                known.insert(member, at);
            }
        }
    }

    /// Whether the primary of a slot knows that it is that.
    pub fn knows(&self, view: &View, member: MemberId, slot: Slot) -> bool {
        at(view, member, slot).is_some_and(|at| {
            self.0
                .read()
                .get(&member)
                .is_some_and(|known| known.incarnation == at.incarnation && known.epoch >= at.epoch)
        })
    }
}

/// A slot's epoch, and the process of its primary.
fn at(view: &View, member: MemberId, slot: Slot) -> Option<At> {
    let placement = view.state.assignment.placement(slot)?;
    let incarnation = view.member(member)?.incarnation;
    (placement.primary() == Some(member)).then_some(At { incarnation, epoch: placement.epoch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::{Assignment, ClusterState, Member, Owners, Placement};
    use std::sync::Arc;

    /// Slots below 100 are member 2's since epoch 5, the others since epoch 9.
    fn view(incarnation: u64) -> View {
        let member = Member {
            id: 2,
            name: "m-2".into(),
            host: "m-2".into(),
            resp_port: 8080,
            http_port: 9080,
            gossip_port: 7946,
            zone: None,
            weight: 1,
            incarnation,
        };
        let owners: Owners = [2].into_iter().collect();
        let epoch = |slot| if slot < 100 { 5 } else { 9 };
        let placements = (0..16384).map(|slot| Placement::new(owners.clone(), epoch(slot)));
        let assignment = Assignment::from_placements(9, placements);
        let members = [(2, member)].into();
        View {
            me: 1,
            state: Arc::new(ClusterState { members, assignment, ..ClusterState::default() }),
            cluster_ports: [(1, 8081)].into(),
            ..View::default()
        }
    }

    #[test]
    fn who_answered_for_a_slot_knows_of_that_one_and_of_all_changes_before() {
        let (view, heard) = (view(1), Heard::default());
        assert!(!heard.knows(&view, 2, 1), "nothing was heard");
        heard.note(&view, 2, || Some(1));
        assert!(heard.knows(&view, 2, 99) && !heard.knows(&view, 2, 100));
        heard.note(&view, 2, || Some(100));
        heard.note(&view, 2, || Some(1));
        assert!(heard.knows(&view, 2, 1) && heard.knows(&view, 2, 100));
    }

    #[test]
    fn of_a_process_that_starts_anew_nothing_is_known() {
        let heard = Heard::default();
        heard.note(&view(1), 2, || Some(100));
        assert!(!heard.knows(&view(2), 2, 1));
        heard.note(&view(2), 2, || Some(1));
        assert!(heard.knows(&view(2), 2, 1) && !heard.knows(&view(2), 2, 100));
    }

    #[test]
    fn nothing_is_noted_where_no_client_is_sent_anywhere() {
        let heard = Heard::default();
        heard.note(&View { cluster_ports: [].into(), ..view(1) }, 2, || Some(1));
        assert!(!heard.knows(&view(1), 2, 1));
    }
}
