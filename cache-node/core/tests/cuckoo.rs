//! CF.*: what users of RedisBloom rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use hypercache_core::command::lookup;
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::resp::{Protocol, Reply, Writer};
use hypercache_core::store::{EvictionPolicy, StorePolicy};

const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 5 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn call_at(space: &Keyspace, words: &[&[u8]], now_ms: u64) -> Reply {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, Protocol::Resp2);
    let spec = match lookup(words) {
        Ok(spec) => spec,
        Err(error) => return Reply::Error(error.to_string()),
    };
    space.execute(spec, 0, words, now_ms, &mut out).unwrap();
    let (reply, len) = Reply::parse(&bytes).unwrap().expect("a whole reply");
    assert_eq!(len, bytes.len());
    reply
}

fn call(space: &Keyspace, words: &[&[u8]]) -> Reply {
    call_at(space, words, NOW_MS)
}

fn run(space: &Keyspace, line: &str) -> Reply {
    call(space, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.to_owned())
}

fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

fn integers(numbers: &[i64]) -> Reply {
    Reply::Array(numbers.iter().map(|n| Reply::Integer(*n)).collect())
}

fn used(space: &Keyspace) -> u64 {
    space.stats().iter().map(|store| store.used_memory_bytes).sum()
}

#[test]
fn replies_are_those_of_redisblom_s_documentation() {
    let space = keyspace();
    for (line, reply) in [
        ("cf.reserve cf 1000", ok()),
        ("cf.reserve cf 1000", error("ERR item exists")),
        ("cf.exists cf k1", Reply::Integer(0)),
        ("cf.add cf k1", Reply::Integer(1)),
        ("cf.add cf k1", Reply::Integer(1)),
        ("cf.count cf k1", Reply::Integer(2)),
        ("cf.del cf k1", Reply::Integer(1)),
        ("cf.del cf k1", Reply::Integer(1)),
        ("cf.del cf k1", Reply::Integer(0)),
        ("cf.addnx cf k2", Reply::Integer(1)),
        ("cf.addnx cf k2", Reply::Integer(0)),
        ("cf.insert other items a b b", integers(&[1, 1, 1])),
        ("cf.insertnx other capacity 1000 items a c", integers(&[0, 1])),
        ("cf.mexists other a b c d", integers(&[1, 1, 1, 0])),
        ("cf.mexists none a b", integers(&[0, 0])),
        ("cf.exists none a", Reply::Integer(0)),
        ("cf.count none a", Reply::Integer(0)),
        ("cf.insert none nocreate items a", error("ERR not found")),
        ("cf.insertnx none capacity 100 nocreate items a", error("ERR not found")),
        ("cf.del none a", error("Not found")),
        ("cf.info none", error("ERR not found")),
        ("cf.scandump none 0", error("ERR not found")),
        ("cf.loadchunk none 9 abcdefgh", error("ERR not found")),
        ("cf.reserve cf2 2 bucketsize 1 expansion 0", ok()),
        ("cf.insert cf2 items 1 1 1 1", integers(&[1, 1, -1, -1])),
        ("cf.add cf2 1", error("Filter is full")),
        ("type cf", Reply::Simple("MBbloomCF".to_owned())),
        ("object encoding cf", Reply::Bulk(b"raw".to_vec())),
    ] {
        assert_eq!(run(&space, line), reply, "{line}");
    }
    let Reply::Array(info) = run(&space, "cf.info cf") else { panic!() };
    let words: Vec<_> = info.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let word = |text: &str| Reply::Simple(text.to_owned());
    assert_eq!(words.len(), 8);
    assert_eq!(words[1], (word("Number of buckets"), Reply::Integer(512)));
    assert_eq!(words[3], (word("Number of items inserted"), Reply::Integer(1)));
    assert_eq!(words[4], (word("Number of items deleted"), Reply::Integer(2)));
    assert_eq!(words[7], (word("Max iterations"), Reply::Integer(20)));
}

#[test]
fn wrong_arguments_are_errors_and_change_nothing() {
    let space = keyspace();
    run(&space, "set text x");
    let before = used(&space);
    let arity =
        |command: &str| error(&format!("ERR wrong number of arguments for '{command}' command"));
    let reserve = "Capacity must be in the range [2 * BUCKETSIZE, 1073741824]";
    let insert = "Capacity must be in the range [cf-bucket-size * 2, 1073741824]";
    for (line, reply) in [
        ("cf.reserve k", arity("cf.reserve")),
        ("cf.reserve k 10 bucketsize", arity("cf.reserve")),
        ("cf.reserve k many", error("Bad capacity")),
        ("cf.reserve k 1", error(reserve)),
        ("cf.reserve k -9223372036854775808", error(reserve)),
        ("cf.reserve k 1073741825", error(reserve)),
        ("cf.reserve k 10 bucketsize 6", error(reserve)),
        ("cf.reserve k 10 bucketsize x", error("Couldn't parse BUCKETSIZE")),
        ("cf.reserve k 10 bucketsize 0", error("BUCKETSIZE: value must be in the range [1, 255]")),
        ("cf.reserve k 10 maxiterations x", error("Couldn't parse MAXITERATIONS")),
        (
            "cf.reserve k 10 maxiterations 65536",
            error("MAXITERATIONS: value must be in the range [1, 65535]"),
        ),
        ("cf.reserve k 10 expansion x", error("Couldn't parse EXPANSION")),
        (
            "cf.reserve k 10 expansion 32769",
            error("EXPANSION: value must be in the range [0, 32768]"),
        ),
        ("cf.add k", arity("cf.add")),
        ("cf.insert k items", arity("cf.insert")),
        ("cf.insert k capacity 100 items", arity("cf.insert")),
        ("cf.insert k x y", error("Unknown argument received")),
        ("cf.insert k capacity x items a", error("Bad capacity")),
        ("cf.insert k capacity 3 items a", error(insert)),
        ("cf.insertnx k capacity", arity("cf.insertnx")),
        ("cf.insertnx k capacity 1", error(insert)),
        ("cf.mexists k", arity("cf.mexists")),
        ("cf.loadchunk k str x", error("Invalid position")),
        ("cf.loadchunk k -9223372036854775808 x", error("Invalid position")),
        ("cf.loadchunk k 0 x", error("Invalid position")),
        ("cf.loadchunk k 1 x", error("Invalid header")),
    ] {
        assert_eq!(run(&space, line), reply, "{line}");
    }
    let wrong = error("WRONGTYPE Operation against a key holding the wrong kind of value");
    for line in [
        "cf.reserve text 100",
        "cf.add text a",
        "cf.addnx text a",
        "cf.insert text items a",
        "cf.insertnx text items a",
        "cf.exists text a",
        "cf.mexists text a",
        "cf.count text a",
        "cf.del text a",
        "cf.info text",
        "cf.scandump text 0",
        "cf.loadchunk text 9 abc",
    ] {
        assert_eq!(run(&space, line), wrong, "{line}");
    }
    assert_eq!(used(&space), before);
    run(&space, "cf.add filter a");
    for line in
        ["get filter", "append filter x", "lpush filter x", "setrange filter 1 x", "sort filter"]
    {
        assert_eq!(run(&space, line), wrong, "{line}");
    }
    assert_eq!(run(&space, "cf.scandump filter -1"), error("Invalid position"));
}

#[test]
fn s6_chunks_load_as_they_were_dumped_and_hostile_ones_are_errors() {
    let space = keyspace();
    for n in 0..5000 {
        run(&space, &format!("cf.add from item:{n}"));
    }
    let mut position = b"0".to_vec();
    loop {
        let Reply::Array(part) = call(&space, &[b"cf.scandump", b"from", &position]) else {
            panic!()
        };
        let (Reply::Integer(next), data) = (&part[0], &part[1]) else { panic!("{part:?}") };
        if *next == 0 {
            assert_eq!(*data, Reply::Null);
            break;
        }
        position = next.to_string().into_bytes();
        let Reply::Bulk(data) = data else { panic!("{data:?}") };
        assert_eq!(call(&space, &[b"cf.loadchunk", b"to", &position, data]), ok());
    }
    assert!((0..5000).all(|n| run(&space, &format!("cf.exists to item:{n}")) == Reply::Integer(1)));
    let before = used(&space);
    let bad = error("Couldn't load chunk!");
    assert_eq!(run(&space, "cf.loadchunk to 922337203685477588 abcd"), bad);
    assert_eq!(run(&space, "cf.loadchunk to 4 abcdefgh"), bad);
    let mut header = vec![0xff; 46];
    assert_eq!(
        call(&space, &[b"cf.loadchunk", b"new", b"1", &header]),
        error("Couldn't create filter!")
    );
    assert_eq!(used(&space), before);
    // 2^30 buckets of one cell, 32 times: nothing of it is there before it is written.
    header.fill(0);
    header[8..16].copy_from_slice(&(1u64 << 30).to_le_bytes());
    (header[24], header[32], header[34], header[36]) = (32, 1, 1, 1);
    assert_eq!(call(&space, &[b"cf.loadchunk", b"new", b"1", &header]), ok());
    assert!(used(&space) - before < 1 << 20);
    assert_eq!(
        run(&space, "cf.scandump new 0"),
        Reply::Array(vec![Reply::Integer(0), Reply::Null])
    );
}

#[test]
fn l10_a_filter_is_copied_renamed_expires_and_gives_its_memory_back() {
    let space = keyspace();
    let empty = used(&space);
    let items: Vec<String> = (0..20_000).map(|n| format!("item:{n}")).collect();
    let mut words: Vec<&[u8]> = vec![b"cf.insert", b"{f}a", b"items"];
    words.extend(items.iter().map(String::as_bytes));
    call(&space, &words);
    let one = used(&space) - empty;
    assert!((20_000..80_000).contains(&one), "{one}");
    assert_eq!(run(&space, "copy {f}a {f}b"), Reply::Integer(1));
    run(&space, "cf.del {f}a item:1");
    assert_eq!(run(&space, "cf.exists {f}b item:1"), Reply::Integer(1));
    run(&space, "rename {f}b {f}c");
    assert_eq!(run(&space, "cf.exists {f}c item:77"), Reply::Integer(1));
    assert!(used(&space) - empty > one * 19 / 10);
    run(&space, "pexpire {f}c 10");
    let later = |line: &str| {
        call_at(&space, &line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), NOW_MS + 11)
    };
    assert_eq!(later("cf.exists {f}c item:77"), Reply::Integer(0));
    run(&space, "del {f}a");
    assert_eq!(used(&space), empty);
}

#[test]
fn a_store_at_its_budget_refuses_to_fill_filters() {
    let space = keyspace();
    let mut policy = StorePolicy::new("default", 0);
    policy.max_memory_bytes = Some(1 << 20);
    policy.eviction_policy = EvictionPolicy::NoEviction;
    space.set_stores(&[policy]);
    assert_eq!(run(&space, "cf.reserve big 100000000"), ok());
    let refused = (0..1_000_000)
        .map(|n| run(&space, &format!("cf.add big {n}")))
        .find(|reply| matches!(reply, Reply::Error(_)));
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(refused, Some(error(oom)));
    assert!(used(&space) < 2 << 20);
    assert_eq!(run(&space, "cf.exists big 0"), Reply::Integer(1));
}
