//! The owner's side of a forwarded batch.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::{MemberId, View};
use hypercache_core::command::{self, Run};
use hypercache_core::replica::{Awaited, awaits};
use hypercache_core::resp::{Protocol, Writer};
use opentelemetry::Context;
use tokio::sync::Semaphore;

use super::wire::{self, Malformed, Status};
use super::{CUT_OFF, Options, Router, envelope, lacks_replicas, traced};
use crate::clock::now_ms;
use crate::peer::{Answer, Handler};
use crate::raft::Lease;
use crate::script::{Asked, Evaluated};
use crate::server::stats::watch;

/// An answer that is this long ends, so that many small commands with large replies (a pipeline of
/// GETs) take no unbounded memory (S1); the sender asks for the rest.
const ANSWER_BYTES: usize = 1 << 20;

/// Threads that run batches which may take long.
const SLOW_BATCHES: usize = 4;

/// Answers batches of commands that other members send here because this one owns their slots.
#[derive(Clone)]
pub struct Forwarded {
    router: Router,
    slow: Arc<Semaphore>,
    held: Held,
}

/// Whether a command, which has these arguments, has to wait (CLIENT PAUSE).
pub type Held = Arc<dyn Fn(&[&[u8]]) -> bool + Send + Sync>;

impl Forwarded {
    /// Answers with what `router`'s member holds. What is `held` up is not served: the sender asks
    /// again until its deadline.
    pub fn new(router: Router, held: Held) -> Self {
        Self { router, slow: Arc::new(Semaphore::new(SLOW_BATCHES)), held }
    }

    /// Runs the commands of `request` in order and appends an answer for each to `out`. From the
    /// first that cannot run here, none runs. Once the answers are long enough, none of the rest
    /// runs, and they have no answer. Never waits for other members and never forwards. Unless
    /// `may_be_slow`, it stops before the first script. Gives where it stopped.
    ///
    /// # Errors
    /// The request is malformed; the commands before that place have run.
    pub fn answer(
        &self,
        request: &[u8],
        may_be_slow: bool,
        out: &mut Vec<u8>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<usize, Malformed> {
        let options = &self.router.0;
        let view = options.cluster.view();
        let mut serving = view.quorum;
        let (mut at, now_ms) = (0, now_ms());
        // The command before the next one said whose part that is.
        let mut said: Option<Said> = None;
        while at < request.len() && out.len() < ANSWER_BYTES {
            let (command, next) = wire::command_at(request, at)?;
            if !may_be_slow && command.args.first().is_some_and(|name| may_run_script(name)) {
                return Ok(said.map_or(at, |said| {
                    // It is said again to who goes on.
                    out.truncate(said.answered);
                    said.at
                }));
            }
            if command.args.first() == Some(&traced::TRACE) {
                let parent = options.traces.is_on().then(|| traced::parent_in(&command.args));
                said = Some(Said { at, answered: out.len(), parent: parent.flatten() });
                wire::put_answer(out, |_| Status::Done);
                at = next;
                continue;
            }
            at = next;
            let parent = said.take().and_then(|said| said.parent);
            let parent = parent.map(|parent| (parent, SystemTime::now()));
            let start = out.len();
            let status =
                wire::put_answer(out, |out| match serving && !(self.held)(&command.args) {
                    true => answer_one(options, &view, &command, now_ms, out),
                    false => Status::NotServing,
                });
            let ran = parent.filter(|_| status == Status::Done).and_then(|(parent, began)| {
                let attributes = traced::of_forwarded(command.store, &command.args)?;
                let reply = wire::answer_at(out, start).map_or(&[][..], |(_, reply, _)| reply);
                Some(options.traces.executed(&parent, began, attributes, reply))
            });
            if let Some(awaited) = awaits::take() {
                let (end, protocol) = (out.len(), command.protocol);
                let is_transaction = command.args.first() == Some(&envelope::TRANSACTION);
                waiting.push(Waiting { start, end, awaited, protocol, is_transaction, ran });
            }
            serving = status == Status::Done;
        }
        Ok(request.len())
    }
}

/// An answer that waits until what it tells of is on the disk, and at as many members as it has to be.
pub struct Waiting {
    start: usize,
    end: usize,
    awaited: Awaited,
    protocol: Protocol,
    is_transaction: bool,
    /// The span of what ran, if its request has some.
    ran: Option<Context>,
}

/// What a command said about the next one.
struct Said {
    /// Where it stands in the request.
    at: usize,
    /// Where its answer begins.
    answered: usize,
    /// Whose part the next one is, if its request has spans.
    parent: Option<Context>,
}

/// Waits for all of these; those that wait for what does not come become errors.
async fn settle(router: &Router, lease: Lease, mut waiting: Vec<Waiting>, answers: &mut Vec<u8>) {
    let mut all = Awaited::default();
    waiting.iter_mut().for_each(|waiting| all.merge(std::mem::take(&mut waiting.awaited)));
    let spans: Vec<Context> = waiting.iter_mut().filter_map(|waiting| waiting.ran.take()).collect();
    let Err(text) = router.until_met_for(lease, &all, &spans).await else { return };
    for Waiting { start, end, protocol, is_transaction, .. } in waiting.into_iter().rev() {
        let mut answer = Vec::new();
        wire::put_answer(&mut answer, |out| {
            // A transaction's answer is in a form of its own.
            if is_transaction {
                return envelope::refuse(out, &text);
            }
            Writer::new(out, protocol).error(&text);
            Status::Done
        });
        answers.splice(start..end, answer);
    }
}

/// The answers to commands that ran while this member's lease ended. Reads are asked again elsewhere; where
/// something may have been written, all of them are refused, so that the order of a client's commands holds.
#[cold]
fn cut_off(request: &[u8], answers: &[u8]) -> Vec<u8> {
    let mut ran = Vec::new();
    let (mut at, mut answered, mut may_write) = (0, 0, false);
    while answered < answers.len()
        && let Ok((command, next)) = wire::command_at(request, at)
        && let Ok((status, _, after)) = wire::answer_at(answers, answered)
    {
        may_write |= command.args.first() != Some(&traced::TRACE)
            && command::lookup(&command.args).map_or(true, command::Spec::may_write);
        (at, answered) = (next, after);
        ran.push((command, status));
    }
    let mut refused = Vec::new();
    for (command, status) in ran {
        wire::put_answer(&mut refused, |out| match status {
            Status::Done if !may_write => Status::NotServing,
            Status::Done if command.args.first() == Some(&envelope::TRANSACTION) => {
                envelope::refuse(out, CUT_OFF)
            }
            Status::Done => {
                Writer::new(out, command.protocol).error(CUT_OFF);
                Status::Done
            }
            other => other,
        });
    }
    refused
}

/// Whether a command runs a script, or may.
fn may_run_script(name: &[u8]) -> bool {
    name.len() >= 4 && (name[..4].eq_ignore_ascii_case(b"EVAL") || name == envelope::TRANSACTION)
}

/// Runs one command on this member and appends its reply.
fn answer_one(
    options: &Options,
    view: &View,
    command: &wire::Command<'_>,
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Status {
    let Options { keyspace, scripts, .. } = options;
    if let Some(status) = envelope::answer(keyspace, &scripts.inside(view, 0), command, now_ms, out)
    {
        watch::forget_inner();
        return status;
    }
    if let Some(status) = super::scripts::answer(scripts, command, out) {
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
    let (store, args) = (command.store, &command.args[..]);
    let status = if spec.is_script() {
        let asked = Asked { view, spec, store, args, now_ms, client: 0 };
        let evaluated = scripts.evaluate(keyspace, asked, &mut writer);
        watch::forget_inner();
        match evaluated {
            Evaluated::Done => Status::Done,
            Evaluated::NotServing => Status::NotServing,
            Evaluated::Unknown => Status::UnknownScript,
        }
    } else {
        match keyspace.execute(spec, store, args, now_ms, &mut writer) {
            Ok(()) => Status::Done,
            Err(_) if options.disk.is_loading() => {
                out.truncate(start);
                Writer::new(out, command.protocol).error(super::LOADING);
                return Status::Done;
            }
            Err(_) => Status::NotServing,
        }
    };
    if status == Status::Done && lacks_replicas(&out[start..]) {
        // The sender waits for them.
        return Status::NotServing;
    }
    if status != Status::Done {
        out.truncate(start);
    }
    status
}

fn report(from: MemberId, malformed: Malformed) {
    // What ran has run: its answers go out, and the sender misses the others.
    tracing::warn!(
        action = "peer-malformed",
        member = format_args!("{from:x}"),
        error = %malformed,
        "a member sent nonsense"
    );
}

impl Handler for Forwarded {
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer {
        if let Some(later) = self.router.walk_for_another(&payload, &self.held) {
            return later;
        }
        let (mut answers, mut waiting) = (Vec::new(), Vec::new());
        let lease = self.router.lease();
        let mut at = 0;
        // While a script holds slots for long, a command may have to wait for them.
        let has_room = self.router.has_room();
        if has_room && !self.router.0.scripts.is_any_long() {
            match self.answer(&payload, false, &mut answers, &mut waiting) {
                Ok(stopped) => at = stopped,
                Err(malformed) => {
                    report(from, malformed);
                    at = payload.len();
                }
            }
        }
        if !answers.is_empty() && !self.router.holds(lease) {
            (answers, waiting, at) = (cut_off(&payload, &answers), Vec::new(), payload.len());
        }
        if at >= payload.len() {
            if waiting.is_empty() {
                out.extend_from_slice(&answers);
                return Answer::Now;
            }
            let router = self.router.clone();
            return Answer::Later(Box::pin(async move {
                settle(&router, lease, waiting, &mut answers).await;
                Ok(answers.into())
            }));
        }
        // On a thread that may be blocked: this one has the cluster's own work to do.
        let this = self.clone();
        Answer::Later(Box::pin(async move {
            let Ok(_slow) = this.slow.clone().acquire_owned().await else {
                return Err("the member stops".into());
            };
            let router = this.router.clone();
            router.room().await;
            let ran = tokio::task::spawn_blocking(move || {
                let lease = this.router.lease();
                let rest = &payload[at..];
                if let Err(malformed) = this.answer(rest, true, &mut answers, &mut waiting) {
                    report(from, malformed);
                }
                if !this.router.holds(lease) {
                    (answers, waiting) = (cut_off(&payload, &answers), Vec::new());
                }
                (lease, answers, waiting)
            });
            let (lease, mut answers, waiting) = ran.await.map_err(|error| error.to_string())?;
            settle(&router, lease, waiting, &mut answers).await;
            Ok(Bytes::from(answers))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(commands: &[&str]) -> Vec<(Status, String)> {
        let (mut request, mut answers) = (Vec::new(), Vec::new());
        for command in commands {
            let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            wire::put_command(&mut request, 0, Protocol::Resp2, &args);
            wire::put_answer(&mut answers, |out| {
                out.extend_from_slice(b"+OK\r\n");
                Status::Done
            });
        }
        let (cut, mut at, mut seen) = (cut_off(&request, &answers), 0, Vec::new());
        while at < cut.len() {
            let (status, reply, next) = wire::answer_at(&cut, at).unwrap();
            seen.push((status, String::from_utf8_lossy(reply).into_owned()));
            at = next;
        }
        seen
    }

    #[test]
    fn what_was_only_read_while_the_lease_ended_is_asked_elsewhere_and_what_was_written_is_in_doubt()
     {
        let asked = (Status::NotServing, String::new());
        assert_eq!(cut(&["GET a", "GET b"]), [asked.clone(), asked]);
        let refused = (Status::Done, format!("-{CUT_OFF}\r\n"));
        assert_eq!(cut(&["GET a", "SET a 1"]), [refused.clone(), refused]);
    }

    #[test]
    fn what_says_whose_part_a_read_is_makes_it_no_write() {
        let asked = (Status::NotServing, String::new());
        assert_eq!(cut(&["\0trace 1 x y", "GET a"]), [asked.clone(), asked]);
    }
}
