//! The same scripts to a member and to a real redis-server: every reply must have the same bytes, in
//! both protocols.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::{Child, Command, Stdio};

use common::{Member, Raw, free_port};

/// Redis 7.0's words, and Valkey 9.1's, which are ours.
const OTHER_WORDS: [(&str, &str); 12] = [
    ("Unknown Redis command called from script", "Unknown command called from script"),
    (
        "Wrong number of args calling Redis command from script",
        "Wrong number of args calling command from script",
    ),
    ("This Redis command is not allowed", "This Valkey command is not allowed"),
    ("at least one argument for this redis lib call", "at least one argument for this call"),
    (
        "Lua redis lib command arguments must be strings or integers",
        "Command arguments must be strings or integers",
    ),
    ("$47\r\nERR redis.log() requires", "$48\r\nERR server.log() requires"),
    ("ERR redis.log() requires", "ERR server.log() requires"),
    ("Invalid debug level.", "Invalid log level."),
    ("redis.setresp() requires", "server.setresp() requires"),
    ("redis.set_repl() requires two arguments.", "server.set_repl() requires one argument."),
    ("redis.acl_check_cmd()", "server.acl_check_cmd()"),
    (
        "ERR Unexpected engine in script shebang: #!bash\r",
        "ERR Could not find scripting engine 'bash'\r",
    ),
];

/// A reply of Redis 7.0 in Valkey's words.
fn as_valkey_says(reply: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(reply) else { return reply.to_vec() };
    let mut text = text.to_owned();
    for (theirs, ours) in OTHER_WORDS {
        text = text.replace(theirs, ours);
    }
    text.into_bytes()
}

/// A redis-server of our own, stopped when it goes out of scope.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let port = free_port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be on PATH for this test (Debian: redis-server)");
        Self { process, port }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn scripts_answer_as_in_redis_byte_for_byte() {
    let (member, redis) = (Member::start(&[]), Redis::start());
    let cases: Vec<&str> = include_str!("scripts/cases.txt").trim_end().split("\n----\n").collect();
    assert!(cases.len() > 300);
    let mut wrong = Vec::new();
    for protocol in [&b"2"[..], b"3"] {
        let (mut ours, mut theirs) = (member.raw(), Raw::connect(redis.port));
        for raw in [&mut ours, &mut theirs] {
            raw.ask(&[b"HELLO", protocol]);
            raw.ask(&[b"FLUSHALL"]);
        }
        for case in &cases {
            for command in [&b"EVAL"[..], b"EVAL_RO"] {
                let args: [&[u8]; 7] =
                    [command, case.as_bytes(), b"2", b"k", b"{k}2", b"arg1", b"arg 2"];
                let (got, wanted) = (ours.ask(&args), as_valkey_says(&theirs.ask(&args)));
                if got != wanted {
                    wrong.push(format!(
                        "{case}\n  redis-server: {}\n  this:         {}",
                        wanted.escape_ascii(),
                        got.escape_ascii()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} replies differ:\n{}", wrong.len(), wrong.join("\n"));
}
