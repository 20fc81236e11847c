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

mod handle;
mod stats;

pub use handle::{Handle, Which};
pub use stats::{LastError, Loading, LogStats, Recovery, SnapshotStats, Stats, StoreDisk};

use std::path::PathBuf;

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
