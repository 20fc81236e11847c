//! What came of the requests.

use std::time::Instant;

use hdrhistogram::Histogram;
use parking_lot::{Mutex, RwLock};

use super::command::Command;
use super::generator::What;
use super::topology::Topology;
use crate::server::stats::Errors;

/// The longest latency that is told from longer ones: five minutes.
const MOST_US: u64 = 300_000_000;
/// Digits that are kept of a latency.
const DIGITS: u8 = 3;
/// The commands, and all faults together.
pub const ROWS: usize = Command::COUNT + 1;

/// Latencies in microseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Option<Histogram<u64>>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, MOST_US, DIGITS).ok())
    }

    /// Counts one.
    pub fn add(&mut self, nanoseconds: u64) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record((nanoseconds / 1000).max(1));
        }
    }

    /// Counts those of another one.
    pub fn add_all(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Both have the same bounds.
            let _ = histogram.add(other);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(Histogram::reset);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::len)
    }

    /// The latency that so many of a hundred do not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.value_at_percentile(percent))
    }

    /// The longest, in microseconds.
    pub fn most_us(&self) -> u64 {
        self.0.as_ref().map_or(0, Histogram::max)
    }

    /// The mean, in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.0.as_ref().map_or(0.0, Histogram::mean)
    }
}

/// What came of one command.
#[derive(Debug, Clone)]
pub struct Row {
    /// How long answers took; how many there were.
    pub latencies: Latencies,
    /// Answers that were errors. Of faults: that were none.
    pub errors: u64,
    /// Answers that the key is not there.
    pub missing: u64,
    /// Requests that no answer came for.
    pub unanswered: u64,
}

/// The row of a request.
pub fn row_of(what: What) -> usize {
    match what {
        What::Run(command) => command.index(),
        What::Prepare => Command::Set.index(),
        What::Provoke(_) => Command::COUNT,
    }
}

/// What came of the requests of some connections.
#[derive(Debug, Clone)]
pub struct Tally {
    /// By command; faults last.
    pub rows: Vec<Row>,
    /// Latencies since they were last looked at.
    pub recent: Latencies,
    /// How late requests were sent, against when they should have been: what the server does not answer for alone.
    pub late: Latencies,
    /// Requests that were written to a connection.
    pub sent: u64,
    /// Requests that were due and could not be sent in time.
    pub unsent: u64,
    /// Answers that sent the request somewhere else.
    pub redirected: u64,
    /// Connections that were opened again.
    pub reconnected: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let row = Row { latencies: Latencies::new(), errors: 0, missing: 0, unanswered: 0 };
        Self {
            rows: vec![row; ROWS],
            recent: Latencies::new(),
            late: Latencies::new(),
            sent: 0,
            unsent: 0,
            redirected: 0,
            reconnected: 0,
        }
    }
}

impl Tally {
    /// Counts what another one has.
    pub fn add_all(&mut self, other: &Self) {
        for (row, other) in self.rows.iter_mut().zip(&other.rows) {
            row.latencies.add_all(&other.latencies);
            row.errors += other.errors;
            row.missing += other.missing;
            row.unanswered += other.unanswered;
        }
        self.late.add_all(&other.late);
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.redirected += other.redirected;
        self.reconnected += other.reconnected;
    }

    /// Requests that were answered.
    pub fn answered(&self) -> u64 {
        self.rows.iter().map(|row| row.latencies.count()).sum()
    }

    /// Answers that nobody asked to be errors, and requests without an answer.
    pub fn errors(&self) -> u64 {
        let commands = &self.rows[..Command::COUNT];
        commands.iter().map(|row| row.errors + row.unanswered).sum::<u64>()
            + self.faults().unanswered
    }

    /// The row of faults.
    pub fn faults(&self) -> &Row {
        &self.rows[Command::COUNT]
    }
}

/// What all connections share.
#[derive(Debug)]
pub struct Board {
    /// When it began; times count from then.
    pub began: Instant,
    shards: Vec<Mutex<Tally>>,
    /// Errors that nobody asked for, by kind.
    pub errors: Errors,
    /// Errors that were asked for, by kind.
    pub provoked: Errors,
    /// Who has which slot, where clients go there themselves.
    pub topology: Option<RwLock<Topology>>,
}

impl Board {
    /// A board that so many threads write on.
    pub fn new(shards: usize, topology: Option<Topology>) -> Self {
        Self {
            began: Instant::now(),
            shards: (0..shards.max(1)).map(|_| Mutex::default()).collect(),
            errors: Errors::default(),
            provoked: Errors::default(),
            topology: topology.map(RwLock::new),
        }
    }

    /// The time.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Where a connection counts.
    pub fn shard(&self, connection: usize) -> &Mutex<Tally> {
        &self.shards[connection % self.shards.len()]
    }

    /// All together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.shards.iter().for_each(|shard| total.add_all(&shard.lock()));
        total
    }

    /// How many were answered, errors among them, and the latencies since it was last asked.
    pub fn look(&self) -> (u64, u64, u64, Latencies) {
        let (mut answered, mut errors, mut unsent) = (0, 0, 0);
        let mut recent = Latencies::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            answered += shard.answered();
            errors += shard.errors() + shard.faults().latencies.count() - shard.faults().errors;
            unsent += shard.unsent;
            recent.add_all(&shard.recent);
            shard.recent.clear();
        }
        (answered, errors, unsent, recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_keep_three_digits_and_their_maximum() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|ms| latencies.add(ms * 1_000_000));
        assert_eq!(latencies.count(), 1000);
        for (percent, wanted) in [(50.0, 500_000u64), (90.0, 900_000), (99.0, 990_000)] {
            let got = latencies.percentile_us(percent);
            assert!(got.abs_diff(wanted) * 1000 <= wanted, "{percent}: {got}");
        }
        assert!(latencies.most_us().abs_diff(1_000_000) <= 1000);
        latencies.add(u64::MAX);
        assert!(latencies.most_us() >= MOST_US, "what is beyond counts as the longest");
    }

    #[test]
    fn shards_are_counted_together_and_recent_latencies_once() {
        let board = Board::new(2, None);
        for connection in 0..3 {
            let mut tally = board.shard(connection).lock();
            tally.rows[Command::Get.index()].latencies.add(5000);
            tally.rows[Command::Get.index()].errors += 1;
            tally.rows[Command::COUNT].latencies.add(5000);
            tally.recent.add(5000);
            tally.sent += 2;
        }
        let total = board.total();
        assert_eq!((total.sent, total.answered(), total.errors()), (6, 6, 3));
        let (answered, errors, _, recent) = board.look();
        assert_eq!((answered, errors, recent.count()), (6, 6, 3), "faults that were refused count");
        assert_eq!(board.look().3.count(), 0);
    }
}
