//! Counters of the server's work, cheap enough for the hot path.
//!
//! Each I/O loop adds to a cell of its own with relaxed atomics, so that no cache line is shared
//! between cores; a reader sums the cells.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hypercache_core::command::{self, Spec};

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
    calls: Box<[AtomicU64]>,
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
    fn new() -> Self {
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
            calls: command::all()
                .iter()
                .flat_map(with_subcommands)
                .map(|_| AtomicU64::new(0))
                .collect(),
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

    /// Counts one call of a command.
    #[inline]
    pub fn call(&self, spec: &Spec) {
        if let Some(calls) = self.calls.get(usize::from(spec.index)) {
            calls.fetch_add(1, Relaxed);
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
}

impl Stats {
    /// Counters for `loops` I/O loops.
    pub fn new(loops: usize) -> Self {
        Self {
            cells: (0..=loops).map(|_| Cell::new()).collect(),
            base: parking_lot::Mutex::default(),
        }
    }

    /// The cell of loop `index`; any index beyond the loops names the shared one.
    pub fn cell(&self, index: usize) -> &Cell {
        &self.cells[index.min(self.cells.len() - 1)]
    }

    /// The cell of what runs outside the I/O loops (HTTP, peers).
    pub fn shared(&self) -> &Cell {
        self.cell(usize::MAX)
    }

    /// Connections that are open now.
    pub fn connected_clients(&self) -> u64 {
        let sum = |count| self.cells.iter().map(|c| c.counter(count).load(Relaxed)).sum::<u64>();
        // Closed first: a connection that opens between the two reads must not make it negative.
        let closed = sum(Count::ConnectionsClosed);
        sum(Count::ConnectionsReceived).saturating_sub(closed)
    }

    /// The sums since the start of the process.
    pub fn total(&self) -> StatsSnapshot {
        let sum = |count| self.cells.iter().map(|c| c.counter(count).load(Relaxed)).sum::<u64>();
        let names = command::all().iter().flat_map(with_subcommands);
        let mut calls: Vec<_> = names.map(|spec| (spec.name, 0u64)).collect();
        for cell in &self.cells {
            for spec in command::all().iter().flat_map(with_subcommands) {
                let index = usize::from(spec.index);
                if let (Some(total), Some(part)) = (calls.get_mut(index), cell.calls.get(index)) {
                    total.0 = spec.name;
                    total.1 += part.load(Relaxed);
                }
            }
        }
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
            n.1 -= b.1;
        }
        now
    }

    /// Starts the sums of [`Stats::snapshot`] at zero, as `CONFIG RESETSTAT` does. `/metrics` keeps counting.
    pub fn reset(&self) {
        let now = self.total();
        *self.base.lock() = now;
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
}
