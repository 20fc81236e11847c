//! S3: random scripts, valid and not, neither crash a member nor leave anything behind. A bounded run
//! from fixed seeds; `RANDOM_SCRIPTS` says how many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::Member;

#[path = "lua/programs.rs"]
mod programs;

use programs::{Choose, script};

const SCRIPTS: u64 = 3000;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Choose for Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % sides as u64) as usize
    }
}

#[test]
fn s3_random_scripts_neither_crash_a_member_nor_leave_anything_behind() {
    let yaml = "script:\n  time_limit: 50ms\n  memory_limit: 4MB\n";
    let member = Member::start_with(yaml, &[]);
    let mut raw = member.raw();
    let scripts = std::env::var("RANDOM_SCRIPTS").ok().and_then(|n| n.parse().ok());
    for seed in 0..scripts.unwrap_or(SCRIPTS) {
        let script = script(&mut Dice(seed));
        // Shown when the test fails: the last one is at fault.
        println!("-- {seed}\n{script}");
        let protocol: &[u8] = if seed.is_multiple_of(2) { b"2" } else { b"3" };
        raw.ask(&[b"HELLO", protocol]);
        let reply = raw.ask(&[b"EVAL", script.as_bytes(), b"1", b"k", b"v"]);
        assert!(reply.len() < 6 << 20);
        let well =
            raw.ask(&[b"EVAL", b"return {#KEYS, type(string.rep), redis.call('ping')}", b"0"]);
        assert_eq!(well, b"*3\r\n:0\r\n$8\r\nfunction\r\n+PONG\r\n");
    }
}
