//! Publishing and subscribing against real processes: one member, and three.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;
use common::{Member, Raw, wait_for};

const REFUSED: &str =
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n";

/// A frame of bulk strings and, if there is one, a number behind them.
fn frame(kind: char, words: &[&str], number: Option<i64>) -> Vec<u8> {
    let mut out = format!("{kind}{}\r\n", words.len() + usize::from(number.is_some()));
    for word in words {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    if let Some(number) = number {
        out += &format!(":{number}\r\n");
    }
    out.into_bytes()
}

fn subscribed(raw: &mut Raw, kind: char, command: &str, name: &str, count: i64) {
    raw.command(&[command.as_bytes(), name.as_bytes()]);
    raw.expect(&frame(kind, &[&command.to_ascii_lowercase(), name], Some(count)));
}

fn field(info: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(info).into_owned();
    let words = text.split(['\r', '\n', ' ']);
    words
        .filter_map(|word| word.split_once([':', '=']))
        .find(|(field, _)| *field == name)
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .1
        .to_owned()
}

#[test]
fn in_resp2_a_subscriber_may_only_subscribe_and_ping() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    raw.command(&[b"UNSUBSCRIBE"]);
    raw.expect(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
    raw.command(&[b"PUNSUBSCRIBE", b"x"]);
    raw.expect(&frame('*', &["punsubscribe", "x"], Some(0)));
    raw.command(&[b"SUBSCRIBE", b"a", b"b", b"a"]);
    for (name, count) in [("a", 1), ("b", 2), ("a", 2)] {
        raw.expect(&frame('*', &["subscribe", name], Some(count)));
    }
    subscribed(&mut raw, '*', "PSUBSCRIBE", "a*", 3);
    subscribed(&mut raw, '*', "SSUBSCRIBE", "s", 1);
    for (command, name) in [
        (&[&b"GET"[..], b"x"][..], "get"),
        (&[b"CLIENT", b"ID"], "client|id"),
        (&[b"PUBLISH", b"a", b"x"], "publish"),
        (&[b"HELLO", b"3"], "hello"),
    ] {
        raw.command(command);
        raw.expect(format!("-ERR Can't execute '{name}': {REFUSED}").as_bytes());
    }
    raw.command(&[b"GET"]);
    raw.expect(b"-ERR wrong number of arguments for 'get' command\r\n");
    raw.command(&[b"PING"]);
    raw.expect(&frame('*', &["pong", ""], None));
    raw.command(&[b"PING", b"hi"]);
    raw.expect(&frame('*', &["pong", "hi"], None));
    raw.command(&[b"UNSUBSCRIBE", b"a", b"b"]);
    raw.expect(&frame('*', &["unsubscribe", "a"], Some(2)));
    raw.expect(&frame('*', &["unsubscribe", "b"], Some(1)));
    raw.command(&[b"PUNSUBSCRIBE"]);
    raw.expect(&frame('*', &["punsubscribe", "a*"], Some(0)));
    raw.command(&[b"GET", b"x"]);
    raw.expect(format!("-ERR Can't execute 'get': {REFUSED}").as_bytes());
    raw.command(&[b"SUNSUBSCRIBE"]);
    raw.expect(&frame('*', &["sunsubscribe", "s"], Some(0)));
    raw.command(&[b"GET", b"x"]);
    raw.expect(b"$-1\r\n");
    subscribed(&mut raw, '*', "SUBSCRIBE", "a", 1);
    raw.command(&[b"RESET"]);
    raw.expect(b"+RESET\r\n");
    raw.command(&[b"PUBSUB", b"CHANNELS"]);
    raw.expect(b"*0\r\n");
}

#[test]
fn in_resp3_messages_are_pushes_in_order_with_the_replies() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    assert!(raw.ask(&[b"HELLO", b"3"]).starts_with(b"%7"));
    subscribed(&mut raw, '>', "SUBSCRIBE", "a", 1);
    subscribed(&mut raw, '>', "PSUBSCRIBE", "a*", 2);
    subscribed(&mut raw, '>', "SSUBSCRIBE", "a", 1);
    let pipeline = [
        Raw::encode(&[b"SET", b"k", b"v"]),
        Raw::encode(&[b"PUBLISH", b"a", b"1"]),
        Raw::encode(&[b"SPUBLISH", b"a", b"2"]),
        Raw::encode(&[b"GET", b"k"]),
        Raw::encode(&[b"UNSUBSCRIBE"]),
        Raw::encode(&[b"PUBLISH", b"a", b"3"]),
        Raw::encode(&[b"PING"]),
    ];
    raw.send(&pipeline.concat());
    raw.expect(b"+OK\r\n:2\r\n");
    raw.expect(&frame('>', &["message", "a", "1"], None));
    raw.expect(&frame('>', &["pmessage", "a*", "a", "1"], None));
    raw.expect(b":1\r\n");
    raw.expect(&frame('>', &["smessage", "a", "2"], None));
    raw.expect(b"$1\r\nv\r\n");
    raw.expect(&frame('>', &["unsubscribe", "a"], Some(1)));
    raw.expect(b":1\r\n");
    raw.expect(&frame('>', &["pmessage", "a*", "a", "3"], None));
    raw.expect(b"+PONG\r\n");
    raw.command(&[b"UNSUBSCRIBE"]);
    raw.expect(b">3\r\n$11\r\nunsubscribe\r\n_\r\n:1\r\n");
}

#[test]
fn pubsub_info_and_client_list_tell_who_listens() {
    let member = Member::start(&[]);
    let (mut one, mut other, mut asks) = (member.raw(), member.raw(), member.raw());
    subscribed(&mut one, '*', "SUBSCRIBE", "news", 1);
    subscribed(&mut one, '*', "PSUBSCRIBE", "n*", 2);
    subscribed(&mut other, '*', "SUBSCRIBE", "news", 1);
    subscribed(&mut other, '*', "SSUBSCRIBE", "shard", 1);
    asks.command(&[b"PUBSUB", b"NUMSUB", b"news", b"none"]);
    asks.expect(b"*4\r\n$4\r\nnews\r\n:2\r\n$4\r\nnone\r\n:0\r\n");
    asks.command(&[b"PUBSUB", b"CHANNELS", b"n?ws"]);
    asks.expect(b"*1\r\n$4\r\nnews\r\n");
    asks.command(&[b"PUBSUB", b"CHANNELS", b"x*"]);
    asks.expect(b"*0\r\n");
    asks.command(&[b"PUBSUB", b"NUMPAT"]);
    asks.expect(b":1\r\n");
    asks.command(&[b"PUBSUB", b"SHARDCHANNELS"]);
    asks.expect(b"*1\r\n$5\r\nshard\r\n");
    asks.command(&[b"PUBSUB", b"SHARDNUMSUB", b"shard", b"news"]);
    asks.expect(b"*4\r\n$5\r\nshard\r\n:1\r\n$4\r\nnews\r\n:0\r\n");
    asks.command(&[b"PUBSUB", b"CHANNELS", b"a", b"b"]);
    asks.expect(
        b"-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.\r\n",
    );
    let info = asks.ask(&[b"INFO"]);
    for (name, value) in [
        ("pubsub_channels", "1"),
        ("pubsub_patterns", "1"),
        ("pubsubshard_channels", "1"),
        ("pubsub_clients", "2"),
    ] {
        assert_eq!(field(&info, name), value, "{name}");
    }
    let list = asks.ask(&[b"CLIENT", b"LIST", b"TYPE", b"PUBSUB"]);
    let text = String::from_utf8(list).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("id=")).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(" flags=P ") && lines[0].contains(" sub=1 psub=1 ssub=0 "), "{text}");
    assert!(lines[1].contains(" sub=1 psub=0 ssub=1 "), "{text}");
    asks.command(&[b"COMMAND", b"GETKEYS", b"SPUBLISH", b"shard", b"m"]);
    asks.expect(b"*1\r\n$5\r\nshard\r\n");
}

#[test]
fn s7_a_subscriber_that_is_killed_or_goes_leaves_nothing_behind() {
    let member = Member::start(&[]);
    let (mut killed, mut gone, mut asks) = (member.raw(), member.raw(), member.raw());
    for raw in [&mut killed, &mut gone] {
        subscribed(raw, '*', "SUBSCRIBE", "a", 1);
        subscribed(raw, '*', "PSUBSCRIBE", "*", 2);
        subscribed(raw, '*', "SSUBSCRIBE", "a", 1);
    }
    let list = asks.ask(&[b"CLIENT", b"LIST", b"TYPE", b"pubsub"]);
    let id = field(&list, "id");
    drop(gone);
    asks.command(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
    asks.expect(b":1\r\n");
    assert!(killed.ended());
    wait_for("nothing left", || {
        (field(&asks.ask(&[b"INFO"]), "pubsub_clients") == "0").then_some(())
    });
    let info = asks.ask(&[b"INFO"]);
    for name in ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"] {
        assert_eq!(field(&info, name), "0", "{name}");
    }
    asks.command(&[b"PUBLISH", b"a", b"x"]);
    asks.expect(b":0\r\n");
}

#[test]
fn a_subscriber_that_reads_too_slowly_is_closed_and_the_others_are_served() {
    let member = Member::start(&[]);
    let (mut slow, mut reads, mut publishes) = (member.raw(), member.raw(), member.raw());
    subscribed(&mut slow, '*', "SUBSCRIBE", "slow", 1);
    subscribed(&mut reads, '*', "SUBSCRIBE", "reads", 1);
    let message = vec![b'x'; 1 << 20];
    let before = member.resident_bytes();
    let mut published = 0;
    wait_for("the slow one to be closed", || {
        publishes.command(&[b"PUBLISH", b"slow", &message]);
        let receivers = publishes.reply();
        publishes.ask(&[b"PUBLISH", b"reads", b"hi"]);
        reads.expect(&frame('*', &["message", "reads", "hi"], None));
        published += 1;
        assert!(published < 200, "200 MB wait for one subscriber");
        (receivers == b":0\r\n").then_some(())
    });
    assert!(published > 32, "closed after {published} MB already");
    let grown = member.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "grew by {} MB", grown >> 20);
    let info = publishes.ask(&[b"INFO", b"stats"]);
    assert_eq!(field(&info, "client_output_buffer_limit_disconnections"), "1");
    assert!(member.log().contains("a subscriber reads too slowly"), "{}", member.log());
    assert_eq!(publishes.ask(&[b"PUBLISH", b"reads", b"still"]), b":1\r\n");
    reads.expect(&frame('*', &["message", "reads", "still"], None));
}

#[test]
fn a_subscriber_stays_when_idle_connections_are_closed() {
    let member = Member::start_with("network: {idle_timeout: 300ms}\n", &[]);
    let (mut hears, mut idle) = (member.raw(), member.raw());
    subscribed(&mut hears, '*', "SUBSCRIBE", "a", 1);
    assert!(idle.ended());
    assert!(member.raw().ended());
    assert_eq!(member.raw().ask(&[b"PUBLISH", b"a", b"x"]), b":1\r\n");
    hears.expect(&frame('*', &["message", "a", "x"], None));
}

#[test]
fn what_one_member_publishes_subscribers_of_all_members_hear_in_order() {
    let cluster = Cluster::start([0, 1, 2], "");
    let mut listeners: Vec<Raw> = (0..3).map(|i| cluster.raw(i)).collect();
    for raw in &mut listeners {
        subscribed(raw, '*', "SUBSCRIBE", "news", 1);
        subscribed(raw, '*', "PSUBSCRIBE", "n?ws", 2);
        subscribed(raw, '*', "SSUBSCRIBE", "news", 1);
    }
    let binary = "\0\r\n|\u{7f} ";
    for publisher in 0..3 {
        let mut publishes = cluster.raw(publisher);
        let texts: Vec<String> = (0..1000).map(|n| format!("{binary}{publisher}:{n}")).collect();
        let pipeline: Vec<u8> = texts
            .iter()
            .flat_map(|text| Raw::encode(&[b"PUBLISH", b"news", text.as_bytes()]))
            .collect();
        publishes.send(&pipeline);
        publishes.expect(&b":2\r\n".repeat(texts.len()));
        publishes.command(&[b"SPUBLISH", b"news", b"shard"]);
        publishes.expect(b":1\r\n");
        publishes.command(&[b"PUBLISH", b"other", b"nobody"]);
        publishes.expect(b":0\r\n");
        for raw in &mut listeners {
            for text in &texts {
                raw.expect(&frame('*', &["message", "news", text], None));
                raw.expect(&frame('*', &["pmessage", "n?ws", "news", text], None));
            }
            raw.expect(&frame('*', &["smessage", "news", "shard"], None));
        }
    }
    // A member that comes back hears again what the others publish.
    let mut cluster = cluster;
    cluster.members[2].kill();
    let mut publishes = cluster.raw(0);
    assert_eq!(publishes.ask(&[b"PUBLISH", b"news", b"meanwhile"]), b":2\r\n");
    listeners[1].expect(&frame('*', &["message", "news", "meanwhile"], None));
    cluster.members[2] = common::cluster::launch("", cluster.ports[2], &cluster.flags[2]);
    cluster.wait_whole();
    let mut again = cluster.raw(2);
    subscribed(&mut again, '*', "SUBSCRIBE", "back", 1);
    let mut heard = again;
    assert_eq!(publishes.ask(&[b"PUBLISH", b"back", b"hello"]), b":0\r\n");
    heard.expect(&frame('*', &["message", "back", "hello"], None));
}
