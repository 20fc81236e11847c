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
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use hypercache_core::log::writer::{self, Files, Trouble};
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

/// The log's directory.
struct Directory {
    shared: Arc<Shared>,
    /// The segment that is written.
    open: Option<(u64, File)>,
}

impl Directory {
    fn file(&mut self, number: u64) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let path = self.shared.layout.segment(number);
            self.open = Some((number, OpenOptions::new().write(true).open(path)?));
        }
        self.open.as_mut().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for Directory {
    type Error = io::Error;

    fn create(&mut self, number: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let _busy = Busy::begin(&shared);
        let path = shared.layout.segment(number);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        self.open = Some((number, file));
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let shared = self.shared.clone();
        let _busy = Busy::begin(&shared);
        self.file(number)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, number: u64, len: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let _busy = Busy::begin(&shared);
        self.file(number)?.set_len(len)
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        let shared = self.shared.clone();
        let began = Instant::now();
        {
            let _busy = Busy::begin(&shared);
            self.file(number)?.sync_data()?;
        }
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let figures = &shared.log;
        figures.fsyncs.fetch_add(1, Relaxed);
        figures.last_fsync_ms.store(now_ms(), Relaxed);
        figures.last_fsync_us.store(took, Relaxed);
        figures.longest_fsync_us.fetch_max(took, Relaxed);
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        let _busy = Busy::begin(&shared);
        sync_parent(&self.shared.layout.segment(0))
    }
}

/// See the module.
pub struct Writer {
    shared: Arc<Shared>,
    log: writer::Writer,
    files: Directory,
    /// Each store's durability, as of `policies`.
    durability: BTreeMap<StoreNumber, Durability>,
    policies: Arc<Vec<StorePolicy>>,
    /// Something is written that was not forced to the disk.
    unsynced: bool,
    /// When it has to be.
    due: Option<Instant>,
    /// The cycle that was written last, and the last sequence in it.
    last: Option<(Ticket, Sequence)>,
    /// The last sequence that was given before the start.
    began_after: Sequence,
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

impl Writer {
    /// Starts the thread; the journal is on from then on, and its next record gets
    /// the sequence after `last`.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(shared: &Arc<Shared>, number: u64, last: Sequence) -> io::Result<JoinHandle<()>> {
        let options = writer::Options {
            data_set: shared.layout.data_set,
            next_number: number,
            last_sequence: last,
            segment_bytes: SEGMENT_BYTES,
        };
        shared.log.synced.store(last, Release);
        let writer = Self {
            shared: shared.clone(),
            log: writer::Writer::new(options),
            files: Directory { shared: shared.clone(), open: None },
            durability: BTreeMap::new(),
            policies: Arc::default(),
            unsynced: false,
            due: None,
            last: None,
            began_after: last,
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
            // It was too slow, and has ended since: all is well again.
            let urgent = urgent || (self.lost == 0 && shared.journal().is_failed());
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
            self.write(taken.frames, taken.last_sequence);
            let now = Instant::now();
            bytes.keys().for_each(|store| at_once |= self.note(*store, now));
            let mut accounts = shared.accounts.lock();
            for (store, bytes) in bytes {
                accounts.entry(store).or_default().log_bytes += bytes;
            }
            drop(accounts);
        }
        if self.log.pending_bytes() > 0 {
            // The member stops, and this never got to the disk.
            return;
        }
        shared.journal().written(taken.cycle);
        self.last = Some((taken.cycle, taken.last_sequence));
        if shared.journal().take_lost() {
            self.loses("what came while the disk could not be written was too much to keep");
        }
        let wanted = shared.log.sync_wanted.swap(false, AcqRel);
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        // What failed is well again only once it is on the disk.
        let failed = shared.journal().is_failed();
        let asked = at_once || wanted || is_due || failed || shared.journal().awaiting() > 0;
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

    /// Writes frames, however often that has to be tried, until the member stops.
    fn write(&mut self, frames: Vec<Frame>, last: Sequence) {
        let mut pause = PAUSES[0];
        let mut written = self.log.write(&mut self.files, frames, last, now_ms());
        let mut has_failed = false;
        while let Err(trouble) = written {
            match trouble {
                Trouble::Sync(_) => self.loses(&trouble.to_string()),
                Trouble::Write(_) => self.fail(trouble.to_string()),
            }
            if !has_failed {
                tracing::error!(%trouble, "writers of logged stores are refused");
            }
            has_failed = true;
            if self.shared.stop.load(Acquire) {
                // Whoever waited was told; there is nothing more to be done.
                return;
            }
            thread::park_timeout(pause);
            pause = (2 * pause).min(PAUSES[1]);
            written = self.log.retry(&mut self.files, now_ms());
        }
        self.shared.journal().recycle(self.log.take_spent());
        self.note_segment();
        self.unsynced = true;
        if has_failed && self.sync() {
            tracing::info!("the log can be written again");
        }
    }

    /// Keeps the list of segments.
    fn note_segment(&self) {
        let Some(number) = self.log.number() else { return };
        let (bytes, figures) = (self.log.segment_bytes(), &self.shared.log);
        let mut segments = self.shared.segments.lock();
        let grown = match segments.last_mut() {
            Some(last) if last.number == number => {
                bytes - std::mem::replace(&mut last.bytes, bytes)
            }
            _ => {
                let first_sequence = self.last.map_or(self.began_after, |(_, last)| last) + 1;
                segments.push(SegmentInfo { number, first_sequence, bytes });
                bytes
            }
        };
        figures.writes.fetch_add(1, Relaxed);
        figures.written_bytes.fetch_add(grown, Relaxed);
    }

    /// Forces what is written to the disk; whether it is there.
    fn sync(&mut self) -> bool {
        self.unsynced = false;
        self.due = None;
        match self.log.sync(&mut self.files) {
            Ok(_) => true,
            Err(trouble) => {
                tracing::error!(
                    %trouble,
                    "writers of logged stores are refused until snapshots of them are there"
                );
                self.loses(&trouble.to_string());
                false
            }
        }
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
            tracing::info!(
                "snapshots of all logged stores are on the disk: writers are served again"
            );
            self.lost = 0;
            self.log.snapshots_are_taken();
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
