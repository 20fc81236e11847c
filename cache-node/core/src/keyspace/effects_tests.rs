use super::super::{Ended, Lifetime, Options};
use super::*;
use crate::command::replay::{Error, Replayed};
use crate::command::{Call, NoScripts, Step, Transacted, lookup};
use crate::log::frame::HEADER_BYTES;
use crate::log::record::commands as commands_of;
use crate::log::{Failed, Record, awaits};
use crate::resp::{Protocol, Writer};
use crate::store::{Durability, Fsync, Mode, StorePolicy};
use std::task::{Poll, Waker};

const NOW: u64 = 1_700_000_000_000;

fn policy(number: StoreNumber) -> StorePolicy {
    let mut policy = StorePolicy::new(format!("s{number}"), number);
    policy.durability = Durability::of(Mode::Aof);
    policy
}

fn space_of(policies: &[StorePolicy]) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    space.set_stores(policies);
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space.journal().start(0, Waker::noop().clone());
    awaits::take();
    space
}

fn space() -> Keyspace {
    space_of(&[policy(0)])
}

/// One whose writers wait for the disk.
fn strict() -> Keyspace {
    let mut policy = policy(0);
    policy.durability.fsync = Fsync::Always;
    space_of(&[policy])
}

fn call_at(space: &Keyspace, words: &str, now_ms: u64) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
    space.execute(lookup(&args).unwrap(), 0, &args, now_ms, out).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn call(space: &Keyspace, words: &str) -> String {
    call_at(space, words, NOW)
}

/// What is in the journal: the commands of each frame, by record.
fn frames(space: &Keyspace) -> Vec<Vec<String>> {
    let frames = space.journal().take().frames.into_iter().map(|frame| {
        let (bytes, header) = frame.finish();
        let raw = header.open(&bytes[HEADER_BYTES..]).unwrap();
        let records = header.records(&raw).map(|record| {
            let words = commands_of(record.unwrap().commands).map(|words| {
                let words: Vec<String> =
                    words.unwrap().iter().map(|w| w.escape_ascii().to_string()).collect();
                words.join(" ")
            });
            words.collect::<Vec<_>>().join("; ")
        });
        records.collect()
    });
    frames.collect()
}

/// All records, whatever their frames.
fn logged(space: &Keyspace) -> Vec<String> {
    let mut all: Vec<String> = frames(space).into_iter().flatten().collect();
    all.sort();
    all
}

#[test]
fn l15_flushall_expire_del_and_expiry_are_in_the_log() {
    let space = space();
    call(&space, "set a 1 px 500");
    assert_eq!(logged(&space), ["SET a 1 PXAT 1700000000500"]);
    call(&space, "expire a 7");
    assert_eq!(logged(&space), ["PEXPIREAT a 1700000007000"]);
    call(&space, "persist a");
    assert_eq!(logged(&space), ["PERSIST a"]);
    call(&space, "del a");
    assert_eq!(logged(&space), ["DEL a"]);
    call(&space, "set b 1 px 500");
    call(&space, "set c 1 px 500");
    call(&space, "set d 1");
    logged(&space);
    call_at(&space, "get b", NOW + 500);
    assert_eq!(logged(&space), ["DEL b"], "a read met it");
    assert_eq!(space.expire_cycle(NOW + 500, 100), 1);
    assert_eq!(logged(&space), ["DEL c"], "the cycle did");
    call(&space, "expire d -1");
    assert_eq!(logged(&space), ["DEL d"], "its end was before now");
    call(&space, "set e 1");
    call(&space, "set f 1");
    logged(&space);
    call(&space, "flushall");
    assert_eq!(logged(&space), ["FLUSHDB", "FLUSHDB"], "each slot that had keys");
}

#[test]
fn a_default_lifetime_is_logged_as_a_time() {
    let mut policy = policy(0);
    policy.default_ttl_ms = Some(1_000);
    let space = space_of(&[policy]);
    call(&space, "set a 1");
    call(&space, "rpush l x y");
    assert_eq!(
        logged(&space),
        ["RPUSH l x y; PEXPIREAT l 1700000001000", "SET a 1 PXAT 1700000001000"]
    );
}

#[test]
fn changes_in_place_are_logged_as_sent_and_short_strings_whole() {
    let space = space();
    call(&space, "rpush l a b");
    call(&space, "rpush l c");
    call(&space, "append s x");
    call(&space, "append s y");
    call(&space, "incr n");
    call(&space, "hset h f 1");
    call(&space, "hset h f 1");
    call(&space, "hincrby h f 2");
    let wanted = [
        "HINCRBY h f 2",
        "HSET h f 1",
        "RPUSH l a b",
        "SET n 1",
        "SET s x",
        "SET s xy",
        "rpush l c",
    ];
    let mut found = logged(&space);
    found.iter_mut().filter(|line| line.starts_with("h")).for_each(|line| {
        *line = line.replace("hincrby", "HINCRBY").replace("hset", "HSET");
    });
    found.sort();
    found.dedup();
    assert_eq!(found, wanted);
    let long = format!("append s {}", "z".repeat(2_000));
    call(&space, &long);
    assert_eq!(logged(&space), [long]);
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let space = space();
    call(&space, "set a 1");
    call(&space, "sadd s x");
    logged(&space);
    for words in ["get a", "sadd s x", "setnx a 2", "del b", "srem s y", "ttl a", "lpop q"] {
        call(&space, words);
        assert_eq!(logged(&space), Vec::<String>::new(), "{words}");
    }
}

#[test]
fn chance_and_moves_are_logged_as_what_they_did() {
    let space = space();
    call(&space, "sadd s only");
    call(&space, "sadd s other");
    logged(&space);
    let reply = call(&space, "spop s");
    let member = reply.lines().nth(1).unwrap();
    assert_eq!(logged(&space), [format!("SREM s {member}")]);
    call(&space, "rpush from a b");
    call(&space, "rpush to z");
    logged(&space);
    call(&space, "lmove from to left right");
    let found = frames(&space);
    assert_eq!(found.len(), 1, "over two slots, and one frame");
    assert_eq!(found[0], ["RPUSH to a", "LPOP from"]);
    call(&space, "rpoplpush to to");
    assert_eq!(logged(&space), ["LPUSH to a; RPOP to"]);
    call(&space, "lmpop 2 nothing to left count 9");
    assert_eq!(logged(&space), ["DEL to"]);
}

#[test]
fn what_empties_a_collection_is_one_record_that_takes_it_out() {
    let space = space();
    for (fills, empties) in [
        ("rpush k a", "lpop k"),
        ("rpush k a a", "lrem k 0 a"),
        ("rpush k a b", "ltrim k 5 9"),
        ("rpush k a", "rpoplpush k other"),
        ("sadd k a", "srem k a"),
        ("sadd k a", "spop k"),
        ("sadd k a", "smove k other2 a"),
        ("hset k f v", "hdel k f"),
        ("zadd k 1 a", "zrem k a"),
        ("zadd k 1 a", "zpopmin k"),
        ("zadd k 1 a", "zremrangebyscore k 0 9"),
        ("zadd k 1 a", "zmpop 1 k min"),
    ] {
        call(&space, fills);
        logged(&space);
        call(&space, empties);
        let found = logged(&space);
        let of_key: Vec<_> = found.iter().filter(|line| line.contains(" k")).collect();
        assert_eq!(of_key, ["DEL k"], "{empties}: {found:?}");
    }
}

fn transact(space: &Keyspace, commands: &[&str]) -> Transacted {
    let steps: Vec<Step<'_>> = commands
        .iter()
        .map(|words| {
            let args: SmallVec<[&[u8]; 8]> = words.split(' ').map(str::as_bytes).collect();
            let spec = lookup(&args).unwrap();
            Step { spec, store: 0, protocol: Protocol::Resp2, args }
        })
        .collect();
    space.transact(&[], &steps, &NoScripts, NOW, &mut Vec::new()).unwrap()
}

#[test]
fn a_transaction_and_a_script_are_one_frame_over_slots_and_stores() {
    let mut other = policy(1);
    other.key_prefixes = vec!["o:".into()];
    let space = space_of(&[policy(0), other]);
    transact(&space, &["set a 1", "set b 2", "set o:c 3", "incr a"]);
    assert_eq!(frames(&space), [["SET a 1", "SET b 2", "SET o:c 3", "SET a 2"]]);
    let keys: [&[u8]; 1] = [b"a"];
    space
        .with_script(0, &keys, true, NOW, |locked| {
            locked.at(b"a").unwrap().set_string(b"x", Lifetime::Default);
            locked.lock_slot(crate::cluster::slot_of(b"o:c")).unwrap();
            locked.at(b"o:c").unwrap().delete();
        })
        .unwrap();
    assert_eq!(frames(&space), [["SET a x", "DEL o:c"]]);
    space
        .with_script(0, &keys, true, NOW, |locked| {
            locked.at(b"a").unwrap().delete();
            locked.unlocked(|space| call(space, "set d 1")).unwrap();
        })
        .unwrap();
    assert_eq!(logged(&space), ["DEL a", "SET d 1"], "before others may come between");
}

#[test]
fn keys_that_make_room_are_logged() {
    let mut policy = policy(0);
    policy.max_memory_bytes = Some(50_000);
    policy.eviction_policy = EvictionPolicy::Lru;
    let space = space_of(&[policy]);
    for number in 0..100 {
        call(&space, &format!("set k{number} {}", "v".repeat(1_000)));
    }
    let dels = logged(&space).iter().filter(|line| line.starts_with("DEL")).count() as u64;
    assert!(dels > 0);
    assert_eq!(dels, space.stats()[0].evicted_keys);
}

#[test]
fn what_a_command_wrote_is_waited_for_and_what_it_may_have_seen_until_that_is_on_the_disk() {
    let space = strict();
    call(&space, "set a 1 px 5");
    let ticket = awaits::take().unwrap();
    call(&space, "get a");
    assert_eq!(awaits::take(), Some(ticket), "it may be lost with the power");
    call(&space, "get b");
    assert_eq!(awaits::take(), None, "another slot");
    space.journal().durable(ticket);
    call(&space, "get a");
    assert_eq!(awaits::take(), None);
    call_at(&space, "get a", NOW + 5);
    assert_eq!(logged(&space).len(), 2);
    assert_eq!(awaits::take(), None, "a read that meets a key that is over");
    for words in ["mset a 1 b 2", "incr a", "expire a 9", "del a", "flushall"] {
        call(&space, words);
        assert!(awaits::take().is_some(), "{words}");
    }
    assert_eq!(transact(&space, &["set a 1"]), Transacted::Done);
    assert!(awaits::take().is_some());
    let lax = self::space();
    call(&lax, "set a 1");
    assert_eq!(awaits::take(), None);
}

#[test]
fn a_client_that_is_served_is_told_what_to_wait_for_and_only_after_it_is_in_the_journal() {
    let space = strict();
    let args: [&[u8]; 3] = [b"blpop", b"l", b"0"];
    let spec = lookup(&args).unwrap();
    let call_of = Call { spec, store: 0, protocol: Protocol::Resp2, args: &args };
    let wait = space.execute_or_wait(call_of, None, NOW, &mut Vec::new()).unwrap().unwrap();
    let keys: [&[u8]; 1] = [b"l"];
    space
        .with_script(0, &keys, true, NOW, |locked| {
            let push: [&[u8]; 3] = [b"rpush", b"l", b"x"];
            let out = &mut Vec::new();
            locked.run(lookup(&push).unwrap(), 0, &push, &mut Writer::new(out, Protocol::Resp2));
            locked.serve_waits();
            assert!(wait.poll(Waker::noop()).is_pending(), "nothing is appended yet");
        })
        .unwrap();
    let Poll::Ready(Ended::Served { reply, awaits }) = wait.poll(Waker::noop()) else {
        panic!("not served");
    };
    assert_eq!(reply, b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
    assert!(awaits.ticket.is_some());
    assert_eq!(frames(&space), [["RPUSH l x", "DEL l"]]);
    space.forget_wait(&wait);
}

#[test]
fn writers_are_refused_while_the_log_cannot_be_written_and_readers_are_not() {
    let mut unlogged = policy(1);
    unlogged.durability = Durability::default();
    unlogged.key_prefixes = vec!["u:".into()];
    let space = space_of(&[policy(0), unlogged]);
    call(&space, "set a 1");
    logged(&space);
    space.journal().fail(Failed("No space left on device".into()));
    let misconf = "-MISCONF Errors writing to the AOF file: No space left on device\r\n";
    for words in
        ["set a 2", "del a", "mset u:x 1 a 2", "expire a 1", "blpop a 1", "flushall", "flushdb"]
    {
        assert_eq!(call(&space, words), misconf, "{words}");
    }
    assert_eq!(transact(&space, &["get a", "set a 2"]), Transacted::NotDurable);
    let keys: [&[u8]; 1] = [b"a"];
    let mut out = Vec::new();
    space
        .with_script(0, &keys, true, NOW, |locked| {
            let set: [&[u8]; 3] = [b"set", b"a", b"2"];
            let out = &mut Writer::new(&mut out, Protocol::Resp2);
            locked.run(lookup(&set).unwrap(), 0, &set, out);
        })
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), misconf);
    assert_eq!(call(&space, "get a"), "$1\r\n1\r\n");
    assert_eq!(call(&space, "set u:x 1"), "+OK\r\n", "a store that promises nothing");
    assert_eq!(transact(&space, &["get a", "set u:x 2"]), Transacted::Done);
    assert_eq!(logged(&space), Vec::<String>::new());
    space.journal().heal();
    assert_eq!(call(&space, "set a 2"), "+OK\r\n");
}

#[test]
fn a_large_collection_is_logged_in_commands_of_bounded_length() {
    let space = space();
    let members: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
    call(&space, &format!("rpush a {}", members.join(" ")));
    let found = logged(&space);
    let lengths: Vec<usize> = found[0].split("; ").map(|c| c.split(' ').count() - 2).collect();
    assert_eq!(lengths, [1_000, 1_000, 500]);
}

fn replay(space: &Keyspace, store: StoreNumber, commands: &[u8]) -> Result<Replayed, Error> {
    let slot = crate::cluster::slot_of(b"a");
    space.replay(&Record { sequence: 9, time_ms: NOW, store, slot, continues: false, commands })
}

fn resp(commands: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for words in commands {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        put_command(&mut bytes, &words);
    }
    bytes
}

#[test]
fn a_record_is_done_whether_its_slot_is_served_or_not_and_nothing_expires() {
    let space = space();
    let slot = crate::cluster::slot_of(b"a");
    space.set_serving(slot, false);
    let done = replay(&space, 0, &resp(&["SET a 1 PXAT 5", "rpush {a}l x", "PEXPIREAT {a}l 6"]));
    assert_eq!(done, Ok(Replayed::Done));
    assert_eq!(replay(&space, 0, &resp(&["rpush {a}l y"])), Ok(Replayed::Done));
    assert_eq!(space.count_keys_in_slot(0, slot), 2);
    assert_eq!(logged(&space), Vec::<String>::new());
    space.set_serving(slot, true);
    assert_eq!(call_at(&space, "lrange {a}l 0 -1", 3), "*2\r\n$1\r\nx\r\n$1\r\ny\r\n");
    assert_eq!(call(&space, "get a"), "$-1\r\n", "and then it does");
    assert_eq!(replay(&space, 0, &resp(&["FLUSHDB"])), Ok(Replayed::Done));
    assert_eq!(space.count_keys_in_slot(0, slot), 0);
    assert_eq!(replay(&space, 7, &resp(&["SET a 1"])), Ok(Replayed::NoStore));
}

#[test]
fn s6_a_record_that_makes_no_sense_is_an_error_and_the_rest_of_it_is_done() {
    let space = space();
    let unknown = |words: &str| replay(&space, 0, &resp(&[words, "SET a 1"]));
    for words in [
        "NOSUCH a",
        "get a",
        "PEXPIREAT a x",
        "SET a 1 PXAT -5",
        "mset a 1",
        "ping",
        "eval x 0",
        "hset a",
        "flushall",
        "CF.LOADPAGE a 0 x y",
    ] {
        assert!(matches!(unknown(words), Err(Error::Unknown { sequence: 9, .. })), "{words}");
        assert_eq!(call(&space, "getdel a"), "$1\r\n1\r\n", "{words}");
    }
    for words in ["SET other 1", "DEL other", "rpush other 1", "SESSION other"] {
        assert!(matches!(unknown(words), Err(Error::OtherSlot { .. })), "{words}");
    }
    assert!(matches!(unknown("rpush a 1"), Err(Error::Refused { .. })), "of another type");
    assert!(matches!(unknown("CF.LOADPAGE a 0 0 y"), Err(Error::Refused { .. })));
    let whole = resp(&["SET a 1", "rpush {a}l x"]);
    for end in 1..whole.len() {
        let done = replay(&space, 0, &whole[..end]);
        let is_first = end == resp(&["SET a 1"]).len();
        assert_eq!(done.is_ok(), is_first, "{end}");
    }
}

#[test]
fn a_session_s_key_is_one_again() {
    let mut policy = policy(0);
    policy.eviction_policy = EvictionPolicy::Session;
    policy.default_ttl_ms = Some(1_000);
    let space = space_of(&[policy.clone()]);
    call(&space, "set {s}a 1");
    call(&space, "set {s}b 1 px 5000");
    assert_eq!(
        logged(&space),
        ["SET {s}a 1 PXAT 1700000001000; SESSION {s}a", "SET {s}b 1 PXAT 1700000005000"]
    );
    call_at(&space, "get {s}a", NOW + 10);
    assert_eq!(logged(&space), Vec::<String>::new(), "a read that prolongs it is not logged");
    let copy = space_of(&[policy]);
    let slot = crate::cluster::slot_of(b"{s}a");
    let commands = &resp(&["SET {s}a 1 PXAT 1700000001000", "SESSION {s}a"])[..];
    copy.replay(&Record { sequence: 1, time_ms: NOW, store: 0, slot, continues: false, commands })
        .unwrap();
    assert_eq!(call_at(&copy, "pttl {s}a", NOW + 400), ":600\r\n");
    call_at(&copy, "get {s}a", NOW + 500);
    assert_eq!(call_at(&copy, "pttl {s}a", NOW + 500), ":1000\r\n");
}
