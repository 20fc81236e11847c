//! The member's memory: it comes back, and it does not run out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw, wait_for};

const MB: u64 = 1 << 20;

/// Sets keys with values of 1000 bytes by a pipeline; how many were refused with OOM.
fn fill(raw: &mut Raw, keys: std::ops::Range<usize>) -> usize {
    let value = [b'v'; 1000];
    let mut refused = 0;
    for first in keys.clone().step_by(500) {
        let batch = first..(first + 500).min(keys.end);
        let bytes: Vec<u8> = batch
            .clone()
            .flat_map(|n| Raw::encode(&[b"SET", format!("key:{n}").as_bytes(), &value]))
            .collect();
        raw.send(&bytes);
        for _ in batch {
            let reply = raw.reply();
            if reply != b"+OK\r\n" {
                assert!(reply.starts_with(b"-OOM "), "{}", reply.escape_ascii());
                refused += 1;
            }
        }
    }
    refused
}

fn info(raw: &mut Raw, field: &str) -> u64 {
    let text = String::from_utf8(raw.ask(&[b"INFO", b"everything"])).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in {text}")).trim().parse().unwrap()
}

#[test]
fn l10_memory_goes_back_to_the_system_soon_after_a_flush() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    let before = member.resident_bytes();
    assert_eq!(fill(&mut raw, 0..150_000), 0);
    assert!(member.resident_bytes() > before + 140 * MB);
    assert_eq!(raw.ask(&[b"FLUSHALL"]), b"+OK\r\n");
    assert_eq!(raw.ask(&[b"DBSIZE"]), b":0\r\n");
    wait_for("the memory comes back", || {
        (member.resident_bytes() < before + 40 * MB).then_some(())
    });
    wait_for("all of it was given back in the background", || {
        (info(&mut raw, "lazyfreed_objects") == 150_000).then_some(())
    });
    assert_eq!(info(&mut raw, "lazyfree_pending_objects"), 0);
}

#[test]
fn l9_a_member_whose_memory_runs_out_evicts_and_goes_on_accepting() {
    let member = Member::start_with("node: {memory_limit: 128MB}\n", &[]);
    let mut raw = member.raw();
    // More than fits; each part is, with what the allocator takes for it, less than half of what lies
    // between the stage in which stores evict and the one in which writes are refused.
    for part in 0..160 {
        assert_eq!(fill(&mut raw, part * 1_500..(part + 1) * 1_500), 0, "{}", member.log());
        member.wait_for("room", || (member.resident_bytes() < 119 * MB).then_some(()));
    }
    assert!(info(&mut raw, "evicted_keys") > 50_000);
    assert!(info(&mut raw, "memory_relieved_bytes") > 50 * MB);
    assert_eq!(info(&mut raw, "memory_limit"), 128 * MB);
    assert!(member.log().contains("memory runs out"), "{}", member.log());
    let metrics = member.http("GET /metrics");
    assert!(metrics.contains("hypercache_memory_limit_bytes 134217728"), "{metrics}");
    assert!(member.http("GET /readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_member_that_may_not_evict_refuses_writes_before_its_memory_is_used_up() {
    let yaml = "node: {memory_limit: 128MB}\ncache: {eviction_policy: noeviction}\n";
    let member = Member::start_with(yaml, &[]);
    let mut raw = member.raw();
    let mut next = 0;
    let refused = wait_for("a refusal", || {
        let refused = fill(&mut raw, next..next + 2_000);
        next += 2_000;
        (refused > 0).then_some(refused)
    });
    assert!(refused > 0 && member.resident_bytes() < 150 * MB);
    // Reads and what frees memory go on, and so does readiness.
    assert!(raw.ask(&[b"GET", b"key:1"]).starts_with(b"$1000"));
    assert!(member.http("GET /readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(raw.ask(&[b"FLUSHALL"]), b"+OK\r\n");
    wait_for("writes are taken again", || {
        (raw.ask(&[b"SET", b"k", b"v"]) == b"+OK\r\n").then_some(())
    });
}

#[test]
fn keys_lists_each_key_once_while_others_write() {
    let member = Member::start(&[]);
    let mut raw = member.raw();
    fill(&mut raw, 0..50_000);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = member.raw();
            let mut n = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let key = format!("other:{}", n % 5000);
                other.ask(&[b"SET", key.as_bytes(), b"x"]);
                other.ask(&[b"DEL", key.as_bytes()]);
            }
        });
        for _ in 0..5 {
            let reply = raw.ask(&[b"KEYS", b"key:*"]);
            let keys: std::collections::BTreeSet<&[u8]> =
                reply.split(|b| *b == b'\n').filter(|line| line.starts_with(b"key:")).collect();
            let head = reply.split(|b| *b == b'\r').next().unwrap();
            assert_eq!((keys.len(), head), (50_000, &b"*50000"[..]));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
