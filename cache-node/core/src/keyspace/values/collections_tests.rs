//! Hashes, sets and sorted sets against the standard library's, through all their forms.

use super::super::hash::KeyHasher;
use super::dict::Dict;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn hasher() -> KeyHasher {
    KeyHasher::new(7)
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, i16),
    Remove(Vec<u8>),
    PutMany(u16, u16),
    RemoveMany(u16, u16),
    RemoveRange(usize, usize),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u16..40).prop_map(|i| i.to_string().into_bytes()),
        3 => prop::collection::vec(97u8..100, 0..3),
        1 => (60usize..70).prop_map(|len| vec![b'x'; len]),
        1 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (member(), -3i16..4).prop_map(|(m, s)| Step::Put(m, s)),
        5 => member().prop_map(Step::Remove),
        2 => (0u16..900, 1u16..700).prop_map(|(from, n)| Step::PutMany(from, n)),
        2 => (0u16..900, 1u16..700).prop_map(|(from, n)| Step::RemoveMany(from, n)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Step::RemoveRange(a, b)),
    ]
}

fn many(from: u16, count: u16) -> impl Iterator<Item = (Vec<u8>, f64)> {
    (from..from + count).map(|i| (i.to_string().into_bytes(), f64::from(i % 50)))
}

/// The members of a model in the order of a sorted set.
fn ordered(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

fn check_sorted(set: &SortedSet, model: &BTreeMap<Vec<u8>, f64>) {
    let hasher = hasher();
    let expected = ordered(model);
    assert_eq!(set.heap_bytes(), set.counted_bytes());
    assert_eq!(set.len(), expected.len());
    let mut found = Vec::new();
    set.visit(0, usize::MAX, false, |member, score| {
        found.push((member.to_vec(), score));
        true
    });
    assert_eq!(found, expected);
    for (rank, (member, score)) in expected.iter().enumerate().step_by(7) {
        assert_eq!(set.rank(&hasher, member), Some((rank, *score)));
        let first = expected.partition_point(|(_, s)| s < score);
        assert_eq!(set.first(|s, _| s >= *score), first);
        let last = expected.partition_point(|(_, s)| s <= score);
        assert_eq!(set.last(|s, _| s <= *score), last);
        let mut backwards = Vec::new();
        set.visit(first, last, true, |member, _| {
            backwards.push(member.to_vec());
            true
        });
        let range = expected[first..last].iter().rev().map(|(m, _)| m.clone());
        assert_eq!(backwards, range.collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sorted_set_does_what_a_sorted_list_does_and_counts_its_memory(
        steps in prop::collection::vec(step(), 0..25),
    ) {
        let hasher = hasher();
        let (mut set, mut model) = (SortedSet::default(), BTreeMap::<Vec<u8>, f64>::new());
        for step in steps {
            match step {
                Step::Put(m, s) => {
                    let s = f64::from(s);
                    prop_assert_eq!(set.set(&hasher, &m, s), model.insert(m, s).is_none());
                }
                Step::Remove(m) => {
                    prop_assert_eq!(set.remove(&hasher, &m), model.remove(&m).is_some());
                }
                Step::PutMany(from, n) => many(from, n).for_each(|(m, s)| {
                    set.set(&hasher, &m, s);
                    model.insert(m, s);
                }),
                Step::RemoveMany(from, n) => many(from, n).for_each(|(m, _)| {
                    set.remove(&hasher, &m);
                    model.remove(&m);
                }),
                Step::RemoveRange(a, b) => {
                    let len = model.len() + 1;
                    let (a, b) = ((a % len).min(b % len), (a % len).max(b % len));
                    set.remove_range(&hasher, a, b);
                    for (member, _) in &ordered(&model)[a..b] {
                        model.remove(member);
                    }
                }
            }
            check_sorted(&set, &model);
        }
    }

    #[test]
    fn a_hash_does_what_a_map_does_and_counts_its_memory(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let hasher = hasher();
        let (mut hash, mut model) = (Hash::default(), BTreeMap::<Vec<u8>, Vec<u8>>::new());
        let value = |s: f64| "v".repeat(s.abs() as usize).into_bytes();
        for step in steps {
            match step {
                Step::Put(m, s) => {
                    let v = value(f64::from(s) * 30.0);
                    prop_assert_eq!(hash.set(&hasher, &m, &v), model.insert(m, v).is_none());
                }
                Step::Remove(m) => {
                    prop_assert_eq!(hash.remove(&hasher, &m), model.remove(&m).is_some());
                }
                Step::PutMany(from, n) => many(from, n).for_each(|(m, s)| {
                    hash.set(&hasher, &m, &value(s));
                    model.insert(m, value(s));
                }),
                Step::RemoveMany(from, n) => many(from, n).for_each(|(m, _)| {
                    hash.remove(&hasher, &m);
                    model.remove(&m);
                }),
                Step::RemoveRange(..) => {}
            }
            if let Hash::Table(table) = &hash {
                prop_assert_eq!(table.heap_bytes(), table.counted_bytes());
            }
            let mut found = BTreeMap::new();
            hash.visit(|f, v| { found.insert(f.to_vec(), v.to_vec()); });
            prop_assert_eq!(hash.len(), model.len());
            prop_assert_eq!(&found, &model);
            for (f, v) in model.iter().step_by(5) {
                prop_assert_eq!(hash.get(&hasher, f), Some(v.as_slice()));
            }
        }
    }

    #[test]
    fn a_set_does_what_a_set_does(steps in prop::collection::vec(step(), 0..40)) {
        let hasher = hasher();
        let (mut set, mut model) = (Set::default(), BTreeSet::<Vec<u8>>::new());
        for step in steps {
            match step {
                Step::Put(m, _) => {
                    prop_assert_eq!(set.insert(&hasher, &m), model.insert(m));
                }
                Step::Remove(m) => {
                    prop_assert_eq!(set.remove(&hasher, &m), model.remove(&m));
                }
                Step::PutMany(from, n) => many(from, n).for_each(|(m, _)| {
                    set.insert(&hasher, &m);
                    model.insert(m);
                }),
                Step::RemoveMany(from, n) => many(from, n).for_each(|(m, _)| {
                    set.remove(&hasher, &m);
                    model.remove(&m);
                }),
                Step::RemoveRange(..) => {}
            }
            let mut found = BTreeSet::new();
            set.visit(|m| { found.insert(m.to_vec()); });
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(&found, &model);
            for m in model.iter().step_by(5) {
                prop_assert!(set.contains(&hasher, m));
            }
        }
    }
}

#[test]
fn a_scan_meets_every_member_that_stays_whatever_else_comes_and_goes() {
    let hasher = hasher();
    let mut table = Dict::default();
    let name = |i: usize| format!("member-{i}").into_bytes();
    for i in 0..3000 {
        table.insert(&hasher, super::super::entry::Bytes::new(&name(i)));
    }
    let (mut seen, mut from, mut next) = (BTreeSet::new(), 0, 3000);
    loop {
        let mut step = 0;
        let end = table.scan(&hasher, from, 10, |member| {
            seen.insert(member.as_slice().to_vec());
            step += 1;
        });
        assert!(step <= 20, "a step of 10 met {step}");
        // The table grows at first and shrinks later; the first thousand stay.
        for _ in 0..40 {
            if next < 9000 {
                table.insert(&hasher, super::super::entry::Bytes::new(&name(next)));
                next += 1;
            }
        }
        if next >= 9000 && table.len() > 1100 {
            for i in 1000..next {
                table.remove(&hasher, &name(i));
            }
        }
        match end {
            Some(end) => from = end,
            None => break,
        }
    }
    assert!((0..1000).all(|i| seen.contains(&name(i))));
    assert_eq!(table.heap_bytes(), table.counted_bytes());
}

#[test]
fn every_member_is_picked_about_as_often() {
    let hasher = hasher();
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_add(1);
        super::super::hash::mix(state)
    };
    for len in [3usize, 100, 2000] {
        let mut set = Set::default();
        (0..len).for_each(|i| {
            set.insert(&hasher, format!("m{i}").as_bytes());
        });
        let mut counts = BTreeMap::<Vec<u8>, usize>::new();
        for _ in 0..len * 100 {
            *counts.entry(set.random(&mut random).unwrap().as_slice().to_vec()).or_default() += 1;
        }
        assert_eq!(counts.len(), len, "each member comes up");
        // A hundred each is expected; a segment's share of places is not exactly its share of members.
        assert!(counts.values().all(|count| (40..220).contains(count)), "{len}: {counts:?}");
    }
}
