//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF and WAITAOF.

use std::cell::Cell;
use std::time::Duration;

use hypercache_core::resp::Writer;

use super::replication::Waited;
use super::{Context, integer};
use crate::disk::{Error, Which};
use crate::replica::Written;
use crate::router::Unblock;
use crate::server::resp::Shared;

/// How often WAITAOF looks again while the disk fails.
const LOOK: Duration = Duration::from_millis(100);

fn failed(error: &Error) -> String {
    format!("ERR {error}")
}

/// SAVE: waits until the snapshots are on the disk.
pub(super) async fn save(shared: &Shared, out: &mut Writer<'_>) {
    match shared.router.disk().snapshot(Which::All).await {
        Ok(_) => out.simple("OK"),
        Err(error) => out.error(&failed(&error)),
    }
}

/// BGSAVE \[SCHEDULE\]
pub(super) fn bg_save(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let scheduled = match args {
        [_] => false,
        [_, word] if word.eq_ignore_ascii_case(b"SCHEDULE") => true,
        _ => return out.error("ERR syntax error"),
    };
    let disk = context.shared.router.disk();
    let progress = disk.stats().snapshots;
    if progress.save {
        return out.error("ERR Background save already in progress");
    }
    if progress.rewrite && !scheduled {
        return out.error(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
             order to schedule a BGSAVE whenever possible.",
        );
    }
    match disk.begin_snapshot(Which::All) {
        Ok(true) => out.simple("Background saving started"),
        Ok(false) => out.simple("Background saving scheduled"),
        Err(error) => out.error(&failed(&error)),
    }
}

/// When the last snapshot was complete, in Unix seconds; the member's start before there was one.
pub(in crate::server::resp) fn last_save_s(shared: &Shared) -> u64 {
    let saved_ms = shared.router.disk().last_save_ms();
    (if saved_ms == 0 { shared.started_ms } else { saved_ms }) / 1000
}

/// LASTSAVE
pub(super) fn last_save(context: &Context<'_>, out: &mut Writer<'_>) {
    out.integer(i64::try_from(last_save_s(context.shared)).unwrap_or(i64::MAX));
}

/// BGREWRITEAOF
pub(super) fn bg_rewrite_aof(context: &Context<'_>, out: &mut Writer<'_>) {
    let disk = context.shared.router.disk();
    if disk.stats().snapshots.rewrite {
        return out.error("ERR Background append only file rewriting already in progress");
    }
    match disk.rewrite() {
        Ok(true) => out.simple("Background append only file rewriting started"),
        Ok(false) => out.simple("Background append only file rewriting scheduled"),
        Err(error) => out.error(&failed(&error)),
    }
}

/// Whether any store of this member is logged.
pub(in crate::server::resp) fn is_logged(shared: &Shared) -> bool {
    let policies = shared.keyspace().policies();
    policies.iter().any(|policy| policy.durability.mode.is_logged())
}

/// What WAITAOF asks for: how many disks (this one), and how long.
struct Wanted {
    local: bool,
    replicas: usize,
    /// `None`: for ever.
    timeout: Option<Duration>,
}

fn wanted(shared: &Shared, args: &[&[u8]]) -> Result<Wanted, &'static str> {
    let number = |word: Option<&&[u8]>| word.and_then(|word| integer(word));
    let local = match number(args.get(1)) {
        Some(local @ 0..=1) => local == 1,
        Some(_) => return Err("ERR value is out of range, value must between 0 and 1"),
        None => return Err("ERR value is not an integer or out of range"),
    };
    let replicas = match number(args.get(2)) {
        Some(replicas @ 0..) => usize::try_from(replicas).unwrap_or(usize::MAX),
        Some(_) | None => return Err("ERR value is out of range, must be positive"),
    };
    let timeout = match number(args.get(3)) {
        Some(0) => None,
        Some(ms @ 1..) => Some(Duration::from_millis(ms as u64)),
        Some(_) => return Err("ERR timeout is negative"),
        None => return Err("ERR timeout is not an integer or out of range"),
    };
    if local && !is_kept(shared) {
        return Err("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    }
    Ok(Wanted { local, replicas, timeout })
}

/// How many disks have it: this one, or none; and how many other members'.
fn answer(here: bool, others: usize, out: &mut Writer<'_>) {
    out.array(2);
    out.integer(here.into());
    out.integer(i64::try_from(others).unwrap_or(i64::MAX));
}

/// WAITAOF numlocal numreplicas timeout: waits until what was written here before it is on the disk, and on the
/// disks of so many other members; until it is `unblocked`. Nobody has what may be lost, as for WAIT.
pub(in crate::server::resp) async fn wait_aof(
    shared: &Shared,
    written: &Written,
    args: &[&[u8]],
    unblocked: impl Future<Output = Unblock>,
    out: &mut Writer<'_>,
) -> Waited {
    let Wanted { local, replicas, timeout } = match wanted(shared, args) {
        Ok(wanted) => wanted,
        Err(text) => {
            out.error(text);
            return Waited::TooFew;
        }
    };
    let journal = shared.keyspace().journal();
    let ticket = journal.ticket();
    let is_here = || is_kept(shared) && journal.is_durable(ticket);
    let (written, others) = (written.where_wanted(usize::MAX), Cell::new(0));
    let done = async {
        while local && !is_here() {
            // A disk that failed may heal.
            if journal.until_durable(ticket).await.is_err() {
                tokio::time::sleep(LOOK).await;
            }
        }
        if replicas > 0 && !shared.replicas.is_lost(&written) {
            shared.replicas.until_on_disk(&written, replicas, |have| others.set(have)).await;
        }
    };
    let over = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = done => {}
        () = over => {}
        how = unblocked => {
            if let Some(text) = how.error() {
                out.error(text);
                return Waited::TooFew;
            }
        }
    }
    let is_lost = shared.replicas.is_lost(&written);
    answer(is_here(), if is_lost { 0 } else { others.get() }, out);
    if is_lost { Waited::Lost } else { Waited::TooFew }
}

/// Whether there is a log that something is written to.
fn is_kept(shared: &Shared) -> bool {
    shared.keyspace().journal().is_on() && is_logged(shared)
}

fn is_durable(shared: &Shared) -> bool {
    let journal = shared.keyspace().journal();
    is_kept(shared) && journal.is_durable(journal.ticket())
}

/// WAITAOF inside a transaction, where nobody waits.
pub(super) fn wait_aof_now(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match wanted(context.shared, args) {
        Ok(_) => answer(is_durable(context.shared), 0, out),
        Err(text) => out.error(text),
    }
}
