//! What a member keeps on its disk: its number, Raft's vote, log and snapshot.
//!
//! `raft.redb` holds all of it. `member` says the number once more, in text, so that a lost
//! `raft.redb` is noticed: a member that forgot its vote must not come back under its number.
//!
//! What is to be written and finds no room waits for some: a member that ends instead could not even start again. `room`
//! is a file that goes first.

use super::Error;
use super::room::Room;
use hypercache_core::cluster::MemberId;
use parking_lot::Mutex;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, WriteTransaction,
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const FORMAT_PREFIX: &str = "hypercache raft ";
const FORMAT: &str = "hypercache raft 2";
const MEMBER_PREFIX: &str = "hypercache member ";
const MEMBER_FORMAT: &str = "hypercache member 1";
const CACHE_BYTES: usize = 1 << 20;

/// What is to be written waits for room for so long.
const WAITS_FOR_ROOM: Duration = Duration::from_secs(600);
/// So often it is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// The open `raft.redb`.
pub struct Disk {
    /// `None` after something failed: it takes nothing more, and is opened anew.
    database: Mutex<Option<Database>>,
    room: Mutex<Room>,
    path: PathBuf,
    /// Dropped after the database: whoever listens knows then that the file is closed.
    open: tokio::sync::watch::Sender<()>,
}

/// A key of what is kept beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Vote,
    Committed,
    Purged,
    Snapshot,
    Cluster,
}

impl Key {
    fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Committed => "committed",
            Self::Purged => "purged",
            Self::Snapshot => "snapshot",
            Self::Cluster => "cluster",
        }
    }
}

/// A write of several things at once.
#[derive(Default)]
pub struct Batch {
    pub put: Vec<(Key, Vec<u8>)>,
    pub append: Vec<(u64, Vec<u8>)>,
    /// Entries from this one on go.
    pub truncate_from: Option<u64>,
    /// Entries up to this one go.
    pub purge_to: Option<u64>,
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Storage(format!("{}: {reason}", path.display()))
}

impl Disk {
    /// Opens a data directory, or makes it; `fresh` is the number for a new member.
    ///
    /// # Errors
    /// Names the file that is damaged, foreign, newer, or lost.
    pub fn open(directory: &Path, fresh: MemberId) -> Result<(Arc<Self>, MemberId), Error> {
        fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        let (path, member_path) = (directory.join("raft.redb"), directory.join("member"));
        let known = read_member(&member_path)?;
        let bytes = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        if let Some(member) = known
            && bytes == 0
        {
            return Err(failed(
                &path,
                format!(
                    "it is missing, although {} says that this is member {member:016x}. Restore it, or \
                 remove {} to join as a new member with no data",
                    member_path.display(),
                    member_path.display()
                ),
            ));
        }
        let database = open(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => failed(&path, "another process uses it"),
            error => failed(&path, format!("it cannot be opened: {error}")),
        })?;
        let (database, room) = (Mutex::new(Some(database)), Mutex::new(Room::keep(directory)));
        let open = tokio::sync::watch::Sender::new(());
        let disk = Self { database, room, path: path.clone(), open };
        let member = disk.member(fresh).map_err(|error| failed(&path, error))??;
        match known {
            Some(known) if known != member => {
                return Err(failed(
                    &member_path,
                    format!(
                        "it says member {known:016x}, but {} belongs to member {member:016x}",
                        path.display()
                    ),
                ));
            }
            Some(_) => {}
            None => write_member(directory, &member_path, member)
                .map_err(|error| failed(&member_path, error))?,
        }
        Ok((Arc::new(disk), member))
    }

    /// The number in the file; a new file gets `fresh`.
    fn member(&self, fresh: MemberId) -> Result<Result<MemberId, Error>, redb::Error> {
        self.with(|database| self.member_in(database, fresh))
    }

    fn member_in(
        &self,
        database: &Database,
        fresh: MemberId,
    ) -> Result<Result<MemberId, Error>, redb::Error> {
        let read = database.begin_read()?;
        let tables: Vec<String> = read.list_tables()?.map(|t| t.name().to_owned()).collect();
        if tables.is_empty() {
            let write = database.begin_write()?;
            {
                let mut meta = write.open_table(META)?;
                meta.insert("format", FORMAT.as_bytes())?;
                meta.insert("member", &fresh.to_be_bytes()[..])?;
                write.open_table(LOG)?;
            }
            write.commit()?;
            return Ok(Ok(fresh));
        }
        if !tables.iter().any(|name| name == META.name()) {
            return Ok(Err(failed(&self.path, "it is no file of HyperCache")));
        }
        let meta = read.open_table(META)?;
        let format = meta.get("format")?.map(|v| String::from_utf8_lossy(v.value()).into_owned());
        Ok(match format.as_deref() {
            Some(FORMAT) => {
                let bytes = meta.get("member")?.and_then(|v| v.value().try_into().ok());
                bytes
                    .map(MemberId::from_be_bytes)
                    .filter(|member| *member != 0)
                    .ok_or_else(|| failed(&self.path, "it does not say whose it is"))
            }
            Some(other) if other.starts_with(FORMAT_PREFIX) => Err(failed(
                &self.path,
                format!(
                    "it is of the format '{other}', which another version of HyperCache wrote; this \
                 version reads '{FORMAT}'"
                ),
            )),
            _ => Err(failed(&self.path, "it is no file of HyperCache")),
        })
    }

    /// Ends (with an error, as its sender is gone) when the file is closed.
    pub fn closed(&self) -> tokio::sync::watch::Receiver<()> {
        self.open.subscribe()
    }

    /// The file's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands under a key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, key: Key) -> Result<Option<Vec<u8>>, Error> {
        let read = |database: &Database| {
            let meta = database.begin_read()?.open_table(META)?;
            Ok(meta.get(key.name())?.map(|value| value.value().to_vec()))
        };
        self.with(read).map_err(|error| failed(&self.path, error))
    }

    /// The whole log.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let read = |database: &Database| {
            let log = database.begin_read()?.open_table(LOG)?;
            let mut entries = Vec::new();
            for entry in log.iter()? {
                let (index, bytes) = entry?;
                entries.push((index.value(), bytes.value().to_vec()));
            }
            Ok(entries)
        };
        self.with(read).map_err(|error| failed(&self.path, error))
    }

    /// Writes all of a batch or nothing, and returns when it is on the disk. Where the disk is full it waits for room.
    ///
    /// # Errors
    /// As the disk has it.
    pub async fn write(self: &Arc<Self>, batch: Batch) -> io::Result<()> {
        let disk = self.clone();
        tokio::task::spawn_blocking(move || {
            disk.write_with_patience(&batch)
                .map_err(|error| io::Error::other(format!("{}: {error}", disk.path.display())))
        })
        .await
        .map_err(io::Error::other)?
    }

    fn write_with_patience(&self, batch: &Batch) -> Result<(), redb::Error> {
        let began = Instant::now();
        let mut told = false;
        loop {
            let written = self.with(|database| {
                let write = database.begin_write()?;
                apply(&write, batch)?;
                Ok(write.commit()?)
            });
            let error = match written {
                Err(error) if is_full(&error) && began.elapsed() < WAITS_FOR_ROOM => error,
                Ok(()) => {
                    self.room.lock().keep_again();
                    return Ok(());
                }
                failed => return failed,
            };
            if self.room.lock().give() {
                tracing::warn!(
                    action = "room-given",
                    %error,
                    "the disk is full: what was kept of it for the cluster's table is used"
                );
                continue;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::error!(
                    action = "no-room-for-table",
                    %error,
                    "the disk is full: this member takes no part in the cluster until there is room"
                );
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Does something with the database. One in which something failed is closed, and opened anew by the next.
    fn with<R>(
        &self,
        run: impl FnOnce(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, redb::Error> {
        let mut kept = self.database.lock();
        let database = match kept.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let done = run(&database);
        if done.is_ok() {
            *kept = Some(database);
        }
        done
    }
}

fn open(path: &Path) -> Result<Database, redb::DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).create(path)
}

/// Whether something failed for want of room.
fn is_full(error: &redb::Error) -> bool {
    let kind = match error {
        redb::Error::Io(error) => error.kind(),
        _ => return false,
    };
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn apply(write: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut meta = write.open_table(META)?;
    for (key, value) in &batch.put {
        meta.insert(key.name(), value.as_slice())?;
    }
    let mut log = write.open_table(LOG)?;
    if let Some(from) = batch.truncate_from {
        log.retain_in(from.., |_, _| false)?;
    }
    if let Some(to) = batch.purge_to {
        log.retain_in(..=to, |_, _| false)?;
    }
    for (index, entry) in &batch.append {
        log.insert(index, entry.as_slice())?;
    }
    Ok(())
}

fn read_member(path: &Path) -> Result<Option<MemberId>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    let mut lines = text.lines();
    match lines.next() {
        Some(MEMBER_FORMAT) => {}
        Some(other) if other.starts_with(MEMBER_PREFIX) => {
            return Err(failed(path, format!("'{other}' is not '{MEMBER_FORMAT}'")));
        }
        _ => return Err(failed(path, "it is no file of HyperCache")),
    }
    lines
        .next()
        .and_then(|line| MemberId::from_str_radix(line, 16).ok())
        .filter(|member| *member != 0)
        .map(Some)
        .ok_or_else(|| failed(path, "its second line is not a member's number"))
}

fn write_member(directory: &Path, path: &Path, member: MemberId) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::File::create(&draft)?;
    writeln!(file, "{MEMBER_FORMAT}\n{member:016x}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
