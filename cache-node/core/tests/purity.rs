//! What decides stays pure: the crates that this one may use, and the methods that clippy refuses
//! in it, are listed here as well. Whoever changes a list must change both, and think.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by failing")]

use std::collections::BTreeSet;

const MANIFEST: &str = include_str!("../Cargo.toml");
const CLIPPY: &str = include_str!("../clippy.toml");

/// Crates without a way to sockets, files, clocks, threads or randomness of their own.
const ALLOWED: [&str; 13] = [
    "arc-swap",
    "bitflags",
    "crc-fast",
    "foldhash",
    "hashbrown",
    "itoa",
    "lz4_flex",
    "memchr",
    "parking_lot",
    "serde",
    "sha1",
    "smallvec",
    "thiserror",
];

/// What clippy must refuse.
const DISALLOWED: [&str; 10] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::env::var",
    "std::fs::File",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::collections::hash_map::RandomState",
];

/// The names in a table of a manifest.
fn names(manifest: &str, table: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[{table}]");
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().unwrap_or(line);
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn only_crates_that_reach_nothing_are_depended_on() {
    let allowed: BTreeSet<String> = ALLOWED.iter().map(|name| (*name).to_owned()).collect();
    let found = names(MANIFEST, "dependencies");
    let strangers: Vec<&String> = found.difference(&allowed).collect();
    assert!(
        strangers.is_empty(),
        "cache-node/core may not depend on {strangers:?}: a crate goes on the list in \
         tests/purity.rs only if it reaches no runtime, socket, file, clock or randomness"
    );
    assert!(found.contains("parking_lot"), "the manifest was not understood: {found:?}");
}

#[test]
fn there_is_no_other_way_to_depend_on_a_crate() {
    let tables = MANIFEST.lines().map(str::trim).filter(|line| line.starts_with('['));
    // A feature may switch code of core's on, and no crate: every one is an empty list.
    let known = ["[package]", "[lints]", "[features]", "[dependencies]", "[dev-dependencies]"];
    for table in tables {
        assert!(known.contains(&table), "{table} in cache-node/core/Cargo.toml is not expected");
    }
}

#[test]
fn features_depend_on_no_crate() {
    let after = MANIFEST.lines().skip_while(|line| line.trim() != "[features]").skip(1);
    let features = after.take_while(|line| !line.starts_with('['));
    let features = features.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    for feature in features {
        assert!(feature.ends_with("= []"), "{feature}");
    }
}

#[test]
fn clippy_refuses_clocks_threads_files_sockets_and_randomness() {
    for path in DISALLOWED {
        let entry = format!("path = \"{path}\"");
        assert!(CLIPPY.contains(&entry), "clippy.toml no longer refuses {path}");
    }
}

#[test]
fn the_sources_do_not_name_what_is_out_of_reach() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for word in
                ["std::net", "std::fs", "std::env", "std::thread", "std::process", "tokio::"]
            {
                // Tests may use threads to show that the locks hold.
                let is_test = path.to_string_lossy().ends_with("_tests.rs");
                let allowed = is_test && word == "std::thread";
                assert!(allowed || !text.contains(word), "{} names {word}", path.display());
            }
        }
    }
    assert!(files > 20, "only {files} files were read");
}
