//! A member that is killed at any moment, under writers of all kinds, in every mode: what they had
//! acknowledged is noted here, and compared with what is there after the start.
//!
//! `HYPERCACHE_CRASH_ROUNDS` is how often each mode is killed, `HYPERCACHE_SEED` repeats a run's choices.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::Raw;
use common::kept::{Kept, Random};

/// What a key holds, or two keys that change together.
#[derive(Debug, Clone, PartialEq)]
enum Held {
    /// A string, and whether it ends some time.
    Text(Option<(String, bool)>),
    Hash(BTreeMap<String, String>),
    List(Vec<String>),
    Pair(Option<String>, Option<String>),
}

/// One key, or two, and all that they ever were.
#[derive(Debug)]
struct Unit {
    store: u8,
    name: String,
    /// Each with the time at which it was acknowledged.
    history: Vec<(Held, Option<Instant>)>,
}

fn words(reply: &[u8]) -> Vec<String> {
    // Bulk strings without line breaks only.
    let text = String::from_utf8(reply.to_vec()).unwrap();
    assert!(text.starts_with('*'), "{text}");
    text.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect()
}

fn word(reply: &[u8]) -> Option<String> {
    let text = String::from_utf8(reply.to_vec()).unwrap();
    assert!(text.starts_with('$'), "{text}");
    (text != "$-1\r\n").then(|| text.split("\r\n").nth(1).unwrap().to_owned())
}

fn frame(words: &[&str]) -> Vec<u8> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Raw::encode(&words)
}

impl Unit {
    fn new(store: u8, name: String, first: Held) -> Self {
        Self { store, name, history: vec![(first, None)] }
    }

    fn now(&self) -> &Held {
        &self.history.last().unwrap().0
    }

    /// A change: its commands, how many replies they have, and what is held then.
    fn change(&self, random: &mut Random, n: u64) -> (Vec<u8>, usize, Held) {
        let (name, value) = (self.name.as_str(), format!("v{n}"));
        match self.now() {
            Held::Text(now) => match (random.below(9), now) {
                (0, _) => (frame(&["DEL", name]), 1, Held::Text(None)),
                (1, Some((text, _))) => {
                    let held = Held::Text(Some((text.clone(), true)));
                    (frame(&["EXPIRE", name, "10000"]), 1, held)
                }
                (2, Some((text, _))) => {
                    (frame(&["PERSIST", name]), 1, Held::Text(Some((text.clone(), false))))
                }
                (3, _) => {
                    let held = Held::Text(Some((value.clone(), true)));
                    (frame(&["SET", name, &value, "EX", "10000"]), 1, held)
                }
                (4, Some((text, ends))) => {
                    let held = Held::Text(Some((format!("{text}+"), *ends)));
                    (frame(&["APPEND", name, "+"]), 1, held)
                }
                (5 | 6, now) if now.as_ref().is_none_or(|(t, _)| t.parse::<u64>().is_ok()) => {
                    let (before, ends) =
                        now.as_ref().map_or((0, false), |(t, ends)| (t.parse().unwrap(), *ends));
                    let after: u64 = before + n;
                    let held = Held::Text(Some((after.to_string(), ends)));
                    (frame(&["INCRBY", name, &n.to_string()]), 1, held)
                }
                (7, _) => {
                    let held = Held::Text(Some((n.to_string(), false)));
                    (frame(&["SET", name, &n.to_string()]), 1, held)
                }
                _ => (frame(&["SET", name, &value]), 1, Held::Text(Some((value, false)))),
            },
            Held::Hash(now) => {
                let (mut now, field) = (now.clone(), format!("f{}", random.below(6)));
                match random.below(8) {
                    0 => (frame(&["DEL", name]), 1, Held::Hash(BTreeMap::new())),
                    1 | 2 => {
                        now.remove(&field);
                        (frame(&["HDEL", name, &field]), 1, Held::Hash(now))
                    }
                    _ => {
                        let bytes = frame(&["HSET", name, &field, &value]);
                        now.insert(field, value);
                        (bytes, 1, Held::Hash(now))
                    }
                }
            }
            Held::List(now) => {
                let mut now = now.clone();
                let choice = random.below(10);
                if choice == 0 || now.len() > 40 {
                    return (frame(&["DEL", name]), 1, Held::List(Vec::new()));
                }
                let word = match choice {
                    1..=3 => {
                        now.insert(0, value.clone());
                        "LPUSH"
                    }
                    4 | 5 if !now.is_empty() => {
                        now.remove(0);
                        return (frame(&["LPOP", name]), 1, Held::List(now));
                    }
                    6 if !now.is_empty() => {
                        now.pop();
                        return (frame(&["BRPOP", name, "1"]), 1, Held::List(now));
                    }
                    _ => {
                        now.push(value.clone());
                        "RPUSH"
                    }
                };
                (frame(&[word, name, &value]), 1, Held::List(now))
            }
            Held::Pair(..) => {
                let [a, b] = self.keys();
                let script = "redis.call('SET', KEYS[1], ARGV[1]) \
                              redis.call('SET', KEYS[2], ARGV[1])";
                match random.below(6) {
                    0..=2 => {
                        let parts =
                            [&["MULTI"][..], &["SET", &a, &value], &["SET", &b, &value], &["EXEC"]];
                        let bytes = parts.iter().flat_map(|part| frame(part)).collect();
                        (bytes, 4, Held::Pair(Some(value.clone()), Some(value)))
                    }
                    3 => {
                        let parts = [&["MULTI"][..], &["DEL", &a], &["DEL", &b], &["EXEC"]];
                        let bytes = parts.iter().flat_map(|part| frame(part)).collect();
                        (bytes, 4, Held::Pair(None, None))
                    }
                    _ => {
                        let bytes = frame(&["EVAL", script, "2", &a, &b, &value]);
                        (bytes, 1, Held::Pair(Some(value.clone()), Some(value)))
                    }
                }
            }
        }
    }

    /// The keys of a pair; `{s…}` are in one slot, others are not.
    fn keys(&self) -> [String; 2] {
        [format!("{}:a", self.name), format!("{}:b", self.name)]
    }

    fn read(&self, client: &mut Raw) -> Held {
        let number = self.store.to_string();
        assert_eq!(client.ask(&[b"SELECT", number.as_bytes()]), b"+OK\r\n");
        let name = self.name.as_bytes();
        match self.now() {
            Held::Text(_) => Held::Text(word(&client.ask(&[b"GET", name])).map(|text| {
                let ttl = client.ask(&[b"PTTL", name]);
                (text, ttl != b":-1\r\n")
            })),
            Held::Hash(_) => {
                let words = words(&client.ask(&[b"HGETALL", name]));
                Held::Hash(words.chunks_exact(2).map(|p| (p[0].clone(), p[1].clone())).collect())
            }
            Held::List(_) => Held::List(words(&client.ask(&[b"LRANGE", name, b"0", b"-1"]))),
            Held::Pair(..) => {
                let [a, b] = self.keys().map(|key| word(&client.ask(&[b"GET", key.as_bytes()])));
                Held::Pair(a, b)
            }
        }
    }

    /// Looks whether what is there now is something that it was since its last state that was
    /// acknowledged before `since`, and goes on from there.
    fn check(&mut self, client: &mut Raw, since: Instant, what: &str) {
        let acknowledged =
            self.history.iter().rposition(|(_, at)| at.is_some_and(|at| at <= since));
        let from = acknowledged.unwrap_or(0);
        let found = self.read(client);
        let may_be = &self.history[from..];
        assert!(
            may_be.iter().any(|(held, _)| *held == found),
            "{what}: {} of store {} is {found:?}, and may be {:?}; acknowledged: {}; before: {:?}",
            self.name,
            self.store,
            may_be.iter().map(|(held, _)| held).collect::<Vec<_>>(),
            may_be.iter().filter(|(_, at)| at.is_some()).count(),
            self.history[from.saturating_sub(3)..from].iter().map(|h| &h.0).collect::<Vec<_>>(),
        );
        self.history = vec![(found, None)];
    }
}

/// One connection, and the keys that only it changes.
struct Worker {
    units: Vec<Unit>,
    random: Random,
    /// It empties its store, 2, now and then.
    flushes: bool,
    next: u64,
}

impl Worker {
    fn new(number: u64, random: Random) -> Self {
        let flushes = number == 0;
        let store = if flushes { 2 } else { 1 };
        let unit =
            |kind: &str, n: u64, held: Held| Unit::new(store, format!("{kind}{number}:{n}"), held);
        let mut units: Vec<Unit> = (0..6).map(|n| unit("text", n, Held::Text(None))).collect();
        if !flushes {
            units.extend((0..3).map(|n| unit("hash", n, Held::Hash(BTreeMap::new()))));
            units.extend((0..3).map(|n| unit("list", n, Held::List(Vec::new()))));
            units.extend((0..2).map(|n| unit("pair", n, Held::Pair(None, None))));
            let tagged = Unit::new(1, format!("{{tag{number}}}"), Held::Pair(None, None));
            units.push(tagged);
        }
        Self { units, random, flushes, next: 0 }
    }

    /// Changes keys until the member is gone.
    fn run(&mut self, mut client: Raw) {
        let store = self.units[0].store.to_string();
        if !client.try_send(&frame(&["SELECT", &store])) || client.try_reply().is_none() {
            return;
        }
        loop {
            // The units' states that were sent, with the replies that acknowledge each.
            let mut sent: Vec<(Vec<(usize, usize)>, usize)> = Vec::new();
            let mut bytes = Vec::new();
            let pipeline = [1, 1, 3, 30][self.random.below(4) as usize];
            for _ in 0..pipeline {
                self.next += 1;
                if self.flushes && self.random.below(20) == 0 {
                    bytes.extend(frame(&["FLUSHDB"]));
                    let units = self.units.iter_mut().enumerate();
                    let places = units.map(|(index, unit)| {
                        unit.history.push((Held::Text(None), None));
                        (index, unit.history.len() - 1)
                    });
                    sent.push((places.collect(), 1));
                    continue;
                }
                let index = self.random.below(self.units.len() as u64) as usize;
                let unit = &mut self.units[index];
                let (frames, replies, held) = unit.change(&mut self.random, self.next);
                bytes.extend(frames);
                unit.history.push((held, None));
                sent.push((vec![(index, unit.history.len() - 1)], replies));
            }
            if !client.try_send(&bytes) {
                return;
            }
            for (places, replies) in sent {
                for _ in 0..replies {
                    match client.try_reply() {
                        Some(reply) => {
                            assert_ne!(reply[0], b'-', "{}", reply.escape_ascii());
                        }
                        None => return,
                    }
                }
                let now = Instant::now();
                for (index, place) in places {
                    self.units[index].history[place].1 = Some(now);
                }
            }
        }
    }
}

/// A list that one connection appends to and another, blocked most of the time, takes from.
#[derive(Default)]
struct Queue {
    pushed: Vec<u64>,
    /// The last that was sent.
    sent: u64,
    popped: Vec<u64>,
}

const QUEUE: &str = "queue";

impl Queue {
    fn push(mut client: Raw, mut sent: u64) -> (Vec<u64>, u64) {
        let mut pushed = Vec::new();
        loop {
            sent += 1;
            if !client.try_send(&frame(&["RPUSH", QUEUE, &sent.to_string()])) {
                return (pushed, sent);
            }
            match client.try_reply() {
                Some(reply) => assert_eq!(reply[0], b':', "{}", reply.escape_ascii()),
                None => return (pushed, sent),
            }
            pushed.push(sent);
        }
    }

    fn pop(mut client: Raw) -> Vec<u64> {
        let mut popped = Vec::new();
        while client.try_send(&frame(&["BLPOP", QUEUE, "5"])) {
            match client.try_reply() {
                Some(reply) if reply.starts_with(b"*2") => {
                    popped.push(words(&reply)[1].parse().unwrap());
                }
                Some(reply) => panic!("{}", reply.escape_ascii()),
                None => return popped,
            }
        }
        popped
    }

    /// What was taken is not there, and what was appended is, but for one that was on its way to the
    /// taker.
    fn check(&mut self, client: &mut Raw, strict: bool, what: &str) {
        client.ask(&[b"SELECT", b"1"]);
        let reply = client.ask(&[b"LRANGE", QUEUE.as_bytes(), b"0", b"-1"]);
        let there: Vec<u64> = words(&reply).iter().map(|word| word.parse().unwrap()).collect();
        assert!(there.is_sorted() && there.iter().all(|n| *n <= self.sent), "{what}: {there:?}");
        if strict {
            let back = there.iter().find(|n| self.popped.contains(n));
            assert_eq!(back, None, "{what}: it was taken");
            let gone =
                self.pushed.iter().filter(|n| !there.contains(n) && !self.popped.contains(n));
            let gone: Vec<_> = gone.collect();
            assert!(gone.len() <= 1, "{what}: {gone:?} are gone");
        }
        client.ask(&[b"DEL", QUEUE.as_bytes()]);
        self.pushed.clear();
        self.popped.clear();
    }
}

fn rounds(usual: u64) -> u64 {
    std::env::var("HYPERCACHE_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Kills a member again and again; what it acknowledged more than `may_lose` before that has to be
/// there.
fn crash(persistence: &str, usual: u64, may_lose: Option<Duration>) {
    let yaml = format!(
        "stores:\n  s: {{number: 1, persistence: {persistence}}}\n  \
         t: {{number: 2, persistence: {persistence}}}\n"
    );
    let mut random = Random::seeded();
    let mut kept = Kept::start(&yaml);
    let mut workers: Vec<Worker> = (0..4).map(|n| Worker::new(n, random.fork())).collect();
    let mut queue = Queue::default();
    for round in 0..rounds(usual) {
        let longest = if may_lose.is_some() { 2_000 } else { 500 };
        let after = Duration::from_millis(20 + random.below(longest));
        // All are connected before it can be killed.
        let clients: Vec<Raw> = workers.iter().map(|_| kept.member.raw()).collect();
        let (pusher, popper) = (kept.connect(), kept.connect());
        let sent = queue.sent;
        let killed = std::thread::scope(|scope| {
            for (worker, client) in workers.iter_mut().zip(clients) {
                scope.spawn(move || worker.run(client));
            }
            let pushes = scope.spawn(move || Queue::push(pusher, sent));
            let pops = scope.spawn(move || Queue::pop(popper));
            std::thread::park_timeout(after);
            let killed = Instant::now();
            kept.member.kill();
            (queue.pushed, queue.sent) = pushes.join().unwrap();
            queue.popped = pops.join().unwrap();
            killed
        });
        kept.again();
        let what = format!("{persistence}, round {round}, after {after:?}");
        let since = may_lose.map_or_else(Instant::now, |may_lose| killed - may_lose);
        let mut client = kept.connect();
        let acknowledged: usize = workers
            .iter()
            .flat_map(|worker| &worker.units)
            .map(|unit| unit.history.iter().filter(|(_, at)| at.is_some()).count())
            .sum();
        eprintln!("{what}: {acknowledged} acknowledged, {} taken", queue.popped.len());
        for worker in &mut workers {
            worker.units.iter_mut().for_each(|unit| unit.check(&mut client, since, &what));
        }
        queue.check(&mut client, may_lose.is_none(), &what);
        let log = kept.member.log();
        assert!(!log.contains("panicked") && !log.contains("broke"), "{what}: {log}");
        assert!(!log.contains("is lost"), "{what}: {log}");
    }
}

/// Asks for one snapshot after the other until the member is gone; when the last that was done began.
fn save(mut client: Raw) -> Option<Instant> {
    let mut done = None;
    loop {
        let begun = Instant::now();
        if !client.try_send(&frame(&["SAVE"])) {
            return done;
        }
        match client.try_reply() {
            Some(reply) => assert_eq!(reply, b"+OK\r\n", "{}", reply.escape_ascii()),
            None => return done,
        }
        done = Some(begun);
    }
}

/// Kills a member whose stores have snapshots only; what was acknowledged before the last that was done
/// began has to be there.
fn crash_between_snapshots(usual: u64) {
    let yaml = "stores:\n  s: {number: 1, persistence: {mode: snapshot}}\n  \
                t: {number: 2, persistence: {mode: snapshot}}\n";
    let mut random = Random::seeded();
    let mut kept = Kept::start(yaml);
    let mut workers: Vec<Worker> = (0..4).map(|n| Worker::new(n, random.fork())).collect();
    // Two slots are taken one after the other: only what is of one slot is whole.
    let is_whole =
        |unit: &Unit| !matches!(unit.now(), Held::Pair(..)) || unit.name.starts_with('{');
    workers.iter_mut().for_each(|worker| worker.units.retain(is_whole));
    for round in 0..rounds(usual) {
        let (began, after) = (Instant::now(), Duration::from_millis(20 + random.below(500)));
        let clients: Vec<Raw> = workers.iter().map(|_| kept.member.raw()).collect();
        let saver = kept.member.raw();
        let saved = std::thread::scope(|scope| {
            for (worker, client) in workers.iter_mut().zip(clients) {
                scope.spawn(move || worker.run(client));
            }
            let saved = scope.spawn(move || save(saver));
            std::thread::park_timeout(after);
            kept.member.kill();
            saved.join().unwrap()
        });
        kept.again();
        let what = format!("snapshots only, round {round}, after {after:?}");
        eprintln!("{what}: a snapshot was done: {}", saved.is_some());
        let mut client = kept.connect();
        let saved = saved.unwrap_or(began);
        for worker in &mut workers {
            let units = worker.units.iter_mut();
            units.for_each(|unit| unit.check(&mut client, saved, &what));
        }
        let log = kept.member.log();
        assert!(!log.contains("panicked") && !log.contains("broke"), "{what}: {log}");
    }
}

/// What a killed process may not have written by then: it writes within milliseconds, however busy the
/// machine is within this.
const UNWRITTEN: Duration = Duration::from_millis(1_500);

#[test]
fn l13_aof_always_loses_nothing_that_was_acknowledged_and_nothing_deleted_comes_back() {
    crash("{mode: aof, fsync: always}", 4, None);
}

#[test]
fn l13_aof_and_snapshots_always_loses_nothing_while_segments_go() {
    crash("{mode: aof+snapshot, fsync: always, snapshot_interval: 1s}", 4, None);
}

#[test]
fn l13_compressed_frames_lose_nothing_either() {
    crash("{mode: aof, fsync: always, compression: true, batch_size: 3}", 2, None);
}

#[test]
fn aof_periodic_loses_only_what_was_not_written_yet() {
    crash("{mode: aof, fsync: periodic}", 2, Some(UNWRITTEN));
}

#[test]
fn aof_and_snapshots_periodic_loses_only_what_was_not_written_yet() {
    crash("{mode: aof+snapshot, fsync: periodic, snapshot_interval: 1s}", 2, Some(UNWRITTEN));
}

#[test]
fn aof_never_loses_only_what_was_not_written_yet() {
    crash("{mode: aof, fsync: never}", 2, Some(UNWRITTEN));
}

#[test]
fn snapshots_alone_keep_all_that_was_there_when_the_last_one_began() {
    crash_between_snapshots(4);
}

#[test]
fn snapshot_mode_has_exactly_what_the_last_snapshot_had_after_a_kill() {
    let mut kept = Kept::start("stores:\n  s: {number: 1, persistence: {mode: snapshot}}\n");
    for round in 0..2 {
        let mut client = kept.connect();
        let value = format!("v{round}");
        for n in 0..100 {
            client.ask(&[b"SET", format!("k{n}").as_bytes(), value.as_bytes()]);
        }
        assert_eq!(client.ask(&[b"DEL", b"k0"]), b":1\r\n");
        let saved = client.ask(&[b"SAVE"]);
        if saved.starts_with(b"-ERR unknown command") {
            eprintln!("skipped: there is no SAVE");
            return;
        }
        assert_eq!(saved, b"+OK\r\n");
        for n in 0..50 {
            client.ask(&[b"SET", format!("k{n}").as_bytes(), b"later"]);
        }
        client.ask(&[b"DEL", b"k99"]);
        kept.member.kill();
        kept.again();
        let mut client = kept.connect();
        for n in 0..100 {
            let got = word(&client.ask(&[b"GET", format!("k{n}").as_bytes()]));
            assert_eq!(got, (n > 0).then(|| value.clone()), "k{n}");
        }
    }
}
