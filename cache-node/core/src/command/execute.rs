//! Running a command on this member's data.

use super::ops::texts;
use super::spec::{Flags, Run, RunKeys, Spec};
use crate::keyspace::{Access, Hashed, Keyspace, NotServing, Refusal};
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
        self.execute_hashed(spec, store, args, None, now_ms, out)
    }

    /// As [`Self::execute`]; `hashed` is what [`Keyspace::hashed`] gave for the first key, where
    /// it is known.
    ///
    /// # Errors
    /// As [`Self::execute`].
    #[inline]
    pub fn execute_hashed(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        hashed: Option<Hashed>,
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let needs_room = spec.flags.contains(Flags::DENYOOM);
        let result = match spec.run {
            Run::Keys(RunKeys::One(run)) => match spec.first_key(args) {
                Some(key) => {
                    let hashed = hashed.unwrap_or_else(|| self.hashed(key));
                    let run = |key: &mut Access<'_>| run(key, args, out);
                    self.with_hashed_key(store, key, hashed, now_ms, needs_room, run)
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
            Run::Shell(_) => {
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
