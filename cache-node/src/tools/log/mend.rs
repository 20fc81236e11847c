//! A snapshot without its damaged blocks, and whether it is needed at all.
//!
//! A slot of which a block is damaged is taken from an older snapshot, with the sequence that it has there,
//! or from the log's beginning. What is written then begins as early as the earliest of these, so that a
//! member keeps the log that it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use hypercache_core::cluster::{SLOTS, Slot};
use hypercache_core::log::Sequence;
use hypercache_core::log::snapshot::{self, Block, Entry, Header, Snapshot};

use super::Error;
use super::rewrite::keep_whole;
use super::source::{SnapshotFile, Source, failed};
use super::verify::damaged_blocks;
use crate::disk::catalog::Row;
use crate::disk::layout::{OnDisk, sync_parent};

/// Where the slots of a mended snapshot are from.
pub struct Mended<'a> {
    file: &'a SnapshotFile,
    header: Header,
    snapshot: &'a Snapshot,
    on_disk: &'a OnDisk,
    /// The slots that are not taken as they are: from which older one, or as empty as of a sequence.
    others: BTreeMap<Slot, From>,
    older: Vec<(OnDisk, Snapshot)>,
}

enum From {
    /// An older snapshot has it whole.
    Older(usize),
    /// The log has it from here on.
    Log(Sequence),
    /// What of it is not damaged, which is more than nothing.
    Rest,
}

impl<'a> Mended<'a> {
    /// Says where the slots that are damaged are taken from.
    pub fn new(
        source: &Source,
        file: &'a SnapshotFile,
        on_disk: &'a OnDisk,
        snapshot: &'a Snapshot,
        damaged: &BTreeSet<Slot>,
    ) -> Result<Self, Error> {
        let mut header = snapshot.header.clone();
        let row = source.stores.get(&header.store);
        let mut older = Vec::new();
        for other in &source.snapshots {
            let is_older = other.named.is_some_and(|(store, sequence)| {
                store == header.store && sequence < header.first_sequence
            });
            let Some(row) = row.filter(|_| is_older) else { continue };
            let Some((on_disk, Ok(found))) = other.open(source.data_set)? else { continue };
            if is_of(&found, row) {
                let bad: BTreeSet<Slot> =
                    damaged_blocks(&on_disk, &found).into_iter().map(|(slot, ..)| slot).collect();
                older.push((on_disk, found, bad));
            }
        }
        let log_from = match source.segments.first().map(|segment| segment.open()).transpose()? {
            Some(Some((_, Ok(header)))) => header.first_sequence,
            Some(Some((_, Err(_)))) => 0,
            _ => Sequence::MAX,
        };
        let since = row.filter(|row| row.is_logged && log_from <= row.since + 1);
        let mut others = BTreeMap::new();
        for slot in damaged {
            let found = older.iter().position(|(.., bad)| !bad.contains(slot));
            let from = match (found, since) {
                (Some(index), _) => From::Older(index),
                (None, Some(row)) => From::Log(row.since),
                (None, None) => From::Rest,
            };
            let first = match from {
                From::Older(index) => older.get(index).map(|(_, of, _)| of.header.first_sequence),
                From::Log(since) => Some(since),
                From::Rest => None,
            };
            header.first_sequence = header.first_sequence.min(first.unwrap_or(Sequence::MAX));
            others.insert(*slot, from);
        }
        let older = older.into_iter().map(|(on_disk, found, _)| (on_disk, found)).collect();
        Ok(Self { file, header, snapshot, on_disk, others, older })
    }

    /// Writes it, and keeps what was there aside.
    pub fn write(&self, is_dry: bool) -> Result<(), Error> {
        if is_dry {
            return Ok(());
        }
        let name = snapshot::file_name(self.header.store, self.header.first_sequence);
        let path = self.file.path.with_file_name(name);
        let draft = path.with_extension("tmp");
        self.write_draft(&draft).map_err(failed(&draft))?;
        keep_whole(&self.file.path, "damaged", 0)?;
        if path != self.file.path && path.exists() {
            keep_whole(&path, "damaged", 0)?;
        }
        let done = fs::rename(&draft, &path).and_then(|()| {
            if path != self.file.path {
                fs::remove_file(&self.file.path)?;
            }
            sync_parent(&path)
        });
        done.map_err(failed(&path))
    }

    fn write_draft(&self, draft: &PathBuf) -> io::Result<()> {
        let mut to = BufWriter::with_capacity(1 << 20, File::create(draft)?);
        let (mut writer, begin) = snapshot::Writer::new(&self.header, true);
        to.write_all(&begin)?;
        let (mut own, older) = (by_slot(self.snapshot), &self.older);
        let mut theirs: Vec<_> = older.iter().map(|(_, of)| by_slot(of)).collect();
        for slot in 0..SLOTS {
            let own_sequence = self.snapshot.header.first_sequence;
            let (on_disk, entries, sequence) = match self.others.get(&slot) {
                Some(From::Older(index)) => {
                    let Some((on_disk, of)) = older.get(*index) else { continue };
                    let entries = theirs.get_mut(*index).and_then(|all| all.remove(&slot));
                    (on_disk, entries, of.header.first_sequence)
                }
                Some(From::Log(since)) => (self.on_disk, None, *since),
                Some(From::Rest) | None => (self.on_disk, own.remove(&slot), own_sequence),
            };
            let sequence = entries.iter().flatten().next().map_or(sequence, |e| e.block.sequence);
            let mut payloads = Vec::new();
            for entry in entries.into_iter().flatten() {
                // Of what is damaged the rest is taken.
                if let Ok(payload) = entry.read(on_disk) {
                    payloads.push((entry.block.keys, payload));
                }
            }
            payloads.retain(|(_, payload)| !payload.is_empty());
            if payloads.is_empty() {
                payloads.push((0, Vec::new()));
            }
            let last = payloads.len() - 1;
            for (index, (keys, payload)) in payloads.into_iter().enumerate() {
                let piece = u32::try_from(index).unwrap_or(u32::MAX);
                let block = Block { slot, piece, is_last: index == last, sequence, keys };
                to.write_all(&writer.block(block, &payload))?;
            }
        }
        to.write_all(&writer.finish(self.snapshot.last_sequence, self.snapshot.ended_ms))?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn by_slot(snapshot: &Snapshot) -> BTreeMap<Slot, Vec<Entry>> {
    let mut slots = BTreeMap::<Slot, Vec<Entry>>::new();
    for entry in &snapshot.entries {
        slots.entry(entry.block.slot).or_default().push(entry.clone());
    }
    slots
}

/// Whether a snapshot is one of a store as it is now.
fn is_of(snapshot: &Snapshot, row: &Row) -> bool {
    snapshot.header.name == row.name && snapshot.header.first_sequence >= row.since
}

/// Whether a newer snapshot of the store has all that this one has, or an older one that is whole, or its
/// beginning, and the log from there on. `whole`: the sequences that the log has without a gap.
pub fn needs_no_other(
    source: &Source,
    file: &SnapshotFile,
    snapshot: Option<&Snapshot>,
    whole: Option<&RangeInclusive<Sequence>>,
) -> Result<bool, Error> {
    let Some((store, sequence)) = file.named else { return Ok(false) };
    let Some(row) = source.stores.get(&store) else { return Ok(true) };
    let newer =
        |other: &&SnapshotFile| other.named.is_some_and(|(of, at)| of == store && at > sequence);
    for other in source.snapshots.iter().filter(newer) {
        if is_whole(source, other, row)? {
            return Ok(true);
        }
    }
    // A log that ends before the snapshot was taken, at whatever place, has not all of it.
    let last = snapshot.map_or(sequence, |snapshot| snapshot.last_sequence.max(sequence));
    let whole = whole.filter(|whole| row.is_logged && *whole.end() >= last);
    let Some(whole_from) = whole.map(|whole| *whole.start()) else { return Ok(false) };
    if whole_from <= row.since.saturating_add(1) {
        return Ok(true);
    }
    for other in &source.snapshots {
        let older = other.named.filter(|(of, at)| *of == store && *at < sequence);
        let reaches = older.is_some_and(|(_, at)| whole_from <= at.saturating_add(1));
        if reaches && is_whole(source, other, row)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_whole(source: &Source, file: &SnapshotFile, row: &Row) -> Result<bool, Error> {
    let Some((on_disk, Ok(snapshot))) = file.open(source.data_set)? else { return Ok(false) };
    Ok(is_of(&snapshot, row) && damaged_blocks(&on_disk, &snapshot).is_empty())
}
