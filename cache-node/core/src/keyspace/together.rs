//! Many slots under their locks at once, for commands that run as one.

use super::access::Guards;
use super::{Keyspace, Locked, NotServing, Refusal};
use crate::cluster::{Slot, slot_of};
use crate::store::StoreNumber;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

impl Locked<'_> {
    /// Selects the store that the commands after this run in.
    pub fn select(&mut self, number: StoreNumber) {
        self.number = number;
    }
}

impl Keyspace {
    /// Locks slots, given in order and each once.
    ///
    /// # Errors
    /// The first that is not served here; then none is locked.
    pub(super) fn lock_slots(&self, slots: &[Slot]) -> Result<Guards<'_>, NotServing> {
        let mut guards = Guards::new();
        for &slot in slots {
            let cell = self.cell(slot).ok_or(NotServing { slot })?;
            let state = cell.state.lock();
            if !cell.serving.load(Relaxed) {
                return Err(NotServing { slot });
            }
            guards.push((slot, state));
        }
        Ok(guards)
    }

    /// Locks slots, given in order and each once, for `run`. The stores of the keys in `grow` are
    /// brought within their budgets first. Store 0 is selected at the start.
    ///
    /// # Errors
    /// Why `run` was not called.
    pub fn with_slots<R>(
        &self,
        slots: &[Slot],
        grow: &[(StoreNumber, &[u8])],
        now_ms: u64,
        run: impl FnOnce(&mut Locked<'_>) -> R,
    ) -> Result<R, Refusal> {
        loop {
            let registry = self.registry.load();
            for (number, key) in grow {
                // A store that is not there is its command's error.
                if let Some(store) = registry.route(*number, key)
                    && !self.has_room(&registry, store, now_ms)
                {
                    return Err(Refusal::OutOfMemory);
                }
            }
            let guards = self.lock_slots(slots)?;
            if self.epoch.load(Acquire) != registry.epoch {
                continue;
            }
            let mut locked = Locked::new(self, &registry, 0, now_ms, guards, Vec::new());
            let result = run(&mut locked);
            locked.serve_waits();
            locked.unlock();
            return Ok(result);
        }
    }
}

/// What came of [`Locked::lock_also`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedAlso {
    /// They are all locked, and were before.
    Already,
    /// They are all locked; but nothing was for a moment, so whatever was read may have changed.
    Anew,
    /// Not for this command: it is one of several, or other members have some of the slots.
    Refused,
}

impl Locked<'_> {
    /// Says that this is a command alone, which has not done anything yet.
    pub(crate) fn runs_alone(&mut self) {
        self.may_lock_more = true;
    }

    /// Locks more slots in the way in which a script does.
    fn lock_for_script<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>) -> LockedAlso {
        let mut locked = LockedAlso::Already;
        for slot in keys.into_iter().map(slot_of) {
            if self.holds(slot) {
                continue;
            }
            if self.lock_slot(slot).is_err() {
                return LockedAlso::Refused;
            }
            locked = LockedAlso::Anew;
        }
        locked
    }

    /// Locks the slots of more keys. All locks are let go for that, as they are taken in order of the
    /// slots; where that must not be, or where not every slot is served here, it is refused.
    pub fn lock_also<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>) -> LockedAlso {
        if self.space.served.next_absent(0).is_some() {
            return LockedAlso::Refused;
        }
        if self.for_script {
            return self.lock_for_script(keys);
        }
        if !self.may_lock_more {
            return LockedAlso::Refused;
        }
        let mut slots: Vec<Slot> = self.guards.iter().map(|(slot, _)| *slot).collect();
        let locked = slots.len();
        slots.extend(keys.into_iter().map(slot_of));
        slots.sort_unstable();
        slots.dedup();
        if slots.len() == locked {
            return LockedAlso::Already;
        }
        self.append_gathered();
        self.guards.clear();
        let Ok(guards) = self.space.lock_slots(&slots) else { return LockedAlso::Refused };
        self.guards = guards;
        if self.space.epoch.load(Acquire) == self.registry.epoch {
            LockedAlso::Anew
        } else {
            self.guards.clear();
            LockedAlso::Refused
        }
    }
}
