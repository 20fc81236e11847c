//! Lua scripts: on a member alone, and over three that share the slots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::cluster::Cluster;
use common::{Member, Raw, wait_for};
use hypercache_core::cluster::slot_of;

fn ask(raw: &mut Raw, args: &[&str]) -> String {
    let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    String::from_utf8_lossy(&raw.ask(&args)).into_owned()
}

fn eval(raw: &mut Raw, script: &str, keys: &[&str]) -> String {
    let count = keys.len().to_string();
    let mut args = vec!["EVAL", script, &count];
    args.extend_from_slice(keys);
    ask(raw, &args)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The SHA-1 of a script, as a member gives it.
fn load(raw: &mut Raw, script: &str) -> String {
    let reply = ask(raw, &["SCRIPT", "LOAD", script]);
    reply.lines().nth(1).unwrap_or_else(|| panic!("{reply}")).to_owned()
}

const NOSCRIPT: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
const GET: &str = "return redis.call('get', KEYS[1])";
const SET: &str = "return redis.call('set', KEYS[1], ARGV[1])";

#[test]
fn a_script_is_run_by_its_text_and_by_its_digest() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    assert_eq!(ask(&mut raw, &["EVAL", SET, "1", "k", "v"]), "+OK\r\n");
    assert_eq!(eval(&mut raw, GET, &["k"]), bulk("v"));
    let unknown = "0000000000000000000000000000000000000000";
    assert_eq!(ask(&mut raw, &["EVALSHA", unknown, "0"]), NOSCRIPT);
    assert_eq!(ask(&mut raw, &["EVALSHA", "short", "0"]), NOSCRIPT);
    let sha = load(&mut raw, "return ARGV[1]");
    assert_eq!(ask(&mut raw, &["EVALSHA", &sha, "0", "x"]), bulk("x"));
    assert_eq!(ask(&mut raw, &["EVALSHA_RO", &sha.to_uppercase(), "0", "x"]), bulk("x"));
    assert_eq!(ask(&mut raw, &["SCRIPT", "EXISTS", &sha, unknown]), "*2\r\n:1\r\n:0\r\n");
    assert_eq!(ask(&mut raw, &["SCRIPT", "SHOW", &sha]), bulk("return ARGV[1]"));
    assert!(ask(&mut raw, &["INFO", "memory"]).contains("number_of_cached_scripts:3\r\n"));
    assert_eq!(ask(&mut raw, &["SCRIPT", "FLUSH"]), "+OK\r\n");
    assert_eq!(ask(&mut raw, &["EVALSHA", &sha, "0", "x"]), NOSCRIPT);
    assert!(ask(&mut raw, &["INFO", "memory"]).contains("number_of_cached_scripts:0\r\n"));
    let wrong = ask(&mut raw, &["SCRIPT", "LOAD", "return ("]);
    assert!(
        wrong.starts_with("-ERR Error compiling script (new function): user_script:1:"),
        "{wrong}"
    );
}

#[test]
fn a_script_is_told_what_is_on_the_disk_and_never_waits_for_it() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let script = "return redis.call('WAITAOF', 0, 1, 0)";
    assert_eq!(ask(&mut raw, &["EVAL", script, "0"]), "*2\r\n:0\r\n:0\r\n");
    let script = "return redis.call('LASTSAVE') >= 0";
    assert_eq!(ask(&mut raw, &["EVAL", script, "0"]), ":1\r\n");
}

#[test]
fn evaluated_scripts_leave_when_they_are_too_many_and_loaded_ones_stay() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let stays = load(&mut raw, "return 'stays'");
    let mut pipeline = Vec::new();
    for n in 0..600 {
        let script = format!("return {n}");
        pipeline.extend(Raw::encode(&[b"EVAL", script.as_bytes(), b"0"]));
    }
    raw.send(&pipeline);
    for n in 0..600 {
        raw.expect(format!(":{n}\r\n").as_bytes());
    }
    let info = ask(&mut raw, &["INFO"]);
    assert!(info.contains("number_of_cached_scripts:501\r\n"), "{info}");
    assert!(info.contains("evicted_scripts:100\r\n"), "{info}");
    assert_eq!(ask(&mut raw, &["EVALSHA", &stays, "0"]), bulk("stays"));
}

#[test]
fn a_script_in_a_transaction_runs_in_its_turn() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let sha = load(&mut raw, GET);
    for (args, wanted) in [
        (vec!["MULTI"], "+OK\r\n"),
        (vec!["SET", "k", "1"], "+QUEUED\r\n"),
        (vec!["EVAL", "return redis.call('incr', KEYS[1])", "1", "k"], "+QUEUED\r\n"),
        (vec!["EVALSHA", &sha, "1", "k"], "+QUEUED\r\n"),
        (vec!["EVAL", "return redis.call('nope')", "0"], "+QUEUED\r\n"),
        (vec!["SCRIPT", "EXISTS", &sha], "+QUEUED\r\n"),
    ] {
        assert_eq!(ask(&mut raw, &args), wanted);
    }
    let reply = ask(&mut raw, &["EXEC"]);
    let begin = "*5\r\n+OK\r\n:2\r\n$1\r\n2\r\n-ERR Unknown command called from script script: ";
    assert!(reply.starts_with(begin) && reply.ends_with("*1\r\n:1\r\n"), "{reply}");
}

#[test]
fn a_script_is_atomic_for_all_who_look() {
    let member = Member::start(&[]);
    let port = member.resp_port;
    let mut raw = member.raw();
    ask(&mut raw, &["MSET", "{t}a", "0", "{t}b", "0"]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut raw = Raw::connect(port);
                let script = "redis.call('incr', KEYS[1]) redis.call('incr', KEYS[2]) return 1";
                for _ in 0..300 {
                    assert_eq!(eval(&mut raw, script, &["{t}a", "{t}b"]), ":1\r\n");
                }
            });
        }
        scope.spawn(move || {
            let mut raw = Raw::connect(port);
            for _ in 0..300 {
                let both = ask(&mut raw, &["MGET", "{t}a", "{t}b"]);
                let lines: Vec<&str> = both.lines().collect();
                assert_eq!(lines[2], lines[4], "{both}");
            }
        });
    });
    assert_eq!(ask(&mut raw, &["GET", "{t}b"]), bulk("600"));
}

#[test]
fn a_member_alone_lets_a_script_use_keys_that_it_did_not_name() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let script = "for i = 1, 100 do redis.call('set', 'key:' .. i, i) end \
                  local n = 0 for _, k in ipairs(redis.call('keys', 'key:*')) do \
                  n = n + redis.call('del', k) end return n";
    assert_eq!(eval(&mut raw, script, &[]), ":100\r\n");
    assert_eq!(ask(&mut raw, &["DBSIZE"]), ":0\r\n");
}

#[test]
fn two_scripts_that_want_each_others_keys_both_end() {
    let member = Member::start(&[]);
    let port = member.resp_port;
    std::thread::scope(|scope| {
        for (own, other) in [("a", "b"), ("b", "a")] {
            scope.spawn(move || {
                let mut raw = Raw::connect(port);
                let script = "redis.call('incr', KEYS[1]) return redis.call('incr', ARGV[1])";
                for _ in 0..300 {
                    let reply = ask(&mut raw, &["EVAL", script, "1", own, other]);
                    assert!(reply.starts_with(':'), "{reply}");
                }
            });
        }
    });
}

#[test]
fn commands_of_the_server_work_in_scripts() {
    let member = Member::start(&[]);
    let (mut raw, mut hears) = (member.raw(), member.raw());
    hears.ask(&[b"SUBSCRIBE", b"news"]);
    assert_eq!(eval(&mut raw, "return redis.call('publish', 'news', 'x')", &[]), ":1\r\n");
    hears.expect(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n");
    let info = eval(&mut raw, "return redis.call('info', 'server')", &[]);
    assert!(info.contains("redis_version:"), "{info}");
    let refused = eval(&mut raw, "return redis.call('client', 'id')", &[]);
    assert!(
        refused.starts_with("-ERR This Valkey command is not allowed from script"),
        "{refused}"
    );
}

#[test]
fn the_oom_rule_is_that_of_redis() {
    let member =
        Member::start_with("cache:\n  max_memory: 1MB\n  eviction_policy: noeviction\n", &[]);
    let mut raw = member.raw();
    let value = "x".repeat(100_000);
    let full = wait_for("a full store", || {
        let reply = ask(&mut raw, &["APPEND", "big", &value]);
        reply.starts_with("-OOM").then_some(reply)
    });
    assert!(full.starts_with("-OOM command not allowed"), "{full}");
    let set = eval(&mut raw, "return redis.call('set', KEYS[1], 1)", &["k"]);
    assert!(set.starts_with("-OOM command not allowed when used memory > 'maxmemory'."), "{set}");
    assert_eq!(eval(&mut raw, "return redis.call('get', KEYS[1])", &["k"]), "$-1\r\n");
    let set = "\nreturn redis.call('set', KEYS[1], 1)";
    let refused = eval(&mut raw, &format!("#!lua{set}"), &["k"]);
    assert!(refused.starts_with("-OOM allow-oom flag is not set on the script"), "{refused}");
    assert_eq!(eval(&mut raw, &format!("#!lua flags=allow-oom{set}"), &["k"]), "+OK\r\n");
    let freed = "redis.call('del', 'big') return redis.call('set', KEYS[1], 1)";
    assert_eq!(eval(&mut raw, freed, &["k"]), "+OK\r\n");
}

#[test]
fn commands_that_wait_do_not_wait_in_scripts_and_scripts_serve_those_who_do() {
    let member = Member::start(&[]);
    let (mut raw, mut waits) = (member.raw(), member.raw());
    let nothing = eval(&mut raw, "return redis.call('blpop', KEYS[1], 0)", &["l"]);
    assert_eq!(nothing, "$-1\r\n");
    waits.command(&[b"BLPOP", b"l", b"0"]);
    wait_for("somebody who waits", || {
        ask(&mut raw, &["INFO", "clients"]).contains("blocked_clients:1\r\n").then_some(())
    });
    let push = "redis.call('rpush', KEYS[1], 'a', 'b') return redis.call('llen', KEYS[1])";
    assert_eq!(eval(&mut raw, push, &["l"]), ":2\r\n");
    waits.expect(b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");
    let pop = eval(&mut raw, "return redis.call('blpop', KEYS[1], 0)", &["l"]);
    assert_eq!(pop, "*2\r\n$1\r\nl\r\n$1\r\nb\r\n");
}

/// Keys in slots of each of three members, by the member that owns them; and a connection to each.
fn keys_by_owner(cluster: &Cluster) -> Vec<String> {
    let mut raw = cluster.raw(0);
    let shards = ask(&mut raw, &["CLUSTER", "NODES"]);
    let mut keys = vec![String::new(); 3];
    for line in shards.lines() {
        let Some(owner) = cluster.ports.iter().position(|p| line.contains(&format!(":{}@", p.0)))
        else {
            continue;
        };
        let ranges: Vec<(u16, u16)> = line
            .split(' ')
            .skip(8)
            .filter_map(|range| {
                let (low, high) = range.split_once('-').unwrap_or((range, range));
                Some((low.parse().ok()?, high.trim().parse().ok()?))
            })
            .collect();
        keys[owner] = (0..)
            .map(|n| format!("key{n}"))
            .find(|key| {
                let slot = slot_of(key.as_bytes());
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&slot))
            })
            .unwrap();
    }
    assert!(keys.iter().all(|key| !key.is_empty()), "{shards}");
    keys
}

#[test]
fn a_script_runs_on_the_member_of_its_keys_whichever_is_asked() {
    let cluster = Cluster::start([0, 1, 2], "");
    let keys = keys_by_owner(&cluster);
    for (asked, _) in cluster.members.iter().enumerate() {
        let mut raw = cluster.raw(asked);
        for key in &keys {
            assert_eq!(ask(&mut raw, &["EVAL", SET, "1", key, "v"]), "+OK\r\n", "{asked} {key}");
            assert_eq!(eval(&mut raw, GET, &[key]), bulk("v"));
        }
        // In one pipeline, in order.
        let mut pipeline = Vec::new();
        for key in &keys {
            for n in 0..3 {
                let n = n.to_string();
                pipeline.extend(Raw::encode(&[
                    b"EVAL",
                    SET.as_bytes(),
                    b"1",
                    key.as_bytes(),
                    n.as_bytes(),
                ]));
                pipeline.extend(Raw::encode(&[b"GET", key.as_bytes()]));
            }
        }
        raw.send(&pipeline);
        for _ in &keys {
            for n in 0..3 {
                raw.expect(format!("+OK\r\n$1\r\n{n}\r\n").as_bytes());
            }
        }
    }
    let mut raw = cluster.raw(0);
    // A script that is loaded anywhere runs everywhere, by its digest alone.
    let sha = load(&mut raw, GET);
    for asked in 0..3 {
        let mut raw = cluster.raw(asked);
        for key in &keys {
            assert_eq!(ask(&mut raw, &["EVALSHA", &sha, "1", key]), bulk("2"), "{asked} {key}");
        }
        assert_eq!(ask(&mut raw, &["SCRIPT", "EXISTS", &sha]), "*1\r\n:1\r\n");
    }
    // So does one that only one member has evaluated, in a pipeline with others too.
    let script = "return redis.call('get', KEYS[1]) .. ARGV[1]";
    assert_eq!(ask(&mut raw, &["EVAL", script, "1", &keys[0], "!"]), bulk("2!"));
    let script_sha = {
        let mut other = cluster.raw(1);
        ask(&mut other, &["EVAL", "return redis.sha1hex(ARGV[1])", "0", script])
    };
    let script_sha = script_sha.lines().nth(1).unwrap().to_owned();
    let mut pipeline = Vec::new();
    for key in &keys {
        pipeline.extend(Raw::encode(&[
            b"EVALSHA",
            script_sha.as_bytes(),
            b"1",
            key.as_bytes(),
            b"?",
        ]));
        pipeline.extend(Raw::encode(&[b"SET", key.as_bytes(), b"2"]));
        pipeline.extend(Raw::encode(&[b"GET", key.as_bytes()]));
    }
    raw.send(&pipeline);
    for _ in &keys {
        raw.expect(b"$2\r\n2?\r\n+OK\r\n$1\r\n2\r\n");
    }
    // Forgotten everywhere.
    assert_eq!(ask(&mut raw, &["SCRIPT", "FLUSH", "SYNC"]), "+OK\r\n");
    for asked in 0..3 {
        let mut raw = cluster.raw(asked);
        for key in &keys {
            assert_eq!(ask(&mut raw, &["EVALSHA", &sha, "1", key]), NOSCRIPT);
        }
    }
}

#[test]
fn keys_of_other_slots_are_refused_in_a_cluster_as_redis_does() {
    let cluster = Cluster::start([0, 1, 2], "");
    let keys = keys_by_owner(&cluster);
    let mut raw = cluster.raw(0);
    let cross = eval(&mut raw, GET, &[&keys[0], &keys[1]]);
    assert!(cross.starts_with("-CROSSSLOT"), "{cross}");
    let other = "return redis.call('get', ARGV[1])";
    let far = ask(&mut raw, &["EVAL", other, "1", &keys[0], &keys[1]]);
    assert!(far.starts_with("-ERR Script attempted to access a non local key"), "{far}");
    let same_slot = format!("{{{}}}x", keys[0]);
    assert_eq!(ask(&mut raw, &["EVAL", other, "1", &keys[0], &same_slot]), "$-1\r\n");
    // Another slot of the same member.
    let own = (0..)
        .map(|n| format!("own{n}"))
        .find(|key| {
            let reply = ask(&mut raw, &["EVAL", other, "0", key]);
            reply == "$-1\r\n" && slot_of(key.as_bytes()) != slot_of(keys[0].as_bytes())
        })
        .unwrap();
    let apart = ask(&mut raw, &["EVAL", other, "1", &keys[0], &own]);
    let words = "-ERR Script attempted to access keys that do not hash to the same slot";
    assert!(apart.starts_with(words), "{apart}");
    let flagged = format!("#!lua flags=allow-cross-slot-keys\n{other}");
    assert_eq!(ask(&mut raw, &["EVAL", &flagged, "1", &keys[0], &own]), "$-1\r\n");
    let no_cluster = eval(&mut raw, "#!lua flags=no-cluster\nreturn 1", &[]);
    assert!(no_cluster.starts_with("-ERR Can not run script on cluster"), "{no_cluster}");
    let all = eval(&mut raw, "return redis.call('keys', '*')", &[]);
    assert!(all.starts_with("-ERR 'keys' is over all keys"), "{all}");
}

#[test]
fn a_script_in_a_transaction_goes_to_the_member_of_its_keys() {
    let cluster = Cluster::start([0, 1, 2], "");
    let keys = keys_by_owner(&cluster);
    let mut raw = cluster.raw(0);
    let sha = {
        // Evaluated, and so known, only here.
        let script = "return redis.call('incrby', KEYS[1], ARGV[1])";
        assert_eq!(ask(&mut raw, &["EVAL", script, "1", &keys[0], "1"]), ":1\r\n");
        let sha = ask(&mut raw, &["EVAL", "return redis.sha1hex(ARGV[1])", "0", script]);
        sha.lines().nth(1).unwrap().to_owned()
    };
    for key in &keys {
        ask(&mut raw, &["SET", key, "1"]);
        assert_eq!(ask(&mut raw, &["MULTI"]), "+OK\r\n");
        assert_eq!(ask(&mut raw, &["EVALSHA", &sha, "1", key, "5"]), "+QUEUED\r\n");
        assert_eq!(ask(&mut raw, &["GET", key]), "+QUEUED\r\n");
        assert_eq!(ask(&mut raw, &["EXEC"]), "*2\r\n:6\r\n$1\r\n6\r\n");
    }
}

#[test]
fn a_script_that_runs_on_another_member_can_be_killed_from_any() {
    let cluster = Cluster::start([0, 1, 2], "script:\n  time_limit: 20s\n");
    let keys = keys_by_owner(&cluster);
    let mut raw = cluster.raw(0);
    assert!(ask(&mut raw, &["SCRIPT", "KILL"]).starts_with("-NOTBUSY"));
    let endless = "while true do redis.pcall('get', KEYS[1]) end";
    let args: [&[u8]; 4] = [b"EVAL", endless.as_bytes(), b"1", keys[1].as_bytes()];
    raw.command(&args);
    let began = Instant::now();
    let mut other = cluster.raw(2);
    wait_for("a script to kill", || {
        (ask(&mut other, &["SCRIPT", "KILL"]) == "+OK\r\n").then_some(())
    });
    let reply = String::from_utf8(raw.reply()).unwrap();
    assert!(reply.contains("Script killed by user with SCRIPT KILL."), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(20));
    // The cluster did not lose its head meanwhile.
    assert_eq!(ask(&mut other, &["SET", &keys[1], "v"]), "+OK\r\n");
}
