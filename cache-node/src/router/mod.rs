//! From a command to its reply, wherever its slots are.
//!
//! A command whose slots this member serves runs at once in the keyspace. One for another
//! member's slot travels there (one hop, never a second) in the form that [`wire`] describes. What
//! several members hold is split by [`scatter`] and merged. A slot that is on the move is
//! waited for, within the request's deadline.

mod attempts;
mod batch;
mod blocked;
mod blocking;
mod copy;
mod durable;
mod envelope;
mod forwarded;
mod heard;
pub mod place;
mod scatter;
mod scripts;
mod traced;
mod transact;
mod walk;
pub mod wire;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hypercache_core::cluster::{Liveness, MemberId, Slot, View, slot_of};
use hypercache_core::command::{self, Flags, Known, Run, Spec};
use hypercache_core::keyspace::Keyspace;
use hypercache_core::resp::{Protocol, Reply, Writer};
use hypercache_core::store::StoreNumber;
use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;

pub use batch::{Batch, Came};
pub use blocked::Blocked;
pub use blocking::{STOPPED, Unblock};
pub use durable::{Awaited, CUT_OFF};
pub use envelope::{Watched, put_undone};
pub use forwarded::Forwarded;
pub use heard::Heard;
use place::{Owners, Place, place, place_one};
use wire::Status;

use crate::clock::now_ms;
use crate::disk;
use crate::peer;
use crate::raft;
use crate::script::{Asked, Evaluated, NO_SCRIPT, Scripts};
use crate::server::stats::{Cell, Count, Stats, ticks};
use crate::telemetry::times::Times;
use crate::telemetry::trace::{self, Traces};

impl Owners for View {
    #[inline]
    fn owner(&self, slot: Slot) -> Option<MemberId> {
        View::owner(self, slot)
    }
    #[inline]
    fn me(&self) -> MemberId {
        self.me
    }
    #[inline]
    fn owns_all(&self) -> bool {
        self.state.members.len() == 1 && self.is_mine(0)
    }
}

/// How long a command over all of this member's keys may take that a client of it sent.
const WALK_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a write waits until as many owners of its slot are in sync as it needs: longer than one that is silent
/// may take to leave, and come back.
const REPLICAS_WAIT: Duration = Duration::from_secs(3);

/// How long after the quorum was lost commands wait for it: a leader is elected anew in a part of that. One
/// wait for all, so that a client that sends many waits no longer.
const QUORUM_WAIT: Duration = Duration::from_millis(1500);

/// The reply while this member has no quorum.
pub const NO_QUORUM: &str =
    "CLUSTERDOWN The cluster is down: this member reaches no majority of the voters";

/// What a command waits for meanwhile.
const NO_MAJORITY: &str = "this member reaches no majority of the voters";

/// Redis's words while what is on the disk is read.
const LOADING: &str = "LOADING HyperCache is loading the dataset in memory";

/// Redis's words for keys that cannot be handled as one.
const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// What a router is made of.
pub struct Options {
    /// The keys and values of this member.
    pub keyspace: Arc<Keyspace>,
    /// The cluster's table.
    pub cluster: raft::Handle,
    /// The way to the other members.
    pub peers: peer::Client,
    /// Where work is counted.
    pub stats: Arc<Stats>,
    /// How long a command may take that needs another member.
    pub request_timeout: Duration,
    /// The scripts that this member knows.
    pub scripts: Arc<Scripts>,
    /// What of it is on disk.
    pub disk: disk::Handle,
    /// How long other members were waited for.
    pub times: Arc<WaitTimes>,
    /// What they are known to know of the table.
    pub heard: Heard,
    /// Makes the spans of requests.
    pub traces: Traces,
}

/// How long other members were waited for.
#[derive(Debug, Default)]
pub struct WaitTimes {
    /// Until a member answered what was forwarded to it, or did not.
    pub forwarded: Times,
    /// Until the other owners had confirmed what was written here.
    pub confirmed: Times,
}

/// The time since then, in microseconds.
fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Runs commands on whichever members hold their slots. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Options>);

/// Whose command it is, as far as running it needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The store that it has selected.
    pub store: StoreNumber,
    /// The protocol of its replies.
    pub protocol: Protocol,
    /// Commands of one order reach another member one after the other; of several, side by side.
    pub order: u64,
    /// The client's number; 0: it has none.
    pub client: u64,
}

/// A data command to run.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What it is.
    pub spec: &'static Spec,
    /// Its name and arguments.
    pub args: &'a [&'a [u8]],
    /// What is known of it ahead.
    pub known: Known<'a>,
    /// The number of the client whose it is; 0: of none.
    pub client: u64,
}

/// What became of an attempt to run a command here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// It ran: the reply is written.
    Done,
    /// It runs on that member.
    There(MemberId),
    /// It needs several members, or a slot that is not served at the moment.
    Later,
}

/// Why another member gave no answer.
#[derive(Debug, thiserror::Error)]
enum ForwardError {
    #[error("member {0:x} is not in the cluster's table")]
    Unknown(MemberId),
    #[error("{0}")]
    Peer(peer::Error),
}

impl ForwardError {
    /// What kind of error it is, in a word.
    fn word(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_member",
            Self::Peer(peer::Error::Busy { .. }) => "busy",
            Self::Peer(peer::Error::Unreachable { .. }) => "unreachable",
            Self::Peer(peer::Error::Deadline { .. }) => "timeout",
            Self::Peer(peer::Error::TooLarge { .. }) => "too_large",
            Self::Peer(peer::Error::Refused(_)) => "refused",
        }
    }

    /// Whether the command surely did not run there, so that it may be tried again.
    fn never_sent(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Peer(peer::Error::Unreachable { sent, .. }) => !sent,
            // A handler refuses before it runs anything.
            Self::Peer(peer::Error::Busy { .. } | peer::Error::Refused(_)) => true,
            Self::Peer(peer::Error::Deadline { .. } | peer::Error::TooLarge { .. }) => false,
        }
    }
}

impl Router {
    /// Makes a router.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(options))
    }

    /// The keys and values of this member.
    pub fn keyspace(&self) -> &Arc<Keyspace> {
        &self.0.keyspace
    }

    /// The scripts that this member knows.
    pub fn scripts(&self) -> &Arc<Scripts> {
        &self.0.scripts
    }

    /// What of this member's data is on disk.
    pub fn disk(&self) -> &disk::Handle {
        &self.0.disk
    }

    /// How long other members were waited for.
    pub fn times(&self) -> &WaitTimes {
        &self.0.times
    }

    /// What other members are known to know of the table.
    pub fn heard(&self) -> &Heard {
        &self.0.heard
    }

    /// Makes the spans of requests.
    #[inline]
    pub fn traces(&self) -> &Traces {
        &self.0.traces
    }

    /// The cluster's table and its changes.
    pub fn cluster(&self) -> &raft::Handle {
        &self.0.cluster
    }

    /// By when what is asked of other members now has to be answered.
    fn deadline(&self) -> Instant {
        Instant::now() + self.0.request_timeout
    }

    /// The counters of what runs outside the I/O loops.
    fn cell(&self) -> &Cell {
        self.0.stats.shared()
    }

    /// Where this member reaches no majority: whether what comes waits until it does.
    fn waits_for_quorum(&self) -> bool {
        self.0.cluster.quorum_may_return(QUORUM_WAIT)
    }

    /// Runs a command if all it needs is here; else says where it runs.
    #[inline]
    pub fn try_here(
        &self,
        view: &View,
        request: Request<'_>,
        store: StoreNumber,
        now_ms: u64,
        out: &mut Writer<'_>,
    ) -> Tried {
        let Request { spec, args, known, client } = request;
        if is_cut_off(view) {
            if self.waits_for_quorum() {
                return Tried::Later;
            }
            out.error(NO_QUORUM);
            return Tried::Done;
        }
        let place = match known.hashed {
            [hashed] => place_one(view, hashed.slot),
            _ => place(view, spec, args),
        };
        match place {
            Place::Here if spec.is_script() => {
                let Options { keyspace, scripts, .. } = &*self.0;
                let asked = Asked { view, spec, store, args, now_ms, client };
                match scripts.evaluate(keyspace, asked, out) {
                    Evaluated::Done => Tried::Done,
                    Evaluated::NotServing | Evaluated::Unknown => Tried::Later,
                }
            }
            // Step by step, with others in between.
            Place::Here if matches!(spec.run, Run::Walk(_)) => Tried::Later,
            Place::Here => {
                match self.0.keyspace.execute_known(spec, store, args, known, now_ms, out) {
                    Ok(()) => Tried::Done,
                    Err(_) => Tried::Later,
                }
            }
            Place::There(member) => Tried::There(member),
            Place::CrossSlot => {
                out.error(CROSS_SLOT);
                Tried::Done
            }
            Place::Scattered | Place::Unowned(_) => Tried::Later,
        }
    }

    /// As [`Self::run`], for a client whose commands are no use of their keys, as far as these are
    /// on this member.
    pub async fn run_untouched(
        &self,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let lease = self.lease();
        let view = self.0.cluster.view();
        let here = !is_cut_off(&view) && place(&*view, spec, args) == Place::Here;
        if here {
            let start = out.len();
            let Caller { store, protocol, .. } = caller;
            let traced = self.begun();
            let writer = &mut Writer::new(out, protocol);
            if self.0.keyspace.execute_untouched(spec, store, args, now_ms(), writer).is_ok() {
                let span = self.executed(traced, spec, store, &out[start..]);
                trace::within(span.as_ref(), self.settle(lease, protocol, start, out)).await;
                return;
            }
            out.truncate(start);
        }
        self.run(spec, caller, args, out).await;
    }

    /// Runs a data command, wherever its slots are, and appends its reply to `out`. Always
    /// appends one, within the request's deadline.
    pub async fn run(
        &self,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        self.run_until(self.deadline(), spec, caller, args, out).await;
    }

    async fn run_until(
        &self,
        deadline: Instant,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let Caller { store, protocol, order, client } = caller;
        let mut attempts = self.attempts_until(deadline);
        let replicas_by = deadline.min(Instant::now() + REPLICAS_WAIT);
        loop {
            if spec.may_write() {
                self.room().await;
            }
            let lease = self.lease();
            let view = self.0.cluster.view();
            let (start, traced) = (out.len(), self.begun());
            let waits_for = match self.try_here(
                &view,
                Request { spec, args, known: Known::default(), client },
                store,
                now_ms(),
                &mut Writer::new(out, protocol),
            ) {
                // Owners that were away may be in sync again soon.
                Tried::Done if lacks_replicas(&out[start..]) && Instant::now() < replicas_by => {
                    out.truncate(start);
                    "too few replicas are in sync".into()
                }
                Tried::Done => {
                    let span = self.executed(traced, spec, store, &out[start..]);
                    let settled = self.settle(lease, protocol, start, out);
                    return trace::within(span.as_ref(), settled).await;
                }
                Tried::There(member) => {
                    let mut request = Vec::new();
                    wire::put_command(&mut request, store, protocol, args);
                    match self.forward(&view, member, order, request.into(), 1, deadline).await {
                        Ok(answers) => match wire::answer_at(&answers, 0) {
                            Ok((Status::Done, reply, _)) => {
                                let slot = || spec.first_key(args).map(slot_of);
                                self.heard().note(&view, member, slot);
                                out.extend_from_slice(reply);
                                return;
                            }
                            Ok((Status::NotServing, reply, _)) if lacks_replicas(reply) => {
                                if Instant::now() >= replicas_by {
                                    out.extend_from_slice(reply);
                                    return;
                                }
                                "too few replicas are in sync".into()
                            }
                            Ok((Status::NotServing, ..)) => {
                                "its slot is moving or its member starts".into()
                            }
                            Ok((Status::UnknownScript, ..)) => {
                                let Some(script) = self.named_script(order, args).await else {
                                    Writer::new(out, protocol).error(NO_SCRIPT);
                                    return;
                                };
                                // The slot's member learns it, and runs it, from its text.
                                let (spec, args) = scripts::with_text(spec, args, &script);
                                let run = self.run_until(deadline, spec, caller, &args, out);
                                Box::pin(run).await;
                                return;
                            }
                            Err(malformed) => {
                                self.cell().add(Count::ForwardErrors, 1);
                                Writer::new(out, protocol).error(&format!("ERR {malformed}"));
                                return;
                            }
                        },
                        // Nothing was done there, or nothing that counts. Waiting helps when it comes back at once,
                        // or, where it is known to be away, somebody takes over from it soon.
                        Err(error)
                            if (error.never_sent() || spec.flags.contains(Flags::READONLY))
                                && (view.liveness(member) != Liveness::Down
                                    || has_heir(&view, spec, args)
                                        && Instant::now() < replicas_by) =>
                        {
                            error.to_string()
                        }
                        Err(error) => {
                            Writer::new(out, protocol).error(&lost(spec, &error));
                            return;
                        }
                    }
                }
                Tried::Later => {
                    out.truncate(start);
                    match (place(&*view, spec, args), spec.run) {
                        _ if is_cut_off(&view) => NO_MAJORITY.into(),
                        (Place::Here, Run::Walk(_)) if self.0.disk.is_loading() => {
                            return Writer::new(out, protocol).error(LOADING);
                        }
                        (Place::Here, Run::Walk(run)) => {
                            return self
                                .walk(Instant::now() + WALK_TIMEOUT, run, caller, args, out)
                                .await;
                        }
                        (Place::Scattered, _) => {
                            Box::pin(self.scatter(deadline, &view, spec, caller, args, out)).await;
                            return;
                        }
                        (Place::Here, Run::Script(_)) if self.lacks_script(spec, args) => {
                            if self.named_script(order, args).await.is_none() {
                                Writer::new(out, protocol).error(NO_SCRIPT);
                                return;
                            }
                            continue;
                        }
                        (Place::Here, _) if self.0.disk.is_loading() => {
                            return Writer::new(out, protocol).error(LOADING);
                        }
                        _ => "its slot is not served at the moment".into(),
                    }
                }
            };
            if let Err(text) = attempts.pause(&waits_for).await {
                return Writer::new(out, protocol).error(&text);
            }
        }
    }

    /// Sends a batch of `count` commands to a member.
    async fn forward(
        &self,
        view: &View,
        member: MemberId,
        order: u64,
        request: Bytes,
        count: u64,
        deadline: Instant,
    ) -> Result<Bytes, ForwardError> {
        match self.0.traces.current() {
            None => self.send(view, member, order, request, count, deadline).await,
            Some(parent) => {
                let span = self.forwards(&parent, view, member);
                let with = traced::with_parent(&request, &span);
                let is_with = with.is_some();
                let request = with.unwrap_or(request);
                let sent = self.send(view, member, order, request, count, deadline).await;
                trace::end(&span, sent.as_ref().err().map(ForwardError::word));
                // Malformed answers are the caller's to find.
                sent.map(|answers| match is_with {
                    true => traced::without_first(&answers).unwrap_or(answers),
                    false => answers,
                })
            }
        }
    }

    /// Begins the span of what another member is asked for, below that of its request.
    pub fn forwards(&self, parent: &Context, view: &View, member: MemberId) -> Context {
        let name =
            view.member(member).map(|to| KeyValue::new("hypercache.member", to.name.clone()));
        let attributes = name.into_iter().collect();
        self.0.traces.begin(parent, "forward", SpanKind::Client, attributes)
    }

    /// Whose part what runs now is, if it is of a request that has spans, and when it began.
    #[inline]
    fn begun(&self) -> Option<(Context, SystemTime)> {
        self.0.traces.current().map(|parent| (parent, SystemTime::now()))
    }

    /// Tells of what has run here, if it is of a request that has spans: the span of that.
    fn executed(
        &self,
        begun: Option<(Context, SystemTime)>,
        spec: &Spec,
        store: StoreNumber,
        reply: &[u8],
    ) -> Option<Context> {
        let (parent, began) = begun?;
        Some(self.0.traces.executed(&parent, began, trace::of_command(spec, store), reply))
    }

    async fn send(
        &self,
        view: &View,
        member: MemberId,
        order: u64,
        request: Bytes,
        count: u64,
        deadline: Instant,
    ) -> Result<Bytes, ForwardError> {
        let cell = self.cell();
        cell.add(Count::ForwardedRequests, count);
        let to = view.member(member).ok_or(ForwardError::Unknown(member))?;
        let began = Instant::now();
        let answered = match self.0.peers.send(to, peer::Kind::Forward, order, request) {
            Ok(pending) => pending.until(deadline).await,
            Err(error) => Err(error),
        };
        self.0.times.forwarded.note(micros(began));
        answered.map_err(|source| {
            cell.add(Count::ForwardErrors, count);
            ForwardError::Peer(source)
        })
    }

    /// Runs one command of a store and gives its reply as a value, for HTTP.
    pub async fn call(&self, store: StoreNumber, args: Vec<Bytes>) -> Reply {
        let args: wire::Args<'_> = args.iter().map(|a| &a[..]).collect();
        let spec = match command::lookup(&args) {
            Ok(spec) if matches!(spec.run, Run::Shell(_)) => {
                return Reply::Error("ERR this command needs a connection of its own".into());
            }
            Ok(spec) => spec,
            Err(text) => return Reply::Error(text),
        };
        self.cell().call(spec);
        let (mut out, began) = (Vec::new(), ticks::now());
        let caller = Caller { store, protocol: Protocol::Resp3, order: 0, client: 0 };
        let span = self.0.traces.current();
        if let Some(span) = &span {
            span.span().set_attributes(trace::of_command(spec, store));
        }
        self.run(spec, caller, &args, &mut out).await;
        let took = ticks::now().saturating_sub(began);
        let (keyspace, stats) = (&self.0.keyspace, &self.0.stats);
        let of = |store| keyspace.store_asked(store, || spec.first_key(&args));
        let store = stats.keeps_request_metrics().then(|| of(store));
        if let Some(store) = store {
            self.cell().served(spec, store, took);
            if let Some(trace) = self.0.traces.exemplar(span.as_ref()) {
                self.cell().remember(spec, store, took, trace);
            }
        }
        if out.first() == Some(&b'-') {
            let fault = stats.errors.add_quietly(&out);
            if let Some(store) = store {
                self.cell().erred(spec, store, fault);
            }
        }
        match Reply::parse(&out) {
            Ok(Some((reply, _))) => reply,
            Ok(None) => Reply::Error("ERR the reply is cut short".into()),
            Err(error) => Reply::Error(format!("ERR {error}")),
        }
    }
}

/// Whether this member may answer nothing, because it reaches no majority of the voters.
#[inline]
fn is_cut_off(view: &View) -> bool {
    !view.quorum && !view.is_outside()
}

/// Whether another member that is not away owns the slot of a command's keys as well.
fn has_heir(view: &View, spec: &Spec, args: &[&[u8]]) -> bool {
    let slot = spec.first_key(args).map(slot_of);
    let owners = slot.map_or(&[][..], |slot| view.state.assignment.owners(slot));
    owners.iter().skip(1).any(|owner| view.liveness(*owner) != Liveness::Down)
}

/// Whether a reply refuses a write because too few owners of its slot are in sync: nothing was done.
#[inline]
pub fn lacks_replicas(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-') && reply.starts_with(b"-NOREPLICAS")
}

/// The error for a command whose member did not answer: it says whether it may have run.
fn lost(spec: &Spec, error: &ForwardError) -> String {
    // No `CLUSTERDOWN` where it may have: clients of clusters take that for "not done", and ask again.
    if spec.may_write() && !error.never_sent() {
        format!("UNKNOWN The slot's member did not answer: {error}; the write may have been done")
    } else {
        format!("CLUSTERDOWN The slot's member did not answer: {error}")
    }
}
