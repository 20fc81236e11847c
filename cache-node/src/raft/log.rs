//! Raft's log and vote: all of it in memory (it is kept short by snapshots), and written through
//! to the disk where there is one.

use super::{
    Error,
    disk::{Batch, Disk, Key},
    types::{Entry, LogId, TypeConfig, Vote},
};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, io, ops::RangeBounds, sync::Arc};

/// Raft's log and vote.
#[derive(Clone)]
pub struct LogStore {
    log: Arc<Mutex<Log>>,
    disk: Option<Arc<Disk>>,
}

#[derive(Default)]
struct Log {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
}

pub fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(io::Error::other)
}

/// Reads what the disk holds under a key.
pub fn load<T: DeserializeOwned>(disk: &Disk, key: Key) -> Result<Option<T>, Error> {
    disk.get(key)?
        .map(|bytes| postcard::from_bytes(&bytes))
        .transpose()
        .map_err(|error| damaged(disk, &format!("{key:?}"), error))
}

fn damaged(disk: &Disk, what: &str, error: postcard::Error) -> Error {
    Error::Storage(format!(
        "{}: its {what} is damaged, or was written by a newer release: {error}",
        disk.path().display()
    ))
}

impl LogStore {
    /// The log on a disk, or an empty one in memory.
    ///
    /// # Errors
    /// When the disk holds something else.
    pub fn open(disk: Option<Arc<Disk>>) -> Result<Self, Error> {
        let mut log = Log::default();
        if let Some(disk) = &disk {
            log.vote = load(disk, Key::Vote)?;
            log.committed = load::<Option<LogId>>(disk, Key::Committed)?.flatten();
            log.purged = load(disk, Key::Purged)?;
            for (index, bytes) in disk.log()? {
                let entry: Entry = postcard::from_bytes(&bytes)
                    .map_err(|error| damaged(disk, &format!("log entry {index}"), error))?;
                let expected = log.entries.last_key_value().map_or(index, |(last, _)| last + 1);
                if index != expected || entry.log_id.index != index {
                    return Err(Error::Storage(format!(
                        "{}: its log has a hole before entry {index}",
                        disk.path().display()
                    )));
                }
                log.entries.insert(index, entry);
            }
        }
        Ok(Self { log: Arc::new(Mutex::new(log)), disk })
    }

    /// Whether there is anything: this member took part in a cluster before.
    pub fn is_pristine(&self) -> bool {
        let log = self.log.lock();
        log.entries.is_empty() && log.vote.is_none() && log.purged.is_none()
    }

    async fn write(&self, batch: Batch) -> io::Result<()> {
        match &self.disk {
            Some(disk) => disk.write(batch).await,
            None => Ok(()),
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.log.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let log = self.log.lock();
        let last = log.entries.last_key_value().map(|(_, entry)| entry.log_id());
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: last.or(log.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(Batch { put: vec![(Key::Vote, encode(vote)?)], ..Batch::default() }).await?;
        self.log.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let put = vec![(Key::Committed, encode(&committed)?)];
        self.write(Batch { put, ..Batch::default() }).await?;
        self.log.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut batch = Batch::default();
        if self.disk.is_some() {
            for entry in &entries {
                batch.append.push((entry.log_id.index, encode(entry)?));
            }
        }
        let numbered = entries.into_iter().map(|entry| (entry.log_id.index, entry));
        self.log.lock().entries.extend(numbered);
        let written = self.write(batch).await;
        callback.io_completed(written);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |id| id.index + 1);
        self.write(Batch { truncate_from: Some(from), ..Batch::default() }).await?;
        self.log.lock().entries.split_off(&from);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let put = vec![(Key::Purged, encode(&upto)?)];
        self.write(Batch { put, purge_to: Some(upto.index), ..Batch::default() }).await?;
        let mut log = self.log.lock();
        log.entries = log.entries.split_off(&(upto.index + 1));
        log.purged = Some(upto);
        Ok(())
    }
}
