//! MULTI, EXEC and WATCH: on a member alone, and over three that share the slots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw, free_port, wait_for};

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn ask(raw: &mut Raw, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    String::from_utf8(raw.ask(&args)).unwrap()
}

/// Each command and what it has to answer, in turn.
fn talk(raw: &mut Raw, script: &[(&str, &str)]) {
    for (words, wanted) in script {
        assert_eq!(ask(raw, words), *wanted, "{words}");
    }
}

#[test]
fn a_transaction_is_queued_run_and_answered_as_in_redis() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    talk(
        &mut raw,
        &[
            ("EXEC", "-ERR EXEC without MULTI\r\n"),
            ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
            ("MULTI", "+OK\r\n"),
            ("MULTI", "-ERR Command 'multi' not allowed inside a transaction\r\n"),
            ("EXEC", ABORTED),
            ("MULTI", "+OK\r\n"),
            ("WATCH a", "-ERR Command 'watch' not allowed inside a transaction\r\n"),
            ("EXEC", ABORTED),
            ("MULTI", "+OK\r\n"),
            ("SET a 1", "+QUEUED\r\n"),
            ("LPUSH a x", "+QUEUED\r\n"),
            ("INCR a", "+QUEUED\r\n"),
            ("PING", "+QUEUED\r\n"),
            ("MGET a b", "+QUEUED\r\n"),
            ("UNWATCH", "+QUEUED\r\n"),
            (
                "EXEC",
                "*6\r\n+OK\r\n\
                 -WRONGTYPE Operation against a key holding the wrong kind of value\r\n\
                 :2\r\n+PONG\r\n*2\r\n$1\r\n2\r\n$-1\r\n+OK\r\n",
            ),
            ("MULTI", "+OK\r\n"),
            ("EXEC", "*0\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET a 9", "+QUEUED\r\n"),
            ("DISCARD", "+OK\r\n"),
            ("GET a", "$1\r\n2\r\n"),
        ],
    );
}

#[test]
fn a_command_that_cannot_be_queued_aborts_the_transaction() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    for (wrong, error) in [
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("NOPE x", "-ERR unknown command 'NOPE', with args beginning with: 'x' \r\n"),
        ("CLIENT NOPE", "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.\r\n"),
    ] {
        talk(
            &mut raw,
            &[
                ("MULTI", "+OK\r\n"),
                ("SET a 1", "+QUEUED\r\n"),
                (wrong, error),
                ("SET b 1", "+QUEUED\r\n"),
                ("EXEC", ABORTED),
                ("EXISTS a b", ":0\r\n"),
            ],
        );
    }
    // A wrong EXEC ends it, watches included.
    let wrong = "-EXECABORT Transaction discarded because of: wrong number of arguments for \
                 'exec' command\r\n";
    talk(
        &mut raw,
        &[
            ("WATCH a", "+OK\r\n"),
            ("SET a 1", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("EXEC now", wrong),
            ("DEL a", ":1\r\n"),
            ("MULTI", "+OK\r\n"),
            ("EXEC", "*0\r\n"),
        ],
    );
}

#[test]
fn commands_of_the_session_take_their_turn() {
    let member = Member::start_with("stores: {one: {number: 1}}\n", &[]);
    let mut raw = member.raw();
    talk(
        &mut raw,
        &[
            ("MULTI", "+OK\r\n"),
            ("SET a 0", "+QUEUED\r\n"),
            ("SELECT one", "+QUEUED\r\n"),
            ("SET a 1", "+QUEUED\r\n"),
            ("ECHO hello", "+QUEUED\r\n"),
            ("GET a", "+QUEUED\r\n"),
            ("SELECT 77", "+QUEUED\r\n"),
            ("DBSIZE", "+QUEUED\r\n"),
            (
                "EXEC",
                "*7\r\n+OK\r\n+OK\r\n+OK\r\n$5\r\nhello\r\n$1\r\n1\r\n\
                 -ERR DB index is out of range\r\n:1\r\n",
            ),
            ("GET a", "$1\r\n1\r\n"),
            ("SELECT 0", "+OK\r\n"),
            ("GET a", "$1\r\n0\r\n"),
            ("MULTI", "+OK\r\n"),
            ("FLUSHALL", "+QUEUED\r\n"),
            ("SET b 1", "+QUEUED\r\n"),
            ("KEYS *", "+QUEUED\r\n"),
            ("EXEC", "*3\r\n+OK\r\n+OK\r\n*1\r\n$1\r\nb\r\n"),
            ("MULTI", "+OK\r\n"),
            ("FLUSHALL", "+QUEUED\r\n"),
            ("DBSIZE", "+QUEUED\r\n"),
            ("CONFIG SET maxmemory 0", "+QUEUED\r\n"),
            ("EXEC", "*3\r\n+OK\r\n:0\r\n+OK\r\n"),
        ],
    );
    ask(&mut raw, "MULTI");
    ask(&mut raw, "GET none");
    ask(&mut raw, "HELLO 3");
    ask(&mut raw, "GET none");
    let replies = ask(&mut raw, "EXEC");
    assert!(replies.starts_with("*3\r\n$-1\r\n%7\r\n"), "{replies}");
    assert!(replies.ends_with("\r\n_\r\n"), "{replies}");
}

#[test]
fn a_watched_key_that_changes_refuses_exec() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    talk(&mut other, &[("SET k 1", "+OK\r\n")]);
    // Changed by another connection; then no longer watched.
    talk(&mut raw, &[("WATCH k x", "+OK\r\n")]);
    talk(&mut other, &[("INCR k", ":2\r\n")]);
    talk(
        &mut raw,
        &[
            // The first watch counts.
            ("WATCH k", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET k 10", "+QUEUED\r\n"),
            ("EXEC", "*-1\r\n"),
            ("GET k", "$1\r\n2\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET k 10", "+QUEUED\r\n"),
            ("EXEC", "*1\r\n+OK\r\n"),
        ],
    );
    // Reads, and other keys of the slot, change nothing.
    talk(&mut raw, &[("WATCH k", "+OK\r\n"), ("MULTI", "+OK\r\n"), ("GET k", "+QUEUED\r\n")]);
    talk(&mut other, &[("GET k", "$2\r\n10\r\n"), ("SET {k}2 1", "+OK\r\n")]);
    talk(&mut raw, &[("EXEC", "*1\r\n$2\r\n10\r\n")]);
    // UNWATCH and DISCARD end it.
    for end in [&[("UNWATCH", "+OK\r\n")][..], &[("MULTI", "+OK\r\n"), ("DISCARD", "+OK\r\n")]] {
        talk(&mut raw, &[("WATCH k", "+OK\r\n")]);
        talk(&mut other, &[("SET k 3", "+OK\r\n")]);
        talk(&mut raw, end);
        talk(
            &mut raw,
            &[("MULTI", "+OK\r\n"), ("PING", "+QUEUED\r\n"), ("EXEC", "*1\r\n+PONG\r\n")],
        );
    }
    // What it watches itself and changes itself before MULTI, too; null in RESP3 is null.
    ask(&mut raw, "HELLO 3");
    talk(
        &mut raw,
        &[("WATCH k", "+OK\r\n"), ("SET k 4", "+OK\r\n"), ("MULTI", "+OK\r\n"), ("EXEC", "_\r\n")],
    );
    // A failed transaction says so rather than null.
    talk(
        &mut raw,
        &[
            ("WATCH k", "+OK\r\n"),
            ("SET k 4", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
            ("EXEC", ABORTED),
        ],
    );
}

#[test]
fn client_list_shows_what_is_queued_and_reset_ends_it() {
    let member = Member::start(&[]);
    let (mut raw, mut other) = (member.raw(), member.raw());
    let id = ask(&mut raw, "CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
    let mut shown = |wanted: &str| {
        let line = ask(&mut other, &format!("CLIENT LIST ID {id}"));
        assert!(line.contains(wanted), "{wanted} in {line}");
    };
    shown(" flags=N capa= db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 ");
    talk(&mut raw, &[("MULTI", "+OK\r\n")]);
    shown(" flags=x capa= db=0 sub=0 psub=0 ssub=0 multi=0 ");
    talk(&mut raw, &[("SET a 1", "+QUEUED\r\n"), ("SET a 2", "+QUEUED\r\n")]);
    shown(" multi=2 ");
    talk(&mut raw, &[("RESET", "+RESET\r\n")]);
    shown(" flags=N capa= db=0 sub=0 psub=0 ssub=0 multi=-1 watch=0 ");
    talk(&mut raw, &[("EXEC", "-ERR EXEC without MULTI\r\n"), ("EXISTS a", ":0\r\n")]);
}

#[test]
fn pipelined_transactions_are_answered_in_order() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let (mut sent, mut wanted) = (Vec::new(), String::new());
    for n in 1..=200 {
        for words in [&[&b"MULTI"[..]][..], &[b"INCR", b"n"], &[b"GET", b"n"], &[b"EXEC"]] {
            sent.extend(Raw::encode(words));
        }
        sent.extend(Raw::encode(&[b"GET", b"n"]));
        let text = n.to_string();
        let bulk = format!("${}\r\n{text}\r\n", text.len());
        wanted += &format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:{n}\r\n{bulk}{bulk}");
    }
    for part in sent.chunks(1237) {
        raw.send(part);
    }
    raw.expect(wanted.as_bytes());
}

#[test]
fn s7_a_connection_that_ends_runs_nothing_and_watches_nothing() {
    let member = Member::start(&[]);
    let mut other = member.raw();
    for kill in [false, true] {
        let mut raw = member.raw();
        let id = ask(&mut raw, "CLIENT ID").trim_matches([':', '\r', '\n']).to_owned();
        talk(&mut raw, &[("WATCH k", "+OK\r\n"), ("MULTI", "+OK\r\n"), ("SET k 1", "+QUEUED\r\n")]);
        if kill {
            assert_eq!(ask(&mut other, &format!("CLIENT KILL ID {id}")), ":1\r\n");
        }
        drop(raw);
        wait_for("the connection's end", || {
            let list = ask(&mut other, "CLIENT LIST");
            (!list.contains(&format!("id={id} "))).then_some(())
        });
        assert_eq!(ask(&mut other, "EXISTS k"), ":0\r\n");
    }
}

/// Three members, ready.
fn three(yaml: &str) -> (Vec<Member>, tempfile::TempDir) {
    let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port(), free_port())).collect();
    let data = tempfile::tempdir().unwrap();
    let join = ports.iter().map(|p| format!("127.0.0.1:{}", p.2)).collect::<Vec<_>>().join(",");
    let members: Vec<Member> = ports
        .iter()
        .enumerate()
        .map(|(i, &(resp, http, gossip))| {
            let directory = data.path().join(format!("m{i}")).display().to_string();
            let id = format!("m-{i}");
            let flags = [
                "--node-id",
                &id,
                "--data-dir",
                &directory,
                "--join",
                &join,
                "--bootstrap-members",
                "3",
            ];
            Member::launch(yaml, &[], resp, http, gossip, &flags)
        })
        .collect();
    for member in &members {
        member.wait_ready();
        member.wait_for("healthy", || {
            member.http("GET /health").starts_with("HTTP/1.1 200").then_some(())
        });
    }
    (members, data)
}

#[test]
fn any_member_runs_a_transaction_on_the_slots_owner() {
    let (members, _data) = three("stores: {one: {number: 1}}\n");
    for (n, member) in members.iter().enumerate() {
        let mut raw = member.raw();
        // Every member owns one of these slots.
        for tag in ["a", "b", "c", "foo", "bar", "k1", "k2", "k3"] {
            let key = format!("{{{tag}}}:{n}");
            let set = format!("SET {key} v");
            let push = format!("LPUSH {key} v");
            let get = format!("MGET {key} {{{tag}}}:none");
            let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
            talk(
                &mut raw,
                &[
                    ("MULTI", "+OK\r\n"),
                    (&set, "+QUEUED\r\n"),
                    (&push, "+QUEUED\r\n"),
                    ("ECHO between", "+QUEUED\r\n"),
                    (&get, "+QUEUED\r\n"),
                    ("SELECT 1", "+QUEUED\r\n"),
                    (&get, "+QUEUED\r\n"),
                    ("SELECT 0", "+QUEUED\r\n"),
                    (
                        "EXEC",
                        &format!(
                            "*7\r\n+OK\r\n{wrong}$7\r\nbetween\r\n*2\r\n$1\r\nv\r\n$-1\r\n+OK\r\n\
                             *2\r\n$-1\r\n$-1\r\n+OK\r\n"
                        ),
                    ),
                ],
            );
            let mut other = members[(n + 1) % 3].raw();
            assert_eq!(ask(&mut other, &format!("GET {key}")), "$1\r\nv\r\n");
        }
    }
}

#[test]
fn what_several_members_would_have_to_share_is_refused() {
    let (members, _data) = three("");
    let mut raw = members[0].raw();
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    talk(
        &mut raw,
        &[
            ("MULTI", "+OK\r\n"),
            ("SET a 1", "+QUEUED\r\n"),
            ("SET b 1", "+QUEUED\r\n"),
            ("EXEC", crossed),
            ("EXISTS a b", ":0\r\n"),
            ("WATCH a", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("SET b 1", "+QUEUED\r\n"),
            ("EXEC", crossed),
            ("MULTI", "+OK\r\n"),
            ("SET a 1", "+QUEUED\r\n"),
            ("FLUSHALL", "+QUEUED\r\n"),
        ],
    );
    let refused = ask(&mut raw, "EXEC");
    assert!(refused.starts_with("-CROSSSLOT 'flushall' is over all keys"), "{refused}");
    // Without keys, commands over all members run one by one.
    talk(
        &mut raw,
        &[
            ("MSET a 1 b 2 c 3", "+OK\r\n"),
            ("MULTI", "+OK\r\n"),
            ("DBSIZE", "+QUEUED\r\n"),
            ("PING", "+QUEUED\r\n"),
            ("FLUSHALL", "+QUEUED\r\n"),
            ("DBSIZE", "+QUEUED\r\n"),
            ("EXEC", "*4\r\n:3\r\n+PONG\r\n+OK\r\n:0\r\n"),
        ],
    );
}

#[test]
fn a_watched_key_is_watched_on_its_owner_whoever_changes_it() {
    let (members, _data) = three("");
    for (n, member) in members.iter().enumerate() {
        let mut raw = member.raw();
        for key in ["a", "b", "c", "foo", "bar", "k1", "k2", "k3"] {
            let mut other = members[(n + 1) % 3].raw();
            let watch = format!("WATCH {key}");
            let set = format!("SET {key} mine");
            let start = [(&watch[..], "+OK\r\n"), ("MULTI", "+OK\r\n"), (&set[..], "+QUEUED\r\n")];
            talk(&mut raw, &start);
            assert_eq!(ask(&mut other, &format!("SET {key} theirs")), "+OK\r\n");
            talk(&mut raw, &[("EXEC", "*-1\r\n")]);
            assert_eq!(ask(&mut other, &format!("GET {key}")), "$6\r\ntheirs\r\n");
            talk(&mut raw, &start);
            assert_eq!(ask(&mut other, &format!("SET {{{key}}}2 theirs")), "+OK\r\n");
            talk(&mut raw, &[("EXEC", "*1\r\n+OK\r\n")]);
            // An end of the watch is known there as well.
            talk(&mut raw, &[(&watch, "+OK\r\n"), ("UNWATCH", "+OK\r\n")]);
            ask(&mut other, &set);
            talk(
                &mut raw,
                &[("MULTI", "+OK\r\n"), (&set, "+QUEUED\r\n"), ("EXEC", "*1\r\n+OK\r\n")],
            );
        }
    }
}

#[test]
fn counters_under_watch_lose_no_step_over_three_members() {
    let (members, _data) = three("");
    std::thread::scope(|scope| {
        for member in &members {
            scope.spawn(|| {
                let mut raw = member.raw();
                let mut done = 0;
                while done < 100 {
                    assert_eq!(ask(&mut raw, "WATCH n"), "+OK\r\n");
                    let reply = ask(&mut raw, "GET n");
                    let n = reply.split("\r\n").nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
                    ask(&mut raw, "MULTI");
                    ask(&mut raw, &format!("SET n {}", n + 1));
                    match ask(&mut raw, "EXEC").as_str() {
                        "*1\r\n+OK\r\n" => done += 1,
                        other => assert_eq!(other, "*-1\r\n"),
                    }
                }
            });
        }
    });
    assert_eq!(ask(&mut members[0].raw(), "GET n"), "$3\r\n300\r\n");
}
