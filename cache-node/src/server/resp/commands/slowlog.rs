//! SLOWLOG and COMMANDLOG, and their subcommands.

use hypercache_core::resp::Writer;

use super::{Context, integer};
use crate::server::stats::Log;

/// What SLOWLOG GET shows unless it is told otherwise.
const SHOWN: usize = 10;

/// How many entries a word asks for; `None` after answering with an error.
fn count_of(word: &[u8], out: &mut Writer<'_>) -> Option<usize> {
    match integer(word) {
        Some(-1) => Some(usize::MAX),
        Some(count @ 0..) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
        _ => {
            out.error("ERR count should be greater than or equal to -1");
            None
        }
    }
}

/// The log that a word names; `None` after answering with an error.
fn log_of(word: &[u8], out: &mut Writer<'_>) -> Option<Log> {
    let logs = [
        ("slow", Log::Slow),
        ("large-request", Log::LargeRequest),
        ("large-reply", Log::LargeReply),
    ];
    let found = logs.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    if found.is_none() {
        out.error("ERR type should be one of the following: slow, large-request, large-reply");
    }
    found.map(|(_, log)| *log)
}

fn show(context: &Context<'_>, log: Log, count: usize, out: &mut Writer<'_>) {
    let entries = context.shared.stats.watch.log(log).newest(count);
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        out.integer(entry.id as i64);
        out.integer(entry.at_seconds as i64);
        out.integer(entry.value as i64);
        out.array(entry.args.len());
        entry.args.iter().for_each(|arg| out.bulk(arg));
        out.bulk(entry.addr.as_bytes());
        out.bulk(&entry.name);
    }
}

pub(super) fn get(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let count = match args {
        [_, _] => Some(SHOWN),
        [_, _, count] => count_of(count, out),
        _ => {
            return out.error(
                "ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.",
            );
        }
    };
    if let Some(count) = count {
        show(context, Log::Slow, count, out);
    }
}

pub(super) fn len(context: &Context<'_>, out: &mut Writer<'_>) {
    out.integer(context.shared.stats.watch.slowlog.len() as i64);
}

pub(super) fn reset(context: &Context<'_>, out: &mut Writer<'_>) {
    context.shared.stats.watch.slowlog.reset();
    out.simple("OK");
}

pub(super) fn command_get(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(count) = count_of(args[2], out)
        && let Some(log) = log_of(args[3], out)
    {
        show(context, log, count, out);
    }
}

pub(super) fn command_len(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(log) = log_of(args[2], out) {
        out.integer(context.shared.stats.watch.log(log).len() as i64);
    }
}

pub(super) fn command_reset(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(log) = log_of(args[2], out) {
        context.shared.stats.watch.log(log).reset();
        out.simple("OK");
    }
}
