use super::*;
use crate::keyspace::{Lifetime, Options, StoreStats, Value};
use crate::store::{DEFAULT_STORE, StorePolicy};
use proptest::prelude::*;

const NOW: u64 = 1_700_000_000_000;
const BUDGET: u64 = 1 << 20;

fn policy(eviction: EvictionPolicy) -> StorePolicy {
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.max_memory_bytes = Some(BUDGET);
    policy.eviction_policy = eviction;
    policy
}

fn space(eviction: EvictionPolicy) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 7, eviction_seed: 8 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space.set_stores(&[policy(eviction)]);
    space
}

fn set(space: &Keyspace, key: &str, lifetime: Lifetime) {
    let value = Value::plain(&[b'v'; 200]);
    space.with_key(0, key.as_bytes(), NOW, true, |key| key.set(value, lifetime)).unwrap();
}

fn get(space: &Keyspace, key: &str) -> bool {
    space.with_key(0, key.as_bytes(), NOW, false, |key| key.read().is_some()).unwrap()
}

fn stats(space: &Keyspace) -> StoreStats {
    space.stats().remove(0)
}

fn kept(space: &Keyspace, prefix: &str, count: u32) -> usize {
    let exists = |i: &u32| {
        let key = format!("{prefix}{i}");
        space.with_key(0, key.as_bytes(), NOW, false, |key| key.exists()).unwrap()
    };
    (0..count).filter(exists).count()
}

#[test]
fn keys_in_use_survive_a_scan_by_policies_that_count() {
    for (eviction, least) in [(EvictionPolicy::Lfu, 290), (EvictionPolicy::WTinyLfu, 290)] {
        let space = space(eviction);
        for _ in 0..5 {
            for i in 0..300 {
                if !get(&space, &format!("hot{i}")) {
                    set(&space, &format!("hot{i}"), Lifetime::At(0));
                }
            }
        }
        // Nobody reads them while twenty thousand others come in.
        (0..20_000).for_each(|i| set(&space, &format!("scan{i}"), Lifetime::At(0)));
        let kept = kept(&space, "hot", 300);
        assert!(kept >= least, "{} kept {kept} of 300", eviction.as_str());
    }
}

#[test]
fn keys_leave_in_the_order_of_their_ends_and_those_without_after_them() {
    let space = space(EvictionPolicy::Ttl);
    (0..500).for_each(|i| set(&space, &format!("ever{i}"), Lifetime::At(0)));
    (0..500).for_each(|i| set(&space, &format!("late{i}"), Lifetime::At(NOW + 1_000_000)));
    (0..5000).for_each(|i| set(&space, &format!("soon{i}"), Lifetime::At(NOW + 10_000)));
    assert_eq!(kept(&space, "ever", 500), 500);
    let late = kept(&space, "late", 500);
    assert!(late > 490, "{late}");
    // With no lifetime left, the least recently used leave.
    (0..10_000).for_each(|i| set(&space, &format!("more{i}"), Lifetime::At(0)));
    assert!(kept(&space, "ever", 500) < 50);
    assert!(stats(&space).keys > 1000);
}

#[test]
fn expired_keys_leave_before_live_ones_whatever_the_policy() {
    for (word, eviction) in EvictionPolicy::ALL {
        if eviction == EvictionPolicy::NoEviction {
            continue;
        }
        let space = space(eviction);
        (0..1000).for_each(|i| set(&space, &format!("live{i}"), Lifetime::At(0)));
        for i in 0..1200 {
            set(&space, &format!("over{i}"), Lifetime::At(NOW));
            set(&space, &format!("over{i}"), Lifetime::At(NOW - 1));
        }
        let before = stats(&space);
        (0..500).for_each(|i| set(&space, &format!("new{i}"), Lifetime::At(0)));
        let after = stats(&space);
        assert!(after.expired_keys >= before.expired_keys, "{word}");
        assert!(kept(&space, "live", 1000) > 900, "{word}");
    }
}

#[test]
fn l6_a_policy_is_in_force_from_the_moment_it_changes() {
    let space = space(EvictionPolicy::Random);
    (0..10_000).for_each(|i| set(&space, &format!("k{i}"), Lifetime::At(0)));
    for (_, eviction) in EvictionPolicy::ALL {
        space.set_stores(&[policy(eviction)]);
        let before = stats(&space);
        for i in 0..3000 {
            let key = format!("{}{i}", eviction.as_str());
            let wrote = space.with_key(0, key.as_bytes(), NOW, true, |key| {
                key.set(Value::plain(&[b'v'; 200]), Lifetime::At(0));
            });
            // Only one policy refuses.
            assert!(wrote.is_ok() || eviction == EvictionPolicy::NoEviction);
        }
        let after = stats(&space);
        assert_eq!(
            after.evicted_keys > before.evicted_keys,
            eviction != EvictionPolicy::NoEviction
        );
        assert!(after.used_memory_bytes < BUDGET + 8192, "{after:?}");
        assert!(after.keys > 1000, "{after:?}");
    }
}

#[test]
fn l10_what_eviction_remembers_is_counted_and_goes_with_flushall() {
    let space = space(EvictionPolicy::WTinyLfu);
    (0..20_000).for_each(|i| set(&space, &format!("k{i}"), Lifetime::At(0)));
    let mut tables = 0;
    for cell in &space.cells {
        tables += cell.state.lock().get(0).map_or(0, |table| table.heap_bytes() as u64);
    }
    let remembered = stats(&space).used_memory_bytes - tables;
    let keys = stats(&space).keys;
    assert!(remembered > 4 * keys && remembered < 10 * keys + 8192, "{remembered} for {keys}");
    space.flush(0);
    assert_eq!(stats(&space).used_memory_bytes, 0);
}

#[test]
fn a_member_under_pressure_takes_its_share_from_every_store_that_may_evict() {
    let space = space(EvictionPolicy::Lru);
    let mut kept = StorePolicy::new("kept", 1);
    kept.eviction_policy = EvictionPolicy::NoEviction;
    space.set_stores(&[policy(EvictionPolicy::Lru), kept]);
    (0..2000).for_each(|i| set(&space, &format!("k{i}"), Lifetime::At(0)));
    for i in 0..100u32 {
        space
            .with_key(1, &i.to_le_bytes(), NOW, true, |key| {
                key.set(Value::Int(1), Lifetime::At(0));
            })
            .unwrap();
    }
    let (before, evicted) = (stats(&space).used_memory_bytes, stats(&space).evicted_keys);
    let freed = space.evict_share(10, 10_000, NOW);
    let after = stats(&space).used_memory_bytes;
    assert_eq!(before - after, freed);
    let gone = stats(&space);
    assert!(gone.evicted_for_member_keys > 0);
    assert_eq!(gone.evicted_for_member_keys, gone.evicted_keys - evicted);
    assert!((before / 11..before / 8).contains(&freed), "{freed} of {before}");
    assert_eq!(space.keys(1), 100);
    let keys = space.keys(0);
    space.evict_share(100, 5, NOW);
    assert_eq!(space.keys(0), keys - 5);
}

#[test]
fn threads_evict_at_once_without_waiting_for_each_other_for_ever() {
    for (word, eviction) in EvictionPolicy::ALL {
        if eviction == EvictionPolicy::NoEviction {
            continue;
        }
        let space = space(eviction);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let space = &space;
                scope.spawn(move || {
                    for i in 0..3000 {
                        let lifetime = if i % 3 == 0 { Lifetime::At(0) } else { Lifetime::Default };
                        set(space, &format!("{{{}}}{thread}:{i}", i % 700), lifetime);
                        get(space, &format!("{{{}}}{}:{i}", i % 700, (thread + 1) % 4));
                    }
                });
            }
        });
        let after = stats(&space);
        assert_eq!(after.evicted_keys + after.expired_keys + after.keys, 12_000, "{word}");
        // Each thread may be over by the write that it was let in with.
        assert!(after.used_memory_bytes < BUDGET + 4 * 4096, "{word}: {after:?}");
        space.flush(0);
        assert_eq!(stats(&space).used_memory_bytes, 0, "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn l9_whatever_is_written_the_store_stays_at_its_budget_and_its_accounts_are_right(
        which in 0..EvictionPolicy::ALL.len(),
        steps in proptest::collection::vec((0..5u8, 0..3000u32, 0..4000usize), 200..1500),
    ) {
        let eviction = EvictionPolicy::ALL[which].1;
        prop_assume!(eviction != EvictionPolicy::NoEviction);
        let space = space(eviction);
        for (step, key, size) in steps {
            let key = format!("{{{}}}{key}", key % 50);
            match step {
                0 => _ = get(&space, &key),
                1 => {
                    space.with_key(0, key.as_bytes(), NOW, false, |key| key.remove()).unwrap();
                }
                _ => {
                    let value = Value::plain(&vec![b'v'; size]);
                    space.with_key(0, key.as_bytes(), NOW, true, |key| {
                        key.set(value, Lifetime::Default);
                    }).unwrap();
                }
            }
            prop_assert!(stats(&space).used_memory_bytes < BUDGET + 16_384);
        }
        let mut keys = 0;
        space.visit_keys(0, 0, usize::MAX, NOW, |_| keys += 1);
        prop_assert_eq!(stats(&space).keys, keys);
        space.flush(0);
        prop_assert_eq!(stats(&space).used_memory_bytes, 0);
    }
}
