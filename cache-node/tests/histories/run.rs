//! One run: a cluster, clients, faults, and what the checker says of what the clients were told.

use super::checker::{Verdict, by_key, check, shortest};
use super::client::Client;
use super::faults::{self, Done, Kind};
use super::nodes::{Nodes, PATIENCE};
use super::op::{Action, Answer, Event, STEP};
use super::world::Net;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const MEMBERS: usize = 5;
const CLIENTS: usize = 16;
/// How many keys of a store there are at a time …
const KEYS: u64 = 2;
/// … and for how long, until others take their place: a short history is soon judged.
const EPOCH: Duration = Duration::from_secs(3);

/// What a run is about.
pub struct Plan {
    /// The seed of clients and faults.
    pub seed: u64,
    /// How long faults happen.
    pub length: Duration,
    /// The members' configuration. Keys of database 0 that begin with a store's prefix belong to it.
    pub yaml: String,
    /// Prefixes of stores that are to be linearizable.
    pub strict: &'static [&'static str],
    /// The prefix of a store that may lose writes, which are counted.
    pub loose: &'static str,
    /// What happens to the members.
    pub faults: &'static [Kind],
}

/// Carries it out. Panics, with the seed, if an answer cannot be explained or the cluster does not
/// become whole again.
pub fn run(net: Net, plan: &Plan) {
    let Plan { seed, length, .. } = plan;
    println!("seed {seed}: {CLIENTS} clients, {MEMBERS} members, {length:?}");
    let mut random = StdRng::seed_from_u64(*seed);
    let mut nodes = Nodes::start(net, MEMBERS, MEMBERS, &plan.yaml);
    let (began, stop, values) = (Instant::now(), AtomicBool::new(false), AtomicI64::new(1));
    let at = nodes.at.clone();
    let (events, faults) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                let work = Work { plan, at: &at, began, stop: &stop, values: &values };
                let random = StdRng::seed_from_u64(seed.wrapping_add(id as u64 + 1));
                scope.spawn(move || work.carry_out(id, random))
            })
            .collect();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            faults::run(&mut nodes, plan.faults, &mut random, began, *length)
        }));
        stop.store(true, Relaxed);
        let events = clients.into_iter().flat_map(|client| client.join().unwrap());
        (events.collect::<Vec<Event>>(), caught)
    });
    let faults = match faults {
        Ok(Ok(faults)) => faults,
        Ok(Err(text)) => panic!("seed {seed}: {text}"),
        Err(payload) => std::panic::resume_unwind(payload),
    };
    let events = read_all(plan, &nodes, events, began);
    judge(plan, &nodes, events, &faults);
}

/// What a client needs.
struct Work<'a> {
    plan: &'a Plan,
    at: &'a [super::nodes::At],
    began: Instant,
    stop: &'a AtomicBool,
    values: &'a AtomicI64,
}

impl Work<'_> {
    fn carry_out(&self, id: usize, mut random: StdRng) -> Vec<Event> {
        let mut client = Client::new(id, self.began);
        let mut events = Vec::new();
        let mut own = (0, 0);
        while !self.stop.load(Relaxed) {
            if random.random_range(0..20) == 0 {
                client.turn_to(random.random_range(0..self.at.len()));
            }
            if !client.connect(self.at) {
                client.turn_to(random.random_range(0..self.at.len()));
                std::thread::park_timeout(Duration::from_millis(20));
                continue;
            }
            let epoch = self.began.elapsed().as_secs() / EPOCH.as_secs();
            let store = random.random_range(0..=self.plan.strict.len());
            let event = match self.plan.strict.get(store) {
                Some(prefix) => {
                    let key = format!("{prefix}{epoch}:{}", random.random_range(0..KEYS));
                    client.run(&key, self.action(&mut random))
                }
                // A key of one's own counts up: what is there at the end says how many are missing.
                None => {
                    own = if own.0 == epoch { (epoch, own.1 + 1) } else { (epoch, 1) };
                    let key = format!("{}{epoch}:{id}", self.plan.loose);
                    client.run(&key, Action::Set(own.1))
                }
            };
            let failed = matches!(event.answer, Answer::Unknown | Answer::Refused);
            events.push(event);
            if failed {
                client.turn_to(random.random_range(0..self.at.len()));
            }
            std::thread::park_timeout(Duration::from_millis(random.random_range(1..12)));
        }
        events
    }

    fn action(&self, random: &mut StdRng) -> Action {
        let new = || self.values.fetch_add(1, Relaxed) * STEP;
        match random.random_range(0..100) {
            0..40 => Action::Get,
            40..60 => Action::Set(new()),
            60..76 => Action::Incr,
            76..84 => Action::Del,
            84..92 => Action::SetNx(new()),
            _ => Action::GetSet(new()),
        }
    }
}

/// Every key that was ever used is read once more, through any member.
fn read_all(plan: &Plan, nodes: &Nodes, mut events: Vec<Event>, began: Instant) -> Vec<Event> {
    let mut keys: Vec<String> = events.iter().map(|event| event.key.clone()).collect();
    keys.sort();
    keys.dedup();
    let mut client = Client::new(CLIENTS, began);
    for (n, key) in keys.iter().enumerate() {
        let deadline = Instant::now() + PATIENCE;
        for member in (n..).map(|n| n % MEMBERS) {
            client.turn_to(member);
            if client.connect(&nodes.at) {
                let event = client.run(key, Action::Get);
                if matches!(event.answer, Answer::Value(_)) {
                    events.push(event);
                    break;
                }
            }
            let logs = || nodes.logs(40);
            assert!(Instant::now() < deadline, "seed {}: {key} is not read\n{}", plan.seed, logs());
        }
    }
    events
}

fn judge(plan: &Plan, nodes: &Nodes, events: Vec<Event>, faults: &[Done]) {
    let mut errors: BTreeMap<String, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| !event.note.ends_with(' ')) {
        let text = event.note.split_once(' ').unwrap().1;
        let text: String = text.chars().take(70).filter(|c| !c.is_ascii_digit()).collect();
        *errors.entry(format!("{:?}: {text}", event.answer)).or_default() += 1;
    }
    let count = events.len();
    let (loose, strict): (Vec<Event>, Vec<Event>) =
        events.into_iter().partition(|event| event.key.starts_with(plan.loose));
    let began = Instant::now();
    let strict = by_key(strict);
    println!("  {count} operations, {} keys to judge; errors: {errors:#?}", strict.len());
    count_lost(plan.loose, by_key(loose), faults);
    let (mut wrong, mut undecided) = (Vec::new(), 0);
    for (key, history) in &strict {
        match check(history) {
            Verdict::Linearizable => {}
            Verdict::Not => wrong.push((key, history, Verdict::Not)),
            Verdict::Undecided => undecided += 1,
        }
    }
    let took = began.elapsed();
    println!("  judged in {took:.1?}: {} are wrong, {undecided} undecided", wrong.len());
    // Too much that is not known at once: so it is with a few keys at most.
    let (seed, all) = (plan.seed, strict.len());
    assert!(undecided * 10 <= all, "seed {seed}: {undecided} of {all} keys are undecided");
    let Some((key, history, verdict)) = wrong.first() else { return };
    let kept = keep(plan, nodes, faults, &wrong);
    let part = shortest(history);
    let shown = part.len().saturating_sub(40);
    let shown: String = part[shown..].iter().map(|event| format!("  {event:?}\n")).collect();
    panic!(
        "seed {}: {} of {} keys are not linearizable; {key} is {verdict:?} from its last answer here \
         on:\n{shown}the whole of it and the members' logs: {}",
        plan.seed,
        wrong.len(),
        strict.len(),
        kept.display()
    );
}

/// Writes what is needed to look into it to a directory that stays.
fn keep(
    plan: &Plan,
    nodes: &Nodes,
    faults: &[Done],
    wrong: &[(&String, &Vec<Event>, Verdict)],
) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("hypercache-history-{}", plan.seed));
    std::fs::create_dir_all(&directory).unwrap();
    nodes.keep_logs(&directory);
    let mut text: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
    for (key, history, verdict) in wrong {
        text += &format!("\n\n{key} is {verdict:?}; the shortest part that is:\n");
        shortest(history).iter().for_each(|event| text += &format!("{event:?}\n"));
    }
    std::fs::write(directory.join("history.txt"), text).unwrap();
    directory
}

/// Prints how many acknowledged writes are not there, and since which fault each.
fn count_lost(prefix: &str, keys: BTreeMap<String, Vec<Event>>, faults: &[Done]) {
    let (mut acknowledged, mut lost) = (0, 0);
    let mut during: BTreeMap<usize, usize> = BTreeMap::new();
    for history in keys.values() {
        let Some(Answer::Value(found)) = history.last().map(|event| event.answer) else { continue };
        for event in history.iter().filter(|event| event.answer == Answer::Ok) {
            acknowledged += 1;
            let Action::Set(value) = event.action else { continue };
            if value > found.unwrap_or(0) {
                lost += 1;
                let at = Duration::from_nanos(event.answered_ns);
                *during.entry(faults.partition_point(|fault| fault.until < at)).or_default() += 1;
            }
        }
    }
    println!("  {prefix}* (acks: one): {lost} of {acknowledged} acknowledged writes were lost");
    for (fault, lost) in during {
        let what = faults.get(fault).map_or("the end", |fault| &fault.what);
        println!("    {lost} after the fault before, or while: {what}");
    }
}
