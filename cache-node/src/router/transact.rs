//! Transactions to the member that holds their slots, and watches to those that hold their keys.

use std::sync::Arc;

use bytes::Bytes;
use hypercache_core::cluster::{MemberId, Slot, View, slot_of};
use hypercache_core::command::{NO_REPLICAS, Spec, Step, Transacted};
use hypercache_core::replica::awaits;
use hypercache_core::store::StoreNumber;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::attempts::Attempts;
use super::envelope::{self, Watched};
use super::place::{Owners, Place, place_whole};
use super::wire::{self, Status};
use super::{
    CROSS_SLOT, Caller, NO_MAJORITY, NO_QUORUM, REPLICAS_WAIT, Router, is_cut_off, lost, scripts,
};
use crate::clock::now_ms;
use crate::peer;
use crate::telemetry::trace;

impl Router {
    /// Runs commands as one, on whichever member holds all their slots, if no watched key changed:
    /// what became of them, and their replies one after the other. The keys are not watched any
    /// more after this, whatever it gives.
    ///
    /// # Errors
    /// Why none ran, or (only after an answer was lost) why that is not known: a reply for the
    /// client.
    pub async fn transact(
        &self,
        caller: Caller,
        exec: &'static Spec,
        watched: Vec<Watched>,
        steps: &[Step<'_>],
    ) -> Result<(Transacted, Vec<u8>), String> {
        let deadline = self.deadline();
        let done = if steps.iter().any(|step| step.spec.is_script()) {
            let texts = self.texts(steps);
            let steps = scripts::with_texts(steps, &texts);
            self.transact_until(deadline, caller, exec, &watched, &steps).await
        } else {
            self.transact_until(deadline, caller, exec, &watched, steps).await
        };
        if !matches!(done, Ok((Transacted::Done | Transacted::Changed, _))) {
            self.forget(caller.order, watched);
        }
        done
    }

    async fn transact_until(
        &self,
        deadline: Instant,
        caller: Caller,
        exec: &'static Spec,
        watched: &[Watched],
        steps: &[Step<'_>],
    ) -> Result<(Transacted, Vec<u8>), String> {
        let Caller { order, client, .. } = caller;
        if watched.is_empty() && steps.is_empty() {
            return Ok((Transacted::Done, Vec::new()));
        }
        let mut request: Option<Bytes> = None;
        let mut attempts = self.attempts_until(deadline);
        let replicas_by = deadline.min(Instant::now() + REPLICAS_WAIT);
        loop {
            let lease = self.lease();
            let view = self.0.cluster.view();
            let waits_for = match self.whole(&view, watched, steps)? {
                _ if is_cut_off(&view) => NO_MAJORITY.into(),
                Place::Here => {
                    self.room().await;
                    let keys: Vec<_> = watched.iter().map(Watched::borrowed).collect();
                    let mut replies = Vec::new();
                    let scripts = self.0.scripts.inside(&view, client);
                    let traced = self.begun();
                    let ran =
                        self.0.keyspace.transact(&keys, steps, &scripts, now_ms(), &mut replies);
                    let awaited = awaits::take();
                    match ran {
                        Ok(Transacted::NotReplicated) if Instant::now() < replicas_by => {
                            "too few replicas are in sync".into()
                        }
                        Ok(transacted) => {
                            let store = steps.first().map_or(0, |step| step.store);
                            let span = self.executed(traced, exec, store, &[]);
                            let awaited = awaited.unwrap_or_default();
                            trace::within(span.as_ref(), self.until_met(lease, &awaited)).await?;
                            match transacted {
                                Transacted::NotDurable => {
                                    replies = self.0.keyspace.misconf().into_bytes();
                                }
                                Transacted::NotReplicated => replies = NO_REPLICAS.into(),
                                _ => {}
                            }
                            return Ok((transacted, replies));
                        }
                        Err(_) if self.0.disk.is_loading() => return Err(super::LOADING.into()),
                        Err(not_serving) => not_serving.to_string(),
                    }
                }
                Place::There(member) => {
                    let request = request
                        .get_or_insert_with(|| envelope::transaction(watched, steps).into())
                        .clone();
                    let count = steps.len() as u64;
                    match self.forward(&view, member, order, request, count, deadline).await {
                        Ok(answers) => match wire::answer_at(&answers, 0) {
                            Ok((Status::Done, reply, _)) => {
                                let slot = || slots(watched, steps).next();
                                self.heard().note(&view, member, slot);
                                let (transacted, replies) = envelope::transacted(reply)?;
                                return Ok((transacted, replies.to_vec()));
                            }
                            Ok((Status::NotServing, reply, _)) if !reply.is_empty() => {
                                if Instant::now() >= replicas_by {
                                    let (transacted, replies) = envelope::transacted(reply)?;
                                    return Ok((transacted, replies.to_vec()));
                                }
                                "too few replicas are in sync".into()
                            }
                            Ok(_) => "its slot is moving or its member starts".into(),
                            Err(malformed) => return Err(format!("ERR {malformed}")),
                        },
                        Err(error) if error.never_sent() => error.to_string(),
                        Err(error) if steps.iter().any(|step| step.spec.may_write()) => {
                            return Err(format!(
                                "UNKNOWN The slot's member did not answer: {error}; the transaction may have \
                                 been done"
                            ));
                        }
                        Err(error) => return Err(lost(exec, &error)),
                    }
                }
                Place::CrossSlot => return Err(CROSS_SLOT.into()),
                Place::Scattered | Place::Unowned(_) => {
                    "its slot is not served at the moment".into()
                }
            };
            attempts.pause(&waits_for).await?;
        }
    }

    /// Where a transaction runs.
    fn whole(&self, view: &View, watched: &[Watched], steps: &[Step<'_>]) -> Result<Place, String> {
        if is_cut_off(view) && !self.waits_for_quorum() {
            return Err(NO_QUORUM.into());
        }
        let over_all = steps.iter().find(|step| step.is_over_all_keys());
        if over_all.is_some() && self.0.disk.is_loading() {
            return Err(super::LOADING.into());
        }
        if let Some(step) = over_all.filter(|_| !view.owns_all()) {
            return Err(format!(
                "CROSSSLOT '{}' is over all keys, which several members hold: it cannot be in a \
                 transaction with commands over keys of one slot",
                step.spec.name
            ));
        }
        Ok(place_whole(view, slots(watched, steps)))
    }

    /// Waits until this member reaches a majority of the voters, as long as that may come soon.
    ///
    /// # Errors
    /// That it reaches none: a reply for the client.
    pub async fn quorum(&self) -> Result<(), String> {
        self.quorum_until(&mut self.attempts()).await.map(drop)
    }

    /// The view in which it does.
    async fn quorum_until(&self, attempts: &mut Attempts) -> Result<Arc<View>, String> {
        loop {
            let view = self.0.cluster.view();
            if !is_cut_off(&view) {
                return Ok(view);
            }
            if !self.waits_for_quorum() {
                return Err(NO_QUORUM.into());
            }
            attempts.pause(NO_MAJORITY).await?;
        }
    }

    /// Watches keys, wherever they are.
    ///
    /// # Errors
    /// Why none of them is watched now: a reply for the client.
    pub async fn watch(
        &self,
        order: u64,
        store: StoreNumber,
        keys: &[&[u8]],
    ) -> Result<Vec<Watched>, String> {
        let mut watched = Vec::with_capacity(keys.len());
        match self.watch_until(self.attempts(), order, store, keys, &mut watched).await {
            Ok(()) => Ok(watched),
            Err(text) => {
                self.forget(order, watched);
                Err(text)
            }
        }
    }

    async fn watch_until(
        &self,
        mut attempts: Attempts,
        order: u64,
        store: StoreNumber,
        keys: &[&[u8]],
        watched: &mut Vec<Watched>,
    ) -> Result<(), String> {
        let (deadline, mut left) = (attempts.deadline(), keys.to_vec());
        loop {
            let view = self.quorum_until(&mut attempts).await?;
            let (mut again, mut waits_for) = (Vec::new(), String::new());
            for (owner, keys) in by_owner(|slot| view.owner(slot), &left) {
                let tokens = match owner {
                    None => Err("its slot is not served at the moment".into()),
                    Some(member) if member == view.me => self.watch_here(store, &keys, watched)?,
                    Some(member) => {
                        self.watch_there(&view, member, order, store, &keys, deadline).await?
                    }
                };
                match tokens {
                    Ok(tokens) => {
                        watched.extend(keys.iter().zip(tokens).map(|(key, token)| Watched {
                            store,
                            key: (*key).into(),
                            token,
                        }))
                    }
                    Err(reason) => {
                        waits_for = reason;
                        again.extend_from_slice(&keys);
                    }
                }
            }
            if again.is_empty() {
                return Ok(());
            }
            // Those that this member began to watch before it met a slot that it does not serve.
            again.retain(|key| !watched.iter().any(|watch| *watch.key == **key));
            left = again;
            attempts.pause(&waits_for).await?;
        }
    }

    /// Watches keys on this member; inside, why to try again.
    fn watch_here(
        &self,
        store: StoreNumber,
        keys: &[&[u8]],
        watched: &mut Vec<Watched>,
    ) -> Result<Result<Vec<u64>, String>, String> {
        for key in keys {
            match envelope::watch_here(&self.0.keyspace, store, key, now_ms())? {
                Some(token) => watched.push(Watched { store, key: (*key).into(), token }),
                None => return Ok(Err("its slot is moving".into())),
            }
        }
        Ok(Ok(Vec::new()))
    }

    /// Watches keys on another member; inside, why to try again.
    async fn watch_there(
        &self,
        view: &View,
        member: MemberId,
        order: u64,
        store: StoreNumber,
        keys: &[&[u8]],
        deadline: Instant,
    ) -> Result<Result<Vec<u64>, String>, String> {
        let request = envelope::watch(store, keys.iter().copied()).into();
        let answers = match self.forward(view, member, order, request, 1, deadline).await {
            Ok(answers) => answers,
            // A watch that was begun and is not known here ages out.
            Err(error) => return Ok(Err(error.to_string())),
        };
        match wire::answer_at(&answers, 0) {
            Ok((Status::Done, reply, _)) => match envelope::tokens(reply)? {
                tokens if tokens.len() == keys.len() => {
                    self.heard().note(view, member, || keys.first().map(|key| slot_of(key)));
                    Ok(Ok(tokens))
                }
                _ => Err("ERR a member answered with another number of watched keys".into()),
            },
            Ok(_) => Ok(Err("its slot is moving or its member starts".into())),
            Err(malformed) => Err(format!("ERR {malformed}")),
        }
    }

    /// Watches these keys no more. Does not wait; what does not reach its member ages out there.
    pub fn forget(&self, order: u64, watched: Vec<Watched>) {
        if watched.is_empty() {
            return;
        }
        let view = self.0.cluster.view();
        let mut remotes: SmallVec<[(MemberId, Vec<&Watched>); 2]> = SmallVec::new();
        for watch in &watched {
            match view.owner(slot_of(&watch.key)) {
                None => {}
                Some(member) if member == view.me => {
                    self.0.keyspace.unwatch(&watch.borrowed(), now_ms());
                }
                Some(member) => match remotes.iter_mut().find(|(id, _)| *id == member) {
                    Some((_, keys)) => keys.push(watch),
                    None => remotes.push((member, vec![watch])),
                },
            }
        }
        // A connection that is dropped while the process ends has no runtime left, nor need of one.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let deadline = self.deadline();
        for (member, keys) in remotes {
            let Some(to) = view.member(member) else { continue };
            let request = envelope::unwatch(keys).into();
            if let Ok(pending) = self.0.peers.send(to, peer::Kind::Forward, order, request) {
                runtime.spawn(async move {
                    let _ = pending.until(deadline).await;
                });
            }
        }
    }
}

/// Keys, and the member that owns their slots.
type Owned<'a> = SmallVec<[(Option<MemberId>, Vec<&'a [u8]>); 2]>;

/// Keys by the member that owns their slots.
fn by_owner<'a>(owner: impl Fn(Slot) -> Option<MemberId>, keys: &[&'a [u8]]) -> Owned<'a> {
    let mut groups = Owned::new();
    for key in keys {
        let to = owner(slot_of(key));
        match groups.iter_mut().find(|(owner, _)| *owner == to) {
            Some((_, keys)) => keys.push(key),
            None => groups.push((to, vec![key])),
        }
    }
    groups
}

/// The slots of a transaction.
fn slots(watched: &[Watched], steps: &[Step<'_>]) -> impl Iterator<Item = Slot> {
    watched.iter().map(|watch| slot_of(&watch.key)).chain(steps.iter().flat_map(Step::slots))
}
