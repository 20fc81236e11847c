//! A connection's transaction: the commands since MULTI, and the keys since WATCH.

use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::command::{Flags, Run, ShellCommand, Spec};
use hypercache_core::resp::Protocol;

use super::{clients::Client, pause};
use crate::router::{Watched, wire};

/// What the commands since MULTI may take (Redis counts them against
/// `client-query-buffer-limit`). Below what a message between members may hold.
const MAX_QUEUE_BYTES: usize = 512 * 1024 * 1024;
/// How many keys a connection may watch.
const MAX_WATCHED_KEYS: usize = 10_000;

/// Not in MULTI, as `CLIENT LIST` shows it.
pub const NOT_IN_MULTI: i32 = -1;

/// What MULTI and WATCH began.
#[derive(Debug, Default)]
pub struct Transaction {
    open: bool,
    /// A command could not be queued, so EXEC runs none.
    failed: bool,
    /// The commands, as they travel between members.
    queue: Vec<u8>,
    count: usize,
    /// One of the commands is held up by CLIENT PAUSE … WRITE.
    writes: bool,
    watched: Vec<Watched>,
}

/// A transaction that ended: what EXEC runs.
#[derive(Debug)]
pub struct Ended {
    /// EXEC runs none of its commands.
    pub failed: bool,
    /// The commands: see [`wire::command_at`].
    pub queue: Vec<u8>,
    /// How many there are.
    pub count: usize,
    /// The watched keys.
    pub watched: Vec<Watched>,
}

impl Transaction {
    /// Whether commands are queued rather than run.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether EXEC would run a command that CLIENT PAUSE … WRITE holds up.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// Begins to queue commands. MULTI itself is none that can be queued.
    pub fn begin(&mut self, client: &Client) {
        self.open = true;
        client.multi.store(0, Relaxed);
    }

    /// Notes that a command was refused: EXEC will run none.
    #[inline]
    pub fn fail(&mut self) {
        if self.open {
            self.failed = true;
            self.queue = Vec::new();
        }
    }

    /// Queues a command.
    ///
    /// # Errors
    /// Why it cannot be queued; the transaction has failed then.
    pub fn queue(&mut self, client: &Client, spec: &Spec, args: &[&[u8]]) -> Result<(), String> {
        if spec.flags.contains(Flags::NO_MULTI) {
            self.fail();
            return Err(format!("ERR Command '{}' not allowed inside a transaction", spec.name));
        }
        let bytes = args.iter().map(|arg| arg.len() + 4).sum::<usize>() + 8;
        if self.queue.len() + bytes > MAX_QUEUE_BYTES {
            self.fail();
            return Err(format!("ERR the transaction is over {MAX_QUEUE_BYTES} bytes"));
        }
        self.count += 1;
        self.writes |= pause::writes(spec, args);
        // One that has failed runs nothing, so there is nothing to keep.
        if !self.failed {
            wire::put_command(&mut self.queue, 0, Protocol::Resp2, args);
        }
        client.multi.store(i32::try_from(self.count).unwrap_or(i32::MAX), Relaxed);
        client.multi_bytes.store(self.queue.len() as u64, Relaxed);
        Ok(())
    }

    /// Ends it, the watches with it; `None` if there is none, and then the watches stay.
    pub fn end(&mut self, client: &Client) -> Option<Ended> {
        if !self.open {
            return None;
        }
        client.multi.store(NOT_IN_MULTI, Relaxed);
        client.multi_bytes.store(0, Relaxed);
        client.watched.store(0, Relaxed);
        let Self { failed, queue, count, watched, .. } = std::mem::take(self);
        Some(Ended { failed, queue, count, watched })
    }

    /// The watched keys, which are not any more.
    pub fn take_watched(&mut self) -> Vec<Watched> {
        std::mem::take(&mut self.watched)
    }

    /// Those of `keys` that are not watched in a store yet, each once. A key that is stays as it was
    /// first watched.
    ///
    /// # Errors
    /// They are too many.
    pub fn unwatched<'a>(&self, store: u16, keys: &[&'a [u8]]) -> Result<Vec<&'a [u8]>, String> {
        let mut new: Vec<&[u8]> = keys.to_vec();
        new.sort_unstable();
        new.dedup();
        let known: std::collections::HashSet<&[u8]> =
            self.watched.iter().filter(|w| w.store == store).map(|w| &w.key[..]).collect();
        new.retain(|key| !known.contains(key));
        if self.watched.len() + new.len() > MAX_WATCHED_KEYS {
            return Err(format!("ERR a connection can watch at most {MAX_WATCHED_KEYS} keys"));
        }
        Ok(new)
    }

    /// Adds watched keys.
    pub fn watch(&mut self, watched: Vec<Watched>) {
        self.watched.extend(watched);
    }
}

/// Whether a command runs at once although a transaction is open, as in Redis.
#[inline]
pub fn runs_inside(spec: &Spec) -> bool {
    use ShellCommand as C;
    matches!(spec.run, Run::Shell(C::Exec | C::Discard | C::Quit | C::Reset))
}
