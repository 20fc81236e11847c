//! How long a script may run, and what ends it.
//!
//! The count hook asks [`check`] every few hundred instructions, and so do our own functions that
//! may run long. Once a script is to end it stays so: what catches errors (`pcall`, `xpcall`,
//! `coroutine.resume`, `load`) asks [`stopped`] and raises again, so that nothing holds it up.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A script that has written may run this many times as long before it is stopped: what it did stays,
/// so that stopping it breaks it in two.
const PATIENCE_ONCE_WRITTEN: u32 = 2;
/// From here on, other parts of the process take care not to wait for the script's slots.
const LONG: Duration = Duration::from_millis(20);
/// Looks at the clock that lie this far apart are too far.
const SLOW: Duration = Duration::from_millis(2);

/// Why a script has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Overdue,
    OverdueWritten,
    Killed,
}

impl Stop {
    fn text(self) -> &'static str {
        match self {
            Self::Overdue => {
                "Script stopped because it ran longer than script.time_limit (lua-time-limit)"
            }
            Self::OverdueWritten => {
                "Script stopped after it had written, because it ran longer than twice \
                 script.time_limit (lua-time-limit); what it wrote stays"
            }
            Self::Killed => "Script killed by user with SCRIPT KILL.",
        }
    }
}

/// What others see of the script that a thread runs.
#[derive(Debug, Default)]
pub struct Seen {
    /// Which run of the member's it is; 0 for none.
    run: AtomicU64,
    wrote: AtomicBool,
    /// The run that has to end.
    kill: AtomicU64,
}

/// The scripts that run on this member.
#[derive(Debug, Default)]
pub struct Running {
    runs: AtomicU64,
    threads: Mutex<Vec<Arc<Seen>>>,
    /// How many run long.
    long: AtomicU64,
}

/// What SCRIPT KILL did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Killed {
    /// No script runs.
    NotBusy,
    /// The only scripts that run have written.
    Unkillable,
    /// One is told to end.
    Killed,
}

impl Running {
    /// Whether a script runs that may keep its slots locked for long.
    #[inline]
    pub fn is_long(&self) -> bool {
        self.long.load(Relaxed) > 0
    }

    /// Tells the script that has run longest, of those that have not written, to end.
    pub fn kill(&self) -> Killed {
        let mut found = Killed::NotBusy;
        let mut oldest: Option<(u64, &Arc<Seen>)> = None;
        let threads = self.threads.lock();
        for seen in threads.iter() {
            let run = seen.run.load(Relaxed);
            if run == 0 {
                continue;
            }
            if seen.wrote.load(Relaxed) {
                found = found.max(Killed::Unkillable);
            } else if oldest.is_none_or(|(other, _)| run < other) {
                oldest = Some((run, seen));
            }
        }
        if let Some((run, seen)) = oldest {
            seen.kill.store(run, Relaxed);
            found = Killed::Killed;
        }
        found
    }
}

struct Watch {
    began: Cell<Instant>,
    last: Cell<Instant>,
    limit: Cell<Duration>,
    run: Cell<u64>,
    wrote: Cell<bool>,
    long: Cell<bool>,
    slow: Cell<bool>,
    stop: Cell<Option<Stop>>,
    seen: OnceCell<(Arc<Running>, Arc<Seen>)>,
}

thread_local! {
    static WATCH: Watch = {
        let now = Instant::now();
        Watch {
            began: Cell::new(now),
            last: Cell::new(now),
            limit: Cell::new(Duration::ZERO),
            run: Cell::new(0),
            wrote: Cell::new(false),
            long: Cell::new(false),
            slow: Cell::new(false),
            stop: Cell::new(None),
            seen: OnceCell::new(),
        }
    };
}

/// A script that runs on this thread; it has ended when this is dropped.
pub struct Run(());

/// Begins to watch a script on this thread.
pub fn begin(running: &Arc<Running>, limit: Duration) -> Run {
    WATCH.with(|watch| {
        let now = Instant::now();
        watch.began.set(now);
        watch.last.set(now);
        watch.limit.set(limit);
        watch.wrote.set(false);
        watch.long.set(false);
        watch.slow.set(false);
        watch.stop.set(None);
        let run = running.runs.fetch_add(1, Relaxed) + 1;
        watch.run.set(run);
        let (_, seen) = watch.seen.get_or_init(|| {
            let seen = Arc::new(Seen::default());
            let mut threads = running.threads.lock();
            // Threads that have ended left theirs behind.
            threads.retain(|seen| Arc::strong_count(seen) > 1);
            threads.push(seen.clone());
            (running.clone(), seen)
        });
        seen.wrote.store(false, Relaxed);
        seen.run.store(run, Relaxed);
    });
    Run(())
}

impl Drop for Run {
    fn drop(&mut self) {
        WATCH.with(|watch| {
            watch.run.set(0);
            watch.stop.set(None);
            if let Some((running, seen)) = watch.seen.get() {
                seen.run.store(0, Relaxed);
                if watch.long.replace(false) {
                    running.long.fetch_sub(1, Relaxed);
                }
            }
        });
    }
}

/// The script has changed data.
pub fn wrote() {
    WATCH.with(|watch| {
        if !watch.wrote.replace(true)
            && let Some((_, seen)) = watch.seen.get()
        {
            seen.wrote.store(true, Relaxed);
        }
    });
}

/// Whether the script has changed data.
pub fn has_written() -> bool {
    WATCH.with(|watch| watch.wrote.get())
}

/// Looks at the clock and at SCRIPT KILL: the words for why the script has to end, if it has to.
pub fn check() -> Option<&'static str> {
    WATCH.with(|watch| {
        if let Some(stop) = watch.stop.get() {
            return Some(stop.text());
        }
        let run = watch.run.get();
        let (running, seen) = watch.seen.get().filter(|_| run != 0)?;
        let now = Instant::now();
        watch.slow.set(now - watch.last.replace(now) > SLOW);
        let ran = now - watch.began.get();
        if ran > LONG && !watch.long.replace(true) {
            running.long.fetch_add(1, Relaxed);
        }
        let limit = watch.limit.get();
        let stop = match watch.wrote.get() {
            false if seen.kill.load(Relaxed) == run => Some(Stop::Killed),
            false if ran > limit => Some(Stop::Overdue),
            true if ran > limit.saturating_mul(PATIENCE_ONCE_WRITTEN) => Some(Stop::OverdueWritten),
            _ => None,
        };
        watch.stop.set(stop);
        stop.map(Stop::text)
    })
}

/// Whether the last two looks at the clock were far apart: instructions are slow.
pub fn is_slow() -> bool {
    WATCH.with(|watch| watch.slow.get())
}

/// The words for why the script has to end, if that is known by now; cheap.
#[inline]
pub fn stopped() -> Option<&'static str> {
    WATCH.with(|watch| watch.stop.get()).map(Stop::text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_is_overdue_is_stopped_and_one_that_wrote_gets_twice_the_time() {
        let running = Arc::new(Running::default());
        let run = begin(&running, Duration::ZERO);
        std::thread::yield_now();
        assert_eq!(check(), Some(Stop::Overdue.text()));
        assert_eq!(stopped(), Some(Stop::Overdue.text()));
        drop(run);
        assert_eq!(stopped(), None);
        let run = begin(&running, Duration::from_secs(3600));
        assert_eq!(check(), None);
        wrote();
        assert!(has_written());
        drop(run);
        let _run = begin(&running, Duration::from_secs(3600));
        assert!(!has_written());
    }

    #[test]
    fn kill_finds_the_oldest_that_has_not_written() {
        let running = Arc::new(Running::default());
        assert_eq!(running.kill(), Killed::NotBusy);
        let run = begin(&running, Duration::from_secs(3600));
        assert_eq!(running.kill(), Killed::Killed);
        assert_eq!(check(), Some(Stop::Killed.text()));
        drop(run);
        // The kill was for the run before.
        let run = begin(&running, Duration::from_secs(3600));
        assert_eq!(check(), None);
        wrote();
        assert_eq!(running.kill(), Killed::Unkillable);
        assert_eq!(check(), None);
        drop(run);
        assert_eq!(running.kill(), Killed::NotBusy);
    }
}
