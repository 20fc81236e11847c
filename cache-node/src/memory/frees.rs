//! Gives back on a thread of its own what is large and goes, so that no command waits for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{TrySendError, sync_channel};

use hypercache_core::keyspace::{Keyspace, Remains};

/// So many values or groups of tables may wait; what comes then is given back where it goes.
const WAITING: usize = 1024;

/// What was given back elsewhere than where it went, counted in keys.
#[derive(Debug, Default)]
pub struct Frees {
    pending: AtomicU64,
    freed: AtomicU64,
}

impl Frees {
    /// Keys that wait.
    pub fn pending(&self) -> u64 {
        self.pending.load(Relaxed)
    }

    /// Keys that are given back, since the start.
    pub fn freed(&self) -> u64 {
        self.freed.load(Relaxed)
    }
}

/// Takes over what goes from a keyspace, for as long as that lives.
///
/// # Errors
/// The system gives no thread.
pub fn start(keyspace: &Keyspace) -> io::Result<Arc<Frees>> {
    let frees = Arc::new(Frees::default());
    let (sender, receiver) = sync_channel::<Remains>(WAITING);
    let counts = Arc::clone(&frees);
    std::thread::Builder::new().name("frees".into()).spawn(move || {
        for remains in receiver {
            let keys = remains.keys();
            drop(remains);
            counts.pending.fetch_sub(keys, Relaxed);
            counts.freed.fetch_add(keys, Relaxed);
        }
    })?;
    let counts = Arc::clone(&frees);
    keyspace.on_remains(Box::new(move |remains| {
        let keys = remains.keys();
        counts.pending.fetch_add(keys, Relaxed);
        match sender.try_send(remains) {
            Ok(()) => {}
            Err(TrySendError::Full(remains) | TrySendError::Disconnected(remains)) => {
                drop(remains);
                counts.pending.fetch_sub(keys, Relaxed);
                counts.freed.fetch_add(keys, Relaxed);
            }
        }
    }));
    Ok(frees)
}
