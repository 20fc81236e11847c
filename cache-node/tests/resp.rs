//! One member, as RESP clients see it: frames, sessions, bounds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw};

#[test]
fn commands_work_inline_and_in_both_protocols() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    raw.send(b"PING\r\n");
    raw.expect(b"+PONG\r\n");
    raw.send(b"SET \"a key\" 'a\\x value'\r\n");
    raw.expect(b"+OK\r\n");
    raw.command(&[b"GET", b"a key"]);
    raw.expect(b"$9\r\na\\x value\r\n");
    raw.command(&[b"GET", b"none"]);
    raw.expect(b"$-1\r\n");
    raw.command(&[b"HELLO", b"3"]);
    assert!(raw.reply().starts_with(b"%7\r\n$6\r\nserver\r\n"));
    raw.command(&[b"GET", b"none"]);
    raw.expect(b"_\r\n");
    raw.command(&[b"HELLO", b"4"]);
    raw.expect(b"-NOPROTO unsupported protocol version\r\n");
}

#[test]
fn l4_keys_and_values_are_bytes() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let key = b"\0\r\n|\xff\xfe key";
    for value in [&b""[..], b"\0\r\n$5\r\n|\xc3\x28", &vec![0xab; 5 << 20]] {
        raw.command(&[b"SET", key, value]);
        raw.expect(b"+OK\r\n");
        raw.command(&[b"GET", key]);
        let mut wanted = format!("${}\r\n", value.len()).into_bytes();
        wanted.extend_from_slice(value);
        wanted.extend_from_slice(b"\r\n");
        assert!(raw.reply() == wanted, "a value of {} bytes", value.len());
    }
}

#[test]
fn l3_a_pipeline_is_answered_in_order_however_it_is_cut() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let mut pipeline = Vec::new();
    let mut wanted = Vec::new();
    for i in 0..5000 {
        pipeline.extend_from_slice(&Raw::encode(&[b"SET", format!("k{i}").as_bytes(), b"v"]));
        pipeline.extend_from_slice(&Raw::encode(&[b"APPEND", format!("k{i}").as_bytes(), b"w"]));
        wanted.extend_from_slice(b"+OK\r\n:2\r\n");
    }
    for part in pipeline.chunks(7001) {
        raw.send(part);
    }
    raw.expect(&wanted);
}

#[test]
fn s2_a_malformed_frame_ends_that_connection_only() {
    let member = Member::start(&[]);
    let mut other = member.raw();
    other.command(&[b"SET", b"k", b"v"]);
    other.expect(b"+OK\r\n");
    for (frame, error) in [
        (&b"*1\r\n$-5\r\n"[..], &b"-ERR Protocol error: invalid bulk length\r\n"[..]),
        (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"SET \"k\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut raw = member.raw();
        raw.send(frame);
        raw.expect(error);
        assert!(raw.ended(), "after {}", frame.escape_ascii());
    }
    let mut raw = member.raw();
    raw.send(&vec![b'x'; 70_000]);
    raw.expect(b"-ERR Protocol error: too big inline request\r\n");
    other.command(&[b"GET", b"k"]);
    other.expect(b"$1\r\nv\r\n");
}

#[test]
fn s1_declared_lengths_and_unread_replies_cost_no_memory() {
    let member = Member::start(&[]);
    let mut control = member.raw();
    control.command(&[b"SET", b"big", &vec![b'x'; 1 << 20]]);
    control.expect(b"+OK\r\n");
    let before = member.resident_bytes();
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut raw = member.raw();
        // Half a frame that declares 512 MB, and 20 MB of replies that nobody reads.
        raw.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
        held.push(raw);
        let mut raw = member.raw();
        let gets = Raw::encode(&[b"GET", b"big"]).repeat(20);
        raw.send(&gets);
        held.push(raw);
    }
    control.command(&[b"PING"]);
    control.expect(b"+PONG\r\n");
    let grown = member.resident_bytes().saturating_sub(before);
    assert!(grown < 400 << 20, "grew by {} MB", grown >> 20);
}

#[test]
fn a_browsers_request_runs_no_commands() {
    let member = Member::start(&[]);
    let not_get = &b"-ERR wrong number of arguments for 'get' command\r\n"[..];
    for (request, reply) in [
        (&b"POST / HTTP/1.1\r\n\r\nSET stolen 1\r\n"[..], &b""[..]),
        (b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nSET stolen 1\r\n", not_get),
    ] {
        let mut raw = member.raw();
        raw.send(request);
        raw.expect(reply);
        assert!(raw.ended());
    }
    let mut raw = member.raw();
    raw.command(&[b"EXISTS", b"stolen"]);
    raw.expect(b":0\r\n");
}

#[test]
fn l12_connections_beyond_the_bound_are_told_so() {
    let member = Member::start_with("network: {max_connections: 3}\n", &[]);
    let mut open: Vec<Raw> = (0..3).map(|_| member.raw()).collect();
    for raw in &mut open {
        raw.command(&[b"PING"]);
        raw.expect(b"+PONG\r\n");
    }
    let mut fourth = member.raw();
    fourth.expect(b"-ERR max number of clients reached\r\n");
    assert!(fourth.ended());
}

#[test]
fn s1_a_client_that_has_not_authenticated_gets_small_frames_only() {
    let member = Member::start(&[("HYPERCACHE_PASSWORD", "let me in")]);
    let mut raw = member.raw();
    raw.command(&[b"GET", b"k"]);
    raw.expect(b"-NOAUTH Authentication required.\r\n");
    raw.command(&[b"AUTH", b"wrong"]);
    raw.expect(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    raw.command(&[b"AUTH", b"let me in"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"GET", b"k"]);
    raw.expect(b"$-1\r\n");
    for (frame, error) in [
        (&b"*11\r\n"[..], &b"-ERR Protocol error: unauthenticated multibulk length\r\n"[..]),
        (b"*1\r\n$16385\r\n", b"-ERR Protocol error: unauthenticated bulk length\r\n"),
    ] {
        let mut raw = member.raw();
        raw.send(frame);
        raw.expect(error);
        assert!(raw.ended());
    }
}

#[test]
fn clients_are_listed_named_and_killed() {
    let member = Member::start(&[]);
    let (mut a, mut b) = (member.raw(), member.raw());
    a.command(&[b"CLIENT", b"SETNAME", b"first"]);
    a.expect(b"+OK\r\n");
    a.command(&[b"CLIENT", b"SETNAME", b"not a name"]);
    a.expect(b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    b.command(&[b"CLIENT", b"LIST"]);
    let list = String::from_utf8(b.reply()).unwrap();
    let line =
        list.lines().find(|l| l.contains(" name=first ")).expect("the first client is listed");
    let id = line.split(' ').find_map(|f| f.split_once("id=")).unwrap().1;
    b.command(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
    b.expect(b":1\r\n");
    assert!(a.ended());
    b.command(&[b"QUIT"]);
    b.expect(b"+OK\r\n");
    assert!(b.ended());
}

#[test]
fn stores_are_selected_by_number_and_by_name_and_are_apart() {
    let yaml = "stores:\n  user_sessions: {number: 1, default_ttl: 1h, key_prefixes: ['session:']}\n  page_cache: {number: 2}\n";
    let member = Member::start_with(yaml, &[]);
    let mut raw = member.raw();
    raw.command(&[b"SELECT", b"page_cache"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"SET", b"k", b"page"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"SELECT", b"1"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"GET", b"k"]);
    raw.expect(b"$-1\r\n");
    raw.command(&[b"SELECT", b"7"]);
    raw.expect(b"-ERR DB index is out of range\r\n");
    raw.command(&[b"SELECT", b"nowhere"]);
    raw.expect(b"-ERR no store is named 'nowhere'; STORES lists those that are\r\n");
    // A key of database 0 that a prefix routes has that store's lifetime.
    raw.command(&[b"SELECT", b"0"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"SET", b"session:1", b"x"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"TTL", b"session:1"]);
    raw.expect(b":3600\r\n");
    raw.command(&[b"SELECT", b"1"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"GET", b"session:1"]);
    raw.expect(b"$1\r\nx\r\n");
}

#[test]
fn info_and_config_answer_what_clients_ask_at_their_start() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    raw.command(&[b"INFO", b"server", b"clients"]);
    let info = String::from_utf8(raw.reply()).unwrap();
    assert!(info.contains("redis_version:7") && info.contains("connected_clients:1"), "{info}");
    assert!(!info.contains("# Memory"));
    raw.command(&[b"CONFIG", b"GET", b"maxcl*"]);
    raw.expect(b"*2\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n");
    raw.command(&[b"CONFIG", b"SET", b"maxclients", b"9000"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"CONFIG", b"SET", b"nonsense", b"1"]);
    assert!(raw.reply().starts_with(b"-ERR Unknown option"));
    raw.command(&[b"CLUSTER", b"KEYSLOT", b"foo"]);
    raw.expect(b":12182\r\n");
}

#[test]
fn config_resetstat_starts_all_sums_of_info_at_zero() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    raw.command(&[b"SET", b"k", b"v"]);
    raw.expect(b"+OK\r\n");
    raw.command(&[b"GET", b"none"]);
    raw.expect(b"$-1\r\n");
    let misses = |raw: &mut Raw| {
        raw.command(&[b"INFO", b"stats"]);
        let info = String::from_utf8(raw.reply()).unwrap();
        info.lines().find_map(|l| l.strip_prefix("keyspace_misses:")).unwrap().to_owned()
    };
    assert_eq!(misses(&mut raw), "1");
    raw.command(&[b"CONFIG", b"RESETSTAT"]);
    raw.expect(b"+OK\r\n");
    assert_eq!(misses(&mut raw), "0");
    raw.command(&[b"GET", b"none"]);
    raw.expect(b"$-1\r\n");
    assert_eq!(misses(&mut raw), "1");
}
