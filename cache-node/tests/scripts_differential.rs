//! The same scripts to a member and to a real redis-server: every reply must have the same bytes, in
//! both protocols.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::process::{Child, Command, Stdio};

use common::{Member, Raw, free_port};

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
                let (got, wanted) = (ours.ask(&args), theirs.ask(&args));
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
