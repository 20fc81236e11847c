//! Keyspace events: what happens to keys, told to subscribers on any member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;
use common::{Member, Raw, wait_for};

fn ask(raw: &mut Raw, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    String::from_utf8(raw.ask(&args)).unwrap()
}

/// The next message to a pattern's subscriber: channel and message.
fn hear(raw: &mut Raw) -> (String, String) {
    let reply = String::from_utf8(raw.reply()).unwrap();
    let parts: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(parts[2], "pmessage", "{reply}");
    (parts[6].to_owned(), parts[8].to_owned())
}

fn expect(raw: &mut Raw, told: &[(&str, &str)]) {
    for (channel, message) in told {
        assert_eq!(hear(raw), ((*channel).to_owned(), (*message).to_owned()));
    }
}

#[test]
fn subscribers_hear_what_was_asked_for_in_both_ways_and_in_order() {
    let member = Member::start_with(
        "cache: {notify_keyspace_events: KEA}\nstores: {one: {number: 1}}\n",
        &[],
    );
    let (mut hears, mut raw) = (member.raw(), member.raw());
    ask(&mut hears, "PSUBSCRIBE __key*");
    assert_eq!(
        ask(&mut raw, "CONFIG GET notify-keyspace-events"),
        "*2\r\n$22\r\nnotify-keyspace-events\r\n$3\r\nAKE\r\n"
    );
    ask(&mut raw, "SET k v EX 100");
    ask(&mut raw, "SELECT 1");
    ask(&mut raw, "LPUSH list a");
    ask(&mut raw, "RPOP list");
    expect(
        &mut hears,
        &[
            ("__keyspace@0__:k", "set"),
            ("__keyevent@0__:set", "k"),
            ("__keyspace@0__:k", "expire"),
            ("__keyevent@0__:expire", "k"),
            ("__keyspace@1__:list", "lpush"),
            ("__keyevent@1__:lpush", "list"),
            ("__keyspace@1__:list", "rpop"),
            ("__keyevent@1__:rpop", "list"),
            ("__keyspace@1__:list", "del"),
            ("__keyevent@1__:del", "list"),
        ],
    );
    // Those of a transaction come in its order, with what it served.
    assert_eq!(ask(&mut raw, "CONFIG SET notify-keyspace-events Elgn"), "+OK\r\n");
    let mut waits = member.raw();
    ask(&mut waits, "SELECT 1");
    waits.command(&[b"BLPOP", b"list", b"0"]);
    wait_for("a blocked client", || {
        ask(&mut raw, "INFO clients").contains("blocked_clients:1\r\n").then_some(())
    });
    for words in ["MULTI", "LPUSH list a", "SADD set m", "RENAME set list2", "EXEC"] {
        ask(&mut raw, words);
    }
    expect(
        &mut hears,
        &[
            ("__keyevent@1__:new", "list"),
            ("__keyevent@1__:lpush", "list"),
            ("__keyevent@1__:new", "set"),
            ("__keyevent@1__:new", "list2"),
            ("__keyevent@1__:rename_from", "set"),
            ("__keyevent@1__:rename_to", "list2"),
            ("__keyevent@1__:lpop", "list"),
            ("__keyevent@1__:del", "list"),
        ],
    );
    assert_eq!(
        ask(&mut raw, "CONFIG SET notify-keyspace-events KEq"),
        "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid \
         event class character. Use 'Ag$lshzxeKEtmdn'.\r\n"
    );
    // Off again; then only what is read in vain.
    assert_eq!(ask(&mut raw, "CONFIG SET notify-keyspace-events "), "+OK\r\n");
    ask(&mut raw, "SET k v");
    assert_eq!(ask(&mut raw, "CONFIG SET notify-keyspace-events Em"), "+OK\r\n");
    ask(&mut raw, "GET k");
    ask(&mut raw, "GET none");
    expect(&mut hears, &[("__keyevent@1__:keymiss", "none")]);
}

#[test]
fn keys_that_leave_by_themselves_are_told_of() {
    let member = Member::start_with(
        "cache: {notify_keyspace_events: Exe, eviction_policy: lru, max_memory: 1MB}\n",
        &[],
    );
    let (mut hears, mut raw) = (member.raw(), member.raw());
    ask(&mut hears, "PSUBSCRIBE __key*");
    // Nobody asks for it: the expiry cycle finds it.
    ask(&mut raw, "SET k v PX 20");
    expect(&mut hears, &[("__keyevent@0__:expired", "k")]);
    let value = "x".repeat(10_000);
    for n in 0..200 {
        ask(&mut raw, &format!("SET k{n} {value}"));
    }
    let (channel, key) = hear(&mut hears);
    assert_eq!(channel, "__keyevent@0__:evicted");
    assert!(key.starts_with('k'), "{key}");
}

#[test]
fn subscribers_on_any_member_hear_of_keys_on_all() {
    let cluster = Cluster::start([0, 1, 2], "cache: {notify_keyspace_events: E$}\n");
    let mut hears: Vec<Raw> = (0..3).map(|i| cluster.raw(i)).collect();
    for raw in &mut hears {
        ask(raw, "PSUBSCRIBE __key*");
    }
    let mut writer = cluster.raw(1);
    let keys = ["a", "b", "c", "foo", "bar"];
    for key in keys {
        ask(&mut writer, &format!("SET {key} 1"));
        ask(&mut writer, &format!("INCR {key}"));
    }
    for raw in &mut hears {
        let mut told: Vec<(String, String)> =
            keys.iter().flat_map(|_| [hear(raw), hear(raw)]).collect();
        for key in keys {
            let of_key = told.extract_if(.., |(_, k)| k == key).map(|(channel, _)| channel);
            let wanted = ["__keyevent@0__:set", "__keyevent@0__:incrby"];
            assert_eq!(of_key.collect::<Vec<_>>(), wanted, "{key}");
        }
    }
}
