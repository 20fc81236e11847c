use super::*;
use hypercache_core::cluster::{Act, Change, Member, Ring, Step};
use std::collections::BTreeSet;

/// A keyspace that only remembers what it was told.
pub(crate) struct Fake {
    pub serving: Mutex<Vec<bool>>,
    pub keys: Mutex<BTreeSet<Slot>>,
    pub stores: Mutex<Vec<StorePolicy>>,
    /// To whom links were asked for.
    pub linked: Mutex<BTreeSet<MemberId>>,
    /// What it is to have of slots that it gave away, by least replication factor.
    pub narrowed: Mutex<BTreeSet<u8>>,
    /// Slots whose primary may lack something.
    pub lost: Mutex<BTreeSet<Slot>>,
    /// How often the links' sessions were over.
    pub ended: Mutex<usize>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            serving: Mutex::new(vec![false; usize::from(SLOTS)]),
            keys: Mutex::default(),
            stores: Mutex::default(),
            linked: Mutex::default(),
            narrowed: Mutex::default(),
            lost: Mutex::default(),
            ended: Mutex::default(),
        }
    }
}

impl Fake {
    /// Writes a key, as a client would: only to a slot that is served.
    pub fn write(&self, slot: Slot) -> bool {
        let serving = self.serving.lock();
        let served = serving[usize::from(slot)];
        if served {
            self.keys.lock().insert(slot);
        }
        served
    }

    pub fn served(&self) -> usize {
        self.serving.lock().iter().filter(|serving| **serving).count()
    }
}

impl Slots for Fake {
    fn set_serving(&self, slot: Slot, serving: bool) {
        self.serving.lock()[usize::from(slot)] = serving;
    }
    fn fence_if_empty(&self, slot: Slot, _: u64) -> bool {
        let mut serving = self.serving.lock();
        let empty = !self.keys.lock().contains(&slot);
        if empty {
            serving[usize::from(slot)] = false;
        }
        empty
    }
    fn clear_slot(&self, slot: Slot) {
        self.keys.lock().remove(&slot);
    }
    fn set_stores(&self, policies: &[StorePolicy]) {
        *self.stores.lock() = policies.to_vec();
    }
    fn keys_in_slots(&self, slots: &[Slot]) -> u64 {
        let keys = self.keys.lock();
        slots.iter().filter(|slot| keys.contains(slot)).count() as u64
    }
    fn held_in_slots(&self, slots: &[Slot]) -> BTreeMap<StoreNumber, u64> {
        [(0, self.keys_in_slots(slots))].into()
    }
    fn stats(&self) -> Vec<StoreStats> {
        let keys = self.keys.lock().len() as u64;
        let stores = self.stores.lock();
        stores
            .iter()
            .map(|store| StoreStats {
                number: store.number,
                name: store.name.clone(),
                keys: if store.number == 0 { keys } else { 0 },
                keys_with_ttl: 0,
                used_memory_bytes: 0,
                max_memory_bytes: None,
                hits: 0,
                misses: 0,
                evicted_keys: 0,
                evicted_for_member_keys: 0,
                expired_keys: 0,
                oom_errors: 0,
            })
            .collect()
    }
    fn filter_stats(&self, _: StoreNumber) -> Option<FilterStats> {
        None
    }
    fn filter_check(&self, _: StoreNumber, _: &[u8]) -> Option<Verdict> {
        None
    }
    fn link(&self, member: MemberId, _: &dyn Fn() -> Waker) -> Option<Arc<Link>> {
        self.linked.lock().insert(member);
        None
    }
    fn place(&self, _: Slot, _: Role, _: &[Route], _: bool) -> bool {
        true
    }
    fn narrow(&self, _: Slot, least_factor: u8) {
        self.narrowed.lock().insert(least_factor);
    }
    fn set_synced(&self, _: Slot, _: &Link, _: Synced) -> bool {
        true
    }
    fn lose(&self, slots: &[Slot]) {
        self.lost.lock().extend(slots);
    }
    fn end_sessions(&self) {
        *self.ended.lock() += 1;
    }
    fn is_read(&self, _: Slot) -> bool {
        true
    }
    fn quietly(&self) -> Option<Quiet<'_>> {
        None
    }
}

fn member(id: MemberId) -> Member {
    Member {
        id,
        name: format!("demo-{id}"),
        host: "h".into(),
        resp_port: 1,
        http_port: 2,
        gossip_port: 3,
        zone: None,
        weight: 1,
        incarnation: 0,
    }
}

struct Table {
    state: ClusterState,
}

/// Slots of which member 2 is an owner, too.
const SHARED: (Slot, Slot) = (8000, 8099);

fn shared() -> Vec<Slot> {
    (SHARED.0..=SHARED.1).collect()
}

impl Table {
    /// Member 1 is the primary of everything.
    fn new() -> Self {
        Self::with(vec![])
    }

    fn with(stores: Vec<StorePolicy>) -> Self {
        let members = vec![member(1)];
        let assignment = Ring::new(&members).assign(0, 1);
        let mut table = Self { state: ClusterState::default() };
        table.change(Change::Init { cluster_id: 5, members, assignment, stores });
        table.change(Change::AddMember(member(2)));
        table.step(Act::AddOwner(2));
        table
    }

    fn change(&mut self, change: Change) {
        self.state.apply(&change).unwrap();
    }

    fn step(&mut self, act: Act) {
        self.change(Change::Place(vec![Step::new(vec![SHARED], act)]));
    }

    fn epoch(&self) -> u64 {
        self.state.assignment.epoch_of(SHARED.0)
    }

    fn show(&self, serving: &Serving) {
        serving.apply(&Arc::new(self.state.clone()));
    }

    /// What a primary proposes when it has fenced the slots at an epoch.
    fn hand_over(&mut self, epoch: u64) {
        let (primary, member) = (1, 2);
        self.step(Act::InSync { primary, epoch, member, incarnation: 0, in_sync: true });
        self.step(Act::HandOver { epoch, to: 2 });
    }
}

fn serving(incarnation: u64) -> (Arc<Fake>, Serving) {
    let fake = Arc::new(Fake::default());
    (fake.clone(), Serving::new(1, incarnation, fake))
}

#[test]
fn a_member_serves_exactly_the_slots_of_which_it_is_the_primary() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
    assert_eq!(fake.stores.lock().len(), 1);
    let epoch = table.epoch();
    assert_eq!(serving.fence(&shared(), 2, 0).len(), 100);
    assert_eq!(fake.served(), 16384 - 100);
    table.hand_over(epoch);
    table.show(&serving);
    assert_eq!(fake.served(), 16384 - 100);
}

#[test]
fn who_hands_a_slot_over_and_stays_its_owner_is_to_have_what_its_place_says_and_no_more() {
    let (fake, serving) = serving(0);
    let policy = StorePolicy { replication_factor: 3, ..StorePolicy::new("s1", 1) };
    let mut table = Table::with(vec![policy]);
    table.show(&serving);
    let epoch = table.epoch();
    assert_eq!(serving.fence(&shared(), 2, 0).len(), 100);
    assert!(fake.narrowed.lock().is_empty());
    table.hand_over(epoch);
    table.show(&serving);
    assert_eq!(*fake.narrowed.lock(), BTreeSet::from([2]));
}

#[test]
fn l25_a_process_that_the_table_does_not_know_serves_nothing() {
    let (fake, serving) = serving(7);
    let mut table = Table::new();
    table.show(&serving);
    assert_eq!(fake.served(), 0);
    table.change(Change::Restarted { member: 1, incarnation: 7 });
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
    table.change(Change::Restarted { member: 1, incarnation: 8 });
    table.show(&serving);
    assert_eq!(fake.served(), 0, "it is another one's place now");
}

#[test]
fn fenced_slots_are_served_again_only_at_another_epoch() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    let epoch = table.epoch();
    serving.fence(&shared(), 2, 0);
    table.change(Change::CreateStore(StorePolicy::new("other", 4)));
    table.show(&serving);
    assert!(!fake.write(SHARED.0), "another change of the table does not serve them");
    table.step(Act::Keep { epoch });
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
    table.hand_over(epoch);
    table.show(&serving);
    assert_eq!(fake.served(), 16384, "the hand-over came too late");
}

#[test]
fn only_empty_slots_and_to_another_owner_are_fenced() {
    let (fake, serving) = serving(0);
    let table = Table::new();
    table.show(&serving);
    assert!(fake.write(SHARED.0 + 3));
    assert_eq!(serving.fence(&shared(), 2, 0).len(), 99);
    assert!(fake.write(SHARED.0 + 3));
    assert_eq!(serving.fence(&[0], 2, 0), [], "2 is no owner of it");
    assert_eq!(serving.fence(&shared(), 2, 0), [], "they are fenced");
}

#[test]
fn a_slot_is_forgotten_when_it_has_another_owner_or_begins_anew() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    assert!(fake.write(SHARED.0));
    let epoch = table.epoch();
    table.hand_over(epoch);
    table.show(&serving);
    assert!(fake.keys.lock().contains(&SHARED.0), "it is a replica now");
    table.step(Act::RemoveOwner(1));
    table.show(&serving);
    assert!(!fake.keys.lock().contains(&SHARED.0));
    table.step(Act::AddOwner(1));
    table.show(&serving);
    fake.keys.lock().insert(SHARED.0); // a part of it
    let epoch = table.epoch();
    table.step(Act::Restart { epoch, to: 1 });
    table.show(&serving);
    assert!(!fake.keys.lock().contains(&SHARED.0));
    assert!(fake.write(SHARED.0));
}

#[test]
fn writes_that_race_with_a_hand_over_are_never_lost() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for round in 0..20u64 {
        let (fake, serving) = serving(0);
        let mut table = Table::new();
        table.show(&serving);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (fake, stop, slots) = (fake.clone(), stop.clone(), shared());
            move || {
                let mut written = BTreeSet::new();
                let mut at = round as usize * 37;
                while !stop.load(Ordering::Relaxed) {
                    at = (at * 31 + 17) % slots.len();
                    if fake.write(slots[at]) {
                        written.insert(slots[at]);
                    }
                }
                written
            }
        });
        hand_over_what_is_empty(&mut table, &serving);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        let keys = fake.keys.lock();
        assert!(written.iter().all(|slot| keys.contains(slot)), "an accepted write is gone");
    }
}

fn hand_over_what_is_empty(table: &mut Table, serving: &Serving) {
    let (primary, member) = (1, 2);
    for (slot, epoch) in serving.fence(&shared(), 2, 1000) {
        let runs = vec![(slot, slot)];
        let synced = Act::InSync { primary, epoch, member, incarnation: 0, in_sync: true };
        let steps = [synced, Act::HandOver { epoch, to: 2 }, Act::RemoveOwner(1)];
        let steps = steps.map(|act| Step::new(runs.clone(), act)).to_vec();
        table.change(Change::Place(steps));
    }
    table.show(serving);
}

#[test]
fn l22_commands_that_race_with_a_hand_over_are_kept_or_refused_by_the_real_keyspace() {
    use hypercache_core::{cluster::slot_of, command::lookup, keyspace::Options, resp};
    for round in 0..5u64 {
        let keyspace = Arc::new(Keyspace::new(Options { hash_seed: round, eviction_seed: 1 }));
        let serving = Serving::new(1, 0, keyspace.clone());
        let mut table = Table::new();
        table.show(&serving);
        let (started, go) = std::sync::mpsc::channel();
        let writer = std::thread::spawn({
            let keyspace = keyspace.clone();
            move || {
                let spec = lookup(&[b"SET", b"k", b"v"]).unwrap();
                let mut accepted = Vec::new();
                for n in 0..400u32 {
                    if n == 3 {
                        let _ = started.send(());
                    }
                    let key = format!("key:{round}:{n}").into_bytes();
                    let mut out = Vec::new();
                    let mut writer = resp::Writer::new(&mut out, resp::Protocol::Resp2);
                    let args: [&[u8]; 3] = [b"SET", &key, b"v"];
                    if keyspace.execute(spec, 0, &args, 1000, &mut writer).is_ok() {
                        assert_eq!(out, b"+OK\r\n");
                        accepted.push(slot_of(&key));
                    }
                }
                accepted
            }
        });
        go.recv().unwrap();
        hand_over_what_is_empty(&mut table, &serving);
        for slot in writer.join().unwrap() {
            assert_eq!(table.state.assignment.primary(slot), Some(1), "it moved with a key in it");
            assert!(keyspace.count_keys_in_slot(0, slot) > 0, "an accepted write is gone");
        }
    }
}

#[test]
fn it_is_known_by_which_table_a_member_ceased_to_own_a_slot_also_when_it_owns_it_again() {
    let (_, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    assert_eq!(serving.removed(2), 0);
    table.step(Act::RemoveOwner(2));
    table.show(&serving);
    let epoch = serving.epoch();
    assert_eq!((serving.removed(2), serving.removed(3)), (epoch, 0));
    table.step(Act::AddOwner(2));
    table.show(&serving);
    assert_eq!(serving.removed(2), epoch);
    assert!(serving.epoch() > epoch);
}

#[test]
fn a_primary_that_was_given_its_slots_lacks_nothing_and_one_that_was_promoted_may() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    table.hand_over(table.epoch());
    table.show(&serving);
    assert_eq!((table.state.assignment.primary(8000), fake.lost.lock().len()), (Some(2), 0));
    table.step(Act::Promote { epoch: table.epoch(), to: 1 });
    table.show(&serving);
    assert_eq!(*fake.lost.lock(), shared().into_iter().collect());
    // It was in memory, and is another process now.
    fake.lost.lock().clear();
    table.change(Change::Restarted { member: 1, incarnation: 7 });
    table.show(&serving);
    assert!(fake.lost.lock().is_superset(&shared().into_iter().collect()));
}

#[test]
fn owners_are_asked_anew_after_a_table_that_came_whole() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    table.step(Act::AddOwner(2));
    table.show(&serving);
    assert_eq!((*fake.ended.lock(), serving.removed(2)), (0, 0));
    table.change(Change::AddMember(member(3)));
    let state = Arc::new(table.state.clone());
    serving.install(&state);
    assert_eq!((*fake.ended.lock(), serving.removed(2)), (1, state.epoch));
    assert_eq!(serving.state(), state);
}

#[test]
fn who_may_become_the_primary_of_a_slot_has_its_links_to_the_other_owners_before() {
    let fake = Arc::new(Fake::default());
    let serving = Serving::new(2, 0, fake.clone());
    let mut table = Table::new();
    table.show(&serving);
    assert_eq!(*fake.linked.lock(), [1].into());
    table.change(Change::AddMember(member(3)));
    table.step(Act::AddOwner(3));
    table.show(&serving);
    assert_eq!(*fake.linked.lock(), [1, 3].into());
}
