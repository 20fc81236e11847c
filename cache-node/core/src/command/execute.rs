//! Running a command on this member's data.

use super::ops::texts;
use super::ops::walk::Walk;
use super::spec::{Run, RunKeys, RunWalk, Spec};
use crate::keyspace::{Access, Hashed, Keyspace, Locked, NotServing, Refusal, Source, Stores};
use crate::resp::Writer;
use crate::store::StoreNumber;
use smallvec::SmallVec;

/// What is known of a command ahead; all of it may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// What [`Keyspace::hashed`] gave for all its keys, in the order of [`Spec::keys`].
    pub hashed: &'a [Hashed],
    /// What [`Keyspace::stores`] gave not long ago.
    pub stores: Option<&'a Stores>,
}

impl Keyspace {
    /// Runs a `Run::Keys`, `Run::Keyspace` or `Run::Walk` command, whose arity [`super::lookup`] checked. All
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
        self.execute_known(spec, store, args, Known::default(), now_ms, out)
    }

    /// As [`Self::execute`], with what is known ahead.
    ///
    /// # Errors
    /// As [`Self::execute`].
    #[inline]
    pub fn execute_known(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        known: Known<'_>,
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let needs = spec.needs();
        let result = match spec.run {
            Run::Keys(RunKeys::One(run)) => match spec.first_key(args) {
                Some(key) => {
                    let hashed = known.hashed.first().copied();
                    let hashed = hashed.unwrap_or_else(|| self.hashed(key));
                    let run = |key: &mut Access<'_>| run(key, args, out);
                    let now;
                    let stores = match known.stores {
                        Some(stores) => stores,
                        None => {
                            now = self.stores();
                            &now
                        }
                    };
                    self.with_sent_key(store, key, hashed, stores, now_ms, needs, args, run)
                }
                None => {
                    out.error(texts::SYNTAX);
                    Ok(())
                }
            },
            Run::Keys(RunKeys::Many(run)) => {
                let keys = spec.keys(args);
                let run = |keys: &mut Locked<'_>| {
                    keys.runs_alone();
                    run(keys, args, out);
                };
                if known.hashed.len() == keys.len() {
                    self.with_hashed_keys(store, &keys, known.hashed, now_ms, needs, run)
                } else {
                    self.with_keys(store, &keys, now_ms, needs, run)
                }
            }
            Run::Keys(RunKeys::Waits(blocking)) => {
                let keys = spec.keys(args);
                self.with_keys(store, &keys, now_ms, needs, |keys| {
                    blocking.run_at_once(keys, args, out);
                })
            }
            Run::Keyspace(_) | Run::Walk(_) if self.is_loading() => {
                return Err(NotServing { slot: 0 });
            }
            Run::Keyspace(run) => {
                if !self.has_store(store) {
                    Err(Refusal::NoStore)
                } else {
                    return run(self, store, args, now_ms, out);
                }
            }
            Run::Walk(run) => {
                let mut walk = Walk::default();
                while !self.walk(run, store, args, now_ms, &mut walk, out) {}
                Ok(())
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
            Err(Refusal::NotDurable) => {
                out.error(&self.misconf());
                Ok(())
            }
            Err(Refusal::NotReplicated) => {
                out.error(texts::NO_REPLICAS);
                Ok(())
            }
        }
    }

    /// Runs a command that only reads, on this member's copy of its keys' slot, which came from a source so
    /// far; what that lacks yet is for the caller to bound.
    ///
    /// # Errors
    /// There is no such copy, or the command is not one that may run on it; nothing was written then.
    pub fn execute_at_copy(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        source: Source,
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let (none, keys) = (NotServing { slot: 0 }, spec.keys(args));
        let (Some(first), false) = (keys.first(), spec.may_write()) else { return Err(none) };
        let read = match spec.run {
            Run::Keys(RunKeys::One(run)) => {
                self.with_copied_key(store, first, source, now_ms, |key| run(key, args, out))
            }
            Run::Keys(RunKeys::Many(run)) => {
                self.with_copied_keys(store, &keys, source, now_ms, |keys| run(keys, args, out))
            }
            _ => return Err(none),
        };
        // What else is wrong, its primary says.
        read.map_err(|_| none)
    }

    /// One step of a `Run::Walk` command; true once its reply is written.
    pub fn walk(
        &self,
        run: RunWalk,
        store: StoreNumber,
        args: &[&[u8]],
        now_ms: u64,
        walk: &mut Walk,
        out: &mut Writer<'_>,
    ) -> bool {
        if !self.has_store(store) {
            out.error(texts::NO_STORE);
            return true;
        }
        run(self, store, args, now_ms, walk, out)
    }

    /// As [`Self::execute`], but what the command does is no use of its keys (CLIENT NO-TOUCH).
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn execute_untouched(
        &self,
        spec: &'static Spec,
        store: StoreNumber,
        args: &[&[u8]],
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), NotServing> {
        let keys = spec.keys(args);
        let usages: SmallVec<[_; 4]> = keys
            .iter()
            .map(|key| self.with_key(store, key, now_ms, false, |key| key.usage()).ok().flatten())
            .collect();
        self.execute(spec, store, args, now_ms, out)?;
        for (key, usage) in keys.iter().zip(usages) {
            if let Some(usage) = usage {
                // A slot that has gone meanwhile has nothing to take back.
                let _ = self.with_key(store, key, now_ms, false, |key| key.set_usage(usage));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::command::lookup;
    use crate::keyspace::{Keyspace, Options};
    use crate::resp::{Protocol, Writer};
    use crate::store::{EvictionPolicy, StorePolicy};

    #[test]
    fn a_command_that_does_not_touch_its_key_is_no_use_of_it() {
        let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 1 });
        let mut policy = StorePolicy::new("default", 0);
        policy.eviction_policy = EvictionPolicy::Lfu;
        space.set_stores(&[policy]);
        (0..16384).for_each(|slot| space.set_serving(slot, true));
        let call = |words: &str, touches: bool, now_ms: u64| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let spec = lookup(&args).unwrap();
            let mut bytes = Vec::new();
            let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
            if touches {
                space.execute(spec, 0, &args, now_ms, out).unwrap();
            } else {
                space.execute_untouched(spec, 0, &args, now_ms, out).unwrap();
            }
            String::from_utf8(bytes).unwrap()
        };
        call("set a b", true, 1_000_000);
        assert_eq!(call("object freq a", true, 1_000_000), ":5\r\n");
        assert_eq!(call("get a", false, 1_030_000), "$1\r\nb\r\n");
        assert_eq!(call("object freq a", true, 1_030_000), ":5\r\n");
        assert_eq!(call("object idletime a", true, 1_030_000), ":30\r\n");
        call("get a", true, 1_030_000);
        assert_ne!(call("object freq a", true, 1_030_000), ":5\r\n");
        assert_eq!(call("object idletime a", true, 1_030_000), ":0\r\n");
        assert_eq!(call("object freq nokey", true, 1_030_000), "$-1\r\n");
    }
}
