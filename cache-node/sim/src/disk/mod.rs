//! A disk in memory, with what the system has in its cache apart from what is on the disk.
//!
//! What a process sees is the cache. A crash leaves what was forced to the disk, and of all else any part:
//! each sector of each write, each length, each name by itself. So what POSIX allows is what happens: writes
//! come in any order or never until their file is forced, a rename until its folder is.
//!
//! | what fails | what is left |
//! |---|---|
//! | a write | a part of it, at its beginning |
//! | forcing a file | some of its sectors reach the disk; the others never will, and the next time says that all is well (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020) |
//! | forcing a folder | its names are where they were |
//! | anything else | nothing |

mod crash;
mod file;
mod tests;

pub use file::Opened;

use crate::choice::{Choice, Dice};
use file::{Inode, Names};
use hypercache_core::log::directory::{Directory, Folder};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// What is written as a whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The disk did not do it (EIO).
    Failed,
    /// There is no room (ENOSPC).
    Full,
    /// The member is dead: nothing is done any more.
    Crashed,
    /// There is no such file.
    NotThere,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the disk failed (EIO)",
            Self::Full => "no room is left (ENOSPC)",
            Self::Crashed => "the member is dead",
            Self::NotThere => "there is no such file",
        })
    }
}

/// What is done with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file is made or emptied.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut.
    Truncate,
    /// A file gets another name.
    Rename,
    /// A file goes.
    Remove,
    /// A file is forced.
    Sync,
    /// A folder is.
    SyncFolder,
}

/// How often what fails: once in so many times, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Writes, of which a part is done, and files that cannot be made or cut or named.
    pub writes: usize,
    /// Forcing a file or folder to the disk.
    pub syncs: usize,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    folders: BTreeMap<Folder, Names>,
    dice: Dice,
    faults: Faults,
    /// What fails in the one operation that comes after so many more.
    fails_after: Option<(u64, Faults)>,
    /// The disk does so many more operations, and then no more.
    dies_after: Option<u64>,
    is_dead: bool,
    operations: u64,
    /// Of all operations so far.
    digest: u64,
}

/// See the module. All clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk(Rc<RefCell<State>>);

impl Disk {
    /// An empty one, whose faults are as a seed says.
    pub fn new(seed: u64) -> Self {
        let folders = Folder::ALL.map(|folder| (folder, Names::default()));
        Self::of(Vec::new(), folders.into(), seed)
    }

    fn of(inodes: Vec<Inode>, folders: BTreeMap<Folder, Names>, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            inodes,
            folders,
            dice: Dice::new(seed),
            faults: Faults::default(),
            fails_after: None,
            dies_after: None,
            is_dead: false,
            operations: 0,
            digest: 0,
        })))
    }

    /// From now on this fails.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Of all operations only the one that comes after so many more may fail, and as this says.
    pub fn fail_after(&self, operations: u64, faults: Faults) {
        self.0.borrow_mut().fails_after = Some((operations, faults));
    }

    /// The member dies in the operation that comes after so many more.
    pub fn die_after(&self, operations: u64) {
        self.0.borrow_mut().dies_after = Some(operations);
    }

    /// The member dies now.
    pub fn die(&self) {
        self.0.borrow_mut().is_dead = true;
    }

    /// Whether it died.
    pub fn is_dead(&self) -> bool {
        self.0.borrow().is_dead
    }

    /// How many operations were done that change something.
    pub fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// A number that is the same for the same operations with the same ends.
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }

    /// What is on the disk after the member died, as `choice` says; a disk of its own, with all of it
    /// in the cache.
    pub fn after_crash(&self, choice: &mut impl Choice, seed: u64) -> Self {
        let state = self.0.borrow();
        let inodes = state.inodes.iter().map(|inode| inode.after_crash(choice)).collect();
        let folders = state.folders.iter();
        let folders = folders.map(|(folder, names)| (*folder, names.after_crash(choice)));
        Self::of(inodes, folders.collect(), seed)
    }

    /// A copy whose operations do not show here.
    pub fn copy(&self) -> Self {
        let state = self.0.borrow();
        let copy = Self::of(state.inodes.clone(), state.folders.clone(), 0);
        copy.0.borrow_mut().dice = state.dice.clone();
        copy
    }

    /// The content of a file, as a process sees it.
    pub fn content(&self, folder: Folder, name: &str) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        let inode = state.folders.get(&folder)?.get(name)?;
        state.inodes.get(inode).map(|inode| inode.cached.clone())
    }

    /// Puts this in the place of a file's content, on the disk as well: somebody else did.
    pub fn put(&self, folder: Folder, name: &str, content: &[u8]) {
        let mut state = self.0.borrow_mut();
        let number = state.inodes.len();
        state.inodes.push(Inode::on_disk(content.to_vec()));
        if let Some(names) = state.folders.get_mut(&folder) {
            names.put(name, number);
        }
    }

    /// Begins an operation: whether it is done.
    fn begin(&self, kind: Kind, about: &str) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        if state.is_dead {
            return Err(Error::Crashed);
        }
        state.operations += 1;
        state.note(kind as u64);
        about.bytes().for_each(|byte| state.note(u64::from(byte)));
        if let Some(left) = state.dies_after {
            if left == 0 {
                state.is_dead = true;
                // Done or not: nobody knows.
                return if state.dice.one(2) { Ok(()) } else { Err(Error::Crashed) };
            }
            state.dies_after = Some(left - 1);
        }
        let mut faults = state.faults;
        match state.fails_after {
            Some((0, once)) => (faults, state.fails_after) = (once, None),
            Some((left, once)) => state.fails_after = Some((left - 1, once)),
            None => {}
        }
        let in_times = match kind {
            Kind::Sync | Kind::SyncFolder => faults.syncs,
            Kind::Remove | Kind::Create | Kind::Write | Kind::Truncate | Kind::Rename => {
                faults.writes
            }
        };
        if state.dice.one(in_times) {
            state.note(0xff);
            let is_full = matches!(kind, Kind::Create | Kind::Write) && state.dice.one(2);
            return Err(if is_full { Error::Full } else { Error::Failed });
        }
        Ok(())
    }

    /// The end of an operation: nothing is heard of it if the member died in it.
    fn end(&self) -> Result<(), Error> {
        if self.is_dead() { Err(Error::Crashed) } else { Ok(()) }
    }

    fn with_folder<R>(&self, folder: Folder, run: impl FnOnce(&mut Names) -> R) -> R {
        run(self.0.borrow_mut().folders.entry(folder).or_default())
    }

    fn opened(&self, inode: usize, name: &str) -> Opened {
        let len = self.0.borrow().inodes.get(inode).map_or(0, |inode| inode.cached.len() as u64);
        Opened { disk: self.clone(), inode, len, name: name.to_owned() }
    }
}

impl State {
    fn note(&mut self, what: u64) {
        self.digest = (self.digest ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
}

impl Directory for Disk {
    type Error = Error;
    type File = Opened;

    fn names(&self, folder: Folder) -> Result<Vec<String>, Error> {
        self.end()?;
        Ok(self.with_folder(folder, |names| names.all()))
    }

    fn open(&self, folder: Folder, name: &str) -> Result<Option<Opened>, Error> {
        self.end()?;
        let inode = self.with_folder(folder, |names| names.get(name));
        Ok(inode.map(|inode| self.opened(inode, name)))
    }

    fn edit(&self, folder: Folder, name: &str) -> Result<Opened, Error> {
        self.open(folder, name)?.ok_or(Error::NotThere)
    }

    fn create(&self, folder: Folder, name: &str) -> Result<Opened, Error> {
        self.begin(Kind::Create, name)?;
        let found = self.with_folder(folder, |names| names.get(name));
        let inode = match found {
            Some(inode) => {
                if let Some(inode) = self.0.borrow_mut().inodes.get_mut(inode) {
                    inode.truncate(0);
                }
                inode
            }
            None => {
                let number = {
                    let inodes = &mut self.0.borrow_mut().inodes;
                    inodes.push(Inode::default());
                    inodes.len() - 1
                };
                self.with_folder(folder, |names| names.link(name, number));
                number
            }
        };
        self.end()?;
        Ok(self.opened(inode, name))
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> Result<(), Error> {
        self.begin(Kind::Rename, to)?;
        let done = self.with_folder(folder, |names| names.rename(from, to));
        self.end()?;
        if done { Ok(()) } else { Err(Error::NotThere) }
    }

    fn remove(&self, folder: Folder, name: &str) -> Result<(), Error> {
        self.begin(Kind::Remove, name)?;
        self.with_folder(folder, |names| names.unlink(name));
        self.end()
    }

    fn sync(&self, folder: Folder) -> Result<(), Error> {
        self.begin(Kind::SyncFolder, folder.path())?;
        if self.is_dead() {
            // It was on its way: what reached the disk, the crash says.
            return Err(Error::Crashed);
        }
        self.with_folder(folder, Names::force);
        Ok(())
    }
}
