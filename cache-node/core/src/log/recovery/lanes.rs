//! What goes into a lane's slots: from the newest snapshot that has a slot whole, and then from the log.

use super::{Found, MOST_DAMAGES, Plan, Report, Store};
use crate::cluster::Slot;
use crate::log::directory::File;
use crate::log::frame::{HEADER_BYTES, SEVERAL};
use crate::log::read_at::read_up_to;
use crate::log::{FrameHeader, Record, Sequence, lane_of, slots_of};
use crate::store::StoreNumber;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was loaded of a piece of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Keys that are there now.
    pub keys: u64,
    /// Keys that were left out because their lifetime is over.
    pub expired: u64,
}

/// What the data goes into. Lanes may be read on several threads; two never have the same slot.
pub trait Data {
    /// Adds a piece of a snapshot's slot, as of a time in Unix milliseconds.
    ///
    /// # Errors
    /// What is wrong with it. What was loaded before stays.
    fn load(
        &self,
        store: StoreNumber,
        slot: Slot,
        payload: &[u8],
        as_of_ms: u64,
    ) -> Result<Loaded, String>;

    /// Does again what a record says.
    ///
    /// # Errors
    /// What is wrong with it.
    fn replay(&self, record: &Record<'_>) -> Result<(), String>;
}

/// What is counted as lanes are read.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes that were read, of the plan's.
    pub loaded_bytes: AtomicU64,
    snapshot_keys: AtomicU64,
    records: AtomicU64,
    expired_keys: AtomicU64,
    damaged_frames: AtomicU64,
    damaged_snapshots: AtomicU64,
    damages: Mutex<Vec<String>>,
}

impl Counts {
    fn tell(&self, text: String) {
        let mut damages = self.damages.lock();
        if damages.len() < MOST_DAMAGES {
            damages.push(text);
        }
    }

    /// All that was found: what the plan said, and what the lanes had.
    pub fn report(&self, plan: &Report) -> Report {
        let mut report = plan.clone();
        report.snapshot_keys += self.snapshot_keys.load(Relaxed);
        report.records += self.records.load(Relaxed);
        report.expired_keys += self.expired_keys.load(Relaxed);
        report.damaged_frames += self.damaged_frames.load(Relaxed);
        report.damaged_snapshots += self.damaged_snapshots.load(Relaxed);
        report.damages.extend(self.damages.lock().iter().cloned());
        report.damages.truncate(MOST_DAMAGES);
        report
    }
}

impl<F: File> Plan<F> {
    /// Reads a lane: all its slots of all stores.
    pub fn read_lane(&self, lane: usize, data: &impl Data, counts: &Counts) {
        let mut done = BTreeMap::<StoreNumber, Vec<Sequence>>::new();
        for (number, store) in &self.stores {
            let read = |slot| read_slot(data, *number, store, slot, counts);
            done.insert(*number, slots_of(lane).map(read).collect());
        }
        let is_here = |header: &FrameHeader| {
            let lanes = lane_of(*header.slots.start())..=lane_of(*header.slots.end());
            lanes.contains(&lane)
                && (header.store == SEVERAL || self.stores.contains_key(&header.store))
        };
        for found in self.frames.iter().filter(|found| is_here(&found.header)) {
            let is_first = lane_of(*found.header.slots.start()) == lane;
            if is_first {
                counts.loaded_bytes.fetch_add(found.header.frame_bytes(), Relaxed);
            }
            let wrong = self.read_frame(found, lane, &mut done, data, counts);
            if let Err(reason) = wrong
                && is_first
            {
                counts.damaged_frames.fetch_add(1, Relaxed);
                let end = found.offset + found.header.frame_bytes();
                counts.tell(format!("{}: {reason}", self.place(found, end)));
            }
        }
    }

    fn place(&self, found: &Found, end: u64) -> String {
        let name = self.segments.get(found.segment).map_or("", |segment| &segment.name);
        format!("{name}: bytes {} to {end}", found.offset)
    }

    /// Replays a frame's records of the lane that are behind what was read of their slots.
    fn read_frame(
        &self,
        found: &Found,
        lane: usize,
        done: &mut BTreeMap<StoreNumber, Vec<Sequence>>,
        data: &impl Data,
        counts: &Counts,
    ) -> Result<(), String> {
        let Found { segment, offset, header } = found;
        let Some(of) = self.segments.get(*segment) else { return Ok(()) };
        let payload = read_up_to(&of.file, offset + HEADER_BYTES as u64, header.payload_bytes);
        let payload = payload.map_err(|error| error.to_string())?;
        let raw = header.open(&payload).map_err(|damage| damage.to_string())?;
        for record in header.records(&raw) {
            let Some(record) = record else { return Err("a record makes no sense".into()) };
            if lane_of(record.slot) != lane {
                continue;
            }
            let sequences = done.get_mut(&record.store);
            let index = usize::from(record.slot - slots_of(lane).start);
            let done = sequences.and_then(|all| all.get_mut(index));
            let Some(done) = done.filter(|done| record.sequence > **done) else { continue };
            // What stands twice, because a try to write it failed only as far as anybody knew, is done
            // once.
            *done = record.sequence;
            counts.records.fetch_add(1, Relaxed);
            if let Err(error) = data.replay(&record) {
                counts.tell(format!("{}: the frame at byte {offset}: {error}", of.name));
            }
        }
        Ok(())
    }
}

/// Reads a slot of a store from the newest snapshot that has it whole; the sequence up to which its
/// records are in what was read.
fn read_slot<F: File>(
    data: &impl Data,
    number: StoreNumber,
    store: &Store<F>,
    slot: Slot,
    counts: &Counts,
) -> Sequence {
    for source in &store.sources {
        let sequence = source.sequences.get(usize::from(slot)).copied().unwrap_or_default();
        let Some(entries) = source.by_slot.get(&slot) else { return sequence.max(store.since) };
        let entries = entries.iter().filter_map(|index| source.snapshot.entries.get(*index));
        let read: Result<Vec<_>, _> = entries.map(|entry| entry.read(&source.file)).collect();
        let payloads = match read {
            Ok(payloads) => payloads,
            Err(error) => {
                counts.damaged_snapshots.fetch_add(1, Relaxed);
                counts.tell(format!("{}: slot {slot}: {error}", source.name));
                continue;
            }
        };
        for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
            counts.loaded_bytes.fetch_add(payload.len() as u64, Relaxed);
            // As of the snapshot's time: what the log says later may let a key live on.
            let as_of = source.snapshot.header.created_ms;
            match data.load(number, slot, payload, as_of) {
                Ok(loaded) => {
                    counts.snapshot_keys.fetch_add(loaded.keys, Relaxed);
                    counts.expired_keys.fetch_add(loaded.expired, Relaxed);
                }
                Err(error) => counts.tell(format!("{}: slot {slot}: {error}", source.name)),
            }
        }
        return sequence.max(store.since);
    }
    store.since
}
