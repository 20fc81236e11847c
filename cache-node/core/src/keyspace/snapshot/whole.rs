//! All slots of a store into a snapshot's file.

use super::super::Keyspace;
use crate::cluster::{SLOTS, Slot};
use crate::log::directory::File;
use crate::log::draft::Draft;
use crate::store::StoreNumber;

/// So many empty slots are looked at as one.
const EMPTY_SLOTS: Slot = 64;

/// Why a store was not taken as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untaken<E> {
    /// The file could not be written.
    #[error("{0}")]
    File(E),
    /// It was to end.
    #[error("the member stops")]
    Stopped,
}

impl Keyspace {
    /// Takes a store into a file, slot by slot. `next` is asked for the time in Unix milliseconds after
    /// each piece of a slot, and after some empty slots; `None` from it: it is to end.
    ///
    /// # Errors
    /// Why it is not all there.
    pub fn take_store<F: File>(
        &self,
        store: StoreNumber,
        draft: &mut Draft<F>,
        mut next: impl FnMut() -> Option<u64>,
    ) -> Result<(), Untaken<F::Error>> {
        let (mut payload, mut now_ms) = (Vec::new(), 0);
        for slot in 0..SLOTS {
            if slot % EMPTY_SLOTS == 0 {
                now_ms = next().ok_or(Untaken::Stopped)?;
            }
            let mut taking = self.take_slot(store, slot, now_ms);
            while let Some(block) = taking.next_piece(&mut payload) {
                draft.add(block, &payload).map_err(Untaken::File)?;
                if !payload.is_empty() {
                    now_ms = next().ok_or(Untaken::Stopped)?;
                }
            }
        }
        Ok(())
    }
}
