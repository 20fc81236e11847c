//! Transactions over one member's data.

use super::*;
use crate::command::lookup;
use crate::keyspace::Options;
use crate::store::{EvictionPolicy, StorePolicy};

const NOW: u64 = 1_700_000_000_000;

fn space() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 7, eviction_seed: 9 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn step(words: &str) -> Step<'_> {
    let args: SmallVec<[&[u8]; 8]> = words.split(' ').map(str::as_bytes).collect();
    let spec = lookup(&args).unwrap();
    Step { spec, store: 0, protocol: Protocol::Resp2, args }
}

fn call(space: &Keyspace, now_ms: u64, words: &str) -> String {
    let step = step(words);
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Protocol::Resp2);
    space.execute(step.spec, 0, &step.args, now_ms, &mut writer).unwrap();
    String::from_utf8(out).unwrap()
}

fn watch<'a>(space: &Keyspace, key: &'a str, now_ms: u64) -> WatchedKey<'a> {
    let token = space.watch(0, key.as_bytes(), now_ms).unwrap().unwrap();
    WatchedKey { store: 0, key: key.as_bytes(), token }
}

fn transact(
    space: &Keyspace,
    watched: &[WatchedKey<'_>],
    commands: &[&str],
    now_ms: u64,
) -> (Transacted, String) {
    let steps: Vec<Step<'_>> = commands.iter().map(|words| step(words)).collect();
    let mut out = Vec::new();
    let done = space.transact(watched, &steps, &NoScripts, now_ms, &mut out).unwrap();
    (done, String::from_utf8(out).unwrap())
}

/// What an EXEC gives that watched `key` since before `change`.
fn after(space: &Keyspace, key: &str, change: impl FnOnce(&Keyspace)) -> Transacted {
    let watched = watch(space, key, NOW);
    change(space);
    transact(space, &[watched], &[], NOW).0
}

#[test]
fn every_change_of_a_watched_key_is_seen() {
    let space = space();
    for (prepare, key, change) in [
        ("SET k 1", "k", "SET k 1"),
        ("SET k 1", "k", "INCR k"),
        ("SET k 1", "k", "APPEND k x"),
        ("SET k 1", "k", "DEL k"),
        ("SET k 1", "k", "EXPIRE k 10"),
        ("SET k 1 EX 100", "k", "PERSIST k"),
        ("SET k 1", "k", "RENAME k {k}2"),
        ("SET {k}2 1", "k", "RENAME {k}2 k"),
        ("SET {k}2 1", "k", "COPY {k}2 k"),
        ("DEL k", "k", "SET k 1"),
        ("RPUSH k a b", "k", "LPOP k"),
        ("RPUSH k a b", "k", "RPUSH k c"),
        ("RPUSH k a b", "k", "LREM k 0 a"),
        ("RPUSH k a b", "k", "LSET k 0 b"),
        ("RPUSH k a b", "k", "LMOVE k k LEFT RIGHT"),
        ("SET k 1", "k", "FLUSHALL"),
        ("SET k 1", "k", "FLUSHDB"),
    ] {
        call(&space, NOW, "FLUSHALL");
        call(&space, NOW, prepare);
        let changed = after(&space, key, |space| {
            call(space, NOW, change);
        });
        assert_eq!(changed, Transacted::Changed, "{prepare}; WATCH {key}; {change}");
    }
}

#[test]
fn what_does_not_change_a_watched_key_lets_exec_run() {
    let space = space();
    for (prepare, other) in [
        ("SET k 1", "GET k"),
        ("SET k 1", "TTL k"),
        ("SET k 1", "TOUCH k"),
        ("SET k 1", "SET k 2 NX"),
        ("SET k 1", "SET {k}2 1"),
        ("SET {k}2 1", "DEL {k}2"),
        ("SET {k}2 1", "FLUSHALL"),
        ("DEL k", "DEL k"),
        ("SET k 1", "LPUSH k a"),
        ("RPUSH k a", "LREM k 0 b"),
        ("RPUSH k a", "LINSERT k BEFORE b c"),
        ("RPUSH k a", "LRANGE k 0 -1"),
    ] {
        call(&space, NOW, "FLUSHALL");
        call(&space, NOW, prepare);
        let done = after(&space, "k", |space| {
            call(space, NOW, other);
        });
        assert_eq!(done, Transacted::Done, "{prepare}; WATCH k; {other}");
    }
}

#[test]
fn a_lifetime_that_ends_is_a_change_whether_or_not_anybody_saw_it() {
    let space = space();
    for cycle in [false, true] {
        call(&space, NOW, "SET k 1 PX 10");
        let watched = watch(&space, "k", NOW);
        if cycle {
            assert_eq!(space.expire_cycle(NOW + 20, usize::MAX), 1);
        }
        assert_eq!(transact(&space, &[watched], &["PTTL k"], NOW + 20).0, Transacted::Changed);
    }
    // One that was over before is none.
    call(&space, NOW, "SET k 1 PX 10");
    let watched = watch(&space, "k", NOW + 20);
    space.expire_cycle(NOW + 30, usize::MAX);
    assert_eq!(transact(&space, &[watched], &[], NOW + 30).0, Transacted::Done);
}

#[test]
fn an_eviction_is_a_change() {
    let space = space();
    let mut policy = StorePolicy::new("default", 0);
    policy.max_memory_bytes = Some(64 << 10);
    policy.eviction_policy = EvictionPolicy::Lru;
    space.set_stores(&[policy]);
    call(&space, NOW, "SET k 1");
    let watched = watch(&space, "k", NOW);
    for n in 0..2000 {
        call(&space, NOW + 10_000, &format!("SET other:{n} {}", "x".repeat(100)));
    }
    assert_eq!(call(&space, NOW + 10_000, "EXISTS k"), ":0\r\n");
    assert_eq!(transact(&space, &[watched], &[], NOW + 10_000).0, Transacted::Changed);
}

#[test]
fn a_slot_that_moved_away_and_a_dropped_store_are_changes() {
    let space = space();
    let other = [StorePolicy::new("default", 0), StorePolicy::new("other", 1)];
    space.set_stores(&other);
    let watched = watch(&space, "k", NOW);
    space.clear_slot(slot_of(b"k"));
    assert_eq!(transact(&space, &[watched], &[], NOW).0, Transacted::Changed);
    let token = space.watch(1, b"k", NOW).unwrap().unwrap();
    let watched = WatchedKey { store: 1, key: b"k", token };
    space.set_stores(&other[..1]);
    assert_eq!(transact(&space, &[watched], &[], NOW).0, Transacted::Changed);
    space.set_stores(&other);
    assert_eq!(transact(&space, &[watched], &[], NOW).0, Transacted::Changed);
}

#[test]
fn a_transaction_runs_on_after_an_error_and_answers_each_command() {
    let space = space();
    let commands = ["SET a 1", "LPUSH a x", "INCR b", "MGET a b c", "RENAME a d", "DEL d b"];
    let (done, replies) = transact(&space, &[], &commands, NOW);
    assert_eq!(done, Transacted::Done);
    assert_eq!(
        replies,
        "+OK\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n:1\r\n\
         *3\r\n$1\r\n1\r\n$1\r\n1\r\n$-1\r\n+OK\r\n:2\r\n"
    );
    assert_eq!(space.keys(0), 0);
}

#[test]
fn each_command_runs_in_its_own_store_and_protocol() {
    let space = space();
    space.set_stores(&[StorePolicy::new("default", 0), StorePolicy::new("one", 1)]);
    let mut steps = vec![step("SET k 0"), step("SET k 1"), step("GET k"), step("GET none")];
    steps[1].store = 1;
    steps[2].store = 1;
    steps[3].protocol = Protocol::Resp3;
    let mut gone = step("GET k");
    gone.store = 9;
    steps.push(gone);
    let mut out = Vec::new();
    assert_eq!(space.transact(&[], &steps, &NoScripts, NOW, &mut out), Ok(Transacted::Done));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "+OK\r\n+OK\r\n$1\r\n1\r\n_\r\n-ERR the selected store does not exist any more\r\n"
    );
    assert_eq!(call(&space, NOW, "GET k"), "$1\r\n0\r\n");
}

#[test]
fn commands_over_all_keys_run_in_their_turn() {
    let space = space();
    let commands = ["SET a 1", "DBSIZE", "SET b 1", "DBSIZE", "FLUSHALL", "EXISTS a", "KEYS *"];
    let (_, replies) = transact(&space, &[], &commands, NOW);
    assert_eq!(replies, "+OK\r\n:1\r\n+OK\r\n:2\r\n+OK\r\n:0\r\n*0\r\n");
}

#[test]
fn nothing_runs_when_one_slot_is_not_served() {
    let space = space();
    space.set_serving(slot_of(b"b"), false);
    let steps = [step("SET a 1"), step("DBSIZE"), step("SET b 1")];
    let mut out = Vec::new();
    let refused = space.transact(&[], &steps, &NoScripts, NOW, &mut out);
    assert_eq!(refused, Err(NotServing { slot: slot_of(b"b") }));
    assert!(out.is_empty());
    assert_eq!(space.keys(0), 0);
}

#[test]
fn a_store_without_room_aborts_the_whole() {
    let space = space();
    call(&space, NOW, "SET big 0123456789");
    let mut policy = StorePolicy::new("default", 0);
    policy.max_memory_bytes = Some(1);
    policy.eviction_policy = EvictionPolicy::NoEviction;
    space.set_stores(&[policy]);
    let (aborted, replies) = transact(&space, &[], &["DEL big", "SET a 1"], NOW);
    assert_eq!((aborted, replies.as_str()), (Transacted::OutOfMemory, ""));
    assert_eq!(space.keys(0), 1);
    assert_eq!(transact(&space, &[], &["DEL big"], NOW).0, Transacted::Done);
}

#[test]
fn s7_watches_leave_nothing_behind() {
    let space = space();
    let (first, second) = (watch(&space, "k", NOW), watch(&space, "k", NOW));
    assert!(space.watched_bytes(0) > 0);
    space.unwatch(&first, NOW);
    assert!(space.watched_bytes(0) > 0, "somebody still watches");
    assert_eq!(transact(&space, &[second], &[], NOW).0, Transacted::Done);
    assert_eq!(space.watched_bytes(0), 0);
    // Whose client died without a word: gone in time, and then an EXEC is refused.
    let forgotten = watch(&space, "k", NOW);
    space.prune_watches(NOW + 60_000);
    assert!(space.watched_bytes(0) > 0);
    space.prune_watches(NOW + 3_600_000);
    assert_eq!(space.watched_bytes(0), 0);
    assert_eq!(transact(&space, &[forgotten], &[], NOW).0, Transacted::Changed);
    // A changed key, a flush and a dropped slot take their watches with them.
    watch(&space, "k", NOW);
    call(&space, NOW, "SET k 1");
    assert_eq!(space.watched_bytes(0), 0);
    watch(&space, "k", NOW);
    call(&space, NOW, "FLUSHALL");
    assert_eq!(space.watched_bytes(0), 0);
    watch(&space, "k", NOW);
    space.clear_slot(slot_of(b"k"));
    assert_eq!(space.watched_bytes(0), 0);
}

#[test]
fn s1_watched_keys_are_bounded() {
    let space = space();
    let long = "k".repeat(1 << 20);
    let given: Vec<bool> = (0..80)
        .map(|n| space.watch(0, format!("{n}{long}").as_bytes(), NOW).unwrap().is_some())
        .collect();
    let count = given.iter().filter(|given| **given).count();
    assert!((60..64).contains(&count), "{count}");
    assert!(space.watched_bytes(0) <= 64 << 20);
}

#[test]
fn nobody_sees_half_of_a_transaction() {
    let space = space();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let (_, replies) = transact(&space, &[], &["GET a", "GET b"], NOW);
                let words: Vec<&str> = replies.split("\r\n").collect();
                let half = words.len() / 2;
                assert_eq!(words[..half], words[half..half * 2], "{replies}");
                seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        // On a busy machine the reader may begin late.
        let looked = || seen.load(std::sync::atomic::Ordering::Relaxed) > 10;
        for n in (0..).take_while(|n| *n < 2000 || (*n < 10_000_000 && !looked())) {
            let (a, b) = (format!("SET a {n}"), format!("SET b {n}"));
            transact(&space, &[], &[&b, &a], NOW);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
        assert!(looked());
    });
}
