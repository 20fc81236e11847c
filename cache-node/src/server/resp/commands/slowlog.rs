//! SLOWLOG and its subcommands.

use hypercache_core::resp::Writer;

use super::{Context, integer};

/// What SLOWLOG GET shows unless it is told otherwise.
const SHOWN: usize = 10;

pub(super) fn get(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let count = match args {
        [_, _] => SHOWN,
        [_, _, count] => match integer(count) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return out.error("ERR count should be greater than or equal to -1"),
        },
        _ => {
            return out.error(
                "ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.",
            );
        }
    };
    let entries = context.shared.stats.watch.slowlog.newest(count);
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        out.integer(entry.id as i64);
        out.integer(entry.at_seconds as i64);
        out.integer(entry.took_us as i64);
        out.array(entry.args.len());
        entry.args.iter().for_each(|arg| out.bulk(arg));
        out.bulk(entry.addr.as_bytes());
        out.bulk(&entry.name);
    }
}

pub(super) fn len(context: &Context<'_>, out: &mut Writer<'_>) {
    out.integer(context.shared.stats.watch.slowlog.len() as i64);
}

pub(super) fn reset(context: &Context<'_>, out: &mut Writer<'_>) {
    context.shared.stats.watch.slowlog.reset();
    out.simple("OK");
}
