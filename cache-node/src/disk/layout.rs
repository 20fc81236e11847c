//! The directories and files under `durable/`, and how they are opened.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hypercache_core::log::frame::crc32c;
use hypercache_core::log::{DataSet, ReadAt, segment, snapshot};
use hypercache_core::store::StoreNumber;

use super::Error;

const FORMAT_PREFIX: &str = "hypercache durable ";
const FORMAT: &str = "hypercache durable 1";
/// What files are named that are not complete.
const DRAFT: &str = "tmp";

/// Where data is kept.
#[derive(Debug)]
pub struct Layout {
    /// `durable/` in the data directory.
    pub root: PathBuf,
    /// Whose data it is.
    pub data_set: DataSet,
    /// Locked as long as the member runs.
    _lock: File,
}

pub(crate) fn wrong(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), reason: reason.to_string() }
}

/// The names in a directory, sorted; none if it is not there.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| wrong(directory, error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes a file that is there as a whole or not at all, whatever happens.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(DRAFT);
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

/// Forces to the disk what names are in a file's directory.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// A text with a line behind it that has its checksum.
pub fn with_checksum(text: &str) -> String {
    format!("{text}crc32c {:08x}\n", crc32c(text.as_bytes()))
}

/// The text before a checksum's line, if that is right.
pub fn checked(text: &str) -> Option<&str> {
    let at = text.rfind("crc32c ")?;
    let (body, line) = text.split_at(at);
    (with_checksum(body).strip_prefix(body)? == line).then_some(body)
}

impl Layout {
    /// Opens the directory, or begins it; also says whether it is new.
    ///
    /// # Errors
    /// It cannot be understood, or used, or another process uses it.
    pub fn open(data_dir: &Path) -> Result<(Self, bool), Error> {
        let root = data_dir.join("durable");
        for directory in [root.clone(), root.join("log"), root.join("snapshots")] {
            fs::create_dir_all(&directory).map_err(|error| wrong(&directory, error))?;
            for name in names(&directory)? {
                let path = directory.join(&name);
                if path.extension().is_some_and(|extension| extension == DRAFT) {
                    fs::remove_file(&path).map_err(|error| wrong(&path, error))?;
                    tracing::info!(path = %path.display(), "an incomplete file was removed");
                }
            }
        }
        let path = root.join("DATASET");
        let found = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(&path, error)),
        };
        let is_new = found.is_none();
        if is_new {
            Self::begin(&root, &path)?;
        }
        let text = match found {
            Some(text) => text,
            None => fs::read_to_string(&path).map_err(|error| wrong(&path, error))?,
        };
        let data_set = data_set(&text).map_err(|reason| wrong(&path, reason))?;
        let lock = File::open(&path).map_err(|error| wrong(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(wrong(&path, "another process uses this directory"));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(&path, error)),
        }
        Ok((Self { root, data_set, _lock: lock }, is_new))
    }

    /// Writes `DATASET` into a directory that has no data yet.
    fn begin(root: &Path, path: &Path) -> Result<(), Error> {
        for directory in [root.to_owned(), root.join("log"), root.join("snapshots")] {
            let mut names = names(&directory)?;
            names.retain(|name| name != "log" && name != "snapshots");
            if let Some(name) = names.first() {
                return Err(wrong(
                    path,
                    format!(
                        "it is missing, although {} is there. Restore it, or move {} away to begin \
                         with no data",
                        directory.join(name).display(),
                        root.display()
                    ),
                ));
            }
        }
        let mut data_set = [0; 16];
        getrandom::fill(&mut data_set).map_err(|error| wrong(path, error))?;
        write_data_set(root, &data_set)
    }

    /// A segment's file.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.root.join("log").join(segment::file_name(number))
    }

    /// A snapshot's file.
    pub fn snapshot(&self, store: StoreNumber, sequence: u64) -> PathBuf {
        self.root.join("snapshots").join(snapshot::file_name(store, sequence))
    }

    /// The numbers of the segments that are there, in order.
    ///
    /// # Errors
    /// The directory cannot be read, or has a file that is none of the log's.
    pub fn segments(&self) -> Result<Vec<u64>, Error> {
        let directory = self.root.join("log");
        let mut numbers = Vec::new();
        for name in names(&directory)? {
            match segment::number_of(&name) {
                Some(number) => numbers.push(number),
                // What was cut off earlier.
                None if name.contains(".torn-") => {}
                None => {
                    let reason = "it is no file of HyperCache's log: move it away";
                    return Err(wrong(&directory.join(name), reason));
                }
            }
        }
        Ok(numbers)
    }

    /// Stores and sequences of the snapshots that are there, in order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn snapshots(&self) -> Result<Vec<(StoreNumber, u64)>, Error> {
        let directory = self.root.join("snapshots");
        let names = names(&directory)?;
        Ok(names.iter().filter_map(|name| snapshot::parse_file_name(name)).collect())
    }
}

/// Writes `DATASET`: from then on the directory is a member's data.
pub(crate) fn write_data_set(root: &Path, data_set: &DataSet) -> Result<(), Error> {
    let path = root.join("DATASET");
    let hex: String = data_set.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = with_checksum(&format!("{FORMAT}\ndata-set {hex}\n"));
    write_whole(&path, text.as_bytes()).map_err(|error| wrong(&path, error))?;
    sync_parent(root).map_err(|error| wrong(root, error))
}

fn data_set(text: &str) -> Result<DataSet, String> {
    match text.lines().next() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with(FORMAT_PREFIX) => {
            return Err(format!(
                "it is of the format '{other}', which another version of HyperCache wrote; this \
                 version reads '{FORMAT}'"
            ));
        }
        _ => return Err("it is no file of HyperCache".into()),
    }
    let body = checked(text).ok_or("it is damaged: its checksum is wrong")?;
    let hex = body.lines().nth(1).and_then(|line| line.strip_prefix("data-set "));
    let hex = hex.filter(|hex| hex.len() == 32 && hex.is_ascii()).unwrap_or_default();
    let mut data_set = [0; 16];
    for (byte, at) in data_set.iter_mut().zip((0..).step_by(2)) {
        let digits = hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        *byte = digits.ok_or("its second line is not 'data-set' and 32 hexadecimal digits")?;
    }
    Ok(data_set)
}

/// A file that is read at places.
#[derive(Debug)]
pub struct OnDisk {
    file: File,
    len: u64,
}

impl OnDisk {
    /// Opens a file for reading; what is appended later is not seen.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| wrong(path, error))?;
        Self::of(file).map_err(|error| wrong(path, error))
    }

    /// A file that is open for reading.
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
        for at in FORMAT.len() + 1..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(refused(directory.path()).contains("DATASET"), "byte {at}");
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
