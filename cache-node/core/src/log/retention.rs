//! Which snapshots and segments are not needed any more.

use super::catalog::{Catalog, Row};
use super::directory::{Directory, Folder, Wrong};
use super::{Sequence, segment, snapshot};
use crate::store::StoreNumber;
use std::collections::BTreeMap;

/// So many snapshots of a store are kept: the newest, and one in case that this is damaged.
pub const KEPT: usize = 2;

/// A segment that is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// All lower sequences are in segments before it.
    pub first_sequence: Sequence,
    /// Its bytes.
    pub bytes: u64,
}

/// Whose snapshots are on the disk: the sequences of each store's, the oldest first.
///
/// # Errors
/// The folder cannot be read.
pub fn snapshots<D: Directory>(
    directory: &D,
) -> Result<BTreeMap<StoreNumber, Vec<Sequence>>, Wrong> {
    let names = directory.names(Folder::Snapshots);
    let names = names.map_err(|error| Wrong::new(Folder::Snapshots, "", error))?;
    let mut there = BTreeMap::<StoreNumber, Vec<Sequence>>::new();
    for (store, sequence) in names.iter().filter_map(|name| snapshot::parse_file_name(name)) {
        there.entry(store).or_default().push(sequence);
    }
    there.values_mut().for_each(|sequences| sequences.sort_unstable());
    Ok(there)
}

/// Whether a file in the log's folder has what was cut out of a segment earlier.
pub fn is_aside(name: &str) -> bool {
    [".torn-", ".damaged-", ".truncated-"].iter().any(|mark| name.contains(mark))
}

/// The numbers of the segments on the disk, in order.
///
/// # Errors
/// The folder cannot be read, or has a file that is none of the log's.
pub fn segments<D: Directory>(directory: &D) -> Result<Vec<u64>, Wrong> {
    let names = directory.names(Folder::Log);
    let names = names.map_err(|error| Wrong::new(Folder::Log, "", error))?;
    let mut numbers = Vec::new();
    for name in names {
        match segment::number_of(&name) {
            Some(number) => numbers.push(number),
            None if is_aside(&name) => {}
            None => {
                let reason = "it is no file of HyperCache's log: move it away";
                return Err(Wrong::new(Folder::Log, name, reason));
            }
        }
    }
    Ok(numbers)
}

/// Which of a store's snapshots, the oldest first, are not needed.
fn void(sequences: &[Sequence], row: Option<&Row>) -> Vec<Sequence> {
    let of_it = |sequence: Sequence| row.is_some_and(|row| sequence >= row.since);
    let newest = sequences.len().saturating_sub(KEPT);
    let all = sequences.iter().enumerate();
    let void = all.filter(|(index, sequence)| *index < newest || !of_it(**sequence));
    void.map(|(_, sequence)| *sequence).collect()
}

/// All records up to this sequence are in snapshots, and in those before them; `None`: the log has
/// nothing that is needed.
fn floor(catalog: &Catalog, there: &BTreeMap<StoreNumber, Vec<Sequence>>) -> Option<Sequence> {
    let needs = |(store, row): (StoreNumber, &Row)| {
        let floor = match there.get(&store) {
            Some(sequences) if sequences.len() >= KEPT => sequences[0],
            _ => row.since,
        };
        (floor < row.in_log_until()).then_some(floor)
    };
    catalog.rows().filter_map(needs).min()
}

/// Removes snapshots that are older than the newest two of their stores or nobody's, and segments that
/// no store needs, also from `segments`: those that are known, in order, of which the last stays. How
/// many segments of these are gone.
///
/// # Errors
/// What could not be removed.
pub fn clean<D: Directory>(
    directory: &D,
    catalog: &Catalog,
    segments: &mut Vec<SegmentInfo>,
) -> Result<usize, Wrong> {
    let remove = |folder: Folder, name: String| {
        directory.remove(folder, &name).map_err(|error| Wrong::new(folder, name, error))
    };
    let mut there = snapshots(directory)?;
    for (store, sequences) in &mut there {
        let void = void(sequences, catalog.get(*store));
        for sequence in &void {
            remove(Folder::Snapshots, snapshot::file_name(*store, *sequence))?;
        }
        sequences.retain(|sequence| !void.contains(sequence));
    }
    let floor = floor(catalog, &there);
    let needed = |next: Sequence| floor.is_some_and(|floor| next > floor + 1);
    let gone = segments.windows(2).take_while(|pair| !needed(pair[1].first_sequence)).count();
    let Some(first) = segments.get(gone).map(|segment| segment.number) else { return Ok(0) };
    // Also those in which nothing could be written: a gap among the rest would look like a loss.
    for number in self::segments(directory)?.into_iter().filter(|number| *number < first) {
        remove(Folder::Log, segment::file_name(number))?;
    }
    segments.drain(..gone);
    Ok(gone)
}
