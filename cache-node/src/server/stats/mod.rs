//! Counters of the server's work, cheap enough for the hot path.
//!
//! Each I/O loop adds to a cell of its own with relaxed atomics, so that no cache line is shared
//! between cores; a reader sums the cells.

pub mod errors;
pub mod exemplars;
pub mod families;
pub mod latency;
pub mod slowlog;
pub mod ticks;
pub mod watch;
mod work;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use hypercache_core::command::{self, Spec};
use hypercache_core::store::StoreNumber;
use opentelemetry::trace::TraceId;

pub use errors::{Errors, Fault, KINDS};
use families::{Families, Requests, Scale};
pub use watch::{Log, Thresholds, Watch, Whose};
use work::Work;
pub use work::{Account, bucket, highest};

/// The counters of one I/O loop.
#[derive(Debug)]
#[repr(align(128))]
pub struct Cell {
    connections_received: AtomicU64,
    connections_closed: AtomicU64,
    rejected_connections: AtomicU64,
    net_input_bytes: AtomicU64,
    net_output_bytes: AtomicU64,
    protocol_errors: AtomicU64,
    forwarded_requests: AtomicU64,
    forward_errors: AtomicU64,
    error_replies: AtomicU64,
    slow_subscribers_closed: AtomicU64,
    published_dropped: AtomicU64,
    work: Box<[Work]>,
    families: Families,
    /// One thread alone counts commands here.
    alone: bool,
}

/// One count that a loop can add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// A connection was accepted.
    ConnectionsReceived,
    /// A connection ended.
    ConnectionsClosed,
    /// A connection was refused because `max_connections` was reached.
    RejectedConnections,
    /// Bytes read from clients.
    NetInputBytes,
    /// Bytes written to clients.
    NetOutputBytes,
    /// Connections ended for a malformed frame.
    ProtocolErrors,
    /// Commands that were sent to another member.
    ForwardedRequests,
    /// Forwarded commands that got no answer.
    ForwardErrors,
    /// Replies that were errors.
    ErrorReplies,
    /// Subscribers closed because they read too slowly.
    SlowSubscribersClosed,
    /// Published messages that did not reach another member.
    PublishedDropped,
}

impl Cell {
    fn new(alone: bool, scale: Scale) -> Self {
        Self {
            connections_received: AtomicU64::new(0),
            connections_closed: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            net_input_bytes: AtomicU64::new(0),
            net_output_bytes: AtomicU64::new(0),
            protocol_errors: AtomicU64::new(0),
            forwarded_requests: AtomicU64::new(0),
            forward_errors: AtomicU64::new(0),
            error_replies: AtomicU64::new(0),
            slow_subscribers_closed: AtomicU64::new(0),
            published_dropped: AtomicU64::new(0),
            work: command::all()
                .iter()
                .flat_map(with_subcommands)
                .map(|_| Work::default())
                .collect(),
            families: Families::new(scale),
            alone,
        }
    }

    fn counter(&self, count: Count) -> &AtomicU64 {
        match count {
            Count::ConnectionsReceived => &self.connections_received,
            Count::ConnectionsClosed => &self.connections_closed,
            Count::RejectedConnections => &self.rejected_connections,
            Count::NetInputBytes => &self.net_input_bytes,
            Count::NetOutputBytes => &self.net_output_bytes,
            Count::ProtocolErrors => &self.protocol_errors,
            Count::ForwardedRequests => &self.forwarded_requests,
            Count::ForwardErrors => &self.forward_errors,
            Count::ErrorReplies => &self.error_replies,
            Count::SlowSubscribersClosed => &self.slow_subscribers_closed,
            Count::PublishedDropped => &self.published_dropped,
        }
    }

    /// Adds `n` to a count.
    #[inline]
    pub fn add(&self, count: Count, n: u64) {
        self.counter(count).fetch_add(n, Relaxed);
    }

    /// Counts one call of a command whose time nobody took.
    #[inline]
    pub fn call(&self, spec: &Spec) {
        if let Some(work) = self.work.get(usize::from(spec.index)) {
            work.ran(0, false, self.alone);
        }
    }

    /// Counts one call of a command that took so many [`ticks`]; with `spread` among its times as
    /// well. On the cell of a loop, that loop's thread alone may.
    #[inline]
    pub fn ran(&self, spec: &Spec, ticks: u64, spread: bool) {
        if let Some(work) = self.work.get(usize::from(spec.index)) {
            work.ran(ticks, spread, self.alone);
        }
    }

    /// Counts a request to a store that took so many [`ticks`] until its reply stood. On the cell of a loop,
    /// that loop's thread alone may.
    #[inline]
    pub fn served(&self, spec: &Spec, store: StoreNumber, ticks: u64) {
        self.families.served(spec.group, store, ticks, self.alone);
    }

    /// Remembers the trace of such a request.
    #[cold]
    pub fn remember(&self, spec: &Spec, store: StoreNumber, ticks: u64, trace: TraceId) {
        self.families.remember(spec.group, store, ticks, trace);
    }

    /// Counts such a request whose reply was an error.
    #[cold]
    pub fn erred(&self, spec: &Spec, store: StoreNumber, fault: Fault) {
        self.families.failed(spec.group, store, fault);
    }

    /// Counts a command that was refused before it ran.
    #[cold]
    pub fn rejected(&self, spec: &Spec) {
        if let Some(work) = self.work.get(usize::from(spec.index)) {
            work.rejected();
        }
    }

    /// Counts a command whose reply was this error. One that says why nothing was done at all (no
    /// memory, no quorum) counts as refused, not as run.
    #[cold]
    pub fn failed(&self, spec: &Spec, reply: &[u8]) {
        let Some(work) = self.work.get(usize::from(spec.index)) else { return };
        let refused: [&[u8]; 4] = [b"-OOM ", b"-CLUSTERDOWN ", b"-CROSSSLOT ", b"-MOVED "];
        if refused.iter().any(|word| reply.starts_with(word)) {
            work.uncall();
            work.rejected();
        } else {
            work.failed();
        }
    }
}

/// A command and its subcommands.
pub fn with_subcommands(spec: &'static Spec) -> impl Iterator<Item = &'static Spec> {
    std::iter::once(spec).chain(spec.subcommands)
}

/// All counters of a server: one [`Cell`] per I/O loop, and one more for everything else.
#[derive(Debug)]
pub struct Stats {
    cells: Box<[Cell]>,
    base: parking_lot::Mutex<StatsSnapshot>,
    /// Errors by kind, since the start or the last [`Stats::reset`].
    pub errors: Errors,
    /// What took long.
    pub watch: Watch,
    peak_bytes: AtomicU64,
    request_metrics: AtomicBool,
}

impl Stats {
    /// Counters for `loops` I/O loops.
    pub fn new(loops: usize) -> Self {
        ticks::begin();
        let scale = Scale::now();
        Self {
            cells: (0..=loops).map(|index| Cell::new(index < loops, scale)).collect(),
            base: parking_lot::Mutex::default(),
            errors: Errors::default(),
            watch: Watch::default(),
            peak_bytes: AtomicU64::new(0),
            request_metrics: AtomicBool::new(true),
        }
    }

    /// Whether requests are counted by command family and store.
    #[inline]
    pub fn keeps_request_metrics(&self) -> bool {
        self.request_metrics.load(Relaxed)
    }

    /// Counts requests by command family and store from now on, or does so no more.
    pub fn keep_request_metrics(&self, keeps: bool) {
        self.request_metrics.store(keeps, Relaxed);
    }

    /// The most that was allocated at any time that somebody looked; now it is so much.
    pub fn peak_allocated(&self, now_bytes: u64) -> u64 {
        self.peak_bytes.fetch_max(now_bytes, Relaxed).max(now_bytes)
    }

    /// The cell of loop `index`; any index beyond the loops names the shared one.
    pub fn cell(&self, index: usize) -> &Cell {
        &self.cells[index.min(self.cells.len() - 1)]
    }

    /// The cell of what runs outside the I/O loops (HTTP, peers).
    pub fn shared(&self) -> &Cell {
        self.cell(usize::MAX)
    }

    /// Connections that are open now on loop `index`.
    pub fn connected_to(&self, index: usize) -> u64 {
        let cell = self.cell(index);
        let closed = cell.counter(Count::ConnectionsClosed).load(Relaxed);
        cell.counter(Count::ConnectionsReceived).load(Relaxed).saturating_sub(closed)
    }

    /// Connections that are open now.
    pub fn connected_clients(&self) -> u64 {
        let sum = |count| self.cells.iter().map(|c| c.counter(count).load(Relaxed)).sum::<u64>();
        // Closed first: a connection that opens between the two reads must not make it negative.
        let closed = sum(Count::ConnectionsClosed);
        sum(Count::ConnectionsReceived).saturating_sub(closed)
    }

    /// Requests by family and store since the start of the process.
    pub fn requests(&self) -> Vec<Requests> {
        let mut sums = Vec::new();
        self.cells.iter().for_each(|cell| cell.families.add_to(&mut sums));
        sums
    }

    /// The sums since the start of the process.
    pub fn total(&self) -> StatsSnapshot {
        let sum = |count| self.cells.iter().map(|c| c.counter(count).load(Relaxed)).sum::<u64>();
        let mut work: Vec<_> = (0..command::COUNT).map(|_| ("", Account::default())).collect();
        for spec in command::all().iter().flat_map(with_subcommands) {
            let index = usize::from(spec.index);
            let Some((name, account)) = work.get_mut(index) else { continue };
            *name = spec.name;
            self.cells
                .iter()
                .filter_map(|cell| cell.work.get(index))
                .for_each(|w| w.add_to(account));
        }
        let calls: Vec<_> = work.iter().map(|(name, account)| (*name, account.calls)).collect();
        StatsSnapshot {
            connections_received: sum(Count::ConnectionsReceived),
            connected_clients: self.connected_clients(),
            rejected_connections: sum(Count::RejectedConnections),
            commands_processed: calls.iter().map(|(_, n)| n).sum(),
            net_input_bytes: sum(Count::NetInputBytes),
            net_output_bytes: sum(Count::NetOutputBytes),
            protocol_errors: sum(Count::ProtocolErrors),
            forwarded_requests: sum(Count::ForwardedRequests),
            forward_errors: sum(Count::ForwardErrors),
            error_replies: sum(Count::ErrorReplies),
            slow_subscribers_closed: sum(Count::SlowSubscribersClosed),
            published_dropped: sum(Count::PublishedDropped),
            calls_by_command: calls,
            work,
        }
    }

    /// The sums since the start or the last [`Stats::reset`], for INFO.
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut now = self.total();
        let base = self.base.lock();
        now.connections_received -= base.connections_received;
        now.rejected_connections -= base.rejected_connections;
        now.commands_processed -= base.commands_processed;
        now.net_input_bytes -= base.net_input_bytes;
        now.net_output_bytes -= base.net_output_bytes;
        now.protocol_errors -= base.protocol_errors;
        now.forwarded_requests -= base.forwarded_requests;
        now.forward_errors -= base.forward_errors;
        now.error_replies -= base.error_replies;
        now.slow_subscribers_closed -= base.slow_subscribers_closed;
        now.published_dropped -= base.published_dropped;
        for (n, b) in now.calls_by_command.iter_mut().zip(&base.calls_by_command) {
            n.1 = n.1.saturating_sub(b.1);
        }
        for (now, (_, before)) in now.work.iter_mut().zip(&base.work) {
            now.1 = std::mem::take(&mut now.1).since(before);
        }
        now
    }

    /// Starts the sums of [`Stats::snapshot`] at zero, as `CONFIG RESETSTAT` does. `/metrics` keeps counting.
    pub fn reset(&self) {
        let now = self.total();
        *self.base.lock() = now;
        self.errors.reset();
    }
}

/// Sums of the counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Connections accepted.
    pub connections_received: u64,
    /// Connections open now.
    pub connected_clients: u64,
    /// Connections refused at `max_connections`.
    pub rejected_connections: u64,
    /// Commands run, known ones only.
    pub commands_processed: u64,
    /// Bytes read from RESP clients.
    pub net_input_bytes: u64,
    /// Bytes written to RESP clients.
    pub net_output_bytes: u64,
    /// Connections ended for a malformed frame.
    pub protocol_errors: u64,
    /// Commands sent to another member.
    pub forwarded_requests: u64,
    /// Forwarded commands that got no answer.
    pub forward_errors: u64,
    /// Error replies sent to RESP clients.
    pub error_replies: u64,
    /// Subscribers closed because they read too slowly.
    pub slow_subscribers_closed: u64,
    /// Published messages that did not reach another member.
    pub published_dropped: u64,
    /// Calls by full command name (`get`, `client|id`).
    pub calls_by_command: Vec<(&'static str, u64)>,
    /// What they cost, in the same order.
    pub work: Vec<(&'static str, Account)>,
}
