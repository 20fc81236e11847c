//! Backups that are damaged, encrypted, interrupted or pruned, with real members.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::backups::{command, create, files, member_on};
use common::kept::{Kept, Random, copy};
use hypercache::backup::list::{Which, list, of_one};
use hypercache::backup::point::Target;
use hypercache::backup::restore::{self, restore};
use hypercache::backup::verify::verify;
use hypercache::backup::{Destination, Settings};

const STORE: &str = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n";

fn yaml(destination: &Path, more: &str) -> String {
    format!("backup:\n  url: {}\n{more}{STORE}", destination.display())
}

fn open(directory: &Path) -> Destination {
    let url = directory.to_str().unwrap().to_owned();
    Settings { url, ..Settings::default() }.open(false).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A backup of few bytes.
fn small(destination: &Path, more: &str) -> Kept {
    let kept = Kept::start(&yaml(destination, more));
    let mut client = kept.connect();
    client.ask(&[b"SET", b"a", b"1"]);
    create(&kept);
    client.ask(&[b"RPUSH", b"l", b"x", b"y"]);
    create(&kept);
    kept
}

#[test]
fn s6_l19_each_flipped_byte_and_each_missing_file_of_a_backup_is_told_of_and_nothing_is_restored() {
    let original = tempfile::tempdir().unwrap();
    drop(small(original.path(), ""));
    let (damaged, to, scratch) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy(original.path(), damaged.path());
    let destination = open(damaged.path());
    let runtime = runtime();
    let which = Which::default();
    let newest = runtime.block_on(of_one(&destination, &which)).unwrap().pop().unwrap();
    let needed = |path: &Path| {
        newest.objects().any(|object| path.ends_with(&object.name))
            || path.to_str().unwrap().contains(&newest.id)
    };
    let attempt = |place: &str| {
        runtime.block_on(async {
            let found = list(&destination, &which).await.unwrap();
            let Some(manifest) = found.backups.iter().find(|of| of.id == newest.id) else {
                assert!(!found.wrong.is_empty() || place.ends_with("missing"), "{place}");
                return;
            };
            let checked = verify(&destination, manifest, None, scratch.path()).await.unwrap();
            assert_eq!(checked.wrong.len(), 1, "{place}: {:?}", checked.wrong);
            let target = to.path().join("data");
            let options = restore::Options {
                destination: &destination,
                manifest,
                identities: None,
                to: &target,
                target: Target::Latest,
            };
            restore(options).await.unwrap_err();
            assert!(!target.join("durable/DATASET").exists(), "{place}");
            std::fs::remove_dir_all(&target).unwrap();
        });
    };
    let mut flipped = 0;
    let all: Vec<PathBuf> = files(damaged.path()).into_iter().filter(|path| needed(path)).collect();
    assert!(all.len() >= 4, "{all:?}");
    for path in all {
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            attempt(&format!("{}: byte {at}", path.display()));
            flipped += 1;
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        attempt(&format!("{}: cut", path.display()));
        std::fs::remove_file(&path).unwrap();
        attempt(&format!("{}: missing", path.display()));
        std::fs::write(&path, good).unwrap();
    }
    assert!(flipped > 1_000, "{flipped}");
    assert!(files(scratch.path()).is_empty());
}

/// A new pair of keys: the public one, and a file with the other.
fn keys(directory: &Path, name: &str) -> (String, PathBuf) {
    use age::secrecy::ExposeSecret;
    let key = age::x25519::Identity::generate();
    let path = directory.join(name);
    std::fs::write(&path, key.to_string().expose_secret()).unwrap();
    (key.to_public().to_string(), path)
}

#[test]
fn what_is_encrypted_is_restored_with_its_key_only_and_shows_nothing_without() {
    let (destination, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((public, right), (_, wrong)) =
        (keys(secret.path(), "right"), keys(secret.path(), "wrong"));
    let kept = Kept::start(&yaml(destination.path(), &format!("  recipient: {public}\n")));
    let mut client = kept.connect();
    let value = b"a value that nobody should see".repeat(500_000);
    client.ask(&[b"SET", b"k", &value]);
    create(&kept);
    client.ask(&[b"SET", b"l", b"more"]);
    create(&kept);
    for file in files(destination.path()) {
        let bytes = std::fs::read(&file).unwrap();
        let shows = bytes.windows(12).any(|window| window == b"a value that");
        assert!(!shows, "{}", file.display());
    }
    let url = destination.path().to_str().unwrap();
    let of = |verb: &str, identity: Option<&Path>, to: &Path| {
        let mut args = vec![verb, "--url", url];
        if verb == "restore" {
            args.extend(["--to", to.to_str().unwrap()]);
        }
        if let Some(identity) = identity {
            args.extend(["--identity", identity.to_str().unwrap()]);
        }
        command(&args, &[])
    };
    assert!(command(&["list", "--url", url], &[]).unwrap().contains("  encrypted"));
    let to = tempfile::tempdir().unwrap();
    for verb in ["verify", "restore"] {
        let told = of(verb, None, to.path()).unwrap_err();
        assert!(told.contains("--identity") && told.contains(&public), "{told}");
    }
    let told = of("verify", Some(&wrong), to.path()).unwrap_err();
    assert!(told.contains("another key"), "{told}");
    let elsewhere = to.path().join("wrong");
    let told = of("restore", Some(&wrong), &elsewhere).unwrap_err();
    assert!(told.contains("another key"), "{told}");
    assert!(!elsewhere.join("durable/DATASET").exists());
    assert!(of("verify", Some(&right), to.path()).unwrap().contains("is whole"));
    let to = to.path().join("right");
    of("restore", Some(&right), &to).unwrap();
    let restored = member_on(&to);
    let mut client = restored.connect();
    assert_eq!(client.ask(&[b"GET", b"l"]), b"$4\r\nmore\r\n");
    assert_eq!(client.ask(&[b"STRLEN", b"k"]), format!(":{}\r\n", value.len()).into_bytes());
}

#[test]
fn a_backup_that_is_interrupted_is_none_and_the_next_one_works() {
    let destination = tempfile::tempdir().unwrap();
    let mut kept = Kept::start(&yaml(destination.path(), ""));
    let mut random = Random::seeded();
    let value = vec![b'v'; 1 << 20];
    let which = Which::default();
    let runtime = runtime();
    for round in 0..6u64 {
        let mut client = kept.connect();
        for n in 0..8 {
            client.ask(&[b"SET", format!("r{round}:{n}").as_bytes(), &value]);
        }
        kept.member.http("POST /api/admin/backup");
        std::thread::park_timeout(Duration::from_millis(random.below(120)));
        kept.member.kill();
        let destination = open(destination.path());
        let found = runtime.block_on(list(&destination, &which)).unwrap();
        assert!(found.wrong.is_empty(), "{:?}", found.wrong);
        let scratch = tempfile::tempdir().unwrap();
        for backup in &found.backups {
            let checked = runtime.block_on(verify(&destination, backup, None, scratch.path()));
            let wrong = checked.unwrap().wrong;
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        kept.again();
    }
    create(&kept);
    let to = tempfile::tempdir().unwrap();
    let url = destination.path().to_str().unwrap();
    command(&["restore", "--url", url, "--to", to.path().to_str().unwrap()], &[]).unwrap();
    let restored = member_on(to.path());
    let mut client = restored.connect();
    for key in (0..6).flat_map(|round| (0..8).map(move |n| format!("r{round}:{n}"))) {
        assert_eq!(client.ask(&[b"STRLEN", key.as_bytes()]), b":1048576\r\n", "{key}");
    }
}

#[test]
fn a_restore_that_is_interrupted_is_never_taken_for_data() {
    let destination = tempfile::tempdir().unwrap();
    let kept = Kept::start(&yaml(destination.path(), ""));
    let mut client = kept.connect();
    for n in 0..20 {
        client.ask(&[b"SET", format!("k{n}").as_bytes(), &vec![b'v'; 1 << 20]]);
    }
    create(&kept);
    let url = destination.path().to_str().unwrap();
    let mut random = Random::seeded();
    let (mut cut, mut whole) = (0, 0);
    for round in 0..12u64 {
        let to = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_hypercache"))
            .args(["backup", "restore", "--url", url, "--to", to.path().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::park_timeout(Duration::from_millis(round * 25 + random.below(25)));
        process.kill().unwrap();
        let ended = process.wait().unwrap();
        if files(to.path()).is_empty() {
            continue;
        }
        match Kept::try_start_in(to.path(), STORE) {
            Ok(restored) => {
                let got = restored.connect().ask(&[b"STRLEN", b"k19"]);
                assert_eq!(got, b":1048576\r\n", "{ended}");
                whole += 1;
            }
            Err(log) => {
                assert!(log.contains("DATASET") && log.contains("missing"), "{log}");
                let again = ["restore", "--url", url, "--to", to.path().to_str().unwrap()];
                assert!(command(&again, &[]).unwrap_err().contains("not empty"));
                cut += 1;
            }
        }
    }
    assert!(cut + whole > 0);
}

#[test]
fn pruning_removes_what_no_backup_that_stays_needs() {
    let destination = tempfile::tempdir().unwrap();
    let kept = Kept::start(&yaml(destination.path(), ""));
    let url = destination.path().to_str().unwrap();
    let mut client = kept.connect();
    for round in 0..4 {
        client.ask(&[b"SET", format!("k{round}").as_bytes(), &vec![b'v'; 100_000]]);
        // Two snapshots: what is older is not needed any more.
        for _ in 0..2 {
            let taken = kept.member.http_json("POST /api/admin/snapshot", "");
            assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
        }
        create(&kept);
    }
    let before = files(destination.path()).len();
    let told = command(&["prune", "--url", url, "--keep", "1"], &[]).unwrap();
    assert_eq!(told.matches("is removed").count(), 3, "{told}");
    assert!(files(destination.path()).len() < before);
    let told = command(&["verify", "--url", url], &[]).unwrap();
    assert!(told.contains("is whole"), "{told}");
    let told = command(&["prune", "--url", url, "--keep", "1"], &[]).unwrap();
    assert!(told.contains("0 objects"), "{told}");
    // And the next one goes on from what stayed.
    client.ask(&[b"SET", b"k4", b"v"]);
    create(&kept);
    assert!(command(&["verify", "--url", url], &[]).unwrap().contains("is whole"));
    assert!(command(&["prune", "--url", url, "--keep", "0"], &[]).is_err());
}

#[test]
fn a_member_without_a_destination_refuses_and_names_the_key() {
    let kept = Kept::start(STORE);
    let reply = kept.member.http("POST /api/admin/backup");
    assert!(reply.starts_with("HTTP/1.1 409") && reply.contains("backup.url"), "{reply}");
}
