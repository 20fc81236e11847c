//! What the rest of the member asks the cluster layer.

use super::{
    Error, Forgotten, Lease, Plan, Status,
    control::{self, Ask, Said},
    forecast, leader,
    shared::Shared,
    status, stopping,
};
use crate::clock::boot_ms;
use hypercache_core::{
    cluster::{Applied, Assignment, Change, Desired, Liveness, MemberId, Steer, View, slot_of},
    keyspace::{FilterStats, Verdict},
    store::{Invalid, StoreNumber, StorePolicy},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

const LOOK_WHETHER_BROKEN: Duration = Duration::from_secs(1);
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
const STATUS_TIMEOUT: Duration = Duration::from_millis(700);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(50);

/// Asks the cluster layer. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// What this member sees of the cluster now. Where its lease is over, also since a moment ago, it sees no
    /// quorum.
    pub fn view(&self) -> Arc<View> {
        let view = self.shared.view.load_full();
        if view.quorum && !self.holds(self.lease()) {
            return Arc::new(View { quorum: false, ..View::clone(&view) });
        }
        view
    }

    /// This member's lease, to be taken before [`Self::view`] and anything else that an answer comes from.
    #[inline]
    pub fn lease(&self) -> Lease {
        self.shared.links.standing.lease()
    }

    /// Whether a lease that was taken holds still, so that what was seen or done since then may be answered. A
    /// process that was paused finds that it does not.
    #[inline]
    pub fn holds(&self, lease: Lease) -> bool {
        self.shared.links.standing.holds(lease, boot_ms)
    }

    /// Where this member sees no quorum: whether that is so for no longer than `patience`.
    pub fn quorum_may_return(&self, patience: Duration) -> bool {
        let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.shared.links.standing.may_return(patience_ms, boot_ms())
    }

    /// Counts the changes of [`Self::view`].
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// This member's number.
    pub fn me(&self) -> hypercache_core::cluster::MemberId {
        self.shared.me.id
    }

    /// What this member is for each slot.
    pub fn serving(&self) -> Arc<super::Serving> {
        self.shared.serving.clone()
    }

    /// A member of the table with the newest address that is known.
    pub fn reach(
        &self,
        member: &hypercache_core::cluster::Member,
    ) -> hypercache_core::cluster::Member {
        self.shared.reach(member)
    }

    /// Changes the table, by the leader, and waits until it is applied there.
    ///
    /// # Errors
    /// [`Error::Refused`], or what kept it from being known; within 5 s.
    pub async fn propose(&self, change: Change) -> Result<Applied, Error> {
        self.ask_leader(Ask::Propose(change)).await
    }

    /// Makes a store.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub async fn create_store(&self, policy: StorePolicy) -> Result<Applied, Error> {
        self.propose(Change::CreateStore(policy)).await
    }

    /// Gives the store of that name other policies.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub async fn change_store(&self, policy: StorePolicy) -> Result<Applied, Error> {
        self.propose(Change::ChangeStore(policy)).await
    }

    /// Drops a store with its data.
    ///
    /// # Errors
    /// As [`Self::propose`]; [`Refused::NoSuchStore`](hypercache_core::cluster::Refused).
    pub async fn drop_store(&self, name: &str) -> Result<Applied, Error> {
        let store = self.view().state.store_named(name).map(|store| store.number);
        let missing = || hypercache_core::cluster::Refused::NoSuchStore(format!("'{name}'"));
        let number = store.ok_or_else(|| Error::Refused(missing()))?;
        self.propose(Change::DropStore(number)).await
    }

    /// Takes an operator's desired state, and says how far it is.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub async fn set_desired(&self, desired: Desired) -> Result<Status, Error> {
        let applied = self.ask_leader(Ask::SetDesired(desired)).await?;
        // Only for the reply to tell of it; this member may lag behind the leader.
        let mut changed = self.changed();
        let seen = async {
            while self.view().epoch() < applied.epoch && changed.changed().await.is_ok() {}
        };
        let _ = timeout(STATUS_TIMEOUT, seen).await;
        Ok(self.status().await)
    }

    /// Changes how slots are moved. Nothing is written where nothing changes.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub async fn steer(&self, steer: Steer) -> Result<Applied, Error> {
        self.propose(Change::Steer(steer)).await
    }

    /// Where slots should be, as this member sees it.
    pub(super) fn target(&self, view: &View) -> Option<Assignment> {
        let alive = |id| view.liveness(id) == Liveness::Alive;
        leader::aside(|| self.shared.targets.lock().target(&view.state, alive).cloned())
    }

    /// What the ring wants against what is, as this member sees it, and what that costs.
    pub async fn plan(&self) -> Plan {
        let view = self.view();
        let target = self.target(&view);
        let deadline = Instant::now() + STATUS_TIMEOUT;
        forecast::plan(&self.shared, &view, target.as_ref(), deadline).await
    }

    /// The bytes of slots on their way to one member in a second, at most.
    pub fn move_rate(&self) -> u64 {
        forecast::move_rate(&self.shared, &self.view().state)
    }

    /// Lets another voter lead, by its name, or any that is alive; who leads then.
    ///
    /// # Errors
    /// [`Error::Invalid`] names who cannot; [`Error::NoQuorum`] when it did not come to it in time.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<String, Error> {
        let view = self.view();
        let wrong = |message| Error::Invalid(Invalid { field: "to".into(), message });
        let may = |id: &&hypercache_core::cluster::MemberId| {
            view.liveness(**id) == Liveness::Alive && view.member(**id).is_some()
        };
        let heirs = || view.voters.iter().filter(may).filter_map(|id| view.member(*id));
        let heir = match to {
            None => heirs().find(|member| view.leader != Some(member.id)),
            Some(name) => heirs().find(|member| member.name == name),
        };
        let Some(heir) = heir else {
            let names: Vec<&str> = heirs().map(|member| member.name.as_str()).collect();
            let message = match to {
                Some(name) => format!(
                    "'{name}' is no member that votes and is alive; these are: {}",
                    names.join(", ")
                ),
                None => "there is no other member that votes and is alive".to_owned(),
            };
            return Err(wrong(message));
        };
        match self.ask_leader_for(Ask::TransferLeader(heir.id)).await? {
            Said::Leads => Ok(heir.name.clone()),
            _ => Err(Error::Failed("the leader answered oddly".into())),
        }
    }

    /// Forgets a member that never comes back, by its name, or says what that would do.
    ///
    /// # Errors
    /// [`Error::Invalid`] names who is no member, or alive; as [`Self::propose`].
    pub async fn forget(&self, name: &str, dry_run: bool) -> Result<Forgotten, Error> {
        let view = self.view();
        let wrong = |message| Error::Invalid(Invalid { field: "member".into(), message });
        let Some(member) = view.state.member_named(name) else {
            return Err(wrong(format!("no member is named '{name}'")));
        };
        if view.liveness(member.id) != Liveness::Down {
            return Err(wrong(format!("'{name}' is alive: drain it, and take it away after that")));
        }
        match self.ask_leader_for(Ask::Forget { member: member.id, dry_run }).await? {
            Said::Forgot(forgotten) => Ok(forgotten),
            _ => Err(Error::Failed("the leader answered oddly".into())),
        }
    }

    /// The cluster as this member sees it, with what the members say they hold.
    pub async fn status(&self) -> Status {
        let said = control::gather(&self.shared, Instant::now() + STATUS_TIMEOUT).await;
        let view = self.view();
        let target = self.target(&view);
        let replicates = self.shared.copies().replicate();
        status::status(&view, target.as_ref(), replicates, &said, &self.twins(&view))
    }

    /// What a store's filter is and did on each member; `None` where one did not say in time.
    pub async fn filter_stats(&self, store: StoreNumber) -> Vec<(String, Option<FilterStats>)> {
        let deadline = Instant::now() + STATUS_TIMEOUT;
        let view = self.view();
        let asked = view.state.members.values().map(|member| async {
            let reached = self.shared.reach(member);
            match control::ask(&self.shared, &reached, Ask::FilterStats(store), deadline).await {
                Ok(Said::FilterStats(stats)) => (member.name.clone(), stats),
                _ => (member.name.clone(), None),
            }
        });
        futures::future::join_all(asked).await
    }

    /// What a store's filter says of a key on the member that owns it, and that member's name;
    /// `None` if it knows no such store.
    ///
    /// # Errors
    /// The key's slot has no owner, or that could not be asked within 5 s.
    pub async fn filter_check(
        &self,
        store: StoreNumber,
        key: Vec<u8>,
    ) -> Result<(String, Option<Verdict>), Error> {
        let view = self.view();
        let slot = slot_of(&key);
        let owner = view.owner(slot).and_then(|id| view.member(id));
        let Some(owner) = owner.map(|owner| self.shared.reach(owner)) else {
            return Err(Error::NoQuorum(format!("slot {slot} has no owner")));
        };
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        match control::ask(&self.shared, &owner, Ask::FilterCheck { store, key }, deadline).await? {
            Said::FilterCheck(verdict) => Ok((owner.name, verdict)),
            _ => Err(Error::Failed(format!("{} answered oddly", owner.name))),
        }
    }

    /// Waits until the table's part has stopped by itself, as when its disk refused a write, and tells why.
    /// It does not go on in this process; another one may.
    pub async fn broken(&self) -> Error {
        loop {
            if let Err(fatal) = &self.shared.metrics().running_state {
                return Error::Failed(format!("Raft has stopped: {fatal}"));
            }
            tokio::time::sleep(LOOK_WHETHER_BROKEN).await;
        }
    }

    /// Why this member is not ready; empty when it is.
    pub fn readiness(&self) -> Vec<String> {
        let view = self.view();
        if let Err(error) = &self.shared.metrics().running_state {
            return vec![format!("Raft has stopped: {error}")];
        }
        if !view.state.exists() {
            if self.has_twin() {
                let name = &self.shared.me.name;
                return vec![format!("another member is named '{name}': names must be unique")];
            }
            return vec![match self.shared.wanted {
                _ if !self.shared.joins => "the cluster is being made".to_owned(),
                Some(wanted) => format!(
                    "no cluster yet: {} of {wanted} members are seen",
                    1 + self
                        .shared
                        .gossip
                        .rumours()
                        .borrow()
                        .iter()
                        .filter(|rumour| rumour.seen.liveness == Liveness::Alive)
                        .count()
                ),
                None => "no cluster was found to join yet".to_owned(),
            }];
        }
        if view.myself().is_none() {
            return vec!["this member is not in the cluster's table".to_owned()];
        }
        if !self.shared.serving.is_known(&view.state) {
            return vec!["the cluster's table does not know of this start yet".to_owned()];
        }
        if !view.quorum {
            return vec!["no quorum: a majority of the voting members is not reached".to_owned()];
        }
        Vec::new()
    }

    /// Names of members of the table that others, who are alive as well, have too.
    fn twins(&self, view: &View) -> Vec<String> {
        let rumours = self.shared.gossip.rumours();
        let rumours = rumours.borrow();
        let seen = rumours.iter().map(|rumour| &rumour.seen);
        seen.filter(|seen| seen.liveness == Liveness::Alive)
            .filter(|seen| {
                let known = view.state.member_named(&seen.member.name);
                known.is_some_and(|known| {
                    known.id != seen.member.id && view.liveness(known.id) == Liveness::Alive
                })
            })
            .map(|seen| seen.member.name.clone())
            .collect()
    }

    /// Whether another member, which is alive, has this one's name.
    fn has_twin(&self) -> bool {
        self.shared.gossip.rumours().borrow().iter().any(|rumour| {
            rumour.seen.member.name == self.shared.me.name
                && rumour.seen.liveness == Liveness::Alive
        })
    }

    /// Counts gossip's datagrams.
    pub fn gossip(&self) -> &crate::gossip::Counters {
        self.shared.gossip.counters()
    }

    /// Stops the cluster layer: hands leadership over, says goodbye, closes the disk.
    pub async fn shutdown(&self) {
        self.step_down().await;
        self.shared.stop.send_replace(true);
        let mut stopped = self.shared.stopped.subscribe();
        let _ = timeout(STOP_TIMEOUT, stopped.wait_for(|stopped| *stopped)).await;
    }

    /// Tells all that this member stops: from now on nothing is given to it. What was being given to it may
    /// come yet.
    pub async fn tell_of_stop(&self) {
        stopping::tell(&self.shared).await;
    }

    /// Whether a member stops, or has stopped and not come back.
    pub fn is_stopping(&self, member: MemberId) -> bool {
        self.shared.stopping.is(&self.shared.table.borrow(), member)
    }

    /// Lets another voter lead, so that nobody has to wait for an election.
    pub async fn step_down(&self) {
        let view = self.view();
        if !self.shared.leads() {
            return;
        }
        let may_lead = |id: &&MemberId| {
            **id != view.me && view.liveness(**id) == Liveness::Alive && !self.is_stopping(**id)
        };
        let heir = view.voters.iter().find(may_lead);
        if let Some(heir) = heir {
            let deadline = Instant::now() + 2 * STATUS_TIMEOUT;
            control::transfer_leader(&self.shared, *heir, deadline).await;
        }
    }

    /// Asks the leader, whoever it is, until the deadline. What may have been done is not asked
    /// twice.
    async fn ask_leader(&self, ask: Ask) -> Result<Applied, Error> {
        match self.ask_leader_for(ask).await? {
            Said::Applied(applied) => Ok(applied),
            _ => Err(Error::Failed("the leader answered oddly".into())),
        }
    }

    /// As [`Self::ask_leader`]; whatever it says that is no refusal.
    async fn ask_leader_for(&self, ask: Ask) -> Result<Said, Error> {
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        loop {
            let view = self.view();
            let leader = self.shared.metrics().current_leader;
            let leader = leader.and_then(|id| self.shared.links.book.load().get(&id).cloned());
            let leader = match leader {
                Some(leader) => Some(leader),
                None if view.leader == Some(view.me) => Some(self.shared.me.clone()),
                None => None,
            };
            let refusal = match leader {
                None => "no leader is known".to_owned(),
                Some(leader) => {
                    let asked = control::ask(&self.shared, &leader, ask.clone(), deadline).await;
                    match asked {
                        Ok(Said::Refused(refused)) => return Err(Error::Refused(refused)),
                        Ok(Said::NotLeader) => format!("{} does not lead", leader.name),
                        Ok(Said::Failed(reason)) => return Err(Error::NoQuorum(reason)),
                        Ok(said) => return Ok(said),
                        Err(Error::Peer(
                            error @ (crate::peer::Error::Unreachable { sent: false, .. }
                            | crate::peer::Error::Busy { .. }
                            | crate::peer::Error::Refused(_)),
                        )) => error.to_string(),
                        Err(error) => return Err(error),
                    }
                }
            };
            if timeout_at(deadline, sleep(RETRY)).await.is_err() {
                return Err(Error::NoQuorum(refusal));
            }
        }
    }
}
