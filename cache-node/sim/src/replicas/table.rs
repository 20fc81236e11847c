//! The cluster's table, as Raft would hold it: one after the other, its versions.

use super::{OWNERS, SLOTS};
use hypercache_core::cluster::{
    Act, Assignment, Change, ClusterState, Member, MemberId, Owners, Placement, Protocol,
    SLOTS as ALL_SLOTS, Step,
};
use hypercache_core::store::StorePolicy;
use std::collections::BTreeMap;

/// The member of the slots that are not used, which does nothing.
const ELSEWHERE: MemberId = 99;

/// What a member sees of a version.
#[derive(Debug, Clone)]
pub struct Version {
    /// Where each of the used slots is.
    pub placements: Vec<Placement>,
    /// Each member's process.
    pub incarnations: BTreeMap<MemberId, u64>,
    /// The stores.
    pub stores: Vec<StorePolicy>,
    /// What all members speak.
    pub protocol: Protocol,
    /// Of each of the used slots, who is to leave the in-sync set, or may not come to it, for factors that are on their way.
    pub kept_out: Vec<Owners>,
}

/// See the module.
pub struct Table {
    state: ClusterState,
    pub versions: Vec<Version>,
}

impl Table {
    /// The first one, of these members, which speak that: the number of each is that of its process.
    pub fn new(ids: &[MemberId], stores: Vec<StorePolicy>, protocol: Protocol) -> Self {
        let member = |id: &MemberId| Member {
            id: *id,
            name: format!("m{id}"),
            host: "sim".into(),
            resp_port: 1,
            http_port: 2,
            gossip_port: 3,
            zone: None,
            weight: 1,
            incarnation: *id,
        };
        let place = |slot: u16| {
            // Each of the used ones begins at another member.
            let index = SLOTS.iter().position(|(used, _)| *used == slot);
            let Some(index) = index else {
                return Placement::new([ELSEWHERE].into_iter().collect(), 1);
            };
            let first = ids.iter().cycle().skip(index % ids.len());
            Placement::new(first.take(OWNERS).copied().collect(), 1)
        };
        let mut table = Self { state: ClusterState::default(), versions: Vec::new() };
        table.commit(&Change::Init {
            cluster_id: 1,
            members: ids.iter().chain([&ELSEWHERE]).map(member).collect(),
            assignment: Assignment::from_placements(1, (0..ALL_SLOTS).map(place)),
            stores,
        });
        let _ = table.state.apply(&Change::RaiseProtocol(protocol));
        if let Some(first) = table.versions.first_mut() {
            first.protocol = protocol;
        }
        table
    }

    /// It as a whole.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// The latest version.
    pub fn latest(&self) -> &Version {
        // There is the first one at least.
        &self.versions[self.versions.len() - 1]
    }

    /// Applies a change. What it says of slots that are not used does not count.
    pub fn commit(&mut self, change: &Change) {
        if self.state.apply(change).is_err() {
            return;
        }
        let placement = |(slot, _): &(u16, _)| {
            self.state.assignment.placement(*slot).cloned().unwrap_or_default()
        };
        let placements: Vec<Placement> = SLOTS.iter().map(placement).collect();
        let incarnations = self.state.members.values().map(|m| (m.id, m.incarnation)).collect();
        let stores = self.state.stores.clone();
        let protocol = self.state.protocol();
        let next = self.state.next_factors();
        let kept_out = |placement: &Placement| {
            let is_kept =
                |id: &MemberId| next.as_ref().is_some_and(|next| next.keeps_out(placement, *id));
            placement.owners.iter().copied().filter(is_kept).collect()
        };
        let kept_out = placements.iter().map(kept_out).collect();
        self.versions.push(Version { placements, incarnations, stores, protocol, kept_out });
    }
}

/// A step for one of the used slots.
pub fn step(index: usize, act: Act) -> Change {
    let (slot, _) = SLOTS[index];
    Change::Place(vec![Step::new(vec![(slot, slot)], act)])
}
