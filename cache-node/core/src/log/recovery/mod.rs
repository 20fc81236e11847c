//! Reading what is on the disk at start: for each lane of slots the newest snapshot of each store, then
//! the log after it. Lanes may be read side by side, and each is whole as soon as it is read.
//!
//! | file | what it is about |
//! |---|---|
//! | `snapshots` | which snapshots can be used |
//! | `segments` | which frames there are, what is torn, damaged or missing |
//! | `lanes` | what goes into a lane's slots, and what is passed over |

mod lanes;
mod segments;
mod snapshots;

pub use lanes::{Counts, Data, Loaded};
pub use segments::is_ours;

use super::catalog::Catalog;
use super::directory::{Directory, File, Wrong};
use super::frame::FrameHeader;
use super::retention::{self, SegmentInfo};
use super::segment::DataSet;
use super::snapshot::Snapshot;
use super::{LANES, Sequence};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use std::collections::BTreeMap;

/// More records than can have been in the journal when a member crashed: those that begin anew get
/// sequences that no lost one had.
pub const LOST_RECORDS: Sequence = 1 << 24;
/// The most damages that are told one by one.
const MOST_DAMAGES: usize = 100;

/// What was found, and what was done with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys read from snapshots.
    pub snapshot_keys: u64,
    /// Records of the log that were replayed.
    pub records: u64,
    /// Keys that were not brought back, because their lifetime was over.
    pub expired_keys: u64,
    /// Snapshots, or slots of them, that could not be used.
    pub damaged_snapshots: u64,
    /// Frames of the log, or runs of bytes or of segments where frames should be, that were lost.
    pub damaged_frames: u64,
    /// Bytes at the end of segments that were cut off and saved aside.
    pub torn_bytes: u64,
    /// What was damaged, missing or cut off, at most 100.
    pub damages: Vec<String>,
}

impl Report {
    fn damage(&mut self, text: String) {
        if self.damages.len() < MOST_DAMAGES {
            self.damages.push(text);
        }
    }
}

/// A snapshot that can be used.
#[derive(Debug)]
pub struct Source<F> {
    file: F,
    name: String,
    /// What it says of itself.
    pub snapshot: Snapshot,
    /// The bytes of its file.
    pub bytes: u64,
    sequences: Vec<Sequence>,
    /// The slots' entries in `snapshot.entries`.
    by_slot: BTreeMap<Slot, Vec<usize>>,
}

/// What one store is read from.
#[derive(Debug)]
pub struct Store<F> {
    /// Records and snapshots up to this sequence are not its.
    since: Sequence,
    /// The newest first.
    pub sources: Vec<Source<F>>,
}

impl<F> Store<F> {
    /// All of the store up to this sequence is in its newest snapshot.
    fn base(&self) -> Sequence {
        let newest = self.sources.first().map(|source| source.snapshot.header.first_sequence);
        newest.unwrap_or_default().max(self.since)
    }
}

#[derive(Debug)]
struct Segment<F> {
    name: String,
    file: F,
}

#[derive(Debug)]
struct Found {
    segment: usize,
    offset: u64,
    header: FrameHeader,
}

/// What is on the disk, and in which order it is read.
#[derive(Debug)]
pub struct Plan<F> {
    /// What each store is read from.
    pub stores: BTreeMap<StoreNumber, Store<F>>,
    segments: Vec<Segment<F>>,
    frames: Vec<Found>,
    /// The segments, in order.
    pub segment_infos: Vec<SegmentInfo>,
    /// Higher than any sequence that was given before, as far as anybody knows.
    pub last_sequence: Sequence,
    /// Higher than any segment's number.
    pub next_number: u64,
    /// How much is to be read.
    pub total_bytes: u64,
    /// What was found so far.
    pub report: Report,
}

impl<F: File> Plan<F> {
    /// Reads the headers of all that is there, and cuts off what is torn.
    ///
    /// # Errors
    /// A file cannot be read, is foreign, or of a later version.
    pub fn make<D>(directory: &D, data_set: DataSet, catalog: &Catalog) -> Result<Self, Wrong>
    where
        D: Directory<File = F>,
    {
        let mut plan = Self {
            stores: BTreeMap::new(),
            segments: Vec::new(),
            frames: Vec::new(),
            segment_infos: Vec::new(),
            last_sequence: 0,
            next_number: 1,
            total_bytes: 0,
            report: Report::default(),
        };
        plan.find_snapshots(directory, data_set, catalog)?;
        let numbers = retention::segments(directory)?;
        if numbers.is_empty() && catalog.has_log() {
            plan.miss_all_segments(catalog)?;
        }
        plan.find_segments(directory, data_set, catalog, &numbers)?;
        if plan.last_sequence > 0 {
            plan.last_sequence += LOST_RECORDS;
        }
        Ok(plan)
    }

    /// Whether nothing is to be read.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.stores.values().all(|store| store.sources.is_empty())
    }

    /// How many frames are to be read.
    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// How long each store's log is, behind its newest snapshot: what a store is logged in alone.
    pub fn log_bytes(&self) -> BTreeMap<StoreNumber, u64> {
        let mut bytes = BTreeMap::new();
        for Found { header, .. } in &self.frames {
            let Some(store) = self.stores.get(&header.store) else { continue };
            if header.first_sequence > store.base() {
                *bytes.entry(header.store).or_default() += header.frame_bytes();
            }
        }
        bytes
    }

    /// Reads all lanes, one after the other.
    pub fn read(&self, data: &impl Data) -> Report {
        let counts = Counts::default();
        (0..LANES).for_each(|lane| self.read_lane(lane, data, &counts));
        counts.report(&self.report)
    }
}
