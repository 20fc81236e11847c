//! Restores a backup into an empty data directory.
//!
//! The segments are fetched and read through; those records stay that belong to the point that is asked
//! for; frames are sealed anew for a data set of its own. `DATASET` is written last: until then a member
//! refuses the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypercache_core::log::catalog::{self, Row};
use hypercache_core::log::cut::{self, Cut};
use hypercache_core::log::directory::{Folder, write_whole};
use hypercache_core::log::segment::{self, Header, Seal};
use hypercache_core::log::{DataSet, Sequence, data_set, snapshot};
use hypercache_core::store::StoreNumber;

use super::encryption::Identities;
use super::fetch::Reading;
use super::manifest::{self, Manifest, Segment};
use super::point::Target;
use super::verify::{fetch_segment, keys, open_segment, open_snapshot};
use super::{Destination, Error, check, time};
use crate::disk::{Files, sync_parent};

/// What a restore is made from and to.
#[derive(Debug)]
pub struct Options<'o> {
    /// Where the backups are.
    pub destination: &'o Destination,
    /// The one.
    pub manifest: &'o Manifest,
    /// The keys, if it is encrypted.
    pub identities: Option<&'o Arc<Identities>>,
    /// The data directory.
    pub to: &'o Path,
    /// The point.
    pub target: Target,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// All records up to this one are there.
    pub sequence: Sequence,
    /// The keys of the snapshots that were taken.
    pub snapshot_keys: u64,
    /// Frames of the log.
    pub frames: u64,
    /// Stores of which there is nothing: there was no snapshot of them by then.
    pub empty: Vec<String>,
    /// Stores without a log, and the time of the snapshot that they are restored to.
    pub as_of: Vec<(String, u64)>,
    /// The stores that the member's configuration has to name.
    pub stores: Vec<manifest::Store>,
}

/// In `durable/` while it is being restored: a member does not start on it.
const MARK: &str = "RESTORING";
/// Where segments are put together.
const STAGE: &str = "restore";

/// Restores a backup.
///
/// # Errors
/// The directory is not empty, the point is not in the backup, or something is damaged or cannot be read
/// or written. What is in the directory then is no data.
pub async fn restore(options: Options<'_>) -> Result<Restored, Error> {
    let Options { destination, manifest, identities, to, target } = options;
    let identities = keys(manifest, identities)?;
    // Before anything is made.
    target.find(std::slice::from_ref(manifest))?;
    is_empty(to)?;
    let reading = Reading { destination, data_set: &manifest.data_set, identities };
    let root = to.join("durable");
    for directory in [&root, &root.join("log"), &root.join("snapshots"), &root.join(STAGE)] {
        fs::create_dir_all(directory).map_err(|error| Error::file(directory, error))?;
    }
    let mark = root.join(MARK);
    let text = format!("backup {} is being restored here; this is no data yet\n", manifest.id);
    let marked = File::create(&mark).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        sync_parent(&mark)
    });
    marked.map_err(|error| Error::file(&mark, error))?;

    let mut new = [0; 16];
    getrandom::fill(&mut new).map_err(|error| Error::file(&root, error))?;
    let mut staged = Vec::new();
    for segment in &manifest.segments {
        let path = root.join(STAGE).join(format!("{:020}", segment.number));
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = made.map_err(|error| Error::file(&path, error))?;
        fetch_segment(&reading, segment, &file).await?;
        staged.push((segment, file, path));
    }
    let last = last_sequence(manifest, &staged, target)?;
    let mut restored = Restored {
        sequence: last,
        snapshot_keys: 0,
        frames: 0,
        empty: Vec::new(),
        as_of: Vec::new(),
        stores: Vec::new(),
    };
    let of = Restoring { manifest, reading, root: &root, data_set: new, last, target };
    of.snapshots(&mut restored).await?;
    of.log(staged, &mut restored)?;
    let rows = manifest.stores.iter().filter(|store| store.since <= last);
    let rows: BTreeMap<StoreNumber, Row> = rows
        .map(|store| {
            let (name, since, is_logged) = (store.name.clone(), store.since, store.is_logged);
            let logged_since = if is_logged { since } else { 0 };
            (store.number, Row { name, since, is_logged, logged_since, logged_until: 0 })
        })
        .collect();
    restored
        .stores
        .extend(manifest.stores.iter().filter(|s| rows.contains_key(&s.number)).cloned());
    let files = Files::of(&root);
    let write = |name: &str, text: String| {
        let written = write_whole(&files, Folder::Root, name, text.as_bytes());
        written.map_err(|error| Error::file(&root.join(name), error))
    };
    write(catalog::NAME, catalog::write(&rows, false))?;
    let failed = |error| Error::file(&root, error);
    fs::remove_dir(root.join(STAGE)).map_err(failed)?;
    fs::remove_file(&mark).map_err(failed)?;
    for name in ["log", "snapshots"] {
        sync_parent(&root.join(name).join("x")).map_err(failed)?;
    }
    sync_parent(&mark).map_err(failed)?;
    write(data_set::NAME, data_set::write(new))?;
    sync_parent(to).map_err(failed)?;
    Ok(restored)
}

/// Only an empty directory is restored into.
fn is_empty(to: &Path) -> Result<(), Error> {
    match fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(Ok(entry)) => {
                let reason = format!(
                    "it is not empty: {} is there. Restore into an empty or a new directory",
                    entry.file_name().display()
                );
                Err(Error::file(to, reason))
            }
            Some(Err(error)) => Err(Error::file(to, error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file(to, error)),
    }
}

type Staged<'m> = (&'m Segment, File, PathBuf);

/// The last sequence that stays. Reads all frames, so that nothing is written from what is damaged.
fn last_sequence(
    manifest: &Manifest,
    staged: &[Staged<'_>],
    target: Target,
) -> Result<Sequence, Error> {
    let mut first_after: Option<Sequence> = None;
    for (segment, file, _) in staged {
        let shown = || format!("segment {} of backup {}", segment.number, manifest.id);
        let read = open_segment(manifest, segment, file).and_then(|(file, seal)| {
            check::frames(&file, seal, 0, |frame| {
                if let Target::Time(ms) = target {
                    let found = cut::first_after(frame.header, frame.raw, ms);
                    let found = found.map_err(|error| error.to_string())?;
                    first_after = first_after.into_iter().chain(found).min();
                }
                Ok(())
            })
        });
        read.map_err(|reason| Error::damaged(shown(), reason))?;
    }
    let last = match target {
        Target::Latest => manifest.to.sequence,
        Target::Sequence(sequence) => sequence,
        Target::Time(_) => {
            first_after.map_or(manifest.to.sequence, |first| first.saturating_sub(1))
        }
    };
    let last = last.min(manifest.to.sequence);
    if last < manifest.from.sequence {
        return Err(Error::Range(format!(
            "that is sequence {last}, and the backup has {}",
            manifest.range()
        )));
    }
    Ok(last)
}

struct Restoring<'r> {
    manifest: &'r Manifest,
    reading: Reading<'r>,
    root: &'r Path,
    data_set: DataSet,
    last: Sequence,
    target: Target,
}

impl Restoring<'_> {
    /// Fetches the snapshots that are of use.
    async fn snapshots(&self, restored: &mut Restored) -> Result<(), Error> {
        for store in self.manifest.stores.iter().filter(|store| store.since <= self.last) {
            let is_of_use = |of: &&manifest::Snapshot| {
                let by_then = match self.target {
                    // Nothing of the log says what came after it.
                    Target::Time(ms) if !store.is_logged => of.ended_ms <= ms,
                    _ => true,
                };
                of.store == store.number && of.last_sequence <= self.last && by_then
            };
            let mut newest: Option<&manifest::Snapshot> = None;
            for snapshot in self.manifest.snapshots.iter().filter(is_of_use) {
                self.snapshot(snapshot).await?;
                let is_newer = |of: &manifest::Snapshot| {
                    (of.first_sequence, of.ended_ms) < (snapshot.first_sequence, snapshot.ended_ms)
                };
                if newest.is_none_or(is_newer) {
                    newest = Some(snapshot);
                }
            }
            match newest {
                Some(newest) => {
                    restored.snapshot_keys += newest.keys;
                    if !store.is_logged {
                        restored.as_of.push((store.name.clone(), newest.ended_ms));
                    }
                }
                None => restored.empty.push(store.name.clone()),
            }
        }
        Ok(())
    }

    async fn snapshot(&self, of: &manifest::Snapshot) -> Result<(), Error> {
        let name = snapshot::file_name(of.store, of.first_sequence);
        let path = self.root.join("snapshots").join(name);
        let failed = |error| Error::file(&path, error);
        let options = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = options.map_err(failed)?;
        self.reading.fetch(&of.object, &file).await?;
        let shown = || self.reading.destination.shown(&of.object.name);
        let opened = open_snapshot(self.manifest, of, &file).and_then(|(on_disk, found)| {
            check::blocks(&on_disk, &found)?;
            Ok(found)
        });
        let found = opened.map_err(|reason| Error::damaged(shown(), reason))?;
        let (begin, end) = found.ends_for(self.data_set);
        let write = |at, bytes: &[u8]| std::os::unix::fs::FileExt::write_all_at(&file, bytes, at);
        let done = write(0, &begin[..]).and_then(|()| write(found.index_at, &end));
        done.and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Writes what stays of the log, in segments that are numbered anew.
    fn log(&self, staged: Vec<Staged<'_>>, restored: &mut Restored) -> Result<(), Error> {
        let mut number = 1;
        for (segment, file, path) in staged {
            if segment.first_sequence <= self.last {
                restored.frames += self.segment(segment, &file, number)?;
                number += 1;
            }
            drop(file);
            fs::remove_file(&path).map_err(|error| Error::file(&path, error))?;
        }
        Ok(())
    }

    fn segment(&self, segment: &Segment, file: &File, number: u64) -> Result<u64, Error> {
        let shown = || format!("segment {} of backup {}", segment.number, self.manifest.id);
        let damaged = |reason: String| Error::damaged(shown(), reason);
        let (file, old) = open_segment(self.manifest, segment, file).map_err(damaged)?;
        let was = check::header(&file, old).map_err(damaged)?;
        let path = self.root.join("log").join(segment::file_name(number));
        let failed = |error| Error::file(&path, error);
        let header = Header { data_set: self.data_set, number, ..was };
        let mut to = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(failed)?);
        to.write_all(&header.write()).map_err(failed)?;
        let (mut at, mut frames) = (segment::HEADER_BYTES as u64, 0);
        let new: Seal = header.seal();
        let read = check::frames(&file, old, 0, |frame| {
            let cut = cut::cut(frame.header, frame.raw, self.last);
            let mut bytes = match cut.ok_or("a batch in it is not whole")? {
                Cut::Nothing => return Ok(()),
                Cut::Part(part) => part.finish().0,
                Cut::Whole => {
                    let mut bytes = frame.header.unsealed().to_vec();
                    bytes.extend_from_slice(frame.payload);
                    bytes
                }
            };
            new.apply(&mut bytes, at);
            to.write_all(&bytes).map_err(|error| error.to_string())?;
            at += bytes.len() as u64;
            frames += 1;
            Ok(())
        });
        read.map_err(damaged)?;
        let to = to.into_inner().map_err(|error| failed(error.into_error()))?;
        to.sync_all().map_err(failed)?;
        Ok(frames)
    }
}

impl Restored {
    /// The section of the configuration that the restored member needs.
    pub fn configuration(&self) -> String {
        let mut text = String::new();
        for store in &self.stores {
            let manifest::Store { number, name, mode, .. } = store;
            match number {
                0 => text.push_str(&format!("persistence: {{mode: {mode}}}\n")),
                _ => {
                    if !text.contains("stores:") {
                        text.push_str("stores:\n");
                    }
                    text.push_str(&format!(
                        "  {name}: {{number: {number}, persistence: {{mode: {mode}}}}}\n"
                    ));
                }
            }
        }
        text
    }

    /// What was done, for people.
    pub fn told(&self) -> String {
        let mut text = format!(
            "restored up to sequence {}: {} keys from snapshots, {} frames of the log\n",
            self.sequence, self.snapshot_keys, self.frames
        );
        for (name, ms) in &self.as_of {
            let at = time::shown(*ms);
            text.push_str(&format!("store '{name}' has no log: it is as it was at {at}\n"));
        }
        for name in &self.empty {
            text.push_str(&format!(
                "store '{name}' is empty: there is no snapshot of it by then\n"
            ));
        }
        text
    }
}
