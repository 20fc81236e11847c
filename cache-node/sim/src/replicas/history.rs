//! What clients did, and what must be there. Each write has an order, which stands in its value; what a
//! client was told of sets a floor below which a key must not fall again.

use super::process::{Called, Process};
use crate::choice::{Choice, Dice};
use hypercache_core::cluster::MemberId;
use hypercache_core::replica::{Awaited, Progress};
use hypercache_core::store::{Acks, StoreNumber, StorePolicy};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of a slot and store.
const KEYS: usize = 2;

/// A key of a store.
pub type Key = (StoreNumber, String);

#[derive(Debug, Clone)]
enum What {
    /// A write of this order.
    Write(u64),
    /// An element of a list.
    Push(u64),
    /// A read of what a write of this order wrote, where the key's floor was the other one.
    Read { saw: u64, floor: u64 },
}

/// A command that waits for its answer.
struct Waiting {
    process: (MemberId, u64),
    key: Key,
    what: What,
    acks: Acks,
    awaited: Awaited,
}

/// See the module.
#[derive(Default)]
pub struct History {
    order: u64,
    /// What was answered: no state before it may be seen again.
    floors: BTreeMap<Key, u64>,
    /// The orders of deletions, whoever did them.
    deletions: BTreeMap<Key, BTreeSet<u64>>,
    pushed: BTreeMap<Key, BTreeSet<u64>>,
    /// The order of the last value that was written to a key.
    written: BTreeMap<Key, u64>,
    /// When a key of a store that promises nothing was seen not to be there, and nobody had deleted it: what was lost does
    /// not come back.
    gone: BTreeMap<Key, u64>,
    waiting: Vec<Waiting>,
    pub acked: u64,
    pub unknown: u64,
    pub refused: u64,
}

impl History {
    /// A client runs something at a process, in a slot that it serves; `has_quorum`: enough owners are in
    /// sync by the table for a quorum write to a store.
    pub fn run(
        &mut self,
        dice: &mut Dice,
        process: &Process,
        tag: &str,
        has_quorum: &dyn Fn(&StorePolicy) -> bool,
        says: &mut dyn FnMut(String),
    ) -> Result<(), String> {
        let store = dice.pick(3) as StoreNumber;
        let name = |kind: &str, number: usize| format!("{{{tag}}}{kind}{number}");
        let number = dice.pick(KEYS);
        let order = self.order + 1;
        let value = format!("v{order}");
        let (key, called, what) = match dice.pick(10) {
            0..=2 => {
                let key = name("k", number);
                let called = process.call(store, &[b"SET", key.as_bytes(), value.as_bytes()]);
                (key, called, Some(What::Write(order)))
            }
            3 => {
                let key = name("k", number);
                let called = process.call(store, &[b"DEL", key.as_bytes()]);
                self.deletions.entry((store, key.clone())).or_default().insert(order);
                (key, called, Some(What::Write(order)))
            }
            4..=5 => {
                let key = name("l", number);
                let called = process.call(store, &[b"RPUSH", key.as_bytes(), value.as_bytes()]);
                (key, called, Some(What::Push(order)))
            }
            6 => {
                let (x, y) = (name("x", 0), name("y", 0));
                let sets = [&x, &y].map(|key| vec![&b"SET"[..], key.as_bytes(), value.as_bytes()]);
                (x.clone(), process.transact(store, &sets), Some(What::Write(order)))
            }
            7 if dice.one(3) => {
                let key = name("t", number);
                (key.clone(), process.call(store, &[b"PERSIST", key.as_bytes()]), None)
            }
            7 => {
                let (key, ms) = (name("t", number), (1 + dice.pick(200)).to_string());
                let words = [&b"SET"[..], key.as_bytes(), value.as_bytes(), b"PX", ms.as_bytes()];
                (key.clone(), process.call(store, &words), None)
            }
            _ => {
                let key = name("k", number);
                let called = process.call(store, &[b"GET", key.as_bytes()]);
                let what = called.as_ref().map(|called| {
                    let key = (store, key.clone());
                    let saw = self.order_of(&key, text(&called.reply).as_deref());
                    What::Read { saw, floor: self.floors.get(&key).copied().unwrap_or(0) }
                });
                (key, called, what)
            }
        };
        self.order = order;
        let Some(Called { reply, awaited }) = called else { return Ok(()) };
        says(format!("{} {what:?} {store}/{key}: {}", process.id, reply.escape_ascii()));
        if reply.starts_with(b"-") {
            self.refused += 1;
            return Ok(());
        }
        let policies = process.space.policies();
        let policy = policies.iter().find(|policy| policy.number == store);
        let acks = policy.map_or(Acks::One, |policy| policy.acks);
        let lacks = policy.is_some_and(|policy| !has_quorum(policy));
        let is_write = !matches!(what, Some(What::Read { .. }));
        if !is_write && acks == Acks::One {
            self.comes_not_back((store, key.clone()), text(&reply).as_deref())?;
        }
        if is_write && acks == Acks::Quorum && lacks {
            return Err(format!("{store}/{key} was written, and too few are in sync (L22)"));
        }
        let process = (process.id, process.incarnation);
        if let Some(What::Write(order)) = what {
            self.written.insert((store, key.clone()), order);
        }
        if let Some(what) = what {
            self.waiting.push(Waiting { process, key: (store, key), what, acks, awaited });
        }
        Ok(())
    }

    /// A key's value was read now, whose store promises nothing.
    fn comes_not_back(&mut self, key: Key, value: Option<&str>) -> Result<(), String> {
        let order = self.order_of(&key, value);
        match (value, self.gone.get(&key)) {
            (None, _) if self.written.get(&key).is_some_and(|written| *written > order) => {
                self.gone.insert(key, self.order);
            }
            (Some(_), Some(gone)) if order < *gone => {
                return Err(format!("{key:?}: {order} is there again, and was not at {gone}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The order of what was seen of a key.
    fn order_of(&self, key: &Key, value: Option<&str>) -> u64 {
        match value {
            Some(value) => value.trim_start_matches('v').parse().unwrap_or(0),
            None => self.deletions.get(key).and_then(|all| all.last().copied()).unwrap_or(0),
        }
    }

    /// Answers what may be answered; `process` finds one that lives and may answer. Without `waits_for_disk` it does not
    /// matter what is on its disk, by a mistake.
    pub fn answer<'p>(
        &mut self,
        process: impl Fn((MemberId, u64)) -> Option<Option<&'p Process>>,
        waits_for_disk: bool,
        says: &mut dyn FnMut(String),
    ) -> Result<(), String> {
        for waiting in std::mem::take(&mut self.waiting) {
            let found = match process(waiting.process) {
                // It is dead: nobody will know.
                None => {
                    self.unknown += 1;
                    continue;
                }
                // It may not answer now.
                Some(None) => {
                    self.waiting.push(waiting);
                    continue;
                }
                Some(Some(found)) => found,
            };
            let feed = found.space.feed();
            let needs = waiting.awaited.needs();
            if needs.iter().any(|need| feed.progress(need) == Progress::Lost) {
                self.unknown += 1;
            } else if needs.iter().all(|need| feed.progress(need) == Progress::Met)
                && (found.is_on_disk(waiting.awaited.ticket) || !waits_for_disk)
            {
                says(format!("answered {:?} {:?}", waiting.key, waiting.what));
                self.answered(waiting)?;
            } else {
                self.waiting.push(waiting);
            }
        }
        Ok(())
    }

    fn answered(&mut self, waiting: Waiting) -> Result<(), String> {
        self.acked += 1;
        let Waiting { key, what, acks, .. } = waiting;
        if acks == Acks::One {
            return Ok(());
        }
        match what {
            What::Write(order) => self.raise(key, order),
            What::Push(order) => {
                self.pushed.entry(key).or_default().insert(order);
            }
            What::Read { saw, floor } if saw < floor => {
                return Err(format!("{key:?}: a read saw {saw} after {floor} was answered"));
            }
            What::Read { saw, .. } => self.raise(key, saw),
        }
        Ok(())
    }

    fn raise(&mut self, key: Key, order: u64) {
        let floor = self.floors.entry(key).or_default();
        *floor = order.max(*floor);
    }

    /// Compares what there is in the end with what was answered.
    pub fn check(&self, read: impl Fn(StoreNumber, &[&[u8]]) -> Vec<u8>) -> Result<(), String> {
        for (key, floor) in &self.floors {
            let (store, name) = key;
            let value = text(&read(*store, &[b"GET", name.as_bytes()]));
            let found = self.order_of(key, value.as_deref());
            if found < *floor {
                return Err(format!("{key:?} is {value:?}, and {floor} was answered"));
            }
            if name.contains("}x") {
                let other = name.replace("}x", "}y");
                let other = text(&read(*store, &[b"GET", other.as_bytes()]));
                if other != value {
                    return Err(format!("{key:?} is {value:?}, and its pair is {other:?}"));
                }
            }
        }
        for (key, pushed) in &self.pushed {
            let reply = read(key.0, &[b"LRANGE", key.1.as_bytes(), b"0", b"-1"]);
            let reply = String::from_utf8_lossy(&reply).into_owned();
            let found: Vec<u64> =
                reply.lines().filter_map(|line| line.strip_prefix('v')?.parse().ok()).collect();
            if !found.is_sorted_by(|a, b| a < b) {
                return Err(format!("{key:?}: {found:?} is not in order, each once"));
            }
            if let Some(lost) = pushed.iter().find(|order| !found.contains(order)) {
                return Err(format!("{key:?}: {lost} was answered, and there is {found:?}"));
            }
        }
        Ok(())
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// A bulk string; `None` for none.
fn text(reply: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.lines();
    let first = lines.next()?;
    if first == "$-1" {
        return None;
    }
    lines.next().map(str::to_owned)
}
