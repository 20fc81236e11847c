//! What SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF and WAITAOF answer, beside a real redis-server; WAITAOF, which
//! Redis 7.0 has not, in the words of Valkey 9.1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::kept::Kept;
use common::redis::Redis;
use common::{Raw, wait_for};

const YAML: &str = concat!(
    "persistence: {mode: aof, fsync: always}\n",
    "stores:\n",
    "  a: {number: 1, persistence: {mode: aof+snapshot, fsync: always}}\n",
    "  b: {number: 2, persistence: {mode: snapshot}}\n",
);

fn ask(client: &mut Raw, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8(client.ask(&words)).unwrap().trim_end().replace("\r\n", " ")
}

fn info(client: &mut Raw, field: &str) -> String {
    let text = String::from_utf8(client.ask(&[b"INFO", b"persistence"])).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

fn redis(directory: &tempfile::TempDir) -> Redis {
    Redis::start(directory.path(), &["--appendonly", "yes", "--appendfsync", "always"])
}

/// Waits until neither is being done.
fn idle(client: &mut Raw) {
    wait_for("no snapshot is taken", || {
        let fields = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        fields.iter().all(|field| info(client, field) == "0").then_some(())
    });
}

#[test]
fn the_commands_answer_in_redis_s_words() {
    let directory = tempfile::tempdir().unwrap();
    let (redis, kept) = (redis(&directory), Kept::start(YAML));
    let (mut there, mut here) = (redis.connect(), kept.member.raw());
    idle(&mut here);
    idle(&mut there);
    for line in [
        "SET k v",
        "SAVE",
        "SAVE x",
        "LASTSAVE x",
        "BGSAVE x",
        "BGSAVE SCHEDULE x",
        "BGREWRITEAOF x",
        "BGSAVE",
        "BGREWRITEAOF",
        "BGSAVE SCHEDULE",
    ] {
        assert_eq!(ask(&mut here, line), ask(&mut there, line), "{line}");
        idle(&mut here);
        idle(&mut there);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for client in [&mut here, &mut there] {
        let saved: u64 = ask(client, "LASTSAVE").strip_prefix(':').unwrap().parse().unwrap();
        assert!((now.as_secs() - 60..=now.as_secs() + 60).contains(&saved), "{saved}");
        assert_eq!(info(client, "rdb_last_bgsave_status"), "ok");
        assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
        assert_eq!(info(client, "rdb_current_bgsave_time_sec"), "-1");
        assert_eq!(info(client, "aof_current_rewrite_time_sec"), "-1");
    }
}

/// Replies to commands of which the later ones come while the first is under way, and what INFO says
/// of it behind them.
fn together(client: &mut Raw, lines: &[&str]) -> Vec<String> {
    let mut bytes = Vec::new();
    for line in lines.iter().chain(&["INFO persistence"]) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        bytes.extend(Raw::encode(&words));
    }
    client.send(&bytes);
    let mut replies: Vec<_> = lines
        .iter()
        .map(|_| String::from_utf8(client.reply()).unwrap().trim_end().to_owned())
        .collect();
    let text = String::from_utf8(client.reply()).unwrap();
    let progress = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"];
    let lines = text.lines().filter(|line| progress.iter().any(|field| line.starts_with(field)));
    replies.extend(lines.map(str::to_owned));
    replies
}

#[test]
fn while_one_is_under_way_the_others_are_refused_or_scheduled_and_info_tells_which() {
    let directory = tempfile::tempdir().unwrap();
    let (redis, kept) = (redis(&directory), Kept::start(YAML));
    let (mut there, mut here) = (redis.connect(), kept.member.raw());
    for client in [&mut there, &mut here] {
        ask(client, "SET k v");
        idle(client);
    }
    // Neither may be done before the next command comes. A key takes Redis a second.
    let fill = "for i = 1, 100000 do redis.call('SET', 'k' .. i, 'v') end";
    assert_eq!(here.ask(&[b"EVAL", fill.as_bytes(), b"1", b"k"]), b"$-1\r\n");
    assert_eq!(ask(&mut there, "CONFIG SET rdb-key-save-delay 1000000"), "+OK");
    for lines in [
        &["BGSAVE", "BGSAVE", "BGSAVE SCHEDULE", "BGREWRITEAOF"][..],
        &["BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE", "BGSAVE SCHEDULE"],
    ] {
        let (ours, theirs) = (together(&mut here, lines), together(&mut there, lines));
        assert_eq!(ours, theirs, "{lines:?}");
        idle(&mut here);
        idle(&mut there);
    }
    // What was scheduled was done.
    assert!(info(&mut here, "aof_last_rewrite_time_sec") != "-1");
}

#[test]
fn waitaof_answers_in_valkey_s_words() {
    let kept = Kept::start(YAML);
    let mut client = kept.member.raw();
    let rows = [
        ("WAITAOF 0 0 0", "*2 :1 :0"),
        ("WAITAOF 1 0 0", "*2 :1 :0"),
        ("SET k v", "+OK"),
        ("WAITAOF 0 0 0", "*2 :1 :0"),
        ("WAITAOF 1 0 0", "*2 :1 :0"),
        ("WAITAOF 0 0 0", "*2 :1 :0"),
        ("WAITAOF 1 1 50", "*2 :1 :0"),
        ("WAITAOF 0 1 50", "*2 :1 :0"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF -1 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF x 0 0", "-ERR value is not an integer or out of range"),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 1 x 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 1 0 x", "-ERR timeout is not an integer or out of range"),
        ("WAITAOF 1 0", "-ERR wrong number of arguments for 'waitaof' command"),
    ];
    for (line, reply) in rows {
        assert_eq!(ask(&mut client, line), reply, "{line}");
    }
    let unlogged = Kept::start("");
    let mut client = unlogged.member.raw();
    let refused = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(ask(&mut client, "WAITAOF 0 0 0"), "*2 :0 :0");
    assert_eq!(ask(&mut client, "WAITAOF 1 0 0"), refused);
}

#[test]
fn s7_who_waits_for_replicas_that_never_come_waits_can_be_unblocked_and_can_leave() {
    let kept = Kept::start(YAML);
    let mut other = kept.member.raw();
    let blocked = |other: &mut Raw, wanted: &str| {
        let text = String::from_utf8(other.ask(&[b"INFO", b"clients"])).unwrap();
        let line = format!("blocked_clients:{wanted}\r\n");
        text.contains(&line).then_some(())
    };
    let mut waits = kept.member.raw();
    let id = ask(&mut waits, "CLIENT ID");
    let id = id.strip_prefix(':').unwrap();
    // With no time to wait it waits for ever; what was asked before it is answered.
    waits.send(&[Raw::encode(&[b"PING"]), Raw::encode(&[b"WAITAOF", b"0", b"1", b"0"])].concat());
    waits.expect(b"+PONG\r\n");
    wait_for("it waits", || blocked(&mut other, "1"));
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id}")), ":1");
    waits.expect(b"*2\r\n:1\r\n:0\r\n");
    waits.command(&[b"WAITAOF", b"1", b"2", b"0"]);
    wait_for("it waits", || blocked(&mut other, "1"));
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id} ERROR")), ":1");
    assert!(waits.reply().starts_with(b"-UNBLOCKED"));
    waits.command(&[b"WAITAOF", b"1", b"2", b"0"]);
    wait_for("it waits", || blocked(&mut other, "1"));
    drop(waits);
    wait_for("it is forgotten", || blocked(&mut other, "0"));
    // With a time it waits that long.
    let began = Instant::now();
    assert_eq!(ask(&mut other, "WAITAOF 0 1 60"), "*2 :1 :0");
    assert!(began.elapsed() >= Duration::from_millis(60), "it did not wait");
}
