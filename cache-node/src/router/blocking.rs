//! Commands that wait for their keys: here, or at the member that owns them.
//!
//! A wait at another member is one request on a connection of its own, answered when the wait ends, so
//! that it holds up nothing else; when that connection breaks, both sides know that the wait is over.
//! The member that the client is connected to keeps the time and ends the wait by a second request; what
//! was served until then is still answered.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use hypercache_core::cluster::{Liveness, Member, MemberId, View, slot_of};
use hypercache_core::command::{Call, Spec};
use hypercache_core::keyspace::{Ended, Keyspace, Wait};
use hypercache_core::resp::Writer;
use tokio::time::Instant;

use super::attempts::LONGEST;
use super::blocked::{self, Answered};
use super::place::{Place, place};
use super::{
    CROSS_SLOT, Caller, ForwardError, NO_MAJORITY, NO_QUORUM, REPLICAS_WAIT, Router, has_heir,
    is_cut_off, lacks_replicas, lost, traced,
};
use crate::clock::now_ms;
use crate::peer;
use crate::raft::Lease;
use crate::telemetry::trace;

/// Redis's words for a wait that ends because its keys are elsewhere now.
const UNBLOCKED: &str =
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// Why a wait is ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time had come.
    Timeout,
    /// With an error.
    Error,
    /// The member stops: with another error, which is told to nobody; the connection ends.
    Stop,
}

/// How a wait ends that is ended by [`Unblock::Stop`].
pub const STOPPED: &str = "UNBLOCKED the member that this connection leads to stops";

impl Unblock {
    /// The error that it ends with; `None` if it ends with none.
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::Timeout => None,
            Self::Error => Some("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            Self::Stop => Some(STOPPED),
        }
    }
}

/// Numbers of waits at other members. The time of the start makes them differ from those of the process
/// before.
static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(now_ms() << 20));

/// A wait in this member's keyspace: forgotten when this is dropped, however its task ends (S7).
pub(super) struct Here {
    keyspace: Arc<Keyspace>,
    wait: Arc<Wait>,
}

impl Here {
    pub fn new(keyspace: &Arc<Keyspace>, wait: Arc<Wait>) -> Self {
        Self { keyspace: keyspace.clone(), wait }
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Ended {
        std::future::poll_fn(|cx| self.wait.poll(cx.waker())).await
    }

    /// Gives it up: how it ended all the same.
    pub fn give_up(&self) -> Ended {
        self.wait.give_up();
        match self.wait.poll(std::task::Waker::noop()) {
            Poll::Ready(ended) => ended,
            Poll::Pending => Ended::GivenUp,
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.keyspace.forget_wait(&self.wait);
    }
}

/// A wait at another member: ended there when this is dropped before it was answered.
struct There<'a> {
    router: &'a Router,
    member: Member,
    order: u64,
    id: u64,
    ended: bool,
}

impl There<'_> {
    /// Asks the member to end it; does not wait.
    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Router(options) = self.router;
        let request = blocked::end(self.id).into();
        // If it does not get there, its connection is broken, and with it the wait.
        let Ok(pending) = options.peers.send(&self.member, peer::Kind::Wait, self.order, request)
        else {
            return;
        };
        let deadline = self.router.deadline();
        // A connection that is dropped while the process ends has no runtime left, nor need of one.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = pending.until(deadline).await;
            });
        }
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is waited for beside the keys.
struct Stop<F> {
    unblocked: Pin<Box<F>>,
    /// When the client's own time is over.
    until: Option<Instant>,
}

impl<F: Future<Output = Unblock>> Stop<F> {
    async fn wait(&mut self) -> Unblock {
        match self.until {
            None => self.unblocked.as_mut().await,
            Some(until) => tokio::time::timeout_at(until, self.unblocked.as_mut())
                .await
                .unwrap_or(Unblock::Timeout),
        }
    }
}

/// Until when a member that reaches no majority lets its clients wait: a new leader is found sooner.
#[derive(Default)]
struct Patience(Option<Instant>);

impl Patience {
    /// The view has changed.
    fn look(&mut self, router: &Router, view: &View) {
        if !is_cut_off(view) {
            self.0 = None;
        } else {
            self.0.get_or_insert_with(|| router.deadline());
        }
    }

    /// Waits until it is over.
    async fn over(&self) {
        match self.0 {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// What one attempt came to.
enum Attempt {
    /// The reply is written.
    Done,
    /// The client is to be told that its wait was ended.
    Stopped(Unblock),
    /// It is to be begun anew.
    Anew,
    /// It is to be begun anew in a moment, or not at all: why.
    Later(String),
}

impl Router {
    /// Runs a command that may wait for its keys, wherever they are, and appends its reply to `out`.
    /// It waits as long as the command says, or until `unblocked`; dropped before that, it takes
    /// nothing any more.
    pub async fn block(
        &self,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        unblocked: impl Future<Output = Unblock>,
        out: &mut Vec<u8>,
    ) {
        let timeout_ms = spec.blocking().and_then(|b| b.timeout_ms(args, now_ms()));
        let until = timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let mut stop = Stop { unblocked: Box::pin(unblocked), until };
        let call = Call { spec, store: caller.store, protocol: caller.protocol, args };
        let (mut ticket, mut waited) = (None, false);
        // By their deadline somebody has to serve the slot.
        let mut attempts = self.attempts();
        let replicas_by = attempts.deadline().min(Instant::now() + REPLICAS_WAIT);
        let stopped = loop {
            let lease = self.lease();
            let view = self.0.cluster.view();
            let alone = is_cut_off(&view);
            if alone && !waited && !self.waits_for_quorum() {
                return Writer::new(out, caller.protocol).error(NO_QUORUM);
            }
            let began = Instant::now();
            let attempt = match place(&*view, spec, args) {
                _ if alone => Attempt::Later(NO_MAJORITY.into()),
                Place::Here => {
                    self.block_here(
                        lease,
                        replicas_by,
                        call,
                        &mut ticket,
                        &mut stop,
                        attempts.changed(),
                        out,
                    )
                    .await
                }
                Place::There(member) => {
                    let parent = self.0.traces.current();
                    let span = parent.map(|parent| self.forwards(&parent, &view, member));
                    let there = self.block_there(
                        &view,
                        member,
                        caller.order,
                        call,
                        &mut stop,
                        attempts.changed(),
                        out,
                    );
                    trace::within(span.as_ref(), there).await
                }
                Place::CrossSlot => {
                    return Writer::new(out, caller.protocol).error(CROSS_SLOT);
                }
                Place::Scattered | Place::Unowned(_) => {
                    Attempt::Later("its slot is not served at the moment".into())
                }
            };
            let waits_for = match attempt {
                Attempt::Done => return,
                Attempt::Stopped(stopped) => break stopped,
                Attempt::Anew => {
                    attempts.renew(self.deadline());
                    waited = true;
                    continue;
                }
                Attempt::Later(waits_for) => waits_for,
            };
            if began.elapsed() > LONGEST {
                // It has waited there: this is not one outage with what was before.
                attempts.renew(self.deadline());
                waited = true;
                continue;
            }
            tokio::select! {
                stopped = stop.wait() => break stopped,
                paused = attempts.pause(&waits_for) => if let Err(text) = paused {
                    return Writer::new(out, caller.protocol).error(&text);
                }
            }
        };
        let writer = &mut Writer::new(out, caller.protocol);
        match stopped.error() {
            None => writer.null_array(),
            Some(text) => writer.error(text),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one wait, used once")]
    async fn block_here(
        &self,
        lease: Lease,
        replicas_by: Instant,
        call: Call<'_>,
        ticket: &mut Option<u64>,
        stop: &mut Stop<impl Future<Output = Unblock>>,
        changed: &mut tokio::sync::watch::Receiver<u64>,
        out: &mut Vec<u8>,
    ) -> Attempt {
        self.room().await;
        let (start, traced) = (out.len(), self.begun());
        let wait = match self.0.keyspace.execute_or_wait(call, *ticket, now_ms(), out) {
            Ok(None) if lacks_replicas(&out[start..]) && Instant::now() < replicas_by => {
                out.truncate(start);
                return Attempt::Later("too few replicas are in sync".into());
            }
            Ok(None) => {
                let span = self.executed(traced, call.spec, call.store, &out[start..]);
                let settled = self.settle(lease, call.protocol, start, out);
                trace::within(span.as_ref(), settled).await;
                return Attempt::Done;
            }
            Ok(Some(wait)) => wait,
            Err(_) if self.0.disk.is_loading() => {
                Writer::new(out, call.protocol).error(super::LOADING);
                return Attempt::Done;
            }
            Err(not_serving) => return Attempt::Later(not_serving.to_string()),
        };
        *ticket = Some(wait.ticket());
        let here = Here::new(&self.0.keyspace, wait);
        let mut patience = Patience::default();
        let (ended, otherwise) = loop {
            tokio::select! {
                biased;
                ended = here.ended() => {
                    break (ended, Attempt::Anew);
                }
                stopped = stop.wait() => break (here.give_up(), Attempt::Stopped(stopped)),
                _ = changed.changed() => patience.look(self, &self.0.cluster.view()),
                () = patience.over() => {
                    let why = "this member reaches no majority of the voters";
                    break (here.give_up(), Attempt::Later(why.into()));
                }
            }
        };
        match ended {
            Ended::Served { reply, awaits } => {
                let span = self.executed(traced, call.spec, call.store, &reply);
                match trace::within(span.as_ref(), self.until_met_by_another(&awaits)).await {
                    Ok(()) => out.extend_from_slice(&reply),
                    Err(text) => Writer::new(out, call.protocol).error(&text),
                }
                Attempt::Done
            }
            Ended::Again | Ended::GivenUp => otherwise,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the state of one wait, used once")]
    async fn block_there(
        &self,
        view: &View,
        member: MemberId,
        order: u64,
        call: Call<'_>,
        stop: &mut Stop<impl Future<Output = Unblock>>,
        changed: &mut tokio::sync::watch::Receiver<u64>,
        out: &mut Vec<u8>,
    ) -> Attempt {
        let Some(to) = view.member(member) else {
            return Attempt::Later(ForwardError::Unknown(member).to_string());
        };
        let id = NEXT.fetch_add(1, Relaxed);
        let left = stop.until.map(|until| until.saturating_duration_since(Instant::now()));
        // Only in case that nothing is heard from here any more.
        let at_most = left.map(|left| left + self.0.request_timeout);
        let mut request = blocked::begin(id, at_most, &call);
        if let Some(span) = self.0.traces.current() {
            traced::put_parent(&mut request, &span);
        }
        let mut pending = match self.0.peers.send(to, peer::Kind::Wait, order, request.into()) {
            Ok(pending) => pending,
            Err(error) => return self.broken(view, member, call, ForwardError::Peer(error), out),
        };
        let mut there = There { router: self, member: to.clone(), order, id, ended: false };
        let slot = call.spec.first_key(call.args).map(slot_of);
        let mut otherwise = Attempt::Later("its slot is moving or its member starts".into());
        let (mut deadline, mut patience) = (None, Patience::default());
        let answer = loop {
            let overdue = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = &mut pending => break Some(answer),
                stopped = stop.wait(), if deadline.is_none() => {
                    otherwise = Attempt::Stopped(stopped);
                    deadline = Some(self.deadline());
                    there.end();
                }
                _ = changed.changed(), if deadline.is_none() => {
                    let view = self.0.cluster.view();
                    patience.look(self, &view);
                    let moved = slot.is_some_and(|slot| view.owner(slot) != Some(member));
                    if moved || view.liveness(member) == Liveness::Down {
                        deadline = Some(self.deadline());
                        there.end();
                    }
                }
                () = patience.over(), if deadline.is_none() => {
                    deadline = Some(self.deadline());
                    there.end();
                }
                () = overdue => break None,
            }
        };
        let answer = match answer {
            Some(Ok(answer)) => {
                there.ended = true;
                answer
            }
            Some(Err(error)) => {
                return self.broken(view, member, call, ForwardError::Peer(error), out);
            }
            None => {
                Writer::new(out, call.protocol).error(UNBLOCKED);
                return Attempt::Done;
            }
        };
        match blocked::answered(&answer) {
            Some(Answered::Reply(reply)) => {
                if reply.first() != Some(&b'-') {
                    self.heard().note(view, member, || slot);
                }
                out.extend_from_slice(reply);
                Attempt::Done
            }
            Some(Answered::Ended) => otherwise,
            None => {
                Writer::new(out, call.protocol).error("ERR a malformed answer to a wait");
                Attempt::Done
            }
        }
    }

    /// What a wait comes to whose member cannot be asked, or did not answer.
    fn broken(
        &self,
        view: &View,
        member: MemberId,
        call: Call<'_>,
        error: ForwardError,
        out: &mut Vec<u8>,
    ) -> Attempt {
        let writer = &mut Writer::new(out, call.protocol);
        if !error.never_sent() {
            // It may have been served there, and the reply be lost: not for this member to repeat.
            writer.error(UNBLOCKED);
            return Attempt::Done;
        }
        // Waiting helps when it comes back at once, or somebody takes over from it.
        if view.liveness(member) == Liveness::Down && !has_heir(view, call.spec, call.args) {
            writer.error(&lost(call.spec, &error));
            return Attempt::Done;
        }
        Attempt::Later(error.to_string())
    }
}
