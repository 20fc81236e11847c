//! One client's connection: bytes in, commands in order, replies in order, in few system calls.
//!
//! All commands of one read are run before anything is written, up to a bound; so a pipeline
//! costs one read and one write. What waits for other members is gathered in a [`Batch`]. An idle
//! connection holds no buffers: reads land in a buffer that all connections of a loop share,
//! and only what is not a whole command yet is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use hypercache_core::command::{self, Flags, Known, Run, ShellCommand, Spec};
use hypercache_core::resp::{Parser, ProtocolError, Writer};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::accounting::{Served, account, answered, rejected, took_so_long};
use super::ahead::{Ahead, Upcoming};
use super::audit;
use super::commands;
use super::session::{Replies, Session};
use super::traced::Traced;
use super::{Loop, clients::Client, redirect, transaction};
use crate::clock::now_ms;
use crate::raft::Lease;
use crate::router::{
    Awaited, Batch, CUT_OFF, Came, NO_QUORUM, Request, Tried, lacks_replicas, wire,
};
use crate::server::stats::{Count, ticks, watch};
use crate::telemetry::trace;
use hypercache_core::cluster::View;

/// What one read takes at the most into the shared buffer.
const READ_BYTES: usize = 64 * 1024;
/// Replies, or requests to other members, beyond this are sent before more commands are run.
const FLUSH_BYTES: usize = 1024 * 1024;
/// A command may hold this much at the most while it is not whole (Redis's
/// `client-query-buffer-limit`).
const MAX_INPUT_BYTES: usize = 1024 * 1024 * 1024;
/// Replies to so many commands or more wait for those of other connections.
const BURST_COMMANDS: usize = 32;
/// Buffers above this are given back when they are empty.
const KEEP_BYTES: usize = 64 * 1024;
/// The longest that a client that was told of its error may take to read that.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    /// Where reads of this loop's connections land.
    pub(super) static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    /// Buffers for replies, used by one connection after the other.
    static OUTPUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Why [`Connection::run_commands`] stopped.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing whole is left.
    Read,
    /// Enough is gathered: send, then go on.
    Flush,
    /// The next command has to wait for other members.
    Wait,
    /// The next command has to wait until CLIENT PAUSE is over.
    Pause,
    /// The next command has to wait until the log has room for it.
    Room,
    /// The connection ends after the replies so far.
    Close,
}

/// A connection and its unfinished input.
pub struct Connection {
    pub(super) stream: TcpStream,
    pub(super) shared: Rc<Loop>,
    pub(super) session: Session,
    pub(super) parser: Parser,
    /// Input that is not run yet.
    pub(super) input: Vec<u8>,
    /// The input holds a request that waits for those of other connections to be read.
    gathering: bool,
    batch: Batch,
    /// Replies that wait until what they tell of is on the disk.
    pub(super) awaited: Awaited,
    /// This member's lease, taken before the commands of an input run.
    lease: Lease,
    /// Some of them ran here since.
    ran_here: bool,
    /// And one of these may have written.
    wrote_here: bool,
    /// The next command has to wait until the log has room for it.
    is_full: bool,
    /// When the command before ended, in ticks.
    pub(super) since: u64,
    /// The next command is one that CLIENT PAUSE holds up.
    pausing: bool,
    /// So many commands of a pipeline were run since something was sent.
    unsent: usize,
    /// The spans of the command that is next, if it has some.
    pub(super) traced: Option<Traced>,
}

/// Leaves the list of clients, however the connection's task ends.
struct Leave(Rc<Loop>, Arc<Client>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.clients.leave(self.1.id);
        self.0.cell().add(Count::ConnectionsClosed, 1);
    }
}

impl Drop for Connection {
    /// S7: however the connection ends, what it watches is let go.
    fn drop(&mut self) {
        commands::abandon(&self.shared, &mut self.session);
    }
}

impl Connection {
    /// Serves a client until it leaves, fails, or is ended.
    pub async fn serve(stream: TcpStream, shared: Rc<Loop>, client: Arc<Client>) {
        let _leave = Leave(shared.clone(), client.clone());
        let authenticated = client.authenticated.load(Relaxed);
        let (lease, redirects) = (shared.router.lease(), shared.redirects(&client));
        let mut connection = Self {
            stream,
            shared,
            session: Session::new(client, redirects, authenticated),
            parser: Parser::new(),
            input: Vec::new(),
            gathering: false,
            batch: Batch::default(),
            awaited: Awaited::default(),
            lease,
            ran_here: false,
            wrote_here: false,
            is_full: false,
            since: 0,
            pausing: false,
            unsent: 0,
            traced: None,
        };
        connection.session.limits.max_bulk_bytes = connection.shared.tunables.read().max_bulk_bytes;
        // A client that went away is no news.
        if let Err(error) = connection.run().await {
            tracing::debug!(
                action = "client-disconnected",
                client = connection.session.client.id,
                %error,
                "connection ended"
            );
        }
    }

    async fn run(&mut self) -> std::io::Result<()> {
        let idle = self.shared.idle_timeout;
        let mut next = Next::Read;
        loop {
            // Taken from the pool only when there is something to answer.
            let mut out = Vec::new();
            if next == Next::Read {
                let is_idle = self.input.is_empty();
                if is_idle && self.shared.closes(self.session.redirects) {
                    return Ok(());
                }
                self.session.client.idle.store(is_idle, Relaxed);
                let ran = match idle {
                    _ if self.session.subscriber.is_some() => self.read_or_hear(&mut out).await?,
                    None => self.read(&mut out).await?,
                    Some(limit) => match tokio::time::timeout(limit, self.read(&mut out)).await {
                        Ok(ran) => ran?,
                        Err(_) => return Ok(()),
                    },
                };
                self.session.client.idle.store(false, Relaxed);
                match ran {
                    Some(after) => next = after,
                    None => return Ok(()),
                }
            } else {
                out = take_output();
                next = self.run_kept(&mut out);
            }
            let wrote_here = std::mem::take(&mut self.wrote_here);
            if std::mem::take(&mut self.ran_here) && !self.shared.router.holds(self.lease) {
                return self.cut_off(wrote_here, out).await;
            }
            if !self.batch.is_empty() {
                let batch = std::mem::take(&mut self.batch);
                let router = self.shared.router.clone();
                let view = router.cluster().view();
                let awaited = std::mem::take(&mut self.awaited);
                let mut filling = batch.send(&router, &view).await;
                let protocol = self.session.protocol;
                router.settle_all(self.lease, awaited, protocol, &mut out, filling.places()).await;
                filling.between(std::mem::take(&mut out));
                let (shared, client) = (self.shared.clone(), self.session.client.clone());
                let came = |came: Came<'_>, args: &[&[u8]], reply: &[u8]| {
                    let Came { spec, store, took, span } = came;
                    let request = Served { spec, store, args, took, span };
                    answered(&shared, &client, request, reply);
                };
                while filling.fill(&mut out, FLUSH_BYTES, came).await {
                    self.send(&mut out).await?;
                }
            }
            if !self.awaited.is_empty() {
                let awaited = std::mem::take(&mut self.awaited);
                let protocol = self.session.protocol;
                let nothing = std::iter::empty();
                let router = self.shared.router.clone();
                router.settle_all(self.lease, awaited, protocol, &mut out, nothing).await;
            }
            if next == Next::Wait {
                let (start, span) = (out.len(), self.traced.take().map(|traced| traced.request));
                trace::within(span.as_ref(), self.wait_for_one(&mut out)).await?;
                if let Some(span) = span {
                    trace::end(&span, trace::error_of(out.get(start..).unwrap_or_default()));
                }
            }
            if next == Next::Close {
                let _ = tokio::time::timeout(FAREWELL, self.send(&mut out)).await;
                give_output(out);
                return Ok(());
            }
            self.send(&mut out).await?;
            give_output(out);
            if next == Next::Room {
                self.shared.router.room().await;
            }
            if next == Next::Pause {
                self.shared.pause.over(&self.session.client).await;
            }
            if self.input.is_empty() && self.input.capacity() > KEEP_BYTES {
                self.input = Vec::new();
            }
        }
    }

    /// Commands ran while this member's lease ended, and nobody knows which of them may be answered. That is
    /// told once, and the connection ends, as replies are known by their order only.
    #[cold]
    async fn cut_off(&mut self, wrote: bool, mut out: Vec<u8>) -> std::io::Result<()> {
        out.clear();
        tracing::info!(
            action = "client-cut-off",
            client = self.session.client.id,
            "the lease ended: connection closed"
        );
        Writer::new(&mut out, self.session.protocol).error(if wrote { CUT_OFF } else { NO_QUORUM });
        let _ = tokio::time::timeout(FAREWELL, self.send(&mut out)).await;
        give_output(out);
        Ok(())
    }

    /// Reads once and runs what has come whole. `None`: the client has left.
    async fn read(&mut self, out: &mut Vec<u8>) -> std::io::Result<Option<Next>> {
        poll_fn(|cx| {
            if self.gathering {
                self.gathering = false;
                self.shared.gathered.prefetch(self.shared.keyspace());
                *out = take_output();
                return Poll::Ready(Ok(Some(self.run_kept(out))));
            }
            // A long value goes straight to where it is kept; all else into the shared buffer.
            let wanted = self.parser.wanted_bytes();
            if wanted > READ_BYTES && !self.input.is_empty() {
                let mut input = std::mem::take(&mut self.input);
                // In proportion to what has come, not to what was declared.
                input.reserve(wanted.min(input.len().max(READ_BYTES)));
                let had = input.len();
                let mut buf = ReadBuf::uninit(input.spare_capacity_mut());
                let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
                let n = buf.filled().len();
                // SAFETY: `ReadBuf` says that the first `n` bytes of the spare capacity are
                // initialised, and they directly follow the `had` bytes that were.
                unsafe { input.set_len(had + n) };
                self.input = input;
                return match polled {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) if n == 0 => Poll::Ready(Ok(None)),
                    Poll::Ready(Ok(())) => {
                        self.received(n);
                        *out = take_output();
                        Poll::Ready(Ok(Some(self.run_kept(out))))
                    }
                };
            }
            INPUT.with_borrow_mut(|shared| {
                let mut buf = ReadBuf::new(shared);
                match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {
                        let bytes = buf.filled();
                        if bytes.is_empty() {
                            return Poll::Ready(Ok(None));
                        }
                        self.received(bytes.len());
                        if self.gathers(bytes) {
                            self.session.client.idle.store(false, Relaxed);
                            self.input.extend_from_slice(bytes);
                            // To the end of the loop's queue, behind all that is readable now.
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        *out = take_output();
                        let next = if self.input.is_empty() {
                            let (used, next) = self.run_commands(bytes, out);
                            self.input.extend_from_slice(&bytes[used..]);
                            next
                        } else {
                            self.input.extend_from_slice(bytes);
                            self.run_kept(out)
                        };
                        self.session.client.input_bytes.store(self.input.len() as u64, Relaxed);
                        Poll::Ready(Ok(Some(next)))
                    }
                }
            })
        })
        .await
    }

    /// Whether what came is one request that is better run when other connections were read too.
    #[inline]
    fn gathers(&mut self, bytes: &[u8]) -> bool {
        self.gathering = self.input.is_empty()
            && self.shared.gathered.add(bytes, &self.session.limits, self.shared.keyspace());
        self.gathering
    }

    /// As [`Self::read`], for a subscriber: published messages are as good. It may be idle for
    /// as long as it likes.
    async fn read_or_hear(&mut self, out: &mut Vec<u8>) -> std::io::Result<Option<Next>> {
        let Some(subscriber) = &self.session.subscriber else { return self.read(out).await };
        let outbox = subscriber.outbox().clone();
        match outbox.or_messages(self.read(out)).await {
            Ok(ran) => ran,
            Err(messages) => {
                *out = messages;
                Ok(Some(Next::Read))
            }
        }
    }

    pub(super) fn received(&self, bytes: usize) {
        self.shared.cell().add(Count::NetInputBytes, bytes as u64);
        self.session.client.net_bytes[0].fetch_add(bytes as u64, Relaxed);
    }

    /// Runs what is whole of the kept input.
    fn run_kept(&mut self, out: &mut Vec<u8>) -> Next {
        let input = std::mem::take(&mut self.input);
        let (used, next) = self.run_commands(&input, out);
        self.input = input;
        self.input.drain(..used);
        next
    }

    /// Runs the commands that are whole in `input`; gives how many bytes they took and what is next.
    fn run_commands(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Next) {
        let now_ms = now_ms();
        self.session.client.last_ms.store(now_ms, Relaxed);
        self.lease = self.shared.router.lease();
        let view = self.shared.router.cluster().view();
        self.since = ticks::now();
        let mut at = 0;
        loop {
            if out.len() >= FLUSH_BYTES || self.batch.bytes() >= FLUSH_BYTES {
                return (at, Next::Flush);
            }
            let rest = &input[at..];
            if rest.is_empty() {
                return (at, Next::Read);
            }
            if self.parser.is_fresh() {
                let ahead = Ahead::look(rest, &self.session.limits, self.shared.keyspace());
                if let Some((used, next)) = self.run_ahead(&view, &ahead, now_ms, out) {
                    at += used;
                    match next {
                        Some(next) => return (at, next),
                        None => continue,
                    }
                }
            }
            match self.parser.parse(rest, &self.session.limits) {
                Ok(Some(len)) => {
                    // Out of `self` for as long as its arguments are looked at.
                    let parser = std::mem::take(&mut self.parser);
                    let args = parser.args(rest);
                    let spec = command::lookup_quiet(&args);
                    let upcoming =
                        Upcoming { args: &args, spec, known: Known::default(), end: len };
                    let ran = args.is_empty() || self.run_next(&view, upcoming, now_ms, out);
                    drop(args);
                    self.parser = parser;
                    self.parser.reset();
                    if !ran {
                        return (at, self.what_holds());
                    }
                    at += len;
                    if self.session.closing {
                        return (at, Next::Close);
                    }
                }
                Ok(None) if rest.len() > MAX_INPUT_BYTES => {
                    tracing::info!(
                        action = "client-closed",
                        client = self.session.client.id,
                        bytes = rest.len(),
                        "a command is too long: connection closed"
                    );
                    return (input.len(), Next::Close);
                }
                Ok(None) => return (at, Next::Read),
                Err(error) => {
                    self.refuse(&error, out);
                    return (input.len(), Next::Close);
                }
            }
        }
    }

    /// Runs the commands of a look ahead; gives how many bytes they took and what is next, if that is
    /// not to go on. `None` if there are none.
    #[inline]
    fn run_ahead(
        &mut self,
        view: &View,
        ahead: &Ahead<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Option<(usize, Option<Next>)> {
        let (mut used, mut index) = (0, 0);
        while let Some(upcoming) = ahead.get(index) {
            if out.len() >= FLUSH_BYTES || self.batch.bytes() >= FLUSH_BYTES {
                return Some((used, Some(Next::Flush)));
            }
            if !self.run_next(view, upcoming, now_ms, out) {
                return Some((used, Some(self.what_holds())));
            }
            used = upcoming.end;
            index += 1;
            self.unsent += 1;
            if self.session.closing {
                return Some((used, Some(Next::Close)));
            }
        }
        (index > 0).then_some((used, None))
    }

    /// Why a command did not run.
    #[cold]
    fn what_holds(&mut self) -> Next {
        if std::mem::take(&mut self.pausing) {
            Next::Pause
        } else if std::mem::take(&mut self.is_full) {
            Next::Room
        } else {
            Next::Wait
        }
    }

    /// As [`Self::run_one`]; messages go before its reply, and one that is not wanted is taken back.
    #[inline]
    fn run_next(
        &mut self,
        view: &View,
        upcoming: Upcoming<'_, '_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        if let Some(subscriber) = &self.session.subscriber {
            subscriber.outbox().drain(out);
        }
        let start = out.len();
        self.session.notices = false;
        if self.shared.router.traces().takes_next() || self.traced.is_some() {
            self.begin_spans(upcoming.spec);
        }
        // What is told of it belongs to its trace.
        let part = self.traced.as_ref().map(|traced| traced.request.clone().attach());
        let ran = self.run_one(view, upcoming, now_ms, out);
        drop(part);
        if self.session.replies != Replies::Wanted && ran {
            self.session.mute(start, out);
        }
        // Reads are answered whatever becomes of the disk; where others have the slot as well they may
        // have to wait for those.
        let keyspace = self.shared.keyspace();
        let waits = ran
            && (keyspace.journal().is_on() && upcoming.spec.is_some_and(Spec::may_write)
                || keyspace.feed().is_on())
            && self.awaited.note(start, out.len());
        if self.traced.is_some() && ran {
            self.end_spans(upcoming.spec, waits, out.get(start..).unwrap_or_default());
        }
        ran
    }

    /// Runs one command, or takes note of it for another member. `false`: it has to wait, alone.
    #[inline]
    fn run_one(
        &mut self,
        view: &View,
        upcoming: Upcoming<'_, '_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        let mut writer = Writer::new(out, self.session.protocol);
        let Upcoming { args, known, .. } = upcoming;
        let spec = match self.allowed(upcoming.spec, args) {
            Ok(spec) => spec,
            Err(text) => {
                self.session.transaction.fail();
                if is_http(args[0]) {
                    tracing::warn!(
                        action = "client-closed",
                        source = %self.session.client.addr,
                        "an HTTP request on the RESP port: connection closed"
                    );
                    self.session.closing = true;
                } else {
                    let text = commands::refused(&self.shared, &mut self.session, args, text);
                    writer.error(&text);
                }
                rejected(&self.shared, command::find(args), &out[start..]);
                return true;
            }
        };
        let pause = &self.shared.pause;
        if pause.is_on() && pause.holds(spec, args, &self.session.transaction) {
            self.pausing = true;
            return false;
        }
        let keyspace = self.shared.keyspace();
        let is_full = keyspace.journal().is_on() && !keyspace.journal().has_room()
            || !keyspace.feed().has_room();
        if is_full && spec.may_write() {
            self.is_full = true;
            return false;
        }
        self.session.client.runs(spec);
        if spec.may_write() && keyspace.feed().is_on() {
            self.session.writes(keyspace, spec, args, known);
        }
        if self.session.redirects
            && let heard = self.shared.router.heard()
            && let Some(text) = redirect::moved(view, heard, &self.session, spec, args, known)
        {
            self.session.transaction.fail();
            writer.error(&text);
            rejected(&self.shared, Some(spec), &out[start..]);
            return true;
        }
        if self.session.transaction.is_open() && !transaction::runs_inside(spec) {
            let Session { transaction, client, .. } = &mut self.session;
            match transaction.queue(client, spec, args) {
                Ok(()) => writer.simple("QUEUED"),
                Err(text) => {
                    writer.error(&text);
                    rejected(&self.shared, Some(spec), &out[start..]);
                }
            }
            return true;
        }
        if let Run::Shell(shell) = spec.run {
            if commands::waits(shell, args) {
                return false;
            }
            commands::run(&self.shared, &mut self.session, view, spec, shell, args, out);
            self.session.settle(start, out);
        } else if spec.flags.contains(Flags::BLOCKING) {
            return false;
        } else {
            if self.session.no_touch {
                return false;
            }
            let request = Request { spec, args, known, client: self.session.client.id };
            if let Some(max_stale_ms) = self.session.max_stale_ms
                && self.try_copy(view, request, now_ms, max_stale_ms, out)
            {
                self.ran(spec, args, Some(&out[start..]));
                return true;
            }
            let mut writer = Writer::new(out, self.session.protocol);
            match self.shared.router.try_here(
                view,
                request,
                self.session.store,
                now_ms,
                &mut writer,
            ) {
                Tried::Done if lacks_replicas(&out[start..]) => {
                    out.truncate(start);
                    return false;
                }
                Tried::Done => {
                    self.ran_here |= view.quorum;
                    if let Some(traced) = &mut self.traced {
                        traced.executed = true;
                    }
                    self.wrote_here |= spec.may_write();
                }
                Tried::There(_) if self.session.replies != Replies::Wanted => {
                    out.truncate(start);
                    return false;
                }
                Tried::There(member) => {
                    out.truncate(start);
                    // What it answers is not known yet.
                    self.ran(spec, args, None);
                    let spans = self.forward_spans(view, member);
                    self.batch.push((member, start), spec, self.session.caller(), args, spans);
                    return true;
                }
                Tried::Later => {
                    out.truncate(start);
                    return false;
                }
            }
        }
        self.ran(spec, args, Some(&out[start..]));
        true
    }

    /// Runs a read on this member's copy of another's slot, if that is young enough.
    #[cold]
    fn try_copy(
        &self,
        view: &View,
        request: Request<'_>,
        now_ms: u64,
        max_stale_ms: u64,
        out: &mut Vec<u8>,
    ) -> bool {
        let (fresh, store) = (self.shared.replicas.fresh(), self.session.store);
        let writer = &mut Writer::new(out, self.session.protocol);
        let times = (now_ms, max_stale_ms);
        self.shared.router.try_copy(view, fresh, request, store, times, writer)
    }

    /// Accounts for a command that ends now, and began when the one before it ended.
    #[inline]
    fn ran(&mut self, spec: &'static Spec, args: &[&[u8]], reply: Option<&[u8]>) {
        let now = ticks::now();
        let took = now.saturating_sub(self.since);
        self.since = now;
        took_so_long(&self.shared, &self.session.client, spec, args, took);
        if let Some(reply) = reply {
            let span = self.traced.as_ref().map(|traced| &traced.request);
            let request = Served { spec, store: self.session.store, args, took, span };
            answered(&self.shared, &self.session.client, request, reply);
        }
    }

    /// The command that the arguments name, if there is one that this client may run.
    #[inline]
    fn allowed(
        &self,
        known: Option<&'static Spec>,
        args: &[&[u8]],
    ) -> Result<&'static Spec, String> {
        let spec = match known {
            Some(spec) => spec,
            None => command::lookup(args)?,
        };
        if !self.session.authenticated && !spec.flags.contains(Flags::NO_AUTH) {
            return Err("NOAUTH Authentication required.".into());
        }
        if self.session.only_subscribes() {
            commands::allowed_while_subscribed(spec)?;
        }
        Ok(spec)
    }

    /// Runs the first command of the input, which has to wait for other members.
    async fn wait_for_one(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let start = out.len();
        let Ok(Some(len)) = self.parser.parse(&self.input, &self.session.limits) else {
            return Ok(());
        };
        let args: wire::Args<'_> = self.parser.args(&self.input);
        self.since = ticks::now();
        if let Ok(spec) = command::lookup(&args) {
            if let Run::Shell(ShellCommand::WaitAof | ShellCommand::Wait) = spec.run {
                drop(args);
                return self.block(spec, len, out).await;
            } else if let Run::Shell(_) = spec.run {
                let view = self.shared.router.cluster().view();
                commands::run_and_wait(&self.shared, &mut self.session, &view, spec, &args, out)
                    .await;
            } else if spec.flags.contains(Flags::BLOCKING) {
                drop(args);
                return self.block(spec, len, out).await;
            } else if self.session.no_touch
                && spec.name != "touch"
                && matches!(spec.run, Run::Keys(_))
            {
                self.shared.router.run_untouched(spec, self.session.caller(), &args, out).await;
            } else {
                self.shared.router.run(spec, self.session.caller(), &args, out).await;
            }
            audit::note(&self.session.client, spec, &args, &out[start..]);
            self.session.settle(start, out);
            // Those of an EXEC's scripts.
            self.session.client.add_commands(watch::take_inner_calls());
            let now = ticks::now();
            let took = now.saturating_sub(self.since);
            let (span, store) = (self.shared.router.traces().current(), self.session.store);
            let request = Served { spec, store, args: &args, took, span: span.as_ref() };
            account(&self.shared, &self.session.client, request, &out[start..]);
            self.session.mute(start, out);
        }
        drop(args);
        self.parser.reset();
        self.input.drain(..len);
        Ok(())
    }

    /// Tells the client what is wrong with its frame; the connection ends with that.
    fn refuse(&self, error: &ProtocolError, out: &mut Vec<u8>) {
        self.shared.cell().add(Count::ProtocolErrors, 1);
        self.shared.cell().add(Count::ErrorReplies, 1);
        tracing::debug!(
            action = "client-malformed",
            client = self.session.client.id,
            source = %self.session.client.addr,
            %error,
            "malformed frame"
        );
        let start = out.len();
        Writer::new(out, self.session.protocol).error(&format!("ERR {error}"));
        self.shared.stats.errors.add_quietly(&out[start..]);
    }

    pub(super) async fn send(&mut self, out: &mut Vec<u8>) -> std::io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.unsent) >= BURST_COMMANDS {
            behind_the_ready().await;
        }
        match &self.session.subscriber {
            None => self.stream.write_all(out).await?,
            Some(subscriber) => subscriber.outbox().written(self.stream.write_all(out)).await?,
        }
        self.shared.cell().add(Count::NetOutputBytes, out.len() as u64);
        self.session.client.net_bytes[1].fetch_add(out.len() as u64, Relaxed);
        out.clear();
        Ok(())
    }
}

/// Whether a command is a line of an HTTP request: a page could have a browser send commands in a
/// request's body. As Redis does, such a connection is closed before it gets there.
#[cold]
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:")
}

/// Waits until all connections that are ready now had their turn. What they have to send goes out
/// in one burst then: a client that waits is woken once by it, and not by each of them.
async fn behind_the_ready() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        // To the end of the loop's queue.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn take_output() -> Vec<u8> {
    OUTPUT.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn give_output(mut out: Vec<u8>) {
    if out.capacity() <= KEEP_BYTES * 4 {
        out.clear();
        OUTPUT.with_borrow_mut(|pool| {
            if pool.len() < 16 {
                pool.push(out);
            }
        });
    }
}
