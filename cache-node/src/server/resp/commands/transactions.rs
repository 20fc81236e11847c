//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! EXEC first runs the commands over keys, as one and wherever their slots are; then those of the
//! connection and the server, which touch no key; and answers in the order in which they were queued.

use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::command::{self, Run, ShellCommand, Spec, Step, Transacted};
use hypercache_core::resp::{Protocol, Writer, reply_len};
use hypercache_core::store::StoreNumber;

use super::{Context, config, connection, scripts};
use crate::router::{Caller, put_undone, wire};
use crate::server::resp::session::Session;
use crate::server::resp::transaction::Ended;
use crate::server::resp::{Shared, audit};

pub(super) fn multi(context: &mut Context<'_>, out: &mut Writer<'_>) {
    let Session { transaction, client, .. } = context.session;
    transaction.begin(client);
    out.ok();
}

pub(super) fn discard(context: &mut Context<'_>, out: &mut Writer<'_>) {
    if end(context.shared, context.session) {
        out.ok();
    } else {
        out.error("ERR DISCARD without MULTI");
    }
}

/// Ends the transaction without running it; false if there is none.
fn end(shared: &Shared, session: &mut Session) -> bool {
    let Some(ended) = session.transaction.end(&session.client) else { return false };
    shared.router.forget(session.client.id, ended.watched);
    true
}

/// Ends the transaction and all watches, as RESET and the connection's end do.
pub(in crate::server::resp) fn abandon(shared: &Shared, session: &mut Session) {
    end(shared, session);
    unwatch_all(shared, session);
}

/// What a client is told whose command could not even be looked up: that spoils its transaction, and a
/// wrong EXEC ends it.
pub(in crate::server::resp) fn refused(
    shared: &Shared,
    session: &mut Session,
    args: &[&[u8]],
    text: String,
) -> String {
    if !args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC")) {
        session.transaction.fail();
        return text;
    }
    abandon(shared, session);
    let reason = text.strip_prefix("ERR ").unwrap_or(&text);
    format!("EXECABORT Transaction discarded because of: {reason}")
}

fn unwatch_all(shared: &Shared, session: &mut Session) {
    let watched = session.transaction.take_watched();
    session.client.watched.store(0, Relaxed);
    shared.router.forget(session.client.id, watched);
}

pub(super) fn unwatch(context: &mut Context<'_>, out: &mut Writer<'_>) {
    unwatch_all(context.shared, context.session);
    out.ok();
}

pub(super) async fn watch(
    shared: &Shared,
    session: &mut Session,
    args: &[&[u8]],
    out: &mut Writer<'_>,
) {
    let Caller { store, order, .. } = session.caller();
    let watched = match session.transaction.unwatched(store, &args[1..]) {
        Ok(new) => shared.router.watch(order, store, &new).await,
        Err(text) => Err(text),
    };
    match watched {
        Ok(watched) => {
            session.client.watched.fetch_add(watched.len() as u32, Relaxed);
            session.transaction.watch(watched);
            out.ok();
        }
        Err(text) => out.error(&text),
    }
}

/// A command of the queue.
struct Queued<'a> {
    spec: &'static Spec,
    args: wire::Args<'a>,
    /// Where it runs.
    turn: Turn,
}

#[derive(PartialEq, Eq)]
enum Turn {
    /// With the keys.
    Keys,
    /// After them.
    After,
}

pub(super) async fn exec(
    shared: &Shared,
    session: &mut Session,
    exec: &'static Spec,
    out: &mut Vec<u8>,
) {
    let (before, start) = (session.protocol, out.len());
    let Some(ended) = session.transaction.end(&session.client) else {
        return Writer::new(out, before).error("ERR EXEC without MULTI");
    };
    let caller = session.caller();
    if ended.failed {
        shared.router.forget(caller.order, ended.watched);
        return Writer::new(out, before)
            .error("EXECABORT Transaction discarded because of previous errors.");
    }
    let Ended { queue, count, watched, .. } = ended;
    let (queued, steps) = plan(shared, session, &queue, count, watched.is_empty());
    // As a whole or not at all, also where its commands run one by one.
    let transacted = match queued.iter().any(Queued::runs_on_all) {
        true => shared.router.quorum().await.map(|()| (Transacted::Done, Vec::new())),
        false => shared.router.transact(caller, exec, watched, &steps).await,
    };
    let replies = match transacted {
        Ok((Transacted::Done, replies)) => replies,
        undone => {
            let writer = &mut Writer::new(out, before);
            match undone {
                Ok((undone, reason)) => put_undone(undone, &reason, writer),
                Err(text) => writer.error(&text),
            }
            queued.iter().for_each(|command| command.note(session, &out[start..]));
            return;
        }
    };
    drop(steps);
    Writer::new(out, before).array(queued.len());
    let as_they_are =
        |command: &Queued<'_>| command.turn == Turn::Keys && !audit::is_audited(command.spec);
    if queued.iter().all(as_they_are) {
        queued.iter().for_each(|command| shared.stats.shared().call(command.spec));
        out.extend_from_slice(&replies);
        return;
    }
    let mut rest = &replies[..];
    for command in &queued {
        shared.stats.shared().call(command.spec);
        if command.turn == Turn::Keys {
            // A member writes whole replies; and if not, the client is still owed one.
            match reply_len(rest) {
                Ok(Some(len)) => {
                    let (reply, others) = rest.split_at(len);
                    command.note(session, reply);
                    out.extend_from_slice(reply);
                    rest = others;
                }
                _ => Writer::new(out, session.protocol).error("ERR the reply was lost"),
            }
        } else {
            run_after(shared, session, command, out).await;
        }
    }
}

/// Sorts the queue's commands into those over keys and the others. SELECT and HELLO decide, for the
/// commands after them, which store these run in and how they answer.
fn plan<'a>(
    shared: &Shared,
    session: &mut Session,
    queue: &'a [u8],
    count: usize,
    nothing_watched: bool,
) -> (Vec<Queued<'a>>, Vec<Step<'a>>) {
    let (mut queued, mut steps) = (Vec::with_capacity(count), Vec::new());
    let (mut store, mut protocol) = (session.store, session.protocol);
    let mut at = 0;
    while let Ok((wire::Command { args, .. }, next)) = wire::command_at(queue, at) {
        at = next;
        let Ok(spec) = command::lookup(&args) else { continue };
        let mut turn = Turn::After;
        if let Run::Shell(shell) = spec.run {
            (store, protocol) = chosen(shared, session, shell, &args, store, protocol);
        } else {
            turn = Turn::Keys;
            steps.push(Step { spec, store, protocol, args: args.clone() });
        }
        queued.push(Queued { spec, args, turn });
    }
    // With no key at stake, commands over all keys run one by one, on all members.
    if nothing_watched && steps.iter().all(Step::is_over_all_keys) {
        steps.clear();
        queued.iter_mut().for_each(|command| command.turn = Turn::After);
    }
    (queued, steps)
}

/// The store and protocol that a command of the connection leaves behind.
fn chosen(
    shared: &Shared,
    session: &mut Session,
    command: ShellCommand,
    args: &[&[u8]],
    store: StoreNumber,
    protocol: Protocol,
) -> (StoreNumber, Protocol) {
    match (command, args) {
        (ShellCommand::Select, [_, word]) => {
            (connection::store_named(shared, word).unwrap_or(store), protocol)
        }
        (ShellCommand::Hello, [_, version, rest @ ..])
            if rest.is_empty() && session.authenticated =>
        {
            match *version {
                b"2" => (store, Protocol::Resp2),
                b"3" => (store, Protocol::Resp3),
                _ => (store, protocol),
            }
        }
        _ => (store, protocol),
    }
}

impl Queued<'_> {
    /// Whether it is over all keys and runs on all members.
    fn runs_on_all(&self) -> bool {
        self.turn == Turn::After && !matches!(self.spec.run, Run::Shell(_))
    }

    /// Tells the audit what came of it.
    fn note(&self, session: &Session, reply: &[u8]) {
        audit::note(&session.client, self.spec, &self.args, reply);
    }
}

/// Runs a command of the queue that is not one over keys that it names.
async fn run_after(
    shared: &Shared,
    session: &mut Session,
    command: &Queued<'_>,
    out: &mut Vec<u8>,
) {
    let (Queued { spec, args, .. }, start) = (command, out.len());
    let Run::Shell(shell) = spec.run else {
        shared.router.run(spec, session.caller(), args, out).await;
        return command.note(session, &out[start..]);
    };
    let view = shared.router.cluster().view();
    if scripts::waits(shell) {
        let writer = &mut Writer::new(out, session.protocol);
        scripts::run(shared, session.client.id, shell, args, writer).await;
    } else if shell == ShellCommand::ConfigSet && config::set_waits(args) {
        let writer = &mut Writer::new(out, session.protocol);
        config::set_and_wait(&Context { shared, session, view: &view }, args, writer).await;
    } else {
        // It notes that itself.
        return super::run(shared, session, &view, spec, shell, args, out);
    }
    command.note(session, &out[start..]);
}
