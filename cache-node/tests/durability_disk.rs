//! A disk that is full and gets room again; snapshots that are taken while clients write, and what they
//! let go of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Member, Raw, free_port};

fn launch(yaml: &str, ports: [u16; 3], directory: &Path) -> Member {
    let flags = ["--data-dir", directory.to_str().unwrap()];
    let member = Member::launch(yaml, &[], ports[0], ports[1], ports[2], &flags);
    member.wait_ready();
    member
}

fn connect(member: &Member) -> Raw {
    let mut client = member.raw();
    assert_eq!(client.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
    client
}

/// A small file system, unmounted at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at);
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn on_a_full_disk_writers_are_told_and_readers_go_on_and_it_heals_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(directory.path()) else {
        eprintln!("skipped: mounting a small file system needs to be root");
        return;
    };
    let yaml =
        "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n  n: {number: 2}\n";
    let ports = [free_port(), free_port(), free_port()];
    let mut member = launch(yaml, ports, &small.0);
    let mut client = connect(&member);
    assert_eq!(client.ask(&[b"SET", b"before", b"v"]), b"+OK\r\n");
    // All that is left is taken by somebody else.
    let filler = small.0.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write(&mut file, &[1; 4096]).is_ok() {}
    let large = vec![b'x'; 100_000];
    let mut acknowledged = Vec::new();
    let refused = member.wait_for("a refused write", || {
        let key = format!("k{}", acknowledged.len()).into_bytes();
        let reply = client.ask(&[b"SET", &key, &large]);
        if reply == b"+OK\r\n" {
            acknowledged.push(key);
            return None;
        }
        Some(String::from_utf8_lossy(&reply).into_owned())
    });
    assert!(refused.starts_with("-MISCONF"), "{refused}");
    assert_eq!(client.ask(&[b"GET", b"before"]), b"$1\r\nv\r\n");
    let again = client.ask(&[b"SET", b"x", b"y"]);
    assert!(again.starts_with(b"-MISCONF"), "{}", again.escape_ascii());
    // Of a pipeline only the writes are refused.
    let mut bytes = Raw::encode(&[b"GET", b"before"]);
    bytes.extend(Raw::encode(&[b"SET", b"x", b"y"]));
    bytes.extend(Raw::encode(&[b"GET", b"before"]));
    client.send(&bytes);
    assert_eq!(client.reply(), b"$1\r\nv\r\n");
    assert!(client.reply().starts_with(b"-MISCONF"));
    assert_eq!(client.reply(), b"$1\r\nv\r\n");
    // A store that promises nothing goes on.
    let mut other = member.raw();
    other.ask(&[b"SELECT", b"2"]);
    assert_eq!(other.ask(&[b"SET", b"a", b"b"]), b"+OK\r\n");
    let health = member.http("GET /health");
    assert!(health.contains("degraded") && health.contains("disk:"), "{health}");
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    member.wait_for("an accepted write", || {
        (client.ask(&[b"SET", b"after", b"v"]) == b"+OK\r\n").then_some(())
    });
    assert!(!member.http("GET /health").contains("disk:"));
    member.kill();
    let member = launch(yaml, ports, &small.0);
    let mut client = connect(&member);
    for key in [&b"before"[..], b"after"].into_iter().chain(acknowledged.iter().map(Vec::as_slice))
    {
        let there = client.ask(&[b"EXISTS", key]);
        assert_eq!(there, b":1\r\n", "{}: {}", key.escape_ascii(), member.log());
    }
}

#[test]
fn l18_snapshots_while_clients_write_lose_nothing_and_old_segments_go() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = "stores:\n  s: {number: 1, persistence: {mode: aof+snapshot, fsync: always, \
                snapshot_interval: 1s}}\n";
    let ports = [free_port(), free_port(), free_port()];
    let mut member = launch(yaml, ports, directory.path());
    let files = |of: &str| -> Vec<PathBuf> {
        let directory = directory.path().join("durable").join(of);
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    let mut sent = 0u64;
    let mut seen = std::collections::BTreeSet::new();
    let write = |client: &mut Raw, sent: &mut u64| {
        for _ in 0..50 {
            *sent += 1;
            let text = sent.to_string();
            client.command(&[b"SET", format!("k{}", *sent % 500).as_bytes(), text.as_bytes()]);
        }
        (0..50).for_each(|_| assert_eq!(client.reply(), b"+OK\r\n"));
    };
    // Every start has a segment of its own: after two more snapshots the first is not needed.
    for round in 0..2 {
        let mut client = connect(&member);
        let target = 3 * (round + 1);
        member.wait_for("snapshots", || {
            write(&mut client, &mut sent);
            seen.extend(
                files("snapshots").into_iter().filter(|f| f.extension().unwrap() == "hcsn"),
            );
            (seen.len() >= target).then_some(())
        });
        member.kill();
        member = launch(yaml, ports, directory.path());
        let mut client = connect(&member);
        for n in (sent - 499)..=sent {
            let (key, text) = (format!("k{}", n % 500), n.to_string());
            let wanted = format!("${}\r\n{text}\r\n", text.len()).into_bytes();
            assert_eq!(client.ask(&[b"GET", key.as_bytes()]), wanted, "{key}; {}", member.log());
        }
    }
    // A snapshot may just have been taken: what it makes superfluous goes after it.
    member.wait_for("what is not needed is gone", || {
        let first = files("log").first()?.clone();
        let is_first = first.ends_with("log-00000000000000000001.hclg");
        (files("snapshots").len() <= 2 && !is_first).then_some(())
    });
}
