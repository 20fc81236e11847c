//! The thread that writes the log: takes what waits in the journal, writes it as frames, forces it to
//! the disk when that is due, and says so.
//!
//! | what fails | what is done |
//! |---|---|
//! | a write | the file is cut back and it is tried again, with pauses, until it works |
//! | an fsync | never tried again: a new segment, then snapshots of all logged stores |
//! | both take long | writers are told so; all is well again when it ends well |
//!
//! Meanwhile the journal is failed: who waits is told, and writers of logged stores are refused.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use hypercache_core::log::segment::{self, Seal};
use hypercache_core::log::{Failed, Frame, Sequence, Ticket};
use hypercache_core::store::{Durability, Fsync, StoreNumber, StorePolicy};

use super::layout::sync_parent;
use super::shared::{SegmentInfo, Shared};
use crate::clock::now_ms;

/// How long the writer waits for more before it writes what nobody waits for.
const GATHER: Duration = Duration::from_millis(5);
/// A segment that is this large is followed by another.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The pauses between two tries to write.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// What one system call writes at the most, in frames.
const SLICES: usize = 512;

/// Wakes the writer's thread.
pub struct Unpark(pub Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// The segment that is written to.
struct Segment {
    file: File,
    seal: Seal,
    /// So many bytes of it are well.
    bytes: u64,
}

/// See the module.
pub struct Writer {
    shared: Arc<Shared>,
    segment: Segment,
    /// Each store's durability, as of `policies`.
    durability: BTreeMap<StoreNumber, Durability>,
    policies: Arc<Vec<StorePolicy>>,
    /// Something is written that was not forced to the disk.
    unsynced: bool,
    /// When it has to be.
    due: Option<Instant>,
    /// The cycle that was written last, and the last sequence in it.
    last: Option<(Ticket, Sequence)>,
    /// What was lost: see [`Shared::lost`]. 0: nothing that snapshots have not regained.
    lost: u64,
}

/// Marks that a write or fsync is under way.
struct Busy<'a>(&'a AtomicU64);

impl<'a> Busy<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let now = shared.started.elapsed().as_millis().max(1) as u64;
        shared.log.busy_since_ms.store(now, Relaxed);
        Self(&shared.log.busy_since_ms)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(0, Relaxed);
    }
}

/// Creates a segment, so that it and its name are on the disk.
fn create(shared: &Shared, number: u64, first_sequence: Sequence) -> io::Result<Segment> {
    let data_set = shared.layout.data_set;
    let header = segment::Header { data_set, number, first_sequence, created_ms: now_ms() };
    let path = shared.layout.segment(number);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file
        .write_all(&header.write())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_parent(&path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    let bytes = segment::HEADER_BYTES as u64;
    shared.segments.lock().push(SegmentInfo { number, first_sequence, bytes });
    Ok(Segment { file, seal: header.seal(), bytes })
}

impl Writer {
    /// Begins a segment and starts the thread; the journal is on from then on, and its next record gets
    /// the sequence after `last`.
    ///
    /// # Errors
    /// The segment cannot be created, or there is no thread.
    pub fn start(
        shared: &Arc<Shared>,
        number: u64,
        last: Sequence,
    ) -> io::Result<JoinHandle<()>> {
        let segment = create(shared, number, last + 1)?;
        shared.log.synced.store(last, Release);
        let writer = Self {
            shared: shared.clone(),
            segment,
            durability: BTreeMap::new(),
            policies: Arc::default(),
            unsynced: false,
            due: None,
            last: None,
            lost: 0,
        };
        let thread = thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        let _ = shared.writer.set(thread.thread().clone());
        shared.journal().start(last, Arc::new(Unpark(thread.thread().clone())).into());
        Ok(thread)
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        loop {
            let stop = shared.stop.load(Acquire);
            self.regain();
            let (told, urgent) = shared.journal().pending();
            let now = Instant::now();
            let sync_wanted = self.unsynced
                && (shared.journal().awaiting() > 0 || shared.log.sync_wanted.load(Acquire));
            let is_due = sync_wanted || self.due.is_some_and(|due| due <= now);
            if !stop && !told && !urgent && !is_due {
                match self.due {
                    Some(due) => thread::park_timeout(due - now),
                    None => thread::park(),
                }
                continue;
            }
            if told && !urgent && !stop {
                self.gather(now + GATHER);
            }
            self.cycle();
            if stop && !shared.journal().pending().0 {
                self.end();
                return;
            }
        }
    }

    /// Waits for more, unless somebody waits.
    fn gather(&self, until: Instant) {
        let shared = &self.shared;
        loop {
            let now = Instant::now();
            let urgent = shared.journal().pending().1 || shared.log.sync_wanted.load(Acquire);
            if urgent || now >= until || shared.stop.load(Acquire) {
                return;
            }
            thread::park_timeout(until - now);
        }
    }

    fn look_at_policies(&mut self) {
        let policies = self.shared.keyspace.policies();
        if !Arc::ptr_eq(&policies, &self.policies) {
            let each = policies.iter().map(|policy| (policy.number, policy.durability.clone()));
            self.durability = each.collect();
            self.policies = policies;
        }
    }

    /// Writes all that waits, and forces it to the disk if that is due.
    fn cycle(&mut self) {
        self.look_at_policies();
        let shared = self.shared.clone();
        let taken = shared.journal().take();
        let mut at_once = false;
        if !taken.frames.is_empty() {
            let mut bytes = BTreeMap::<StoreNumber, u64>::new();
            for frame in &taken.frames {
                *bytes.entry(frame.store()).or_default() += frame.len() as u64;
            }
            self.write(taken.frames);
            let now = Instant::now();
            bytes.keys().for_each(|store| at_once |= self.note(*store, now));
            let mut accounts = shared.accounts.lock();
            for (store, bytes) in bytes {
                accounts.entry(store).or_default().log_bytes += bytes;
            }
            drop(accounts);
            shared.journal().written(taken.cycle);
        }
        self.last = Some((taken.cycle, taken.last_sequence));
        if shared.journal().take_lost() {
            self.loses("what came while the disk could not be written was too much to keep");
        }
        let wanted = shared.log.sync_wanted.swap(false, AcqRel);
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        let asked = at_once || wanted || is_due || shared.journal().awaiting() > 0;
        if self.unsynced && asked {
            self.sync();
        }
        if !self.unsynced {
            self.is_durable();
        }
    }

    /// Notes when a frame of a store has to be on the disk; whether that is at once.
    fn note(&mut self, store: StoreNumber, now: Instant) -> bool {
        let mut at_once = false;
        let mut note = |durability: &Durability, due: &mut Option<Instant>| match durability.fsync {
            Fsync::Always => at_once = true,
            Fsync::Periodic => {
                let interval = Duration::from_millis(durability.fsync_interval_ms);
                let then = now + interval.saturating_sub(2 * GATHER);
                *due = Some(due.map_or(then, |due| due.min(then)));
            }
            Fsync::Never => {}
        };
        match self.durability.get(&store) {
            Some(durability) => note(durability, &mut self.due),
            // A batch over several stores: as the strictest has it.
            None => {
                let logged = self.durability.values().filter(|each| each.mode.is_logged());
                logged.for_each(|each| note(each, &mut self.due));
            }
        }
        at_once
    }

    /// Writes frames, however often that has to be tried.
    fn write(&mut self, frames: Vec<Frame>) {
        if self.segment.bytes >= SEGMENT_BYTES {
            if self.unsynced {
                self.sync();
            }
            self.next_segment();
        }
        let mut frames: Vec<Vec<u8>> = frames.into_iter().map(|frame| frame.finish().0).collect();
        let mut pause = PAUSES[0];
        let mut has_failed = false;
        loop {
            let written = {
                let _busy = Busy::begin(&self.shared);
                self.try_write(&mut frames)
            };
            match written {
                Ok(()) => break,
                Err(error) => {
                    let reason = format!("the log cannot be written: {error}");
                    if !has_failed {
                        tracing::error!(%error, "the log cannot be written: writers are refused");
                    }
                    has_failed = true;
                    self.fail(reason);
                    if self.shared.stop.load(Acquire) {
                        // Whoever waited was told; there is nothing more to be done.
                        return;
                    }
                    thread::park_timeout(pause);
                    pause = (2 * pause).min(PAUSES[1]);
                }
            }
        }
        self.unsynced = true;
        if has_failed && self.sync() {
            tracing::info!("the log can be written again");
        }
        self.heal();
    }

    /// Writes all frames behind what is well, or leaves the file as it was.
    fn try_write(&mut self, frames: &mut [Vec<u8>]) -> io::Result<()> {
        let Segment { file, seal, bytes } = &mut self.segment;
        // Behind what is well, whatever a write before has left there.
        file.seek(SeekFrom::Start(*bytes))?;
        let mut at = *bytes;
        for frame in frames.iter_mut() {
            seal.apply(frame, at);
            at += frame.len() as u64;
        }
        let written = write_all(file, frames);
        if let Err(error) = written {
            let mut at = *bytes;
            for frame in frames.iter_mut() {
                // Opens the seal again.
                seal.apply(frame, at);
                at += frame.len() as u64;
            }
            file.set_len(*bytes)?;
            return Err(error);
        }
        let figures = &self.shared.log;
        figures.writes.fetch_add(1, Relaxed);
        figures.written_bytes.fetch_add(at - *bytes, Relaxed);
        *bytes = at;
        if let Some(info) = self.shared.segments.lock().last_mut() {
            info.bytes = at;
        }
        Ok(())
    }

    /// Forces what is written to the disk; whether it is there.
    fn sync(&mut self) -> bool {
        let began = Instant::now();
        let synced = {
            let _busy = Busy::begin(&self.shared);
            self.segment.file.sync_data()
        };
        self.unsynced = false;
        self.due = None;
        let figures = &self.shared.log;
        if let Err(error) = synced {
            tracing::error!(
                %error,
                "the log could not be forced to the disk: writers are refused until snapshots of all \
                 logged stores are there"
            );
            self.loses(&format!("the log could not be forced to the disk: {error}"));
            self.next_segment();
            return false;
        }
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        figures.fsyncs.fetch_add(1, Relaxed);
        figures.last_fsync_ms.store(now_ms(), Relaxed);
        figures.last_fsync_us.store(took, Relaxed);
        figures.longest_fsync_us.fetch_max(took, Relaxed);
        if let Some((_, sequence)) = self.last {
            figures.synced.store(sequence, Release);
        }
        true
    }

    /// All that was written is on the disk: tells who waits for that.
    fn is_durable(&mut self) {
        if let Some((cycle, sequence)) = self.last
            && self.lost == 0
        {
            self.shared.log.synced.store(sequence, Release);
            self.heal();
            self.shared.journal().durable(cycle);
        } else if let Some((_, sequence)) = self.last {
            self.shared.log.synced.store(sequence, Release);
        }
    }

    /// Goes on in another segment, however often that has to be tried.
    fn next_segment(&mut self) {
        let first_sequence = self.last.map_or(1, |(_, sequence)| sequence + 1);
        let mut number = self.segment.seal.number + 1;
        loop {
            let created = {
                let _busy = Busy::begin(&self.shared);
                create(&self.shared, number, first_sequence)
            };
            match created {
                Ok(segment) => {
                    self.segment = segment;
                    return;
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::AlreadyExists {
                        number += 1;
                    }
                    self.fail(format!("a segment of the log cannot be created: {error}"));
                    if self.shared.stop.load(Acquire) {
                        return;
                    }
                    thread::park_timeout(PAUSES[1]);
                }
            }
        }
    }

    fn fail(&self, reason: String) {
        self.shared.failed(&reason);
        self.shared.journal().fail(Failed(reason.into()));
    }

    /// What is on the disk lacks something: only snapshots make it whole again.
    fn loses(&mut self, reason: &str) {
        self.fail(reason.to_owned());
        self.lost = self.shared.lost.fetch_add(1, AcqRel) + 1;
        self.shared.wake_keeper();
    }

    /// What was lost may be in snapshots by now.
    fn regain(&mut self) {
        if self.lost > 0 && self.shared.regained.load(Acquire) >= self.lost {
            tracing::info!("snapshots of all logged stores are on the disk: writers are served again");
            self.lost = 0;
            self.shared.log.sync_wanted.store(true, Release);
            self.cycle();
        }
    }

    fn heal(&self) {
        if self.lost == 0 && self.shared.journal().is_failed() {
            self.shared.journal().heal();
        }
    }

    /// The last that is done: all is forced to the disk.
    fn end(&mut self) {
        if self.unsynced && self.sync() {
            self.is_durable();
        }
    }
}

fn write_all(file: &mut File, frames: &[Vec<u8>]) -> io::Result<()> {
    for some in frames.chunks(SLICES) {
        let mut slices: Vec<IoSlice<'_>> = some.iter().map(|frame| IoSlice::new(frame)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => IoSlice::advance_slices(&mut left, bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
