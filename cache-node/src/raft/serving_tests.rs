use super::*;
use hypercache_core::cluster::{Change, Member, Ring};

/// A keyspace that only remembers what it was told.
pub(crate) struct Fake {
    pub serving: Mutex<Vec<bool>>,
    pub keys: Mutex<BTreeSet<Slot>>,
    pub stores: Mutex<Vec<StorePolicy>>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            serving: Mutex::new(vec![false; usize::from(SLOTS)]),
            keys: Mutex::default(),
            stores: Mutex::default(),
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
    fn link(&self, _: MemberId, _: &dyn Fn() -> Waker) -> Option<Arc<Link>> {
        None
    }
    fn place(&self, _: Slot, _: Role, _: &[Route], _: bool) -> bool {
        true
    }
    fn set_synced(&self, _: Slot, _: &Link, _: Synced) -> bool {
        true
    }
    fn is_read(&self, _: Slot) -> bool {
        true
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
    index: u64,
}

impl Table {
    fn new() -> Self {
        let members = vec![member(1)];
        let assignment = Ring::new(&members).assign(0, 1);
        let mut table = Self { state: ClusterState::default(), index: 0 };
        table.change(Change::Init { cluster_id: 5, members, assignment, stores: vec![] });
        table.change(Change::AddMember(member(2)));
        table
    }

    fn change(&mut self, change: Change) -> Option<u64> {
        self.index += 1;
        self.state.apply(&change).unwrap().move_id
    }

    fn show(&self, serving: &Serving) {
        serving.apply(self.index, &Arc::new(self.state.clone()));
    }

    fn open(&mut self) -> u64 {
        self.change(Change::OpenMove).unwrap()
    }

    fn assign(&mut self, move_id: u64) {
        let assignment = Ring::new(self.state.members.values()).assign(0, 1);
        self.change(Change::Assign { move_id, assignment });
    }
}

fn leaving(table: &Table) -> Vec<Slot> {
    let target = Ring::new(table.state.members.values()).assign(0, 1);
    table.state.assignment.leaving(&target).remove(&1).unwrap()
}

fn serving(replayed_to: u64) -> (Arc<Fake>, Serving) {
    let fake = Arc::new(Fake::default());
    (fake.clone(), Serving::new(1, 0, fake, Arc::default(), replayed_to))
}

#[test]
fn a_member_serves_exactly_the_slots_that_it_owns() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
    assert_eq!(fake.stores.lock().len(), 1);
    let slots = leaving(&table);
    let id = table.open();
    table.show(&serving);
    assert_eq!(fake.served(), 16384, "an open move alone fences nothing");
    serving.fence(id, &slots, 0).unwrap();
    assert_eq!(fake.served(), 16384 - slots.len());
    table.assign(id);
    table.show(&serving);
    assert_eq!(fake.served(), 16384 - slots.len());
}

#[test]
fn fenced_slots_are_served_again_only_when_the_move_is_closed() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    let slots = leaving(&table);
    let id = table.open();
    table.show(&serving);
    serving.fence(id, &slots, 0).unwrap();
    table.change(Change::CreateStore(StorePolicy::new("other", 4)));
    table.show(&serving);
    assert!(!fake.write(slots[0]), "another change of the table does not serve them");
    table.change(Change::CloseMove(id));
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
    assert_eq!(serving.fence(id, &slots, 0), Err(NotFenced::MoveNotOpen));
}

#[test]
fn another_move_takes_the_fences_of_the_one_before() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    let slots = leaving(&table);
    let first = table.open();
    table.show(&serving);
    serving.fence(first, &slots, 0).unwrap();
    table.open();
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
}

#[test]
fn a_slot_with_keys_is_not_fenced() {
    let (fake, serving) = serving(0);
    let mut table = Table::new();
    table.show(&serving);
    let slots = leaving(&table);
    assert!(fake.write(slots[3]));
    let id = table.open();
    table.show(&serving);
    assert_eq!(serving.fence(id, &slots, 0), Err(NotFenced::HoldsKeys));
    assert!(fake.write(slots[3]));
    let theirs: Vec<Slot> = (0..SLOTS).filter(|s| !slots.contains(s)).take(1).collect();
    assert_eq!(serving.fence(id, &theirs, 0), Ok(()));
}

#[test]
fn a_member_that_restarts_during_a_move_serves_nothing_until_it_is_closed() {
    let mut table = Table::new();
    let id = table.open();
    let (fake, serving) = serving(table.index);
    table.show(&serving);
    assert_eq!(fake.served(), 0);
    assert_eq!(serving.fence(id, &leaving(&table), 0), Ok(()));
    table.change(Change::CloseMove(id));
    table.show(&serving);
    assert_eq!(fake.served(), 16384);
}

#[test]
fn writes_that_race_with_a_move_are_never_lost() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for round in 0..20u64 {
        let (fake, serving) = serving(0);
        let serving = Arc::new(serving);
        let mut table = Table::new();
        table.show(&serving);
        let slots = leaving(&table);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (fake, stop, slots) = (fake.clone(), stop.clone(), slots.clone());
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
        let id = table.open();
        table.show(&serving);
        if serving.fence(id, &slots, 0).is_ok() {
            table.assign(id);
        } else {
            table.change(Change::CloseMove(id));
        }
        table.show(&serving);
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap();
        let keys = fake.keys.lock();
        assert!(written.iter().all(|slot| keys.contains(slot)), "an accepted write is gone");
    }
}

#[test]
fn l22_commands_that_race_with_a_move_are_kept_or_refused_by_the_real_keyspace() {
    use hypercache_core::{cluster::slot_of, command::lookup, keyspace::Options, resp};
    for round in 0..5u64 {
        let keyspace = Arc::new(Keyspace::new(Options { hash_seed: round, eviction_seed: 1 }));
        let serving = Serving::new(1, 0, keyspace.clone(), Arc::default(), 0);
        let mut table = Table::new();
        table.show(&serving);
        let slots = leaving(&table);
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
        let id = table.open();
        table.show(&serving);
        if serving.fence(id, &slots, 1000).is_ok() {
            table.assign(id);
        } else {
            table.change(Change::CloseMove(id));
        }
        table.show(&serving);
        for slot in writer.join().unwrap() {
            assert_eq!(table.state.assignment.primary(slot), Some(1), "it moved with a key in it");
            assert!(keyspace.count_keys_in_slot(0, slot) > 0, "an accepted write is gone");
        }
    }
}
