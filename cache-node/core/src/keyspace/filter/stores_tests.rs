use super::*;
use crate::keyspace::{Lifetime, Options, Value};
use crate::store::{DEFAULT_STORE, EvictionPolicy, StorePolicy};
use proptest::prelude::*;
use std::collections::HashMap;

const NOW: u64 = 1_700_000_000_000;

fn policy(rate: Option<f64>) -> StorePolicy {
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.filter = rate.map(|rate| FilterRate::new(rate).unwrap());
    policy
}

fn space(policy: &StorePolicy) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 4 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space.set_stores(std::slice::from_ref(policy));
    space
}

fn set(space: &Keyspace, key: &str, lifetime: Lifetime) {
    space.with_key(0, key.as_bytes(), NOW, true, |key| key.set(Value::Int(1), lifetime)).unwrap();
}

fn exists(space: &Keyspace, key: &str, now_ms: u64) -> bool {
    space.with_key(0, key.as_bytes(), now_ms, false, |key| key.exists()).unwrap()
}

fn remove(space: &Keyspace, key: &str) {
    space.with_key(0, key.as_bytes(), NOW, false, |key| key.remove()).unwrap();
}

fn stats(space: &Keyspace) -> FilterStats {
    space.filter_stats(0).unwrap()
}

#[test]
fn l8_no_key_is_hidden_while_a_store_grows_shrinks_and_changes_its_filter() {
    let space = space(&policy(Some(0.01)));
    // Spread keys, and many behind one hash tag, whose table is split.
    let names: Vec<String> = (0..30_000)
        .map(|i| if i % 3 == 0 { format!("{{t}}{i}") } else { format!("k{i}") })
        .collect();
    names.iter().for_each(|name| set(&space, name, Lifetime::At(0)));
    let all_there = |names: &[String]| {
        assert!(names.iter().all(|name| exists(&space, name, NOW)));
    };
    all_there(&names);
    names.iter().for_each(|name| set(&space, name, Lifetime::At(0)));
    all_there(&names);
    names[..25_000].iter().for_each(|name| remove(&space, name));
    all_there(&names[25_000..]);
    for rate in [None, Some(0.001), Some(0.1)] {
        space.set_stores(&[policy(rate)]);
        let mut rounds = 0;
        while !space.tend_filters(500) {
            all_there(&names[29_900..]);
            rounds += 1;
        }
        assert!(rounds > 10, "{rounds}");
        all_there(&names[25_000..]);
        let stats = stats(&space);
        assert_eq!(stats.bytes > 0, rate.is_some());
        assert_eq!(stats.keys, if rate.is_some() { 5000 } else { 0 });
        assert_eq!(stats.keys + stats.keys_unfiltered, 5000);
    }
    names[..25_000].iter().for_each(|name| set(&space, name, Lifetime::At(0)));
    all_there(&names);
}

#[test]
fn l10_a_filter_s_memory_is_counted_and_given_back() {
    let plain = space(&policy(None));
    let filtered = space(&policy(Some(0.01)));
    let names: Vec<String> = (0..20_000).map(|i| format!("{{t}}{i}")).collect();
    for space in [&plain, &filtered] {
        names.iter().for_each(|name| set(space, name, Lifetime::At(0)));
    }
    let used = |space: &Keyspace| space.stats()[0].used_memory_bytes;
    let bytes = stats(&filtered).bytes;
    assert_eq!(used(&filtered) - used(&plain), bytes);
    assert!((20_000..36_000).contains(&bytes), "{bytes}");
    filtered.set_stores(&[policy(None)]);
    while !filtered.tend_filters(1000) {}
    assert_eq!(used(&filtered), used(&plain));
    filtered.set_stores(&[policy(Some(0.01))]);
    while !filtered.tend_filters(1000) {}
    names.iter().for_each(|name| remove(&filtered, name));
    assert_eq!((used(&filtered), stats(&filtered).bytes), (0, 0));
}

#[test]
fn a_filter_s_load_is_what_it_holds_of_what_it_has_room_for() {
    let space = space(&policy(Some(0.01)));
    assert_eq!(stats(&space).load_ratio(), None);
    // Two tables of one part each, and one that is split.
    for name in ["{a}", "{b}"] {
        (0..20).for_each(|i| set(&space, &format!("{name}{i}"), Lifetime::At(0)));
    }
    (0..20_000).for_each(|i| set(&space, &format!("{{t}}{i}"), Lifetime::At(0)));
    let full = stats(&space);
    assert_eq!(full.fingerprints, 20_040);
    // Ten bits for each place, and blocks that are a little larger.
    let bits = full.bytes * 8;
    assert!((full.places * 10..full.places * 13).contains(&bits), "{} of {bits}", full.places);
    assert!((0.5..=1.0).contains(&full.load_ratio().unwrap()), "{full:?}");
    (0..40).for_each(|i| remove(&space, &format!("{{t}}{i}")));
    let fewer = stats(&space);
    assert_eq!(fewer.fingerprints, 20_000);
    assert!(fewer.load_ratio().unwrap() < full.load_ratio().unwrap());
    space.set_stores(&[policy(None)]);
    while !space.tend_filters(1000) {}
    assert_eq!(stats(&space).load_ratio(), None);
}

#[test]
fn what_members_tell_each_other_of_a_filter_has_the_form_that_releases_before_know() {
    let local = FilterStats { keys: 3, fingerprints: 3, places: 4, ..FilterStats::default() };
    // No rate, and six figures.
    assert_eq!(postcard::to_stdvec(&local).unwrap(), [0, 3, 0, 0, 0, 0, 0]);
}

#[test]
fn absent_keys_are_denied_within_the_rate_and_counted() {
    let space = space(&policy(Some(0.01)));
    (0..50_000).for_each(|i| set(&space, &format!("k{i}"), Lifetime::At(0)));
    let before = stats(&space);
    assert!((0..50_000).all(|i| !exists(&space, &format!("other{i}"), NOW)));
    let after = stats(&space);
    // Only slots without any key are not asked.
    assert!(after.checks - before.checks > 45_000);
    let wrong = after.false_positives - before.false_positives;
    assert!(wrong <= 500, "{wrong} of 50000");
    assert!(after.measured_rate().unwrap() <= 0.01);
    let denied = |of: &str| {
        let says = |i: &i32| space.filter_check(0, format!("{of}{i}").as_bytes());
        (0..1000).filter(|i| says(i) == Some(Verdict::SurelyAbsent)).count()
    };
    assert_eq!(denied("k"), 0);
    assert!(denied("other") > 980);
    assert_eq!(stats(&space).checks, after.checks);
    assert_eq!(space.filter_check(7, b"k1"), None);
    space.flush(0);
    assert_eq!(stats(&space).checks, after.checks);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn l8_the_filter_never_hides_a_key_that_is_stored(
        rate in prop_oneof![Just(0.001), Just(0.01), Just(0.1)],
        steps in proptest::collection::vec((0..9u8, 0..4000u32), 1..400),
    ) {
        let space = space(&policy(Some(rate)));
        let mut model: HashMap<String, u64> = HashMap::new();
        let mut now = NOW;
        for (step, from) in steps {
            let names = (from..from + 40).map(|i| format!("{{{}}}{i}", i % 3));
            match step {
                0..=3 => for name in names {
                    space.with_key(0, name.as_bytes(), now, true, |key| {
                        key.set(Value::Int(1), Lifetime::At(0));
                    }).unwrap();
                    model.insert(name, 0);
                },
                4 => for name in names {
                    space.with_key(0, name.as_bytes(), now, true, |key| {
                        key.set(Value::Int(1), Lifetime::At(now + 50));
                    }).unwrap();
                    model.insert(name, now + 50);
                },
                5 | 6 => for name in names {
                    space.with_key(0, name.as_bytes(), now, false, |key| key.remove()).unwrap();
                    model.remove(&name);
                },
                7 => {
                    now += 30;
                    space.expire_cycle(now, from as usize);
                }
                _ if from < 100 => {
                    space.flush(0);
                    model.clear();
                }
                _ => {
                    space.set_stores(&[policy((from % 2 == 0).then_some(rate))]);
                    space.tend_filters(from as usize);
                }
            }
        }
        for (name, end) in &model {
            prop_assert_eq!(exists(&space, name, now), *end == 0 || *end > now);
        }
        let live = model.values().filter(|end| **end == 0 || **end > now).count() as u64;
        space.expire_cycle(now, usize::MAX);
        prop_assert_eq!(space.keys(0), live);
        model.keys().for_each(|name| remove(&space, name));
        prop_assert_eq!(space.stats()[0].used_memory_bytes, 0);
    }
}

#[test]
fn l8_what_eviction_leaves_is_found() {
    for (_, eviction) in EvictionPolicy::ALL {
        if eviction == EvictionPolicy::NoEviction {
            continue;
        }
        let mut policy = policy(Some(0.02));
        policy.max_memory_bytes = Some(1 << 20);
        policy.eviction_policy = eviction;
        let space = space(&policy);
        (0..20_000).for_each(|i| set(&space, &format!("k{i}"), Lifetime::At(0)));
        let mut seen = 0;
        space.visit_keys(0, 0, usize::MAX, NOW, |_| seen += 1);
        let found = (0..20_000).filter(|i| exists(&space, &format!("k{i}"), NOW)).count();
        assert_eq!(found, seen);
        assert!((1000..20_000).contains(&found), "{found}");
    }
}
