//! The files of a member's `durable/`, as recovery, snapshots and the log's writer use them. Who has
//! files gives them; every call waits for its end.
//!
//! What a crash leaves is what POSIX says and no more: bytes and lengths that were not forced to the
//! disk with their file, and names that were not with their folder, may be there or not, each by itself.

use super::read_at::{ReadAt, read_up_to};
use std::fmt::Display;

/// What the names of files end in that are not complete.
pub const DRAFT: &str = ".tmp";

/// A folder under `durable/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Folder {
    /// `durable/` itself: `DATASET` and `STORES`.
    Root,
    /// The segments.
    Log,
    /// The snapshots.
    Snapshots,
}

impl Folder {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Root, Self::Log, Self::Snapshots];

    /// Its path under `durable/`; empty for that itself.
    pub fn path(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Log => "log",
            Self::Snapshots => "snapshots",
        }
    }
}

/// A file that is open.
pub trait File: ReadAt<Error: Display> {
    /// Writes all these bytes at a place.
    ///
    /// # Errors
    /// Why not; some may be written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Cuts it to this length.
    ///
    /// # Errors
    /// Why not.
    fn truncate(&mut self, len: u64) -> Result<(), Self::Error>;

    /// Forces what was written to it, and its length, to the disk.
    ///
    /// # Errors
    /// Why not: what was written since the last good time is lost then, as far as anybody knows, and
    /// another call would not say more.
    fn sync(&mut self) -> Result<(), Self::Error>;
}

/// `durable/` and its folders, which are there.
pub trait Directory {
    /// Why something could not be done.
    type Error: Display;
    /// An open file.
    type File: File<Error = Self::Error>;

    /// The names of the files in a folder, sorted.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn names(&self, folder: Folder) -> Result<Vec<String>, Self::Error>;

    /// Opens a file to be read as it is now; `None` if it is not there.
    ///
    /// # Errors
    /// Why not.
    fn open(&self, folder: Folder, name: &str) -> Result<Option<Self::File>, Self::Error>;

    /// Opens a file that is there, to be written.
    ///
    /// # Errors
    /// Why not.
    fn edit(&self, folder: Folder, name: &str) -> Result<Self::File, Self::Error>;

    /// Makes a file, empty; if it is there, empties it.
    ///
    /// # Errors
    /// Why not.
    fn create(&self, folder: Folder, name: &str) -> Result<Self::File, Self::Error>;

    /// Gives a file another name in its folder; a file that had this name goes.
    ///
    /// # Errors
    /// Why not.
    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), Self::Error>;

    /// Removes a file. One that is not there is no error.
    ///
    /// # Errors
    /// Why not.
    fn remove(&self, folder: Folder, name: &str) -> Result<(), Self::Error>;

    /// Forces a folder's names to the disk.
    ///
    /// # Errors
    /// Why not.
    fn sync(&self, folder: Folder) -> Result<(), Self::Error>;
}

/// A file that cannot be used, or something that could not be done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", self.path())]
pub struct Wrong {
    /// Where it is.
    pub folder: Folder,
    /// Its name; empty: the folder itself.
    pub name: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Wrong {
    /// About a file.
    pub fn new(folder: Folder, name: impl Into<String>, reason: impl Display) -> Self {
        Self { folder, name: name.into(), reason: reason.to_string() }
    }

    /// The path under `durable/`.
    pub fn path(&self) -> String {
        match self.folder {
            Folder::Root => self.name.clone(),
            folder => format!("{}/{}", folder.path(), self.name),
        }
    }
}

/// All of a file, if it is there.
///
/// # Errors
/// It cannot be read.
pub fn read_whole<D: Directory>(
    directory: &D,
    folder: Folder,
    name: &str,
) -> Result<Option<Vec<u8>>, D::Error> {
    let Some(file) = directory.open(folder, name)? else { return Ok(None) };
    read_up_to(&file, 0, file.byte_len()).map(Some)
}

/// Writes a file that is there as a whole or not at all, whatever happens.
///
/// # Errors
/// Why not. It may be there nevertheless.
pub fn write_whole<D: Directory>(
    directory: &D,
    folder: Folder,
    name: &str,
    bytes: &[u8],
) -> Result<(), D::Error> {
    let draft = format!("{name}{DRAFT}");
    let mut file = directory.create(folder, &draft)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    directory.rename(folder, &draft, name)?;
    directory.sync(folder)
}

/// Removes what is not complete; the names that were.
///
/// # Errors
/// What could not be removed.
pub fn remove_drafts<D: Directory>(directory: &D) -> Result<Vec<(Folder, String)>, Wrong> {
    let mut removed = Vec::new();
    for folder in Folder::ALL {
        let names = directory.names(folder).map_err(|error| Wrong::new(folder, "", error))?;
        for name in names.into_iter().filter(|name| name.ends_with(DRAFT)) {
            let done = directory.remove(folder, &name);
            done.map_err(|error| Wrong::new(folder, name.as_str(), error))?;
            removed.push((folder, name));
        }
    }
    Ok(removed)
}
