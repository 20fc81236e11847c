use super::*;
use std::collections::HashSet;

fn add(table: &mut Table, hasher: &KeyHasher, key: &str) {
    let (hash, value) = (hasher.hash(key.as_bytes()), New::Value(Value::Int(1)));
    table.insert(hasher, hash, key.as_bytes(), value, 0, Usage::default());
}

fn filled(hasher: &KeyHasher, count: usize) -> Table {
    let mut table = Table::default();
    for i in 0..count {
        let key = format!("key:{i}");
        add(&mut table, hasher, &key);
    }
    table
}

fn find(table: &Table, hasher: &KeyHasher, key: &str) -> Option<Place> {
    table.find(hasher.hash(key.as_bytes()), key.as_bytes())
}

#[test]
fn every_key_is_found_however_large_the_table_and_removal_gives_all_memory_back() {
    let hasher = KeyHasher::new(7);
    for count in [1, 3, 100, 1792, 1793, 20_000] {
        let mut table = filled(&hasher, count);
        assert_eq!(table.len(), count);
        let mut seen = 0;
        table.visit(|_| seen += 1);
        assert_eq!(seen, count);
        assert!(find(&table, &hasher, "other").is_none());
        for i in 0..count {
            let key = format!("key:{i}");
            let place = find(&table, &hasher, &key).unwrap();
            assert_eq!(table.get(place).unwrap().key, key.as_bytes());
            assert!(table.remove(&hasher, place).is_none());
            assert!(find(&table, &hasher, &key).is_none());
            let counted = table.bytes;
            table.recount();
            assert_eq!(table.bytes, counted);
        }
        assert_eq!((table.len(), table.heap_bytes()), (0, 0));
    }
}

#[test]
fn l1_an_insert_moves_at_most_one_segment_however_many_keys_there_are() {
    let hasher = KeyHasher::new(7);
    let table = filled(&hasher, 50_000);
    let Kind::Split(directory) = &table.kind else { panic!("50000 keys are in one segment") };
    assert!(directory.segments.iter().all(|s| s.part.len() <= SEGMENT_ENTRIES));
    assert!(directory.segments.len() > 28);
    assert!(table.heap_bytes() < 50_000 * 30);
}

#[test]
fn a_walk_by_segments_sees_every_key_that_stays_while_the_table_grows_and_shrinks() {
    let hasher = KeyHasher::new(9);
    let mut table = filled(&hasher, 10_000);
    let mut seen = HashSet::new();
    let (mut from, mut round) = (0, 0);
    loop {
        let next = table.visit_segment(from, |entry| {
            seen.insert(entry.key.to_vec());
        });
        for i in 0..500 {
            let key = format!("new:{round}:{i}");
            add(&mut table, &hasher, &key);
            let gone = format!("key:{}", 5000 + (round * 500 + i) % 5000);
            if let Some(place) = find(&table, &hasher, &gone) {
                table.remove(&hasher, place);
            }
        }
        round += 1;
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert!((0..5000).all(|i| seen.contains(format!("key:{i}").as_bytes())));
}

#[test]
fn a_sample_comes_from_everywhere() {
    let hasher = KeyHasher::new(3);
    for count in [1, 50, 5000] {
        let table = filled(&hasher, count);
        let mut seen = HashSet::new();
        for i in 0..200_000u64 {
            table.sample(super::super::hash::mix(i), 5, |entry| {
                seen.insert(entry.key.to_vec());
            });
        }
        assert!(seen.len() * 10 >= count * 9, "{} of {count}", seen.len());
    }
}

#[test]
fn keys_and_values_of_any_size_are_kept_while_a_table_splits_and_collapses() {
    let hasher = KeyHasher::new(11);
    let mut table = Table::default();
    let size = |i: usize| [1, 64, 300, 900, 2000][i % 5];
    let key = |i: usize| format!("{}:{i}", "k".repeat(if i.is_multiple_of(97) { 700 } else { 5 }));
    for round in 0..3 {
        for i in 0..9000 {
            let (key, text) = (key(i), vec![b'a' + round; size(i + usize::from(round))]);
            let hash = hasher.hash(key.as_bytes());
            let ends_at_ms = if i % 3 == 0 { 1_700_000_000_000 + i as u64 } else { 0 };
            match table.find(hash, key.as_bytes()) {
                Some(place) => {
                    let usage = table.get(place).unwrap().usage;
                    table.replace(&hasher, place, New::Str(&text), usage, None);
                    let place = table.find(hash, key.as_bytes()).unwrap();
                    let place = table.set_expiry(&hasher, place, ends_at_ms).unwrap();
                    assert_eq!(table.get(place).unwrap().key, key.as_bytes());
                }
                None => {
                    let (value, usage) = (New::Str(&text), Usage::default());
                    table.insert(&hasher, hash, key.as_bytes(), value, ends_at_ms, usage);
                }
            }
        }
        let counted = table.bytes;
        table.recount();
        assert_eq!(table.bytes, counted);
        assert!(matches!(&table.kind, Kind::Split(directory) if directory.segments.len() > 60));
        for i in 0..9000 {
            let entry = table.get(find(&table, &hasher, &key(i)).unwrap()).unwrap();
            assert_eq!(entry.value.string_len(), Some(size(i + usize::from(round))));
            assert_eq!(entry.expires_at_ms != 0, i % 3 == 0);
        }
    }
    for i in 0..8950 {
        let place = find(&table, &hasher, &key(i)).unwrap();
        assert_eq!(table.take(&hasher, place).unwrap().value.string_len(), Some(size(i + 2)));
    }
    assert!(matches!(&table.kind, Kind::Small(_)));
    assert!((8950..9000).all(|i| find(&table, &hasher, &key(i)).is_some()));
    let counted = table.bytes;
    table.recount();
    assert_eq!((table.bytes, table.len()), (counted, 50));
}
