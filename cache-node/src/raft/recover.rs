//! When the majority of voters is gone for good, no election ends any more: what one member has on its
//! disk is made the table of a new cluster, of it alone.
//!
//! It is another cluster, with a number of its own: whoever of the old one is there after all, with its
//! old disk, is refused by gossip and by the member-to-member protocol, and cannot do harm. The member's
//! last entries may not have been decided by the majority; but whatever was acknowledged to anybody may be
//! among them, so they are taken.

use super::{
    Error,
    disk::{Batch, Disk, Key},
    log::{encode, load},
    machine::{Kept, decode_state, encode_state},
    status::natural,
    types::{Entry, LogId, StoredMembership},
};
use hypercache_core::{
    cluster::{ClusterState, MemberId},
    store::{Fsync, Mode, StoreNumber},
};
use openraft::{EntryPayload, Membership};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What the file is kept as before it is written anew.
const BEFORE: &str = "raft.redb.before-recovery";

/// What a member that is down has of its cluster.
pub struct Recoverable {
    /// The member's name.
    pub name: String,
    /// The cluster that it belongs to.
    pub cluster_id: u64,
    /// The epoch of its table.
    pub epoch: u64,
    /// The number of its last entry of Raft's log.
    pub last_index: u64,
    /// How many entries it does not know to be decided.
    pub undecided: u64,
    /// Whether it votes.
    pub votes: bool,
    /// The other members' names.
    pub others: Vec<String>,
    /// Slots that it has in sync.
    pub slots_kept: u32,
    /// Slots that it has, and may lack what was written last.
    pub slots_behind: u32,
    /// Slots that it has not.
    pub slots_gone: u32,
    /// The stores.
    pub stores: Vec<RecoveredStore>,
    directory: PathBuf,
    disk: Arc<Disk>,
    member: MemberId,
    last: LogId,
    state: ClusterState,
}

/// A store of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredStore {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: StoreNumber,
    /// Whether anything of it is on disk.
    pub is_on_disk: bool,
    /// Whether what was answered was on disk before.
    pub is_synced: bool,
}

impl Recoverable {
    /// Reads what a data directory has. Nothing is changed.
    ///
    /// # Errors
    /// It is none, a process uses it, it is damaged, or nothing can or need be recovered.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("raft.redb");
        let refused = |what: &str| Error::Storage(format!("{}: {what}", path.display()));
        if !path.is_file() {
            return Err(refused("it is not there: this is no data directory of a member"));
        }
        let (disk, member) = Disk::open(directory, 0)?;
        let kept: Option<Kept> = load(&disk, Key::Snapshot)?;
        let mut state = ClusterState::default();
        let (mut last, mut membership) = (None, StoredMembership::default());
        if let Some((at, voters, bytes)) = kept {
            state = decode_state(&bytes).map_err(|error| refused(&error.to_string()))?;
            (last, membership) = (at, voters);
        }
        for (index, bytes) in disk.log()? {
            let entry: Entry = postcard::from_bytes(&bytes)
                .map_err(|error| refused(&format!("log entry {index} is damaged: {error}")))?;
            if last.is_some_and(|last| entry.log_id.index <= last.index) {
                continue;
            }
            last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                // What was refused then is refused again.
                EntryPayload::Normal(change) => drop(state.apply(&change)),
                EntryPayload::Membership(voters) => {
                    membership = StoredMembership::new(last, voters);
                }
            }
        }
        let (Some(last), true) = (last, state.exists()) else {
            return Err(refused("it knows no table of a cluster: there is nothing to recover"));
        };
        let Some(me) = state.members.get(&member) else {
            return Err(refused("this member is not in the cluster's table"));
        };
        let voters: Vec<MemberId> = membership.voter_ids().collect();
        if voters == [member] {
            return Err(refused(
                "this member is the only voter already: start it, nothing need be recovered",
            ));
        }
        let committed: Option<LogId> = load::<Option<LogId>>(&disk, Key::Committed)?.flatten();
        let decided = committed.map_or(0, |id| id.index);
        let remains = state.remains(member);
        let others = state.members.values().filter(|other| other.id != member);
        let mut others: Vec<String> = others.map(|other| other.name.clone()).collect();
        others.sort_by_key(|name| natural(name));
        let store = |store: &hypercache_core::store::StorePolicy| RecoveredStore {
            name: store.name.clone(),
            number: store.number,
            is_on_disk: store.durability.mode != Mode::Disabled,
            is_synced: store.durability.mode.is_logged() && store.durability.fsync == Fsync::Always,
        };
        Ok(Self {
            name: me.name.clone(),
            cluster_id: state.cluster_id,
            epoch: state.epoch,
            last_index: last.index,
            undecided: last.index.saturating_sub(decided),
            votes: voters.contains(&member),
            others,
            slots_kept: remains.kept,
            slots_behind: remains.behind,
            slots_gone: remains.gone,
            stores: state.stores.iter().map(store).collect(),
            directory: directory.to_owned(),
            disk,
            member,
            last,
            state,
        })
    }

    /// Makes the member the only one of a new cluster, whose number is told. What was there before is kept
    /// beside it, in `raft.redb.before-recovery`. It is done wholly or not at all.
    ///
    /// # Errors
    /// The files cannot be written.
    pub async fn recover(self) -> Result<u64, Error> {
        let failed = |error: std::io::Error| {
            Error::Storage(format!("{}: {error}", self.directory.display()))
        };
        let cluster = super::build::random_id()?;
        let Some(state) = self.state.of_one(self.member, cluster) else {
            return Err(Error::Failed("this member is not in the cluster's table".to_owned()));
        };
        fs::copy(self.disk.path(), self.directory.join(BEFORE)).map_err(failed)?;
        // An entry of its own: nobody has another one under that number.
        let last = LogId::new(self.last.leader_id, self.last.index + 1);
        let alone = Membership::new_with_defaults(vec![[self.member].into()], [self.member]);
        let kept: Kept = (
            Some(last),
            StoredMembership::new(Some(last), alone),
            encode_state(&state).map_err(failed)?,
        );
        let put = vec![
            (Key::Snapshot, encode(&kept).map_err(failed)?),
            (Key::Purged, encode(&last).map_err(failed)?),
            (Key::Committed, encode(&Some(last)).map_err(failed)?),
            (Key::Cluster, encode(&cluster).map_err(failed)?),
        ];
        let batch = Batch { put, purge_to: Some(last.index), ..Batch::default() };
        self.disk.write(batch).await.map_err(failed)?;
        Ok(cluster)
    }
}
