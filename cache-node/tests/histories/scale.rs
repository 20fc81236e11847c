//! From three members to five and back while plain clients write: what was acknowledged is there, once.

use super::client::{Client, TIMEOUT};
use super::nodes::{At, Nodes, PATIENCE, members};
use super::op::{Action, Answer};
use super::world::Net;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

const FEW: [usize; 3] = [0, 1, 2];
const MANY: [usize; 5] = [0, 1, 2, 3, 4];
const WRITERS: usize = 8;
/// How many keys each writer counts up.
const KEYS: usize = 400;
const SLOTS: usize = 16384;
/// Owners of each slot, as the store's replication factor has it.
const COPIES: usize = 3;
/// Two of five members' copies are all that has to move, one way and back.
const LEAST: usize = SLOTS * COPIES * 2 / 5;

/// Where no more copies have moved for so long, all have.
const ALL_MOVED: Duration = Duration::from_secs(2);

/// What happens while members come or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Quiet,
    /// Somebody's process is killed, and started again, once so many percent of what has to move has.
    Kill(Who, usize),
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Who leads.
    Leader,
    /// One that comes or goes.
    Mover,
    /// One that stays, and does not lead.
    Other,
}

/// One scale-out and one scale-in for each pair of steps.
///
/// Panics, with the seed, if an acknowledged write is lost or done twice, if more moved than had to, if
/// the end is not balanced, or if without a kill an error was not cured by one retry.
pub fn run(net: Net, seed: u64, steps: &[(Step, Step)]) {
    println!("seed {seed}: {steps:?}");
    // Who is killed may be the only one in sync of some slots, as members that are slow leave the set.
    let kept = match steps.iter().all(|step| *step == (Step::Quiet, Step::Quiet)) {
        true => "",
        false => ", persistence: {mode: aof, fsync: always}",
    };
    let yaml = format!(
        "stores:\n  q: {{number: 1, replication_factor: 3, acks: quorum, key_prefixes: ['q:']{kept}}}\n"
    );
    let mut nodes = Nodes::start(net, MANY.len(), FEW.len(), &yaml);
    for (out, back) in steps {
        let named = format!("seed {seed}: 3 to 5, {out:?}");
        by(*out, &mut nodes, seed, &named, &FEW, &MANY);
        let named = format!("seed {seed}: 5 to 3, {back:?}");
        by(*back, &mut nodes, seed, &named, &MANY, &FEW);
    }
}

fn by(step: Step, nodes: &mut Nodes, seed: u64, named: &str, from: &[usize], to: &[usize]) {
    let mover = MANY.into_iter().find(|i| !FEW.contains(i)).unwrap();
    let ended = one(nodes, seed, named, from, to, |nodes, shared| {
        let Step::Kill(who, percent) = step else { return Ok(()) };
        let victim = who.of(nodes, &FEW, mover).ok_or("nobody leads")?;
        let (mut last, mut since) = (0, Instant::now());
        while shared.moved() * 100 < LEAST * percent {
            let moved = shared.moved();
            if moved != last {
                (last, since) = (moved, Instant::now());
            }
            // Members differ by some percent: those that go may have had less than their share, and be gone by now.
            if moved > 0 && since.elapsed() > ALL_MOVED {
                break;
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("nothing moves\n{}", nodes.logs(40)));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        restart(nodes, &FEW, victim);
        Ok(())
    });
    let per_mille = ended.moved * 1000 / LEAST;
    println!("  {named}: {per_mille} per mille of the least moved");
    if step == Step::Quiet {
        // Members that are not optimised may be too slow for a second, which is as if they were away.
        let slow = std::env::var_os("HISTORY_HYPERCACHE").is_none();
        let (uncured, errors) = (ended.uncured, ended.errors);
        assert!(uncured == 0 || slow, "{named}: errors that one retry does not cure: {errors:?}");
        assert!(per_mille <= 1100, "{named}: more moved than has to");
    }
}

/// Kills a process and starts it again, if it is a member as those say that stay: one that is gone already is not
/// started again.
pub fn restart(nodes: &mut Nodes, stay: &[usize], victim: usize) {
    let belongs = |status: Value| members(&status).any(|m| m["name"] == format!("m-{victim}"));
    if stay.iter().any(|i| nodes.status(*i).is_some_and(&belongs)) {
        nodes.kill(victim);
        std::thread::park_timeout(Duration::from_millis(300));
        nodes.launch(victim);
    }
}

impl Who {
    /// Who that is, where `stay` stay and `mover` comes or goes; `None`: nobody leads.
    pub fn of(self, nodes: &Nodes, stay: &[usize], mover: usize) -> Option<usize> {
        let leader = leader(nodes, stay)?;
        match self {
            Self::Leader => Some(leader),
            Self::Mover => Some(mover),
            Self::Other => stay.iter().copied().find(|i| *i != leader),
        }
    }
}

/// How a change of the members ended.
pub struct Ended {
    pub moved: usize,
    pub errors: BTreeMap<String, usize>,
    pub uncured: usize,
}

/// From some members to others while clients write; `strike` is called as it begins.
///
/// Panics if a write is lost or done twice, or if it does not end as it should.
pub fn one(
    nodes: &mut Nodes,
    seed: u64,
    named: &str,
    from: &[usize],
    to: &[usize],
    strike: impl FnOnce(&mut Nodes, &Shared) -> Result<(), String>,
) -> Ended {
    let shared = Shared {
        at: nodes.at.clone(),
        targets: from.iter().copied().filter(|i| to.contains(i)).collect(),
        stop: AtomicBool::new(false),
        began: Instant::now(),
        moved: Mutex::default(),
    };
    let (told, done) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|id| writer(scope, &shared, id, seed)).collect();
        let watcher = scope.spawn(|| watch(&shared));
        // Whatever happens, the writers are told to stop.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // What moves before the first look counts for nothing.
            let deadline = Instant::now() + PATIENCE;
            while shared.moved.lock().unwrap().owners.is_empty() && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            carry_out(nodes, &shared, from, to, strike)
        }));
        shared.stop.store(true, Relaxed);
        watcher.join().unwrap();
        let told: Vec<Told> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (told, done)
    });
    let took = match done {
        Ok(Ok(took)) => took,
        Ok(Err(text)) => panic!("{named}: {text}"),
        Err(payload) => std::panic::resume_unwind(payload),
    };
    let moved = shared.moved();
    let (mut writes, mut errors, mut uncured, mut wrong) = (0, BTreeMap::new(), 0, Vec::new());
    let mut longest = Duration::ZERO;
    for told in told {
        writes += told.writes;
        uncured += told.uncured;
        longest = longest.max(told.longest_gap);
        wrong.extend(told.wrong);
        told.errors.into_iter().for_each(|(text, n)| *errors.entry(text).or_insert(0) += n);
    }
    println!(
        "  {named}: {took:.1?}, {writes} writes, longest gap {longest:.0?}, {moved} copies moved, \
         errors {errors:?}, {uncured} not cured by one retry"
    );
    assert!(wrong.is_empty(), "{named}: lost or doubled:\n{}", wrong.join("\n"));
    assert!(writes > 0, "{named}: nothing was written");
    Ended { moved, errors, uncured }
}

/// Tells the cluster who shall be, strikes, and waits for the end.
fn carry_out(
    nodes: &mut Nodes,
    shared: &Shared,
    from: &[usize],
    to: &[usize],
    strike: impl FnOnce(&mut Nodes, &Shared) -> Result<(), String>,
) -> Result<Duration, String> {
    let began = Instant::now();
    nodes.desire(to)?;
    for i in to.iter().filter(|i| !from.contains(i)) {
        nodes.wipe(*i);
        nodes.launch(*i);
    }
    strike(nodes, shared)?;
    let end = |status: &Value| {
        members(status).count() == to.len() && Nodes::settled(status) && is_even(status)
    };
    let took = loop {
        nodes.wait_for("all as it shall be", PATIENCE, end)?;
        let (took, epoch) = (began.elapsed(), nodes.status(to[0]).map(|s| s["epoch"].clone()));
        // It is the end if nothing changes any more.
        std::thread::park_timeout(Duration::from_millis(700));
        nodes.wait_for("all as it shall be", PATIENCE, end)?;
        if nodes.status(to[0]).map(|s| s["epoch"].clone()) == epoch {
            break took;
        }
        if took > PATIENCE {
            return Err(format!("it does not end\n{}", nodes.logs(40)));
        }
    };
    // Who left serves nobody; a moment later nobody asks it.
    from.iter().filter(|i| !to.contains(i)).for_each(|i| nodes.kill(*i));
    Ok(took)
}

/// Whether no member is the primary of more than 1.1 times what another is.
fn is_even(status: &Value) -> bool {
    let slots: Vec<u64> = members(status).filter_map(|member| member["slots"].as_u64()).collect();
    let (most, least) = (slots.iter().max(), slots.iter().min());
    most.zip(least).is_some_and(|(most, least)| most * 100 <= least * 110)
}

fn leader(nodes: &Nodes, asked: &[usize]) -> Option<usize> {
    let statuses = asked.iter().filter_map(|i| nodes.status(*i));
    let name = statuses.filter_map(|status| status["leader"].as_str().map(str::to_owned)).next()?;
    name.strip_prefix("m-")?.parse().ok()
}

/// What clients and those who watch have in common.
pub struct Shared {
    at: Vec<At>,
    /// Through whom clients write: those that stay, as a Service would have it.
    targets: Vec<usize>,
    stop: AtomicBool,
    began: Instant,
    moved: Mutex<Moved>,
}

impl Shared {
    /// How many copies were brought so far.
    fn moved(&self) -> usize {
        self.moved.lock().unwrap().added
    }
}

/// Which members own each slot, and how often another one was added to them.
#[derive(Default)]
struct Moved {
    owners: Vec<BTreeSet<Arc<str>>>,
    added: usize,
}

/// Looks at CLUSTER SLOTS again and again.
fn watch(shared: &Shared) {
    let mut connection = None;
    for at in shared.targets.iter().map(|i| &shared.at[*i]).cycle() {
        while !shared.stop.load(Relaxed) {
            let made = connection.take().or_else(|| {
                let client =
                    redis::Client::open(format!("redis://{}:{}/", at.host, at.resp)).ok()?;
                client.get_connection_with_timeout(Duration::from_secs(1)).ok()
            });
            let Some(mut made) = made else { break };
            let _ = made.set_read_timeout(Some(Duration::from_secs(2)));
            let Ok(now) = redis::cmd("CLUSTER").arg("SLOTS").query(&mut made) else { break };
            connection = Some(made);
            shared.moved.lock().unwrap().note(&now);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        std::thread::park_timeout(Duration::from_millis(20));
        if shared.stop.load(Relaxed) {
            return;
        }
    }
}

impl Moved {
    fn note(&mut self, slots: &redis::Value) {
        let redis::Value::Array(runs) = slots else { return };
        let mut owners = vec![BTreeSet::new(); SLOTS];
        for run in runs {
            let redis::Value::Array(run) = run else { return };
            let [redis::Value::Int(first), redis::Value::Int(last), nodes @ ..] = &run[..] else {
                return;
            };
            let ids: BTreeSet<Arc<str>> = nodes.iter().filter_map(node_id).collect();
            for slot in *first..=*last {
                owners[usize::try_from(slot).unwrap()] = ids.clone();
            }
        }
        for (before, now) in self.owners.iter().zip(&owners) {
            self.added += now.difference(before).count();
        }
        self.owners = owners;
    }
}

fn node_id(node: &redis::Value) -> Option<Arc<str>> {
    let redis::Value::Array(fields) = node else { return None };
    match fields.get(2)? {
        redis::Value::BulkString(id) => Some(String::from_utf8_lossy(id).as_ref().into()),
        _ => None,
    }
}

/// What a writer was told.
#[derive(Default)]
struct Told {
    writes: usize,
    errors: BTreeMap<String, usize>,
    uncured: usize,
    wrong: Vec<String>,
    longest_gap: Duration,
}

/// Counts keys of its own up: each answer must be one more than the last, or as many more as there were
/// answers that promised nothing.
fn writer<'s>(
    scope: &'s Scope<'s, '_>,
    shared: &'s Shared,
    id: usize,
    seed: u64,
) -> ScopedJoinHandle<'s, Told> {
    scope.spawn(move || {
        let mut told = Told::default();
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(id as u64));
        let mut client = Client::new(id, shared.began);
        let mut counts: Vec<Option<(i64, i64)>> = vec![None; KEYS];
        let mut last = Instant::now();
        let mut failed_before = false;
        while !shared.stop.load(Relaxed) {
            let n = random.random_range(0..KEYS);
            let key = format!("q:{id}:{n}");
            let targets = &shared.targets;
            if failed_before || random.random_range(0..50) == 0 {
                client.turn_to(targets[random.random_range(0..targets.len())]);
            }
            if !client.connect(&shared.at) {
                *told.errors.entry("no connection".into()).or_default() += 1;
                told.uncured += usize::from(failed_before);
                failed_before = true;
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            }
            let event = client.run(&key, Action::Incr);
            match event.answer {
                Answer::Count(found) => {
                    // What another run left counts on.
                    let (low, high) = counts[n].unwrap_or((found, found));
                    if !(low..=high).contains(&found) {
                        told.wrong.push(format!("{key}: {found}, not {low} to {high}: {event:?}"));
                    }
                    counts[n] = Some((found + 1, found + 1));
                    told.writes += 1;
                    told.longest_gap = told.longest_gap.max(last.elapsed());
                    last = Instant::now();
                    failed_before = false;
                }
                answer => {
                    if answer == Answer::Unknown
                        && let Some((_, high)) = &mut counts[n]
                    {
                        *high += 1;
                    }
                    let text: String = event.note.chars().filter(|c| !c.is_ascii_digit()).collect();
                    let text = text.chars().skip(3).take(60).collect();
                    *told.errors.entry(text).or_default() += 1;
                    told.uncured += usize::from(failed_before);
                    failed_before = true;
                }
            }
        }
        // And once more at the end, when all is whole.
        for (n, count) in counts.iter().enumerate() {
            let Some((low, high)) = count else { continue };
            let key = format!("q:{id}:{n}");
            let deadline = Instant::now() + PATIENCE.max(TIMEOUT);
            loop {
                client.turn_to(shared.targets[random.random_range(0..shared.targets.len())]);
                if client.connect(&shared.at)
                    && let Answer::Value(found) = client.run(&key, Action::Get).answer
                {
                    let found = found.unwrap_or(0) + 1;
                    if !(*low..=*high).contains(&found) {
                        told.wrong.push(format!("{key}: the next is {found}, not {low} to {high}"));
                    }
                    break;
                }
                if Instant::now() > deadline {
                    told.wrong.push(format!("{key} is not read"));
                    break;
                }
            }
        }
        told
    })
}
