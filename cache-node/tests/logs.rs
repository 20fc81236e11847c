//! The log and the audit of a real member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

mod common;

use common::Member;
use serde_json::Value;

/// The lines that fit.
fn lines(member: &Member, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let log = member.log();
    let all = log.lines().map(|line| serde_json::from_str(line).unwrap());
    all.filter(|line| fits(line)).collect()
}

fn actions<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event.action"] == name).collect()
}

#[test]
fn logins_are_audited_with_who_from_where_and_what_came_of_it_and_no_password_is_in_the_log() {
    let member = Member::start_with("auth: {password: s3cret}\nlog: {level: warn}\n", &[]);
    let mut raw = member.raw();
    assert!(raw.ask(&[b"AUTH", b"wr0ng"]).starts_with(b"-WRONGPASS"));
    assert!(raw.ask(&[b"HELLO", b"3", b"AUTH", b"anna", b"wr0ng"]).starts_with(b"-WRONGPASS"));
    assert_eq!(raw.ask(&[b"AUTH", b"s3cret"]), b"+OK\r\n");
    let set = raw.ask(&[b"CONFIG", b"SET", b"requirepass", b"n3wpass", b"maxclients", b"99"]);
    assert_eq!(set, b"+OK\r\n");
    assert!(raw.ask(&[b"CONFIG", b"SET", b"no-such", b"x"]).starts_with(b"-ERR"));
    assert!(member.http("GET /api/cache/k").starts_with("HTTP/1.1 401"));

    let audit = lines(&member, |line| line["event.dataset"] == "hypercache.audit");
    let told: Vec<_> = actions(&audit, "login")
        .iter()
        .map(|line| {
            assert!(line["source.address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            let word = |name: &str| line[name].as_str().unwrap().to_owned();
            (word("hypercache.command"), word("user.name"), word("event.outcome"))
        })
        .collect();
    let of = |command: &str, user: &str, outcome: &str| {
        (command.to_owned(), user.to_owned(), outcome.to_owned())
    };
    let wanted = [
        of("auth", "default", "failure"),
        of("hello", "anna", "failure"),
        of("auth", "default", "success"),
        of("http", "nobody", "failure"),
    ];
    assert_eq!(told, wanted);
    let changed: Vec<_> = actions(&audit, "config-set")
        .iter()
        .map(|line| (&line["hypercache.audit.result"], &line["hypercache.audit.detail"]))
        .collect();
    let hidden = Value::from("requirepass=<hidden> maxclients=99");
    assert_eq!(
        changed,
        [(&"done".into(), &hidden), (&"refused".into(), &Value::from("no-such=x"))]
    );
    for secret in ["s3cret", "wr0ng", "n3wpass"] {
        assert!(!member.log().contains(secret), "{secret} is in the log");
    }
}

#[test]
fn what_a_transaction_or_a_script_changes_is_audited_when_it_runs_with_who_asked_for_it() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    let ask = |raw: &mut common::Raw, words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8(raw.ask(&words)).unwrap()
    };
    let exec = |raw: &mut common::Raw, commands: &[&[&str]]| {
        assert_eq!(ask(raw, &["MULTI"]), "+OK\r\n");
        for words in commands {
            assert_eq!(ask(raw, words), "+QUEUED\r\n");
        }
    };
    let flush = "return redis.call('FLUSHALL')";

    // Over all keys alone, with keys, and with commands of the server.
    exec(&mut raw, &[&["FLUSHALL", "ASYNC"], &["FLUSHDB"]]);
    assert_eq!(ask(&mut raw, &["EXEC"]), "*2\r\n+OK\r\n+OK\r\n");
    exec(&mut raw, &[&["SET", "k", "v"], &["FLUSHALL"], &["SCRIPT", "FLUSH"]]);
    assert_eq!(ask(&mut raw, &["EXEC"]), "*3\r\n+OK\r\n+OK\r\n+OK\r\n");
    let set = ["CONFIG", "SET", "requirepass", "n3wpass"];
    exec(&mut raw, &[&set, &["CONFIG", "SET", "no-such", "x"]]);
    assert!(ask(&mut raw, &["EXEC"]).starts_with("*2\r\n+OK\r\n-ERR"));
    // One that EXEC does not run, and one that is not run at all.
    assert_eq!(ask(&mut raw, &["WATCH", "k"]), "+OK\r\n");
    assert_eq!(ask(&mut other, &["SET", "k", "v"]), "+OK\r\n");
    exec(&mut raw, &[&["FLUSHALL", "SYNC"]]);
    assert_eq!(ask(&mut raw, &["EXEC"]), "*-1\r\n");
    exec(&mut raw, &[&["FLUSHALL"]]);
    assert_eq!(ask(&mut raw, &["DISCARD"]), "+OK\r\n");
    // Scripts, alone and within.
    assert_eq!(ask(&mut raw, &["EVAL", flush, "0"]), "+OK\r\n");
    exec(&mut raw, &[&["EVAL", flush, "0"], &["FLUSHDB"]]);
    assert_eq!(ask(&mut raw, &["EXEC"]), "*2\r\n+OK\r\n+OK\r\n");
    // Not one after the other.
    raw.send(b"FLUSHALL\r\nSET k v\r\nFLUSHDB\r\n");
    for _ in 0..3 {
        assert_eq!(raw.reply(), b"+OK\r\n");
    }

    let audit = lines(&member, |line| line["event.dataset"] == "hypercache.audit");
    let told: Vec<_> = audit
        .iter()
        .filter(|line| line["event.action"] != "cluster-made")
        .map(|line| {
            assert_eq!(line["source.address"], raw.address(), "{line}");
            assert_eq!(line["user.name"], "default", "{line}");
            let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let words = ["event.action", "hypercache.audit.detail", "hypercache.audit.result"];
            words.map(word).join(" ")
        })
        .collect();
    let wanted = [
        "flushall ASYNC done",
        "flushdb  done",
        "flushall  done",
        "script-flush  done",
        "config-set requirepass=<hidden> done",
        "config-set no-such=x refused",
        "flushall SYNC refused",
        "flushall  done",
        "flushall  done",
        "flushdb  done",
        "flushall  done",
        "flushdb  done",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn of_very_many_failed_logins_only_some_leave_a_line() {
    let member = Member::start_with("auth: {password: s3cret}\n", &[]);
    let mut raw = member.raw();
    for _ in 0..500 {
        assert!(raw.ask(&[b"AUTH", b"wr0ng"]).starts_with(b"-WRONGPASS"));
    }
    let failed = lines(&member, |line| line["event.action"] == "login").len();
    assert!((20..250).contains(&failed), "{failed} lines");
}

#[test]
fn config_set_loglevel_changes_what_is_logged_at_once_and_config_get_shows_it() {
    let member = Member::start(&[("HYPERCACHE_LOG", "info")]);
    let mut raw = member.raw();
    let level = |raw: &mut common::Raw| {
        let reply = String::from_utf8(raw.ask(&[b"CONFIG", b"GET", b"loglevel"])).unwrap();
        reply.trim_end().rsplit("\r\n").next().unwrap().to_owned()
    };
    let failed = |member: &Member| {
        let lines = lines(member, |line| line["event.action"] == "command-failed");
        lines.iter().map(|line| line["error.code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(level(&mut raw), "notice");
    assert_eq!(raw.ask(&[b"SET", b"k", b"a value"]), b"+OK\r\n");
    assert!(raw.ask(&[b"LPUSH", b"k", b"x"]).starts_with(b"-WRONGTYPE"));
    assert_eq!(failed(&member), [""; 0]);

    assert_eq!(raw.ask(&[b"CONFIG", b"SET", b"loglevel", b"debug"]), b"+OK\r\n");
    assert!(raw.ask(&[b"LPUSH", b"k", b"x"]).starts_with(b"-WRONGTYPE"));
    assert_eq!((level(&mut raw), failed(&member)), ("debug".into(), vec!["WRONGTYPE".to_owned()]));

    for bad in ["loud", "hypercache=loud", ""] {
        let refused = raw.ask(&[b"CONFIG", b"SET", b"loglevel", bad.as_bytes()]);
        assert!(refused.starts_with(b"-ERR CONFIG SET failed"), "{bad}");
    }
    assert_eq!(raw.ask(&[b"CONFIG", b"SET", b"loglevel", b"warning"]), b"+OK\r\n");
    let before = failed(&member);
    assert!(raw.ask(&[b"LPUSH", b"k", b"x"]).starts_with(b"-WRONGTYPE"));
    assert_eq!((level(&mut raw), failed(&member)), ("warning".into(), before));
}

#[test]
fn a_member_that_is_told_to_stop_logs_no_error() {
    let mut member = Member::start(&[]);
    assert_eq!(member.terminate(), Some(0));
    let stopped = lines(&member, |line| line["event.action"] == "member-stops");
    assert_eq!(stopped.len(), 1, "{}", member.log());
    let bad = lines(&member, |line| line["log.level"] == "error" || line["log.level"] == "warn");
    assert_eq!(bad, [Value::Null; 0]);
}

#[test]
fn what_the_cluster_does_to_itself_is_in_the_audit() {
    let member = Member::start(&[]);
    let made = lines(&member, |line| line["event.action"] == "cluster-made");
    assert_eq!(made.len(), 1, "{}", member.log());
    assert_eq!(made[0]["event.dataset"], "hypercache.audit");
    assert_eq!(made[0]["user.name"], "cluster");
}
