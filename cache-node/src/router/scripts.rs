//! Scripts between members: which of them knows one, and what all have to hear.
//!
//! These travel as one command of a batch ([`super::wire`]) whose name no client can send. Arguments:
//! name, version, what to do, and what belongs to that. The reply is a byte that says whether it was
//! done, and what belongs to that.

use std::sync::Arc;

use futures::future::join_all;
use hypercache_core::cluster::{Liveness, View};
use hypercache_core::command::{self, Flags, Run, ScriptBy, Spec, Step};
use hypercache_core::resp::Protocol;

use super::Router;
use super::wire::{self, Args, Status};
use crate::script::{Killed, Script, Scripts, Sha, sha_named};

/// What is said about scripts.
const SCRIPT: &[u8] = b"\0script";
/// What this version understands.
const VERSION: &[u8] = b"1";

const GET: &[u8] = b"get";
const LOAD: &[u8] = b"load";
const FLUSH: &[u8] = b"flush";
const KILL: &[u8] = b"kill";

const DONE: u8 = 0;
const NOT_DONE: u8 = 1;
const REFUSED: u8 = 2;

/// A command that names a script by digest, turned into one that has the text.
pub(super) fn with_text<'a>(
    spec: &'static Spec,
    args: &[&'a [u8]],
    script: &'a Script,
) -> (&'static Spec, Args<'a>) {
    let mut args: Args<'a> = Args::from_slice(args);
    let Some(eval) = by_text(spec) else { return (spec, args) };
    if let [name, named, ..] = &mut args[..] {
        (*name, *named) = (eval.name.as_bytes(), &script.text);
    }
    (eval, args)
}

/// EVAL for EVALSHA, EVAL_RO for EVALSHA_RO.
fn by_text(spec: &Spec) -> Option<&'static Spec> {
    let name: &[u8] = if spec.flags.contains(Flags::READONLY) { b"eval_ro" } else { b"eval" };
    command::lookup(&[name, b"", b"0"]).ok()
}

/// The digest by which a command names its script.
fn digest(spec: &Spec, args: &[&[u8]]) -> Option<Sha> {
    match spec.run {
        Run::Script(ScriptBy::Sha) => sha_named(args.get(1)?),
        _ => None,
    }
}

/// Steps whose scripts are named by digest, with the texts that are known.
pub(super) fn with_texts<'a: 'b, 'b>(
    steps: &[Step<'a>],
    texts: &'b [Option<Arc<Script>>],
) -> Vec<Step<'b>> {
    let with_text = |(step, text): (&Step<'a>, &'b Option<Arc<Script>>)| {
        let args: Args<'b> = step.args.iter().map(|arg| -> &'b [u8] { arg }).collect();
        let (spec, args) = match text {
            Some(script) => with_text(step.spec, &args, script),
            None => (step.spec, args),
        };
        Step { spec, store: step.store, protocol: step.protocol, args }
    };
    steps.iter().zip(texts).map(with_text).collect()
}

impl Router {
    /// The scripts that steps name by digest, where they are known here.
    pub(super) fn texts(&self, steps: &[Step<'_>]) -> Vec<Option<Arc<Script>>> {
        let text = |step: &Step<'_>| self.0.scripts.get(&digest(step.spec, &step.args)?);
        steps.iter().map(text).collect()
    }

    /// Whether a command names a script that is not known here.
    pub(super) fn lacks_script(&self, spec: &Spec, args: &[&[u8]]) -> bool {
        digest(spec, args).is_some_and(|sha| self.0.scripts.get(&sha).is_none())
    }

    /// The script that a command names by digest, if any member knows it.
    pub(super) async fn named_script(&self, order: u64, args: &[&[u8]]) -> Option<Arc<Script>> {
        self.find_script(order, &sha_named(args.get(1)?)?).await
    }

    /// A script that any member knows; from then on this one does.
    pub async fn find_script(&self, order: u64, sha: &Sha) -> Option<Arc<Script>> {
        if let Some(script) = self.0.scripts.get(sha) {
            return Some(script);
        }
        let answers = self.ask_all(order, &[GET, sha]).await;
        let text = answers.iter().flatten().find_map(|answer| match answer.split_first() {
            Some((&DONE, text)) => Some(text),
            _ => None,
        })?;
        let script = self.0.scripts.adopt(text).ok()?;
        (script.sha == *sha).then_some(script)
    }

    /// SCRIPT LOAD on every member; one that is away learns the script when it is needed there.
    ///
    /// # Errors
    /// Redis's error: this member cannot take the script.
    pub async fn load_script(&self, order: u64, text: &[u8]) -> Result<String, String> {
        let sha = self.0.scripts.load(text)?;
        self.ask_all(order, &[LOAD, text]).await;
        Ok(sha)
    }

    /// SCRIPT FLUSH on every member.
    ///
    /// # Errors
    /// A member did not say that it did so, and would hand its scripts on.
    pub async fn flush_scripts(&self, order: u64) -> Result<(), String> {
        self.0.scripts.flush();
        let answers = self.ask_all(order, &[FLUSH]).await;
        let failed = answers.iter().filter(|answer| answer.is_none()).count();
        match failed {
            0 => Ok(()),
            n => Err(format!("ERR {n} other members did not forget their scripts; try again")),
        }
    }

    /// SCRIPT KILL, wherever a script runs.
    pub async fn kill_script(&self, order: u64) -> Killed {
        let here = self.0.scripts.kill();
        if here == Killed::Killed {
            return here;
        }
        let answers = self.ask_all(order, &[KILL]).await;
        let there = answers.iter().flatten().filter_map(|answer| match answer.as_slice() {
            [DONE] => Some(Killed::Killed),
            [REFUSED] => Some(Killed::Unkillable),
            _ => None,
        });
        there.max().unwrap_or(Killed::NotBusy).max(here)
    }

    /// Asks all other members that are not known to be away: what each answered.
    async fn ask_all(&self, order: u64, what: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let view = self.0.cluster.view();
        let mut args = Args::from_slice(&[SCRIPT, VERSION]);
        args.extend_from_slice(what);
        let mut request = Vec::new();
        wire::put_command(&mut request, 0, Protocol::Resp3, &args);
        let request = bytes::Bytes::from(request);
        let deadline = self.deadline();
        let others: Vec<_> = others(&view).collect();
        join_all(others.into_iter().map(async |member| {
            let sent = self.forward(&view, member, order, request.clone(), 1, deadline);
            let answers = sent.await.ok()?;
            match wire::answer_at(&answers, 0) {
                Ok((Status::Done, reply, _)) if !reply.starts_with(b"-") => Some(reply.to_vec()),
                _ => None,
            }
        }))
        .await
    }
}

fn others(view: &View) -> impl Iterator<Item = hypercache_core::cluster::MemberId> {
    let members = view.state.members.keys().copied();
    members.filter(|id| *id != view.me && view.liveness(*id) != Liveness::Down)
}

/// The other member's side: carries out a command of this module; `None` if it is another one.
pub(super) fn answer(
    scripts: &Scripts,
    command: &wire::Command<'_>,
    out: &mut Vec<u8>,
) -> Option<Status> {
    let [name, version, what, rest @ ..] = command.args.as_slice() else { return None };
    if *name != SCRIPT {
        return None;
    }
    if *version != VERSION {
        out.push(REFUSED);
        return Some(Status::Done);
    }
    match (*what, rest) {
        (GET, [sha]) => {
            let sha: Option<&Sha> = (*sha).try_into().ok();
            match sha.and_then(|sha| scripts.get(sha)) {
                Some(script) => {
                    out.push(DONE);
                    out.extend_from_slice(&script.text);
                }
                None => out.push(NOT_DONE),
            }
        }
        (LOAD, [text]) => out.push(if scripts.load(text).is_ok() { DONE } else { REFUSED }),
        (FLUSH, []) => {
            scripts.flush();
            out.push(DONE);
        }
        (KILL, []) => out.push(match scripts.kill() {
            Killed::Killed => DONE,
            Killed::Unkillable => REFUSED,
            Killed::NotBusy => NOT_DONE,
        }),
        _ => out.push(REFUSED),
    }
    Some(Status::Done)
}
