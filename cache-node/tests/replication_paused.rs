//! A member that is paused, and wakes when others have its slots: it answers nothing from before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;
use common::{Raw, try_for, wait_for};

const STORES: &str = "stores:\n  q: {number: 1, replication_factor: 3, acks: quorum}\n  \
                      o: {number: 3, replication_factor: 3, acks: one}\n";
const KEYS: usize = 60;

fn key(n: usize) -> Vec<u8> {
    format!("k{n}").into_bytes()
}

/// Writes until each key was acknowledged, by a client that tries again.
fn write(cluster: &Cluster, through: usize, store: &str, value: &[u8]) {
    let mut raw = cluster.selected(through, store);
    for n in 0..KEYS {
        wait_for("an acknowledged write", || {
            (raw.ask(&[b"SET", &key(n), value]) == b"+OK\r\n").then_some(())
        });
    }
}

#[test]
fn a_member_that_was_paused_answers_nothing_that_others_have_overwritten_meanwhile() {
    let cluster = Cluster::start([0, 1, 2], STORES);
    for member in &cluster.members {
        let is_whole =
            || member.http("GET /api/admin/cluster").contains("\"fully_replicated\":true");
        assert!(try_for(|| is_whole().then_some(())).is_some(), "{}", member.log());
    }
    for store in ["1", "3"] {
        write(&cluster, 0, store, b"old");
    }
    let all = || (0..KEYS).flat_map(|n| ["1", "3"].map(|store| (n, store)));
    let mut waiting: Vec<(usize, &str, Raw)> =
        all().map(|(n, store)| (n, store, cluster.selected(0, store))).collect();
    cluster.members[0].pause();
    // What is on its way when it wakes: reads, alone and behind others, and a write.
    for (n, _, raw) in &mut waiting {
        match *n % 3 {
            0 => raw.command(&[b"GET", &key(*n)]),
            1 => (0..40).for_each(|_| raw.command(&[b"GET", &key(*n)])),
            _ => raw.command(&[b"APPEND", &key(*n), b"!"]),
        }
    }
    for store in ["1", "3"] {
        write(&cluster, 1, store, b"new");
    }
    cluster.members[0].resume();
    let (mut refused, mut answered) = (0, 0);
    for (n, store, mut raw) in waiting {
        let replies = if n % 3 == 1 { 40 } else { 1 };
        for _ in 0..replies {
            match raw.try_reply() {
                None => refused += 1,
                Some(reply) if reply.starts_with(b"-") => refused += 1,
                Some(reply) => {
                    let fits = reply == b"$3\r\nnew\r\n" || reply == b":4\r\n";
                    assert!(fits, "k{n} of store {store}: {}", reply.escape_ascii());
                    answered += 1;
                }
            }
        }
    }
    println!("{answered} were answered, {refused} were refused");
    // And it serves again, with what the others have.
    for store in ["1", "3"] {
        let mut raw = cluster.selected(0, store);
        for n in 0..KEYS {
            let got = wait_for("an answer", || {
                let reply = raw.ask(&[b"GET", &key(n)]);
                (!reply.starts_with(b"-")).then_some(reply)
            });
            let fits = got == b"$3\r\nnew\r\n" || got == b"$4\r\nnew!\r\n" && n % 3 == 2;
            assert!(fits, "k{n} of store {store}: {}", got.escape_ascii());
        }
    }
}
