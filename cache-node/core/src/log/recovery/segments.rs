//! Which frames there are in the log, and what of it is torn, damaged or missing.

use super::{Found, LOST_RECORDS, Plan, Segment, Store};
use crate::log::catalog::Catalog;
use crate::log::directory::{Directory, File, Folder, Wrong};
use crate::log::read_at::{ReadAt, read_up_to};
use crate::log::retention::{SegmentInfo, is_aside};
use crate::log::segment::{self, DataSet, Header, HeaderError, Piece, Scan, Seal};
use crate::log::{FrameHeader, Sequence, frame};

/// What was found in one segment.
struct Segmented {
    /// The lowest sequence that can be in it, if its header could be read.
    first: Option<Sequence>,
    /// How many records its frames have.
    records: u64,
    /// Something of it was told already.
    is_hurt: bool,
}

/// Whether a file whose header is not ours has frames of this segment, or nothing but zeros: blocks that
/// were never written.
pub fn is_ours<F: ReadAt>(file: &F, seal: Seal) -> bool {
    let begin = read_up_to(file, 0, segment::HEADER_BYTES as u64).unwrap_or_default();
    // Of a try to write the header that failed some may be there.
    let some = begin.iter().zip(&segment::MAGIC).take_while(|(byte, of)| byte == of).count();
    let is_unwritten = begin.iter().skip(some).all(|byte| *byte == 0);
    let mut pieces = Scan::new(file, seal);
    let frame = pieces.find(|piece| !matches!(piece, Ok(Piece::Damaged { .. })));
    match frame {
        Some(Ok(Piece::Found { .. } | Piece::Newer { .. })) => true,
        Some(Ok(Piece::Torn { is_blank, .. })) => is_blank && is_unwritten,
        Some(Ok(Piece::Damaged { .. }) | Err(_)) => false,
        None => is_unwritten,
    }
}

/// In the last segment: what comes behind the first damage that may never have been forced to the disk is
/// torn. A crash leaves it in any order, and a change must not be done again without those before it.
fn tear<F: File>(pieces: &mut Vec<Piece>, file: &F) {
    if pieces.iter().any(|piece| matches!(piece, Piece::Newer { .. })) {
        return;
    }
    let follows_sync =
        |piece: &Piece| matches!(piece, Piece::Found { header, .. } if header.follows_sync);
    let forced = pieces.iter().rposition(follows_sync).unwrap_or(0);
    let is_torn = |piece: &Piece| match piece {
        Piece::Found { offset, header } => !is_whole(file, *offset, header),
        _ => true,
    };
    let torn = pieces.iter().skip(forced).position(is_torn).map(|index| forced + index);
    let from = match torn.and_then(|index| pieces.get(index)) {
        Some(Piece::Found { offset, .. }) => *offset,
        Some(Piece::Damaged { range }) => range.start,
        _ => return,
    };
    pieces.truncate(torn.unwrap_or(usize::MAX));
    pieces.push(Piece::Torn { from, is_blank: false });
}

/// Whether a frame's payload is as its header says.
fn is_whole<F: ReadAt>(file: &F, offset: u64, header: &FrameHeader) -> bool {
    let at = offset + frame::HEADER_BYTES as u64;
    let payload = read_up_to(file, at, header.payload_bytes);
    payload.is_ok_and(|payload| header.open(&payload).is_ok())
}

/// Cuts off what is torn, and saves it aside first.
fn cut<D: Directory>(
    directory: &D,
    name: &str,
    file: &D::File,
    from: u64,
    is_blank: bool,
) -> Result<(), D::Error> {
    if !is_blank {
        let rest = read_up_to(file, from, file.byte_len().saturating_sub(from))?;
        let mut aside = directory.create(Folder::Log, &format!("{name}.torn-{from}"))?;
        aside.write_at(0, &rest)?;
        aside.sync()?;
        directory.sync(Folder::Log)?;
    }
    let mut file = directory.edit(Folder::Log, name)?;
    file.truncate(from)?;
    file.sync()
}

impl<F: File> Plan<F> {
    pub(super) fn find_segments<D>(
        &mut self,
        directory: &D,
        data_set: DataSet,
        catalog: &Catalog,
        numbers: &[u64],
    ) -> Result<(), Wrong>
    where
        D: Directory<File = F>,
    {
        // All records of logged stores up to this one are in their newest snapshots.
        let logged = self
            .stores
            .iter()
            .filter(|(number, _)| catalog.get(**number).is_some_and(|row| row.in_log_until() > 0));
        let base = logged.map(|(_, store)| store.base()).min().unwrap_or(Sequence::MAX);
        let names = directory.names(Folder::Log);
        let names = names.map_err(|error| Wrong::new(Folder::Log, "", error))?;
        let asides: Vec<String> = names.into_iter().filter(|name| is_aside(name)).collect();
        let mut before = None::<(u64, Segmented)>;
        for (index, number) in numbers.iter().enumerate() {
            let is_last = index + 1 == numbers.len();
            let mut found = self.find_frames(directory, data_set, *number, is_last)?;
            let name = segment::file_name(*number);
            // What was cut out of it earlier was told then.
            found.is_hurt |= asides.iter().any(|aside| aside.starts_with(&name));
            self.tell_missing(before.as_ref(), (*number, &found), base);
            self.next_number = number + 1;
            before = Some((*number, found));
        }
        Ok(())
    }

    /// No segment is there, although the log has one always once it was begun. What was in it is lost; a
    /// store that is in the log alone must not begin empty as if nothing had been.
    ///
    /// # Errors
    /// There is such a store.
    pub(super) fn miss_all_segments(&mut self, catalog: &Catalog) -> Result<(), Wrong> {
        for (number, row) in catalog.rows() {
            let base = self.stores.get(&number).filter(|store| !store.sources.is_empty());
            let base = base.map(Store::base);
            if base.unwrap_or(row.since) >= row.in_log_until() {
                continue;
            }
            let Some(base) = base else {
                let reason = format!(
                    "no segment is there, although the log was begun, and store '{}' has no snapshot: all \
                     of it would be lost. Restore the segments or a backup, or move the directory away to \
                     begin with no data",
                    row.name
                );
                return Err(Wrong::new(Folder::Log, "", reason));
            };
            self.report.damaged_frames += 1;
            let path = Wrong::new(Folder::Log, "", "").path();
            let name = &row.name;
            self.report.damage(format!(
                "{path}: no segment is there; what store '{name}' was given after {base} is missing"
            ));
        }
        Ok(())
    }

    /// Says what is missing between a segment and the one before it. Sequences are given without gaps
    /// but where a member began anew: so the records of a segment are as many as the next one's first
    /// sequence says.
    fn tell_missing(
        &mut self,
        before: Option<&(u64, Segmented)>,
        (number, found): (u64, &Segmented),
        base: Sequence,
    ) {
        let name = |number| Wrong::new(Folder::Log, segment::file_name(number), "").path();
        let Some(first) = found.first else {
            if let Some((last, _)) = before.filter(|(last, _)| last + 1 < number) {
                self.report.damaged_frames += 1;
                let text = format!("{}: missing, up to {}", name(last + 1), name(number - 1));
                self.report.damage(text);
            }
            return;
        };
        // All before it is in snapshots.
        if first <= base.saturating_add(1) {
            return;
        }
        let Some((last, before)) = before else {
            self.report.damaged_frames += 1;
            let text = format!(
                "{}: the log begins with it, and with sequence {first}; what was after {base} is \
                 missing",
                name(number)
            );
            return self.report.damage(text);
        };
        let should_be = before.first.map(|begin| first.saturating_sub(begin));
        let lost = should_be.map(|should_be| should_be.saturating_sub(before.records));
        // Longer gaps are where a member began anew.
        let is_same_run = lost.is_some_and(|lost| lost < LOST_RECORDS / 2);
        if last + 1 < number {
            if lost != Some(0) {
                self.report.damaged_frames += 1;
                let text = format!("{}: missing, up to {}", name(last + 1), name(number - 1));
                self.report.damage(text);
            }
        } else if let Some(lost) = lost.filter(|lost| *lost > 0 && is_same_run)
            && !before.is_hurt
        {
            self.report.damaged_frames += 1;
            let text = format!("{}: {lost} records are missing at its end", name(*last));
            self.report.damage(text);
        }
    }

    fn find_frames<D>(
        &mut self,
        directory: &D,
        data_set: DataSet,
        number: u64,
        is_last: bool,
    ) -> Result<Segmented, Wrong>
    where
        D: Directory<File = F>,
    {
        let name = segment::file_name(number);
        let wrong = |reason: String| Wrong::new(Folder::Log, name.as_str(), reason);
        let path = wrong(String::new()).path();
        let opened = directory.open(Folder::Log, &name);
        let opened = opened.map_err(|error| wrong(error.to_string()))?;
        let file = opened.ok_or_else(|| wrong("it is not there any more".into()))?;
        let seal = Seal { data_set, number };
        let header = read_up_to(&file, 0, segment::HEADER_BYTES as u64);
        let first = match Header::read(&header.map_err(|error| wrong(error.to_string()))?) {
            Ok(header) if header.data_set != data_set => {
                return Err(wrong("it is of another data set than DATASET says".into()));
            }
            Ok(header) => Some(header.first_sequence),
            Err(HeaderError::CutOff) => {
                // It was being made when the member ended: nothing is in it.
                self.report.damage(format!("{path}: it has no header, and nothing in it"));
                None
            }
            Err(error @ HeaderError::Version(_)) => return Err(wrong(error.to_string())),
            // Frames are sealed for one file only: where one is, the file is ours.
            Err(error @ HeaderError::Foreign) if !is_ours(&file, seal) => {
                return Err(wrong(error.to_string()));
            }
            Err(error @ (HeaderError::Damaged | HeaderError::Foreign)) => {
                self.report.damage(format!("{path}: {error}; its frames are read"));
                None
            }
        };
        let first_sequence = first.unwrap_or(self.last_sequence + 1);
        self.last_sequence = self.last_sequence.max(first_sequence.saturating_sub(1));
        let index = self.segments.len();
        let mut bytes = file.byte_len();
        let mut found = Segmented { first, records: 0, is_hurt: false };
        let pieces: Result<Vec<Piece>, _> = Scan::new(&file, seal).collect();
        let mut pieces = pieces.map_err(|error| wrong(error.to_string()))?;
        if is_last {
            tear(&mut pieces, &file);
        }
        for piece in pieces {
            match piece {
                Piece::Found { offset, header } => {
                    let records = u64::from(header.records);
                    let last = header.first_sequence.saturating_add(records);
                    self.last_sequence = self.last_sequence.max(last);
                    self.total_bytes += header.frame_bytes();
                    found.records += records;
                    self.frames.push(Found { segment: index, offset, header });
                }
                Piece::Damaged { range } => {
                    found.is_hurt = true;
                    self.report.damaged_frames += 1;
                    let text = format!("{path}: bytes {} to {}", range.start, range.end);
                    self.report.damage(text);
                }
                Piece::Torn { from, is_blank } => {
                    found.is_hurt = !is_blank;
                    self.report.torn_bytes += file.byte_len() - from;
                    if !is_last && !is_blank {
                        self.report.damaged_frames += 1;
                    }
                    self.report.damage(format!("{path}: cut off at byte {from} of {bytes}"));
                    let cut = cut(directory, &name, &file, from, is_blank);
                    cut.map_err(|error| wrong(error.to_string()))?;
                    bytes = from;
                }
                Piece::Newer { offset, version } => {
                    return Err(wrong(format!(
                        "its frame at byte {offset} is of version {version}: a later one"
                    )));
                }
            }
        }
        self.segment_infos.push(SegmentInfo { number, first_sequence, bytes });
        self.segments.push(Segment { name: path, file });
        Ok(found)
    }
}
