//! The state machine: applies the log's changes to the table, and shows each table to the rest.

use super::{
    Error,
    disk::{Batch, Disk, Key},
    log::{encode, load},
    serving::Serving,
    types::{LogId, Outcome, Snapshot, SnapshotMeta, StoredMembership, TypeConfig},
};
use futures::{Stream, StreamExt};
use hypercache_core::cluster::{
    Change, ClusterState, FACTORS_WAIT, PROTOCOLS, Protocol, Refused, Steering,
};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};
use tokio::sync::watch;

/// The version of a snapshot's bytes.
const SNAPSHOT_VERSION: u8 = 2;
/// With how slots are moved behind the table; written only where that is not as it was in the beginning,
/// so that members of before read what they can.
const STEERED_VERSION: u8 = 3;
/// With both that and the version that members speak; written only once that was raised.
const RAISED_VERSION: u8 = 4;

/// How far the log is applied, who votes, and the table's bytes.
pub type Kept = (Option<LogId>, StoredMembership, Vec<u8>);

/// The table, and how far the log is applied to it.
pub struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    state: Arc<ClusterState>,
    snapshot: Arc<Mutex<Option<Kept>>>,
    disk: Option<Arc<Disk>>,
    serving: Arc<Serving>,
    shown: watch::Sender<Arc<ClusterState>>,
}

/// Makes a snapshot of one moment.
pub struct Builder {
    applied: Option<LogId>,
    membership: StoredMembership,
    state: Arc<ClusterState>,
    snapshot: Arc<Mutex<Option<Kept>>>,
    disk: Option<Arc<Disk>>,
}

pub fn encode_state(state: &ClusterState) -> io::Result<Vec<u8>> {
    let is_raised = state.protocol != 0;
    let is_steered = is_raised || state.steering != Steering::default();
    let mut bytes = vec![match (is_steered, is_raised) {
        (_, true) => RAISED_VERSION,
        (true, false) => STEERED_VERSION,
        (false, false) => SNAPSHOT_VERSION,
    }];
    bytes.extend(encode(state)?);
    if is_steered {
        bytes.extend(encode(&state.steering)?);
    }
    if is_raised {
        bytes.extend(encode(&state.protocol)?);
    }
    if state.protocol >= FACTORS_WAIT {
        bytes.extend(encode(&state.coming)?);
    }
    Ok(bytes)
}

pub fn decode_state(bytes: &[u8]) -> io::Result<ClusterState> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    match bytes.split_first() {
        Some((&SNAPSHOT_VERSION, state)) => {
            postcard::from_bytes(state).map_err(|error| damaged(format!("the table: {error}")))
        }
        Some((version @ (&STEERED_VERSION | &RAISED_VERSION), parts)) => {
            let wrong = |error: postcard::Error| damaged(format!("the table: {error}"));
            let (state, rest) = postcard::take_from_bytes::<ClusterState>(parts).map_err(wrong)?;
            let (steering, rest) = postcard::take_from_bytes(rest).map_err(wrong)?;
            let (protocol, rest) = match *version {
                RAISED_VERSION => postcard::take_from_bytes(rest).map_err(wrong)?,
                _ => (0, rest),
            };
            if protocol > *PROTOCOLS.end() {
                return Err(too_old(protocol));
            }
            let coming = match protocol >= FACTORS_WAIT {
                true => postcard::from_bytes(rest).map_err(wrong)?,
                false => BTreeMap::new(),
            };
            Ok(ClusterState { steering, protocol, coming, ..state })
        }
        Some((version, _)) => Err(damaged(format!(
            "a snapshot of version {version}; this version of HyperCache reads {SNAPSHOT_VERSION} to {RAISED_VERSION}"
        ))),
        None => Err(damaged("an empty snapshot".to_owned())),
    }
}

/// What the cluster says since all its members were of a newer release, this program does not understand.
fn too_old(protocol: Protocol) -> io::Error {
    let what = format!(
        "the cluster speaks protocol {protocol}, and this program {} to {}: start a release that knows it",
        PROTOCOLS.start(),
        PROTOCOLS.end()
    );
    io::Error::new(io::ErrorKind::Unsupported, what)
}

impl Machine {
    /// The table of the last snapshot on the disk, or an empty one.
    ///
    /// # Errors
    /// When the snapshot is damaged or of another version.
    pub fn open(
        disk: Option<Arc<Disk>>,
        serving: Arc<Serving>,
    ) -> Result<(Self, watch::Receiver<Arc<ClusterState>>), Error> {
        let kept: Option<Kept> = match &disk {
            Some(disk) => load(disk, Key::Snapshot)?,
            None => None,
        };
        let mut state = Arc::new(ClusterState::default());
        if let (Some((_, _, bytes)), Some(disk)) = (&kept, &disk) {
            state = Arc::new(decode_state(bytes).map_err(|error| {
                Error::Storage(format!("{}: its snapshot: {error}", disk.path().display()))
            })?);
        }
        let (applied, membership) = kept
            .as_ref()
            .map(|(applied, membership, _)| (*applied, membership.clone()))
            .unwrap_or_default();
        let (shown, seen) = watch::channel(state.clone());
        let snapshot = Arc::new(Mutex::new(kept));
        let machine = Self { applied, membership, state, snapshot, disk, serving, shown };
        machine.show();
        Ok((machine, seen))
    }

    fn show(&self) {
        if self.state.exists() {
            self.serving.apply(&self.state);
        }
        self.shown.send_replace(self.state.clone());
    }

    async fn change(&mut self, change: &Change) -> io::Result<Outcome> {
        let existed = self.state.exists();
        let mut next = ClusterState::clone(&self.state);
        let outcome = next.apply(change);
        // It must not go on without what the others have applied.
        if let Err(Refused::InvalidProtocol { wanted, .. }) = &outcome
            && wanted > PROTOCOLS.end()
        {
            return Err(too_old(*wanted));
        }
        match &outcome {
            Ok(applied) => {
                tracing::debug!(
                    action = "table-changed",
                    %change,
                    epoch = applied.epoch,
                    "the table changed"
                );
                self.state = Arc::new(next);
            }
            Err(refused) => {
                tracing::debug!(
                    action = "table-change-refused",
                    %change,
                    error = %refused,
                    "a change was refused"
                )
            }
        }
        if !existed {
            self.keep_cluster().await?;
        }
        self.show();
        Ok(Outcome(Some(outcome)))
    }

    /// Notes the cluster on the disk, for gossip at the next start.
    async fn keep_cluster(&self) -> io::Result<()> {
        if let Some(disk) = &self.disk
            && self.state.exists()
        {
            let put = vec![(Key::Cluster, encode(&self.state.cluster_id)?)];
            disk.write(Batch { put, ..Batch::default() }).await?;
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            self.applied = Some(entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome(None),
                EntryPayload::Normal(change) => self.change(&change).await?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome(None)
                }
            };
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            applied: self.applied,
            membership: self.membership.clone(),
            state: self.state.clone(),
            snapshot: self.snapshot.clone(),
            disk: self.disk.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, bytes: Vec<u8>) -> io::Result<()> {
        let state = decode_state(&bytes)?;
        let kept = (meta.last_log_id, meta.last_membership.clone(), bytes);
        keep(self.disk.as_ref(), &kept).await?;
        *self.snapshot.lock() = Some(kept);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.state = Arc::new(state);
        self.keep_cluster().await?;
        if self.state.exists() {
            self.serving.install(&self.state);
        }
        self.shown.send_replace(self.state.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshot.lock().clone().map(snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let kept = (self.applied, self.membership.clone(), encode_state(&self.state)?);
        keep(self.disk.as_ref(), &kept).await?;
        *self.snapshot.lock() = Some(kept.clone());
        Ok(snapshot(kept))
    }
}

async fn keep(disk: Option<&Arc<Disk>>, kept: &Kept) -> io::Result<()> {
    match disk {
        Some(disk) => {
            let put = vec![(Key::Snapshot, encode(kept)?)];
            disk.write(Batch { put, ..Batch::default() }).await
        }
        None => Ok(()),
    }
}

fn snapshot((last_log_id, last_membership, snapshot): Kept) -> Snapshot {
    Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written_and_as_before_where_nothing_is_steered() {
        let plain = ClusterState { cluster_id: 5, epoch: 7, ..ClusterState::default() };
        let bytes = encode_state(&plain).unwrap();
        assert_eq!(bytes[0], SNAPSHOT_VERSION);
        assert_eq!(decode_state(&bytes).unwrap(), plain);
        let steering = Steering { paused: true, ..Steering::default() };
        let steered = ClusterState { steering, ..plain.clone() };
        let bytes = encode_state(&steered).unwrap();
        assert_eq!(bytes[0], STEERED_VERSION);
        assert_eq!(decode_state(&bytes).unwrap(), steered);
        let raised = ClusterState { protocol: *PROTOCOLS.end(), ..plain.clone() };
        let of_later = ClusterState { protocol: PROTOCOLS.end() + 1, ..plain };
        assert_eq!(decode_state(&encode_state(&raised).unwrap()).unwrap(), raised);
        let error = decode_state(&encode_state(&of_later).unwrap()).unwrap_err().to_string();
        assert!(error.contains("start a release that knows it"), "{error}");
        for cut in [0, 1, bytes.len() - 1] {
            assert!(decode_state(&bytes[..cut]).is_err(), "S6: {cut} bytes");
        }
        assert!(decode_state(&[9]).unwrap_err().to_string().contains("a snapshot of version 9"));
    }

    /// Members of two releases read each other's entries: what is new comes behind what was there.
    #[test]
    fn entries_of_protocol_2_are_written_as_they_were() {
        use hypercache_core::cluster::{Act, Steer, Step};
        let place = |act| Change::Place(vec![Step::new(vec![(3, 5)], act)]);
        let entries: [(Change, &[u8]); 6] = [
            (Change::RemoveMember(7), &[4, 7]),
            (Change::Restarted { member: 1, incarnation: 2 }, &[5, 1, 2]),
            (place(Act::AddOwner(9)), &[6, 1, 1, 3, 5, 0, 9]),
            (place(Act::Restart { epoch: 1, to: 2 }), &[6, 1, 1, 3, 5, 6, 1, 2]),
            (Change::DropStore(4), &[9, 4]),
            (Change::Steer(Steer::Abort), &[11, 4]),
        ];
        for (change, bytes) in entries {
            assert_eq!(encode(&change).unwrap(), bytes, "{change}");
        }
    }
}
