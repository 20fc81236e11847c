use super::super::{Lifetime, Options};
use super::*;
use crate::cluster::slot_of;
use crate::store::{DEFAULT_STORE, StorePolicy};
use std::sync::{Arc, Mutex};

const NOW_MS: u64 = 1_000;

type Taken = Arc<Mutex<Vec<Remains>>>;

fn keyspace() -> (Keyspace, Taken) {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..crate::cluster::SLOTS).for_each(|slot| space.set_serving(slot, true));
    let taken = Taken::default();
    let to = Arc::clone(&taken);
    space.on_remains(Box::new(move |remains| to.lock().unwrap().push(remains)));
    (space, taken)
}

fn set(space: &Keyspace, key: &[u8], value: Value) {
    let lifetime = Lifetime::At(0);
    space.with_key(0, key, NOW_MS, true, |access| access.set(value, lifetime)).unwrap();
}

fn set_of(members: usize) -> Value {
    let hasher = super::super::KeyHasher::new(1);
    let mut set = super::super::Set::default();
    for n in 0..members {
        set.insert(&hasher, format!("member:{n}").as_bytes());
    }
    Value::Set(set)
}

fn used(space: &Keyspace) -> u64 {
    space.stats().iter().map(|store| store.used_memory_bytes).sum()
}

#[test]
fn l10_what_a_flush_takes_is_gone_at_once_and_given_back_elsewhere() {
    let (space, taken) = keyspace();
    let empty = used(&space);
    (0..5000).for_each(|n| set(&space, format!("k:{n}").as_bytes(), Value::string(b"v")));
    space.flush_all();
    assert_eq!((space.keys(0), used(&space)), (0, empty));
    let taken: u64 = taken.lock().unwrap().iter().map(Remains::keys).sum();
    assert_eq!(taken, 5000);
}

#[test]
fn large_values_are_handed_over_and_small_ones_are_not() {
    let (space, taken) = keyspace();
    let keys = || taken.lock().unwrap().drain(..).map(|r| r.keys()).sum::<u64>();
    for (value, handed) in [
        (Value::string(b"short"), 0),
        (Value::plain(&vec![1; 1 << 10]), 0),
        (Value::plain(&vec![1; 2 << 20]), 1),
        (set_of(10), 0),
        (set_of(5000), 1),
    ] {
        // Overwritten, deleted, one of several, expired.
        set(&space, b"k", value.clone());
        set(&space, b"k", value.clone());
        assert_eq!(keys(), handed);
        assert!(space.with_key(0, b"k", NOW_MS, false, |access| access.discard()).unwrap());
        assert_eq!(keys(), handed);
        set(&space, b"k", value.clone());
        let names: [&[u8]; 2] = [b"k", b"other"];
        space.with_keys(0, &names, NOW_MS, false, |locked| locked.remove(b"k")).unwrap();
        assert_eq!(keys(), handed);
        let lifetime = Lifetime::At(NOW_MS + 1);
        space.with_key(0, b"k", NOW_MS, true, |access| access.set(value, lifetime)).unwrap();
        assert_eq!(space.expire_cycle(NOW_MS + 2, 1000), 1);
        assert_eq!(keys(), handed);
    }
}

#[test]
fn a_store_or_slot_that_goes_is_handed_over() {
    let (space, taken) = keyspace();
    space.set_stores(&[StorePolicy::new(DEFAULT_STORE, 0), StorePolicy::new("a", 1)]);
    let put = |number, key: &[u8]| {
        let value = Value::string(b"v");
        space.with_key(number, key, NOW_MS, true, |a| a.set(value, Lifetime::At(0))).unwrap();
    };
    put(1, b"x");
    space.set_stores(&[StorePolicy::new(DEFAULT_STORE, 0)]);
    assert_eq!(taken.lock().unwrap().drain(..).map(|r| r.keys()).sum::<u64>(), 1);
    put(0, b"y");
    space.clear_slot(slot_of(b"y"));
    assert_eq!((space.keys(0), taken.lock().unwrap().len()), (0, 1));
}

#[test]
fn writes_that_need_memory_are_refused_while_a_member_has_none() {
    let (space, _) = keyspace();
    set(&space, b"k", Value::string(b"v"));
    space.set_refusing(true);
    let write = |needs_room| space.with_key(0, b"k", NOW_MS, needs_room, |_| ());
    assert_eq!(write(true), Err(super::super::Refusal::OutOfMemory));
    assert_eq!(write(false), Ok(()));
    let names: [&[u8]; 2] = [b"k", b"other"];
    assert!(space.with_keys(0, &names, NOW_MS, true, |_| ()).is_err());
    assert_eq!(space.stats()[0].oom_errors, 2);
    space.set_refusing(false);
    assert_eq!(write(true), Ok(()));
}
