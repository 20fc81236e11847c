//! The data as of a sequence: the slots of a snapshot, and the log after it, lane by lane, so that a
//! sixteenth of the data is in memory at a time.

use std::collections::BTreeMap;

use hypercache_core::cluster::{SLOTS, Slot};
use hypercache_core::keyspace::commands::{Whole, put};
use hypercache_core::keyspace::{Damage, Entry, Keyspace, Loaded, Options};
use hypercache_core::log::frame::SEVERAL;
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::log::{FrameHeader, LANES, Sequence, lane_of, slots_of};
use hypercache_core::store::{StoreNumber, StorePolicy};

use super::Error;
use super::parts::{Part, visit};
use super::source::{SegmentFile, Source, name_of};
use crate::disk::catalog::Row;
use crate::disk::layout::OnDisk;

/// Appends the commands that make a key what it is, where nothing is in its place.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry<'_>) {
    let (key, value, expires_at_ms) = (entry.key, entry.value, entry.expires_at_ms);
    put(out, &Whole { key, value, expires_at_ms, in_session: false, replaces: false });
}

/// A place for slots of one store or of some.
pub struct Scratch {
    space: Keyspace,
    store: StoreNumber,
}

fn keyspace(policies: &[StorePolicy]) -> Keyspace {
    // Nobody chooses keys to make them collide here, and the same files give the same order.
    let space = Keyspace::new(Options { hash_seed: 0, eviction_seed: 0 });
    space.set_stores(policies);
    space
}

impl Scratch {
    /// For slots of this store.
    pub fn of(store: StoreNumber, name: &str) -> Self {
        Self { space: keyspace(&[StorePolicy::new(name, store)]), store }
    }

    /// Loads a block's entries, those whose lifetime is over as well.
    pub fn load(&self, slot: Slot, payload: &[u8]) -> Result<Loaded, Damage> {
        self.space.load_slot(self.store, slot, payload, 0)
    }

    /// Gives the entries of a slot, and forgets them.
    pub fn take(&self, slot: Slot, visit: impl FnMut(&Entry<'_>)) {
        visit_slots(&self.space, self.store, slot..slot + 1, visit);
        self.space.clear_slot(slot);
    }
}

fn visit_slots(
    space: &Keyspace,
    store: StoreNumber,
    slots: std::ops::Range<Slot>,
    visit: impl FnMut(&Entry<'_>),
) {
    slots.clone().for_each(|slot| {
        space.set_serving(slot, true);
    });
    space.visit_keys(store, 0, usize::MAX, 0, visit);
    slots.for_each(|slot| {
        space.set_serving(slot, false);
    });
}

/// A snapshot that is read from.
struct Base {
    file: OnDisk,
    name: String,
    snapshot: Snapshot,
    sequences: Vec<Sequence>,
    by_slot: BTreeMap<Slot, Vec<usize>>,
}

/// Which moment is meant.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// What was done up to this sequence.
    pub last: Sequence,
    /// Snapshots of stores without a log up to this time, in Unix milliseconds.
    pub time_ms: u64,
    /// Keys whose lifetime was over then are left out.
    pub now_ms: u64,
}

/// The data of some stores as of a moment.
pub struct State {
    stores: BTreeMap<StoreNumber, (Row, Vec<Base>)>,
    /// Opened before anything is read: a member that runs may remove them.
    segments: Vec<(SegmentFile, OnDisk)>,
    /// Records after it are left out.
    last: Sequence,
    /// All records of the log from here on are there, if nothing is damaged.
    log_from: Sequence,
    /// What is damaged or missing.
    pub damages: Vec<String>,
}

impl State {
    /// Looks at what is there of these stores.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn open(
        source: &Source,
        stores: BTreeMap<StoreNumber, Row>,
        as_of: AsOf,
    ) -> Result<Self, Error> {
        let mut state = Self {
            stores: stores.into_iter().map(|(number, row)| (number, (row, Vec::new()))).collect(),
            segments: Vec::new(),
            last: as_of.last,
            log_from: 0,
            damages: Vec::new(),
        };
        let mut late = BTreeMap::new();
        for file in &source.snapshots {
            let Some((on_disk, opened)) = file.open(source.data_set)? else { continue };
            let name = name_of(&file.path);
            let snapshot = match opened {
                Ok(snapshot) => snapshot,
                Err(reason) => {
                    state.damages.push(format!("{name}: {reason}"));
                    continue;
                }
            };
            let header = &snapshot.header;
            let Some((row, bases)) = state.stores.get_mut(&header.store) else { continue };
            // Of a store without a log its time alone says whether it is too late.
            let is_late = !row.is_logged && snapshot.ended_ms > as_of.time_ms;
            if header.name != row.name || header.first_sequence < row.since {
                continue;
            }
            if is_late {
                late.insert(header.store, row.name.clone());
                continue;
            }
            let sequences = snapshot.sequences();
            let mut by_slot = BTreeMap::<Slot, Vec<usize>>::new();
            for (index, entry) in snapshot.entries.iter().enumerate() {
                by_slot.entry(entry.block.slot).or_default().push(index);
            }
            bases.push(Base { file: on_disk, name, snapshot, sequences, by_slot });
        }
        let has_none = |store: &StoreNumber| {
            state.stores.get(store).is_some_and(|(_, bases)| bases.is_empty())
        };
        if let Some((_, name)) = late.iter().find(|(store, _)| has_none(store)) {
            return Err(too_old(name));
        }
        for segment in &source.segments {
            let Some((file, header)) = segment.open()? else { continue };
            if state.segments.is_empty() {
                state.log_from = header.map_or(0, |header| header.first_sequence);
            }
            state.segments.push((segment.clone(), file));
        }
        Ok(state)
    }

    /// Gives each live key of each store, lane by lane. Keys whose lifetime is over at `now_ms` are left out.
    ///
    /// # Errors
    /// What is there cannot be read; it does not go back far enough; `each` said no.
    pub fn visit(
        &mut self,
        now_ms: u64,
        mut each: impl FnMut(StoreNumber, &Entry<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let policies: Vec<_> = self
            .stores
            .iter()
            .map(|(number, (row, _))| StorePolicy::new(row.name.clone(), *number))
            .collect();
        for lane in 0..LANES {
            let space = keyspace(&policies);
            let slots = slots_of(lane);
            let mut done = BTreeMap::<StoreNumber, Vec<Sequence>>::new();
            for (number, (row, bases)) in &self.stores {
                let mut sequences = vec![row.since; usize::from(SLOTS)];
                for slot in slots.clone() {
                    let base = Reading { space: &space, number: *number, row, last: self.last };
                    let from = base.slot(bases, slot, &mut self.damages)?;
                    if let Some(place) = sequences.get_mut(usize::from(slot)) {
                        *place = from;
                    }
                    if from.saturating_add(1) < self.log_from && row.is_logged {
                        let text = format!(
                            "store '{}': what was done between sequences {from} and {} is missing",
                            row.name, self.log_from
                        );
                        if self.last < Sequence::MAX {
                            return Err(Error::Refused(text));
                        }
                        note(&mut self.damages, text);
                    }
                }
                done.insert(*number, sequences);
            }
            self.replay(&space, lane, &mut done)?;
            let numbers: Vec<_> = self.stores.keys().copied().collect();
            for number in numbers {
                let mut result = Ok(());
                visit_slots(&space, number, slots.clone(), |entry| {
                    let lives = entry.expires_at_ms == 0 || entry.expires_at_ms > now_ms;
                    if result.is_ok() && lives {
                        result = each(number, entry);
                    }
                });
                result?;
            }
        }
        Ok(())
    }

    fn replay(
        &mut self,
        space: &Keyspace,
        lane: usize,
        done: &mut BTreeMap<StoreNumber, Vec<Sequence>>,
    ) -> Result<(), Error> {
        let (last, stores) = (self.last, done.keys().copied().collect::<Vec<_>>());
        let wants = |header: &FrameHeader| {
            let lanes = lane_of(*header.slots.start())..=lane_of(*header.slots.end());
            lanes.contains(&lane)
                && header.first_sequence <= last
                && (header.store == SEVERAL || stores.contains(&header.store))
        };
        let damages = &mut self.damages;
        for (segment, file) in &self.segments {
            let name = name_of(&segment.path);
            visit(segment, file, wants, |part| {
                let frame = match part {
                    Part::Frame(frame) => frame,
                    Part::Damaged { range, reason } => {
                        let (from, to) = (range.start, range.end);
                        note(damages, format!("{name}: bytes {from} to {to}: {reason}"));
                        return Ok(());
                    }
                    Part::Torn { .. } => return Ok(()),
                };
                for batch in frame.batches() {
                    if batch.last().is_some_and(|record| record.sequence > last) {
                        continue;
                    }
                    for record in batch.iter().filter(|record| lane_of(record.slot) == lane) {
                        let sequences = done.get_mut(&record.store);
                        let done = sequences.and_then(|s| s.get_mut(usize::from(record.slot)));
                        let Some(done) = done.filter(|done| record.sequence > **done) else {
                            continue;
                        };
                        // What stands twice is done once.
                        *done = record.sequence;
                        if let Err(error) = space.replay(record) {
                            note(damages, format!("{name}: {error}"));
                        }
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn too_old(name: &str) -> Error {
    Error::Refused(format!(
        "store '{name}' has snapshots only, and none that is as old: leave it out by --store"
    ))
}

/// The most damages that are told one by one.
const MOST_DAMAGES: usize = 1000;

fn note(damages: &mut Vec<String>, text: String) {
    if damages.len() < MOST_DAMAGES && !damages.contains(&text) {
        damages.push(text);
    }
}

struct Reading<'a> {
    space: &'a Keyspace,
    number: StoreNumber,
    row: &'a Row,
    last: Sequence,
}

impl Reading<'_> {
    /// Reads a slot from the newest snapshot that has it whole, as of a sequence that is not too late; the
    /// sequence up to which its records are in what was read.
    fn slot(
        &self,
        bases: &[Base],
        slot: Slot,
        damages: &mut Vec<String>,
    ) -> Result<Sequence, Error> {
        for base in bases {
            let sequence = base.sequences.get(usize::from(slot)).copied().unwrap_or_default();
            if sequence > self.last {
                continue;
            }
            let entries = base.by_slot.get(&slot).into_iter().flatten();
            let entries = entries.filter_map(|index| base.snapshot.entries.get(*index));
            let read: Result<Vec<_>, _> = entries.map(|entry| entry.read(&base.file)).collect();
            let payloads = match read {
                Ok(payloads) => payloads,
                Err(error) => {
                    note(damages, format!("{}: slot {slot}: {error}", base.name));
                    continue;
                }
            };
            for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
                if let Err(error) = self.space.load_slot(self.number, slot, payload, 0) {
                    note(damages, format!("{}: slot {slot}: {error}", base.name));
                }
            }
            return Ok(sequence.max(self.row.since));
        }
        if !self.row.is_logged && !bases.is_empty() && self.last < Sequence::MAX {
            return Err(too_old(&self.row.name));
        }
        Ok(self.row.since)
    }
}
