//! What clients rely on with hashes, sets, sorted sets and bitmaps beyond single replies: memory that
//! comes back, chance that is fair to its word, and limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use hypercache_core::command::lookup;
use hypercache_core::keyspace::{EventClasses, Keyspace, Options};
use hypercache_core::resp::{Protocol, Reply, Writer};
use std::collections::BTreeSet;

const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 5 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn call(space: &Keyspace, words: &[&str]) -> Reply {
    let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, Protocol::Resp2);
    let spec = lookup(&args).unwrap();
    space.execute(spec, 0, &args, NOW_MS, &mut out).unwrap();
    let (reply, len) = Reply::parse(&bytes).unwrap().expect("a whole reply");
    assert_eq!(len, bytes.len(), "{words:?}");
    reply
}

fn run(space: &Keyspace, line: &str) -> Reply {
    call(space, &line.split(' ').collect::<Vec<_>>())
}

fn strings(reply: Reply) -> Vec<String> {
    let (Reply::Array(parts) | Reply::Set(parts)) = reply else { panic!("{reply:?} is no array") };
    parts
        .into_iter()
        .map(|part| match part {
            Reply::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?} is no string"),
        })
        .collect()
}

fn used(space: &Keyspace) -> u64 {
    space.stats().iter().map(|store| store.used_memory_bytes).sum()
}

#[test]
fn l10_members_that_leave_one_by_one_give_their_memory_back() {
    let space = keyspace();
    let long = "x".repeat(100);
    for (add, remove) in [
        ("hset k m{} v", "hdel k m{}"),
        ("sadd k m{}", "srem k m{}"),
        ("zadd k {} m{}", "zrem k m{}"),
        ("sadd k {}", "srem k {}"),
        (
            "zadd k 1 {}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "zrem k {}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
    ] {
        let mut peak = 0;
        for i in 0..3000 {
            run(&space, &add.replace("{}", &i.to_string()));
            peak = peak.max(used(&space));
        }
        for i in 0..3000 {
            run(&space, &remove.replace("{}", &i.to_string()));
            if i == 2900 {
                assert!(used(&space) * 5 < peak, "{remove}: {} of {peak}", used(&space));
            }
        }
        assert_eq!(used(&space), 0, "{remove}");
    }
    call(&space, &["hset", "h", &long, &long]);
    run(&space, "pfadd p a b c");
    run(&space, "setbit b 100000 1");
    assert!(used(&space) > 12_500);
    run(&space, "del h p b");
    assert_eq!(used(&space), 0);
}

#[test]
fn overwritten_and_expired_collections_give_their_memory_back() {
    let space = keyspace();
    for i in 0..1000 {
        run(&space, &format!("sadd s m{i}"));
        run(&space, &format!("zadd z {i} m{i}"));
    }
    run(&space, "set s x");
    run(&space, "pexpireat z 1700000000001");
    space.expire_cycle(NOW_MS + 10, usize::MAX);
    run(&space, "del s");
    assert_eq!(used(&space), 0);
}

#[test]
fn random_members_are_members_and_different_when_they_must_be() {
    let space = keyspace();
    for size in [5usize, 100, 1000] {
        let member = |i: usize| format!("m{i}");
        run(&space, "del s h z");
        for i in 0..size {
            run(&space, &format!("sadd s m{i}"));
            run(&space, &format!("hset h m{i} v{i}"));
            run(&space, &format!("zadd z {i} m{i}"));
        }
        let all: BTreeSet<String> = (0..size).map(member).collect();
        for count in [1, 2, size / 4, size / 2, size - 1, size, size + 10] {
            for command in ["srandmember s", "hrandfield h", "zrandmember z"] {
                let found = strings(run(&space, &format!("{command} {count}")));
                let different: BTreeSet<String> = found.iter().cloned().collect();
                assert_eq!(found.len(), count.min(size), "{command} {count} of {size}");
                assert_eq!(different.len(), found.len(), "{command} {count} of {size}");
                assert!(different.is_subset(&all));
                let repeated = strings(run(&space, &format!("{command} -{count}")));
                assert_eq!(repeated.len(), count);
                assert!(repeated.iter().all(|member| all.contains(member)));
            }
        }
        let pairs = strings(run(&space, &format!("hrandfield h {size} withvalues")));
        assert!(pairs.chunks(2).all(|pair| pair[1] == pair[0].replace('m', "v")));
        let popped: BTreeSet<String> =
            strings(run(&space, &format!("spop s {}", size / 2))).into_iter().collect();
        let rest: BTreeSet<String> = strings(run(&space, "smembers s")).into_iter().collect();
        assert_eq!(popped.len(), size / 2);
        assert_eq!(popped.union(&rest).cloned().collect::<BTreeSet<_>>(), all);
        assert!(popped.is_disjoint(&rest));
    }
}

#[test]
fn s5_integers_at_their_limits_neither_wrap_nor_allocate() {
    let space = keyspace();
    run(&space, "sadd s a b c");
    run(&space, "hset h a 1 b 2");
    run(&space, "zadd z 1 a 2 b");
    run(&space, "set b abc");
    let before = used(&space);
    let (max, min) = (i64::MAX, i64::MIN);
    for line in [
        format!("srandmember s {min}"),
        format!("srandmember s -{max}"),
        format!("hrandfield h -{max}"),
        format!("hrandfield h {} withvalues", i64::MAX / 2 + 1),
        format!("zrandmember z -{max}"),
        format!("setbit b {max} 1"),
        "setbit b 4294967296 1".into(),
        format!("bitfield b set u8 #{max} 1"),
        "bitfield b incrby i64 4294967296 1".into(),
        format!("sintercard {max} s"),
        format!("zunion {max} z"),
        format!("zmpop {max} z min"),
        format!("lmpop {max} z left"),
        format!("hincrby h a {max}"),
        format!("hincrby h missing x{min}"),
    ] {
        assert!(matches!(run(&space, &line), Reply::Error(_)), "{line}");
    }
    for line in [
        format!("srandmember s {max}"),
        format!("bitcount b {min} {max}"),
        format!("bitcount b {min} {max} bit"),
        format!("bitpos b 1 {min} {max} bit"),
        format!("zrange z {min} {max}"),
        format!("zrange z -inf +inf byscore limit {max} {max}"),
        format!("zrange z -inf +inf byscore rev limit 1 {max}"),
        format!("sort s limit {max} {max} alpha"),
        format!("sort s limit {min} {min} alpha"),
        format!("sscan s 18446744073709551615 count {max}"),
    ] {
        assert!(!matches!(run(&space, &line), Reply::Error(_)), "{line}");
    }
    assert_eq!(used(&space), before);
}

#[test]
fn s6_a_string_that_only_looks_like_a_sketch_is_an_error() {
    let space = keyspace();
    let head = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    for body in [&b""[..], b"\x7f", b"\x7f\xff\x80", b"\xff\xff", b"\x40", b"\x7f\xfe\xff"] {
        let value = [&head[..], body].concat();
        for command in ["pfcount", "pfadd", "pfmerge"] {
            let args: Vec<&[u8]> = vec![b"set", b"k", &value];
            let mut bytes = Vec::new();
            let mut out = Writer::new(&mut bytes, Protocol::Resp2);
            space.execute(lookup(&args).unwrap(), 0, &args, NOW_MS, &mut out).unwrap();
            // What matters is that an answer comes: an error, or a count of what there is.
            let reply = match command {
                "pfcount" => run(&space, "pfcount k"),
                "pfmerge" => run(&space, "pfmerge other k"),
                _ => run(&space, "pfadd k a b c d e f g h"),
            };
            if command != "pfadd" {
                assert!(
                    matches!(&reply, Reply::Error(e) if e.starts_with("INVALIDOBJ")),
                    "{reply:?}"
                );
            }
        }
    }
}

#[test]
fn ranks_are_told_with_scores() {
    let space = keyspace();
    run(&space, "zadd z 1 a 2.5 b 3 c");
    let pair = |rank, score: &str| {
        Reply::Array(vec![Reply::Integer(rank), Reply::Bulk(score.as_bytes().to_vec())])
    };
    assert_eq!(run(&space, "zrank z b withscore"), pair(1, "2.5"));
    assert_eq!(run(&space, "zrevrank z c withscore"), pair(0, "3"));
    assert_eq!(run(&space, "zrank z x withscore"), Reply::Null);
    assert_eq!(run(&space, "zrank z b nope"), Reply::Error("ERR syntax error".into()));
}

#[test]
fn sort_looks_up_only_what_is_in_the_slot_of_the_key_beside_other_members() {
    let space = keyspace();
    space.set_serving(0, false);
    run(&space, "rpush {t}l 1 2");
    run(&space, "set {t}w1 9");
    run(&space, "set {t}w2 3");
    assert_eq!(strings(run(&space, "sort {t}l by {t}w*")), ["2", "1"]);
    assert_eq!(strings(run(&space, "sort {t}l get {t}w* get #")), ["9", "1", "3", "2"]);
    for line in ["sort {t}l by w*", "sort {t}l get {u}w*", "sort l by *{l}", "sort {t}l by {*}"] {
        let reply = run(&space, line);
        assert!(
            matches!(&reply, Reply::Error(e) if e.contains("denied in Cluster mode")),
            "{line}"
        );
    }
}

#[test]
fn a_string_that_bits_were_written_to_stays_raw_even_if_nothing_changed() {
    let space = keyspace();
    for write in ["setbit k 0 0", "bitfield k set u8 0 49", "bitfield k incrby u8 0 0"] {
        call(&space, &["set", "k", "123"]);
        assert_eq!(strings(Reply::Array(vec![run(&space, "object encoding k")])), ["int"]);
        run(&space, write);
        assert_eq!(run(&space, "get k"), Reply::Bulk(b"123".to_vec()), "{write}");
        assert_eq!(run(&space, "object encoding k"), Reply::Bulk(b"raw".to_vec()), "{write}");
    }
    // The string grows before the field is found not to fit, as in Redis.
    run(&space, "bitfield k overflow fail incrby u8 40 -1");
    assert_eq!(run(&space, "get k"), Reply::Bulk(b"123\0\0\0".to_vec()));
}

#[test]
fn sort_by_a_constant_looks_no_key_up_even_if_a_pattern_follows() {
    let space = keyspace();
    space.notices().set_classes(EventClasses::parse("AEm").unwrap());
    run(&space, "rpush {t}l 3 1 2");
    run(&space, "mset {t}w1 3 {t}w2 2");
    let waker = std::task::Waker::noop();
    assert!(space.notices().poll_take(waker).is_ready());
    assert_eq!(strings(run(&space, "sort {t}l by constant by {t}w*")), ["3", "1", "2"]);
    assert!(space.notices().poll_take(waker).is_pending(), "no key was missed");
    assert_eq!(strings(run(&space, "sort {t}l by {t}w*")), ["3", "2", "1"]);
    assert!(space.notices().poll_take(waker).is_ready(), "{{t}}w3 was");
}

#[test]
fn minus_zero_is_answered_and_kept_where_a_sorted_set_is_large_as_in_redis() {
    let space = keyspace();
    (0..200).for_each(|n| {
        run(&space, &format!("zadd {{t}}a {n} m{n}"));
    });
    run(&space, "zadd {t}b 0 m0");
    let small = run(&space, "zunion 1 {t}b weights -1 withscores");
    assert_eq!(strings(small), ["m0", "-0"]);
    for (from, expected) in [("{t}a", "-0"), ("{t}b", "0")] {
        run(&space, &format!("zunionstore {{t}}to 1 {from} weights -1"));
        assert_eq!(run(&space, "zscore {t}to m0"), Reply::Bulk(expected.into()), "{from}");
        run(&space, "zrangestore {t}again {t}to 0 -1");
        assert_eq!(run(&space, "zscore {t}again m0"), Reply::Bulk(expected.into()), "{from}");
    }
    assert_eq!(run(&space, "object encoding {t}to"), Reply::Bulk("listpack".into()));
}
