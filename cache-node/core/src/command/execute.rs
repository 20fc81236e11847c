//! Running a command on this member's data.

use super::ops::texts;
use super::spec::{Flags, Run, RunKeys, Spec};
use crate::keyspace::{Keyspace, NotServing, Refusal};
use crate::resp::Writer;
use crate::store::StoreNumber;

impl Keyspace {
    /// Runs a `Run::Keys` or `Run::Keyspace` command, whose arity [`super::lookup`] checked. All
    /// slots of its keys must be served here; that is checked under their locks before anything
    /// changes. `now_ms` is Unix time.
    ///
    /// # Errors
    /// The first slot that is not served; nothing was changed or written then.
    #[inline]
    pub fn execute(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let needs_room = spec.flags.contains(Flags::DENYOOM);
        let result = match spec.run {
            Run::Keys(RunKeys::One(run)) => match spec.first_key(args) {
                Some(key) => {
                    self.with_key(store, key, now_ms, needs_room, |key| run(key, args, out))
                }
                None => {
                    out.error(texts::SYNTAX);
                    Ok(())
                }
            },
            Run::Keys(RunKeys::Many(run)) => {
                let keys = spec.keys(args);
                self.with_keys(store, &keys, now_ms, needs_room, |keys| run(keys, args, out))
            }
            Run::Keyspace(run) => {
                if !self.has_store(store) {
                    Err(Refusal::NoStore)
                } else {
                    return run(self, store, args, now_ms, out);
                }
            }
            Run::Script(_) | Run::Shell(_) => {
                out.error("ERR this command is not one over keys");
                Ok(())
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(Refusal::NotServing(slot)) => Err(slot),
            Err(Refusal::NoStore) => {
                out.error(texts::NO_STORE);
                Ok(())
            }
            Err(Refusal::OutOfMemory) => {
                out.error(texts::OOM);
                Ok(())
            }
        }
    }
}
