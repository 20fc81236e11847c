//! Reads from copies, and what WAITAOF and the figures say of the other owners.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::cluster::Cluster;
use common::{Raw, try_for, wait_for};

const STORES: &str = "stores:\n  a: {number: 2, replication_factor: 3, acks: all}\n  \
                      d: {number: 4, replication_factor: 3, acks: all, persistence: {mode: aof, fsync: always}}\n";
const KEYS: usize = 100;

fn cluster() -> Cluster {
    let cluster = Cluster::start([0, 1, 2], STORES);
    for member in &cluster.members {
        let is_whole =
            || member.http("GET /api/admin/cluster").contains("\"fully_replicated\":true");
        let whole = (0..3).any(|_| try_for(|| is_whole().then_some(())).is_some());
        assert!(whole, "{}", member.log());
    }
    cluster
}

fn key(n: usize) -> Vec<u8> {
    format!("k{n}").into_bytes()
}

fn write(cluster: &Cluster, store: &str, value: &[u8]) {
    let mut raw = cluster.selected(0, store);
    for n in 0..KEYS {
        let mut last = Vec::new();
        let done = try_for(|| {
            last = raw.ask(&[b"SET", &key(n), value]);
            (last == b"+OK\r\n").then_some(())
        });
        assert!(done.is_some(), "k{n} was not written: {}", last.escape_ascii());
    }
}

/// A figure of INFO or `/metrics`: what follows a name.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse::<f64>().unwrap() as u64
}

fn forwarded(raw: &mut Raw) -> u64 {
    let reply = raw.ask(&[b"INFO", b"stats"]);
    figure(&String::from_utf8_lossy(&reply), "forwarded_requests:")
}

#[test]
fn readonly_answers_from_copies_that_are_young_enough_and_from_primaries_else() {
    let mut cluster = cluster();
    write(&cluster, "2", b"old");
    let mut reader = cluster.selected(1, "2");
    let mut control = cluster.raw(1);
    assert_eq!(reader.ask(&[b"ASKING"]), b"+OK\r\n");
    for bad in [&[&b"READONLY"[..], b"MAXSTALE", b"0"][..], &[b"READONLY", b"MAXSTALE"]] {
        assert!(reader.ask(bad).starts_with(b"-ERR"));
    }
    assert_eq!(reader.ask(&[b"READONLY", b"MAXSTALE", b"10000"]), b"+OK\r\n");
    let read_all = |reader: &mut Raw, wanted: &[&[u8]]| {
        for n in 0..KEYS {
            let got = reader.ask(&[b"GET", &key(n)]);
            assert!(wanted.contains(&&got[..]), "k{n}: {}", got.escape_ascii());
        }
    };
    // Once its primaries were asked, this member answers all by itself: it has a copy of every slot.
    wait_for("all reads from copies", || {
        let before = forwarded(&mut control);
        read_all(&mut reader, &[b"$3\r\nold\r\n"]);
        (forwarded(&mut control) == before).then_some(())
    });
    // A write goes to its primary all the same, and is seen within the bound.
    assert_eq!(reader.ask(&[b"READONLY", b"MAXSTALE", b"2000"]), b"+OK\r\n");
    write(&cluster, "2", b"new");
    let written = Instant::now();
    loop {
        let began = Instant::now();
        let wanted: &[&[u8]] = match began - written < Duration::from_millis(2000) {
            true => &[b"$3\r\nold\r\n", b"$3\r\nnew\r\n"],
            false => &[b"$3\r\nnew\r\n"],
        };
        read_all(&mut reader, wanted);
        if wanted.len() == 1 {
            break;
        }
    }
    // A primary that is not heard makes nothing fresh: what is older than that is not told.
    cluster.members[0].pause();
    cluster.members[2].pause();
    reader.command(&[b"READONLY", b"MAXSTALE", b"500"]);
    assert_eq!(reader.reply(), b"+OK\r\n");
    wait_for("a read that nobody may answer", || {
        let reply = reader.ask(&[b"GET", b"k0"]);
        let other = reader.ask(&[b"GET", b"k1"]);
        let third = reader.ask(&[b"GET", b"k2"]);
        [reply, other, third].iter().any(|reply| reply.starts_with(b"-")).then_some(())
    });
    cluster.members[0].resume();
    cluster.members[2].resume();
    assert_eq!(reader.ask(&[b"READWRITE"]), b"+OK\r\n");
    wait_for("reads from primaries again", || {
        let reply = reader.ask(&[b"GET", b"k0"]);
        (reply == b"$3\r\nnew\r\n").then_some(())
    });
    cluster.members[2].kill();
}

#[test]
fn waitaof_counts_members_that_have_it_on_their_disks_and_metrics_tell_of_the_links() {
    let cluster = cluster();
    write(&cluster, "4", b"v");
    for member in 0..3 {
        let mut raw = cluster.selected(member, "4");
        assert_eq!(raw.ask(&[b"WAITAOF", b"1", b"2", b"20000"]), b"*2\r\n:1\r\n:2\r\n");
        assert_eq!(raw.ask(&[b"WAITAOF", b"1", b"3", b"300"]), b"*2\r\n:1\r\n:2\r\n");
        let metrics = cluster.members[member].http("GET /metrics");
        let others = (0..3).filter(|other| *other != member);
        for other in others {
            let of = |name: &str| figure(&metrics, &format!("{name}{{to=\"m-{other}\"}}"));
            assert_eq!(of("hypercache_replication_link_up"), 1);
            assert!(of("hypercache_replication_link_sessions_total") >= 1);
            assert!(of("hypercache_replication_link_cycles_total") >= 1);
            assert!(of("hypercache_replication_link_sent_bytes_total") > 0);
        }
        assert_eq!(figure(&metrics, "hypercache_replication_slots_under_replicated "), 0);
        let info = String::from_utf8_lossy(&raw.ask(&[b"INFO", b"replication"])).into_owned();
        assert!(info.contains("role:master\r\nconnected_slaves:2\r\nslave0:ip="), "{info}");
        assert!(figure(&info, "master_repl_offset:") > 0);
    }
}
