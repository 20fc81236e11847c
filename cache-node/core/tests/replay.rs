//! What the log says makes the same stores again: random commands of all families into one keyspace, what
//! they left in its journal into another, and every key of every store compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

#[allow(dead_code, reason = "another test uses the rest")]
mod generate;

use generate::Generator;
use hypercache_core::cluster::slot_of;
use hypercache_core::command::replay::Replayed;
use hypercache_core::command::{Call, NoScripts, Run, Step, lookup};
use hypercache_core::keyspace::{Keyspace, Options, Value, ValueRef, Wait};
use hypercache_core::log::FrameHeader;
use hypercache_core::log::frame::HEADER_BYTES;
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::{Durability, EvictionPolicy, Mode, StoreNumber, StorePolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// `REPLAY_COMMANDS` says another number, `REPLAY_SEED` adds to the seeds.
const COMMANDS: usize = 50_000;
/// After so many the stores are compared.
const COMMANDS_A_LOOK: usize = 400;
const START_MS: u64 = 1_700_000_000_000;
/// Its keys' lifetimes are prolonged by reads, which is not logged.
const SESSIONS: StoreNumber = 3;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn policies() -> Vec<StorePolicy> {
    let policy = |name: &str, number, prefixes: &[&str]| {
        let mut policy = StorePolicy::new(name, number);
        policy.key_prefixes = prefixes.iter().map(|prefix| (*prefix).into()).collect();
        policy.durability = Durability::of(Mode::Aof);
        policy
    };
    let mut small = policy("small", 1, &["list1", "fill:"]);
    small.max_memory_bytes = Some(60_000);
    small.eviction_policy = EvictionPolicy::Lru;
    let mut timed = policy("timed", 2, &["{tag}", "k3"]);
    timed.default_ttl_ms = Some(3_000_000);
    let mut sessions = policy("sessions", SESSIONS, &["k4", "k5"]);
    sessions.eviction_policy = EvictionPolicy::Session;
    sessions.default_ttl_ms = Some(2_000_000);
    let mut unlogged = policy("unlogged", 4, &["a-key"]);
    unlogged.durability = Durability::default();
    vec![policy("default", 0, &[]), small, timed, sessions, unlogged]
}

fn keyspace(seed: u64, policies: &[StorePolicy]) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed + 1 });
    space.set_stores(policies);
    space
}

fn serve(space: &Keyspace, serving: bool) {
    (0..16384).for_each(|slot| space.set_serving(slot, serving));
}

/// Type, bytes and end of a key.
type Content = BTreeMap<(StoreNumber, Vec<u8>), (String, Vec<Vec<u8>>, u64)>;

fn parts(value: ValueRef<'_>) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    if let Some(bytes) = value.as_bytes(&mut itoa::Buffer::new()) {
        return vec![bytes.to_vec()];
    }
    match value.object() {
        Some(Value::List(list)) => list.visit(0, |_, element| {
            parts.push(element.to_vec());
            true
        }),
        Some(Value::Hash(hash)) => {
            hash.visit(|field, value| {
                parts.push([&field.len().to_le_bytes(), field, value].concat());
            });
            parts.sort();
        }
        Some(Value::Set(set)) => {
            set.visit(|member| parts.push(member.to_vec()));
            parts.sort();
        }
        Some(Value::SortedSet(set)) => set.visit(0, usize::MAX, false, |member, score| {
            parts.push([&score.to_bits().to_le_bytes(), member].concat());
            true
        }),
        Some(Value::Cuckoo(filter)) => {
            parts.push(filter.header().to_vec());
            parts.extend(filter.pages().map(|(_, _, cells)| cells.to_vec()));
        }
        _ => panic!("a value of no type"),
    }
    parts
}

/// All keys of the stores that are logged, those whose lifetime is over included.
fn content(space: &Keyspace) -> Content {
    let mut found = Content::new();
    for policy in space.policies().iter().filter(|policy| policy.durability.mode.is_logged()) {
        let mut from = Some(0);
        while let Some(at) = from {
            from = space.visit_keys(policy.number, at, usize::MAX, 0, |entry| {
                let kind = entry.value.type_name().to_owned();
                let what = (kind, parts(entry.value), entry.expires_at_ms);
                found.insert((policy.number, entry.key.to_vec()), what);
            });
        }
    }
    found
}

/// Gives what is in a journal to another keyspace; how many frames that was.
fn replay(from: &Keyspace, to: &Keyspace) -> usize {
    let frames = from.journal().take().frames;
    let count = frames.len();
    for frame in frames {
        let (bytes, header) = frame.finish();
        assert_eq!(FrameHeader::read(&bytes), Ok(header.clone()));
        let raw = header.open(&bytes[HEADER_BYTES..]).unwrap();
        for record in header.records(&raw) {
            let record = record.expect("a record that makes sense");
            let done = to.replay(&record);
            assert_eq!(done, Ok(Replayed::Done), "{}", record.commands.escape_ascii());
        }
    }
    count
}

/// Says where two contents differ, with the last commands.
fn compare(seed: u64, step: usize, ours: &Content, theirs: &Content, now_ms: u64, last: &[String]) {
    let differ = |(number, key): &(StoreNumber, Vec<u8>)| {
        let key_of = (*number, key.clone());
        let (ours, theirs) = (ours.get(&key_of), theirs.get(&key_of));
        match (ours, theirs) {
            (None, Some(theirs)) if *number == SESSIONS => theirs.2 > now_ms,
            (Some(ours), Some(theirs)) if *number == SESSIONS => {
                (&ours.0, &ours.1) != (&theirs.0, &theirs.1)
            }
            (ours, theirs) => ours != theirs,
        }
    };
    let wrong = ours.keys().chain(theirs.keys()).find(|key| differ(key));
    if let Some(key) = wrong {
        let name = key.1.escape_ascii().to_string();
        let about: Vec<&String> = last.iter().filter(|line| line.contains(&name)).collect();
        panic!(
            "seed {seed}, step {step}, store {}, key {name}:\nthere:    {:?}\nreplayed: {:?}\n{about:#?}",
            key.0,
            ours.get(key),
            theirs.get(key),
        );
    }
}

/// What one of several things to do next is.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Client<'s> {
    space: &'s Keyspace,
    now_ms: u64,
    waits: Vec<Arc<Wait>>,
}

impl Client<'_> {
    fn run(&mut self, store: StoreNumber, args: &[Vec<u8>]) {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let Ok(spec) = lookup(&words) else { return };
        let mut out = Vec::new();
        let protocol = Protocol::Resp2;
        match spec.run {
            Run::Shell(_) | Run::Script(_) => {}
            _ if spec.blocking().is_some() => {
                let call = Call { spec, store, protocol, args: &words };
                let waits = self.space.execute_or_wait(call, None, self.now_ms, &mut out).unwrap();
                self.waits.extend(waits);
            }
            _ => {
                let out = &mut Writer::new(&mut out, protocol);
                self.space.execute(spec, store, &words, self.now_ms, out).unwrap();
            }
        }
        if self.waits.len() > 5 {
            self.space.forget_wait(&self.waits.remove(0));
        }
    }

    fn transact(&mut self, commands: &[generate::Command]) {
        let mut steps = Vec::new();
        for command in commands {
            let args = command.args.iter().map(Vec::as_slice).collect();
            let words: Vec<&[u8]> = command.args.iter().map(Vec::as_slice).collect();
            let Ok(spec) = lookup(&words) else { continue };
            if matches!(spec.run, Run::Keys(_) | Run::Keyspace(_) | Run::Walk(_)) {
                let (store, protocol) = (command.database, Protocol::Resp3);
                steps.push(Step { spec, store, protocol, args });
            }
        }
        self.space.transact(&[], &steps, &NoScripts, self.now_ms, &mut Vec::new()).unwrap();
    }
}

fn shown(args: &[Vec<u8>]) -> String {
    let words: Vec<String> = args.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    words.join(" ")
}

fn drive(seed: u64, commands: usize) -> u64 {
    let policies = policies();
    let (space, copy) = (keyspace(seed, &policies), keyspace(seed + 7, &policies));
    space.journal().start(0, Waker::noop().clone());
    serve(&space, true);
    let mut generator = Generator::new(seed);
    let mut dice = Dice(seed);
    let mut run = Client { space: &space, now_ms: START_MS, waits: Vec::new() };
    let mut last: Vec<String> = Vec::new();
    for step in 0..commands {
        let command = generator.command();
        run.now_ms += dice.below(60_000);
        match dice.below(12) {
            0 => {
                let more: Vec<_> = (0..1 + dice.below(5)).map(|_| generator.command()).collect();
                last.extend(more.iter().map(|c| format!("in MULTI: {}", shown(&c.args))));
                run.transact(&more);
            }
            1 => {
                let value = vec![b'v'; dice.below(4_000) as usize];
                let name = format!("fill:{}", dice.below(1_000)).into_bytes();
                run.run(0, &[b"set".to_vec(), name, value]);
            }
            2 => {
                let key = ["list2", "list3", "k1"][dice.below(3) as usize];
                let name = ["blpop", "brpop", "bzpopmin"][dice.below(3) as usize];
                let words = [name, key, "list4", "0"].map(|word| word.as_bytes().to_vec());
                last.push(shown(&words));
                run.run(0, &words);
            }
            3 if dice.below(20) == 0 => {
                last.push("(expiry)".into());
                space.expire_cycle(run.now_ms, 1_000_000);
            }
            4 if dice.below(40) == 0 => {
                let name = ["flushall", "flushdb"][dice.below(2) as usize];
                last.push(name.into());
                run.run(dice.below(3) as StoreNumber, &[name.as_bytes().to_vec()]);
            }
            5 if dice.below(40) == 0 => {
                last.push("(slot of k1 cleared)".into());
                space.clear_slot(slot_of(b"k1"));
            }
            _ => {}
        }
        last.push(format!("{}: {}", command.database, shown(&command.args)));
        run.run(command.database, &command.args);
        if step % COMMANDS_A_LOOK == COMMANDS_A_LOOK - 1 || step + 1 == commands {
            replay(&space, &copy);
            serve(&copy, true);
            compare(seed, step, &content(&space), &content(&copy), run.now_ms, &last);
            serve(&copy, false);
            let keep = last.len().saturating_sub(4_000);
            last.drain(..keep);
        }
    }
    let evicted: u64 = space.stats().iter().map(|store| store.evicted_keys).sum();
    let expired: u64 = space.stats().iter().map(|store| store.expired_keys).sum();
    assert!(expired > 0, "nothing expired: the test is about less than it says");
    let heard =
        copy.stats().into_iter().map(|s| s.hits + s.misses + s.expired_keys + s.evicted_keys);
    assert_eq!(heard.sum::<u64>(), 0, "replay counts nothing");
    assert_eq!(copy.keys(4), 0, "a store that is not logged is not there");
    evicted
}

#[test]
fn every_effect_of_every_command_is_in_the_log_and_replays_to_the_same_stores() {
    let commands = from_environment("REPLAY_COMMANDS").map_or(COMMANDS, |n| n as usize);
    let more = from_environment("REPLAY_SEED").unwrap_or(0);
    let evicted: u64 = (1..=4).map(|seed| drive(seed + more, commands / 4)).sum();
    assert!(evicted > 0, "nothing was evicted: the test is about less than it says");
}
