//! A member that is asked while it reads its data: it answers what is right, or that it is loading.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::Raw;
use common::kept::{Kept, Random};

const KEYS: u64 = 300_000;
const YAML: &str = "stores:\n  \
    s: {number: 1, persistence: {mode: aof, fsync: periodic, rewrite_percentage: 0}}\n  \
    t: {number: 2, persistence: {mode: aof, fsync: periodic, rewrite_percentage: 0}}\n";

fn bulk(value: &str) -> String {
    format!("${}\r\n{value}\r\n", value.len())
}

fn ask(client: &mut Raw, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    String::from_utf8(client.ask(&words)).unwrap()
}

#[test]
fn while_it_loads_a_member_has_the_right_values_or_says_loading_and_is_not_ready() {
    let mut kept = Kept::start(YAML);
    let mut client = kept.connect();
    for first in (0..KEYS).step_by(1000) {
        let bytes: Vec<u8> = (first..first + 1000)
            .flat_map(|n| {
                Raw::encode(&[b"SET", format!("k{n}").as_bytes(), n.to_string().as_bytes()])
            })
            .collect();
        client.send(&bytes);
        (0..1000).for_each(|_| assert_eq!(client.reply(), b"+OK\r\n"));
    }
    let mut other = kept.member.raw();
    ask(&mut other, &["SELECT", "2"]);
    (0..1000).for_each(|n| assert_eq!(ask(&mut other, &["SET", &format!("t{n}"), "v"]), "+OK\r\n"));
    kept.member.wait_for("all of it in the file", || {
        let bytes: u64 = kept.files("log").iter().map(|path| path.metadata().unwrap().len()).sum();
        (bytes > KEYS * 20).then_some(())
    });
    assert_eq!(kept.member.terminate(), Some(0));

    kept.relaunch();
    let mut random = Random::seeded();
    let (mut loading, mut right, mut told, mut changed) = (0, 0, false, Vec::new());
    let mut flushed = false;
    let mut client = Raw::connect(kept.member.resp_port);
    assert_eq!(ask(&mut client, &["SELECT", "1"]), "+OK\r\n");
    let mut flusher = Raw::connect(kept.member.resp_port);
    assert_eq!(ask(&mut flusher, &["SELECT", "2"]), "+OK\r\n");
    loop {
        // Who is ready has everything: this is asked first.
        let ready = kept.member.http("GET /readyz");
        let is_ready = ready.starts_with("HTTP/1.1 200");
        for round in 0..20 {
            let n = random.below(KEYS);
            let (key, value) = (format!("k{n}"), bulk(&n.to_string()));
            let other = (n + KEYS / 2) % KEYS;
            let both = format!("*2\r\n{value}{}", bulk(&other.to_string()));
            let (reply, wanted) = match round % 10 {
                0 => (ask(&mut client, &["EXISTS", &key]), ":1\r\n".to_owned()),
                1 => (ask(&mut client, &["MGET", &key, &format!("k{other}")]), both),
                2 => {
                    let script = "return redis.call('GET', KEYS[1])";
                    (ask(&mut client, &["EVAL", script, "1", &key]), value)
                }
                3 => (ask(&mut client, &["DBSIZE"]), format!(":{KEYS}\r\n")),
                6 => {
                    let bulk = format!("*1\r\n{}", bulk(&key));
                    (ask(&mut client, &["KEYS", &format!("[k]{n}")]), bulk)
                }
                7 => {
                    // Who is told that a store is empty finds it so when all is read.
                    let reply =
                        ask(&mut flusher, [&["FLUSHDB"], &["FLUSHDB", "SYNC"][..]][round / 8 % 2]);
                    flushed |= reply == "+OK\r\n";
                    (reply, "+OK\r\n".to_owned())
                }
                8 => {
                    ask(&mut flusher, &["MULTI"]);
                    ask(&mut flusher, &["FLUSHDB"]);
                    let reply = ask(&mut flusher, &["EXEC"]);
                    flushed |= reply == "*1\r\n+OK\r\n";
                    (reply, "*1\r\n+OK\r\n".to_owned())
                }
                4 => {
                    assert_eq!(ask(&mut client, &["MULTI"]), "+OK\r\n");
                    ask(&mut client, &["GET", &key]);
                    (ask(&mut client, &["EXEC"]), format!("*1\r\n{value}"))
                }
                // What it takes meanwhile stays: the same value, with an end.
                _ => {
                    let reply = ask(&mut client, &["EXPIRE", &key, "100000"]);
                    if reply == ":1\r\n" {
                        changed.push(key);
                    }
                    (reply, ":1\r\n".to_owned())
                }
            };
            // Before that the member does not even know what its cluster is.
            let begins = reply.contains("-CLUSTERDOWN ") || reply.starts_with("-EXECABORT");
            if reply.contains("-LOADING ") || begins {
                assert!(!is_ready, "ready, and {reply}");
                loading += u64::from(!begins);
            } else {
                assert_eq!(reply, wanted, "{loading} were LOADING, {right} right");
                right += 1;
            }
        }
        if is_ready {
            break;
        }
        told |= ready.contains("data is read from the disk");
    }
    assert!(flushed && ask(&mut flusher, &["DBSIZE"]) == ":0\r\n", "a flush that was not one");
    eprintln!("{loading} answers were LOADING, {right} right");
    assert!(loading > 0, "it was ready at once: the test needs more keys");
    assert!(told, "/readyz did not say why it was not ready");
    let mut client = kept.connect();
    for key in changed {
        let ttl = ask(&mut client, &["TTL", &key]);
        assert!(!ttl.starts_with(":-"), "{key}: {ttl}");
    }
}
