//! Files and names: what the system has in its cache, and what of that is not on the disk yet.

use super::{Disk, Error, Kind, SECTOR_BYTES};
use crate::choice::Choice;
use hypercache_core::log::ReadAt;
use hypercache_core::log::directory::File;
use std::collections::BTreeMap;

/// What was done to a file and not forced to the disk.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

/// A file's content.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What a process sees.
    pub cached: Vec<u8>,
    /// What is on the disk for sure.
    pub durable: Vec<u8>,
    /// What may be, in the order in which it was done.
    pub pending: Vec<Change>,
}

pub(super) fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    if let Some(place) = to.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl Inode {
    pub fn on_disk(content: Vec<u8>) -> Self {
        Self { cached: content.clone(), durable: content, pending: Vec::new() }
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        write(&mut self.cached, offset, bytes);
        self.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub fn truncate(&mut self, len: usize) {
        self.cached.resize(len, 0);
        self.pending.push(Change::Truncate { len });
    }

    /// All is on the disk now, but what an earlier failure lost.
    pub fn force(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } => write(&mut self.durable, offset, &bytes),
                Change::Truncate { len } => self.durable.resize(len, 0),
            }
        }
    }

    /// Some of it reached the disk, and the rest never will.
    pub fn lose(&mut self, choice: &mut impl Choice) {
        self.durable = self.after_crash(choice).durable;
        self.pending.clear();
    }
}

/// What was done to a folder's names and not forced to the disk.
#[derive(Debug, Clone)]
pub(super) enum Named {
    Link { name: String, inode: usize },
    Unlink { name: String },
    Rename { from: String, to: String, inode: usize },
}

/// A folder's names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub cached: BTreeMap<String, usize>,
    pub durable: BTreeMap<String, usize>,
    pub pending: Vec<Named>,
}

impl Named {
    pub fn apply(&self, to: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link { name, inode } => {
                to.insert(name.clone(), *inode);
            }
            Self::Unlink { name } => {
                to.remove(name);
            }
            Self::Rename { from, to: name, inode } => {
                to.remove(from);
                to.insert(name.clone(), *inode);
            }
        }
    }
}

impl Names {
    pub fn all(&self) -> Vec<String> {
        self.cached.keys().cloned().collect()
    }

    pub fn get(&self, name: &str) -> Option<usize> {
        self.cached.get(name).copied()
    }

    /// A name that is on the disk at once.
    pub fn put(&mut self, name: &str, inode: usize) {
        self.cached.insert(name.to_owned(), inode);
        self.durable.insert(name.to_owned(), inode);
    }

    fn change(&mut self, change: Named) {
        change.apply(&mut self.cached);
        self.pending.push(change);
    }

    pub fn link(&mut self, name: &str, inode: usize) {
        self.change(Named::Link { name: name.to_owned(), inode });
    }

    pub fn unlink(&mut self, name: &str) {
        if self.cached.contains_key(name) {
            self.change(Named::Unlink { name: name.to_owned() });
        }
    }

    /// Whether there was such a name.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(inode) = self.get(from) else { return false };
        self.change(Named::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        true
    }

    pub fn force(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }
}

/// An open file.
#[derive(Debug)]
pub struct Opened {
    pub(super) disk: Disk,
    pub(super) inode: usize,
    /// When it was opened.
    pub(super) len: u64,
    pub(super) name: String,
}

impl Opened {
    fn with<R>(&self, run: impl FnOnce(&mut Inode) -> R) -> Result<R, Error> {
        let mut state = self.disk.0.borrow_mut();
        state.inodes.get_mut(self.inode).map(run).ok_or(Error::NotThere)
    }
}

impl ReadAt for Opened {
    type Error = Error;

    fn byte_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Error> {
        self.disk.end()?;
        let read = |inode: &mut Inode| {
            let bytes = inode.cached.get(offset as usize..).unwrap_or_default();
            to.iter_mut().zip(bytes).map(|(to, byte)| *to = *byte).count()
        };
        self.with(read)
    }
}

impl File for Opened {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let done = self.disk.begin(Kind::Write, &format!("{} {offset} {}", self.name, bytes.len()));
        let bytes = match done {
            Ok(()) => bytes,
            Err(Error::Crashed) => return Err(Error::Crashed),
            Err(_) => {
                let part = self.disk.0.borrow_mut().dice.pick(bytes.len() + 1);
                bytes.get(..part).unwrap_or_default()
            }
        };
        if !bytes.is_empty() {
            self.with(|inode| inode.write(offset as usize, bytes))?;
        }
        self.disk.end()?;
        done
    }

    fn truncate(&mut self, len: u64) -> Result<(), Error> {
        self.disk.begin(Kind::Truncate, &format!("{} {len}", self.name))?;
        self.with(|inode| inode.truncate(len as usize))?;
        self.disk.end()
    }

    fn sync(&mut self) -> Result<(), Error> {
        let done = self.disk.begin(Kind::Sync, &self.name);
        // If it was on its way, the crash says what reached the disk.
        self.disk.end()?;
        if done.is_err() {
            let mut dice = self.disk.0.borrow().dice.clone();
            self.with(|inode| inode.lose(&mut dice))?;
            self.disk.0.borrow_mut().dice = dice;
            return done;
        }
        self.with(Inode::force)
    }
}

/// The sectors of the file that a write touches, as parts of its bytes.
pub(super) fn sectors(offset: usize, len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= len {
            return None;
        }
        let start = at;
        let left = SECTOR_BYTES - (offset + start) % SECTOR_BYTES;
        at = (start + left).min(len);
        Some(start..at)
    })
}
