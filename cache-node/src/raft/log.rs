//! Raft's log and vote: all of it in memory (it is kept short by snapshots), and written through
//! to the disk where there is one.

use super::{
    Error,
    disk::{Batch, Disk, Key},
    types::{Entry, LogId, TypeConfig, Vote},
};
use hypercache_core::cluster::{Change, Step};
use openraft::{
    EntryPayload, LogState, OptionalSend, RaftLogReader,
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
    /// The disk does not say so yet.
    is_unsaved: bool,
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

    /// Writes it, and how far the log is committed if the disk does not say so yet.
    async fn write(&self, mut batch: Batch) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let unsaved = {
            let mut log = self.log.lock();
            std::mem::take(&mut log.is_unsaved).then_some(log.committed)
        };
        if let Some(committed) = unsaved {
            batch.put.push((Key::Committed, encode(&committed)?));
        }
        disk.write(batch).await
    }

    /// Has the disk say all that it does not say yet, as this member stops.
    ///
    /// # Errors
    /// The disk's.
    pub async fn finish(self) -> io::Result<()> {
        let is_unsaved = self.log.lock().is_unsaved;
        if is_unsaved { self.write(Batch::default()).await } else { Ok(()) }
    }

    /// Whether the disk has to say that all up to an entry is committed before this member applies it.
    ///
    /// A member that is started again applies what the disk says is committed, and then what the leader says. What was
    /// applied before and comes once more then may tell it that it owns a slot no longer: it drops what it holds of it.
    /// So that has to be behind it before it holds anything of that slot again.
    fn has_to_say(&self, upto: Option<LogId>) -> bool {
        let log = self.log.lock();
        let after = log.committed.map_or(0, |id| id.index + 1);
        let last = upto.map_or(0, |id| id.index);
        after <= last
            && log.entries.range(after..=last).any(|(_, entry)| match &entry.payload {
                EntryPayload::Blank => false,
                EntryPayload::Normal(Change::Place(steps)) => steps.iter().any(Step::gives_slots),
                EntryPayload::Normal(_) | EntryPayload::Membership(_) => true,
            })
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
        // A write less between what is agreed upon and what is done: a slot that is handed over is not served meanwhile.
        let is_now = self.has_to_say(committed);
        {
            let mut log = self.log.lock();
            (log.committed, log.is_unsaved) = (committed, true);
        }
        if is_now { self.write(Batch::default()).await } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::cluster::Act;
    use openraft::vote::RaftLeaderId;

    fn id(index: u64) -> LogId {
        LogId::new(openraft::type_config::alias::LeaderIdOf::<TypeConfig>::new(1, 7), index)
    }

    fn entry(index: u64, act: Act) -> Entry {
        let change = Change::Place(vec![Step::new(vec![(3, 5)], act)]);
        Entry { log_id: id(index), payload: EntryPayload::Normal(change) }
    }

    #[tokio::test]
    async fn the_disk_says_what_gives_slots_before_it_is_applied_and_the_rest_with_what_is_written_next()
     {
        let directory = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(directory.path(), 7).unwrap();
        let mut store = LogStore::open(Some(disk.clone())).unwrap();
        let on_disk = || {
            let committed = load::<Option<LogId>>(&disk, Key::Committed).unwrap().flatten();
            committed.map_or(0, |id: LogId| id.index)
        };
        let commit = async |store: &mut LogStore, index: u64| {
            store.save_committed(Some(id(index))).await.unwrap();
            assert_eq!(store.read_committed().await.unwrap().map(|id| id.index), Some(index));
        };
        let hands_over = Act::HandOver { epoch: 1, to: 9 };
        let entries = [
            entry(1, Act::AddOwner(9)),
            entry(2, hands_over),
            entry(3, Act::RemoveOwner(8)),
            entry(4, Act::Restart { epoch: 1, to: 9 }),
            entry(5, hands_over),
        ];
        store.append(entries, IOFlushed::noop()).await.unwrap();
        commit(&mut store, 1).await;
        assert_eq!(on_disk(), 1, "an owner was added");
        commit(&mut store, 2).await;
        assert_eq!(on_disk(), 1, "a hand-over can come once more");
        commit(&mut store, 4).await;
        assert_eq!(on_disk(), 4, "a member began with nothing");
        commit(&mut store, 5).await;
        assert_eq!(on_disk(), 4);
        store.append([entry(6, hands_over)], IOFlushed::noop()).await.unwrap();
        assert_eq!(on_disk(), 5, "it went with what was appended");
        commit(&mut store, 6).await;
        store.finish().await.unwrap();
        assert_eq!(on_disk(), 6, "all of it is there after a stop");
    }
}
