//! Why a backup could not be made, read or restored.

use std::path::{Path, PathBuf};

use crate::disk;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of the configuration, or a flag, is wrong or missing.
    #[error("{key}: {reason}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Where backups are cannot be read or written.
    #[error("{what}: {reason}")]
    Destination {
        /// The object, with where it is.
        what: String,
        /// What failed.
        reason: String,
    },
    /// What a backup consists of is damaged or missing there.
    #[error("{object}: {reason}")]
    Damaged {
        /// The object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What a member has on its disk is damaged.
    #[error("{file}: {reason}")]
    Local {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory of this machine cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The member's disk.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// There is no such backup, or it is not clear which is meant.
    #[error("{0}")]
    NoBackup(String),
    /// The point that is asked for is in no backup.
    #[error("{0}")]
    Range(String),
    /// What is encrypted cannot be read.
    #[error("{0}")]
    Encrypted(String),
    /// A backup is being made.
    #[error("a backup is being made already: GET /api/admin/backup says how far it is")]
    Busy,
    /// The member does not do what it was asked for.
    #[error("{0}")]
    Member(String),
    /// Some of what was looked at is wrong; each was told.
    #[error("{0}")]
    Unsound(String),
}

impl Error {
    pub(super) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn damaged(object: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { object: object.into(), reason: reason.to_string() }
    }

    pub(super) fn local(file: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Local { file: file.into(), reason: reason.to_string() }
    }
}
