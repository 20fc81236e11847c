//! CLIENT PAUSE, and what a connection says of how it wants to be treated.

use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::resp::Writer;

use super::{Context, integer};
use crate::clock::now_ms;
use crate::server::resp::pause::Held;
use crate::server::resp::session::Replies;

pub(super) fn pause(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let held = match &args[3..] {
        [] => Held::All,
        [mode] if mode.eq_ignore_ascii_case(b"ALL") => Held::All,
        [mode] if mode.eq_ignore_ascii_case(b"WRITE") => Held::Writes,
        [_] => return out.error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
        _ => return out.error("ERR syntax error"),
    };
    let Some(timeout_ms) = integer(args[2]) else {
        return out.error("ERR timeout is not an integer or out of range");
    };
    let Ok(timeout_ms) = u64::try_from(timeout_ms) else {
        return out.error("ERR timeout is negative");
    };
    let until_ms = now_ms().saturating_add(timeout_ms);
    if i64::try_from(until_ms).is_err() {
        return out.error("ERR timeout is out of range");
    }
    context.shared.pause.begin(held, until_ms);
    // As in Valkey: nothing is removed either because its lifetime ends meanwhile.
    let paused = context.shared.pause.now();
    context.shared.keyspace().pause_expiry(paused.map_or(0, |paused| paused.until_ms));
    out.simple("OK");
}

pub(super) fn unpause(context: &Context<'_>, out: &mut Writer<'_>) {
    context.shared.pause.end();
    context.shared.keyspace().pause_expiry(0);
    out.simple("OK");
}

fn on_or_off(word: &[u8]) -> Option<bool> {
    if word.eq_ignore_ascii_case(b"ON") {
        Some(true)
    } else {
        word.eq_ignore_ascii_case(b"OFF").then_some(false)
    }
}

pub(super) fn no_evict(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match on_or_off(args[2]) {
        Some(on) => {
            context.session.client.no_evict.store(on, Relaxed);
            out.simple("OK");
        }
        None => out.error("ERR syntax error"),
    }
}

pub(super) fn no_touch(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match on_or_off(args[2]) {
        Some(on) => {
            context.session.set_no_touch(on);
            out.simple("OK");
        }
        None => out.error("ERR syntax error"),
    }
}

/// CLIENT TRACKINGINFO: nobody is told of changed keys yet, as CLIENT TRACKING does not exist.
pub(super) fn tracking_info(out: &mut Writer<'_>) {
    out.map(3);
    out.bulk(b"flags");
    out.set(1);
    out.bulk(b"off");
    out.bulk(b"redirect");
    out.integer(-1);
    out.bulk(b"prefixes");
    out.array(0);
}

pub(super) fn reply(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let word = args[2];
    let session = &mut context.session;
    if word.eq_ignore_ascii_case(b"ON") {
        session.replies = Replies::Wanted;
        out.simple("OK");
    } else if word.eq_ignore_ascii_case(b"OFF") {
        session.replies = Replies::Unwanted;
    } else if word.eq_ignore_ascii_case(b"SKIP") {
        if session.replies != Replies::Unwanted {
            session.replies = Replies::SkipNext;
        }
    } else {
        out.error("ERR syntax error");
    }
}
