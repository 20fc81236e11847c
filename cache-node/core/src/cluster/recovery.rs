//! A table for one member that is left, once nobody else will be there again.

use super::{Assignment, ClusterState, MemberId, Owners, Placement, SLOTS, Steering};
use std::collections::BTreeMap;

/// What one member has of the slots, by the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remains {
    /// Slots that it has in sync.
    pub kept: u32,
    /// Slots that it owns and has not in sync: it may lack what was written last.
    pub behind: u32,
    /// Slots that it does not own.
    pub gone: u32,
}

impl ClusterState {
    /// What a member has.
    pub fn remains(&self, member: MemberId) -> Remains {
        let mut remains = Remains::default();
        for slot in 0..SLOTS {
            match self.assignment.placement(slot) {
                Some(placement) if placement.is_in_sync(member) => remains.kept += 1,
                Some(placement) if placement.owns(member) => remains.behind += 1,
                _ => remains.gone += 1,
            }
        }
        remains
    }

    /// The table of a new cluster of one member of this one, with these stores: it owns every slot, at a
    /// newer epoch than any. Nothing is desired or steered any more. `None` if it is no member.
    pub fn of_one(&self, member: MemberId, cluster_id: u64) -> Option<Self> {
        let one = self.members.get(&member)?.clone();
        let epoch = self.epoch + 1;
        let placement = || Placement::new([member].into_iter().collect::<Owners>(), epoch);
        Some(Self {
            protocol: self.protocol,
            cluster_id: cluster_id.max(1),
            epoch,
            members: [(member, one)].into(),
            assignment: Assignment::from_placements(epoch, (0..SLOTS).map(|_| placement())),
            stores: self.stores.iter().map(|store| self.asked_for(store)).collect(),
            desired: None,
            steering: Steering::default(),
            coming: BTreeMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{cluster, member};
    use super::super::{Act, Change, Step};
    use super::*;

    #[test]
    fn one_member_is_left_with_every_slot_and_it_is_told_what_it_had() {
        let mut state = cluster(&[1, 2, 3]);
        let slots = state.assignment.runs_of(2);
        state.apply(&Change::Place(vec![Step::new(slots, Act::AddOwner(1))])).unwrap();
        let mine = state.assignment.counts()[&1];
        let behind = state.assignment.counts()[&2];
        let gone = state.assignment.counts()[&3];
        assert_eq!(state.remains(1), Remains { kept: mine, behind, gone });
        let alone = state.of_one(1, 9).unwrap();
        assert_eq!((alone.cluster_id, alone.members.len()), (9, 1));
        assert_eq!(alone.remains(1).kept, 16384);
        assert!(alone.assignment.epoch_of(0) > state.epoch);
        assert_eq!(alone.stores, state.stores);
        // Others come as new ones.
        let mut grown = alone;
        grown.apply(&Change::AddMember(member(7))).unwrap();
        assert_eq!(state.of_one(7, 9), None);
    }
}
