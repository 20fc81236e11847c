//! Commands that wait for their keys: the first attempt, and what is tried again.

use super::ops::blocking::timeout_ms;
use super::ops::texts;
use super::spec::{Blocking, Run, RunKeys, Spec, TimeoutAt};
use crate::keyspace::{Attempt, Keyspace, Locked, NotServing, Refusal, ValueRef, Wait, Waiting};
use crate::resp::{Protocol, Writer};
use crate::store::StoreNumber;
use smallvec::SmallVec;
use std::sync::Arc;

const TOO_MANY: &str = "ERR too many clients wait for keys";

impl Blocking {
    /// After how long the command gives up, in milliseconds; `None` for never. Its attempt has found
    /// the timeout to make sense.
    pub fn timeout_ms(&self, args: &[&[u8]], now_ms: u64) -> Option<u64> {
        let arg = match self.timeout_at {
            TimeoutAt::First => args.get(1),
            TimeoutAt::Last => args.last(),
        };
        timeout_ms(arg?, now_ms).ok().filter(|ms| *ms > 0)
    }
}

impl Spec {
    /// How the command waits, if it is one that does.
    pub fn blocking(&self) -> Option<&Blocking> {
        match &self.run {
            Run::Keys(RunKeys::Waits(blocking)) => Some(blocking),
            _ => None,
        }
    }
}

/// A command that is tried again.
struct Again {
    blocking: Blocking,
    protocol: Protocol,
    args: Vec<Box<[u8]>>,
}

impl Attempt for Again {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        value.object().is_some_and(self.blocking.wants)
    }

    fn needs_all_keys(&self) -> bool {
        self.blocking.needs_all_keys
    }

    fn run(&self, keys: &mut Locked<'_>, reply: &mut Vec<u8>) -> bool {
        let args: SmallVec<[&[u8]; 8]> = self.args.iter().map(|arg| &**arg).collect();
        (self.blocking.run)(keys, &args, &mut Writer::new(reply, self.protocol))
    }

    fn bytes(&self) -> usize {
        self.args.iter().map(|arg| arg.len() + size_of::<Box<[u8]>>()).sum()
    }
}

/// A command that may wait, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// A command whose [`Spec::blocking`] is not `None`; its arity was checked.
    pub spec: &'static Spec,
    /// The store that is selected.
    pub store: StoreNumber,
    /// The protocol of its reply.
    pub protocol: Protocol,
    /// Its name and arguments.
    pub args: &'a [&'a [u8]],
}

impl Keyspace {
    /// Runs a command that may wait. `None`: it has answered, to `out`. Otherwise it waits from now
    /// on, in the place of `ticket` if that is what an earlier wait had; [`Keyspace::forget_wait`] has
    /// to follow in the end. `now_ms` is Unix time.
    ///
    /// # Errors
    /// A slot that is not served; nothing was changed or written then.
    pub fn execute_or_wait(
        &self,
        call: Call<'_>,
        ticket: Option<u64>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Arc<Wait>>, NotServing> {
        let Call { spec, store, protocol, args } = call;
        let Some(blocking) = spec.blocking() else {
            self.execute(spec, store, args, now_ms, &mut Writer::new(out, protocol))?;
            return Ok(None);
        };
        let keys = spec.keys(args);
        let tried = self.with_keys(store, &keys, now_ms, spec.needs(), |locked| {
            if (blocking.run)(locked, args, &mut Writer::new(out, protocol)) {
                return Ok(None);
            }
            let attempt = Box::new(Again {
                blocking: *blocking,
                protocol,
                args: args.iter().map(|arg| Box::from(*arg)).collect(),
            });
            locked.wait(Waiting { keys: &keys, attempt, ticket }).ok_or(TOO_MANY).map(Some)
        });
        let misconf;
        let error = match tried {
            Ok(Ok(wait)) => return Ok(wait),
            Ok(Err(text)) => text,
            Err(Refusal::NotServing(slot)) => return Err(slot),
            Err(Refusal::NoStore) => texts::NO_STORE,
            Err(Refusal::OutOfMemory) => texts::OOM,
            Err(Refusal::NotReplicated) => texts::NO_REPLICAS,
            Err(Refusal::NotDurable) => {
                misconf = self.misconf();
                &misconf
            }
        };
        Writer::new(out, protocol).error(error);
        Ok(None)
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
