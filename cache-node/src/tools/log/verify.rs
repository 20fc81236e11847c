//! `log verify`: every checksum is read and compared, and what is missing is told.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::Range;

use hypercache_core::cluster::Slot;
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::log::{ReadAt, Sequence, segment};
use hypercache_core::store::StoreNumber;
use serde_json::{Value, json};

use super::args::VerifyArgs;
use super::parts::{Part, visit};
use super::sequences::{Gap, Sequences};
use super::source::{SegmentFile, SnapshotFile, Source, name_of};
use super::state::Scratch;
use super::{Ended, Error};
use crate::disk::layout::{OnDisk, is_aside};
use crate::disk::recovery::LOST_RECORDS;

/// The most findings that are told one by one.
const MOST_FINDINGS: usize = 1000;

/// Checks what is there, and says what it found.
pub fn run(args: &VerifyArgs, out: &mut dyn Write) -> Result<Ended, Error> {
    let checked = args.from.open().and_then(|source| {
        let is_live = args.live || source.is_in_use();
        check(&source, is_live)
    });
    let report = match checked {
        Ok(report) => report,
        Err(error) => {
            if args.json {
                let told = json!({ "status": "unreadable", "reason": error.to_string() });
                writeln!(out, "{told}")?;
            }
            return Err(error);
        }
    };
    if args.json {
        writeln!(out, "{}", report.as_json())?;
    } else {
        report.tell(out)?;
    }
    Ok(if report.damaged > 0 { Ended::Damaged } else { Ended::Well })
}

/// One thing that was found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Something is damaged or missing; otherwise it is only said.
    pub is_damage: bool,
    /// The file's name.
    pub file: String,
    /// Which bytes of it, if it is about some.
    pub range: Option<Range<u64>>,
    /// What.
    pub text: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub damaged: u64,
    segments: u64,
    segment_bytes: u64,
    frames: u64,
    records: u64,
    snapshots: u64,
    snapshot_bytes: u64,
    keys: u64,
    is_live: bool,
    pub sequences: Sequences,
    /// Damaged places of the log, by segment.
    broken: Vec<u64>,
    /// Of each store the newest snapshot that is whole.
    newest: BTreeMap<StoreNumber, Sequence>,
    /// The first segment's lowest sequence.
    pub log_from: Option<Sequence>,
}

/// Checks all of it; `is_live`: a member may be writing it.
pub fn check(source: &Source, is_live: bool) -> Result<Report, Error> {
    let mut report = Report { is_live, ..Report::default() };
    for snapshot in &source.snapshots {
        report.snapshot(source, snapshot)?;
    }
    let mut before = None;
    for (index, segment) in source.segments.iter().enumerate() {
        if let Some(before) = before.filter(|n| source.root.is_some() && n + 1 < segment.number) {
            let last = segment::file_name(segment.number - 1);
            report.broken.push(segment.number);
            let name = segment::file_name(before + 1);
            report.damage(&name, None, format!("it is missing, and all up to {last}"));
        }
        before = Some(segment.number);
        report.segment(segment, index + 1 == source.segments.len())?;
    }
    if source.has_log && source.segments.is_empty() {
        report.damage("log", None, "no segment is there, although the log was begun".into());
    }
    if source.root.is_some() {
        report.missing(source)?;
        report.others(source)?;
    }
    Ok(report)
}

impl Report {
    fn add(&mut self, is_damage: bool, file: &str, range: Option<Range<u64>>, text: String) {
        self.damaged += u64::from(is_damage);
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { is_damage, file: file.to_owned(), range, text });
        }
    }

    fn damage(&mut self, file: &str, range: Option<Range<u64>>, text: String) {
        self.add(true, file, range, text);
    }

    fn note(&mut self, file: &str, range: Option<Range<u64>>, text: String) {
        self.add(false, file, range, text);
    }

    fn segment(&mut self, segment: &SegmentFile, is_last: bool) -> Result<(), Error> {
        let Some((file, header)) = segment.open()? else { return Ok(()) };
        let (name, len) = (name_of(&segment.path), file.byte_len());
        self.segments += 1;
        self.segment_bytes += len;
        match header {
            Ok(header) if header.number != segment.number => {
                let text = format!("its header says that it is segment {}", header.number);
                self.damage(&name, Some(0..segment::HEADER_BYTES as u64), text);
            }
            Ok(header) => {
                self.log_from.get_or_insert(header.first_sequence);
            }
            Err(_) if len < segment::HEADER_BYTES as u64 && is_last && self.is_live => {}
            Err(error) => {
                let header = 0..len.min(segment::HEADER_BYTES as u64);
                self.damage(&name, Some(header), error.to_string());
                self.log_from.get_or_insert(0);
            }
        }
        visit(
            segment,
            &file,
            |_| true,
            |part| {
                match part {
                    Part::Frame(frame) => {
                        self.frames += 1;
                        let records = frame.records();
                        self.records += records.len() as u64;
                        let twice = records
                            .iter()
                            .filter(|record| !self.sequences.add(record.sequence, segment.number))
                            .count();
                        if twice > 0 {
                            // A write that had failed only as far as the member knew.
                            let text = format!("{twice} of its records are there twice");
                            self.note(&name, Some(frame.range()), text);
                        }
                    }
                    Part::Damaged { range, reason } => {
                        self.broken.push(segment.number);
                        self.damage(&name, Some(range), reason);
                    }
                    Part::Torn { from, is_blank: true } => {
                        let text = "nothing was written here yet".into();
                        self.note(&name, Some(from..len), text);
                    }
                    Part::Torn { from, .. } if is_last && self.is_live => {
                        let text = "the log ends within a frame, which is being written".into();
                        self.note(&name, Some(from..len), text);
                    }
                    Part::Torn { from, .. } => {
                        self.broken.push(segment.number);
                        let text = "torn: nothing that can be read follows".into();
                        self.damage(&name, Some(from..len), text);
                    }
                }
                Ok(())
            },
        )
    }

    fn snapshot(&mut self, source: &Source, file: &SnapshotFile) -> Result<(), Error> {
        let Some((on_disk, opened)) = file.open(source.data_set)? else { return Ok(()) };
        let name = name_of(&file.path);
        self.snapshots += 1;
        self.snapshot_bytes += on_disk.byte_len();
        let snapshot = match opened {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                self.damage(&name, None, reason);
                return Ok(());
            }
        };
        let header = &snapshot.header;
        self.keys += snapshot.keys;
        if file.named.is_some_and(|named| named != (header.store, header.first_sequence)) {
            self.damage(&name, None, "its header is that of another file".into());
        }
        if snapshot.has_damaged_header {
            let text = "the header is damaged; that at the file's end is good".into();
            self.damage(&name, Some(0..128), text);
        }
        let damaged = damaged_blocks(&on_disk, &snapshot);
        let is_whole = damaged.is_empty();
        for (slot, range, text) in damaged {
            self.damage(&name, Some(range), format!("slot {slot}: {text}"));
        }
        let row = source.stores.get(&header.store);
        let is_used =
            row.is_some_and(|row| row.name == header.name && header.first_sequence >= row.since);
        if source.root.is_some() && !is_used {
            self.note(&name, None, "it is of a store that is not there any more".into());
        } else if is_whole {
            let newest = self.newest.entry(header.store).or_default();
            *newest = header.first_sequence.max(*newest);
        }
        Ok(())
    }

    /// What the log should have, and has not.
    fn missing(&mut self, source: &Source) -> Result<(), Error> {
        // Up to here all is in snapshots.
        let logged = source.stores.iter().filter(|(_, row)| row.is_logged);
        let newest = self.newest.clone();
        let base = |(store, since): (&StoreNumber, Sequence)| {
            newest.get(store).map_or(since, |newest| since.max(*newest))
        };
        let floor = logged.clone().map(|(store, row)| base((store, row.since))).min();
        let asides = asides(source)?;
        let last_segment = source.segments.last().map_or(0, |segment| segment.number);
        let gaps: Vec<Gap> = self.sequences.gaps().collect();
        for Gap { missing, segments } in gaps {
            let (first, last) = (*missing.start(), *missing.end());
            let name = segment::file_name(segments.0);
            let count = last - first + 1;
            let said = format!("sequences {first} to {last} are missing ({count} records)");
            let is_between = |number: &u64| (segments.0..=segments.1).contains(number);
            if count >= LOST_RECORDS || self.is_live && segments.1 == last_segment {
                // Left out by a member that began anew; or just being written.
            } else if floor.is_none_or(|floor| last <= floor) {
                self.note(&name, None, format!("{said}; snapshots have what they did"));
            } else if self.broken.iter().any(is_between) {
                self.note(&name, None, format!("{said}; they were in what is damaged"));
            } else if asides.iter().any(is_between) {
                self.note(&name, None, format!("{said}; they were cut out earlier"));
            } else {
                self.damage(&name, None, said);
            }
        }
        let log_from = self.log_from.unwrap_or(0);
        let first_segment = source.segments.first().map(|segment| segment.number);
        let is_known = first_segment.is_some_and(|number| asides.contains(&number));
        let mut short = Vec::new();
        for (store, row) in logged {
            let base = base((store, row.since));
            if base.saturating_add(1) < log_from {
                short.push(format!(
                    "store '{}': what was done between sequences {base} and {log_from} is missing",
                    row.name
                ));
            }
        }
        for text in short {
            let more = if is_known { "; it was cut out earlier" } else { "" };
            self.add(!is_known, "log", None, format!("{text}{more}"));
        }
        Ok(())
    }

    /// Files that are not read.
    fn others(&mut self, source: &Source) -> Result<(), Error> {
        for (path, name, bytes) in unread(source)? {
            let text = match path {
                Unread::Aside => format!("what was cut out earlier, {bytes} bytes"),
                Unread::Draft => "not complete; the next start of a member removes it".into(),
                Unread::Foreign => "no file of HyperCache's".into(),
            };
            self.note(&name, None, text);
        }
        Ok(())
    }

    fn tell(&self, out: &mut dyn Write) -> Result<(), Error> {
        for Finding { is_damage, file, range, text } in &self.findings {
            let what = if *is_damage { "damaged" } else { "note" };
            let bytes = range.as_ref().map(|r| format!(" bytes {} to {}:", r.start, r.end));
            writeln!(out, "{what}: {file}:{} {text}", bytes.unwrap_or_default())?;
        }
        let ends = self.sequences.ends();
        let ends = ends.map(|(first, last)| format!(", sequences {first} to {last}"));
        writeln!(
            out,
            "log: {} segments, {} bytes, {} frames, {} records{}",
            self.segments,
            self.segment_bytes,
            self.frames,
            self.records,
            ends.unwrap_or_default()
        )?;
        writeln!(
            out,
            "snapshots: {} files, {} bytes, {} keys",
            self.snapshots, self.snapshot_bytes, self.keys
        )?;
        let verdict = match self.damaged {
            0 => "all is well".to_owned(),
            1 => "1 damage".to_owned(),
            damaged => format!("{damaged} damages"),
        };
        let live = if self.is_live { "; a member uses it" } else { "" };
        Ok(writeln!(out, "{verdict}{live}")?)
    }

    fn as_json(&self) -> Value {
        let finding = |finding: &Finding| {
            let range = finding.range.as_ref();
            json!({
                "damage": finding.is_damage, "file": finding.file, "text": finding.text,
                "from": range.map(|range| range.start), "to": range.map(|range| range.end),
            })
        };
        let ends = self.sequences.ends();
        json!({
            "status": if self.damaged == 0 { "good" } else { "damaged" },
            "damaged": self.damaged,
            "in_use": self.is_live,
            "log": {
                "segments": self.segments, "bytes": self.segment_bytes, "frames": self.frames,
                "records": self.records, "first_sequence": ends.map(|ends| ends.0),
                "last_sequence": ends.map(|ends| ends.1),
            },
            "snapshots": {
                "files": self.snapshots, "bytes": self.snapshot_bytes, "keys": self.keys,
            },
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

/// Slot, place and reason of each block of a snapshot that cannot be read.
pub fn damaged_blocks(file: &OnDisk, snapshot: &Snapshot) -> Vec<(Slot, Range<u64>, String)> {
    let scratch = Scratch::of(snapshot.header.store, &snapshot.header.name);
    let mut damaged = Vec::new();
    let mut pieces = BTreeMap::<Slot, (u32, bool)>::new();
    for entry in &snapshot.entries {
        let slot = entry.block.slot;
        let mut wrong = |text: String| damaged.push((slot, entry.range.clone(), text));
        let (next, has_last) = pieces.entry(slot).or_default();
        if entry.block.piece != *next || *has_last {
            wrong("a piece is missing or there twice".into());
        }
        (*next, *has_last) = (entry.block.piece.saturating_add(1), entry.block.is_last);
        let payload = match entry.read(file) {
            Ok(payload) => payload,
            Err(error) => {
                wrong(error.to_string());
                continue;
            }
        };
        match scratch.load(slot, &payload) {
            Ok(loaded) if loaded.keys != u64::from(entry.block.keys) => {
                wrong(format!("it has {} keys, and says {}", loaded.keys, entry.block.keys));
            }
            Ok(_) => {}
            Err(error) => wrong(error.to_string()),
        }
        scratch.take(slot, |_| {});
    }
    for (slot, _) in pieces.into_iter().filter(|(_, (_, has_last))| !has_last) {
        damaged.push((slot, 0..0, "its last piece is missing".into()));
    }
    damaged
}

/// The numbers of the segments of which something was cut out earlier.
pub fn asides(source: &Source) -> Result<Vec<u64>, Error> {
    let numbers = unread(source)?.into_iter().filter_map(|(_, name, _)| {
        let end = name.find(".hclg")? + ".hclg".len();
        segment::number_of(name.get(..end)?)
    });
    Ok(numbers.collect())
}

enum Unread {
    Aside,
    Draft,
    Foreign,
}

/// Files beside those that are read: what they are, their names, their lengths.
fn unread(source: &Source) -> Result<Vec<(Unread, String, u64)>, Error> {
    let mut found = Vec::new();
    let Some(root) = &source.root else { return Ok(found) };
    for directory in [root.join("log"), root.join("snapshots")] {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file(&directory, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| Error::file(&directory, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_read = segment::number_of(&name).is_some()
                || hypercache_core::log::snapshot::parse_file_name(&name).is_some();
            if is_read {
                continue;
            }
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            let what = if is_aside(&name) {
                Unread::Aside
            } else if name.ends_with(".tmp") {
                Unread::Draft
            } else {
                Unread::Foreign
            };
            found.push((what, name, bytes));
        }
    }
    found.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    Ok(found)
}
