//! Reads of a slot that this member follows another in: of its copy, as far as that is.

use super::access::{Access, Guards, Locked};
use super::effects::Sink;
use super::prefetch::Hashed;
use super::stores::{Registry, Store};
use super::{Keyspace, NotServing, Refusal};
use crate::cluster::{MemberId, Slot};
use crate::replica::Role;
use crate::store::{EvictionPolicy, StoreNumber};
use smallvec::SmallVec;

/// Where the records of a copy come from that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The slot's primary.
    pub primary: MemberId,
    /// The session of its link.
    pub session: u64,
}

impl Keyspace {
    /// Whether this member has all of a store in a slot, which is locked, that came from a source so far.
    fn is_copy(&self, registry: &Registry, store: &Store, slot: Slot, source: Source) -> bool {
        let comes = self.feed.look(slot, |feed| {
            let Role::Replica { of, epoch } = feed.role() else { return None };
            let coverage = feed.comes_from(source.primary, source.session, epoch)?;
            (of == source.primary).then_some(coverage)
        });
        let Some(coverage) = comes.flatten() else { return false };
        // A read of a session's key is a use of it, which only its primary knows of.
        store.eviction != EvictionPolicy::Session
            && (1..=store.replication_factor).any(|least| registry.coverage(least) == coverage)
    }

    /// Locks a key's slot for `run`, which only reads, if this member has a copy of it from that source.
    ///
    /// # Errors
    /// It has none, or there is no such store.
    pub(crate) fn with_copied_key<R>(
        &self,
        number: StoreNumber,
        key: &[u8],
        source: Source,
        now_ms: u64,
        run: impl FnOnce(&mut Access<'_>) -> R,
    ) -> Result<R, Refusal> {
        let Hashed { slot, hash } = self.hashed(key);
        let cell = self.cell(slot).ok_or(NotServing { slot })?;
        let mut state = cell.state.lock();
        let registry = self.registry.load();
        let store = registry.route(number, key).ok_or(Refusal::NoStore)?;
        if !self.is_copy(&registry, store, slot, source) {
            return Err(NotServing { slot }.into());
        }
        let mut buried = Vec::new();
        Ok(run(&mut Access {
            space: self,
            state: &mut state,
            store,
            slot,
            key,
            hash,
            now_ms,
            buried: &mut buried,
            sink: Sink::Journal,
            sent: &[],
            said: None,
        }))
    }

    /// As [`Self::with_copied_key`], for several keys of one slot.
    ///
    /// # Errors
    /// As there; or the keys are of several slots.
    pub(crate) fn with_copied_keys<R>(
        &self,
        number: StoreNumber,
        keys: &[&[u8]],
        source: Source,
        now_ms: u64,
        run: impl FnOnce(&mut Locked<'_>) -> R,
    ) -> Result<R, Refusal> {
        let hashed: SmallVec<[Hashed; 12]> = keys.iter().map(|key| self.hashed(key)).collect();
        let slot = hashed.first().map_or(0, |first| first.slot);
        let cell = self.cell(slot).ok_or(NotServing { slot })?;
        let state = cell.state.lock();
        let registry = self.registry.load();
        for (key, hashed) in keys.iter().zip(&hashed) {
            let store = registry.route(number, key).ok_or(Refusal::NoStore)?;
            if hashed.slot != slot || !self.is_copy(&registry, store, slot, source) {
                return Err(NotServing { slot }.into());
            }
        }
        let mut guards = Guards::new();
        guards.push((slot, state));
        let mut locked = Locked::new(self, &registry, number, now_ms, guards, Vec::new());
        let result = run(&mut locked);
        locked.unlock();
        Ok(result)
    }
}
