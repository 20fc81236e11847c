//! What is on the disk after a crash and after a clean stop, with real processes. What was acknowledged
//! is recorded here, outside the server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::{Member, Raw, free_port, wait_for};

/// A member whose data directory outlives its process.
struct Kept {
    member: Member,
    yaml: String,
    ports: [u16; 3],
    directory: tempfile::TempDir,
}

fn launch(yaml: &str, ports: [u16; 3], directory: &Path) -> Member {
    let flags = ["--data-dir", directory.to_str().unwrap()];
    Member::launch(yaml, &[], ports[0], ports[1], ports[2], &flags)
}

impl Kept {
    fn start(yaml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let member = launch(yaml, ports, directory.path());
        member.wait_ready();
        Self { member, yaml: yaml.to_owned(), ports, directory }
    }

    /// Starts it again on the same directory.
    fn again(&mut self) {
        self.member = launch(&self.yaml, self.ports, self.directory.path());
        self.member.wait_ready();
    }

    fn crash(&mut self) {
        self.member.kill();
        self.again();
    }

    fn stop(&mut self) {
        assert_eq!(self.member.terminate(), Some(0), "{}", self.member.log());
        self.again();
    }
}

fn store(mode: &str, fsync: &str) -> String {
    let persistence = match fsync {
        "" => format!("{{mode: {mode}}}"),
        fsync => format!("{{mode: {mode}, fsync: {fsync}}}"),
    };
    format!("stores:\n  s: {{number: 1, persistence: {persistence}}}\n")
}

fn connect(member: &Member) -> Raw {
    let mut client = member.raw();
    assert_eq!(client.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
    client
}

fn bulk(value: &str) -> Vec<u8> {
    format!("${}\r\n{value}\r\n", value.len()).into_bytes()
}

/// Writers, each over keys of its own, until the member is killed: what each had acknowledged last of
/// each key, and what it had sent.
fn write_until_killed(
    kept: &mut Kept,
    round: u64,
    pipeline: u64,
    after: Duration,
) -> Vec<(u64, u64)> {
    let stop = AtomicBool::new(false);
    let port = kept.member.resp_port;
    let ended = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|writer| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut client = Raw::connect(port);
                    client.ask(&[b"SELECT", b"1"]);
                    let (mut acknowledged, mut sent) = (0u64, 0u64);
                    while !stop.load(Relaxed) {
                        let mut bytes = Vec::new();
                        for _ in 0..pipeline {
                            sent += 1;
                            let key = format!("r{round}:w{writer}:{sent}");
                            bytes.extend(Raw::encode(&[b"SET", key.as_bytes(), key.as_bytes()]));
                        }
                        if !client.try_send(&bytes) {
                            break;
                        }
                        for _ in 0..pipeline {
                            match client.try_reply() {
                                Some(reply) if reply == b"+OK\r\n" => acknowledged += 1,
                                Some(reply) => panic!("{}", reply.escape_ascii()),
                                None => return (acknowledged, sent),
                            }
                        }
                    }
                    (acknowledged, sent)
                })
            })
            .collect();
        std::thread::park_timeout(after);
        kept.member.kill();
        stop.store(true, Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    kept.again();
    ended
}

fn crash_rounds() -> u64 {
    std::env::var("HYPERCACHE_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

#[test]
fn l13_with_fsync_always_a_kill_loses_no_acknowledged_write_also_of_pipelines_of_50() {
    let mut kept = Kept::start(&store("aof", "always"));
    for (round, pipeline) in (0..crash_rounds()).zip([1, 50].into_iter().cycle()) {
        let after = Duration::from_millis(150 + round * 37 % 200);
        let ended = write_until_killed(&mut kept, round, pipeline, after);
        let mut client = connect(&kept.member);
        assert!(ended.iter().map(|(acknowledged, _)| acknowledged).sum::<u64>() > 0);
        for (writer, (acknowledged, sent)) in ended.into_iter().enumerate() {
            for n in 1..=sent {
                let key = format!("r{round}:w{writer}:{n}");
                let got = client.ask(&[b"GET", key.as_bytes()]);
                let is_there = got == bulk(&key);
                assert!(
                    is_there || n > acknowledged,
                    "{key} of {acknowledged}: acknowledged, gone"
                );
                assert!(is_there || got == b"$-1\r\n", "{key}: {}", got.escape_ascii());
            }
        }
    }
}

#[test]
fn with_fsync_periodic_a_killed_process_loses_no_acknowledged_write_that_was_gathered() {
    let mut kept = Kept::start(&store("aof+snapshot", "periodic"));
    let mut client = connect(&kept.member);
    for n in 0..1000 {
        let text = format!("k{n}");
        assert_eq!(client.ask(&[b"SET", text.as_bytes(), text.as_bytes()]), b"+OK\r\n");
    }
    for n in (0..1000).step_by(2) {
        assert_eq!(client.ask(&[b"DEL", format!("k{n}").as_bytes()]), b":1\r\n");
    }
    // The system keeps what was written when only the process dies; it has to be written by then.
    kept.member.wait_for("an fsync by the interval", || {
        let mut client = kept.member.raw();
        client.ask(&[b"PING"]);
        let log = kept.directory.path().join("durable/log");
        let bytes: u64 =
            std::fs::read_dir(log).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
        (bytes > 1500 * 20).then_some(())
    });
    std::thread::park_timeout(Duration::from_millis(50));
    kept.crash();
    let mut client = connect(&kept.member);
    for n in 0..1000 {
        let text = format!("k{n}");
        let wanted = if n % 2 == 0 { b"$-1\r\n".to_vec() } else { bulk(&text) };
        assert_eq!(client.ask(&[b"GET", text.as_bytes()]), wanted, "{text}");
    }
}

#[test]
fn every_mode_and_fsync_keeps_everything_over_a_clean_stop() {
    for (mode, fsync) in [
        ("snapshot", ""),
        ("aof", "never"),
        ("aof", "periodic"),
        ("aof", "always"),
        ("aof+snapshot", "periodic"),
    ] {
        let mut kept = Kept::start(&store(mode, fsync));
        let odd: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let mut client = connect(&kept.member);
        for command in [
            &[&b"SET"[..], b"odd\r\n\0", &odd][..],
            &[b"SET", b"empty", b""],
            &[b"SET", b"gone", b"x"],
            &[b"DEL", b"gone"],
            &[b"HSET", b"h", b"f", b"1", b"g", b"2"],
            &[b"RPUSH", b"l", b"a", b"b", b"c"],
            &[b"SADD", b"set", b"m", b"n"],
            &[b"ZADD", b"z", b"1.5", b"m"],
            &[b"SET", b"ttl", b"v", b"PX", b"1000000"],
            &[b"INCR", b"n"],
        ] {
            let reply = client.ask(command);
            assert_ne!(reply[0], b'-', "{}", reply.escape_ascii());
        }
        for round in 0..2 {
            kept.stop();
            let mut client = connect(&kept.member);
            let what = format!("{mode} {fsync}, stop {round}; {}", kept.member.log());
            assert_eq!(client.ask(&[b"DBSIZE"]), b":8\r\n", "{what}");
            let got = client.ask(&[b"GET", b"odd\r\n\0"]);
            assert!(got.ends_with(b"\r\n") && got[8..got.len() - 2] == odd, "{what}");
            assert_eq!(client.ask(&[b"GET", b"empty"]), b"$0\r\n\r\n", "{what}");
            assert_eq!(client.ask(&[b"EXISTS", b"gone"]), b":0\r\n", "{what}");
            assert_eq!(client.ask(&[b"HGET", b"h", b"g"]), bulk("2"), "{what}");
            let list = b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
            assert_eq!(client.ask(&[b"LRANGE", b"l", b"0", b"-1"]), list, "{what}");
            assert_eq!(client.ask(&[b"ZSCORE", b"z", b"m"]), bulk("1.5"), "{what}");
            assert_eq!(client.ask(&[b"GET", b"n"]), bulk("1"), "{what}");
            let ttl = client.ask(&[b"PTTL", b"ttl"]);
            let ttl: u64 = std::str::from_utf8(&ttl[1..ttl.len() - 2]).unwrap().parse().unwrap();
            assert!((1..=1_000_000).contains(&ttl), "{what}: {ttl}");
        }
    }
}

#[test]
fn l15_what_was_flushed_or_had_ended_does_not_come_back() {
    let mut kept = Kept::start(&store("aof", "always"));
    let mut client = connect(&kept.member);
    client.ask(&[b"SET", b"a", b"1"]);
    client.ask(&[b"SET", b"b", b"1", b"PX", b"1"]);
    assert_eq!(client.ask(&[b"FLUSHDB"]), b"+OK\r\n");
    client.ask(&[b"SET", b"c", b"1"]);
    client.ask(&[b"SET", b"d", b"1", b"PX", b"30"]);
    wait_for("the end of d", || (client.ask(&[b"EXISTS", b"d"]) == b":0\r\n").then_some(()));
    kept.crash();
    let mut client = connect(&kept.member);
    let there = [&b"a"[..], b"b", b"c", b"d"].map(|key| client.ask(&[b"EXISTS", key]));
    assert_eq!(there, [&b":0\r\n"[..], b":0\r\n", b":1\r\n", b":0\r\n"]);
}

#[test]
fn a_transaction_is_there_whole_or_not_at_all_after_a_kill() {
    let mut kept = Kept::start(&store("aof", "always"));
    for round in 0..crash_rounds().min(4) {
        let mut client = connect(&kept.member);
        let count = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1u64.. {
                    let text = n.to_string();
                    let mut bytes = Raw::encode(&[b"MULTI"]);
                    for key in [&b"{t}a"[..], b"{t}b", b"{t}c"] {
                        bytes.extend(Raw::encode(&[b"SET", key, text.as_bytes()]));
                    }
                    bytes.extend(Raw::encode(&[b"EXEC"]));
                    if !client.try_send(&bytes) || (0..5).any(|_| client.try_reply().is_none()) {
                        return;
                    }
                    count.store(n, Relaxed);
                }
            });
            wait_for("a transaction", || (count.load(Relaxed) > 0).then_some(()));
            std::thread::park_timeout(Duration::from_millis(100 + 30 * round));
            kept.member.kill();
            writer.join().unwrap();
        });
        let acknowledged = count.load(Relaxed);
        kept.again();
        let mut client = connect(&kept.member);
        let values = [&b"{t}a"[..], b"{t}b", b"{t}c"].map(|key| client.ask(&[b"GET", key]));
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        let now = [acknowledged, acknowledged + 1].map(|n| bulk(&n.to_string()));
        assert!(now.contains(&values[0]), "{acknowledged} acknowledged, {values:?}");
    }
}

#[test]
fn l14_fsync_periodic_syncs_on_its_timer_without_traffic() {
    let yaml = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: periodic}}\n";
    let mut kept = Kept::start(yaml);
    // From its second start on no snapshot is taken that would force the log to the disk as well.
    kept.stop();
    let fsyncs = || -> u64 {
        let stats = kept.member.http("GET /api/admin/persistence-stats");
        let at = stats.find("\"fsyncs\":").unwrap_or_else(|| panic!("{stats}")) + 9;
        stats[at..].split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let before = fsyncs();
    assert_eq!(connect(&kept.member).ask(&[b"SET", b"k", b"v"]), b"+OK\r\n");
    // One is for the new segment, before anything is in it.
    kept.member.wait_for("an fsync by the timer", || (fsyncs() > before + 1).then_some(()));
}

#[test]
fn s6_a_directory_that_cannot_be_understood_stops_the_member_with_the_reason() {
    let mut kept = Kept::start(&store("aof", "always"));
    connect(&kept.member).ask(&[b"SET", b"k", b"v"]);
    kept.member.kill();
    let path = kept.directory.path().join("durable/DATASET");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"something else").unwrap();
    let mut member = launch(&kept.yaml, kept.ports, kept.directory.path());
    assert_ne!(member.wait_end(), Some(0));
    assert!(member.log().contains("DATASET"), "{}", member.log());
    std::fs::write(&path, good).unwrap();
    kept.again();
    assert_eq!(connect(&kept.member).ask(&[b"GET", b"k"]), bulk("v"));
}

#[test]
fn a_torn_tail_is_cut_and_saved_aside_and_all_before_it_is_there() {
    let mut kept = Kept::start(&store("aof", "always"));
    let mut client = connect(&kept.member);
    for n in 0..100 {
        client.ask(&[b"SET", format!("k{n}").as_bytes(), b"v"]);
    }
    kept.member.kill();
    let log = kept.directory.path().join("durable/log");
    let segment = std::fs::read_dir(&log).unwrap().map(|f| f.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"HCF\x01 and something that was being written");
    std::fs::write(&segment, bytes).unwrap();
    kept.again();
    assert_eq!(connect(&kept.member).ask(&[b"DBSIZE"]), b":100\r\n");
    let aside = format!("{}.torn-{whole}", segment.display());
    assert!(Path::new(&aside).exists(), "{}", kept.member.log());
    assert!(kept.member.log().contains("cut off at byte"), "{}", kept.member.log());
}

#[test]
fn a_store_that_is_to_be_kept_without_a_directory_is_refused() {
    let yaml = store("aof", "always");
    let mut member = Member::launch(&yaml, &[], free_port(), free_port(), free_port(), &[]);
    assert_ne!(member.wait_end(), Some(0));
    assert!(member.log().contains("data_dir"), "{}", member.log());
}
