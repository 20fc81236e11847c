//! The port on which cluster-mode clients are sent to the members of their keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;
use common::{Raw, free_port, wait_for};
use std::sync::mpsc::{TryRecvError, channel};

/// Three members, and the port of each for cluster-mode clients.
fn start(yaml: &str) -> (Cluster, [u16; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let cluster = Cluster::start_on([0, 1, 2], yaml, Some(ports));
    // Each has to have asked the others.
    for port in ports {
        wait_for("the ports of all members", || {
            let told = nodes(&mut Raw::connect(port));
            ports.iter().all(|port| told.contains(&format!(":{port}@"))).then_some(())
        });
    }
    (cluster, ports)
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8(reply).unwrap()
}

fn nodes(raw: &mut Raw) -> String {
    text(raw.ask(&[b"CLUSTER", b"NODES"]))
}

/// The port that a member says a key's own member has.
fn moved(reply: Vec<u8>) -> u16 {
    let text = text(reply);
    assert!(text.starts_with("-MOVED ") && text.contains(" 127.0.0.1:"), "{text}");
    text.trim_end().rsplit(':').next().unwrap().parse().unwrap()
}

/// A key that is another member's than the one at a port, and where that one is.
fn elsewhere(port: u16) -> (String, u16) {
    let mut raw = Raw::connect(port);
    let tried = (0..100).find_map(|n| {
        let key = format!("{{{n}}}");
        let reply = raw.ask(&[b"EXISTS", key.as_bytes()]);
        reply.starts_with(b"-").then(|| (key, moved(reply)))
    });
    tried.expect("a key of another member")
}

#[test]
fn who_asks_for_another_members_key_is_sent_there_and_answered() {
    let (cluster, ports) = start("");
    let (mut here, mut plain) = (Raw::connect(ports[0]), cluster.raw(0));
    let mut sent = 0;
    for n in 0..100 {
        let key = format!("key:{n}");
        let set: &[&[u8]] = &[b"SET", key.as_bytes(), b"1"];
        let reply = here.ask(set);
        if reply != b"+OK\r\n" {
            let port = moved(reply);
            assert!(port != ports[0] && ports.contains(&port), "{port}");
            assert_eq!(Raw::connect(port).ask(set), b"+OK\r\n", "{key}");
            sent += 1;
        }
        assert_eq!(plain.ask(&[b"GET", key.as_bytes()]), b"$1\r\n1\r\n", "the other port forwards");
    }
    assert!((30..100).contains(&sent), "{sent} of 100 were sent elsewhere");
    // What is over several slots is nobody's alone, and is answered as on the other port.
    assert_eq!(here.ask(&[b"EXISTS", b"key:1", b"key:2", b"key:3"]), b":3\r\n");
    assert_eq!(here.ask(&[b"DBSIZE"]), b":100\r\n");
    let told = text(here.ask(&[b"INFO", b"errorstats"]));
    assert!(told.contains(&format!("errorstat_MOVED:count={sent}")), "{told}");
}

#[test]
fn what_is_no_plain_command_is_sent_as_well_and_a_transaction_is_not_run_without_it() {
    let (_cluster, ports) = start("");
    let (key, owner) = elsewhere(ports[0]);
    let key = key.as_bytes();
    let mut here = Raw::connect(ports[0]);
    let commands: [&[&[u8]]; 6] = [
        &[b"BLPOP", key, b"1"],
        &[b"WATCH", key],
        &[b"EVAL", b"return redis.call('get', KEYS[1])", b"1", key],
        &[b"LMOVE", key, key, b"LEFT", b"RIGHT"],
        &[b"MGET", key, key],
        &[b"OBJECT", b"ENCODING", key],
    ];
    for command in commands {
        assert_eq!(moved(here.ask(command)), owner, "{:?}", String::from_utf8_lossy(command[0]));
    }
    assert_eq!(here.ask(&[b"MULTI"]), b"+OK\r\n");
    assert_eq!(moved(here.ask(&[b"SET", key, b"1"])), owner);
    assert!(here.ask(&[b"EXEC"]).starts_with(b"-EXECABORT "));
    let mut there = Raw::connect(owner);
    assert_eq!(there.ask(&[b"EXISTS", key]), b":0\r\n", "nothing of it was done");
    for command in [&[&b"MULTI"[..]][..], &[b"SET", key, b"1"], &[b"EXEC"]] {
        assert!(!there.ask(command).starts_with(b"-"), "{command:?}");
    }
    // In a pipeline each reply is in its place.
    let pipeline: [&[&[u8]]; 3] = [&[b"ECHO", b"a"], &[b"GET", key], &[b"ECHO", b"b"]];
    here.send(&pipeline.map(Raw::encode).concat());
    here.expect(b"$1\r\na\r\n");
    assert_eq!(moved(here.reply()), owner);
    here.expect(b"$1\r\nb\r\n");
}

#[test]
fn the_slots_are_told_with_the_ports_of_the_kind_that_was_asked() {
    let (cluster, ports) = start("");
    let plain = cluster.ports.iter().map(|ports| ports.0);
    for (raw, ports) in
        [(Raw::connect(ports[1]), ports.to_vec()), (cluster.raw(1), plain.collect())]
    {
        let mut raw = raw;
        let told = nodes(&mut raw);
        assert!(ports.iter().all(|port| told.contains(&format!(":{port}@"))), "{told}");
        for kind in ["SLOTS", "SHARDS"] {
            let told = text(raw.ask(&[b"CLUSTER", kind.as_bytes()]));
            let tells = |port: &u16| told.contains(&format!("\r\n:{port}\r\n"));
            assert!(ports.iter().all(tells), "{kind}: {told}");
        }
    }
}

#[test]
fn copies_are_read_where_they_are_and_writes_are_sent_to_the_primary() {
    let (_cluster, ports) = start("cache: {replication_factor: 3, acks: all}\n");
    let (key, owner) = elsewhere(ports[0]);
    let key = key.as_bytes();
    assert_eq!(Raw::connect(owner).ask(&[b"SET", key, b"1"]), b"+OK\r\n");
    let mut here = Raw::connect(ports[0]);
    assert_eq!(here.ask(&[b"READONLY"]), b"+OK\r\n");
    assert_eq!(here.ask(&[b"GET", key]), b"$1\r\n1\r\n");
    assert_eq!(moved(here.ask(&[b"SET", key, b"2"])), owner);
    assert_eq!(here.ask(&[b"READWRITE"]), b"+OK\r\n");
    assert_eq!(moved(here.ask(&[b"GET", key])), owner);
}

#[test]
fn who_follows_moved_writes_each_once_while_the_member_of_its_key_is_drained() {
    let (cluster, ports) = start("cache: {replication_factor: 2, acks: all}\n");
    let (key, owner) = elsewhere(ports[0]);
    let i = ports.iter().position(|port| *port == owner).unwrap();
    let (stop, stopped) = channel::<()>();
    let writer = std::thread::spawn(move || {
        let (mut told, mut written, mut in_a_row) = (vec![owner], 0u64, 0);
        let mut raw = Raw::connect(owner);
        while stopped.try_recv() == Err(TryRecvError::Empty) {
            let reply = raw.ask(&[b"INCR", key.as_bytes()]);
            if reply.starts_with(b":") {
                (written, in_a_row) = (written + 1, 0);
                assert_eq!(reply, format!(":{written}\r\n").into_bytes());
            } else {
                told.push(moved(reply));
                in_a_row += 1;
                assert!(
                    in_a_row <= 3,
                    "sent to and fro, which clients follow three times: {told:?}"
                );
                raw = Raw::connect(*told.last().unwrap());
            }
        }
        (told, written)
    });
    let member = &cluster.members[i];
    let drained = member.http(&format!("POST /api/admin/members/m-{i}/drain"));
    assert!(drained.starts_with("HTTP/1.1 200"), "{drained}");
    let mut asks = Raw::connect(owner);
    member.wait_for("all slots at other members", || {
        let told = nodes(&mut asks);
        let mine = told.lines().find(|line| line.contains("myself"))?;
        // Without slots it is nobody's master, or has no runs behind `connected`.
        (mine.contains("slave") || mine.ends_with(" connected")).then_some(())
    });
    wait_for("who writes to be told", || {
        let reply = asks.ask(&[b"EXISTS", b"any"]);
        reply.starts_with(b"-MOVED ").then_some(())
    });
    stop.send(()).unwrap();
    let (told, written) = writer.join().unwrap();
    assert!(told.len() > 1 && *told.last().unwrap() != owner && written > 0, "{told:?} {written}");
}
