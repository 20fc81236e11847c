//! Files that were damaged while the member was down: it starts, says what it lost, has no value that
//! nobody wrote, and keeps the rest. `HYPERCACHE_DAMAGE_ROUNDS` and `HYPERCACHE_SEED` choose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use common::kept::{Kept, Random, copy};
use hypercache_core::log::frame::crc32c;

const YAML: &str = "stores:\n  s: {number: 1, persistence: {mode: aof+snapshot, fsync: always}}\n";
const KEYS: u64 = 200;

fn value(n: u64, version: u64) -> String {
    format!("{n}={version}:{}", "x".repeat((n * version % 90) as usize))
}

fn set(kept: &Kept, keys: impl Iterator<Item = u64>, version: u64) {
    let mut client = kept.connect();
    for n in keys {
        let reply = client.ask(&[b"SET", format!("k{n}").as_bytes(), value(n, version).as_bytes()]);
        assert_eq!(reply, b"+OK\r\n");
    }
}

/// A directory in which all keys have their first value in a snapshot and in the log, and half of them
/// their second in the log, and the keys after them are only in the log.
fn prepare() -> Kept {
    let mut kept = Kept::start(YAML);
    set(&kept, 0..KEYS, 1);
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    set(&kept, 0..KEYS / 2, 2);
    set(&kept, KEYS..2 * KEYS, 1);
    kept.member.kill();
    kept
}

/// The version of each key's value, 0 for none.
fn versions(kept: &Kept, what: &str) -> Vec<u64> {
    let mut client = kept.connect();
    let mut version = |n: u64| {
        let reply = client.ask(&[b"GET", format!("k{n}").as_bytes()]);
        let is = |version: u64| {
            let value = value(n, version);
            reply == format!("${}\r\n{value}\r\n", value.len()).as_bytes()
        };
        let found = if reply == b"$-1\r\n" { Some(0) } else { (1..=2).find(|v| is(*v)) };
        found.unwrap_or_else(|| panic!("{what}: k{n} is {}", reply.escape_ascii()))
    };
    (0..2 * KEYS).map(&mut version).collect()
}

/// Whether a frame of a segment ends there, or its header does.
fn is_end_of_a_frame(segment: &[u8], at: u64) -> bool {
    let mut end = 64;
    while end < at {
        let Some(length) = segment.get(end as usize + 16..end as usize + 24) else { return false };
        end += 56 + u64::from_le_bytes(length.try_into().unwrap());
    }
    end == at
}

/// Damages a file at random, and says how.
fn damage(path: &Path, random: &mut Random) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let len = bytes.len() as u64;
    let at = random.below(len);
    let how = match random.below(4) {
        0 => {
            // A last segment that ends with a frame is whole: nothing says that there was more.
            let is_segment = path.extension().is_some_and(|extension| extension == "hclg");
            let at = at + u64::from(is_segment && is_end_of_a_frame(&bytes, at));
            bytes.truncate(at as usize);
            format!("cut at {at} of {len}")
        }
        1 => {
            let end = (at + 1 + random.below(2000)).min(len);
            bytes[at as usize..end as usize].fill(0);
            format!("zero from {at} to {end} of {len}")
        }
        2 => {
            let at = at / 512 * 512;
            let end = (at + 512).min(len);
            bytes[at as usize..end as usize].iter_mut().for_each(|b| *b = random.below(256) as u8);
            format!("another block from {at} to {end} of {len}")
        }
        _ => {
            bytes[at as usize] ^= 1 << random.below(8);
            format!("a bit of byte {at} of {len}")
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{}: {how}", path.file_name().unwrap().display())
}

fn rounds() -> u64 {
    std::env::var("HYPERCACHE_DAMAGE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

#[test]
fn s6_damaged_files_cost_what_was_in_them_and_never_make_up_a_value() {
    let whole = prepare();
    let mut random = Random::seeded();
    let (next, end) = (AtomicU64::new(0), rounds());
    std::thread::scope(|scope| {
        for mut random in [random.fork(), random.fork()] {
            let (whole, next) = (&whole, &next);
            scope.spawn(move || {
                while next.fetch_add(1, Relaxed) < end {
                    damaged_round(&whole.directory, &mut random);
                }
            });
        }
    });
}

fn damaged_round(whole: &Path, random: &mut Random) {
    let directory = tempfile::tempdir().unwrap();
    copy(whole, directory.path());
    let durable = directory.path().join("durable");
    let files = |of: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(durable.join(of)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path()).filter(|path| {
            let extension = path.extension().unwrap_or_default();
            extension == "hclg" || extension == "hcsn"
        });
        files.filter(|path| path.metadata().unwrap().len() > 64).collect()
    };
    let kind = ["log", "snapshots"][random.below(2) as usize];
    let mut files = files(kind);
    files.sort();
    let times = 1 + random.below(3);
    let done: Vec<String> = (0..times)
        .map(|_| {
            let path = &files[random.below(files.len() as u64) as usize];
            if path.metadata().unwrap().len() == 0 {
                return "nothing".to_owned();
            }
            damage(path, random)
        })
        .collect();
    let what = done.join(", ");
    let kept = match Kept::try_start_in(directory.path(), YAML) {
        Ok(kept) => kept,
        // Damaged at its beginning, and cut before its first frame: nothing says that it is a segment.
        Err(log) => {
            assert!(times > 1 && log.contains("begins otherwise"), "{what}: {log}");
            return;
        }
    };
    let versions = versions(&kept, &what);
    let log = kept.member.log();
    assert!(!log.contains("panicked") && !log.contains("broke"), "{what}: {log}");
    let lost = |keys: std::ops::Range<u64>, version: u64| {
        keys.filter(|n| versions[*n as usize] != version).count()
    };
    let lost = lost(0..KEYS / 2, 2) + lost(KEYS / 2..2 * KEYS, 1);
    let is_told = log.contains("data on the disk is damaged");
    assert!(lost == 0 || is_told, "{what}: {lost} lost, and nothing said: {log}");
    if kind == "snapshots" {
        // The log has it all since the snapshot before.
        assert_eq!(lost, 0, "{what}: {log}");
    }
    let gone = (0..KEYS).filter(|n| versions[*n as usize] == 0).count();
    assert_eq!(gone, 0, "{what}: what a snapshot has is gone: {log}");
    if done.iter().all(|how| how.contains("a bit of")) {
        assert!(lost <= times as usize, "{what}: {lost} lost: {log}");
    }
}

#[test]
fn s6_a_file_that_is_foreign_or_of_a_later_version_stops_the_member_with_the_reason() {
    let mut kept = prepare();
    let newer = |bytes: &mut Vec<u8>, header_bytes: usize| {
        bytes[8] = 9;
        let crc = crc32c(&bytes[8..header_bytes]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
    };
    let segment = kept.files("log").into_iter().next().unwrap();
    let snapshot = kept.files("snapshots").into_iter().next_back().unwrap();
    type Damage<'d> = &'d dyn Fn(&mut Vec<u8>);
    let cases: [(&PathBuf, Damage<'_>, &str); 4] = [
        (&segment, &|bytes| newer(bytes, 64), "version 9"),
        (
            &segment,
            &|bytes| *bytes = b"something else, and long enough ".repeat(9),
            "begins otherwise",
        ),
        (
            &segment,
            &|bytes| {
                bytes[20] ^= 1;
                let crc = crc32c(&bytes[8..64]).to_le_bytes();
                bytes[4..8].copy_from_slice(&crc);
            },
            "another data set",
        ),
        (&snapshot, &|bytes| newer(bytes, 128), "version 9"),
    ];
    for (path, change, reason) in cases {
        let good = std::fs::read(path).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(path, &bytes).unwrap();
        kept.relaunch();
        assert_ne!(kept.member.wait_end(), Some(0));
        let (log, name) = (kept.member.log(), path.file_name().unwrap().to_str().unwrap());
        assert!(log.contains(reason) && log.contains(name), "{reason}: {log}");
        assert_eq!(std::fs::read(path).unwrap(), bytes, "it was changed");
        std::fs::write(path, good).unwrap();
    }
    kept.again();
    let expected = |n: u64| if n < KEYS / 2 { 2 } else { 1 };
    assert!(versions(&kept, "whole").into_iter().eq((0..2 * KEYS).map(expected)));
}

#[test]
fn a_segment_whose_header_was_zeroed_keeps_its_frames_and_one_that_is_missing_is_told() {
    let mut kept = prepare();
    let log = kept.files("log");
    let last = log.last().unwrap();
    let mut bytes = std::fs::read(last).unwrap();
    bytes[..64].fill(0);
    std::fs::write(last, bytes).unwrap();
    kept.again();
    let expected = |n: u64| if n < KEYS / 2 { 2 } else { 1 };
    assert!(versions(&kept, "header").into_iter().eq((0..2 * KEYS).map(expected)));
    assert!(kept.member.log().contains("its frames are read"), "{}", kept.member.log());
    // What comes next goes to a segment behind it.
    set(&kept, 0..1, 1);
    kept.member.kill();
    std::fs::remove_file(last).unwrap();
    kept.again();
    let name = last.file_name().unwrap().to_str().unwrap();
    let log = kept.member.log();
    assert!(log.contains(&format!("{name}: missing")), "{log}");
    assert!(versions(&kept, "missing")[..KEYS as usize].iter().all(|version| *version == 1));
}
