//! Which files are read, and whose they are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hypercache_core::log::read_at::read_up_to;
use hypercache_core::log::segment::{self, Header, HeaderError, Seal};
use hypercache_core::log::snapshot::{self, OpenError, Snapshot};
use hypercache_core::log::{DataSet, Sequence};
use hypercache_core::store::StoreNumber;

use super::Error;
use super::args::From;
use crate::disk::catalog::{Catalog, Row};
use crate::disk::layout::{Layout, OnDisk};
use crate::disk::recovery::is_ours;

/// A segment's file.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    pub path: PathBuf,
    pub number: u64,
    pub seal: Seal,
}

/// A snapshot's file.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    pub path: PathBuf,
    /// As its name says; `None` for a file that was given by itself under another name.
    pub named: Option<(StoreNumber, Sequence)>,
}

/// What is read.
#[derive(Debug)]
pub struct Source {
    /// `durable/`; `None` where files were given.
    pub root: Option<PathBuf>,
    /// As `DATASET` says.
    pub data_set: Option<DataSet>,
    /// The log was begun: it has a segment.
    pub has_log: bool,
    /// As `STORES` says; empty where files were given that stand alone.
    pub stores: BTreeMap<StoreNumber, Row>,
    /// In the order of their numbers.
    pub segments: Vec<SegmentFile>,
    /// By store, the newest first.
    pub snapshots: Vec<SnapshotFile>,
}

/// A file's name, without the directory.
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn refused(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Refused(format!("{}: {reason}", path.display()))
}

/// `durable/` of a data directory; the directory itself may be given as well.
pub fn root_of(directory: &Path) -> Result<PathBuf, Error> {
    let found = [directory.join("durable"), directory.to_owned()];
    let found = found.into_iter().find(|root| {
        ["DATASET", "STORES", "log", "snapshots"].iter().any(|name| root.join(name).exists())
    });
    found.ok_or_else(|| refused(directory, "there is no durable/ in it: it is no data directory"))
}

impl From {
    /// The directory that is meant.
    pub fn directory(&self) -> Result<&Path, Error> {
        match (&self.data_dir, &self.paths[..]) {
            (Some(directory), _) => Ok(directory),
            (None, [one]) => Ok(one),
            (None, []) => Err(Error::Refused("name a data directory".into())),
            (None, _) => Err(Error::Refused("name one data directory, and no files".into())),
        }
    }

    /// What is read: the files of a directory, or these.
    pub fn open(&self) -> Result<Source, Error> {
        let is_file = |path: &PathBuf| !path.is_dir();
        if self.data_dir.is_some() || !self.paths.iter().any(is_file) {
            return Source::directory(&root_of(self.directory()?)?);
        }
        Source::files(&self.paths)
    }
}

impl Source {
    /// Looks at `durable/`, whether or not a member uses it.
    pub fn directory(root: &Path) -> Result<Self, Error> {
        let layout = Layout::look(root)?;
        let catalog = Catalog::open(root)?;
        let stores = catalog.rows().map(|(number, row)| (number, row.clone())).collect();
        // The log up to what a snapshot has is on the disk before the snapshot gets its name.
        let mut named = layout.snapshots()?;
        named.sort_unstable_by_key(|(store, sequence)| (*store, std::cmp::Reverse(*sequence)));
        let snapshot = |(store, sequence)| SnapshotFile {
            path: layout.snapshot(store, sequence),
            named: Some((store, sequence)),
        };
        let snapshots = named.into_iter().map(snapshot).collect();
        let segment = |number| SegmentFile {
            path: layout.segment(number),
            number,
            seal: Seal { data_set: layout.data_set, number },
        };
        let segments = layout.segments()?.into_iter().map(segment).collect();
        let (root, data_set) = (Some(root.to_owned()), Some(layout.data_set));
        let has_log = catalog.content().has_log();
        Ok(Self { root, data_set, has_log, stores, segments, snapshots })
    }

    /// Files by themselves. What stands in the directory above them, if it is a data directory, says
    /// whose they are.
    fn files(paths: &[PathBuf]) -> Result<Self, Error> {
        let (mut stores, mut data_set) = (BTreeMap::new(), None);
        let (mut segments, mut snapshots) = (Vec::new(), Vec::new());
        for path in paths {
            let above = path.parent().and_then(Path::parent);
            if let Some(above) = above.filter(|above| above.join("DATASET").exists()) {
                data_set = Some(Layout::look(above)?.data_set);
                let catalog = Catalog::open(above)?;
                stores.extend(catalog.rows().map(|(number, row)| (number, row.clone())));
            }
            let file = OnDisk::open(path)?;
            let begin = read_up_to(&file, 0, segment::HEADER_BYTES as u64);
            let begin = begin.map_err(|error| Error::file(path, error))?;
            let name = name_of(path);
            if begin.starts_with(&snapshot::MAGIC) || name.ends_with(".hcsn") {
                let named = snapshot::parse_file_name(&name);
                snapshots.push(SnapshotFile { path: path.clone(), named });
                continue;
            }
            let header = Header::read(&begin);
            let of_name = segment::number_of(&name);
            let seal = match (&header, of_name, data_set) {
                (Ok(header), ..) => header.seal(),
                (Err(_), Some(number), Some(data_set)) => Seal { data_set, number },
                (Err(error), ..) => {
                    return Err(refused(
                        path,
                        format!("{error}; give the data directory that it is of, which says more"),
                    ));
                }
            };
            segments.push(SegmentFile { path: path.clone(), number: seal.number, seal });
        }
        segments.sort_unstable_by_key(|segment| segment.number);
        Ok(Self { root: None, data_set, has_log: false, stores, segments, snapshots })
    }

    /// A store's name; its number if that is all that is known.
    pub fn store_name(&self, number: StoreNumber) -> String {
        self.stores.get(&number).map_or_else(|| number.to_string(), |row| row.name.clone())
    }

    /// The number of a store that was given by name or number.
    pub fn store_number(&self, asked: &str) -> Result<StoreNumber, Error> {
        let by_name = self.stores.iter().find(|(_, row)| row.name == asked);
        let found = by_name.map(|(number, _)| *number).or_else(|| asked.parse().ok());
        found.ok_or_else(|| {
            let names: Vec<_> = self.stores.values().map(|row| row.name.as_str()).collect();
            Error::Refused(format!("there is no store '{asked}'; there is: {}", names.join(", ")))
        })
    }

    /// Whether a process on this machine has the directory's lock. It is not taken for that, so that a
    /// member that starts just now is not refused.
    pub fn is_in_use(&self) -> bool {
        let Some(root) = &self.root else { return false };
        let Ok(found) = fs::metadata(root.join("DATASET")) else { return false };
        let (major, minor) = (libc::major(found.dev()), libc::minor(found.dev()));
        let wanted = format!("{major:02x}:{minor:02x}:{}", found.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.any(|word| word == "FLOCK") && words.any(|word| word == wanted)
        })
    }
}

/// A segment's file and its header, or what is wrong with that: its frames can be read nevertheless.
pub type OpenSegment = (OnDisk, Result<Header, HeaderError>);

impl SegmentFile {
    /// Opens it. `None` if it is gone: a member that runs needs it no more.
    pub fn open(&self) -> Result<Option<OpenSegment>, Error> {
        if !self.path.exists() {
            return Ok(None);
        }
        let file = OnDisk::open(&self.path)?;
        let begin = read_up_to(&file, 0, segment::HEADER_BYTES as u64);
        let begin = begin.map_err(|error| Error::file(&self.path, error))?;
        let header = Header::read(&begin);
        match header {
            Ok(header) if header.data_set != self.seal.data_set => {
                Err(refused(&self.path, "it is of another data set than DATASET says"))
            }
            Err(error @ HeaderError::Version(_)) => Err(refused(&self.path, error)),
            Err(error @ HeaderError::Foreign) if !is_ours(&file, self.seal) => {
                Err(refused(&self.path, error))
            }
            header => Ok(Some((file, header))),
        }
    }
}

/// A snapshot that was opened, or why it cannot be used.
pub type Opened = Result<Snapshot, String>;

impl SnapshotFile {
    /// Opens it. `None` if it is gone.
    pub fn open(&self, data_set: Option<DataSet>) -> Result<Option<(OnDisk, Opened)>, Error> {
        if !self.path.exists() {
            return Ok(None);
        }
        let file = OnDisk::open(&self.path)?;
        let opened = match Snapshot::open(&file) {
            Ok(snapshot) if data_set.is_some_and(|of| of != snapshot.header.data_set) => {
                return Err(refused(&self.path, "it is of another data set than DATASET says"));
            }
            Ok(snapshot) => Ok(snapshot),
            Err(OpenError::Header(error @ HeaderError::Version(_))) => {
                return Err(refused(&self.path, error));
            }
            Err(OpenError::Read(error)) => return Err(Error::file(&self.path, error)),
            Err(error) => Err(error.to_string()),
        };
        Ok(Some((file, opened)))
    }
}

/// What a file is read with said no: an error of that file.
pub fn failed(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::file(path, error)
}
