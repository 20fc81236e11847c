//! Members of two releases in one cluster: a release is told by the newest protocol that it speaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::cluster::{Cluster, launch};
use common::{Member, Raw, free_port};
use hypercache_core::cluster::PROTOCOLS;

const STORE: &str = "cache: {replication_factor: 3, acks: quorum}\n";
const OLDER: &str = "cache: {replication_factor: 3, acks: quorum}\ncluster: {max_protocol: 2}\n";

fn wait_in_sync(cluster: &Cluster) {
    for member in &cluster.members {
        member.wait_for("all copies in sync", || {
            (member.status()["fully_replicated"] == true).then_some(())
        });
    }
}

/// Writes one key after the other through members in turn, each until it is acknowledged; how many there are.
fn write_until(ports: &[u16], stop: &AtomicBool) -> usize {
    let mut written = 0;
    let mut client = None;
    while !stop.load(Ordering::Acquire) {
        let port = ports[written % ports.len()];
        let (key, value) = (format!("key:{written}"), written.to_string());
        let raw = client.get_or_insert_with(|| Raw::connect(port));
        let sent = raw.try_send(&Raw::encode(&[b"SET", key.as_bytes(), value.as_bytes()]));
        match sent.then(|| raw.try_reply()).flatten() {
            Some(reply) if reply == b"+OK\r\n" => written += 1,
            Some(_) => {}
            None => {
                // It stops or starts: another one, once it takes connections.
                let there =
                    |port: &&u16| std::net::TcpStream::connect(("127.0.0.1", **port)).is_ok();
                client = ports.iter().find(there).map(|port| Raw::connect(*port));
            }
        }
    }
    written
}

#[test]
fn members_are_replaced_by_a_newer_release_one_by_one_under_writes_and_speak_newer_once_all_do() {
    let mut cluster = Cluster::start([0, 1, 2], OLDER);
    wait_in_sync(&cluster);
    let ports: Vec<u16> = cluster.ports.iter().map(|ports| ports.0).collect();
    let stop = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&ports, &stop));
        for i in 0..3 {
            let others = [(i + 1) % 3, (i + 2) % 3];
            for other in others {
                assert_eq!(cluster.members[other].status()["protocol"], 2, "not all know more");
            }
            assert_eq!(cluster.members[i].terminate(), Some(0));
            cluster.members[i] = launch(STORE, cluster.ports[i], &cluster.flags[i]);
            cluster.wait_whole();
            wait_in_sync(&cluster);
        }
        for member in &cluster.members {
            member.wait_for("the newer protocol", || {
                (member.status()["protocol"] == *PROTOCOLS.end()).then_some(())
            });
        }
        stop.store(true, Ordering::Release);
        writer.join().unwrap()
    });
    assert!(written > 0);
    let mut raw = cluster.raw(0);
    for n in 0..written {
        let value = n.to_string();
        let expected = format!("${}\r\n{value}\r\n", value.len());
        assert_eq!(
            raw.ask(&[b"GET", format!("key:{n}").as_bytes()]),
            expected.as_bytes(),
            "key:{n}"
        );
    }

    // Who does not speak it is not let in; a member that was, and holds it back again, goes on.
    let ports = (free_port(), free_port(), free_port());
    let mut flags = cluster.flags[0].clone();
    let directory = tempfile::tempdir().unwrap();
    flags[1] = "m-3".into();
    flags[3] = directory.path().display().to_string();
    flags[7] = "0".into();
    let mut fourth = launch(OLDER, ports, &flags);
    cluster.members[0].wait_for("a refusal", || {
        let logs = cluster.members.iter().map(Member::log);
        logs.into_iter().any(|log| log.contains("\"member-not-let-in\"")).then_some(())
    });
    assert_eq!(cluster.members[0].status()["members"].as_array().unwrap().len(), 3);
    assert_eq!(fourth.terminate(), Some(0));
    let fourth = launch(STORE, ports, &flags);
    fourth.wait_for("a place", || {
        (fourth.status()["members"].as_array().is_some_and(|m| m.len() == 4)).then_some(())
    });
    assert_eq!(cluster.members[2].terminate(), Some(0));
    cluster.members[2] = launch(OLDER, cluster.ports[2], &cluster.flags[2]);
    cluster.wait_whole();
    assert_eq!(cluster.members[2].status()["protocol"], *PROTOCOLS.end());
}
