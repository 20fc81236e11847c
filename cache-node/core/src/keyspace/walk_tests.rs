use super::super::{Keyspace, Lifetime, Options, Value};
use super::*;
use std::collections::BTreeMap;

const NOW_MS: u64 = 1_000;

fn keyspace() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space
}

fn set(space: &Keyspace, key: &str) {
    let lifetime = Lifetime::At(0);
    let put = |access: &mut super::super::Access<'_>| access.set(Value::string(b"v"), lifetime);
    space.with_key(0, key.as_bytes(), NOW_MS, false, put).unwrap();
}

fn discard(space: &Keyspace, key: &str) {
    space.with_key(0, key.as_bytes(), NOW_MS, false, |access| access.discard()).unwrap();
}

/// Visits all keys in steps, with something else between them.
fn walk(
    space: &Keyspace,
    budget: usize,
    mut between: impl FnMut(usize),
) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    let (mut at, mut steps) = (Some(0), 0);
    while let Some(from) = at {
        at = space.visit_keys(0, from, budget, NOW_MS, |entry| {
            let key = String::from_utf8_lossy(entry.key).into_owned();
            *seen.entry(key).or_default() += 1;
        });
        steps += 1;
        assert!(steps < 100_000, "it does not end");
        between(steps);
    }
    seen
}

#[test]
fn keys_that_stay_are_visited_once_while_tables_grow_and_shrink() {
    let space = keyspace();
    // Many in one slot, whose table is split; and some in others.
    let stays =
        |n: usize| if n.is_multiple_of(2) { format!("{{a}}:{n}") } else { format!("k:{n}") };
    (0..6000).for_each(|n| set(&space, &stays(n)));
    for (grow, budget) in [(true, 10), (false, 10), (true, 700), (false, 5000)] {
        if !grow {
            (0..6000).for_each(|n| set(&space, &format!("{{a}}:more:{n}")));
        }
        let seen = walk(&space, budget, |step| {
            for n in step * 20..(step + 1) * 20 {
                let key = format!("{{a}}:more:{n}");
                if grow { set(&space, &key) } else { discard(&space, &key) }
            }
        });
        for n in 0..6000 {
            assert_eq!(seen.get(&stays(n)), Some(&1), "{n}");
        }
        assert!(seen.values().all(|times| *times == 1));
    }
}

#[test]
fn a_walk_leaves_out_slots_that_are_not_served_and_stores_that_are_not_there() {
    let space = keyspace();
    (0..100).for_each(|n| set(&space, &format!("k:{n}")));
    space.set_serving(crate::cluster::slot_of(b"k:7"), false);
    let seen = walk(&space, 3, |_| {});
    assert!(!seen.contains_key("k:7") && seen.len() >= 98);
    assert_eq!(space.visit_keys(9, 0, 10, NOW_MS, |_| panic!("a key")), None);
    assert_eq!(space.visit_keys(0, u64::MAX, 10, NOW_MS, |_| {}), None);
}

#[test]
fn a_flush_in_steps_leaves_nothing() {
    let space = keyspace();
    (0..5000).for_each(|n| set(&space, &format!("k:{n}")));
    let (mut at, mut steps) = (Some(0), 0);
    while let Some(from) = at {
        at = space.flush_step(0, from, 100, NOW_MS);
        steps += 1;
    }
    assert!(steps > 10 && space.keys(0) == 0);
    assert_eq!(space.flush_step(9, 0, 100, NOW_MS), None);
}
