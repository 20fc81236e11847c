//! Reads that a client lets this member answer from its copy of another's slot (READONLY).

use hypercache_core::cluster::{View, slot_of};
use hypercache_core::resp::Writer;
use hypercache_core::store::StoreNumber;

use super::{Request, Router};
use crate::replica::Fresh;

impl Router {
    /// Runs a command that only reads on this member's copy of its slot, if that is surely no older than
    /// `max_stale_ms`; false, with nothing written, if it is not, or it is no such command.
    pub fn try_copy(
        &self,
        view: &View,
        fresh: &Fresh,
        request: Request<'_>,
        store: StoreNumber,
        (now_ms, max_stale_ms): (u64, u64),
        out: &mut Writer<'_>,
    ) -> bool {
        let Request { spec, args, .. } = request;
        let Some(slot) = spec.first_key(args).map(slot_of) else { return false };
        let Some(placement) = view.state.assignment.placement(slot) else { return false };
        let Some(primary) = placement.primary().filter(|id| *id != view.me) else { return false };
        if !placement.owns(view.me) || spec.may_write() {
            return false;
        }
        fresh.source(primary, slot, max_stale_ms).is_some_and(|source| {
            let keyspace = &self.0.keyspace;
            keyspace.execute_at_copy(spec, store, args, source, now_ms, out).is_ok()
        })
    }
}
