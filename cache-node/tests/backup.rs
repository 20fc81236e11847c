//! Backups of a member that runs, and what is restored from them, with real processes. What was
//! acknowledged is recorded here, outside the server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use common::backups::{command, create, files, member_on};
use common::kept::Kept;
use common::{Raw, wait_for};

fn yaml(destination: &Path, more: &str) -> String {
    format!(
        "backup:\n  url: {}\n{more}stores:\n  s: {{number: 1, persistence: {{mode: aof, fsync: always}}}}\n",
        destination.display()
    )
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn last_sequence(kept: &Kept) -> u64 {
    let stats = kept.member.http("GET /api/admin/persistence-stats");
    let body = stats.split("\r\n\r\n").nth(1).unwrap();
    let stats: serde_json::Value = serde_json::from_str(body).unwrap();
    stats["log"]["last_sequence"].as_u64().unwrap()
}

fn restore(from: &Path, to: &Path, more: &[&str]) -> Result<String, String> {
    let mut args = vec!["restore", "--url", from.to_str().unwrap(), "--to", to.to_str().unwrap()];
    args.extend(more);
    command(&args, &[])
}

fn verify(from: &Path, more: &[&str]) -> Result<String, String> {
    let mut args = vec!["verify", "--url", from.to_str().unwrap()];
    args.extend(more);
    command(&args, &[])
}

const WRITERS: usize = 3;

/// What the writers had acknowledged at some time: each writer's key and number.
type Model = BTreeMap<String, String>;

/// Writes in transactions over two keys, deletes what is old, and records what was acknowledged.
fn write(client: &mut Raw, writer: usize, n: u64, model: &Mutex<Model>) {
    let (a, b) = (format!("{{w{writer}}}a:{}", n % 50), format!("{{w{writer}}}b:{}", n % 50));
    let (gone, value) = (format!("{{w{writer}}}a:{}", (n + 25) % 50), format!("{writer}:{n}"));
    let mut bytes = Vec::new();
    for words in [
        vec!["MULTI"],
        vec!["SET", &a, &value],
        vec!["SET", &b, &value],
        vec!["DEL", &gone],
        vec!["EXEC"],
    ] {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        bytes.extend(Raw::encode(&words));
    }
    client.send(&bytes);
    for _ in 0..4 {
        client.reply();
    }
    assert!(client.reply().starts_with(b"*3\r\n+OK"));
    let mut model = model.lock().unwrap();
    model.insert(a, value.clone());
    model.insert(b, value);
    model.remove(&gone);
}

/// What the member holds of the keys that the writers use.
fn held(kept: &Kept) -> Model {
    let mut client = kept.connect();
    let mut found = Model::new();
    for writer in 0..WRITERS {
        for (kind, n) in (0..50).flat_map(|n| [("a", n), ("b", n)]) {
            let key = format!("{{w{writer}}}{kind}:{n}");
            let reply = client.ask(&[b"GET", key.as_bytes()]);
            let text = String::from_utf8(reply).unwrap();
            if let Some((_, value)) = text.trim_end().split_once("\r\n") {
                found.insert(key, value.to_owned());
            }
        }
    }
    found
}

#[test]
fn a_backup_that_is_made_while_writers_write_is_restored_to_three_past_points_as_they_were() {
    let destination = tempfile::tempdir().unwrap();
    let kept = Kept::start(&yaml(destination.path(), ""));
    create(&kept);
    let (stop, barrier) = (AtomicBool::new(false), Barrier::new(WRITERS + 1));
    let (halt, model) = (AtomicBool::new(false), Mutex::new(Model::new()));
    let mut points = Vec::new();
    let mut latest = Model::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (kept, stop, halt, barrier, model) = (&kept, &stop, &halt, &barrier, &model);
            scope.spawn(move || {
                let mut client = kept.connect();
                for n in 1.. {
                    write(&mut client, writer, n, model);
                    if halt.load(Relaxed) {
                        // All stand still, and go on together.
                        barrier.wait();
                        barrier.wait();
                    }
                    if stop.load(Relaxed) {
                        return;
                    }
                }
            });
        }
        for round in 0..4 {
            let before = last_sequence(&kept);
            kept.member.wait_for("writes", || (last_sequence(&kept) > before + 300).then_some(()));
            if round == 3 {
                // The last one is made while they write: what was acknowledged before is in it.
                latest = model.lock().unwrap().clone();
                create(&kept);
            }
            halt.store(true, Relaxed);
            barrier.wait();
            let (sequence, time_ms) = (last_sequence(&kept), now_ms());
            points.push((sequence, time_ms, model.lock().unwrap().clone()));
            wait_for("another time", || (now_ms() > time_ms + 1).then_some(()));
            halt.store(false, Relaxed);
            stop.store(round == 3, Relaxed);
            barrier.wait();
        }
    });
    assert!(verify(destination.path(), &[]).unwrap().contains("is whole"));
    for (index, (sequence, time_ms, model)) in points[..3].iter().enumerate() {
        for point in [["--to-sequence", &sequence.to_string()], ["--to-time", &time_ms.to_string()]]
        {
            let directory = tempfile::tempdir().unwrap();
            let told = restore(destination.path(), directory.path(), &point).unwrap();
            assert!(told.contains(&format!("up to sequence {sequence}")), "{told}");
            let restored = member_on(directory.path());
            assert_eq!(held(&restored), *model, "point {index}: {point:?}");
            assert!(!restored.member.log().contains("is damaged"), "{}", restored.member.log());
        }
    }
    let directory = tempfile::tempdir().unwrap();
    restore(destination.path(), directory.path(), &[]).unwrap();
    let restored = held(&member_on(directory.path()));
    // Each transaction is there whole, and none is older than what was acknowledged before.
    let number = |of: &Model, key: &str| -> u64 {
        of.get(key).map_or(0, |value| value.split(':').nth(1).unwrap().parse().unwrap())
    };
    let newest = |of: &Model, writer: usize| {
        (0..50).map(|n| number(of, &format!("{{w{writer}}}b:{n}"))).max().unwrap()
    };
    for writer in 0..WRITERS {
        assert!(newest(&restored, writer) >= newest(&latest, writer));
        let n = newest(&restored, writer);
        let key = format!("{{w{writer}}}a:{}", n % 50);
        assert_eq!(number(&restored, &key), n, "half a transaction");
    }
}

#[test]
fn a_point_outside_of_what_there_is_and_a_directory_that_is_not_empty_are_refused_by_name() {
    let destination = tempfile::tempdir().unwrap();
    let kept = Kept::start(&yaml(destination.path(), ""));
    kept.connect().ask(&[b"SET", b"k", b"v"]);
    let made = create(&kept);
    let to = tempfile::tempdir().unwrap();
    let last = made["to"]["sequence"].as_u64().unwrap();
    for point in [
        ["--to-sequence", &(last + 1).to_string()],
        ["--to-time", "2001-01-01T00:00:00Z"],
        ["--to-time", "2999-01-01T00:00:00Z"],
    ] {
        let told = restore(destination.path(), to.path(), &point).unwrap_err();
        assert!(told.contains(&format!("to {last}")), "{told}");
        assert!(files(to.path()).is_empty());
    }
    std::fs::write(to.path().join("mine"), "x").unwrap();
    let told = restore(destination.path(), to.path(), &[]).unwrap_err();
    assert!(told.contains(to.path().to_str().unwrap()) && told.contains("mine"), "{told}");
    assert_eq!(files(to.path()).len(), 1);
    let told = restore(destination.path(), to.path(), &["--to-time", "soon"]).unwrap_err();
    assert!(told.contains("--to-time") && told.contains("2026-11-29T04:00:00Z"), "{told}");
}

#[test]
fn what_the_destination_has_is_not_sent_again() {
    let destination = tempfile::tempdir().unwrap();
    let mut kept = Kept::start(&yaml(destination.path(), ""));
    let mut client = kept.connect();
    let value = vec![b'x'; 100_000];
    for n in 0..50 {
        client.ask(&[b"SET", format!("k{n}").as_bytes(), &value]);
    }
    let sent = |made: &serde_json::Value| made["sent_bytes"].as_u64().unwrap();
    let first = create(&kept);
    assert!(sent(&first) > 5_000_000, "{first}");
    client.ask(&[b"SET", b"new", b"value"]);
    let second = create(&kept);
    assert!((1..2_000).contains(&sent(&second)), "{second}");
    assert_eq!(sent(&create(&kept)), 0);
    // Also after a start, which knows nothing of what was sent.
    drop(client);
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    let mut client = kept.connect();
    client.ask(&[b"SET", b"newer", b"value"]);
    let after = create(&kept);
    assert!((1..4_000).contains(&sent(&after)), "{after}");
    let listed = command(&["list", "--url", destination.path().to_str().unwrap(), "--json"], &[]);
    let listed: serde_json::Value = serde_json::from_str(&listed.unwrap()).unwrap();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 4);
    assert_eq!(listed["backups"][0]["encrypted"], false);
    let to = tempfile::tempdir().unwrap();
    restore(destination.path(), to.path(), &[]).unwrap();
    let restored = member_on(to.path());
    let mut client = restored.connect();
    assert_eq!(client.ask(&[b"GET", b"newer"]), b"$5\r\nvalue\r\n");
    assert_eq!(client.ask(&[b"STRLEN", b"k49"]), b":100000\r\n");
}

/// Three stores: one with a log, one with snapshots only, and the default one.
fn three(destination: &Path) -> String {
    format!(
        "backup:\n  url: {}\npersistence: {{mode: aof}}\nstores:\n  s: {{number: 1, persistence: aof+snapshot}}\n  \
         t: {{number: 2, persistence: snapshot}}\n",
        destination.display()
    )
}

fn ask(client: &mut Raw, command: &str) -> String {
    let words: Vec<_> = command.split(' ').map(str::as_bytes).collect();
    String::from_utf8(client.ask(&words)).unwrap()
}

#[test]
fn each_kind_of_store_and_value_comes_back_also_from_between_snapshots_and_no_store_is_forgotten() {
    let destination = tempfile::tempdir().unwrap();
    let kept = Kept::start(&three(destination.path()));
    let mut client = kept.member.raw();
    let mut points = Vec::new();
    for round in 0..4u64 {
        for command in [
            "SELECT 0",
            &format!("SET round {round}"),
            &format!("HSET h f{round} v"),
            "SELECT 1",
            &format!("RPUSH l {round}"),
            &format!("ZADD z {round} m{round}"),
            &format!("SET gone{round} x"),
            &format!("SET lives{round} x EX 1000"),
            &format!("DEL gone{}", round.saturating_sub(1)),
            "SELECT 2",
            &format!("SADD set {round}"),
        ] {
            let reply = ask(&mut client, command);
            assert!(!reply.starts_with('-'), "{command}: {reply}");
        }
        // The backup has two snapshots of each store, and the log between them.
        if round == 1 || round == 3 {
            let taken = kept.member.http_json("POST /api/admin/snapshot", "");
            assert!(taken.starts_with("HTTP/1.1 200"), "{taken}");
        }
        points.push(last_sequence(&kept));
    }
    create(&kept);
    let expected = |round: u64| {
        let listed = |what: &str| (0..=round).map(|n| format!("{what}{n}")).collect::<Vec<_>>();
        (round.to_string(), listed("f").len(), listed("").len(), round + 1)
    };
    for (round, point) in (0..4u64).zip(&points).skip(1) {
        let to = tempfile::tempdir().unwrap();
        let told = restore(destination.path(), to.path(), &["--to-sequence", &point.to_string()]);
        let told = told.unwrap();
        // Its configuration is told, and needed.
        let yaml = told.split_once("or more:\n").unwrap().1;
        let without = Kept::try_start_in(to.path(), "persistence: {mode: aof}\n").err().unwrap();
        assert!(
            without.contains("STORES") && without.contains("stores.s with number 1"),
            "{without}"
        );
        let restored = Kept::start_in(to.path(), yaml);
        let mut client = restored.member.raw();
        let (value, fields, elements, members) = expected(round);
        assert_eq!(ask(&mut client, "GET round"), format!("$1\r\n{value}\r\n"));
        assert_eq!(ask(&mut client, "HLEN h"), format!(":{fields}\r\n"));
        ask(&mut client, "SELECT 1");
        assert_eq!(ask(&mut client, "LLEN l"), format!(":{elements}\r\n"));
        assert_eq!(ask(&mut client, "ZCARD z"), format!(":{members}\r\n"));
        assert_eq!(ask(&mut client, &format!("EXISTS gone{}", round - 1)), ":0\r\n");
        assert_eq!(ask(&mut client, &format!("EXISTS gone{round}")), ":1\r\n");
        let lives = ask(&mut client, &format!("TTL lives{round}"));
        assert!(lives.starts_with(":9") || lives == ":1000\r\n", "{lives}");
        // The one without a log is as its last snapshot before the point has it.
        ask(&mut client, "SELECT 2");
        assert!(told.contains("store 't' has no log: it is as it was at"), "{told}");
        // The backup took the last one, when all was there.
        let all = if round == 3 { ":4\r\n" } else { ":2\r\n" };
        assert_eq!(ask(&mut client, "SCARD set"), all, "{round}: {told}");
    }
}

#[test]
fn what_is_damaged_on_the_members_disk_is_not_sent_and_the_backup_is_whole() {
    let destination = tempfile::tempdir().unwrap();
    let mut kept = Kept::start(&yaml(destination.path(), ""));
    let mut client = kept.connect();
    for n in 0..200 {
        client.ask(&[b"SET", format!("k{n}").as_bytes(), &[b'v'; 1000]]);
    }
    drop(client);
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    kept.connect().ask(&[b"SET", b"last", b"v"]);
    // A frame in the middle of what was closed: what it had is in memory.
    let segment = kept.files("log").remove(0);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let made = create(&kept);
    assert!(kept.member.log().contains("from new snapshots of all stores"));
    assert!(verify(destination.path(), &[]).unwrap().contains("is whole"));
    assert!(made["id"].is_string());
    let to = tempfile::tempdir().unwrap();
    restore(destination.path(), to.path(), &[]).unwrap();
    let restored = member_on(to.path());
    let mut client = restored.connect();
    assert_eq!(ask(&mut client, "DBSIZE"), ":201\r\n");
    assert_eq!(ask(&mut client, "GET last"), "$1\r\nv\r\n");
}

#[test]
fn a_store_that_was_logged_only_later_is_not_restored_to_before() {
    let destination = tempfile::tempdir().unwrap();
    let yaml = format!(
        "backup:\n  url: {}\nstores:\n  s: {{number: 1, persistence: snapshot}}\n",
        destination.path().display()
    );
    let kept = Kept::start(&yaml);
    let mut client = kept.connect();
    ask(&mut client, "SET a 1");
    assert!(kept.member.http_json("POST /api/admin/snapshot", "").starts_with("HTTP/1.1 200"));
    ask(&mut client, "SET a 2");
    let changed = kept.member.http_json("PATCH /api/stores/s", "{\"persistence\": \"aof\"}");
    assert!(changed.starts_with("HTTP/1.1 200"), "{changed}");
    ask(&mut client, "SET b 1");
    let made = create(&kept);
    let (from, to) = (&made["from"]["sequence"], &made["to"]["sequence"]);
    for sequence in from.as_u64().unwrap()..=to.as_u64().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        restore(destination.path(), directory.path(), &["--to-sequence", &sequence.to_string()])
            .unwrap();
        let restored = member_on(directory.path());
        assert_eq!(ask(&mut restored.connect(), "GET a"), "$1\r\n2\r\n", "{sequence}");
    }
}

#[test]
fn several_members_share_a_destination_and_it_has_to_be_said_whose_backup_is_meant() {
    let destination = tempfile::tempdir().unwrap();
    let members = [("a", "HYPERCACHE_NODE_ID"), ("b", "HYPERCACHE_NODE_ID")].map(|(id, name)| {
        let kept = Kept::start_with(&yaml(destination.path(), ""), &[(name, id)]);
        kept.connect().ask(&[b"SET", b"whose", id.as_bytes()]);
        create(&kept);
        kept
    });
    let to = tempfile::tempdir().unwrap();
    let told = restore(destination.path(), to.path(), &[]).unwrap_err();
    assert!(told.contains("--of") && told.contains("(member a)"), "{told}");
    assert!(told.contains("(member b)") && files(to.path()).is_empty(), "{told}");
    restore(destination.path(), to.path(), &["--of", "b"]).unwrap();
    assert_eq!(ask(&mut member_on(to.path()).connect(), "GET whose"), "$1\r\nb\r\n");
    drop(members);
}
