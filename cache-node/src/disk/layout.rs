//! The directories and files under `durable/`, and how they are opened.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hypercache_core::log::directory::{self, Directory, Folder, Wrong};
use hypercache_core::log::{DataSet, ReadAt, data_set, retention, segment, snapshot};
use hypercache_core::store::StoreNumber;

use super::Error;

pub use hypercache_core::log::retention::is_aside;

/// Where data is kept.
#[derive(Debug)]
pub struct Layout {
    /// `durable/` in the data directory.
    pub root: PathBuf,
    /// The same, with its files.
    pub files: Files,
    /// Whose data it is.
    pub data_set: DataSet,
    /// Locked as long as the member runs; not for who only looks.
    _lock: Option<File>,
}

pub(crate) fn wrong(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), reason: reason.to_string() }
}

/// Forces to the disk what names are in a directory.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Forces to the disk what names are in a file's directory.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

impl Layout {
    /// Opens the directory, or begins it; also says whether it is new.
    ///
    /// # Errors
    /// It cannot be understood, or used, or another process uses it.
    pub fn open(data_dir: &Path) -> Result<(Self, bool), Error> {
        let files = Files::of(&data_dir.join("durable"));
        let root = files.root.clone();
        for folder in Folder::ALL {
            let path = files.folder(folder);
            fs::create_dir_all(&path).map_err(|error| wrong(&path, error))?;
        }
        let found = data_set::find(&files).map_err(|error| files.wrong(error))?;
        let path = files.path(Folder::Root, data_set::NAME);
        let is_new = found.is_none();
        let data_set = match found {
            Some(data_set) => data_set,
            None => {
                let mut data_set = [0; 16];
                getrandom::fill(&mut data_set).map_err(|error| wrong(&path, error))?;
                data_set::begin(&files, data_set).map_err(|error| files.wrong(error))?;
                sync_directory(data_dir).map_err(|error| wrong(data_dir, error))?;
                data_set
            }
        };
        let lock = File::open(&path).map_err(|error| wrong(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(wrong(&path, "another process uses this directory"));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(&path, error)),
        }
        // Only now: they may be another process's.
        let removed = directory::remove_drafts(&files).map_err(|error| files.wrong(error))?;
        for (folder, name) in removed {
            let path = files.path(folder, &name);
            tracing::info!(
                action = "incomplete-file-removed",
                path = %path.display(),
                "an incomplete file was removed"
            );
        }
        Ok((Self { root, files, data_set, _lock: Some(lock) }, is_new))
    }

    /// Looks at `durable/` without a lock and without a change: another process may use it.
    ///
    /// # Errors
    /// It cannot be understood, or not be read.
    pub fn look(root: &Path) -> Result<Self, Error> {
        let files = Files::of(root);
        let path = files.path(Folder::Root, data_set::NAME);
        let bytes = fs::read(&path).map_err(|error| wrong(&path, error))?;
        let data_set = data_set::read(&bytes).map_err(|reason| wrong(&path, reason))?;
        Ok(Self { root: root.to_owned(), files, data_set, _lock: None })
    }

    /// A segment's file.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.files.path(Folder::Log, &segment::file_name(number))
    }

    /// A snapshot's file.
    pub fn snapshot(&self, store: StoreNumber, sequence: u64) -> PathBuf {
        self.files.path(Folder::Snapshots, &snapshot::file_name(store, sequence))
    }

    /// The numbers of the segments that are there, in order.
    ///
    /// # Errors
    /// The directory cannot be read, or has a file that is none of the log's.
    pub fn segments(&self) -> Result<Vec<u64>, Error> {
        retention::segments(&self.files).map_err(|error| self.files.wrong(error))
    }

    /// Stores and sequences of the snapshots that are there, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(StoreNumber, u64)>, Error> {
        let there = retention::snapshots(&self.files).map_err(|error| self.files.wrong(error))?;
        let each = there.into_iter();
        Ok(each.flat_map(|(store, all)| all.into_iter().map(move |one| (store, one))).collect())
    }
}

/// The files under `durable/`.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Those of a directory that is there, with its folders.
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn folder(&self, folder: Folder) -> PathBuf {
        self.root.join(folder.path())
    }

    /// Where a file is.
    pub fn path(&self, folder: Folder, name: &str) -> PathBuf {
        self.folder(folder).join(name)
    }

    /// An error with its whole path.
    pub fn wrong(&self, Wrong { folder, name, reason }: Wrong) -> Error {
        Error::File { path: self.path(folder, &name), reason }
    }
}

impl Directory for Files {
    type Error = io::Error;
    type File = OnDisk;

    fn names(&self, folder: Folder) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // The folders in the root are none of its files.
            if folder != Folder::Root || !Folder::ALL.iter().any(|folder| folder.path() == name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, folder: Folder, name: &str) -> io::Result<Option<OnDisk>> {
        match File::open(self.path(folder, name)) {
            Ok(file) => OnDisk::of(file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn edit(&self, folder: Folder, name: &str) -> io::Result<OnDisk> {
        OnDisk::of(OpenOptions::new().write(true).open(self.path(folder, name))?)
    }

    fn create(&self, folder: Folder, name: &str) -> io::Result<OnDisk> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        OnDisk::of(options.open(self.path(folder, name))?)
    }

    fn rename(&self, folder: Folder, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(folder, from), self.path(folder, to))
    }

    fn remove(&self, folder: Folder, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(folder, name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync(&self, folder: Folder) -> io::Result<()> {
        sync_directory(&self.folder(folder))
    }
}

/// A file that is open: what is appended to it later is not seen.
#[derive(Debug)]
pub struct OnDisk {
    file: File,
    len: u64,
}

impl OnDisk {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| wrong(path, error))?;
        Self::of(file).map_err(|error| wrong(path, error))
    }

    /// A file that is open.
    ///
    /// # Errors
    /// Its length cannot be asked for.
    pub fn of(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// Only the first `len` bytes of it, if there are as many.
    pub fn up_to(self, len: u64) -> Self {
        Self { len: self.len.min(len), ..self }
    }
}

impl ReadAt for OnDisk {
    type Error = io::Error;

    fn byte_len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = to.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + read as u64) {
                Ok(0) => break,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

impl directory::File for OnDisk {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(directory: &Path) -> String {
        Layout::open(directory).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_keeps_its_data_set_and_is_used_by_one_process_only() {
        let directory = tempfile::tempdir().unwrap();
        let (first, is_new) = Layout::open(directory.path()).unwrap();
        assert!(is_new);
        assert!(refused(directory.path()).contains("another process uses"));
        let data_set = first.data_set;
        drop(first);
        let (again, is_new) = Layout::open(directory.path()).unwrap();
        assert_eq!((again.data_set, is_new), (data_set, false));
    }

    #[test]
    fn s6_a_directory_that_cannot_be_understood_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        drop(Layout::open(directory.path()).unwrap());
        let path = directory.path().join("durable/DATASET");
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, "something else").unwrap();
        assert!(refused(directory.path()).contains("DATASET: it is no file of HyperCache"));
        fs::write(&path, good.replace("durable 1", "durable 2")).unwrap();
        assert!(refused(directory.path()).contains("another version of HyperCache"));
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                assert!(refused(directory.path()).contains("DATASET"), "byte {at}");
                bytes[at] ^= 1 << bit;
            }
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(refused(directory.path()).contains("DATASET"), "cut at byte {at}");
        }
        fs::remove_file(&path).unwrap();
        fs::write(directory.path().join("durable/log").join(segment::file_name(1)), "x").unwrap();
        assert!(refused(directory.path()).contains("DATASET: it is missing, although"));
    }

    #[test]
    fn incomplete_files_are_removed_and_foreign_ones_in_the_log_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (layout, _) = Layout::open(directory.path()).unwrap();
        let log = layout.root.join("log");
        fs::write(log.join("x.tmp"), "x").unwrap();
        drop(layout);
        let (layout, _) = Layout::open(directory.path()).unwrap();
        assert_eq!(layout.segments().unwrap(), [0u64; 0]);
        fs::write(log.join("notes.txt"), "x").unwrap();
        assert!(layout.segments().unwrap_err().to_string().contains("notes.txt"));
    }
}
