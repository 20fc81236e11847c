//! Replication factors change while clients write and members die: what a majority has confirmed stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::cluster::{Cluster, launch};
use common::{Raw, wait_for};
use serde_json::Value;

/// One store keeps its factor, and what it acknowledged is looked for; those beside it do not.
const STORES: &str = "stores:\n  q: {number: 1, replication_factor: 3, acks: quorum}\n  \
                      a: {number: 2, replication_factor: 2, acks: all}\n";

/// Which store gets which factor, and who dies meanwhile.
const CHANGES: [(&str, u64, Option<usize>); 8] = [
    ("a", 3, None),
    ("a", 2, Some(0)),
    ("default", 3, Some(1)),
    ("a", 3, Some(2)),
    ("default", 1, None),
    ("a", 2, Some(1)),
    ("default", 2, Some(0)),
    ("a", 3, Some(2)),
];

/// Waits until all factors are those that are asked for, and all owners in sync.
fn wait_in_force(cluster: &Cluster) {
    for member in &cluster.members {
        member.wait_for("the factors that are asked for, and copies in sync", || {
            let status = member.status();
            let mut stores = status["stores"].as_array()?.iter();
            let is_there = |s: &Value| s["replication_factor"] == s["replication_factor_in_force"];
            (stores.all(is_there) && status["fully_replicated"] == true).then_some(())
        });
    }
}

/// Writes counters of a store until told to stop; the last value of each that was acknowledged.
fn write_until(ports: [u16; 3], store: &str, stop: &AtomicBool) -> Vec<u64> {
    let mut acked = vec![0; 200];
    let mut client: Option<Raw> = None;
    for n in 1.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let at = n % acked.len();
        let raw = client.get_or_insert_with(|| {
            let there = |port: &&u16| std::net::TcpStream::connect(("127.0.0.1", **port)).is_ok();
            let port = wait_for("a member", || ports.iter().find(there).copied());
            let mut raw = Raw::connect(port);
            raw.try_send(&Raw::encode(&[b"SELECT", store.as_bytes()]));
            raw.try_reply();
            raw
        });
        let (key, value) = (format!("k{at}"), n.to_string());
        let sent = raw.try_send(&Raw::encode(&[b"SET", key.as_bytes(), value.as_bytes()]));
        match sent.then(|| raw.try_reply()).flatten() {
            Some(reply) if reply == b"+OK\r\n" => acked[at] = n as u64,
            Some(_) => {}
            None => client = None,
        }
    }
    acked
}

#[test]
fn what_a_majority_confirmed_outlives_members_that_die_while_other_stores_factors_change() {
    let mut cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_force(&cluster);
    let ports = [0, 1, 2].map(|i| cluster.ports[i].0);
    let stop = AtomicBool::new(false);
    let acked = thread::scope(|scope| {
        let writers = ["1", "2"].map(|store| scope.spawn(|| write_until(ports, store, &stop)));
        for (store, factor, dies) in CHANGES {
            let asks = (dies.unwrap_or(2) + 1) % 3;
            let (at, body) = (
                format!("PATCH /api/stores/{store}"),
                format!("{{\"replication_factor\":{factor}}}"),
            );
            let reply = cluster.members[asks].http_json(&at, &body);
            assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
            let asked_for = format!("\"replication_factor\":{factor}");
            assert!(reply.contains(&asked_for), "{reply}");
            if let Some(dies) = dies {
                cluster.members[dies].kill();
                cluster.members[dies] = launch(STORES, cluster.ports[dies], &cluster.flags[dies]);
                cluster.wait_whole();
            }
            wait_in_force(&cluster);
        }
        stop.store(true, Ordering::Release);
        writers.map(|writer| writer.join().unwrap())
    });
    for (store, acked) in ["1", "2"].iter().zip(acked) {
        assert!(acked.iter().all(|n| *n > 0), "every key of store {store} was written");
        let mut raw = cluster.selected(0, store);
        for (at, n) in acked.iter().enumerate() {
            let reply = raw.ask(&[b"GET", format!("k{at}").as_bytes()]);
            let text = String::from_utf8_lossy(&reply).into_owned();
            let got = text.lines().nth(1).and_then(|value| value.parse::<u64>().ok());
            assert!(got >= Some(*n), "store {store}, k{at}: {n} was acknowledged, got {text:?}");
        }
    }
}
