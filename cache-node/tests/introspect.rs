//! What a member tells of itself: slow log, latency, memory, statistics; and CLIENT's modes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw};

fn ask(raw: &mut Raw, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    String::from_utf8(raw.ask(&args)).unwrap()
}

#[test]
fn the_slow_log_keeps_what_it_is_told_to_keep() {
    let member = Member::start_with("slowlog:\n  slower_than_us: 0\n  max_len: 3\n", &[]);
    let mut raw = member.raw();
    assert_eq!(ask(&mut raw, "slowlog reset"), "+OK\r\n");
    ask(&mut raw, "client setname me");
    ask(&mut raw, "set a secret");
    ask(&mut raw, "config set requirepass word timeout 0");
    assert_eq!(ask(&mut raw, "slowlog len"), ":3\r\n");
    let entries = ask(&mut raw, "slowlog get -1");
    assert!(entries.contains("$9\r\nrequirepass\r\n") || entries.contains("requirepass"));
    assert!(entries.contains("(redacted)") && !entries.contains("word"), "{entries}");
    assert!(entries.contains("$2\r\nme\r\n"), "{entries}");
    assert_eq!(ask(&mut raw, "config set slowlog-log-slower-than -1"), "+OK\r\n");
    assert_eq!(ask(&mut raw, "slowlog reset"), "+OK\r\n");
    ask(&mut raw, "get a");
    assert_eq!(ask(&mut raw, "slowlog len"), ":0\r\n");
    assert_eq!(
        ask(&mut raw, "slowlog get -2"),
        "-ERR count should be greater than or equal to -1\r\n"
    );
}

#[test]
fn statistics_tell_calls_times_and_errors_by_command() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    for words in ["set a b", "set b c", "set a", "incr a", "nope", "hget a b"] {
        ask(&mut raw, words);
    }
    let stats = ask(&mut raw, "info commandstats");
    let line = |name: &str| {
        let found = stats.lines().find(|l| l.starts_with(&format!("cmdstat_{name}:")));
        found.unwrap_or_else(|| panic!("{name} in {stats}")).to_owned()
    };
    assert!(line("set").contains("calls=2,") && line("set").contains("rejected_calls=1,"));
    assert!(line("incr").ends_with("failed_calls=1"), "{}", line("incr"));
    let errors = ask(&mut raw, "info errorstats");
    assert!(errors.contains("errorstat_ERR:count=3\r\n"), "{errors}");
    assert!(errors.contains("errorstat_WRONGTYPE:count=1\r\n"), "{errors}");
    assert!(ask(&mut raw, "info latencystats").contains("latency_percentiles_usec_set:p50="));
    assert!(ask(&mut raw, "latency histogram set").contains("$14\r\nhistogram_usec\r\n"));
    assert_eq!(ask(&mut raw, "latency histogram nope"), "*0\r\n");
    assert_eq!(ask(&mut raw, "config resetstat"), "+OK\r\n");
    assert!(!ask(&mut raw, "info commandstats").contains("cmdstat_set"));
    assert!(!ask(&mut raw, "info errorstats").contains("errorstat_ERR"));
    assert_eq!(ask(&mut raw, "config set latency-tracking no"), "+OK\r\n");
    ask(&mut raw, "get b");
    assert!(!ask(&mut raw, "info latencystats").contains("usec_get:"));
}

#[test]
fn memory_and_latency_answer_in_full() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    ask(&mut raw, "set a b");
    assert!(ask(&mut raw, "memory usage a samples 0").starts_with(':'));
    assert_eq!(ask(&mut raw, "memory usage a samples -1"), "-ERR syntax error\r\n");
    assert!(ask(&mut raw, "memory stats").contains("$15\r\ntotal.allocated\r\n:"));
    assert_eq!(ask(&mut raw, "memory purge"), "+OK\r\n");
    assert!(ask(&mut raw, "memory malloc-stats").contains("jemalloc"));
    assert!(ask(&mut raw, "memory doctor").starts_with('$'));
    assert_eq!(ask(&mut raw, "latency latest"), "*0\r\n");
    assert_eq!(ask(&mut raw, "latency history command"), "*0\r\n");
    assert_eq!(
        ask(&mut raw, "latency graph command"),
        "-ERR No samples available for event 'command'\r\n"
    );
    assert_eq!(ask(&mut raw, "latency reset"), ":0\r\n");
    assert_eq!(ask(&mut raw, "object freq a"), ":5\r\n");
    assert_eq!(ask(&mut raw, "config set maxmemory-policy allkeys-lru"), "+OK\r\n");
    assert!(ask(&mut raw, "object freq a").starts_with("-ERR An LFU maxmemory policy"));
}

#[test]
fn parameters_are_checked_and_set_together_or_not_at_all() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let failed = |name: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}\r\n")
    };
    for (words, name, why) in [
        ("slowlog-max-len 5 hz x", "hz", "argument couldn't be parsed into an integer"),
        ("slowlog-max-len 5 slowlog-max-len 6", "slowlog-max-len", "duplicate parameter"),
        ("port 1", "port", "can't set immutable config"),
        (
            "client-output-buffer-limit normal",
            "client-output-buffer-limit",
            "Wrong number of arguments in buffer limit configuration.",
        ),
    ] {
        let args: Vec<&[u8]> = match words.split_once(' ') {
            Some(("client-output-buffer-limit", value)) => {
                vec![b"config", b"set", b"client-output-buffer-limit", value.as_bytes()]
            }
            _ => [&b"config"[..], b"set"]
                .into_iter()
                .chain(words.split(' ').map(str::as_bytes))
                .collect(),
        };
        assert_eq!(String::from_utf8(raw.ask(&args)).unwrap(), failed(name, why));
    }
    assert!(ask(&mut raw, "config get slowlog-max-len").ends_with("$3\r\n128\r\n"));
    let limits = &[&b"config"[..], b"set", b"client-output-buffer-limit", b"pubsub 1mb 0 0"];
    assert_eq!(raw.ask(limits), b"+OK\r\n");
    let shown = ask(&mut raw, "config get client-output-buffer-limit");
    assert!(shown.contains("pubsub 1048576 0 0"), "{shown}");
    assert_eq!(ask(&mut raw, "config set hash-max-ziplist-entries 7"), "+OK\r\n");
    let shown = ask(&mut raw, "config get hash-max-*-entries slowlog-max-len");
    assert!(shown.starts_with("*6\r\n") && shown.contains("hash-max-listpack-entries\r\n$1\r\n7"));
    assert!(ask(&mut raw, "config rewrite").starts_with("-ERR "));
}

#[test]
fn replies_that_are_not_wanted_do_not_come() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    raw.send(b"CLIENT REPLY SKIP\r\nPING a\r\nPING b\r\nCLIENT REPLY OFF\r\nSET a b\r\nGET a\r\n");
    raw.send(b"CLIENT REPLY ON\r\nGET a\r\n");
    raw.expect(b"$1\r\nb\r\n+OK\r\n$1\r\nb\r\n");
    assert_eq!(ask(&mut raw, "client reply maybe"), "-ERR syntax error\r\n");
    // What a subscriber is told is no reply.
    raw.send(b"CLIENT REPLY OFF\r\nPING\r\nSUBSCRIBE a\r\n");
    raw.expect(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    assert_eq!(ask(&mut member.raw(), "publish a b"), ":1\r\n");
    raw.expect(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n");
}

#[test]
fn writes_wait_for_the_end_of_a_pause() {
    let member = Member::start(&[]);
    let (mut one, mut two) = (member.raw(), member.raw());
    assert_eq!(ask(&mut one, "client pause 600000 write"), "+OK\r\n");
    two.send(b"GET a\r\nSET a b\r\nGET a\r\n");
    two.expect(b"$-1\r\n");
    member.wait_for("a client that waits", || {
        ask(&mut one, "info clients").contains("blocked_clients:1\r\n").then_some(())
    });
    assert!(ask(&mut one, "info clients").contains("paused_actions:write\r\n"));
    assert_eq!(ask(&mut one, "client unpause"), "+OK\r\n");
    two.expect(b"+OK\r\n$1\r\nb\r\n");
    member.wait_for("nobody who waits", || {
        ask(&mut one, "info clients").contains("blocked_clients:0\r\n").then_some(())
    });
    // EXEC waits if one of its commands writes, also when the pause began after MULTI.
    two.send(b"MULTI\r\nSET a c\r\n");
    two.expect(b"+OK\r\n+QUEUED\r\n");
    assert_eq!(ask(&mut one, "client pause 50 all"), "+OK\r\n");
    two.send(b"EXEC\r\n");
    two.expect(b"*1\r\n+OK\r\n");
}

#[test]
fn s7_a_client_that_is_killed_while_paused_leaves_nothing_behind() {
    let member = Member::start(&[]);
    let (mut one, mut two) = (member.raw(), member.raw());
    let id = ask(&mut two, "client id");
    assert_eq!(ask(&mut one, "client pause 600000 write"), "+OK\r\n");
    two.send(b"SET a b\r\n");
    member.wait_for("a client that waits", || {
        ask(&mut one, "info clients").contains("blocked_clients:1\r\n").then_some(())
    });
    let id = id.trim_start_matches(':').trim_end();
    assert_eq!(ask(&mut one, &format!("client kill id {id}")), ":1\r\n");
    member.wait_for("its end", || {
        ask(&mut one, "info clients").contains("blocked_clients:0\r\n").then_some(())
    });
    assert_eq!(ask(&mut one, "client unpause"), "+OK\r\n");
    assert_eq!(ask(&mut one, "get a"), "$-1\r\n");
}

#[test]
fn a_scripts_commands_have_calls_times_and_slow_log_entries_of_their_own() {
    let member = Member::start_with("slowlog:\n  slower_than_us: 0\n", &[]);
    let mut raw = member.raw();
    ask(&mut raw, "client setname scripter");
    let before = count_of_commands(&mut raw);
    ask(&mut raw, "slowlog reset");
    let script: &[u8] = b"redis.call('echo', 'x') return redis.pcall('incr', KEYS[1])";
    raw.ask(&[b"SET", b"k", b"text"]);
    raw.ask(&[b"EVAL", script, b"1", b"k"]);
    let log = ask(&mut raw, "slowlog get 3");
    let [eval, incr, echo] = ["$4\r\nEVAL", "$4\r\nincr", "$4\r\necho"].map(|word| log.find(word));
    assert!(eval < incr && incr < echo && echo.is_some(), "{log}");
    assert_eq!(log.matches("scripter").count(), 3, "{log}");
    // CLIENT INFO, SLOWLOG RESET, SET, EVAL, its two, SLOWLOG GET.
    assert_eq!(count_of_commands(&mut raw), before + 7);
    let stats = ask(&mut raw, "info commandstats");
    let incr = stats.lines().find(|line| line.starts_with("cmdstat_incr:calls=1,")).unwrap();
    assert!(incr.ends_with("failed_calls=1") && !incr.contains("usec=0,"), "{incr}");
}

/// Commands that the connection has run, as CLIENT INFO tells.
fn count_of_commands(raw: &mut Raw) -> u64 {
    let info = ask(raw, "client info");
    info.split("tot-cmds=").nth(1).unwrap().trim_end().parse().unwrap()
}

#[test]
fn lifetimes_that_end_in_a_pause_count_after_it() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let expired = |raw: &mut Raw| {
        let stats = ask(raw, "info stats");
        stats.lines().find(|line| line.starts_with("expired_keys:")).unwrap().to_owned()
    };
    for words in ["multi", "set a x px 5", "client pause 60000 write", "exec"] {
        ask(&mut raw, words);
    }
    common::wait_for("the end of the key's lifetime", || {
        (ask(&mut raw, "get a") == "$-1\r\n").then_some(())
    });
    assert_eq!(expired(&mut raw), "expired_keys:0");
    assert_eq!(ask(&mut raw, "client unpause"), "+OK\r\n");
    assert_eq!(ask(&mut raw, "get a"), "$-1\r\n");
    assert_eq!(expired(&mut raw), "expired_keys:1");
}

#[test]
fn a_member_that_was_told_its_zone_tells_it() {
    let member = Member::start_with("node:\n  zone: west-2\n", &[]);
    let mut raw = member.raw();
    let hello = ask(&mut raw, "hello 2");
    assert!(hello.ends_with("$17\r\navailability_zone\r\n$6\r\nwest-2\r\n"), "{hello}");
    assert!(ask(&mut raw, "info server").contains("availability_zone:west-2\r\n"));
    let member = Member::start(&[]);
    let mut raw = member.raw();
    assert!(!ask(&mut raw, "hello 2").contains("availability_zone"));
}

#[test]
fn what_is_large_is_kept_by_the_log_of_its_kind() {
    let member = Member::start_with("slowlog:\n  request_larger_than_bytes: 1000\n", &[]);
    let mut raw = member.raw();
    ask(&mut raw, "client setname big");
    assert_eq!(ask(&mut raw, "config set commandlog-reply-larger-than 1000"), "+OK\r\n");
    let value = "x".repeat(1000);
    ask(&mut raw, &format!("set k {value}"));
    ask(&mut raw, "get k");
    ask(&mut raw, "get nope");
    for (log, name, bytes) in [("large-request", "set", 1029), ("large-reply", "get", 1009)] {
        let entries = ask(&mut raw, &format!("commandlog get -1 {log}"));
        assert!(entries.starts_with("*1\r\n*6\r\n:0\r\n"), "{entries}");
        assert!(entries.contains(&format!(":{bytes}\r\n*")), "{entries}");
        assert!(entries.contains(&format!("$3\r\n{name}\r\n$1\r\nk\r\n")), "{entries}");
        assert!(entries.ends_with("$3\r\nbig\r\n"), "{entries}");
        assert_eq!(ask(&mut raw, &format!("commandlog len {log}")), ":1\r\n");
        assert_eq!(ask(&mut raw, &format!("commandlog reset {log}")), "+OK\r\n");
        assert_eq!(ask(&mut raw, &format!("commandlog len {log}")), ":0\r\n");
    }
    assert_eq!(ask(&mut raw, "config set slowlog-log-slower-than 0"), "+OK\r\n");
    let parameter = ask(&mut raw, "config get commandlog-execution-slower-than");
    assert!(parameter.ends_with("$1\r\n0\r\n"), "{parameter}");
    ask(&mut raw, "ping");
    assert!(ask(&mut raw, "commandlog get 1 slow").contains("$4\r\nping\r\n"));
    let kinds = "-ERR type should be one of the following: slow, large-request, large-reply\r\n";
    assert_eq!(ask(&mut raw, "commandlog len nope"), kinds);
    let count = "-ERR count should be greater than or equal to -1\r\n";
    assert_eq!(ask(&mut raw, "commandlog get x nope"), count);
}
