//! Three members that are killed at once: what any of them acknowledged is there afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::Raw;
use common::cluster::{Cluster, launch};

#[test]
fn all_members_killed_at_once_have_every_acknowledged_write_whichever_member_it_was_sent_to() {
    let yaml = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n";
    let mut cluster = Cluster::start([0, 1, 2], yaml);
    let mut client = cluster.raw(0);
    assert_eq!(client.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
    for round in 0..4 {
        let keys = (0..50).map(|n| format!("k{round}:{n}"));
        let bytes: Vec<u8> =
            keys.flat_map(|key| Raw::encode(&[b"SET", key.as_bytes(), key.as_bytes()])).collect();
        client.send(&bytes);
        (0..50).for_each(|_| assert_eq!(client.reply(), b"+OK\r\n"));
    }
    // Each in a slot of another member, for one of them at least.
    for n in 0..6 {
        let (a, b) = (format!("{{t{n}}}a"), format!("{{t{n}}}b"));
        assert_eq!(client.ask(&[b"MULTI"]), b"+OK\r\n");
        client.ask(&[b"SET", a.as_bytes(), b"1"]);
        client.ask(&[b"RPUSH", b.as_bytes(), b"x", b"y"]);
        assert_eq!(client.ask(&[b"EXEC"]), b"*2\r\n+OK\r\n:2\r\n");
        let script = b"redis.call('SET', KEYS[1], ARGV[1]) return 7";
        let key = format!("s{n}");
        assert_eq!(client.ask(&[b"EVAL", script, b"1", key.as_bytes(), b"v"]), b":7\r\n");
        assert_eq!(client.ask(&[b"BLPOP", b.as_bytes(), b"1"])[..4], *b"*2\r\n");
    }
    let reply = client.ask(&[b"MSET", b"m1", b"v", b"m2", b"v", b"m3", b"v", b"m4", b"v"]);
    assert_eq!(reply, b"+OK\r\n");
    assert_eq!(client.ask(&[b"DEL", b"k0:0", b"k0:1", b"k0:2", b"k0:3"]), b":4\r\n");

    cluster.members.iter_mut().for_each(common::Member::kill);
    for i in 0..3 {
        cluster.members[i] = launch(yaml, cluster.ports[i], &cluster.flags[i]);
    }
    cluster.wait_whole();
    let mut client = cluster.raw(1);
    assert_eq!(client.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
    for round in 0..4 {
        for n in 0..50 {
            let key = format!("k{round}:{n}");
            let wanted = match (round, n) {
                (0, 0..4) => b"$-1\r\n".to_vec(),
                _ => format!("${}\r\n{key}\r\n", key.len()).into_bytes(),
            };
            let got = client.ask(&[b"GET", key.as_bytes()]);
            assert_eq!(got, wanted, "{key}: {}", got.escape_ascii());
        }
    }
    for n in 0..6 {
        assert_eq!(client.ask(&[b"GET", format!("{{t{n}}}a").as_bytes()]), b"$1\r\n1\r\n");
        let rest = client.ask(&[b"LRANGE", format!("{{t{n}}}b").as_bytes(), b"0", b"-1"]);
        assert_eq!(rest, b"*1\r\n$1\r\ny\r\n");
        assert_eq!(client.ask(&[b"GET", format!("s{n}").as_bytes()]), b"$1\r\nv\r\n");
    }
    assert_eq!(client.ask(&[b"EXISTS", b"m1", b"m2", b"m3", b"m4"]), b":4\r\n");
}
