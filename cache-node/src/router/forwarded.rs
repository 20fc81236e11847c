//! The owner's side of a forwarded batch.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::MemberId;
use hypercache_core::command::{self, Run};
use hypercache_core::resp::Writer;

use super::wire::{self, Malformed, Status};
use super::{Router, envelope};
use crate::clock::now_ms;
use crate::peer::{Answer, Handler};

/// An answer that is this long ends, so that many small commands with large replies (a pipeline of
/// GETs) take no unbounded memory (S1); the sender asks for the rest.
const ANSWER_BYTES: usize = 1 << 20;

/// Answers batches of commands that other members send here because this one owns their slots.
#[derive(Clone)]
pub struct Forwarded {
    router: Router,
    held: Held,
}

/// Whether a command, which has these arguments, has to wait (CLIENT PAUSE).
pub type Held = Arc<dyn Fn(&[&[u8]]) -> bool + Send + Sync>;

impl Forwarded {
    /// Answers with what `router`'s member holds. What is `held` up is not served: the sender asks
    /// again until its deadline.
    pub fn new(router: Router, held: Held) -> Self {
        Self { router, held }
    }

    /// Runs the commands of `request` in order and appends an answer for each to `out`. From the
    /// first that cannot run here, none runs. Once the answers are long enough, none of the rest
    /// runs, and they have no answer. Never waits and never forwards.
    ///
    /// # Errors
    /// The request is malformed; the commands before that place have run.
    pub fn answer(&self, request: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Router(options) = &self.router;
        let view = options.cluster.view();
        let mut serving = view.quorum;
        let (mut at, now_ms) = (0, now_ms());
        while at < request.len() && out.len() < ANSWER_BYTES {
            let (command, next) = wire::command_at(request, at)?;
            at = next;
            let status = wire::put_answer(out, |out| {
                if !serving {
                    return Status::NotServing;
                }
                let keyspace = &options.keyspace;
                if (self.held)(&command.args) {
                    return Status::NotServing;
                }
                if let Some(status) = envelope::answer(keyspace, &command, now_ms, out) {
                    return status;
                }
                let start = out.len();
                let mut writer = Writer::new(out, command.protocol);
                let spec = match command::lookup(&command.args) {
                    Ok(spec) if !matches!(spec.run, Run::Shell(_)) => spec,
                    // Members of one cluster may differ in version while it is upgraded.
                    Ok(_) => {
                        writer.error("ERR this command is not one that travels between members");
                        return Status::Done;
                    }
                    Err(text) => {
                        writer.error(&text);
                        return Status::Done;
                    }
                };
                match options.keyspace.execute(
                    spec,
                    command.store,
                    &command.args,
                    now_ms,
                    &mut writer,
                ) {
                    Ok(()) => Status::Done,
                    Err(_) => {
                        out.truncate(start);
                        Status::NotServing
                    }
                }
            });
            serving = status == Status::Done;
        }
        Ok(())
    }
}

impl Handler for Forwarded {
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer {
        if let Some(later) = self.router.walk_for_another(&payload, &self.held) {
            return later;
        }
        let mut answers = Vec::new();
        if let Err(malformed) = self.answer(&payload, &mut answers) {
            // What ran has run: its answers go out, and the sender misses the others.
            tracing::warn!(member = format_args!("{from:x}"), %malformed, "a member sent nonsense");
        }
        out.extend_from_slice(&answers);
        Answer::Now
    }
}
