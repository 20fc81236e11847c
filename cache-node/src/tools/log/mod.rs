//! `hypercache log dump | verify | repair | export`: a member's log and snapshots, read without the member.
//!
//! How files are stepped over, what their bytes mean and what a record does to data is core's; this room
//! asks it and says what came of it. Only `repair` changes anything, and it has the directory's lock then.
//!
//! | file | what it is about |
//! |---|---|
//! | `args` | the command line |
//! | `source` | which files are read, and whose they are |
//! | `parts` | a segment part by part, frames checked and opened |
//! | `text` | commands as lines and as JSON |
//! | `dump` | what is there, in order |
//! | `verify` | every checksum; what is missing |
//! | `sequences` | which sequences are there |
//! | `repair` | what is damaged is cut out and kept aside |
//! | `mend` | a snapshot without its damaged blocks |
//! | `rewrite` | a segment without what was cut out |
//! | `truncate` | the log up to a sequence |
//! | `state` | the data as of a sequence |
//! | `export` | that data as commands |
//! | `raw` | the log's history as an AOF |

mod args;
mod dump;
mod export;
mod mend;
mod parts;
mod raw;
mod repair;
mod rewrite;
mod sequences;
mod source;
mod state;
mod text;
mod truncate;
mod verify;

pub use args::LogCommand;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a command could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is there cannot be understood, or not be used.
    #[error(transparent)]
    Disk(#[from] crate::disk::Error),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What was written cannot go where it should.
    #[error("the output: {0}")]
    Output(#[from] io::Error),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    /// Whether nobody reads what is written any more: no error of ours.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is well.
    Well,
    /// Something is damaged or missing.
    Damaged,
}

/// Does what a command asks for. The process's exit code: 0 all is well, 1 something is damaged, 2 what is
/// there cannot be understood, or what was asked for cannot be done.
pub fn run(command: &LogCommand) -> u8 {
    let stdout = io::stdout().lock();
    let mut out = io::BufWriter::with_capacity(1 << 16, stdout);
    let done = match command {
        LogCommand::Dump(args) => dump::run(args, &mut out),
        LogCommand::Verify(args) => verify::run(args, &mut out),
        LogCommand::Repair(args) => repair::run(args, &mut out),
        LogCommand::Export(args) => export::run(args, &mut out),
    };
    let done = done.and_then(|ended| Ok(out.flush().map(|()| ended)?));
    match done {
        Ok(Ended::Well) => 0,
        Ok(Ended::Damaged) => 1,
        Err(error) if error.is_closed_pipe() => 0,
        Err(error) => {
            eprintln!("hypercache: {error}");
            2
        }
    }
}
