//! Several commands as one: what EXEC runs.

use super::ops::texts;
use super::spec::{Flags, Run, RunKeys, Spec};
use crate::cluster::{Slot, slot_of};
use crate::keyspace::{Keyspace, Locked, NotServing, Refusal, WatchedKey};
use crate::resp::{Protocol, Writer};
use crate::store::StoreNumber;
use smallvec::SmallVec;

/// Commands that only read answer an error once the replies are this long (S1).
const MAX_REPLY_BYTES: usize = 512 << 20;

/// One command of a transaction.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// A `Run::Keys`, `Run::Keyspace` or `Run::Script` command, its arity checked.
    pub spec: &'static Spec,
    /// The store that is selected when it runs.
    pub store: StoreNumber,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// Its name and arguments.
    pub args: SmallVec<[&'a [u8]; 8]>,
}

impl Step<'_> {
    /// The slots of its keys.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.spec.keys(&self.args).into_iter().map(slot_of)
    }

    /// Whether it works on all keys rather than on those it names.
    pub fn is_over_all_keys(&self) -> bool {
        matches!(self.spec.run, Run::Keyspace(_) | Run::Walk(_))
    }
}

/// Who runs the scripts of a transaction.
pub trait Scripts {
    /// Runs a `Run::Script` step, all slots of its keys locked, and appends its reply.
    fn run_script(&self, step: &Step<'_>, locked: &mut Locked<'_>, out: &mut Vec<u8>);
}

/// No interpreter: every script is answered with an error.
#[derive(Debug, Clone, Copy)]
pub struct NoScripts;

impl Scripts for NoScripts {
    fn run_script(&self, step: &Step<'_>, _: &mut Locked<'_>, out: &mut Vec<u8>) {
        Writer::new(out, step.protocol).error("ERR there is no interpreter for scripts here");
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transacted {
    /// All commands ran, whatever each answered.
    Done,
    /// None ran: a watched key changed.
    Changed,
    /// None ran: a store is over its budget and nothing can leave.
    OutOfMemory,
    /// None ran: a store promises to keep what is written, and cannot now.
    NotDurable,
    /// None ran: too few owners of a slot are in sync for what a store promises.
    NotReplicated,
}

/// What a write is answered when too few owners of its slot are in sync ([`Transacted::NotReplicated`]).
pub const NO_REPLICAS: &str = texts::NO_REPLICAS;

fn in_order(slots: impl Iterator<Item = Slot>) -> Vec<Slot> {
    let mut slots: Vec<Slot> = slots.collect();
    slots.sort_unstable();
    slots.dedup();
    slots
}

impl Keyspace {
    /// Runs commands as one, if no watched key changed, and appends their replies to `out`, one
    /// after the other. The slots of all keys are locked from the first command to the last, so
    /// that nobody sees a part of it; only a command over all keys (KEYS, FLUSHALL …) runs with no
    /// slot locked, which cuts the transaction there. The keys are not watched any more after this.
    ///
    /// # Errors
    /// A slot that is not served here; nothing was changed or written then.
    pub fn transact(
        &self,
        watched: &[WatchedKey<'_>],
        steps: &[Step<'_>],
        scripts: &dyn Scripts,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Transacted, NotServing> {
        let slots = in_order(
            watched.iter().map(|w| slot_of(w.key)).chain(steps.iter().flat_map(Step::slots)),
        );
        let grows = steps.iter().filter(|step| step.spec.flags.contains(Flags::DENYOOM));
        let grow: Vec<(StoreNumber, &[u8])> = grows
            .flat_map(|step| step.spec.keys(&step.args).into_iter().map(|key| (step.store, key)))
            .collect();
        if self.journal().is_failed() && self.is_undurable_for(steps) {
            return Ok(Transacted::NotDurable);
        }
        let (first, mut rest) = part(steps);
        let begun = self.with_slots(&slots, &grow, now_ms, |locked| {
            if lacks_replicas(locked, steps) {
                return Transacted::NotReplicated;
            }
            if !locked.end_watch(watched) {
                return Transacted::Changed;
            }
            first.iter().for_each(|step| run(step, scripts, locked, out));
            Transacted::Done
        });
        match begun {
            Ok(Transacted::Done) => {}
            Ok(other) => return Ok(other),
            Err(Refusal::NotServing(slot)) => return Err(slot),
            Err(Refusal::NotDurable) => return Ok(Transacted::NotDurable),
            Err(_) => return Ok(Transacted::OutOfMemory),
        }
        while let [over_all, tail @ ..] = rest {
            self.run_over_all(over_all, now_ms, out);
            let (next, after) = part(tail);
            let slots = in_order(next.iter().flat_map(Step::slots));
            let start = out.len();
            let ran = self.with_slots(&slots, &[], now_ms, |locked| {
                next.iter().for_each(|step| run(step, scripts, locked, out));
            });
            if ran.is_err() {
                out.truncate(start);
                for step in next {
                    Writer::new(out, step.protocol).error("TRYAGAIN Slots are on the move");
                }
            }
            rest = after;
        }
        Ok(Transacted::Done)
    }

    /// Whether one of the commands writes to a store whose writes cannot be made durable now.
    #[cold]
    fn is_undurable_for(&self, steps: &[Step<'_>]) -> bool {
        let writes = steps.iter().filter(|step| step.spec.is_write());
        let mut stores = writes.flat_map(|step| {
            let keys = step.spec.keys(&step.args).into_iter();
            let stores: SmallVec<[_; 4]> =
                keys.filter_map(|key| self.store_of(step.store, key)).collect();
            stores.into_iter().chain(step.is_over_all_keys().then_some(step.store))
        });
        stores.any(|store| self.refuses_writes(store))
    }

    fn run_over_all(&self, step: &Step<'_>, now_ms: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let ran = self.execute(
            step.spec,
            step.store,
            &step.args,
            now_ms,
            &mut Writer::new(out, step.protocol),
        );
        if ran.is_err() {
            out.truncate(start);
            Writer::new(out, step.protocol).error("TRYAGAIN Slots are on the move");
        }
    }
}

/// Whether one of the commands writes where too few owners are in sync.
fn lacks_replicas(locked: &Locked<'_>, steps: &[Step<'_>]) -> bool {
    let mut writes = steps.iter().filter(|step| step.spec.is_write());
    writes.any(|step| locked.lacks_replicas(step.store, || step.spec.keys(&step.args)))
}

/// The steps before the first that is over all keys, and those from it on.
fn part<'s, 'a>(steps: &'s [Step<'a>]) -> (&'s [Step<'a>], &'s [Step<'a>]) {
    let at = steps.iter().position(Step::is_over_all_keys).unwrap_or(steps.len());
    steps.split_at(at)
}

/// Runs one command over keys whose slots are locked.
fn run(step: &Step<'_>, scripts: &dyn Scripts, locked: &mut Locked<'_>, out: &mut Vec<u8>) {
    let long = out.len() > MAX_REPLY_BYTES && !step.spec.may_write();
    if step.spec.is_script() && !long {
        return scripts.run_script(step, locked, out);
    }
    let out = &mut Writer::new(out, step.protocol);
    if long {
        return out.error(&format!(
            "ERR not read: the transaction's replies are over {MAX_REPLY_BYTES} bytes"
        ));
    }
    locked.run(step.spec, step.store, &step.args, out);
}

impl Locked<'_> {
    /// Runs a `Run::Keys` command in a store; the slots of its keys are locked.
    pub fn run(
        &mut self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        out: &mut Writer<'_>,
    ) {
        if !self.has_store(store) {
            return out.error(texts::NO_STORE);
        }
        let refused = spec.is_write() && self.refuses_writes(store, || spec.keys(args));
        if refused {
            return out.error(&self.misconf());
        }
        if spec.is_write() && self.lacks_replicas(store, || spec.keys(args)) {
            return out.error(texts::NO_REPLICAS);
        }
        self.select(store);
        match spec.run {
            Run::Keys(RunKeys::One(run)) => match spec.first_key(args) {
                Some(key) => match self.at(key) {
                    Some(mut key) => {
                        key.set_sent(args);
                        run(&mut key, args, out);
                    }
                    None => out.error(texts::NO_STORE),
                },
                None => out.error(texts::SYNTAX),
            },
            Run::Keys(RunKeys::Many(run)) => run(self, args, out),
            Run::Keys(RunKeys::Waits(blocking)) => blocking.run_at_once(self, args, out),
            Run::Keyspace(_) | Run::Walk(_) | Run::Script(_) | Run::Shell(_) => {
                out.error("ERR this command is not one over keys");
            }
        }
    }
}

#[cfg(test)]
#[path = "transact_tests.rs"]
mod tests;
