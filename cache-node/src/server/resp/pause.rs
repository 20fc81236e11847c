//! CLIENT PAUSE: commands of clients wait, all of them or those that write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hypercache_core::command::{self, Run, ShellCommand, Spec};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::clients::Client;
use super::transaction::Transaction;
use crate::clock::now_ms;
use crate::script::Header;

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Commands that may write.
    Writes,
    /// All commands.
    All,
}

/// A pause that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// What waits.
    pub held: Held,
    /// When it ends, in Unix milliseconds.
    pub until_ms: u64,
}

/// Whether clients are paused on this member.
#[derive(Debug)]
pub struct Pause {
    /// A hint that `state` is worth a look.
    on: AtomicBool,
    state: Mutex<Option<Paused>>,
    changed: watch::Sender<()>,
    waiting: AtomicU64,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            waiting: AtomicU64::new(0),
        }
    }
}

/// Whether a command may change something, or tell others of a change. A script may unless its first
/// line says that it does not; one that is named by its hash is not looked up for that.
#[cold]
pub fn writes(spec: &Spec, args: &[&[u8]]) -> bool {
    match spec.name {
        "pfcount" | "publish" | "spublish" | "evalsha" | "script|load" | "script|flush" => true,
        "eval" => {
            let header = args.get(1).map(|text| Header::read(text));
            !header.is_some_and(|header| header.is_ok_and(|header| header.no_writes))
        }
        _ => spec.is_write(),
    }
}

/// A client that waits, for as long as it does.
struct Waits<'a>(&'a Pause, &'a Client);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.1.waits.store(false, Relaxed);
    }
}

impl Pause {
    /// Whether there may be a pause.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// The pause that is on.
    pub fn now(&self) -> Option<Paused> {
        let mut state = self.state.lock();
        let over = state.is_some_and(|paused| paused.until_ms <= now_ms());
        if over {
            *state = None;
            self.on.store(false, Relaxed);
        }
        *state
    }

    /// Pauses until a time in Unix milliseconds. A pause that is on is only made longer and
    /// stricter by another.
    pub fn begin(&self, held: Held, until_ms: u64) {
        let before = self.now();
        let mut state = self.state.lock();
        *state = Some(Paused {
            held: before.map_or(held, |b| b.held.max(held)),
            until_ms: before.map_or(until_ms, |b| b.until_ms.max(until_ms)),
        });
        self.on.store(true, Relaxed);
    }

    /// Ends the pause.
    pub fn end(&self) {
        *self.state.lock() = None;
        self.on.store(false, Relaxed);
        self.changed.send_replace(());
    }

    /// Whether a command has to wait. EXEC writes if one of its commands does.
    #[cold]
    pub fn holds(&self, spec: &Spec, args: &[&[u8]], transaction: &Transaction) -> bool {
        self.now().is_some_and(|paused| match paused.held {
            Held::All => true,
            Held::Writes => {
                let exec = matches!(spec.run, Run::Shell(ShellCommand::Exec));
                writes(spec, args) || (exec && transaction.writes())
            }
        })
    }

    /// Whether a command that another member sent has to wait. One that no client can send is a
    /// transaction, which is taken for one that writes.
    #[cold]
    pub fn holds_forwarded(&self, args: &[&[u8]]) -> bool {
        self.now().is_some_and(|paused| {
            paused.held == Held::All || command::find(args).is_none_or(|spec| writes(spec, args))
        })
    }

    /// How many clients wait for its end.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Waits for the end of the pause.
    pub async fn over(&self, client: &Arc<Client>) {
        self.waiting.fetch_add(1, Relaxed);
        client.waits.store(true, Relaxed);
        let _waits = Waits(self, client);
        let mut changed = self.changed.subscribe();
        while let Some(paused) = self.now() {
            let left = Duration::from_millis(paused.until_ms.saturating_sub(now_ms()).max(1));
            // A day at a time: timers do not reach further than a few years.
            let _ =
                tokio::time::timeout(left.min(Duration::from_hours(24)), changed.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_only_made_longer_and_stricter_by_another() {
        let pause = Pause::default();
        assert!(!pause.is_on());
        let later = now_ms() + 60_000;
        pause.begin(Held::Writes, later);
        pause.begin(Held::All, later - 50_000);
        pause.begin(Held::Writes, later - 50_000);
        assert_eq!(pause.now(), Some(Paused { held: Held::All, until_ms: later }));
        pause.end();
        assert!(!pause.is_on() && pause.now().is_none());
        pause.begin(Held::Writes, now_ms());
        assert!(pause.now().is_none() && !pause.is_on());
    }
}
