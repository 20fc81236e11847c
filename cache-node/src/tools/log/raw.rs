//! `log export --raw`: the history that the log has, as an AOF: batches between MULTI and EXEC.
//!
//! Left out: what redis-server does not know (`SESSION`, cuckoo filters). A record that empties one slot
//! becomes a DEL of the keys that the log wrote there; only of such slots keys are remembered.

use std::collections::{BTreeMap, BTreeSet};

use hypercache_core::cluster::Slot;
use hypercache_core::log::record::{commands, put_command};
use hypercache_core::log::{Record, Sequence};
use hypercache_core::store::StoreNumber;

use super::Error;
use super::export::Sink;
use super::parts::{Part, visit};
use super::sequences::Sequences;
use super::source::{Source, name_of};
use crate::disk::catalog::Row;

/// The keys of the slots that are emptied somewhere in the log.
type Flushed = BTreeMap<(StoreNumber, Slot), BTreeSet<Box<[u8]>>>;
/// The most keys of one DEL.
const MOST_KEYS: usize = 1000;

/// Writes the records up to a sequence; what is damaged.
pub fn write(
    source: &Source,
    stores: &BTreeMap<StoreNumber, Row>,
    last: Sequence,
    sink: &mut Sink<'_>,
) -> Result<Vec<String>, Error> {
    let mut damages = Vec::new();
    let is_wanted = |record: &Record<'_>| match stores.get(&record.store) {
        Some(row) => record.sequence > row.since && record.sequence <= last,
        // Segments that stand alone say no store's name.
        None => stores.is_empty() && record.sequence <= last,
    };
    let mut flushed = Flushed::new();
    each_batch(source, last, &mut |_| {}, |batch| {
        for record in batch.iter().filter(|record| is_wanted(record)) {
            if commands(record.commands).flatten().any(|words| words[..] == [b"FLUSHDB"]) {
                flushed.entry((record.store, record.slot)).or_default();
            }
        }
        Ok(())
    })?;
    let mut told = |damage| damages.push(damage);
    let mut written = Sequences::default();
    each_batch(source, last, &mut told, |batch| {
        // What stands twice is done once.
        let mut is_new = false;
        batch.iter().for_each(|record| is_new |= written.add(record.sequence, 0));
        if !is_new {
            return Ok(());
        }
        let (mut parts, mut count) = (Vec::new(), 0);
        for record in batch.iter().filter(|record| is_wanted(record)) {
            let (bytes, commands) = translated(record, &mut flushed, sink);
            count += commands;
            if commands > 0 {
                parts.push((record.store, bytes));
            }
        }
        let is_several = count > 1;
        if is_several {
            let mut multi = Vec::new();
            put_command(&mut multi, &[b"MULTI"]);
            // Outside of the transaction a database may be selected as well.
            if let Some((store, _)) = parts.first() {
                sink.put(*store, &multi)?;
            }
        }
        for (store, bytes) in &parts {
            sink.put(*store, bytes)?;
        }
        if is_several {
            let mut exec = Vec::new();
            put_command(&mut exec, &[b"EXEC"]);
            sink.write(&exec)?;
        }
        Ok(())
    })?;
    Ok(damages)
}

/// A record's commands as redis-server knows them, and how many.
fn translated(record: &Record<'_>, flushed: &mut Flushed, sink: &mut Sink<'_>) -> (Vec<u8>, usize) {
    let (mut out, mut count) = (Vec::new(), 0);
    let mut keys = flushed.get_mut(&(record.store, record.slot));
    for words in commands(record.commands).flatten() {
        match &words[..] {
            [b"SESSION", _] => {}
            [b"FLUSHDB"] => {
                let gone = keys.as_mut().map(|keys| std::mem::take(*keys)).unwrap_or_default();
                let gone: Vec<&[u8]> = gone.iter().map(|key| &**key).collect();
                for some in gone.chunks(MOST_KEYS) {
                    let words: Vec<&[u8]> =
                        std::iter::once(&b"DEL"[..]).chain(some.iter().copied()).collect();
                    put_command(&mut out, &words);
                    count += 1;
                }
            }
            [name, key, ..] => {
                if name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"CF.")) {
                    sink.leave_out(key);
                    continue;
                }
                if let Some(keys) = &mut keys {
                    if *name == b"DEL" {
                        keys.remove(*key);
                    } else {
                        keys.insert((*key).into());
                    }
                }
                put_command(&mut out, &words);
                count += 1;
            }
            _ => {}
        }
    }
    (out, count)
}

fn each_batch(
    source: &Source,
    last: Sequence,
    damaged: &mut dyn FnMut(String),
    mut each: impl FnMut(&[Record<'_>]) -> Result<(), Error>,
) -> Result<(), Error> {
    for segment in &source.segments {
        let Some((file, _)) = segment.open()? else { continue };
        let name = name_of(&segment.path);
        visit(
            segment,
            &file,
            |header| header.first_sequence <= last,
            |part| match part {
                Part::Frame(frame) => {
                    let batches = frame.batches();
                    let whole = |batch: &&Vec<Record<'_>>| {
                        batch.last().is_some_and(|record| record.sequence <= last)
                    };
                    batches.iter().filter(whole).try_for_each(|batch| each(batch))
                }
                Part::Damaged { range, reason } => {
                    damaged(format!("{name}: bytes {} to {}: {reason}", range.start, range.end));
                    Ok(())
                }
                Part::Torn { .. } => Ok(()),
            },
        )?;
    }
    Ok(())
}
