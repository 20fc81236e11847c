//! Reading what is on the disk at start: for each lane of slots the newest snapshot of each store, then
//! the log after it. Lanes are read side by side, and each is served as soon as it is read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use hypercache_core::cluster::{SLOTS, Slot};
use hypercache_core::log::frame::{HEADER_BYTES as FRAME_HEADER_BYTES, SEVERAL};
use hypercache_core::log::read_at::read_up_to;
use hypercache_core::log::segment::{self, Header, HeaderError, Piece, Scan, Seal};
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::log::{FrameHeader, LANES, ReadAt, Sequence, lane_of};
use hypercache_core::store::StoreNumber;

use super::Error;
use super::gate::Gate;
use super::keeper::stats_of;
use super::layout::{OnDisk, sync_parent, wrong};
use super::shared::{SegmentInfo, Shared};
use super::stats::Recovery;
use crate::clock::now_ms;

/// More records than can have been in the journal when a member crashed: those that begin anew get
/// sequences that no lost one had.
pub(crate) const LOST_RECORDS: Sequence = 1 << 24;
/// The most damages that are told one by one.
const MOST_DAMAGES: usize = 100;
/// How often the log says how far it is.
const TELL: Duration = Duration::from_secs(3);

/// A snapshot that can be used.
struct Source {
    file: OnDisk,
    name: String,
    snapshot: Snapshot,
    sequences: Vec<Sequence>,
    /// The slots' entries in `snapshot.entries`.
    by_slot: BTreeMap<Slot, Vec<usize>>,
}

/// What one store is read from.
struct Store {
    /// Records and snapshots up to this sequence are not its.
    since: Sequence,
    /// The newest first.
    sources: Vec<Source>,
}

struct Segment {
    path: String,
    file: OnDisk,
}

struct Found {
    segment: usize,
    offset: u64,
    header: FrameHeader,
}

/// What is on the disk, and in which order it is read.
pub struct Plan {
    stores: BTreeMap<StoreNumber, Store>,
    segments: Vec<Segment>,
    frames: Vec<Found>,
    /// Higher than any sequence that was given before.
    pub last_sequence: Sequence,
    /// Higher than any segment's number.
    pub next_number: u64,
    total_bytes: u64,
    report: Recovery,
}

fn damage(report: &mut Recovery, text: String) {
    tracing::warn!(damage = text, "data on the disk is damaged");
    if report.damages.len() < MOST_DAMAGES {
        report.damages.push(text);
    }
}

/// Whether a file whose header is not ours has frames of this segment, or nothing but zeros: blocks that
/// were never written.
pub(crate) fn is_ours(file: &OnDisk, seal: Seal) -> bool {
    let begin = read_up_to(file, 0, segment::HEADER_BYTES as u64).unwrap_or_default();
    let mut pieces = Scan::new(file, seal);
    let frame = pieces.find(|piece| !matches!(piece, Ok(Piece::Damaged { .. })));
    match frame {
        Some(Ok(Piece::Found { .. } | Piece::Newer { .. })) => true,
        Some(Ok(Piece::Torn { is_blank, .. })) => is_blank && begin.iter().all(|byte| *byte == 0),
        Some(Ok(Piece::Damaged { .. }) | Err(_)) => false,
        None => begin.iter().all(|byte| *byte == 0),
    }
}

impl Plan {
    /// Reads the headers of all that is there, and cuts off what is torn.
    ///
    /// # Errors
    /// A file cannot be read, is foreign, or of a later version.
    pub fn make(shared: &Shared) -> Result<Self, Error> {
        let mut plan = Self {
            stores: BTreeMap::new(),
            segments: Vec::new(),
            frames: Vec::new(),
            last_sequence: 0,
            next_number: 1,
            total_bytes: 0,
            report: Recovery { started_ms: now_ms(), ..Recovery::default() },
        };
        plan.find_snapshots(shared)?;
        let numbers = shared.layout.segments()?;
        for pair in numbers.windows(2).filter(|pair| pair[0] + 1 < pair[1]) {
            plan.report.damaged_frames += 1;
            let name = shared.layout.segment(pair[0] + 1);
            let last = segment::file_name(pair[1] - 1);
            damage(&mut plan.report, format!("{}: missing, up to {last}", name.display()));
        }
        for (index, number) in numbers.iter().enumerate() {
            plan.find_frames(shared, *number, index + 1 == numbers.len())?;
            plan.next_number = number + 1;
        }
        plan.account(shared);
        if plan.last_sequence > 0 {
            plan.last_sequence += LOST_RECORDS;
        }
        Ok(plan)
    }

    /// Notes how long each store's log is, behind its newest snapshot.
    fn account(&self, shared: &Shared) {
        let mut accounts = shared.accounts.lock();
        for Found { header, .. } in &self.frames {
            let Some(store) = self.stores.get(&header.store) else { continue };
            let newest = store.sources.first().map(|s| s.snapshot.header.first_sequence);
            if header.first_sequence > newest.unwrap_or(store.since) {
                accounts.entry(header.store).or_default().log_bytes += header.frame_bytes();
            }
        }
    }

    fn find_snapshots(&mut self, shared: &Shared) -> Result<(), Error> {
        let catalog = shared.catalog.lock();
        for (number, row) in catalog.rows() {
            self.last_sequence = self.last_sequence.max(row.since);
            self.stores.insert(number, Store { since: row.since, sources: Vec::new() });
        }
        for (number, sequence) in shared.layout.snapshots()? {
            let path = shared.layout.snapshot(number, sequence);
            let Some(row) = catalog.get(number) else { continue };
            let file = OnDisk::open(&path)?;
            let name = path.display().to_string();
            let snapshot = match Snapshot::open(&file) {
                Ok(snapshot) => snapshot,
                Err(hypercache_core::log::snapshot::OpenError::Header(
                    error @ HeaderError::Version(_),
                )) => return Err(wrong(&path, error)),
                Err(error) => {
                    self.report.damaged_snapshots += 1;
                    damage(&mut self.report, format!("{name}: {error}"));
                    continue;
                }
            };
            let header = &snapshot.header;
            if header.data_set != shared.layout.data_set {
                return Err(wrong(&path, "it is of another data set than DATASET says"));
            }
            if header.name != row.name || header.first_sequence < row.since {
                continue;
            }
            if snapshot.has_damaged_header {
                damage(&mut self.report, format!("{name}: its header; nothing is lost by that"));
            }
            self.last_sequence = self.last_sequence.max(snapshot.last_sequence);
            let mut accounts = shared.accounts.lock();
            let account = accounts.entry(number).or_default();
            account.snapshots.push(header.first_sequence);
            account.last_snapshot = Some(stats_of(&snapshot, &file));
            drop(accounts);
            let sequences = snapshot.sequences();
            let mut by_slot = BTreeMap::<Slot, Vec<usize>>::new();
            for (index, entry) in snapshot.entries.iter().enumerate() {
                by_slot.entry(entry.block.slot).or_default().push(index);
            }
            if let Some(store) = self.stores.get_mut(&number) {
                store.sources.insert(0, Source { file, name, snapshot, sequences, by_slot });
            }
        }
        for store in self.stores.values() {
            self.total_bytes += store.sources.first().map_or(0, |source| source.file.byte_len());
        }
        Ok(())
    }

    fn find_frames(&mut self, shared: &Shared, number: u64, is_last: bool) -> Result<(), Error> {
        let path = shared.layout.segment(number);
        let name = path.display().to_string();
        let file = OnDisk::open(&path)?;
        let seal = Seal { data_set: shared.layout.data_set, number };
        let first = read_up_to(&file, 0, segment::HEADER_BYTES as u64);
        let first_sequence = match Header::read(&first.map_err(|error| wrong(&path, error))?) {
            Ok(header) if header.data_set != shared.layout.data_set => {
                return Err(wrong(&path, "it is of another data set than DATASET says"));
            }
            Ok(header) => header.first_sequence,
            Err(HeaderError::CutOff) => {
                // It was being made when the member ended: nothing is in it.
                damage(&mut self.report, format!("{name}: it has no header, and nothing in it"));
                self.last_sequence + 1
            }
            Err(error @ HeaderError::Version(_)) => return Err(wrong(&path, error)),
            // Frames are sealed for one file only: where one is, the file is ours.
            Err(error @ HeaderError::Foreign) if !is_ours(&file, seal) => {
                return Err(wrong(&path, error));
            }
            Err(error @ (HeaderError::Damaged | HeaderError::Foreign)) => {
                damage(&mut self.report, format!("{name}: {error}; its frames are read"));
                self.last_sequence + 1
            }
        };
        self.last_sequence = self.last_sequence.max(first_sequence.saturating_sub(1));
        let index = self.segments.len();
        let mut bytes = file.byte_len();
        for piece in Scan::new(&file, seal) {
            match piece.map_err(|error| wrong(&path, error))? {
                Piece::Found { offset, header } => {
                    let last = header.first_sequence + u64::from(header.records);
                    self.last_sequence = self.last_sequence.max(last);
                    self.total_bytes += header.frame_bytes();
                    self.frames.push(Found { segment: index, offset, header });
                }
                Piece::Damaged { range } => {
                    self.report.damaged_frames += 1;
                    let text = format!("{name}: bytes {} to {}", range.start, range.end);
                    damage(&mut self.report, text);
                }
                Piece::Torn { from, is_blank } => {
                    let torn = file.byte_len() - from;
                    self.report.torn_bytes += torn;
                    if !is_last && !is_blank {
                        self.report.damaged_frames += 1;
                    }
                    damage(&mut self.report, format!("{name}: cut off at byte {from} of {bytes}"));
                    let cut = (|| {
                        if !is_blank {
                            let rest = read_up_to(&file, from, torn)?;
                            let aside = format!("{name}.torn-{from}");
                            fs::write(&aside, rest)?;
                        }
                        let file = OpenOptions::new().write(true).open(&path)?;
                        file.set_len(from)?;
                        file.sync_all()?;
                        sync_parent(&path)
                    })();
                    cut.map_err(|error| wrong(&path, error))?;
                    bytes = from;
                }
                Piece::Newer { offset, version } => {
                    let reason =
                        format!("its frame at byte {offset} is of version {version}: a later one");
                    return Err(wrong(&path, reason));
                }
            }
        }
        shared.segments.lock().push(SegmentInfo { number, first_sequence, bytes });
        self.segments.push(Segment { path: name, file });
        Ok(())
    }

    /// Whether nothing is to be read.
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.stores.values().all(|store| store.sources.is_empty())
    }

    /// Reads everything, on threads of their own, and opens the gate lane by lane.
    ///
    /// # Errors
    /// There are no threads.
    pub fn run(self, shared: &Arc<Shared>, gate: &Arc<Gate>) -> std::io::Result<()> {
        let progress = &shared.progress;
        progress.started_ms.store(self.report.started_ms, Relaxed);
        if self.is_empty() {
            let report = Recovery { damages: self.report.damages.clone(), ..self.report };
            *progress.report.lock() = Some(report);
            progress.is_on.store(false, Release);
            (0..LANES).for_each(|lane| gate.lane_is_ready(lane));
            shared.keyspace.set_loading(false);
            return Ok(());
        }
        progress.total_bytes.store(self.total_bytes, Relaxed);
        tracing::info!(
            bytes = self.total_bytes,
            frames = self.frames.len(),
            segments = self.segments.len(),
            "data is read from the disk"
        );
        let threads = thread::available_parallelism().map_or(1, usize::from).min(LANES);
        let (shared, gate) = (shared.clone(), gate.clone());
        thread::Builder::new().name("recovery".into()).spawn(move || {
            let counts = Counts::default();
            let next = AtomicUsize::new(0);
            let began = Instant::now();
            thread::scope(|scope| {
                let work = || {
                    loop {
                        let lane = next.fetch_add(1, Relaxed);
                        if lane >= LANES || shared.stop.load(Acquire) {
                            return;
                        }
                        self.read_lane(&shared, lane, &counts);
                        gate.lane_is_ready(lane);
                        if let Some(ready) = shared.progress.lanes.get(lane) {
                            ready.store(true, Release);
                        }
                    }
                };
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                let mut told = Instant::now();
                while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
                    thread::park_timeout(Duration::from_millis(5));
                    if told.elapsed() >= TELL {
                        told = Instant::now();
                        let loaded = shared.loading().unwrap_or_default();
                        tracing::info!(
                            percent = loaded.percent() as u64,
                            lanes = loaded.lanes_ready,
                            "data is read from the disk"
                        );
                    }
                }
            });
            let mut report = self.report.clone();
            counts.put(&mut report);
            report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let kept = shared.kept();
            report.keys = kept.iter().map(|policy| shared.keyspace.keys(policy.number)).sum();
            tracing::info!(
                keys = report.keys,
                snapshot_keys = report.snapshot_keys,
                records = report.records,
                damaged_frames = report.damaged_frames,
                damaged_snapshots = report.damaged_snapshots,
                torn_bytes = report.torn_bytes,
                took_ms = report.took_ms,
                "data was read from the disk"
            );
            *shared.progress.report.lock() = Some(report);
            shared.keyspace.set_loading(false);
            shared.progress.is_on.store(false, Release);
            shared.wake_keeper();
        })?;
        Ok(())
    }

    fn read_lane(&self, shared: &Shared, lane: usize, counts: &Counts) {
        let mut done = BTreeMap::<StoreNumber, Vec<Sequence>>::new();
        for (number, store) in &self.stores {
            let mut sequences = vec![store.since; usize::from(SLOTS)];
            for (slot, sequence) in (0..SLOTS).zip(sequences.iter_mut()) {
                if lane_of(slot) == lane {
                    *sequence = self.read_slot(shared, *number, store, slot, counts);
                }
            }
            done.insert(*number, sequences);
        }
        let is_here = |header: &FrameHeader| {
            let lanes = lane_of(*header.slots.start())..=lane_of(*header.slots.end());
            lanes.contains(&lane)
                && (header.store == SEVERAL || self.stores.contains_key(&header.store))
        };
        for Found { segment, offset, header } in self.frames.iter().filter(|f| is_here(&f.header)) {
            let Some(of) = self.segments.get(*segment) else { continue };
            let is_first = lane_of(*header.slots.start()) == lane;
            if is_first {
                shared.progress.loaded_bytes.fetch_add(header.frame_bytes(), Relaxed);
            }
            let at = offset + FRAME_HEADER_BYTES as u64;
            let payload = read_up_to(&of.file, at, header.payload_bytes);
            let wrong = |reason: &dyn std::fmt::Display| {
                if is_first {
                    counts.damaged_frames.fetch_add(1, Relaxed);
                    let end = offset + header.frame_bytes();
                    counts.tell(format!("{}: bytes {offset} to {end}: {reason}", of.path));
                }
            };
            let payload = match payload {
                Ok(payload) => payload,
                Err(error) => {
                    wrong(&error);
                    continue;
                }
            };
            let raw = match header.open(&payload) {
                Ok(raw) => raw,
                Err(error) => {
                    wrong(&error);
                    continue;
                }
            };
            for record in header.records(&raw) {
                let Some(record) = record else {
                    wrong(&"a record makes no sense");
                    break;
                };
                if lane_of(record.slot) != lane {
                    continue;
                }
                let after = done.get(&record.store).and_then(|s| s.get(usize::from(record.slot)));
                if after.is_none_or(|after| record.sequence <= *after) {
                    continue;
                }
                counts.records.fetch_add(1, Relaxed);
                if let Err(error) = shared.keyspace.replay(&record) {
                    counts.tell(format!("{}: the frame at byte {offset}: {error}", of.path));
                }
            }
        }
    }

    /// Reads a slot of a store from the newest snapshot that has it whole; the sequence up to which its
    /// records are in what was read.
    fn read_slot(
        &self,
        shared: &Shared,
        number: StoreNumber,
        store: &Store,
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
                shared.progress.loaded_bytes.fetch_add(payload.len() as u64, Relaxed);
                // As of the snapshot's time: what the log says later may let a key live on.
                let as_of = source.snapshot.header.created_ms;
                match shared.keyspace.load_slot(number, slot, payload, as_of) {
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
}

/// What the lanes' threads count.
#[derive(Default)]
struct Counts {
    snapshot_keys: AtomicU64,
    records: AtomicU64,
    expired_keys: AtomicU64,
    damaged_frames: AtomicU64,
    damaged_snapshots: AtomicU64,
    damages: parking_lot::Mutex<Vec<String>>,
}

impl Counts {
    fn tell(&self, text: String) {
        tracing::warn!(damage = text, "data on the disk is damaged");
        let mut damages = self.damages.lock();
        if damages.len() < MOST_DAMAGES {
            damages.push(text);
        }
    }

    fn put(self, report: &mut Recovery) {
        report.snapshot_keys = self.snapshot_keys.into_inner();
        report.records = self.records.into_inner();
        report.expired_keys = self.expired_keys.into_inner();
        report.damaged_frames += self.damaged_frames.into_inner();
        report.damaged_snapshots += self.damaged_snapshots.into_inner();
        report.damages.extend(self.damages.into_inner());
        report.damages.truncate(MOST_DAMAGES);
    }
}
