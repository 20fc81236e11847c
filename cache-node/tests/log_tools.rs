//! `hypercache log dump | verify | repair | export` on what real members leave; what is exported is
//! replayed by a real redis-server and compared key by key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Raw;
use common::kept::{Kept, Random, copy};
use common::redis::Redis;
use serde_json::Value;

const YAML: &str = concat!(
    "persistence: {mode: aof, fsync: always}\n",
    "stores:\n",
    "  s: {number: 1, persistence: {mode: aof+snapshot, fsync: always}}\n",
    "  saved: {number: 2, persistence: {mode: snapshot}}\n",
    "  sessions: {number: 3, eviction_policy: session, default_ttl: 1h, persistence: {mode: aof, fsync: always}}\n",
);

/// What a run of the binary gave: exit code, output, errors.
struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

fn log(command: &str, directory: &Path, flags: &[&str]) -> Ran {
    let ran = Command::new(env!("CARGO_BIN_EXE_hypercache"))
        .args(["log", command])
        .arg(directory)
        .args(flags)
        .output()
        .unwrap();
    Ran {
        code: ran.status.code(),
        out: String::from_utf8(ran.stdout).unwrap(),
        errors: String::from_utf8_lossy(&ran.stderr).into_owned(),
    }
}

impl Ran {
    fn is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.errors);
        self
    }

    fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn ask(client: &mut Raw, line: &str) -> Vec<u8> {
    client.ask(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

fn select(client: &mut Raw, database: u16) {
    assert_eq!(ask(client, &format!("SELECT {database}")), b"+OK\r\n");
}

/// The elements of a reply that is an array of bulk strings.
fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut at = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    while at < reply.len() {
        let line = reply[at..].iter().position(|byte| *byte == b'\r').unwrap() + at;
        let len: usize = std::str::from_utf8(&reply[at + 1..line]).unwrap().parse().unwrap();
        parts.push(reply[line + 2..line + 2 + len].to_vec());
        at = line + 2 + len + 2;
    }
    parts
}

/// Type, value and end of every key.
type Content = BTreeMap<Vec<u8>, (Vec<u8>, Vec<Vec<u8>>, Vec<u8>)>;

/// What a database holds.
fn content(client: &mut Raw, database: u16) -> Content {
    select(client, database);
    let mut found = BTreeMap::new();
    for key in elements(&client.ask(&[b"KEYS", b"*"])) {
        let kind = client.ask(&[b"TYPE", &key]);
        let mut value = match &kind[..] {
            b"+string\r\n" => vec![client.ask(&[b"GET", &key])],
            b"+list\r\n" => elements(&client.ask(&[b"LRANGE", &key, b"0", b"-1"])),
            b"+hash\r\n" => {
                let words = elements(&client.ask(&[b"HGETALL", &key]));
                words.chunks(2).map(|pair| pair.join(&b"\0\0\0"[..])).collect()
            }
            b"+set\r\n" => elements(&client.ask(&[b"SMEMBERS", &key])),
            b"+zset\r\n" => {
                let members = elements(&client.ask(&[b"ZRANGE", &key, b"0", b"-1"]));
                let score = |member: &[u8]| {
                    let score = client.ask(&[b"ZSCORE", &key, member]);
                    // Redis 7.0 writes 17 digits.
                    let text = elements(&[b"*1\r\n", &score[..]].concat()).remove(0);
                    let score: f64 = String::from_utf8(text).unwrap().parse().unwrap();
                    [member, &score.to_le_bytes()].concat()
                };
                members.iter().map(|member| &member[..]).map(score).collect()
            }
            _ => {
                assert!(kind.starts_with(b"+MBbloom"), "{}", kind.escape_ascii());
                continue;
            }
        };
        if kind == b"+hash\r\n" || kind == b"+set\r\n" {
            value.sort();
        }
        let ends = client.ask(&[b"PEXPIRETIME", &key]);
        found.insert(key, (kind, value, ends));
    }
    found
}

/// Some of everything, in the database that is selected.
fn write_all_types(client: &mut Raw, round: u32) {
    let far = "4102444800000";
    let lines = [
        format!("SET string{round} value{round}"),
        format!("SET number{round} 12345"),
        format!("INCRBY number{round} {round}"),
        format!("SET ends{round} soon PXAT {far}"),
        format!("RPUSH list{round} a b c a"),
        format!("LPUSH list{round} z"),
        format!("LINSERT list{round} BEFORE b inserted"),
        format!("HSET hash{round} f 1 g two h 3.5"),
        format!("HINCRBYFLOAT hash{round} h 0.25"),
        format!("PEXPIREAT hash{round} {far}"),
        format!("SADD set{round} 1 2 3 four"),
        format!("SMOVE set{round} {{set{round}}}other four"),
        format!("ZADD zset{round} 1.5 a -inf b inf c 0.1 d"),
        format!("ZINCRBY zset{round} 3.7 a"),
        format!("SETBIT bits{round} 70000 1"),
        format!("PFADD hll{round} a b c d"),
        format!("SET gone{round} x"),
        format!("DEL gone{round}"),
        format!("SET short{round} x PX 1"),
        format!("RPUSH popped{round} 1 2 3"),
        format!("LPOP popped{round} 3"),
        format!("SADD spun{round} 1 2 3 4 5 6"),
        format!("SPOP spun{round} 3"),
        format!("CF.ADD filter{round} x"),
    ];
    for line in lines {
        let reply = ask(client, &line);
        assert!(!reply.starts_with(b"-"), "{line}: {}", reply.escape_ascii());
    }
    let odd: Vec<u8> = (0..=255).collect();
    client.ask(&[b"SET", &odd, &odd]);
    client.ask(&[b"SET", b"", b""]);
    client.ask(&[b"HSET", b"odd\r\n", &odd, b"", b"", &odd]);
    let many: Vec<Vec<u8>> = (0..3000).map(|n| format!("element{n}").into_bytes()).collect();
    for name in [&b"RPUSH"[..], b"SADD"] {
        let key = [b"many", name].concat();
        let words: Vec<&[u8]> =
            [name, &key].into_iter().chain(many.iter().map(|word| &word[..])).collect();
        client.ask(&words);
    }
    for line in ["MULTI", "SET {t}a 1", "RPUSH {t}list x", "INCR {t}n", "EXEC"] {
        ask(client, line);
    }
}

fn aof_in(directory: &Path) -> PathBuf {
    directory.join("exported.aof")
}

/// Exports, replays by redis-server, and compares these stores.
fn assert_exported(kept: &Kept, flags: &[&str], stores: &[u16]) {
    let directory = tempfile::tempdir().unwrap();
    let aof = aof_in(directory.path());
    let flags: Vec<&str> = flags.iter().copied().chain(["-o", aof.to_str().unwrap()]).collect();
    let ran = log("export", &kept.directory, &flags).is(0);
    assert!(ran.errors.contains("cuckoo filters"), "{}", ran.errors);
    let redis = Redis::from_aof(&aof);
    let (mut there, mut here) = (redis.connect(), kept.member.raw());
    for store in stores {
        let (exported, own) = (content(&mut there, *store), content(&mut here, *store));
        let keys = |of: &Content| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(&exported), keys(&own), "store {store}");
        for (key, (kind, value, ends)) in &own {
            let (exported_kind, exported_value, exported_ends) = &exported[key];
            let name = format!("store {store}: {}", key.escape_ascii());
            assert!(kind == exported_kind && value == exported_value, "{name}");
            // Reads prolong a session, which is not logged.
            let end = |reply: &[u8]| {
                std::str::from_utf8(&reply[1..reply.len() - 2]).unwrap().parse::<i64>().unwrap()
            };
            let (ends, exported_ends) = (end(ends), end(exported_ends));
            let is_session = *store == 3 && ends > 0;
            let is_equal = ends == exported_ends;
            assert!(is_equal || is_session && (1..ends).contains(&exported_ends), "{name}");
        }
    }
}

#[test]
fn an_export_is_replayed_by_redis_server_with_equal_data() {
    let mut kept = Kept::start(YAML);
    let mut client = kept.member.raw();
    for store in 0..4 {
        select(&mut client, store);
        write_all_types(&mut client, 1);
    }
    // From snapshots alone, then with a log behind them.
    assert_eq!(ask(&mut client, "SAVE"), b"+OK\r\n");
    assert_exported(&kept, &[], &[0, 1, 2, 3]);
    for store in [0, 1, 3] {
        select(&mut client, store);
        write_all_types(&mut client, 2);
        for line in ["DEL string1", "FLUSHDB", "SET after flush", "RPUSH list1 other"] {
            ask(&mut client, line);
        }
        write_all_types(&mut client, 3);
    }
    assert_exported(&kept, &[], &[0, 1, 2, 3]);
    kept.member.kill();
    let offline = log("export", &kept.directory, &["--format", "commands"]).is(0);
    kept.again();
    assert_exported(&kept, &[], &[0, 1, 2, 3]);
    assert!(offline.out.contains("SELECT 1\n"), "{}", offline.out);
    assert!(offline.out.contains("SET ends3 soon PXAT 4102444800000\n"), "no lifetimes");
    assert!(offline.out.contains(r#"SET "" """#), "no empty words");
}

#[test]
fn the_raw_history_is_replayed_by_redis_server_with_equal_data() {
    let kept = Kept::start(YAML);
    let mut client = kept.member.raw();
    for store in [0, 1, 3] {
        select(&mut client, store);
        write_all_types(&mut client, 1);
        for line in ["SET before flush", "FLUSHDB", "SET after flush", "SADD set1 9"] {
            ask(&mut client, line);
        }
        write_all_types(&mut client, 2);
    }
    assert_exported(&kept, &["--raw"], &[0, 1, 3]);
    let raw = log("export", &kept.directory, &["--raw", "--format", "commands"]).is(0).out;
    assert!(raw.contains("MULTI\n") && raw.contains("EXEC\n"), "{raw}");
    assert!(!raw.contains("SESSION") && !raw.contains("FLUSHDB"), "{raw}");
}

#[test]
fn stores_that_redis_server_has_no_database_for_are_refused_until_they_are_mapped() {
    let yaml = "stores:\n  far: {number: 40, persistence: {mode: aof, fsync: always}}\n";
    let kept = Kept::start(yaml);
    let mut client = kept.member.raw();
    select(&mut client, 40);
    ask(&mut client, "SET k v");
    let refused = log("export", &kept.directory, &[]).is(2);
    assert!(refused.errors.contains("--map far=N"), "{}", refused.errors);
    let flags = ["--map", "far=3", "--format", "commands"];
    assert_eq!(log("export", &kept.directory, &flags).is(0).out, "SELECT 3\nSET k v\n");
    let flags = ["--databases", "41", "--format", "commands", "--store", "far"];
    assert_eq!(log("export", &kept.directory, &flags).is(0).out, "SELECT 40\nSET k v\n");
}

#[test]
fn an_export_to_a_sequence_is_the_data_as_it_was_then_and_keeps_batches_whole() {
    let kept = Kept::start("stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n");
    let mut client = kept.connect();
    for line in ["SET k 1", "SET k 2", "MULTI", "SET {k}a 3", "SET {k}b 3", "EXEC", "DEL k"] {
        ask(&mut client, line);
    }
    let dump = log("dump", &kept.directory, &["--json"]).is(0).json_lines();
    let sequence = |index: usize| dump[index]["sequence"].as_u64().unwrap();
    assert_eq!(dump.len(), 5);
    let exported = |to: u64| {
        let to = to.to_string();
        let flags = ["--to-sequence", &to, "--format", "commands"];
        let out = log("export", &kept.directory, &flags).is(0).out;
        let mut lines: Vec<_> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let one = ["SELECT 1", "SET k 2"];
    assert_eq!(exported(sequence(0)), ["SELECT 1", "SET k 1"]);
    assert_eq!(exported(sequence(1)), one);
    // In the middle of the transaction.
    assert_eq!(exported(sequence(2)), one);
    assert_eq!(exported(sequence(3)), ["SELECT 1", "SET k 2", "SET {k}a 3", "SET {k}b 3"]);
    assert_eq!(exported(sequence(4)), ["SELECT 1", "SET {k}a 3", "SET {k}b 3"]);
}

#[test]
fn an_export_to_a_time_is_the_data_as_it_was_then() {
    let kept = Kept::start(YAML);
    let mut client = kept.connect();
    let now_ms = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.unwrap().as_millis()
    };
    common::wait_for("the first snapshots", || {
        let info = ask(&mut client, "INFO persistence");
        String::from_utf8(info).unwrap().contains("rdb_bgsave_in_progress:0").then_some(())
    });
    ask(&mut client, "SET k 1");
    let then = now_ms();
    common::wait_for("another millisecond", || (now_ms() > then + 1).then_some(()));
    ask(&mut client, "SET k 2");
    select(&mut client, 2);
    ask(&mut client, "SET saved later");
    assert_eq!(ask(&mut client, "SAVE"), b"+OK\r\n");
    let text = then.to_string();
    let flags = ["--to-time", &text, "--format", "commands", "--store"];
    let of = |store: &str| log("export", &kept.directory, &[&flags[..], &[store]].concat());
    assert_eq!(of("s").is(0).out, "SELECT 1\nSET k 1\n");
    // As its snapshot of then has it.
    assert_eq!(of("saved").is(0).out, "");
    let flags = ["--to-time", "2020-01-01T00:00:00Z", "--store", "saved"];
    let refused = log("export", &kept.directory, &flags).is(2);
    assert!(refused.errors.contains("'saved' has snapshots only"), "{}", refused.errors);
    let later = now_ms().to_string();
    let flags = ["--to-time", &later, "--format", "commands", "--store", "saved"];
    assert_eq!(log("export", &kept.directory, &flags).is(0).out, "SELECT 2\nSET saved later\n");
}

/// A directory with a log and snapshots, of a member that was killed.
fn prepare() -> Kept {
    let mut kept = Kept::start(YAML);
    let set = |kept: &Kept, from: u64, to: u64| {
        let mut client = kept.connect();
        for n in from..to {
            let (key, value) = (format!("k{n}"), format!("v{n}-{}", "x".repeat(n as usize % 50)));
            assert_eq!(client.ask(&[b"SET", key.as_bytes(), value.as_bytes()]), b"+OK\r\n");
        }
    };
    set(&kept, 0, 100);
    assert_eq!(kept.member.terminate(), Some(0));
    kept.again();
    set(&kept, 50, 120);
    assert_eq!(ask(&mut kept.connect(), "SAVE"), b"+OK\r\n");
    set(&kept, 100, 200);
    kept.member.kill();
    kept
}

#[test]
fn a_dump_tells_every_command_once_and_its_filters_choose() {
    let kept = Kept::start(YAML);
    let mut client = kept.connect();
    for line in ["SET k v", "MULTI", "SET {k}a 1", "DEL k", "EXEC", "HSET other f v"] {
        ask(&mut client, line);
    }
    select(&mut client, 0);
    ask(&mut client, "SET k default");
    // The member runs.
    let all = log("dump", &kept.directory, &[]).is(0).out;
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 5, "{all}");
    assert!(lines[0].contains(" s slot=7629 1/1 SET k v"), "{all}");
    assert!(lines[1].contains(" 1/2 SET {k}a 1") && lines[2].contains(" 2/2 DEL k"), "{all}");
    assert!(lines[4].contains(" default slot=7629 1/1 SET k default"), "{all}");
    let only = |flags: &[&str]| log("dump", &kept.directory, flags).is(0).out.lines().count();
    assert_eq!(only(&["--store", "s"]), 4);
    assert_eq!(only(&["--store", "0"]), 1);
    assert_eq!(only(&["--key", "k"]), 3);
    assert_eq!(only(&["--key", "k", "--store", "s"]), 2);
    let json = log("dump", &kept.directory, &["--json"]).is(0).json_lines();
    let sequence = json[1]["sequence"].to_string();
    assert_eq!(only(&["--from-sequence", &sequence, "--to-sequence", &sequence]), 1);
    assert_eq!(only(&["--from-time", "2020-01-01T00:00:00Z"]), 5);
    assert_eq!(only(&["--to-time", "2020-01-01T00:00:00Z"]), 0);
    assert_eq!(json[0]["commands"], serde_json::json!([["SET", "k", "v"]]));
    assert_eq!(ask(&mut client, "SAVE"), b"+OK\r\n");
    let snapshots = log("dump", &kept.directory, &["--snapshots", "--store", "s"]).is(0).out;
    assert!(snapshots.contains("HSET other f v"), "{snapshots}");
    assert!(!snapshots.contains("SET k default"), "{snapshots}");
    // A file by itself says the same.
    let file = kept.files("log").remove(0);
    assert_eq!(log("dump", &file, &[]).is(0).out, all);
}

#[test]
fn verify_says_that_all_is_well_also_while_the_member_writes_and_repair_is_refused_then() {
    let kept = prepare();
    let ran = log("verify", &kept.directory, &[]).is(0);
    assert!(ran.out.contains("all is well\n"), "{}", ran.out);
    let kept = Kept::start(YAML);
    let mut client = kept.connect();
    for n in 0..300 {
        ask(&mut client, &format!("SET k{n} v"));
        if n % 100 == 0 {
            let ran = log("verify", &kept.directory, &[]).is(0);
            assert!(ran.out.contains("all is well; a member uses it"), "{}", ran.out);
        }
    }
    let ran = log("repair", &kept.directory, &[]).is(2);
    assert!(ran.errors.contains("another process uses this directory"), "{}", ran.errors);
}

#[test]
fn l19_verify_finds_every_byte_that_changed() {
    let kept = prepare();
    let mut random = Random::seeded();
    for kind in ["log", "snapshots"] {
        let path = kept.files(kind).pop().unwrap();
        let good = std::fs::read(&path).unwrap();
        for _ in 0..40 {
            let mut bytes = good.clone();
            let at = random.below(good.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            std::fs::write(&path, &bytes).unwrap();
            let ran = log("verify", &kept.directory, &["--json"]);
            // Of another version, or of another data set, it cannot be understood.
            assert!(
                matches!(ran.code, Some(1 | 2)),
                "byte {at} of {}: {}",
                path.display(),
                ran.out
            );
            let told: Value = serde_json::from_str(&ran.out).unwrap();
            assert!(told["status"] == "damaged" || told["status"] == "unreadable", "{told}");
        }
        std::fs::write(&path, &good).unwrap();
    }
    log("verify", &kept.directory, &[]).is(0);
    let dataset = kept.directory.join("durable/DATASET");
    std::fs::write(&dataset, "something else").unwrap();
    let ran = log("verify", &kept.directory, &[]).is(2);
    assert!(ran.errors.contains("DATASET: it is no file of HyperCache"), "{}", ran.errors);
}

#[test]
fn what_is_missing_is_told_and_damage_is_printed_where_it_is() {
    let kept = prepare();
    let segment = kept.files("log").pop().unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let good = std::fs::read(&segment).unwrap();
    let offsets: Vec<u64> = log("dump", &segment, &["--json"])
        .is(0)
        .json_lines()
        .iter()
        .map(|line| line["offset"].as_u64().unwrap())
        .collect();
    // The payload of a frame in the middle.
    let (at, next) = (offsets[50], offsets[51]);
    let mut bytes = good.clone();
    bytes[at as usize + 60] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let dump = log("dump", &segment, &[]).is(1).out;
    let told = format!("# damaged: {name}: bytes {at} to {next}: the frame's checksum is wrong");
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!((lines.len(), lines[50]), (170, told.as_str()), "{dump}");
    // A frame that is gone without a trace but its sequence.
    let gone = [&good[..at as usize], &good[next as usize..]].concat();
    std::fs::write(&segment, gone).unwrap();
    log("verify", &kept.directory, &[]).is(1);
    std::fs::remove_file(&segment).unwrap();
    std::fs::write(&segment, &good).unwrap();
    let other = kept.directory.join("durable/log/log-00000000000000000009.hclg");
    std::fs::rename(&segment, &other).unwrap();
    let ran = log("verify", &kept.directory, &[]).is(1).out;
    assert!(ran.contains("it is missing, and all up to log-00000000000000000008"), "{ran}");
}

/// Damages a file at random.
fn damage(path: &Path, random: &mut Random) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let len = bytes.len() as u64;
    if len == 0 {
        return "nothing".into();
    }
    let at = random.below(len) as usize;
    let end = (at + 1 + random.below(600) as usize).min(len as usize);
    let how = match random.below(3) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at} of {len}")
        }
        1 => {
            bytes[at..end].fill(0);
            format!("zero from {at} to {end} of {len}")
        }
        _ => {
            bytes[at] ^= 1 << random.below(8);
            format!("a bit of byte {at} of {len}")
        }
    };
    std::fs::write(path, bytes).unwrap();
    format!("{}: {how}", path.file_name().unwrap().display())
}

/// What can be read as of now; `None` if that is refused.
fn exported(directory: &Path) -> Option<BTreeSet<String>> {
    let ran = log("export", directory, &["--format", "commands"]);
    (ran.code != Some(2)).then(|| ran.out.lines().map(str::to_owned).collect())
}

/// The sequences of all records that can be read.
fn sequences(directory: &Path) -> BTreeSet<u64> {
    let dump = log("dump", directory, &["--json"]);
    dump.json_lines().iter().filter_map(|line| line["sequence"].as_u64()).collect()
}

#[test]
fn s6_after_a_repair_nothing_is_damaged_no_good_frame_is_gone_and_the_member_starts() {
    let whole = prepare();
    let mut random = Random::seeded();
    let rounds = std::env::var("HYPERCACHE_REPAIR_ROUNDS").ok().and_then(|n| n.parse().ok());
    for round in 0..rounds.unwrap_or(20) {
        let directory = tempfile::tempdir().unwrap();
        copy(&whole.directory, directory.path());
        let files = [whole.files("log"), whole.files("snapshots")].concat();
        let done: Vec<String> = (0..1 + random.below(3))
            .map(|_| {
                let file = &files[random.below(files.len() as u64) as usize];
                let file = file.strip_prefix(&whole.directory).unwrap();
                damage(&directory.path().join(file), &mut random)
            })
            .collect();
        let what = done.join(", ");
        let before = sequences(directory.path());
        let data = exported(directory.path());
        let verified = log("verify", directory.path(), &[]);
        if verified.code == Some(2) {
            // Nothing says any more that the file is one of ours: repair leaves it as it is.
            log("repair", directory.path(), &[]).is(2);
            continue;
        }
        let dry = log("repair", directory.path(), &["--dry-run"]);
        assert_eq!(log("verify", directory.path(), &[]).out, verified.out, "{what}: it was dry");
        let ran = log("repair", directory.path(), &[]).is(0);
        let clean = log("verify", directory.path(), &[]);
        assert_eq!(clean.code, Some(0), "{what}:\n{}\n{}\n{}", dry.out, ran.out, clean.out);
        assert_eq!(sequences(directory.path()), before, "{what}: {}", ran.out);
        let after = exported(directory.path()).unwrap();
        let gone: Vec<_> = data.iter().flatten().filter(|line| !after.contains(*line)).collect();
        assert!(gone.is_empty(), "{what}: {gone:?} are gone:\n{}\n{}", verified.out, ran.out);
        if round % 5 > 0 {
            continue;
        }
        let kept = Kept::start_in(directory.path(), YAML);
        let log = kept.member.log();
        assert!(!log.contains("data on the disk is damaged"), "{what}: {log}");
    }
}

#[test]
fn a_damaged_snapshot_that_reaches_beyond_the_logs_end_stays_wherever_the_log_was_cut() {
    const SEGMENT_HEADER_BYTES: u64 = 64;
    let whole = prepare();
    // At a frame's end nothing tells that more was there; one byte on it is torn.
    for cut in [SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 1] {
        let directory = tempfile::tempdir().unwrap();
        copy(&whole.directory, directory.path());
        let here =
            |file: &PathBuf| directory.path().join(file.strip_prefix(&whole.directory).unwrap());
        let segment = here(whole.files("log").iter().max().unwrap());
        std::fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(cut).unwrap();
        let files = whole.files("snapshots").into_iter();
        let newest = files.filter(|file| file.to_string_lossy().contains("-00001-")).max();
        let newest = here(&newest.unwrap());
        let mut bytes = std::fs::read(&newest).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&newest, bytes).unwrap();
        let data = exported(directory.path()).unwrap();
        assert!(data.contains("SET k119 v119-xxxxxxxxxxxxxxxxxxx"), "{data:?}");
        let ran = log("repair", directory.path(), &[]).is(0);
        let after = exported(directory.path()).unwrap();
        let gone: Vec<_> = data.difference(&after).collect();
        assert!(gone.is_empty(), "cut at {cut}: {gone:?} are gone: {}", ran.out);
        log("verify", directory.path(), &[]).is(0);
    }
}

#[test]
fn a_log_that_is_truncated_is_what_it_was_then_and_gives_no_sequence_twice() {
    let mut kept = Kept::start(YAML);
    let mut client = kept.connect();
    for line in ["SET k 1", "SET k 2", "MULTI", "SET {k}a 3", "SET {k}b 3", "EXEC", "SET k 4"] {
        ask(&mut client, line);
    }
    kept.member.kill();
    let all = sequences(&kept.directory);
    let inside = all.iter().nth(2).unwrap().to_string();
    let dry = log("repair", &kept.directory, &["--dry-run", "--truncate-after", &inside]).is(1);
    assert!(dry.out.contains("a batch that began before it"), "{}", dry.out);
    assert_eq!(sequences(&kept.directory), all);
    log("repair", &kept.directory, &["--truncate-after", &inside]).is(0);
    assert_eq!(sequences(&kept.directory), all.iter().copied().take(2).collect());
    log("verify", &kept.directory, &[]).is(0);
    kept.again();
    let mut client = kept.connect();
    assert_eq!(ask(&mut client, "GET k"), b"$1\r\n2\r\n");
    assert_eq!(ask(&mut client, "EXISTS {k}a"), b":0\r\n");
    ask(&mut client, "SET k 5");
    let after = sequences(&kept.directory);
    assert!(after.last() > all.last(), "{after:?} {all:?}");
    // Snapshots before are gone: it cannot be made any more.
    for _ in 0..3 {
        ask(&mut client, "SET k 6");
        ask(&mut client, "SAVE");
    }
    kept.member.kill();
    let ran = log("repair", &kept.directory, &["--truncate-after", &inside]).is(2);
    assert!(ran.errors.contains("cannot be made any more"), "{}", ran.errors);
    log("verify", &kept.directory, &[]).is(0);
}
