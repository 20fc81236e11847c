//! The disk: what makes the journal durable, takes snapshots, and reads both back at start.
//!
//! Under `node.data_dir` stands `durable/`: `DATASET` says whose data it is, `STORES` which stores'
//! data, `log/` has the segments, `snapshots/<number>-<name>/` the snapshots of each store. Files that
//! end in `.tmp` are not complete and are removed at start. docs/formats.md has every byte.
//!
//! | file | what it is about |
//! |---|---|
//! | `handle` | what the other parts ask of it |
//! | `stats` | what is known of it |
//! | `wanted` | snapshots that are asked for, and what for |
//! | `layout` | directories and files, and how they are opened |
//! | `catalog` | which stores' data is there |
//! | `gate` | slots are served once they are read |
//! | `recovery` | what is read at start |
//! | `writer` | the thread that writes the log |
//! | `held` | files that stay while a backup is made from them |
//! | `space` | how much of its file system is free |
//! | `keeper` | the thread that takes snapshots and removes what is not needed |

pub(crate) mod catalog;
mod gate;
mod handle;
mod held;
mod keeper;
pub(crate) mod layout;
pub(crate) mod recovery;
mod shared;
mod space;
mod stats;
mod wanted;
mod writer;

pub use gate::Gate;
pub use handle::{Handle, Which};
pub(crate) use held::{Held, HeldSegment, HeldSnapshot};
pub(crate) use layout::{Files, OnDisk, sync_parent};
pub use space::Space;
pub use stats::{
    LastError, Loading, LogStats, Recovery, RewriteStats, SnapshotProgress, SnapshotStats, Stats,
    StoreDisk,
};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::thread::JoinHandle;

use hypercache_core::keyspace::Keyspace;
use hypercache_core::store::{Mode, StoreNumber, StorePolicy};

use catalog::Catalog;
use layout::Layout;
use shared::Shared;
use wanted::Purpose;

/// Where a member's data is kept, and whose it is.
pub struct Options {
    /// The data directory; without one nothing is kept.
    pub data_dir: Option<PathBuf>,
    /// The data.
    pub keyspace: Arc<Keyspace>,
    /// The stores of the configuration: those of a cluster that this member makes.
    pub stores: Vec<StorePolicy>,
}

/// The disk, opened; nothing is read yet.
pub struct Disk {
    shared: Option<Arc<Shared>>,
    gate: Arc<Gate>,
    stores: Vec<StorePolicy>,
    keyspace: Arc<Keyspace>,
}

impl Options {
    /// Opens the directory, or begins it.
    ///
    /// # Errors
    /// It cannot be understood or used; stores are to be kept, and there is no directory.
    pub fn open(self) -> Result<Disk, Error> {
        let Self { data_dir, keyspace, stores } = self;
        let Some(data_dir) = data_dir else {
            let kept = stores.iter().find(|store| store.durability.mode != Mode::Disabled);
            if let Some(store) = kept {
                return Err(Error::NoDirectory(store.name.clone()));
            }
            let gate = Arc::new(Gate::new(keyspace.clone(), None));
            return Ok(Disk { shared: None, gate, stores, keyspace });
        };
        let (layout, is_new) = Layout::open(&data_dir)?;
        if is_new {
            tracing::info!(
                action = "data-directory-made",
                path = %layout.root.display(),
                "a new directory for data: it is empty"
            );
        }
        let catalog = Catalog::open(&layout.root)?;
        let shared = Arc::new(Shared::new(keyspace.clone(), layout, catalog));
        shared.progress.is_on.store(true, Release);
        shared.keyspace.set_loading(true);
        let gate = Arc::new(Gate::new(keyspace.clone(), Some(shared.clone())));
        Ok(Disk { shared: Some(shared), gate, stores, keyspace })
    }
}

/// The threads of a disk that runs.
pub struct Running {
    shared: Option<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Stands between the cluster's table and the keyspace.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Begins to read what is there, and to keep what comes. To be called when the cluster's table, as
    /// far as this member knew it, was given to the gate; returns when the rest goes on by itself.
    ///
    /// # Errors
    /// What is there cannot be understood or used.
    pub fn start(self) -> Result<(Handle, Running), Error> {
        let Some(shared) = self.shared else {
            return Ok((Handle::default(), Running { shared: None, threads: Vec::new() }));
        };
        if !self.gate.told.load(Acquire) {
            // No cluster yet: what is there, if anything, is of those that it will be made with.
            self.keyspace.set_stores(&self.stores);
            all_are_named(&shared.catalog.lock(), &self.stores)?;
        }
        let plan = recovery::Plan::make(&shared)?;
        let (last, number) = (plan.last_sequence(), plan.next_number());
        let policies = self.keyspace.policies();
        let begins = {
            let mut catalog = shared.catalog.lock();
            if number > 1 {
                // An earlier version did not note it. If it cannot be written now, the writer tries again.
                let _ = catalog.log_began();
            }
            let followed = catalog.follow(&policies, last);
            followed.map_err(|error| layout::wrong(catalog.path(), error))?
        };
        self.gate.follows.store(true, Release);
        // Ended from the last to the first.
        let threads = vec![
            writer::Writer::start(&shared, number, last).map_err(Error::Threads)?,
            keeper::start(&shared).map_err(Error::Threads)?,
        ];
        {
            // Of these the log alone does not say what they hold.
            let mut wanted = shared.wanted.lock();
            begins.into_iter().for_each(|store| {
                wanted.ask(store, Purpose::SAVE, None);
            });
        }
        plan.run(&shared, &self.gate).map_err(Error::Threads)?;
        Ok((Handle(Some(shared.clone())), Running { shared: Some(shared), threads }))
    }
}

/// Whether the configuration names all stores whose data is there. Without a cluster that knows them, as
/// after a restore, the others' data would be taken for that of stores that were dropped.
fn all_are_named(catalog: &Catalog, stores: &[StorePolicy]) -> Result<(), Error> {
    let is_named = |number: StoreNumber, name: &str| {
        let mut named = stores.iter().filter(|of| of.durability.mode != Mode::Disabled);
        named.any(|of| of.number == number && of.name == name)
    };
    let mut rows = catalog.rows();
    let Some((number, row)) = rows.find(|(number, row)| !is_named(*number, &row.name)) else {
        return Ok(());
    };
    let key = match number {
        0 => "persistence.mode".to_owned(),
        _ => format!("stores.{} with number {number} and its persistence", row.name),
    };
    let reason = format!(
        "there is data of the store '{}', which the configuration does not keep: set {key}, or move \
         the directory away to begin with no data",
        row.name
    );
    Err(layout::wrong(catalog.path(), reason))
}

impl Running {
    /// Takes the last snapshots, forces the log to the disk and ends the threads. Nothing may be written
    /// any more.
    pub fn stop(self) {
        let Some(shared) = self.shared else { return };
        let wait_for = |thread: Option<JoinHandle<()>>| {
            if thread.is_some_and(|thread| thread.join().is_err()) {
                tracing::error!(action = "disk-thread-broke", "a thread of the disk broke");
            }
        };
        let mut threads = self.threads;
        // First the one that takes snapshots, so that the last ones are taken alone.
        shared.is_ending.store(true, Release);
        shared.wake_keeper();
        wait_for(threads.pop());
        if shared.loading().is_none() {
            for policy in shared.kept() {
                let mode = policy.durability.mode;
                let account = |of: &shared::Account| of.log_bytes_since_snapshot();
                let grown = shared.accounts.lock().get(&policy.number).map_or(0, account);
                if mode.has_snapshots() && shared::may_have_changed(mode, grown) {
                    // Its errors are logged; the log, if there is one, has it all.
                    let _ = keeper::take(&shared, policy.number, keeper::AtEnd::Finish);
                }
            }
        }
        shared.stop.store(true, Release);
        shared.wake_writer();
        wait_for(threads.pop());
        tracing::info!(action = "disk-stopped", "all data is on the disk");
    }
}

/// Why data cannot be kept, or not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory is damaged, foreign, newer or cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stores are to be kept, and there is nowhere to.
    #[error(
        "store '{0}' is to be kept on disk, and node.data_dir is not set: set it, or set the store's persistence to 'disabled'"
    )]
    NoDirectory(String),
    /// There is no such store, or nothing of it is kept.
    #[error("{0}")]
    NotKept(String),
    /// A snapshot failed.
    #[error("the snapshot failed: {0}")]
    Snapshot(String),
    /// The system gives no threads.
    #[error("threads: {0}")]
    Threads(std::io::Error),
    /// The member stops.
    #[error("the member stops")]
    Stopped,
}
