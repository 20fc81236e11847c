//! From the table to the keyspace: what this member is for each slot, and what stores it has.
//!
//! A slot is served by the member that the table names as its primary, once the table knows this process of
//! it. Before a primary gives a slot away it is *fenced*: not served any more, from then on until its epoch is
//! another one. So a hand-over that comes late (refused once the epoch is another one) and a member that
//! serves again cannot meet.
//!
//! While a change of who is in sync is proposed and its end is not known, it is *open*: the owner counts
//! against whoever would be wrong about it.

use crate::replica::Bells;
use hypercache_core::{
    cluster::{Act, ClusterState, MemberId, Placement, SLOTS, Slot, Step, not_lowered, slot_runs},
    keyspace::{FilterStats, Keyspace, StoreStats, Verdict},
    replica::{Link, Quiet, Role, Route, Synced},
    store::{StoreNumber, StorePolicy},
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    task::Waker,
};

/// What the cluster wants of the keyspace.
pub trait Slots: Send + Sync + 'static {
    /// From now on the slot is served, or not.
    fn set_serving(&self, slot: Slot, serving: bool);
    /// Stops serving the slot if no live key is in it; whether it did.
    fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool;
    /// Forgets what is in the slot.
    fn clear_slot(&self, slot: Slot);
    /// From now on these are the stores.
    fn set_stores(&self, policies: &[StorePolicy]);
    /// How many keys are in these slots, over all stores.
    fn keys_in_slots(&self, slots: &[Slot]) -> u64;
    /// How many keys each store has in these slots.
    fn held_in_slots(&self, slots: &[Slot]) -> BTreeMap<StoreNumber, u64>;
    /// What the stores hold.
    fn stats(&self) -> Vec<StoreStats>;
    /// What a store's filter is and did; `None` if there is no such store.
    fn filter_stats(&self, store: StoreNumber) -> Option<FilterStats>;
    /// What a store's filter says of a key; `None` if there is no such store.
    fn filter_check(&self, store: StoreNumber, key: &[u8]) -> Option<Verdict>;
    /// The link to another member, made if there is none, with who is woken to send; `None`: there are none.
    fn link(&self, member: MemberId, sender: &dyn Fn() -> Waker) -> Option<Arc<Link>>;
    /// This is what the member is for the slot now, and where its records go; see [`Keyspace::place`].
    fn place(&self, slot: Slot, role: Role, route: &[Route], handed_over: bool) -> bool;
    /// It follows another, and is to have the stores of at least a replication factor; see [`Keyspace::narrow`].
    fn narrow(&self, slot: Slot, least_factor: u8);
    /// This is what is known of an owner; see [`Keyspace::set_synced`].
    fn set_synced(&self, slot: Slot, link: &Link, synced: Synced) -> bool;
    /// Whether what the disk has of the slot was read.
    fn is_read(&self, slot: Slot) -> bool;
    /// These slots have a primary that may lack what one before it had answered for.
    fn lose(&self, slots: &[Slot]);
    /// The sessions of all links are over: every owner of every slot is asked anew how far it is.
    fn end_sessions(&self);
    /// Many changes of places and of who is in sync are under way until this is dropped.
    fn quietly(&self) -> Option<Quiet<'_>>;
}

impl Slots for Keyspace {
    fn set_serving(&self, slot: Slot, serving: bool) {
        Keyspace::set_serving(self, slot, serving);
    }
    fn fence_if_empty(&self, slot: Slot, now_ms: u64) -> bool {
        Keyspace::fence_if_empty(self, slot, now_ms)
    }
    fn clear_slot(&self, slot: Slot) {
        Keyspace::clear_slot(self, slot);
    }
    fn set_stores(&self, policies: &[StorePolicy]) {
        Keyspace::set_stores(self, policies);
    }
    fn keys_in_slots(&self, slots: &[Slot]) -> u64 {
        Keyspace::keys_in_slots(self, slots.iter().copied())
    }
    fn held_in_slots(&self, slots: &[Slot]) -> BTreeMap<StoreNumber, u64> {
        Keyspace::held_in_slots(self, slots.iter().copied())
    }
    fn stats(&self) -> Vec<StoreStats> {
        Keyspace::stats(self)
    }
    fn filter_stats(&self, store: StoreNumber) -> Option<FilterStats> {
        Keyspace::filter_stats(self, store)
    }
    fn filter_check(&self, store: StoreNumber, key: &[u8]) -> Option<Verdict> {
        Keyspace::filter_check(self, store, key)
    }
    fn link(&self, member: MemberId, sender: &dyn Fn() -> Waker) -> Option<Arc<Link>> {
        Some(self.feed().link_to(member, sender))
    }
    fn place(&self, slot: Slot, role: Role, route: &[Route], handed_over: bool) -> bool {
        Keyspace::place(self, slot, role, route, handed_over)
    }
    fn narrow(&self, slot: Slot, least_factor: u8) {
        Keyspace::narrow(self, slot, least_factor);
    }
    fn set_synced(&self, slot: Slot, link: &Link, synced: Synced) -> bool {
        Keyspace::set_synced(self, slot, link, synced)
    }
    fn is_read(&self, _: Slot) -> bool {
        true
    }
    fn lose(&self, slots: &[Slot]) {
        self.feed().losses().note(slots);
    }
    fn end_sessions(&self) {
        self.feed().links().iter().for_each(|link| link.close(link.session()));
    }
    fn quietly(&self) -> Option<Quiet<'_>> {
        Some(self.feed().quietly())
    }
}

struct Inner {
    state: Arc<ClusterState>,
    serving: Box<[bool]>,
    /// Slots that are fenced for a hand-over, and the epoch that they have.
    fenced: BTreeMap<Slot, u64>,
    /// Slots and owners of which a change of being in sync is open.
    open: HashSet<(Slot, MemberId)>,
    /// Owners that are to be the primary: they get all stores.
    heirs: BTreeMap<Slot, MemberId>,
    /// The last table's epoch by which a member ceased to own a slot of which this one is the primary.
    removed: BTreeMap<MemberId, u64>,
    /// The table knew this process.
    known: bool,
}

/// Whether a slot's primary may lack what the one before had, of stores that wait for nobody: it was not given the slot,
/// or is another process. Who hands a slot over stays in sync.
fn may_lack(
    before: &ClusterState,
    old: Option<&Placement>,
    state: &ClusterState,
    new: Option<&Placement>,
) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return false };
    let (Some(was), Some(is)) = (old.primary(), new.primary()) else { return false };
    let process = |state: &ClusterState| state.members.get(&is).map(|member| member.incarnation);
    match was == is {
        true => old.epoch != new.epoch && process(before) != process(state),
        false => !new.is_in_sync(was),
    }
}

/// Keeps the keyspace as the table says.
pub struct Serving {
    me: MemberId,
    /// This process.
    incarnation: u64,
    slots: Arc<dyn Slots>,
    bells: Arc<Bells>,
    inner: Mutex<Inner>,
}

impl Serving {
    /// Nothing is served yet.
    pub fn new(me: MemberId, incarnation: u64, slots: Arc<dyn Slots>) -> Self {
        let inner = Inner {
            state: Arc::default(),
            serving: vec![false; usize::from(SLOTS)].into_boxed_slice(),
            fenced: BTreeMap::new(),
            open: HashSet::new(),
            heirs: BTreeMap::new(),
            removed: BTreeMap::new(),
            known: false,
        };
        let bells = Arc::default();
        Self { me, incarnation, slots, bells, inner: Mutex::new(inner) }
    }

    /// What the cluster wants of the keyspace.
    pub fn slots(&self) -> &Arc<dyn Slots> {
        &self.slots
    }

    /// Who wakes the links' senders.
    pub fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    /// This process's number.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The table that is in force here.
    pub fn state(&self) -> Arc<ClusterState> {
        self.inner.lock().state.clone()
    }

    /// The epoch of the table that is in force here.
    pub fn epoch(&self) -> u64 {
        self.inner.lock().state.epoch
    }

    /// The epoch of the last table by which a member ceased to own a slot of which this one is the primary; 0: it
    /// never did. It may own that slot again since.
    pub fn removed(&self, member: MemberId) -> u64 {
        self.inner.lock().removed.get(&member).copied().unwrap_or(0)
    }

    /// Whether a table knows this process.
    pub fn is_known(&self, state: &ClusterState) -> bool {
        state.members.get(&self.me).is_some_and(|me| me.incarnation == self.incarnation)
    }

    /// A table that came whole: what was between is not known. Who is an owner by both may have been none meanwhile, and
    /// have dropped what it had; so all are asked again.
    pub fn install(&self, state: &Arc<ClusterState>) {
        // Before sessions end: nobody is attached by an answer to a question of before.
        let all = state.members.keys().map(|id| (*id, state.epoch));
        self.inner.lock().removed.extend(all);
        self.slots.end_sessions();
        self.apply(state);
    }

    /// The table after an entry of the log. Must be called in the log's order.
    pub fn apply(&self, state: &Arc<ClusterState>) {
        let quiet = self.slots.quietly();
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let before = std::mem::replace(&mut inner.state, state.clone());
        let are_other = before.stores != state.stores;
        let stores = are_other.then(|| not_lowered(&before.stores, &state.stores));
        if let Some(stores) = &stores {
            self.slots.set_stores(stores);
        }
        let known = self.is_known(state);
        let all = known != std::mem::replace(&mut inner.known, known)
            || before.replication_factor() != state.replication_factor();
        let mut is_same = before.assignment.is_same_in(&state.assignment);
        let mut lost = Vec::new();
        for slot in 0..SLOTS {
            let is_new = !is_same(slot) || all;
            let (old, new) = (before.assignment.placement(slot), state.assignment.placement(slot));
            if is_new && may_lack(&before, old, state, new) {
                lost.push(slot);
            }
            let mine = known && new.and_then(Placement::primary) == Some(self.me);
            if is_new
                && inner.fenced.get(&slot).is_some_and(|epoch| {
                    !mine || new.is_none_or(|placement| placement.epoch != *epoch)
                })
            {
                inner.fenced.remove(&slot);
            }
            if is_new
                && inner
                    .heirs
                    .get(&slot)
                    .is_some_and(|heir| !mine || new.is_none_or(|placement| !placement.owns(*heir)))
            {
                inner.heirs.remove(&slot);
            }
            if mine && is_new {
                let owners = old.map_or(&[][..], |placement| &placement.owners[..]);
                let gone = owners.iter().filter(|owner| !new.is_some_and(|p| p.owns(**owner)));
                inner.removed.extend(gone.map(|owner| (*owner, state.epoch)));
            }
            let mut serve = mine && !inner.fenced.contains_key(&slot);
            let at = usize::from(slot);
            if !is_new && inner.serving[at] == serve {
                continue;
            }
            if !serve {
                self.slots.set_serving(slot, false);
            }
            if is_new {
                serve &= self.place(inner, slot, old, new, mine);
            }
            if serve {
                self.slots.set_serving(slot, true);
            }
            inner.serving[at] = serve;
        }
        if !lost.is_empty() {
            self.slots.lose(&lost);
        }
        if stores.is_some_and(|stores| stores != state.stores) {
            self.slots.set_stores(&state.stores);
        }
        drop(guard);
        drop(quiet);
        self.bells.ring_all();
    }

    /// Becomes for a slot what the table says; whether that is in force.
    fn place(
        &self,
        inner: &Inner,
        slot: Slot,
        old: Option<&Placement>,
        new: Option<&Placement>,
        mine: bool,
    ) -> bool {
        let owns = |placement: Option<&Placement>| placement.is_some_and(|p| p.owns(self.me));
        let (role, route) = match new {
            Some(placement) if mine => {
                (Role::Primary { epoch: placement.epoch }, self.route(inner, slot, placement))
            }
            Some(placement) if owns(new) => match placement.primary() {
                Some(of) if of != self.me => {
                    // Who becomes the primary has its ways to the others by then: whoever writes to the slot waits
                    // for them.
                    let others = placement.owners.iter().filter(|owner| **owner != self.me);
                    others.for_each(|owner| drop(self.link(*owner)));
                    (Role::Replica { of, epoch: placement.epoch }, Vec::new())
                }
                // The table does not know this process yet.
                _ => (Role::None, Vec::new()),
            },
            _ => (Role::None, Vec::new()),
        };
        // Who gives a slot away by itself stays in sync, and nobody else does.
        let handed_over = new.is_some_and(|p| p.is_in_sync(self.me));
        let placed = self.slots.place(slot, role, &route, handed_over);
        // As its primary it had all stores.
        let place = new.and_then(|p| p.owners.iter().position(|owner| *owner == self.me));
        if let (Role::Replica { .. }, Some(place)) = (role, place)
            && old.and_then(Placement::primary) == Some(self.me)
        {
            self.slots.narrow(slot, Self::least_factor(inner, slot, self.me, place));
        }
        // It is no owner any more; or it begins anew what it did not have whole.
        let alone = new.is_some_and(|placement| placement.owners.len() == 1);
        let anew = mine && alone && old.is_some_and(|old| !old.is_in_sync(self.me));
        if owns(old) && !owns(new) || anew {
            self.slots.clear_slot(slot);
        }
        placed
    }

    /// Where a slot's records go.
    fn route(&self, inner: &Inner, slot: Slot, placement: &Placement) -> Vec<Route> {
        let replicas = placement.replicas().iter().zip(1..);
        let routes = replicas.filter_map(|(owner, place)| {
            let link = self.link(*owner)?;
            let synced = Self::synced(inner, slot, placement, *owner);
            let least_factor = Self::least_factor(inner, slot, *owner, place);
            Some(Route { link, synced, least_factor })
        });
        routes.collect()
    }

    /// The least replication factor of the stores that go to an owner at a place behind the primary: it holds
    /// those that ask for as many owners.
    fn least_factor(inner: &Inner, slot: Slot, owner: MemberId, place: usize) -> u8 {
        // One more than the stores ask for is on its way to be the primary, or in the place of another.
        let is_more = place >= inner.state.replication_factor();
        let is_heir = inner.heirs.get(&slot) == Some(&owner);
        if is_more || is_heir { 1 } else { u8::try_from(place + 1).unwrap_or(u8::MAX) }
    }

    /// Whether an owner does not get all of what is in a slot, where `holds` says which stores have keys there.
    pub fn lacks(&self, slot: Slot, owner: MemberId, holds: impl Fn(StoreNumber) -> bool) -> bool {
        let inner = self.inner.lock();
        let placement = inner.state.assignment.placement(slot);
        let place = placement.and_then(|p| p.owners.iter().position(|id| *id == owner));
        let Some(place) = place else { return true };
        let least = Self::least_factor(&inner, slot, owner, place);
        let mut others = inner.state.stores.iter().filter(|s| s.replication_factor < least);
        others.any(|store| holds(store.number))
    }

    /// From now on an owner of slots of this member gets all that is in them, as it is to be their primary.
    pub fn give_all(&self, slots: &[Slot], to: MemberId) {
        let _quiet = self.slots.quietly();
        let mut guard = self.inner.lock();
        let state = guard.state.clone();
        for slot in slots {
            let Some(placement) = state.assignment.placement(*slot) else { continue };
            let is_ours = placement.primary() == Some(self.me) && placement.owns(to);
            if is_ours && guard.known && guard.heirs.insert(*slot, to) != Some(to) {
                let route = self.route(&guard, *slot, placement);
                let role = Role::Primary { epoch: placement.epoch };
                self.slots.place(*slot, role, &route, false);
            }
        }
        drop(guard);
        self.bells.ring_all();
    }

    fn synced(inner: &Inner, slot: Slot, placement: &Placement, owner: MemberId) -> Synced {
        if inner.open.contains(&(slot, owner)) {
            return Synced::Perhaps;
        }
        if placement.is_in_sync(owner) { Synced::Yes } else { Synced::No }
    }

    /// The link to a member.
    pub fn link(&self, member: MemberId) -> Option<Arc<Link>> {
        self.slots.link(member, &|| self.bells.waker(member))
    }

    /// Opens a change of whether a member is in sync: what is to be proposed. Slots that are not this member's,
    /// in which that is so already, or that may not change now, are left out. To be ended by
    /// [`Self::settle`].
    pub fn open(
        &self,
        slots: impl Iterator<Item = Slot>,
        member: MemberId,
        incarnation: u64,
        in_sync: bool,
    ) -> (Vec<Slot>, Vec<Step>) {
        let Some(link) = self.link(member) else { return (Vec::new(), Vec::new()) };
        let _quiet = self.slots.quietly();
        let mut inner = self.inner.lock();
        let state = inner.state.clone();
        let mut opened = Vec::new();
        let mut by_epoch: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
        for slot in slots {
            let Some(placement) = state.assignment.placement(slot) else { continue };
            let fits = inner.known
                && placement.primary() == Some(self.me)
                && placement.owns(member)
                && placement.is_in_sync(member) != in_sync
                && !inner.open.contains(&(slot, member));
            if fits && self.slots.set_synced(slot, &link, Synced::Perhaps) {
                inner.open.insert((slot, member));
                opened.push(slot);
                by_epoch.entry(placement.epoch).or_default().push(slot);
            }
        }
        let primary = self.me;
        let step = |(epoch, slots): (u64, Vec<Slot>)| {
            let act = Act::InSync { primary, epoch, member, incarnation, in_sync };
            Step::new(slot_runs(slots), act)
        };
        (opened, by_epoch.into_iter().map(step).collect())
    }

    /// What was opened for a member has ended: it is as the table says.
    pub fn settle(&self, slots: &[Slot], member: MemberId) {
        let Some(link) = self.link(member) else { return };
        let _quiet = self.slots.quietly();
        let mut inner = self.inner.lock();
        let state = inner.state.clone();
        for slot in slots {
            inner.open.remove(&(*slot, member));
            let placement = state.assignment.placement(*slot);
            if let Some(placement) = placement.filter(|p| p.primary() == Some(self.me)) {
                let synced = Self::synced(&inner, *slot, placement, member);
                self.slots.set_synced(*slot, &link, synced);
            }
        }
    }

    /// Steps that give slots a new epoch, so that what was proposed for them before is refused from then on. It
    /// says nothing of slots that are not this member's.
    pub fn keep(&self, slots: &[Slot]) -> Vec<Step> {
        self.by_epoch(slots, |epoch| Act::Keep { epoch })
    }

    /// Steps that let an owner go.
    pub fn remove_owner(&self, slots: &[Slot], member: MemberId) -> Vec<Step> {
        self.by_epoch(slots, |epoch| Act::RemoveOwnerAt { epoch, member })
    }

    /// Steps that hand slots over.
    pub fn hand_over(&self, slots: &[Slot], to: MemberId) -> Vec<Step> {
        self.by_epoch(slots, |epoch| Act::HandOver { epoch, to })
    }

    fn by_epoch(&self, slots: &[Slot], act: impl Fn(u64) -> Act) -> Vec<Step> {
        let state = self.state();
        let mut by_epoch: BTreeMap<u64, Vec<Slot>> = BTreeMap::new();
        for slot in slots {
            let placement = state.assignment.placement(*slot);
            if let Some(placement) = placement.filter(|p| p.primary() == Some(self.me)) {
                by_epoch.entry(placement.epoch).or_default().push(*slot);
            }
        }
        let step = |(epoch, slots): (u64, Vec<Slot>)| Step::new(slot_runs(slots), act(epoch));
        by_epoch.into_iter().map(step).collect()
    }

    /// Fences slots for a hand-over, until they have another epoch; those that were. Slots that this member
    /// does not serve, or in which `to` is not in sync, are left out.
    pub fn fence_for(&self, slots: &[Slot], to: MemberId) -> Vec<Slot> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let mut fenced = Vec::new();
        for slot in slots {
            let Some(placement) = inner.state.assignment.placement(*slot) else { continue };
            let at = usize::from(*slot);
            let mine = placement.primary() == Some(self.me) && inner.serving[at];
            if mine && placement.is_in_sync(to) && self.slots.is_read(*slot) {
                self.slots.set_serving(*slot, false);
                inner.serving[at] = false;
                inner.fenced.insert(*slot, placement.epoch);
                fenced.push(*slot);
            }
        }
        fenced
    }

    /// Stops serving slots to hand them over to another owner, those that are empty; tells which
    /// these are, and their epochs.
    pub fn fence(&self, slots: &[Slot], to: MemberId, now_ms: u64) -> Vec<(Slot, u64)> {
        let mut inner = self.inner.lock();
        let mut fenced = Vec::new();
        for slot in slots {
            let Some(placement) = inner.state.assignment.placement(*slot) else { continue };
            let epoch = placement.epoch;
            let fits = placement.primary() == Some(self.me) && placement.replicas().contains(&to);
            let serves = inner.serving.get(usize::from(*slot)).is_some_and(|serving| *serving);
            if fits && serves && self.slots.fence_if_empty(*slot, now_ms) {
                inner.serving[usize::from(*slot)] = false;
                inner.fenced.insert(*slot, epoch);
                fenced.push((*slot, epoch));
            }
        }
        fenced
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
pub(crate) mod tests;
