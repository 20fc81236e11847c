//! Many slots under their locks at once, for commands that run as one.

use super::{Keyspace, Locked, NotServing, Refusal};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use smallvec::SmallVec;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

impl Locked<'_> {
    /// Selects the store that the commands after this run in.
    pub fn select(&mut self, number: StoreNumber) {
        self.number = number;
    }
}

impl Keyspace {
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
            let mut guards = SmallVec::new();
            for &slot in slots {
                let cell = self.cell(slot).ok_or(NotServing { slot })?;
                let state = cell.state.lock();
                if !cell.serving.load(Relaxed) {
                    return Err(NotServing { slot }.into());
                }
                guards.push((slot, state));
            }
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
