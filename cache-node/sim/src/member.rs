//! A member's data and its disk: the real keyspace, journal, log, snapshots and recovery, each step taken
//! when it is asked for. What the shell does on threads stands here in a row.

use crate::disk::{Disk, Error, Opened};
use hypercache_core::command::{NoScripts, Run, Step, Transacted, lookup};
use hypercache_core::keyspace::{Keyspace, Options, Value, ValueRef};
use hypercache_core::log::catalog::Catalog;
use hypercache_core::log::commit::{Commit, Now, Standing};
use hypercache_core::log::directory::{self, Wrong};
use hypercache_core::log::draft::{self, Draft};
use hypercache_core::log::recovery::{Plan, Report};
use hypercache_core::log::retention::{self, SegmentInfo};
use hypercache_core::log::segments::Segments;
use hypercache_core::log::snapshot::Header;
use hypercache_core::log::{DataSet, Failed, Journal, Sequence, Ticket, awaits, data_set, writer};
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::{Mode, StoreNumber, StorePolicy};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::Waker;

/// So often a snapshot tries to have the log on the disk before it gives up.
const LOG_TRIES: usize = 4;

/// A key's value and when it ends (0: never).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// What it is: the string, or a list's elements with a line each behind the word `list`.
    pub bytes: Vec<u8>,
    /// In Unix milliseconds.
    pub expires_at_ms: u64,
}

/// How a member is made.
#[derive(Debug, Clone)]
pub struct Start {
    /// Its stores.
    pub policies: Vec<StorePolicy>,
    /// Where a new data set's name and hashes come from.
    pub seed: u64,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// A segment that is as large is followed by another.
    pub segment_bytes: u64,
    /// It serves all slots.
    pub serves: bool,
}

/// See the module.
pub struct Member {
    /// Its disk.
    pub disk: Disk,
    /// Its data.
    pub space: Arc<Keyspace>,
    /// What recovery found.
    pub report: Report,
    /// What those who write the log and those who take snapshots know of each other.
    pub standing: Standing,
    /// Unix milliseconds.
    pub now_ms: Cell<u64>,
    /// Stores of which a snapshot is needed, because the log alone does not say what they hold.
    pub wanted: RefCell<BTreeSet<StoreNumber>>,
    catalog: RefCell<Catalog>,
    data_set: DataSet,
    commit: RefCell<Commit>,
    files: RefCell<Segments<Disk>>,
    segments: RefCell<Vec<SegmentInfo>>,
}

/// What came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was done; it is on the disk once this is.
    Done(Ticket),
    /// It was refused: nothing was changed.
    Refused,
}

impl Member {
    /// Reads what is on the disk, and begins to keep what comes.
    ///
    /// # Errors
    /// What is there cannot be understood or used.
    pub fn start(disk: Disk, start: &Start) -> Result<Self, Wrong> {
        let data_set = match data_set::find(&disk)? {
            Some(data_set) => data_set,
            None => {
                let mut data_set = *b"0123456789abcdef";
                data_set.iter_mut().zip(start.seed.to_le_bytes()).for_each(|(to, b)| *to ^= b);
                data_set::begin(&disk, data_set)?;
                data_set
            }
        };
        directory::remove_drafts(&disk)?;
        let mut catalog = Catalog::open(&disk)?;
        let options = Options { hash_seed: start.seed, eviction_seed: start.seed };
        let space = Arc::new(Keyspace::new(options));
        space.set_stores(&start.policies);
        let plan = Plan::make(&disk, data_set, &catalog)?;
        let last = plan.last_sequence;
        let begins = catalog.follow(&disk, &start.policies, last);
        let begins = begins.map_err(|error| {
            Wrong::new(directory::Folder::Root, hypercache_core::log::catalog::NAME, error)
        })?;
        let options = writer::Options {
            data_set,
            next_number: plan.next_number,
            last_sequence: last,
            segment_bytes: start.segment_bytes,
        };
        let standing = Standing::default();
        standing.synced.store(last, Release);
        space.journal().start(last, Waker::noop().clone());
        let report = plan.read(&*space);
        if start.serves {
            (0..16384).for_each(|slot| space.set_serving(slot, true));
        }
        Ok(Self {
            space,
            report,
            standing,
            now_ms: Cell::new(start.now_ms),
            wanted: RefCell::new(begins.into_iter().collect()),
            catalog: RefCell::new(catalog),
            data_set,
            commit: RefCell::new(Commit::new(options)),
            files: RefCell::new(Segments::of(disk.clone())),
            segments: RefCell::new(plan.segment_infos.clone()),
            disk,
        })
    }

    /// Its journal.
    pub fn journal(&self) -> &Journal {
        self.space.journal()
    }

    /// What is on the disk of a store, or is to be.
    pub fn mode(&self, store: StoreNumber) -> Mode {
        let policies = self.space.policies();
        let policy = policies.iter().find(|policy| policy.number == store);
        policy.map_or(Mode::Disabled, |policy| policy.durability.mode)
    }

    /// Runs a command.
    pub fn run(&self, store: StoreNumber, words: &[&[u8]]) -> Done {
        let Ok(spec) = lookup(words) else { return Done::Refused };
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out, Protocol::Resp2);
        let ran = self.space.execute(spec, store, words, self.now_ms.get(), &mut to);
        self.done(ran.is_ok() && !out.starts_with(b"-"))
    }

    /// Runs commands as one.
    pub fn transact(&self, commands: &[(StoreNumber, Vec<Vec<u8>>)]) -> Done {
        let mut steps = Vec::new();
        for (store, words) in commands {
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let Ok(spec) = lookup(&args) else { return Done::Refused };
            if matches!(spec.run, Run::Keys(_)) {
                let args = args.into_iter().collect();
                steps.push(Step { spec, store: *store, protocol: Protocol::Resp2, args });
            }
        }
        let now_ms = self.now_ms.get();
        let ran = self.space.transact(&[], &steps, &NoScripts, now_ms, &mut Vec::new());
        self.done(matches!(ran, Ok(Transacted::Done)))
    }

    fn done(&self, is_done: bool) -> Done {
        let awaited = awaits::take();
        let ticket = self.journal().ticket();
        if !is_done {
            return Done::Refused;
        }
        // Who waits, waits for no more than this.
        debug_assert!(awaited.is_none_or(|awaited| awaited <= ticket));
        Done::Done(ticket)
    }

    fn now(&self) -> Now {
        Now { unix_ms: self.now_ms.get(), steady_ms: self.now_ms.get() }
    }

    /// One step of the log's writer: a cycle, or another try of one that failed.
    pub fn cycle(&self) {
        let (mut commit, mut files) = (self.commit.borrow_mut(), self.files.borrow_mut());
        let (journal, standing, now) = (self.journal(), &self.standing, self.now());
        let written = match commit.is_writing() {
            true => commit.again(&mut *files, journal, standing, now),
            false => {
                commit.regain(standing);
                commit.begin(&mut *files, journal, standing, &self.space.policies(), now)
            }
        };
        let Ok(written) = written else { return };
        if let Some(number) = commit.log().number().filter(|_| !written.bytes.is_empty()) {
            let bytes = commit.log().segment_bytes();
            let mut segments = self.segments.borrow_mut();
            match segments.last_mut().filter(|last| last.number == number) {
                Some(last) => last.bytes = bytes,
                None => {
                    let first_sequence = written.first_sequence;
                    segments.push(SegmentInfo { number, first_sequence, bytes });
                }
            }
        }
        // What failed shows in the journal.
        let _ = commit.end(&mut *files, journal, standing, now);
        if commit.is_on_disk() {
            // If not, the next cycle tries again.
            let _ = self.catalog.borrow_mut().log_began(&self.disk);
        }
    }

    /// A cycle after which all so far is on the disk, if that can be.
    pub fn sync(&self) {
        self.standing.sync_wanted.store(true, Release);
        self.cycle();
    }

    /// Takes a snapshot of a store, during which others do `meanwhile`, which is asked twice a slot; and
    /// removes what is not needed any more.
    ///
    /// # Errors
    /// Why there is none.
    pub fn snapshot(
        &self,
        store: StoreNumber,
        mut meanwhile: impl FnMut(&Self),
    ) -> Result<(), String> {
        let policies = self.space.policies();
        let kept = policies.iter().find(|policy| policy.number == store);
        let policy = kept.filter(|policy| policy.durability.mode != Mode::Disabled);
        let policy = policy.ok_or("nothing of it is kept")?;
        let lost = self.standing.lost.load(Acquire);
        let header = Header {
            data_set: self.data_set,
            store,
            name: policy.name.clone(),
            created_ms: self.now_ms.get(),
            first_sequence: self.journal().last_sequence(),
        };
        let taken = self.take(policy, &header, lost, &mut meanwhile);
        if let Err(error) = taken {
            let _ = draft::abandon(&self.disk, &header);
            return Err(error);
        }
        let mut segments = self.segments.borrow_mut();
        // What stays for now goes the next time.
        let _ = retention::clean(&self.disk, &self.catalog.borrow(), &mut segments);
        self.wanted.borrow_mut().remove(&store);
        Ok(())
    }

    fn take(
        &self,
        policy: &StorePolicy,
        header: &Header,
        lost: u64,
        meanwhile: &mut dyn FnMut(&Self),
    ) -> Result<(), String> {
        let failed = |error: Error| error.to_string();
        let mut draft: Draft<Opened> =
            Draft::begin(&self.disk, header, policy.durability.compression).map_err(failed)?;
        let taken = self.space.take_store(policy.number, &mut draft, || {
            meanwhile(self);
            Some(self.now_ms.get())
        });
        taken.map_err(|error| error.to_string())?;
        let last = self.journal().last_sequence();
        let finished = draft.finish(last, self.now_ms.get()).map_err(failed)?;
        self.wait_for_log(last, lost)?;
        if !self.catalog.borrow().finds(header) {
            return Err("the list of stores on the disk has not this store".into());
        }
        finished.publish(&self.disk).map_err(failed)
    }

    fn wait_for_log(&self, last: Sequence, lost: u64) -> Result<(), String> {
        for _ in 0..LOG_TRIES {
            if self.standing.lost.load(Acquire) != lost {
                return Err("the log failed meanwhile".into());
            }
            if self.standing.synced.load(Acquire) >= last {
                return Ok(());
            }
            self.sync();
        }
        Err("the log could not be forced to the disk meanwhile".into())
    }

    /// Takes what makes the disk whole again after something of the log was lost. `taken` hears of each
    /// store of which there is a snapshot, with what came before it.
    pub fn regain(&self, mut taken: impl FnMut(&Self, StoreNumber)) {
        let Some(lost) = self.standing.to_regain() else { return };
        let policies = self.space.policies();
        let mut all = true;
        // Also those that were logged until just now.
        let needed = |policy: &&StorePolicy| {
            let is_kept = policy.durability.mode != Mode::Disabled;
            is_kept && self.catalog.borrow().is_in_log(policy.number)
        };
        for policy in policies.iter().filter(needed) {
            let is_there = self.snapshot(policy.number, |_| {}).is_ok();
            if is_there {
                taken(self, policy.number);
            }
            all &= is_there;
        }
        if all {
            self.standing.regain(lost);
        }
    }

    /// Puts other policies in force.
    ///
    /// # Errors
    /// The disk could not be told: until [`Self::follow_again`] did that nothing is durable.
    pub fn set_policies(&self, policies: &[StorePolicy]) -> Result<(), Error> {
        let followed = self.follow(policies);
        if let Err(error) = followed {
            self.standing.is_unlisted.store(true, Release);
            self.journal().fail(Failed(error.to_string().into()));
        }
        self.space.set_stores(policies);
        followed
    }

    /// Tells the disk of the policies in force.
    pub fn follow_again(&self) {
        if self.standing.is_unlisted.load(Acquire) {
            let _ = self.follow(&self.space.policies());
        }
    }

    fn follow(&self, policies: &[StorePolicy]) -> Result<(), Error> {
        // Snapshots that were begun before are told from those of after by their sequences.
        let last = self.journal().skip(self.now().unix_ms);
        let begins = self.catalog.borrow_mut().follow(&self.disk, policies, last)?;
        self.standing.is_unlisted.store(false, Release);
        self.wanted.borrow_mut().extend(begins);
        Ok(())
    }

    /// All keys of a store, those whose lifetime is over included.
    pub fn contents(&self, store: StoreNumber) -> BTreeMap<Vec<u8>, Content> {
        let mut found = BTreeMap::new();
        let mut from = Some(0);
        while let Some(at) = from {
            from = self.space.visit_keys(store, at, usize::MAX, 0, |entry| {
                let content =
                    Content { bytes: bytes(entry.value), expires_at_ms: entry.expires_at_ms };
                found.insert(entry.key.to_vec(), content);
            });
        }
        found
    }
}

fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match value.object() {
        Some(Value::List(list)) => {
            bytes.extend_from_slice(b"list");
            list.visit(0, |_, element| {
                bytes.push(b'\n');
                bytes.extend_from_slice(element);
                true
            });
        }
        _ => {
            let string = value.as_bytes(&mut Default::default()).map(<[u8]>::to_vec);
            bytes = string.unwrap_or_else(|| value.type_name().as_bytes().to_vec());
        }
    }
    bytes
}
