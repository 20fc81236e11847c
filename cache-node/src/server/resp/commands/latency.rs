//! LATENCY and its subcommands.

use std::fmt::Write as _;

use hypercache_core::resp::Writer;

use super::Context;
use crate::clock::now_ms;
use crate::server::stats::latency::{History, Sample};
use crate::server::stats::{Account, highest, ticks};

/// Columns of a graph, and what it is drawn with: rows of three levels each.
const COLUMNS: usize = 80;
const ROWS: usize = 4;
const LEVELS: [char; 3] = ['_', 'o', '#'];

pub(super) fn latest(context: &Context<'_>, out: &mut Writer<'_>) {
    let events = context.shared.stats.watch.latency.all();
    out.array(events.len());
    for (event, history) in events {
        let last = history.samples.last().copied().unwrap_or(Sample { at_seconds: 0, took_ms: 0 });
        out.array(6);
        out.bulk(event.as_bytes());
        for number in
            [last.at_seconds, last.took_ms, history.most_ms, history.sum_ms, history.count]
        {
            out.integer(number as i64);
        }
    }
}

fn of(context: &Context<'_>, event: &[u8]) -> Option<History> {
    let event = std::str::from_utf8(event).ok()?;
    context.shared.stats.watch.latency.history(event)
}

pub(super) fn history(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let samples = of(context, args[2]).unwrap_or_default().samples;
    out.array(samples.len());
    for Sample { at_seconds, took_ms } in samples {
        out.array(2);
        out.integer(at_seconds as i64);
        out.integer(took_ms as i64);
    }
}

pub(super) fn reset(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let named = &args[2..];
    let forgets = |event: &str| {
        named.is_empty() || named.iter().any(|n| n.eq_ignore_ascii_case(event.as_bytes()))
    };
    out.integer(context.shared.stats.watch.latency.reset(forgets) as i64);
}

pub(super) fn graph(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match of(context, args[2]) {
        Some(history) => {
            let event = String::from_utf8_lossy(args[2]);
            out.verbatim("txt", draw(&event, &history, now_ms() / 1000).as_bytes());
        }
        None => {
            let event = String::from_utf8_lossy(args[2]).replace(['\r', '\n'], " ");
            out.error(&format!("ERR No samples available for event '{event}'"));
        }
    }
}

/// How long ago, in three characters at the most.
fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A column for each of the newest samples, and under it, downwards, how long ago it was.
fn draw(event: &str, history: &History, now_seconds: u64) -> String {
    let from = history.samples.len().saturating_sub(COLUMNS);
    let samples = &history.samples[from..];
    let high = samples.iter().map(|s| s.took_ms).max().unwrap_or(0);
    let low = samples.iter().map(|s| s.took_ms).min().unwrap_or(0);
    let mut text =
        format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", history.most_ms);
    text.extend(std::iter::repeat_n('-', COLUMNS));
    text.push('\n');
    let steps = ROWS * LEVELS.len() - 1;
    let height = |sample: &Sample| match high - low {
        0 => 0,
        range => ((sample.took_ms - low) as f64 / range as f64 * steps as f64).round() as usize,
    };
    for row in (0..ROWS).rev() {
        for sample in samples {
            let height = height(sample);
            text.push(match (height / LEVELS.len()).cmp(&row) {
                std::cmp::Ordering::Less => ' ',
                std::cmp::Ordering::Equal => LEVELS[height % LEVELS.len()],
                std::cmp::Ordering::Greater => '|',
            });
        }
        text.push('\n');
    }
    text.push('\n');
    let labels: Vec<Vec<char>> = samples
        .iter()
        .map(|s| ago(now_seconds.saturating_sub(s.at_seconds)).chars().collect())
        .collect();
    for line in 0..labels.iter().map(Vec::len).max().unwrap_or(0) {
        text.extend(labels.iter().map(|label| label.get(line).copied().unwrap_or(' ')));
        text.push('\n');
    }
    text
}

pub(super) fn doctor(context: &Context<'_>, out: &mut Writer<'_>) {
    let watch = &context.shared.stats.watch;
    let events = watch.latency.all();
    let mut text = String::new();
    if events.is_empty() && watch.latency_ms() == 0 {
        text.push_str(
            "Latency is not monitored on this member. CONFIG SET latency-monitor-threshold <milliseconds> \
             begins with it.\n",
        );
    } else if events.is_empty() {
        text.push_str("Nothing took longer than latency-monitor-threshold since the last reset.\n");
    } else {
        text.push_str("What took longer than latency-monitor-threshold:\n\n");
        for (event, history) in &events {
            let (average, deviation, period) = summary(history);
            let _ = writeln!(
                text,
                "- {event}: {} times (average {average} ms, mean deviation {deviation} ms, every \
                 {period:.2} s). The longest: {} ms.",
                history.samples.len(),
                history.most_ms
            );
        }
        text.push_str("\nWhat to look at:\n\n");
        let has = |wanted: &str| events.iter().any(|(event, _)| *event == wanted);
        if has("command") || has("fast-command") {
            text.push_str(
                "- SLOWLOG GET shows the commands, if slowlog-log-slower-than is not above the threshold. \
                 KEYS, SORT, set operations and ranges take time in proportion to what they look at.\n",
            );
        }
        if has("fast-command") {
            text.push_str(
                "- Fast commands that took long waited for the processor: look at the load of the node \
                 and at the CPU limit of the pod.\n",
            );
        }
        if has("expire-cycle") {
            text.push_str(
                "- Many keys end at the same time: spread their lifetimes, or make large values smaller.\n",
            );
        }
    }
    out.verbatim("txt", text.as_bytes());
}

/// Average and mean deviation in milliseconds, and the average seconds from one sample to the next.
fn summary(history: &History) -> (u64, u64, f64) {
    let samples = &history.samples;
    let count = samples.len().max(1) as u64;
    let average = samples.iter().map(|s| s.took_ms).sum::<u64>() / count;
    let deviation = samples.iter().map(|s| s.took_ms.abs_diff(average)).sum::<u64>() / count;
    let period = match (samples.first(), samples.last()) {
        (Some(first), Some(last)) if count > 1 => {
            last.at_seconds.saturating_sub(first.at_seconds) as f64 / (count - 1) as f64
        }
        _ => 0.0,
    };
    (average, deviation, period)
}

/// LATENCY HISTOGRAM [command ...]; a container's name stands for its subcommands.
pub(super) fn histogram(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let mut work = context.shared.stats.snapshot().work;
    work.retain(|(_, account)| account.measured() > 0);
    let wanted: Vec<&(&str, Account)> = match &args[2..] {
        [] => work.iter().collect(),
        names => names
            .iter()
            .flat_map(|name| work.iter().filter(|(command, _)| is_named(command, name)))
            .collect(),
    };
    let ns_per_tick = ticks::ns_per_tick();
    out.map(wanted.len());
    for (name, account) in wanted {
        out.bulk(name.as_bytes());
        out.map(2);
        out.bulk(b"calls");
        out.integer(account.calls as i64);
        out.bulk(b"histogram_usec");
        let rows = cumulative(account, ns_per_tick);
        out.map(rows.len());
        for (us, calls) in rows {
            out.integer(us as i64);
            out.integer(calls as i64);
        }
    }
}

fn is_named(command: &str, name: &[u8]) -> bool {
    let (container, _) = command.split_once('|').unwrap_or((command, ""));
    name.eq_ignore_ascii_case(command.as_bytes()) || name.eq_ignore_ascii_case(container.as_bytes())
}

/// How many calls took at most so many microseconds, by doublings; rows that add no call are left
/// out. The steps are those that Redis shows: 1, 2, 4, 8, 16, 33, 66, 132, 264 …
fn cumulative(account: &Account, ns_per_tick: f64) -> Vec<(u64, u64)> {
    let mut rows: Vec<(u64, u64)> = Vec::new();
    let mut sum = 0;
    for (bucket, calls) in account.spread.iter().enumerate().filter(|(_, calls)| **calls > 0) {
        sum += calls;
        let ns = (highest(bucket) as f64 * ns_per_tick) as u64;
        let mut step_ns = 1024u64;
        while step_ns + step_ns / 128 < ns {
            step_ns *= 2;
        }
        let us = (step_ns + step_ns / 128 - 1) / 1000;
        match rows.last_mut() {
            Some((last, calls)) if *last == us => *calls = sum,
            _ => rows.push((us, sum)),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_a_column_for_each_sample() {
        let samples = [20, 50, 10, 80, 30].map(|ms| Sample { at_seconds: 100 + ms, took_ms: ms });
        let history = History { samples: samples.to_vec(), most_ms: 80, count: 5, sum_ms: 190 };
        let drawn = draw("command", &history, 220);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], "command - high 80 ms, low 10 ms (all time high 80 ms)");
        assert_eq!(lines[2..6], ["   # ", " _ | ", " | |_", "#|_||"]);
        assert_eq!(lines[7..], ["11141", "mmm0m", "   s "]);
    }

    #[test]
    fn steps_are_those_of_redis() {
        let mut account = Account { calls: 4, spread: vec![0; 600], ..Account::default() };
        for ns in [900u64, 1500, 30_000, 200_000] {
            account.spread[crate::server::stats::bucket(ns)] += 1;
        }
        assert_eq!(cumulative(&account, 1.0), [(1, 1), (2, 2), (33, 3), (264, 4)]);
    }

    #[test]
    fn a_container_stands_for_its_subcommands() {
        assert!(is_named("client|id", b"client") && is_named("client|id", b"CLIENT|ID"));
        assert!(!is_named("client|id", b"client|list") && is_named("get", b"GET"));
    }
}
