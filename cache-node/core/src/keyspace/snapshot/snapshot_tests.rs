use super::*;
use crate::cluster::{Slot, slot_of};
use crate::command::lookup;
use crate::keyspace::{Keyspace, Options};
use crate::log::snapshot::Block;
use crate::resp::{Protocol, Reply, Writer};
use crate::store::{EvictionPolicy, StorePolicy};
use proptest::prelude::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 5 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn call_at(space: &Keyspace, args: &[&[u8]], now_ms: u64) -> Reply {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, Protocol::Resp2);
    space.execute(lookup(args).unwrap(), 0, args, now_ms, &mut out).unwrap();
    Reply::parse(&bytes).unwrap().expect("a whole reply").0
}

fn run(space: &Keyspace, line: &str) -> Reply {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    call_at(space, &words, NOW_MS)
}

fn take(space: &Keyspace, slot: Slot) -> (Vec<u8>, Vec<Block>) {
    let (mut all, mut out, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
    let mut taking = space.take_slot(0, slot, NOW_MS);
    while let Some(block) = taking.next_piece(&mut out) {
        if block.piece == 0 {
            all.clear();
            blocks.clear();
        }
        all.extend_from_slice(&out);
        blocks.push(block);
    }
    (all, blocks)
}

/// All of a keyspace's slots in a new one.
fn copy(space: &Keyspace) -> Keyspace {
    let new = keyspace();
    for slot in 0..16384 {
        let (bytes, blocks) = take(space, slot);
        let loaded = new.load_slot(0, slot, &bytes, NOW_MS).unwrap();
        assert_eq!(loaded.keys, blocks.iter().map(|block| u64::from(block.keys)).sum::<u64>());
    }
    new
}

fn digests(space: &Keyspace) -> Vec<u64> {
    (0..16384).map(|slot| space.slot_digest(0, slot, NOW_MS)).collect()
}

/// Values of every kind and form.
fn fill(space: &Keyspace) {
    for line in [
        "SET int -42",
        "SET text hello",
        "SET ends soon PX 5000",
        "APPEND raw 12",
        "RPUSH list a b c",
        "HSET hash f v g w",
        "SADD ints 3 1 -70000 2",
        "SADD words a b c",
        "ZADD zset 1.5 a -inf b inf c 0 d",
        "CF.RESERVE cuckoo 1000",
        "CF.ADD cuckoo item",
        "PFADD hll a b c",
    ] {
        assert!(!matches!(run(space, line), Reply::Error(_)), "{line}");
    }
    let odd: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    call_at(space, &[b"SET", b"a\r\n|\0\xff", &odd], NOW_MS);
    call_at(space, &[b"SET", b"empty", b""], NOW_MS);
    call_at(space, &[b"SET", &odd[..2000], b"long key"], NOW_MS);
    for n in 0..3000 {
        let n = n.to_string();
        run(space, &format!("RPUSH biglist {n}"));
        run(space, &format!("HSET bighash {n} v{n}"));
        run(space, &format!("SADD bigset m{n}"));
        run(space, &format!("SADD bigints {n}"));
        run(space, &format!("ZADD bigzset {n} m{n}"));
    }
}

#[test]
fn l17_a_value_comes_back_with_its_type_bytes_and_lifetime() {
    let space = keyspace();
    fill(&space);
    let new = copy(&space);
    assert_eq!(digests(&new), digests(&space));
    let mut buffer = itoa::Buffer::new();
    for key in [
        "int", "text", "ends", "raw", "list", "hash", "ints", "words", "zset", "cuckoo", "empty",
        "biglist", "bighash", "bigset", "bigints", "bigzset", "hll",
    ] {
        for question in ["TYPE", "PTTL", "OBJECT ENCODING", "DUMPLESS"] {
            if question != "DUMPLESS" {
                let line = format!("{question} {key}");
                assert_eq!(run(&new, &line), run(&space, &line), "{line}");
            }
        }
    }
    assert_eq!(run(&new, "CF.EXISTS cuckoo item"), Reply::Integer(1));
    assert_eq!(run(&new, "GET int"), Reply::Bulk(buffer.format(-42).into()));
    assert_eq!(
        run(&new, "ZRANGE zset 0 -1 WITHSCORES"),
        run(&space, "ZRANGE zset 0 -1 WITHSCORES")
    );
    let (old, new) = (&space.stats()[0], &new.stats()[0]);
    assert_eq!((old.keys, old.keys_with_ttl), (new.keys, new.keys_with_ttl));
    let ratio = new.used_memory_bytes as f64 / old.used_memory_bytes as f64;
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_digest_tells_each_change() {
    let space = keyspace();
    fill(&space);
    let mut before = digests(&space);
    for line in [
        "SET int -43",
        "PEXPIRE text 9000",
        "LSET list 0 z",
        "HSET hash f x",
        "SREM words a",
        "ZADD zset 2 a",
        "CF.ADD cuckoo other",
        "DEL empty",
        "SET new 1",
    ] {
        run(&space, line);
        let after = digests(&space);
        assert_ne!(before, after, "{line}");
        before = after;
    }
}

#[test]
fn keys_whose_lifetime_is_over_are_neither_taken_nor_loaded() {
    let space = keyspace();
    space.pause_expiry(u64::MAX);
    run(&space, "SET {x}gone v PX 1");
    run(&space, "SET {x}stays v PX 1000");
    run(&space, "SET {x}ever v");
    let slot = slot_of(b"{x}");
    let (mut bytes, mut taking) = (Vec::new(), space.take_slot(0, slot, NOW_MS + 1));
    assert_eq!(taking.next_piece(&mut bytes).unwrap().keys, 2);
    let new = keyspace();
    let loaded = new.load_slot(0, slot, &bytes, NOW_MS + 1000);
    assert_eq!(loaded, Ok(Loaded { keys: 1, expired: 1 }));
    assert_eq!(new.load_slot(9, slot, &bytes, NOW_MS), Err(Damage::NoStore));
}

#[test]
fn loaded_keys_leave_when_their_lifetime_is_over() {
    let space = keyspace();
    run(&space, "SET k v PX 1000");
    let new = copy(&space);
    assert_eq!(new.expire_cycle(NOW_MS + 999, 1000), 0);
    assert_eq!(new.expire_cycle(NOW_MS + 1000, 1000), 1);
    assert_eq!(new.stats()[0].used_memory_bytes, 0);
}

#[test]
fn keys_of_a_session_are_in_it_after_a_restart() {
    let policy = || {
        let mut policy = StorePolicy::new("default", 0);
        policy.eviction_policy = EvictionPolicy::Session;
        policy.default_ttl_ms = Some(1000);
        policy
    };
    let space = keyspace();
    space.set_stores(&[policy()]);
    run(&space, "SET {s}a 1");
    run(&space, "SET {s}b 1");
    let new = keyspace();
    new.set_stores(&[policy()]);
    let slot = slot_of(b"{s}");
    new.load_slot(0, slot, &take(&space, slot).0, NOW_MS).unwrap();
    // One use lets both live on.
    let at = |key: &[u8], ms| call_at(&new, &[b"GET", key], NOW_MS + ms);
    assert_ne!(at(b"{s}a", 900), Reply::Null);
    assert_ne!(at(b"{s}b", 1500), Reply::Null);
    assert_eq!(at(b"{s}a", 2500), Reply::Null);
}

/// A slot of many keys, whose values say in which generation they were written.
fn large(space: &Keyspace) -> Slot {
    for n in 0..9000 {
        run(space, &format!("SET {{x}}{n} old{n}"));
    }
    slot_of(b"{x}")
}

#[test]
fn a_large_slot_is_taken_in_pieces_as_of_the_moment_it_was_begun() {
    let space = keyspace();
    let slot = large(&space);
    let expected = space.slot_digest(0, slot, NOW_MS);
    let mut taking = space.take_slot(0, slot, NOW_MS);
    let (mut all, mut out, mut n, mut pieces) = (Vec::new(), Vec::new(), 0, Vec::new());
    while let Some(block) = taking.next_piece(&mut out) {
        all.extend_from_slice(&out);
        pieces.push(block);
        // Everything that changes a key, of keys before and behind what was taken.
        for _ in 0..100 {
            n += 7;
            let key = |more: u32| format!("{{x}}{}", (n + more) % 9000);
            run(&space, &format!("SET {} new", key(0)));
            run(&space, &format!("DEL {}", key(1)));
            run(&space, &format!("SET {} again", key(1)));
            run(&space, &format!("APPEND {} more", key(2)));
            run(&space, &format!("PEXPIRE {} 100000", key(3)));
            run(&space, &format!("RENAME {} {{x}}renamed{n}", key(4)));
            run(&space, &format!("SET {{x}}added{n} 1"));
            run(&space, &format!("DEL {{x}}added{}", n - 7));
            run(&space, &format!("RPUSH {{x}}list {n}"));
        }
    }
    assert!(pieces.len() > 3, "{}", pieces.len());
    assert!(pieces.iter().zip(0..).all(|(block, piece)| block.piece == piece));
    assert!(pieces.iter().rev().zip(0..).all(|(block, from_end)| block.is_last == (from_end == 0)));
    let new = keyspace();
    let loaded = new.load_slot(0, slot, &all, NOW_MS).unwrap();
    assert_eq!(loaded.keys, 9000);
    assert_eq!(new.slot_digest(0, slot, NOW_MS), expected);
    assert_eq!(new.keys(0), 9000, "no key was taken twice");
    drop(taking);
    assert!(space.cells[usize::from(slot)].state.lock().tables[0].watches.is_none());
}

#[test]
fn a_table_that_shrinks_while_it_is_taken_is_taken_whole() {
    let space = keyspace();
    let slot = large(&space);
    let expected = space.slot_digest(0, slot, NOW_MS);
    let mut taking = space.take_slot(0, slot, NOW_MS);
    let (mut all, mut out) = (Vec::new(), Vec::new());
    taking.next_piece(&mut out).unwrap();
    all.extend_from_slice(&out);
    (0..8950).for_each(|n| drop(run(&space, &format!("DEL {{x}}{n}"))));
    while taking.next_piece(&mut out).is_some() {
        all.extend_from_slice(&out);
    }
    let new = keyspace();
    new.load_slot(0, slot, &all, NOW_MS).unwrap();
    assert_eq!(new.slot_digest(0, slot, NOW_MS), expected);
}

#[test]
fn a_table_that_is_dropped_while_it_is_taken_is_begun_anew() {
    let space = keyspace();
    let slot = large(&space);
    let mut taking = space.take_slot(0, slot, NOW_MS);
    let mut out = Vec::new();
    assert!(!taking.next_piece(&mut out).unwrap().is_last);
    assert_eq!(taking.next_piece(&mut out).unwrap().piece, 1);
    space.flush_all();
    run(&space, "SET {x}after 1");
    let block = taking.next_piece(&mut out).unwrap();
    assert_eq!((block.piece, block.keys, block.is_last), (0, 1, true));
    assert_eq!(taking.next_piece(&mut out), None);
}

#[test]
fn a_taking_that_is_given_up_leaves_nothing_behind() {
    let space = keyspace();
    let slot = large(&space);
    let mut taking = space.take_slot(0, slot, NOW_MS);
    taking.next_piece(&mut Vec::new()).unwrap();
    drop(taking);
    assert!(space.cells[usize::from(slot)].state.lock().tables[0].watches.is_none());
}

#[test]
fn large_values_make_small_pieces() {
    let space = keyspace();
    let value = "x".repeat(100 << 10);
    (0..40).for_each(|n| drop(run(&space, &format!("SET {{x}}{n} {value}"))));
    let (_, blocks) = take(&space, slot_of(b"{x}"));
    assert!(blocks.len() > 8, "{}", blocks.len());
}

#[test]
fn s6_bytes_that_make_no_sense_are_an_error_and_what_was_before_stays() {
    let space = keyspace();
    for line in ["SET {x}a 1", "RPUSH {x}b a b", "HSET {x}c f v", "ZADD {x}d 1 m", "SADD {x}e m"] {
        run(&space, line);
    }
    run(&space, "CF.ADD {x}f item");
    let slot = slot_of(b"{x}");
    let (bytes, _) = take(&space, slot);
    for len in 0..bytes.len() {
        let _ = keyspace_of_one().load_slot(0, slot, &bytes[..len], NOW_MS);
    }
    for at in 0..bytes.len().min(400) {
        for flip in [1, 0x40, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let _ = keyspace_of_one().load_slot(0, slot, &bytes, NOW_MS);
        }
    }
    // A key of another slot is not brought in.
    let wrong = keyspace_of_one().load_slot(0, slot + 1, &bytes, NOW_MS);
    assert!(matches!(wrong, Err(Damage::Entry { at: 0, .. })), "{wrong:?}");
}

fn keyspace_of_one() -> Keyspace {
    Keyspace::new(Options { hash_seed: 3, eviction_seed: 5 })
}

proptest! {
    #[test]
    fn s6_no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut rest = &bytes[..];
        let hasher = crate::keyspace::KeyHasher::new(1);
        while entry::take(&mut rest, &hasher).is_some() {}
    }

    #[test]
    fn strings_and_lifetimes_read_back(
        pairs in proptest::collection::btree_map(
            proptest::collection::vec(any::<u8>(), 0..40),
            (proptest::collection::vec(any::<u8>(), 0..300), 0u64..3),
            0..40,
        ),
    ) {
        let space = keyspace_of_one();
        space.set_serving(slot_of(b"{x}"), true);
        for (key, (value, ends)) in &pairs {
            let key = [b"{x}", &key[..]].concat();
            let at = (NOW_MS + ends * 1_000_000_000_000).to_string();
            match ends {
                0 => call_at(&space, &[b"SET", &key, value], NOW_MS),
                _ => call_at(&space, &[b"SET", &key, value, b"PXAT", at.as_bytes()], NOW_MS),
            };
        }
        let slot = slot_of(b"{x}");
        let new = keyspace_of_one();
        new.load_slot(0, slot, &take(&space, slot).0, NOW_MS).unwrap();
        prop_assert_eq!(new.keys(0), pairs.len() as u64);
        prop_assert_eq!(new.slot_digest(0, slot, NOW_MS), space.slot_digest(0, slot, NOW_MS));
    }
}
