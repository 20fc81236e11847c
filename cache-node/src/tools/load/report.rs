//! What is told at the end: for people, or as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::command::Command;
use super::progress::time;
use super::setup::Setup;
use super::tally::{Board, Latencies, Row, Tally};
use crate::tools::table::table;

/// The percentiles that are told, and their names.
const PERCENTILES: [(f64, &str); 6] = [
    (50.0, "p50"),
    (90.0, "p90"),
    (95.0, "p95"),
    (99.0, "p99"),
    (99.9, "p99.9"),
    (99.99, "p99.99"),
];

/// What the row of faults is called.
const FAULTS: &str = "(faults)";

/// What came of a load.
pub struct Report {
    /// How long it was, in seconds.
    pub seconds: f64,
    /// All counts.
    pub tally: Tally,
    /// Errors that nobody asked for, by kind.
    pub errors: Vec<(Box<str>, u64)>,
    /// Errors that were asked for, by kind.
    pub provoked: Vec<(Box<str>, u64)>,
    /// A signal ended it.
    pub interrupted: bool,
}

impl Report {
    /// What stands on the board now.
    pub fn of(board: &Board, interrupted: bool) -> Self {
        Self {
            seconds: board.now_ns() as f64 / 1e9,
            tally: board.total(),
            errors: board.errors.all(),
            provoked: board.provoked.all(),
            interrupted,
        }
    }

    /// Whether every request that was not wrong on purpose was answered without an error, in time.
    pub fn is_well(&self) -> bool {
        self.tally.errors() == 0 && self.tally.unsent == 0
    }

    /// Answers a second.
    fn rate(&self, answered: u64) -> f64 {
        if self.seconds > 0.0 { answered as f64 / self.seconds } else { 0.0 }
    }

    /// The rows that were asked for, with their names.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &Row)> {
        let commands = Command::all();
        let name = move |place: usize| commands.get(place).map_or(FAULTS, |command| command.name());
        let rows = self.tally.rows.iter().enumerate();
        rows.map(move |(place, row)| (name(place), row))
            .filter(|(_, row)| row.latencies.count() + row.unanswered > 0)
    }

    /// All latencies of commands; faults are left out.
    fn latencies(&self) -> Latencies {
        let mut all = Latencies::new();
        let commands = &self.tally.rows[..Command::COUNT];
        commands.iter().for_each(|row| all.add_all(&row.latencies));
        all
    }

    /// For people.
    pub fn text(&self, setup: &Setup) -> String {
        let t = &self.tally;
        let answered = t.answered();
        let mut text = String::new();
        let loop_kind = match setup.rate {
            Some(rate) => format!("open loop of {rate}/s"),
            None => "closed loop".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:.1} s, {} connections, {loop_kind}{}",
            self.seconds,
            setup.connections,
            if self.interrupted { ", interrupted" } else { "" }
        );
        let _ =
            writeln!(text, "{} sent, {answered} answered: {:.0}/s", t.sent, self.rate(answered));
        if setup.rate.is_some() {
            let _ = writeln!(text, "{} not sent, as they were too late", t.unsent);
        }
        if t.redirected + t.reconnected > 0 {
            let _ = writeln!(
                text,
                "{} redirected, {} connections opened again",
                t.redirected, t.reconnected
            );
        }
        let mut rows: Vec<Vec<String>> =
            self.rows().map(|(name, row)| self.cells(name, row)).collect();
        let all = Row {
            latencies: self.latencies(),
            errors: t.errors(),
            missing: t.rows.iter().map(|row| row.missing).sum(),
            unanswered: 0,
        };
        rows.push(self.cells("all but faults", &all));
        let mut head = vec!["COMMAND", "ANSWERS", "PER S", "ERRORS", "MISSING", "MEAN"];
        head.extend(["P50", "P90", "P95", "P99", "P99.9", "P99.99", "MAX"]);
        let _ = write!(text, "\n{}", table(&head, &rows));
        if setup.rate.is_some() && t.late.count() > 0 {
            let _ = writeln!(
                text,
                "\nsent later than intended: p50 {}, p99 {}, at most {}",
                time(t.late.percentile_us(50.0)),
                time(t.late.percentile_us(99.0)),
                time(t.late.most_us())
            );
        }
        let faults = t.faults();
        for (what, kinds) in [("ERRORS", &self.errors), ("REFUSED FAULTS", &self.provoked)] {
            if !kinds.is_empty() {
                let rows: Vec<_> =
                    kinds.iter().map(|(kind, n)| vec![kind.to_string(), n.to_string()]).collect();
                let _ = write!(text, "\n{}", table(&[what, "COUNT"], &rows));
            }
        }
        if faults.errors > 0 {
            let _ = writeln!(text, "{} faults were not refused", faults.errors);
        }
        text
    }

    fn cells(&self, name: &str, row: &Row) -> Vec<String> {
        let answers = row.latencies.count();
        let mut cells = vec![
            name.to_owned(),
            answers.to_string(),
            format!("{:.0}", self.rate(answers)),
            (row.errors + row.unanswered).to_string(),
            row.missing.to_string(),
            time(row.latencies.mean_us().round() as u64),
        ];
        cells.extend(PERCENTILES.map(|(percent, _)| time(row.latencies.percentile_us(percent))));
        cells.push(time(row.latencies.most_us()));
        cells
    }

    /// For programs. Latencies are in microseconds.
    pub fn json(&self, setup: &Setup) -> Value {
        let t = &self.tally;
        let commands: Map<String, Value> = self
            .rows()
            .filter(|(name, _)| *name != FAULTS)
            .map(|(name, row)| {
                let value = json!({
                    "answers": row.latencies.count(),
                    "errors": row.errors,
                    "unanswered": row.unanswered,
                    "missing": row.missing,
                    "latency_us": latency(&row.latencies),
                });
                (name.to_owned(), value)
            })
            .collect();
        let faults = t.faults();
        json!({
            "seconds": self.seconds,
            "interrupted": self.interrupted,
            "loop": if setup.rate.is_some() { "open" } else { "closed" },
            "wanted_per_second": setup.rate,
            "connections": setup.connections,
            "seed": setup.seed,
            "sent": t.sent,
            "answered": t.answered(),
            "per_second": self.rate(t.answered()),
            "errors": t.errors(),
            "errors_by_kind": kinds(&self.errors),
            "not_sent": t.unsent,
            "redirected": t.redirected,
            "reconnected": t.reconnected,
            "latency_us": latency(&self.latencies()),
            "sent_late_us": latency(&t.late),
            "commands": commands,
            "faults": {
                "answers": faults.latencies.count(),
                "unanswered": faults.unanswered,
                "not_refused": faults.errors,
                "by_kind": kinds(&self.provoked),
            },
        })
    }
}

fn latency(latencies: &Latencies) -> Value {
    let mut map = Map::new();
    map.insert("mean".to_owned(), latencies.mean_us().into());
    for (percent, name) in PERCENTILES {
        map.insert(name.to_owned(), latencies.percentile_us(percent).into());
    }
    map.insert("max".to_owned(), latencies.most_us().into());
    map.into()
}

fn kinds(kinds: &[(Box<str>, u64)]) -> Value {
    kinds.iter().map(|(kind, n)| (kind.to_string(), Value::from(*n))).collect::<Map<_, _>>().into()
}
