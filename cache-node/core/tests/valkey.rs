//! Commands that Valkey 9.1 has and Redis 7.0 has not, or has otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

use hypercache_core::command::lookup;
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::StorePolicy;

const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 1 });
    space.set_stores(&[StorePolicy::new("default", 0)]);
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn call(space: &Keyspace, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
    match lookup(&args) {
        Ok(spec) => space.execute(spec, 0, &args, NOW_MS, out).unwrap(),
        Err(text) => out.error(&text),
    }
    String::from_utf8(bytes).unwrap().replace("\r\n", " ").trim_end().to_owned()
}

fn check(rows: &[(&str, &str)]) {
    let space = keyspace();
    for (words, reply) in rows {
        assert_eq!(call(&space, words), *reply, "{words}");
    }
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn a_string_is_set_or_removed_if_it_is_the_one_that_was_expected() {
    check(&[
        ("set k new ifeq old", "$-1"),
        ("get k", "$-1"),
        ("set k 1", "+OK"),
        ("set k 2 ifeq 3", "$-1"),
        ("set k 2 ifeq 1", "+OK"),
        ("set k 3 ifeq 2 get", "$1 2"),
        ("set k 4 ifeq 2 get", "$1 3"),
        ("set k 4 ifeq 3 nx", SYNTAX),
        ("set k 4 xx ifeq 3", SYNTAX),
        ("set k 4 ifeq", SYNTAX),
        ("delifeq k 4", ":0"),
        ("delifeq k 3", ":1"),
        ("delifeq k 3", ":0"),
        ("rpush l 1", ":1"),
        ("set l 1 ifeq 1", WRONG_TYPE),
        ("set l 1 ifeq 1 get", WRONG_TYPE),
        ("delifeq l 1", WRONG_TYPE),
    ]);
}

#[test]
fn several_strings_are_set_with_one_lifetime_or_not_at_all() {
    let numkeys = "-ERR invalid numkeys value or out of range";
    let time = "-ERR invalid expire time in 'msetex' command";
    check(&[
        ("msetex 2 a 1 b 2 ex 10", ":1"),
        ("mget a b", "*2 $1 1 $1 2"),
        ("pttl b", ":10000"),
        ("msetex 2 a 3 b 4 keepttl", ":1"),
        ("pttl a", ":10000"),
        ("msetex 2 a 5 c 6 nx", ":0"),
        ("exists c", ":0"),
        ("msetex 2 a 5 c 6 xx", ":0"),
        ("msetex 2 a 5 b 6 xx", ":1"),
        ("ttl a", ":-1"),
        ("msetex 2 d 1 d 2", ":1"),
        ("get d", "$1 2"),
        ("msetex 0 a 1", numkeys),
        ("msetex -1 a 1", numkeys),
        ("msetex 2147483648 a 1", numkeys),
        ("msetex 2147483647 a 1", SYNTAX),
        ("msetex 2 a 1", SYNTAX),
        ("msetex 1 a 1 b", SYNTAX),
        ("msetex 1 a 1 nx xx", SYNTAX),
        ("msetex 1 a 1 get", SYNTAX),
        ("msetex 1 a 1 ex 1 px 1", SYNTAX),
        ("msetex 1 a 1 ex 0", time),
        ("msetex 1 a 1 ex x", NOT_AN_INTEGER),
    ]);
}

#[test]
fn fields_are_read_and_removed_together() {
    let count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    check(&[
        ("hset h a 1 b 2 c 3", ":3"),
        ("hgetdel h fields 2 a x", "*2 $1 1 $-1"),
        ("hlen h", ":2"),
        ("hgetdel h fields 2 b c", "*2 $1 2 $1 3"),
        ("exists h", ":0"),
        ("hgetdel h fields 1 b", "*1 $-1"),
        ("hgetdel h fields 2 b", count),
        ("hgetdel h fields -1 b", count),
        ("hgetdel h fields x b", NOT_AN_INTEGER),
        ("hgetdel h names 1 b", SYNTAX),
        ("set s 1", "+OK"),
        ("hgetdel s fields 1 b", WRONG_TYPE),
    ]);
}

#[test]
fn arguments_about_bits_and_lifetimes_are_checked_before_the_key_is_looked_at() {
    check(&[
        ("bitcount none 0 1 x", SYNTAX),
        ("bitcount none a b", NOT_AN_INTEGER),
        ("bitpos none 0 1 2 x", SYNTAX),
        ("getex none ex abc", NOT_AN_INTEGER),
        ("set s foobar", "+OK"),
        ("bitcount s 1", ":22"),
        ("bitcount s -1", ":4"),
        ("bitcount s 1000", ":0"),
    ]);
}

#[test]
fn scans_tell_fields_and_members_alone() {
    check(&[
        ("hset h a 1", ":1"),
        ("hscan h 0 novalues", "*2 $1 0 *1 $1 a"),
        ("zadd z 1 a", ":1"),
        ("zscan z 0 noscores", "*2 $1 0 *1 $1 a"),
        ("sadd s a", ":1"),
        ("sscan s 0 novalues", SYNTAX),
    ]);
}

#[test]
fn a_lifetime_that_is_over_at_once_counts_as_one_that_ended() {
    let space = keyspace();
    call(&space, "set a 1");
    assert_eq!(call(&space, "expire a -1"), ":1");
    assert_eq!(space.stats()[0].expired_keys, 1);
}

#[test]
fn a_member_that_has_all_slots_sorts_by_keys_in_any_of_them() {
    let space = keyspace();
    for words in ["rpush l 1 2 3", "mset w1 30 w2 20 w3 10 o1 a o3 c", "hset h1 f x"] {
        call(&space, words);
    }
    assert_eq!(call(&space, "sort l by w*"), "*3 $1 3 $1 2 $1 1");
    assert_eq!(call(&space, "sort l by w* get o* get h*->f"), "*6 $1 c $-1 $-1 $-1 $1 a $1 x");
    assert_eq!(call(&space, "sort l by w* get # store d"), ":3");
    assert_eq!(call(&space, "lrange d 0 -1"), "*3 $1 3 $1 2 $1 1");
    space.set_serving(0, false);
    let denied = "-ERR BY option of SORT denied in Cluster mode when keys formed by the pattern may be in different slots.";
    assert_eq!(call(&space, "sort l by w*"), denied);
    assert_eq!(call(&space, "sort l by w{l}*"), "*3 $1 1 $1 2 $1 3");
}
