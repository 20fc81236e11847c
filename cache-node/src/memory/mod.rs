//! The member's memory as a whole: what it may have, what it has, and what it does as that runs out.
//!
//! `core::keyspace::pressure` decides; here a thread looks ten times a second and carries out.
//! `cgroup` is what the kernel allows, `frees` gives back what is large and goes, `moves` has what
//! stays moved together, `huge_pages` says what stands behind all.

pub mod cgroup;
pub mod frees;
pub mod huge_pages;
mod moves;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hypercache_core::keyspace::Keyspace;
use hypercache_core::keyspace::pressure::{self, Stage};

use crate::clock::now_ms;
use crate::telemetry::process;
use cgroup::Cgroup;
use frees::Frees;
use moves::Mover;

/// How often memory is looked at.
const PERIOD: Duration = Duration::from_millis(100);
/// The least time between two purges under pressure.
const PURGE_PAUSE: Duration = Duration::from_millis(400);
/// How often free pages are looked for without pressure.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// Without pressure, so many bytes of free pages are kept, or a quarter of those in use.
const KEPT_BYTES: u64 = 16 << 20;
/// The most keys of a store that leave in one step.
const EVICT_KEYS: usize = 100_000;

/// What a member's memory is watched with.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// What this process may hold at most, whatever its control group may (`node.memory_limit`).
    pub limit_bytes: Option<u64>,
}

/// What is known of the member's memory; read by INFO and the metrics.
#[derive(Debug, Default)]
pub struct Memory {
    frees: Arc<Frees>,
    stage: AtomicU8,
    limit_bytes: AtomicU64,
    working_set_bytes: AtomicU64,
    relieved_bytes: AtomicU64,
    purges: AtomicU64,
    moves: AtomicU64,
    /// The expiry cycle runs with this many times its budget.
    expire_factor: AtomicU32,
}

/// The member's memory at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The stage of relief.
    pub stage: Stage,
    /// What the member may have in bytes; 0: nobody set a limit.
    pub limit_bytes: u64,
    /// What counts against that limit, in bytes.
    pub working_set_bytes: u64,
    /// What stores gave back under pressure since the start, in bytes.
    pub relieved_bytes: u64,
    /// How often free pages were given back since the start.
    pub purges: u64,
    /// How often all keys' blocks were moved together, since the start.
    pub moves: u64,
    /// Keys whose blocks wait to be given back.
    pub frees_pending: u64,
    /// Keys whose blocks were given back in the background, since the start.
    pub freed: u64,
}

/// Stages by their numbers in metrics, with words for people.
const STAGES: [(Stage, &str); 4] = [
    (Stage::Calm, "calm"),
    (Stage::Expire, "expire"),
    (Stage::Evict, "evict"),
    (Stage::Refuse, "refuse"),
];

/// The word for a stage, as INFO and the log have it.
pub fn word(stage: Stage) -> &'static str {
    STAGES.iter().find(|(known, _)| *known == stage).map_or("calm", |(_, word)| word)
}

impl Memory {
    /// What is known now.
    pub fn snapshot(&self) -> Snapshot {
        let stage = STAGES.get(usize::from(self.stage.load(Relaxed)));
        Snapshot {
            stage: stage.map_or(Stage::Calm, |(stage, _)| *stage),
            limit_bytes: self.limit_bytes.load(Relaxed),
            working_set_bytes: self.working_set_bytes.load(Relaxed),
            relieved_bytes: self.relieved_bytes.load(Relaxed),
            purges: self.purges.load(Relaxed),
            moves: self.moves.load(Relaxed),
            frees_pending: self.frees.pending(),
            freed: self.frees.freed(),
        }
    }

    /// How many times its budget the expiry cycle may spend.
    pub fn expire_factor(&self) -> usize {
        self.expire_factor.load(Relaxed).max(1) as usize
    }
}

/// The thread that watches; it ends with this.
pub struct Watch {
    memory: Arc<Memory>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// What is known of the memory.
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Options {
    /// Begins to watch the memory of the member with this keyspace.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(self, keyspace: &Arc<Keyspace>) -> io::Result<Watch> {
        let memory = Arc::new(Memory { frees: frees::start(keyspace)?, ..Memory::default() });
        let stop = Arc::new(AtomicBool::new(false));
        let (keyspace, known) = (Arc::clone(keyspace), Arc::clone(&memory));
        let sources = Sources {
            groups: Cgroup::find(Path::new("/proc/self")),
            own_bytes: self.limit_bytes,
            machine_bytes: machine_bytes(),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("memory".into()).spawn(move || {
            let mut watcher = Watcher {
                keyspace,
                memory: known,
                sources,
                stage: Stage::Calm,
                huge_pages: false,
                purged: Instant::now(),
                looked: Instant::now(),
                mover: Mover::new(),
            };
            while !stopped.load(Relaxed) {
                watcher.look();
                std::thread::park_timeout(PERIOD);
            }
        })?;
        Ok(Watch { memory, stop, thread: Some(thread) })
    }
}

/// The machine's memory in bytes, if the system says.
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A limit, and what counts against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    limit_bytes: u64,
    resident_bytes: u64,
}

struct Sources {
    groups: Vec<Cgroup>,
    own_bytes: Option<u64>,
    machine_bytes: Option<u64>,
}

impl Sources {
    /// Whether a control group has a limit of its own, below the machine's memory.
    fn has_group_limit(&self) -> bool {
        let machine_bytes = self.machine_bytes.unwrap_or(u64::MAX);
        let mut limits = self.groups.iter().filter_map(Cgroup::limit_bytes);
        limits.any(|limit_bytes| limit_bytes > 0 && limit_bytes < machine_bytes)
    }

    /// The limit that is nearest.
    fn read(&self) -> Option<Reading> {
        let resident_bytes = process::resident_bytes();
        let own = [self.own_bytes, self.machine_bytes].into_iter().flatten();
        let own = own.map(|limit_bytes| Reading { limit_bytes, resident_bytes });
        let groups = self.groups.iter().filter_map(|group| {
            let usage = group.usage()?;
            // Of a group that is mostly other processes nothing that this one does is of any help.
            (resident_bytes >= usage.working_set_bytes / 2).then_some(Reading {
                limit_bytes: usage.limit_bytes,
                resident_bytes: usage.working_set_bytes,
            })
        });
        nearest(own.chain(groups))
    }
}

/// The reading that has come nearest to its limit.
fn nearest(readings: impl Iterator<Item = Reading>) -> Option<Reading> {
    let part = |r: &Reading| u128::from(r.resident_bytes) * 1_000_000 / u128::from(r.limit_bytes);
    readings.filter(|r| r.limit_bytes > 0).max_by_key(part)
}

struct Watcher {
    keyspace: Arc<Keyspace>,
    memory: Arc<Memory>,
    sources: Sources,
    stage: Stage,
    huge_pages: bool,
    purged: Instant,
    looked: Instant,
    mover: Mover,
}

impl Watcher {
    fn look(&mut self) {
        let memory = self.measure();
        // A group counts what was given back in pieces of huge pages until the kernel splits these,
        // which it does when memory is short: keys would be evicted for what is free.
        let huge = pressure::huge_pages(memory, self.huge_pages) && !self.sources.has_group_limit();
        self.use_huge_pages(huge);
        let mut relief = pressure::relief(memory, self.stage);
        if relief.purge && self.purged.elapsed() >= PURGE_PAUSE {
            self.purge();
            // Free pages count like others: what they were is no reason to evict.
            relief = pressure::relief(self.measure(), self.stage);
        }
        self.keyspace.set_refusing(relief.refuse);
        self.memory.expire_factor.store(relief.expire_factor, Relaxed);
        if relief.evict_percent > 0 {
            let now_ms = now_ms();
            let freed = self.keyspace.evict_share(relief.evict_percent, EVICT_KEYS, now_ms);
            self.memory.relieved_bytes.fetch_add(freed, Relaxed);
            self.purge();
            if relief.refuse {
                // Who writes now need not wait for the next look to have the room that this made.
                relief = pressure::relief(self.measure(), relief.stage);
                self.keyspace.set_refusing(relief.refuse);
            }
        }
        self.tell(relief.stage);
        if self.mover.is_moving() {
            if self.mover.step(&self.keyspace) {
                self.memory.moves.fetch_add(1, Relaxed);
                self.purge();
            }
        } else if self.looked.elapsed() >= IDLE_PERIOD {
            self.give_back(relief.stage);
        }
    }

    fn measure(&self) -> pressure::Memory {
        let reading = self.sources.read().unwrap_or(Reading { limit_bytes: 0, resident_bytes: 0 });
        self.memory.limit_bytes.store(reading.limit_bytes, Relaxed);
        self.memory.working_set_bytes.store(reading.resident_bytes, Relaxed);
        pressure::Memory {
            used_bytes: self.keyspace.used_bytes(),
            resident_bytes: reading.resident_bytes,
            limit_bytes: reading.limit_bytes,
        }
    }

    fn use_huge_pages(&mut self, yes: bool) {
        if yes == self.huge_pages {
            return;
        }
        self.huge_pages = yes;
        match huge_pages::allow(yes) {
            Ok(()) => tracing::debug!(
                action = "huge-pages-switched",
                huge_pages = yes,
                "another kind of pages from now on"
            ),
            Err(error) => {
                tracing::info!(
                    action = "huge-pages-refused",
                    %error,
                    "the kernel does not switch huge pages"
                )
            }
        }
    }

    fn purge(&mut self) {
        process::purge();
        self.purged = Instant::now();
        self.memory.purges.fetch_add(1, Relaxed);
    }

    /// Without pressure, free pages go back once there are many: after a flush or mass expiry. With
    /// pressure or not, keys are moved together where that makes many pages free.
    fn give_back(&mut self, stage: Stage) {
        self.looked = Instant::now();
        let held = process::allocator();
        let free = held.resident.saturating_sub(held.active);
        if stage == Stage::Calm && free > KEPT_BYTES.max(held.active / 4) {
            self.purge();
        }
        self.mover.look(held);
    }

    fn tell(&mut self, stage: Stage) {
        if stage == self.stage {
            return;
        }
        let number = STAGES.iter().position(|(known, _)| *known == stage).unwrap_or(0);
        self.memory.stage.store(number as u8, Relaxed);
        let known = self.memory.snapshot();
        let (limit_bytes, working_set_bytes) = (known.limit_bytes, known.working_set_bytes);
        let (was, is) = (word(self.stage), word(stage));
        if stage > self.stage && stage >= Stage::Evict {
            tracing::warn!(
                action = "memory-stage-changed",
                was,
                is,
                limit_bytes,
                working_set_bytes,
                "memory runs out"
            );
        } else {
            tracing::info!(
                action = "memory-stage-changed",
                was,
                is,
                limit_bytes,
                working_set_bytes,
                "another stage of memory"
            );
        }
        self.stage = stage;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_nearest_counts() {
        let reading = |resident_bytes, limit_bytes| Reading { limit_bytes, resident_bytes };
        let all = [reading(10, 100), reading(50, 0), reading(9, 10), reading(1000, 2000)];
        assert_eq!(nearest(all.into_iter()), Some(reading(9, 10)));
        assert_eq!(nearest([reading(1, 0)].into_iter()), None);
    }

    #[test]
    fn stages_have_words_in_their_order() {
        assert!(STAGES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(word(Stage::Refuse), "refuse");
    }
}
