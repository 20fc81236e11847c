//! The thread that writes the log: takes what waits in the journal, writes it as frames, forces it to
//! the disk when that is due, and says so.
//!
//! A write that fails is tried again, with pauses; a write or fsync that takes long is a failure until it
//! has ended. What else is done when the disk fails is in `core/src/log/commit.rs`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::*};
use std::task::Wake;
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use hypercache_core::log::Sequence;
use hypercache_core::log::commit::{Commit, Now};
use hypercache_core::log::retention::SegmentInfo;
use hypercache_core::log::segments::Segments;
use hypercache_core::log::writer::{self, Trouble};

use super::layout::Files;
use super::shared::Shared;
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

/// The log's files, with what they cost.
struct Timed {
    shared: Arc<Shared>,
    segments: Segments<Files>,
}

impl Timed {
    fn run<R>(&mut self, run: impl FnOnce(&mut Segments<Files>) -> R) -> R {
        let _busy = Busy::begin(&self.shared);
        run(&mut self.segments)
    }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl writer::Files for Timed {
    type Error = io::Error;

    fn create(&mut self, number: u64) -> io::Result<()> {
        self.run(|segments| segments.create(number))
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let began = Instant::now();
        self.run(|segments| segments.write(number, offset, bytes))?;
        self.shared.log.write_times.note(micros(began));
        Ok(())
    }

    fn truncate(&mut self, number: u64, len: u64) -> io::Result<()> {
        self.run(|segments| segments.truncate(number, len))
    }

    fn sync(&mut self, number: u64) -> io::Result<()> {
        let began = Instant::now();
        self.run(|segments| segments.sync(number))?;
        let took = micros(began);
        let figures = &self.shared.log;
        figures.fsyncs.fetch_add(1, Relaxed);
        figures.last_fsync_ms.store(now_ms(), Relaxed);
        figures.last_fsync_us.store(took, Relaxed);
        figures.longest_fsync_us.fetch_max(took, Relaxed);
        figures.fsync_times.note(took);
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.run(Segments::sync_dir)
    }
}

/// See the module.
pub struct Writer {
    shared: Arc<Shared>,
    commit: Commit,
    files: Timed,
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
        shared.standing.synced.store(last, Release);
        let segments = Segments::of(shared.layout.files.clone());
        let writer = Self {
            shared: shared.clone(),
            commit: Commit::new(options),
            files: Timed { shared: shared.clone(), segments },
        };
        let thread = thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        let _ = shared.writer.set(thread.thread().clone());
        shared.journal().start(last, Arc::new(Unpark(thread.thread().clone())).into());
        Ok(thread)
    }

    /// The time now, and when a time of the steady clock is.
    fn now(&self) -> Now {
        let steady_ms = u64::try_from(self.shared.started.elapsed().as_millis());
        Now { unix_ms: now_ms(), steady_ms: steady_ms.unwrap_or(u64::MAX) }
    }

    fn run(mut self) {
        let shared = self.shared.clone();
        let journal = shared.journal();
        loop {
            let stop = shared.stop.load(Acquire);
            self.regain();
            let (told, urgent) = journal.pending();
            // It was too slow, and has ended since: all is well again.
            let may_heal = !self.commit.has_lost() && !shared.standing.is_unlisted.load(Acquire);
            let urgent = urgent || may_heal && journal.is_failed();
            let now = self.now();
            let sync_wanted = self.commit.is_unsynced()
                && (journal.awaiting() > 0 || shared.standing.sync_wanted.load(Acquire));
            let due = self.commit.due_ms();
            let is_due = sync_wanted || due.is_some_and(|due| due <= now.steady_ms);
            if !stop && !told && !urgent && !is_due {
                match due {
                    Some(due) => thread::park_timeout(Duration::from_millis(due - now.steady_ms)),
                    None => thread::park(),
                }
                continue;
            }
            if told && !urgent && !stop {
                self.gather(Instant::now() + GATHER);
            }
            self.cycle();
            if stop && !journal.pending().0 {
                let finished = self.commit.finish(&mut self.files, journal, &shared.standing);
                match finished {
                    Err(trouble) => self.failed(&trouble),
                    Ok(_) => self.log_began(),
                }
                return;
            }
        }
    }

    /// Waits for more, unless somebody waits.
    fn gather(&self, until: Instant) {
        let shared = &self.shared;
        loop {
            let now = Instant::now();
            let urgent = shared.journal().pending().1 || shared.standing.sync_wanted.load(Acquire);
            if urgent || now >= until || shared.stop.load(Acquire) {
                return;
            }
            thread::park_timeout(until - now);
        }
    }

    /// Writes all that waits, however often that has to be tried, until the member stops; and forces it
    /// to the disk if that is due.
    fn cycle(&mut self) {
        let shared = self.shared.clone();
        let (journal, standing) = (shared.journal(), &shared.standing);
        let (policies, now) = (shared.keyspace.policies(), self.now());
        let mut pause = PAUSES[0];
        let mut written = self.commit.begin(&mut self.files, journal, standing, &policies, now);
        let mut has_failed = false;
        let written = loop {
            let trouble = match written {
                Ok(written) => break written,
                Err(trouble) => trouble,
            };
            self.failed(&trouble);
            if !has_failed {
                tracing::error!(
                    action = "writers-refused",
                    error = %trouble,
                    "writers of logged stores are refused"
                );
            }
            has_failed = true;
            if shared.stop.load(Acquire) {
                // Whoever waited was told; there is nothing more to be done.
                return;
            }
            thread::park_timeout(pause);
            pause = (2 * pause).min(PAUSES[1]);
            let now = self.now();
            written = self.commit.again(&mut self.files, journal, standing, now);
        };
        if has_failed && !self.commit.has_lost() {
            tracing::info!(action = "log-written-again", "the log can be written again");
        }
        if !written.bytes.is_empty() {
            self.note_segment(written.first_sequence);
            let mut accounts = shared.accounts.lock();
            for (store, bytes) in written.bytes {
                accounts.entry(store).or_default().log_bytes += bytes;
            }
        }
        let now = self.now();
        if let Err(trouble) = self.commit.end(&mut self.files, journal, standing, now) {
            tracing::error!(
                action = "writers-refused",
                error = %trouble,
                "writers of logged stores are refused until snapshots of them are there"
            );
            self.failed(&trouble);
        } else {
            self.log_began();
        }
    }

    /// Once the log has a segment on the disk, `STORES` says so.
    fn log_began(&self) {
        if !self.commit.is_on_disk() {
            return;
        }
        let mut catalog = self.shared.catalog.lock();
        if let Err(error) = catalog.log_began() {
            // The next fsync tries again.
            tracing::warn!(
                action = "store-list-not-written",
                path = %catalog.path().display(),
                %error,
                "it could not be written"
            );
        }
    }

    /// Keeps the list of segments.
    fn note_segment(&self, first_sequence: Sequence) {
        let log = self.commit.log();
        let Some(number) = log.number() else { return };
        let (bytes, figures) = (log.segment_bytes(), &self.shared.log);
        let mut segments = self.shared.segments.lock();
        let grown = match segments.last_mut() {
            Some(last) if last.number == number => {
                bytes - std::mem::replace(&mut last.bytes, bytes)
            }
            _ => {
                segments.push(SegmentInfo { number, first_sequence, bytes });
                bytes
            }
        };
        figures.writes.fetch_add(1, Relaxed);
        figures.written_bytes.fetch_add(grown, Relaxed);
    }

    fn failed(&self, trouble: &Trouble) {
        self.shared.failed(&trouble.to_string());
        self.shared.wake_keeper();
    }

    /// What was lost may be in snapshots by now.
    fn regain(&mut self) {
        if self.commit.regain(&self.shared.standing) {
            tracing::info!(
                action = "writers-served-again",
                "snapshots of all logged stores are on the disk: writers are served again"
            );
            self.cycle();
        }
    }
}
