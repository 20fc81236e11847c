//! The log up to a sequence: later records go, batches as a whole, and the snapshots that have them.
//! Stores without a log stay as they are.

use std::fs;

use hypercache_core::log::Sequence;
use hypercache_core::log::cut::Cut;
use hypercache_core::log::segment::{self, Header};
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::store::StoreNumber;

use super::Error;
use super::parts::{Part, visit};
use super::repair::Repair;
use super::rewrite::{Draft, aside, keep_whole};
use super::source::{SegmentFile, Source, failed, name_of};
use super::verify::damaged_blocks;
use crate::clock::now_ms;
use crate::disk::layout::sync_parent;

/// Whether all of a snapshot was done up to a sequence.
fn is_before(snapshot: &Snapshot, last: Sequence) -> bool {
    snapshot.sequences().into_iter().all(|sequence| sequence <= last)
}

/// Whether the data as of a sequence can be made from what is there.
///
/// # Errors
/// The first store of which it cannot.
pub fn may(source: &Source, last: Sequence) -> Result<(), Error> {
    let log_from = match source.segments.first().map(SegmentFile::open).transpose()?.flatten() {
        Some((_, Ok(header))) => header.first_sequence,
        _ => 0,
    };
    for (number, row) in source.stores.iter().filter(|(_, row)| row.is_logged) {
        let base = base(source, *number, last)?.unwrap_or(row.since).max(row.since);
        if row.since <= last && base.saturating_add(1) < log_from {
            return Err(Error::Refused(format!(
                "store '{}': what it held after sequence {last} cannot be made any more: the log \
                 begins at {log_from}, and no snapshot before {last} is there",
                row.name
            )));
        }
    }
    Ok(())
}

/// The newest snapshot of a store that has nothing later than a sequence.
fn base(source: &Source, of: StoreNumber, last: Sequence) -> Result<Option<Sequence>, Error> {
    for file in source.snapshots.iter().filter(|file| file.named.is_some_and(|n| n.0 == of)) {
        let Some((on_disk, Ok(snapshot))) = file.open(source.data_set)? else { continue };
        if is_before(&snapshot, last) && damaged_blocks(&on_disk, &snapshot).is_empty() {
            return Ok(Some(snapshot.header.first_sequence));
        }
    }
    Ok(None)
}

/// Takes out what came after a sequence.
pub fn run(source: &Source, last: Sequence, repair: &mut Repair<'_>) -> Result<(), Error> {
    let mut highest = last;
    for file in &source.snapshots {
        let Some((_, Ok(snapshot))) = file.open(source.data_set)? else { continue };
        highest = highest.max(snapshot.last_sequence);
        let row = source.stores.get(&snapshot.header.store);
        if row.is_none_or(|row| !row.is_logged) || is_before(&snapshot, last) {
            continue;
        }
        let to = aside(&file.path, "truncated", last);
        let text = format!("it has what came later: it is named {}", name_of(&to));
        repair.tell(&name_of(&file.path), &text)?;
        if !repair.is_dry {
            let moved = fs::rename(&file.path, &to).and_then(|()| sync_parent(&file.path));
            moved.map_err(failed(&file.path))?;
        }
    }
    let mut gone = 0;
    for file in &source.segments {
        let Some((on_disk, header)) = file.open()? else { continue };
        let (mut later, mut split) = (0, 0);
        visit(
            file,
            &on_disk,
            |_| true,
            |part| {
                let Part::Frame(frame) = part else { return Ok(()) };
                for batch in frame.batches() {
                    let end = batch.last().map_or(0, |record| record.sequence);
                    highest = highest.max(end);
                    if end > last {
                        later += batch.len() as u64;
                        let begin = batch.first().map_or(0, |record| record.sequence);
                        split += u64::from(begin <= last);
                    }
                }
                Ok(())
            },
        )?;
        if later == 0 {
            continue;
        }
        gone += later;
        let also = if split > 0 { ", a batch that began before it among them" } else { "" };
        let text = format!("{later} records after sequence {last} are taken out{also}");
        repair.tell(&name_of(&file.path), &text)?;
        let (false, Ok(header)) = (repair.is_dry, header) else { continue };
        let mut draft = Draft::begin(file, &header)?;
        visit(
            file,
            &on_disk,
            |_| true,
            |part| {
                let Part::Frame(frame) = part else { return Ok(()) };
                match frame.cut(last) {
                    Some(Cut::Whole) => draft.copy(&on_disk, frame.range()),
                    Some(Cut::Nothing) => Ok(()),
                    Some(Cut::Part(part)) => draft.put(part.finish().0),
                    None => {
                        let wrong = std::io::Error::other("a batch in it is not whole");
                        Err(failed(&file.path)(wrong))
                    }
                }
            },
        )?;
        keep_whole(&file.path, "truncated", last)?;
        draft.finish()?;
    }
    if gone == 0 || repair.is_dry {
        return Ok(());
    }
    // What was taken out gives its numbers to nobody.
    let Some(end) = source.segments.last() else { return Ok(()) };
    let number = end.number + 1;
    let seal = segment::Seal { data_set: end.seal.data_set, number };
    let header = Header {
        data_set: seal.data_set,
        number,
        first_sequence: highest + 1,
        created_ms: now_ms(),
    };
    let path = end.path.with_file_name(segment::file_name(number));
    Draft::begin(&SegmentFile { path, number, seal }, &header)?.finish()
}
