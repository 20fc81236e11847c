//! Clients that wait for keys: on a member alone, and over three that share the slots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::{Cluster, launch};
use common::{Member, Raw, wait_for};
use hypercache_core::cluster::slot_of;
use std::time::{Duration, Instant};

fn send(raw: &mut Raw, words: &str) {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    raw.command(&args);
}

fn hear(raw: &mut Raw) -> String {
    String::from_utf8(raw.reply()).unwrap()
}

fn ask(raw: &mut Raw, words: &str) -> String {
    send(raw, words);
    hear(raw)
}

fn popped(key: &str, element: &str) -> String {
    let (k, e) = (key.len(), element.len());
    format!("*2\r\n${k}\r\n{key}\r\n${e}\r\n{element}\r\n")
}

fn id(raw: &mut Raw) -> String {
    ask(raw, "CLIENT ID").trim_matches([':', '\r', '\n']).to_owned()
}

/// Waits until so many clients of a member wait for keys.
fn until_blocked(raw: &mut Raw, count: usize) {
    wait_for("so many blocked clients", || {
        let info = ask(raw, "INFO clients");
        info.contains(&format!("\r\nblocked_clients:{count}\r\n")).then_some(())
    });
}

/// Sends a command that has to wait, and waits until it does.
fn block(member: &Member, raw: &mut Raw, words: &str) {
    let mut other = member.raw();
    let blocked = |other: &mut Raw| {
        let info = ask(other, "INFO clients");
        let line = info.split("\r\n").find_map(|line| line.strip_prefix("blocked_clients:"));
        line.unwrap().parse::<usize>().unwrap()
    };
    let before = blocked(&mut other);
    send(raw, words);
    until_blocked(&mut other, before + 1);
}

#[test]
fn those_who_wait_are_served_in_their_order() {
    let member = Member::start(&[]);
    let mut other = member.raw();
    let mut waiting: Vec<Raw> = (0..5).map(|_| member.raw()).collect();
    for raw in &mut waiting {
        block(&member, raw, "BLPOP none k 0");
    }
    assert_eq!(ask(&mut other, "RPUSH k 0 1 2"), ":3\r\n");
    assert_eq!(ask(&mut other, "EXISTS k"), ":0\r\n");
    for (n, raw) in waiting.iter_mut().enumerate().take(3) {
        assert_eq!(hear(raw), popped("k", &n.to_string()));
    }
    // In a transaction they see only its end.
    for (words, wanted) in [
        ("MULTI", "+OK\r\n"),
        ("LPUSH k a", "+QUEUED\r\n"),
        ("LPUSH k b", "+QUEUED\r\n"),
        ("LLEN k", "+QUEUED\r\n"),
        ("DEL k", "+QUEUED\r\n"),
        ("RPUSH k 3 4 5", "+QUEUED\r\n"),
        ("BLPOP x 0", "+QUEUED\r\n"),
        ("EXEC", "*6\r\n:1\r\n:2\r\n:2\r\n:1\r\n:3\r\n*-1\r\n"),
    ] {
        assert_eq!(ask(&mut other, words), wanted, "{words}");
    }
    for (n, raw) in waiting.iter_mut().enumerate().skip(3) {
        assert_eq!(hear(raw), popped("k", &n.to_string()));
    }
    assert_eq!(ask(&mut other, "BLPOP k 1"), popped("k", "5"));
}

#[test]
fn a_timeout_answers_null_and_what_makes_no_sense_an_error() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    for words in [
        "BLPOP a b 0.01",
        "BLMOVE a b LEFT RIGHT 0.01",
        "BRPOPLPUSH a b 0.01",
        "BLMPOP 0.01 1 a LEFT",
        "BZPOPMAX a 0.01",
        "BZMPOP 0.01 2 a b MIN COUNT 3",
    ] {
        let began = Instant::now();
        assert_eq!(ask(&mut raw, words), "*-1\r\n", "{words}");
        assert!(began.elapsed() >= Duration::from_millis(10), "{words}");
    }
    for (words, wanted) in [
        ("BLPOP a -1", "-ERR timeout is negative\r\n"),
        ("BLPOP a x", "-ERR timeout is not a float or out of range\r\n"),
        ("BRPOP a 1e30", "-ERR timeout is out of range\r\n"),
        ("BLMPOP 1 0 a LEFT", "-ERR numkeys should be greater than 0\r\n"),
        ("BLMPOP 1 1 a MIDDLE", "-ERR syntax error\r\n"),
        ("BLMOVE a b LEFT UP 0", "-ERR syntax error\r\n"),
        ("BLPOP a", "-ERR wrong number of arguments for 'blpop' command\r\n"),
    ] {
        assert_eq!(ask(&mut raw, words), wanted, "{words}");
    }
    ask(&mut raw, "HELLO 3");
    assert_eq!(ask(&mut raw, "BLPOP a 0.01"), "_\r\n");
    until_blocked(&mut raw, 0);
}

#[test]
fn what_is_pipelined_behind_a_wait_follows_it_in_order() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    let mut sent = Vec::new();
    for words in ["SET a 1", "BLPOP k 0", "INCR a", "BLPOP k 0", "GET a", "BLPOP none 0.01"] {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        sent.extend(Raw::encode(&args));
    }
    raw.send(&sent);
    // The answers before it do not wait with it.
    raw.expect(b"+OK\r\n");
    until_blocked(&mut other, 1);
    assert_eq!(ask(&mut other, "GET a"), "$1\r\n1\r\n");
    // And what comes in parts, behind it, is put together.
    raw.send(b"PIN");
    raw.send(b"G\r\n");
    assert_eq!(ask(&mut other, "RPUSH k x"), ":1\r\n");
    raw.expect(format!("{}:2\r\n", popped("k", "x")).as_bytes());
    until_blocked(&mut other, 1);
    assert_eq!(ask(&mut other, "RPUSH k y"), ":1\r\n");
    raw.expect(format!("{}$1\r\n2\r\n*-1\r\n+PONG\r\n", popped("k", "y")).as_bytes());
}

#[test]
fn another_client_can_see_and_end_a_wait() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    let id = id(&mut raw);
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id}")), ":0\r\n");
    block(&member, &mut raw, "BLPOP k 0");
    let line = ask(&mut other, &format!("CLIENT LIST ID {id}"));
    assert!(line.contains(" flags=b ") && line.contains(" cmd=blpop "), "{line}");
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id}")), ":1\r\n");
    assert_eq!(hear(&mut raw), "*-1\r\n");
    block(&member, &mut raw, "BZPOPMIN k 100");
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id} ERROR")), ":1\r\n");
    assert_eq!(hear(&mut raw), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    let line = ask(&mut other, &format!("CLIENT LIST ID {id}"));
    assert!(line.contains(" flags=N "), "{line}");
    for (words, wanted) in [
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n"),
        ("CLIENT UNBLOCK 1 NOW", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n"),
        ("CLIENT UNBLOCK -5 TIMEOUT", ":0\r\n"),
    ] {
        assert_eq!(ask(&mut other, words), wanted, "{words}");
    }
    assert_eq!(ask(&mut other, "RPUSH k x"), ":1\r\n");
    assert_eq!(ask(&mut other, "LLEN k"), ":1\r\n");
}

#[test]
fn s7_a_client_that_goes_away_while_it_waits_takes_nothing() {
    let member = Member::start(&[]);
    let mut other = member.raw();
    for how in ["close", "kill", "close behind a long pipeline"] {
        let mut raw = member.raw();
        let id = id(&mut raw);
        block(&member, &mut raw, "BLMOVE k to LEFT LEFT 0");
        if how == "kill" {
            assert_eq!(ask(&mut other, &format!("CLIENT KILL ID {id}")), ":1\r\n");
        } else if how != "close" {
            // More than the server keeps (1 MiB): the rest waits in its socket, together with the end, which
            // nobody would see if it did not fit there.
            let long = vec![b'x'; 100_000];
            for _ in 0..11 {
                raw.command(&[b"SET", b"long", &long]);
            }
        }
        drop(raw);
        until_blocked(&mut other, 0);
        assert_eq!(ask(&mut other, "RPUSH k x"), ":1\r\n", "{how}");
        assert_eq!(ask(&mut other, "LRANGE k 0 -1"), "*1\r\n$1\r\nx\r\n", "{how}");
        assert_eq!(ask(&mut other, "DEL k"), ":1\r\n");
        assert_eq!(ask(&mut other, "EXISTS long to"), ":0\r\n", "{how}");
    }
}

#[test]
fn a_subscriber_hears_while_it_waits() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    ask(&mut raw, "HELLO 3");
    ask(&mut raw, "SUBSCRIBE news");
    block(&member, &mut raw, "BLPOP k 0");
    for n in 0..100 {
        assert_eq!(ask(&mut other, &format!("PUBLISH news {n}")), ":1\r\n");
        let text = n.to_string();
        let wanted = format!(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${}\r\n{text}\r\n", text.len());
        assert_eq!(hear(&mut raw), wanted);
    }
    ask(&mut other, "RPUSH k x");
    assert_eq!(hear(&mut raw), popped("k", "x"));
}

#[test]
fn a_queue_between_many_clients_gives_each_element_once() {
    let member = Member::start(&[]);
    let elements = 600;
    let taken = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut raw = member.raw();
                loop {
                    let reply = ask(&mut raw, "BRPOPLPUSH jobs doing 0");
                    if reply.contains("end") {
                        break;
                    }
                    taken.lock().unwrap().push(reply);
                }
            });
        }
        for part in 0..2 {
            let member = &member;
            scope.spawn(move || {
                let mut raw = member.raw();
                for n in 0..elements / 2 {
                    ask(&mut raw, &format!("LPUSH jobs {part}-{n}"));
                }
            });
        }
        let mut raw = member.raw();
        wait_for("all elements moved", || {
            (ask(&mut raw, "LLEN doing") == format!(":{elements}\r\n")).then_some(())
        });
        for _ in 0..6 {
            ask(&mut raw, "LPUSH jobs end");
        }
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), elements);
}

#[test]
fn a_server_that_stops_ends_the_waits() {
    let mut member = Member::start(&[]);
    let mut raw = member.raw();
    block(&member, &mut raw, "BLPOP k 0");
    assert_eq!(member.terminate(), Some(0));
    assert!(raw.ended(), "nothing was taken, and nothing is told");
}

/// The member that owns a key, by its place in the cluster.
fn owner(cluster: &Cluster, key: &str) -> usize {
    let slot = slot_of(key.as_bytes()).to_string();
    assert_eq!(ask(&mut cluster.raw(0), &format!("SET {key} here")), "+OK\r\n");
    let holds = |i: &usize| {
        ask(&mut cluster.raw(*i), &format!("CLUSTER COUNTKEYSINSLOT {slot}")) == ":1\r\n"
    };
    let owner = (0..3).find(holds).unwrap();
    assert_eq!(ask(&mut cluster.raw(0), &format!("DEL {key}")), ":1\r\n");
    owner
}

#[test]
fn any_member_lets_its_clients_wait_for_any_key() {
    let cluster = Cluster::start([0, 1, 2], "");
    for key in ["a", "b", "c", "foo", "bar"] {
        let mut waiting: Vec<(Raw, usize)> = (0..6).map(|n| (cluster.raw(n % 3), n % 3)).collect();
        for (raw, at) in &mut waiting {
            block(&cluster.members[*at], raw, &format!("BLPOP {key} {{{key}}}2 0"));
        }
        let mut other = cluster.raw(1);
        for n in 0..6 {
            let push = format!("RPUSH {{{key}}}2 {n}");
            ask(&mut other, &push);
        }
        let mut got: Vec<String> = waiting.iter_mut().map(|(raw, _)| hear(raw)).collect();
        got.sort();
        let wanted: Vec<String> =
            (0..6).map(|n| popped(&format!("{{{key}}}2"), &n.to_string())).collect();
        assert_eq!(got, wanted);
        assert_eq!(ask(&mut other, &format!("EXISTS {{{key}}}2")), ":0\r\n");
    }
    let mut raw = cluster.raw(0);
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(ask(&mut raw, "BLPOP a b c 0"), crossed);
    for key in ["a", "b", "c"] {
        assert_eq!(ask(&mut raw, &format!("BLPOP {key} 0.01")), "*-1\r\n");
        assert_eq!(ask(&mut raw, &format!("BZPOPMIN {key} -1")), "-ERR timeout is negative\r\n");
    }
}

#[test]
fn waits_at_another_member_hold_up_nothing_and_end_with_their_clients() {
    let cluster = Cluster::start([0, 1, 2], "");
    let owner = owner(&cluster, "k");
    let at = (owner + 1) % 3;
    let mut other = cluster.raw(at);
    // More than one connection between members answers late at one time.
    let mut waiting: Vec<Raw> = (0..400).map(|_| cluster.raw(at)).collect();
    for raw in &mut waiting {
        send(raw, "BLPOP k 0");
    }
    until_blocked(&mut other, 400);
    assert_eq!(ask(&mut other, "SET {k}2 1"), "+OK\r\n");
    assert_eq!(ask(&mut other, "GET {k}2"), "$1\r\n1\r\n");
    // One is ended, one is killed, the others go away.
    let mut one = waiting.pop().unwrap();
    let mut killed = waiting.pop().unwrap();
    let ids: Vec<u64> = ask(&mut other, "CLIENT LIST")
        .lines()
        .filter(|line| line.contains(" flags=b "))
        .filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse().ok())
        .collect();
    let [.., second, last] = ids[..] else { panic!("{ids:?}") };
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {last} ERROR")), ":1\r\n");
    assert_eq!(hear(&mut one), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    assert_eq!(ask(&mut other, &format!("CLIENT KILL ID {second}")), ":1\r\n");
    assert!(killed.ended());
    drop(waiting);
    until_blocked(&mut other, 0);
    // The owner forgets them a moment later; then nobody takes this.
    wait_for("an element that stays", || {
        ask(&mut other, "RPUSH k x");
        (ask(&mut other, "LLEN k") != ":0\r\n").then_some(())
    });
    assert_eq!(ask(&mut one, "BLPOP k 0"), popped("k", "x"));
}

#[test]
fn a_wait_ends_with_an_error_when_its_keys_owner_dies() {
    let mut cluster = Cluster::start([0, 1, 2], "");
    let owner = owner(&cluster, "k");
    let (at, third) = ((owner + 1) % 3, (owner + 2) % 3);
    let mut raw = cluster.raw(at);
    block(&cluster.members[at], &mut raw, "BLPOP k 0");
    // What is not there yet would wait at whoever has the slot next.
    let mut control = cluster.raw(owner);
    wait_for("a wait at the owner", || {
        ask(&mut control, "INFO clients").contains("\r\ntotal_blocking_keys:1\r\n").then_some(())
    });
    cluster.members[owner].kill();
    let reply = hear(&mut raw);
    assert!(reply.starts_with("-UNBLOCKED force unblock"), "{reply}");
    // When it is back, it serves those who wait now.
    cluster.members[owner] = launch("", cluster.ports[owner], &cluster.flags[owner]);
    cluster.wait_whole();
    let mut other = cluster.raw(third);
    wait_for("its owner", || ask(&mut other, "SET {k}2 1").starts_with("+OK").then_some(()));
    block(&cluster.members[at], &mut raw, "BLPOP k 0");
    assert_eq!(ask(&mut other, "RPUSH k x"), ":1\r\n");
    assert_eq!(hear(&mut raw), popped("k", "x"));
}

#[test]
fn s7_the_waits_of_a_member_that_dies_take_nothing() {
    let mut cluster = Cluster::start([0, 1, 2], "");
    let owner = owner(&cluster, "k");
    let (at, third) = ((owner + 1) % 3, (owner + 2) % 3);
    let mut waiting: Vec<Raw> = (0..20).map(|_| cluster.raw(at)).collect();
    for raw in &mut waiting {
        send(raw, "BLPOP k 0");
    }
    until_blocked(&mut cluster.raw(at), 20);
    cluster.members[at].kill();
    // Their end is known by the end of their connection; from then on, elements stay.
    let mut other = cluster.raw(third);
    wait_for("elements that stay", || {
        ask(&mut other, "RPUSH k x");
        (ask(&mut other, "LLEN k") != ":0\r\n").then_some(())
    });
    assert_eq!(ask(&mut other, "RPUSH k y"), ":2\r\n");
}
