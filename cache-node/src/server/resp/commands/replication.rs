//! ROLE, WAIT and READONLY.

use std::time::Duration;

use hypercache_core::cluster::MemberId;
use hypercache_core::resp::Writer;

use super::{Context, integer};
use crate::replica::{self, Written};
use crate::router::Unblock;
use crate::server::resp::Shared;
use hypercache_core::cluster::View;

/// Who has so many connections' writes is looked for at so many members at most.
fn wanted(args: &[&[u8]]) -> Result<(usize, Option<Duration>), &'static str> {
    let number = |word: Option<&&[u8]>| word.and_then(|word| integer(word));
    let replicas = match number(args.get(1)) {
        Some(replicas @ 0..) => usize::try_from(replicas).unwrap_or(usize::MAX),
        Some(_) => return Err("ERR value is out of range, must be positive"),
        None => return Err("ERR value is not an integer or out of range"),
    };
    match number(args.get(2)) {
        Some(ms @ 0..) => Ok((replicas, replica::timeout(ms as u64))),
        Some(_) => Err("ERR timeout is negative"),
        None => Err("ERR timeout is not an integer or out of range"),
    }
}

/// What WAIT and WAITAOF found of what their connection has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::resp) enum Waited {
    /// So many others have it, as many as were wanted.
    Enough(usize),
    /// Too few have it yet, or it was asked how many have it on disk.
    TooFew,
    /// Some of it may be lost, which was told by a 0.
    Lost,
}

/// WAIT numreplicas timeout: waits until so many other members have what this connection has written. Where a primary died
/// that may have been the only one with some of it, nobody has it.
pub(in crate::server::resp) async fn wait(
    shared: &Shared,
    written: &Written,
    args: &[&[u8]],
    unblocked: impl Future<Output = Unblock>,
    out: &mut Writer<'_>,
) -> Waited {
    let (replicas, timeout) = match wanted(args) {
        Ok(wanted) => wanted,
        Err(text) => {
            out.error(text);
            return Waited::TooFew;
        }
    };
    let written = written.where_wanted(replicas);
    let have = tokio::select! {
        biased;
        have = shared.replicas.confirmed_by(&written, replicas, timeout) => have,
        how = unblocked => {
            if let Some(text) = how.error() {
                out.error(text);
                return Waited::TooFew;
            }
            shared.replicas.now(&written)
        }
    };
    out.integer(i64::try_from(have.unwrap_or(0)).unwrap_or(i64::MAX));
    match have {
        None => Waited::Lost,
        Some(have) if have >= replicas && replicas > 0 => Waited::Enough(have),
        Some(_) => Waited::TooFew,
    }
}

/// WAIT inside a transaction, where nobody waits.
pub(super) fn wait_now(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match wanted(args) {
        Ok((replicas, _)) => {
            let written = context.session.written.where_wanted(replicas);
            let have = context.shared.replicas.now(&written).unwrap_or(0);
            out.integer(i64::try_from(have).unwrap_or(i64::MAX));
        }
        Err(text) => out.error(text),
    }
}

/// A member's host and port.
fn address(view: &View, member: MemberId) -> (String, u16) {
    let member = view.member(member);
    member.map_or_else(|| ("?".into(), 0), |member| (member.host.clone(), member.resp_port))
}

/// ROLE: a member is the primary of some slots and a replica of others; it is told as the former, unless it
/// is the primary of none.
pub(super) fn role(context: &Context<'_>, out: &mut Writer<'_>) {
    let (view, replicas) = (context.view, &context.shared.replicas);
    let is_primary = (0..hypercache_core::cluster::SLOTS).any(|slot| view.is_mine(slot));
    let mut sources = replicas.sources();
    if !is_primary && let Some(source) = sources.pop() {
        let (host, port) = address(view, source.member);
        out.array(5);
        out.bulk(b"slave");
        out.bulk(host.as_bytes());
        out.integer(i64::from(port));
        out.bulk(b"connected");
        return out.integer(i64::try_from(source.bytes).unwrap_or(i64::MAX));
    }
    let links: Vec<_> = replicas.links().into_iter().filter(|link| link.is_online).collect();
    let offset = links.iter().map(|link| link.offset).max().unwrap_or(0);
    out.array(3);
    out.bulk(b"master");
    out.integer(i64::try_from(offset).unwrap_or(i64::MAX));
    out.array(links.len());
    for link in links {
        let (host, port) = address(view, link.member);
        out.array(3);
        out.bulk(host.as_bytes());
        out.bulk(port.to_string().as_bytes());
        out.bulk(link.offset.to_string().as_bytes());
    }
}

/// How old a copy may be if READONLY does not say it, in milliseconds.
const MAX_STALE_MS: u64 = 1000;
/// The oldest that a client may ask for.
const MOST_STALE_MS: i64 = 60_000;

/// READONLY [MAXSTALE milliseconds]: reads are answered from this member's copy of a slot while that is surely no
/// older than so.
pub(super) fn read_only(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let max_stale_ms = match args {
        [_] => MAX_STALE_MS,
        [_, word, ms] if word.eq_ignore_ascii_case(b"MAXSTALE") => match integer(ms) {
            Some(ms @ 1..=MOST_STALE_MS) => ms as u64,
            _ => {
                return out.error(&format!(
                    "ERR MAXSTALE must be a number of milliseconds from 1 to {MOST_STALE_MS}"
                ));
            }
        },
        _ => return out.error("ERR syntax error"),
    };
    context.session.set_max_stale(Some(max_stale_ms));
    out.simple("OK");
}
