//! `log repair`: what is damaged is cut out and kept aside, under the directory's lock. No frame that is
//! good goes. After it nothing is damaged, and what was lost is said.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hypercache_core::log::segment::{self, Header, HeaderError, Seal};
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::log::{ReadAt, Sequence};

use super::args::RepairArgs;
use super::mend::{Mended, needs_no_other};
use super::parts::{Part, visit};
use super::rewrite::{Draft, aside, set_aside};
use super::source::{SegmentFile, SnapshotFile, Source, failed, name_of, root_of};
use super::verify::{self, damaged_blocks};
use super::{Ended, Error, truncate};
use crate::clock::now_ms;
use crate::disk::layout::{Layout, OnDisk, sync_parent};

/// Repairs a directory; says what it did, or would do.
pub fn run(args: &RepairArgs, out: &mut dyn Write) -> Result<Ended, Error> {
    let root = root_of(args.from.directory()?)?;
    // Before the lock: a directory that cannot be understood stays as it is.
    let source = Source::directory(&root)?;
    let _lock = if args.dry_run { None } else { Some(lock(&root)?) };
    if let Some(last) = args.truncate_after {
        truncate::may(&source, last)?;
    }
    let mut repair = Repair { is_dry: args.dry_run, out, done: 0, lost: 0 };
    repair.all(&source)?;
    if let Some(last) = args.truncate_after {
        let source = Source::directory(&root)?;
        truncate::run(&source, last, &mut repair)?;
    }
    let (done, lost) = (repair.done, repair.lost);
    let would = if args.dry_run { "would be " } else { "" };
    let bytes = format!("{lost} bytes of the log {would}cut out and kept aside");
    match done {
        0 => writeln!(out, "nothing is damaged")?,
        _ if args.dry_run => writeln!(out, "{done} repairs would be made; {bytes}")?,
        _ => writeln!(out, "{done} repairs made; {bytes}")?,
    }
    Ok(if args.dry_run && done > 0 { Ended::Damaged } else { Ended::Well })
}

fn lock(root: &Path) -> Result<Layout, Error> {
    let above = root.parent().filter(|_| root.ends_with("durable"));
    let above = above.ok_or_else(|| {
        Error::Refused(format!("{}: it is not named durable: no data directory", root.display()))
    })?;
    Ok(Layout::open(above)?.0)
}

/// A repair under way.
pub struct Repair<'o> {
    pub is_dry: bool,
    out: &'o mut dyn Write,
    done: u64,
    lost: u64,
}

/// What is done to a segment.
struct Plan {
    /// A new header, if the one that is there is damaged.
    header: Option<Header>,
    /// The frames that are good.
    keep: Vec<Range<u64>>,
    /// What is cut out of the middle.
    cut: Vec<Range<u64>>,
    /// What is cut off the end, and whether it is nothing but zeros.
    torn: Option<(u64, bool)>,
}

impl Repair<'_> {
    /// Says what is done.
    pub fn tell(&mut self, file: &str, text: &str) -> Result<(), Error> {
        self.done += 1;
        let would = if self.is_dry { "would be done: " } else { "" };
        Ok(writeln!(self.out, "{file}: {would}{text}")?)
    }

    fn all(&mut self, source: &Source) -> Result<(), Error> {
        // Whoever repairs holds the directory's lock itself: no member writes here.
        let report = verify::check(source, self.is_dry && source.is_in_use())?;
        let is_whole = !report
            .findings
            .iter()
            .any(|finding| finding.is_damage && !finding.file.ends_with(".hcsn"));
        let last = report.sequences.ends().map(|(_, last)| last);
        let whole =
            report.log_from.zip(last).filter(|_| is_whole).map(|(first, last)| first..=last);
        // Snapshots first: whether one is needed depends on what the log has.
        for file in &source.snapshots {
            self.snapshot(source, file, whole.as_ref())?;
        }
        let mut last = 0;
        for (index, file) in source.segments.iter().enumerate() {
            let next = source.segments.get(index + 1);
            last = self.segment(file, last, index == 0)?;
            self.missing(file, next)?;
        }
        Ok(())
    }

    /// Repairs a segment; the last sequence that is in it or before it.
    fn segment(
        &mut self,
        file: &SegmentFile,
        before: Sequence,
        is_first: bool,
    ) -> Result<Sequence, Error> {
        let Some((on_disk, header)) = file.open()? else { return Ok(before) };
        let mut plan = Plan { header: None, keep: Vec::new(), cut: Vec::new(), torn: None };
        let (mut last, mut lowest, mut time_ms) = (before, Sequence::MAX, 0);
        visit(
            file,
            &on_disk,
            |_| true,
            |part| {
                match part {
                    Part::Frame(frame) => {
                        for record in frame.records() {
                            last = last.max(record.sequence);
                            lowest = lowest.min(record.sequence);
                        }
                        time_ms = if time_ms == 0 { frame.header.first_time_ms } else { time_ms };
                        plan.keep.push(frame.range());
                    }
                    Part::Damaged { range, .. } => plan.cut.push(range),
                    Part::Torn { from, is_blank } => plan.torn = Some((from, is_blank)),
                }
                Ok(())
            },
        )?;
        let (first_sequence, header) = match header {
            Ok(header) if header.number == file.number => (header.first_sequence, Ok(header)),
            Ok(_) => (0, Err(HeaderError::Damaged)),
            Err(error) => (0, Err(error)),
        };
        if header.is_err() {
            // What a first segment lacks at its beginning nobody knows.
            let first = if is_first && lowest < Sequence::MAX { lowest } else { before + 1 };
            plan.header = Some(Header {
                data_set: file.seal.data_set,
                number: file.number,
                first_sequence: first,
                created_ms: if time_ms == 0 { now_ms() } else { time_ms },
            });
        }
        self.carry_out(file, &on_disk, &plan, header)?;
        Ok(last.max(first_sequence.saturating_sub(1)))
    }

    fn carry_out(
        &mut self,
        file: &SegmentFile,
        on_disk: &OnDisk,
        plan: &Plan,
        header: Result<Header, HeaderError>,
    ) -> Result<(), Error> {
        let (name, len) = (name_of(&file.path), on_disk.byte_len());
        let mut cut: Vec<(Range<u64>, &str)> =
            plan.cut.iter().map(|range| (range.clone(), "damaged")).collect();
        if plan.header.is_some() {
            cut.insert(0, (0..len.min(segment::HEADER_BYTES as u64), "damaged"));
            let had = header.err().map(|error| error.to_string()).unwrap_or_default();
            self.tell(&name, &format!("its header is written anew ({had})"))?;
        }
        if let Some((from, is_blank)) = plan.torn {
            if is_blank {
                self.tell(&name, &format!("{} zeros at its end are cut off", len - from))?;
            } else {
                cut.push((from..len, "torn"));
            }
        }
        for (range, why) in &cut {
            let aside = aside(&file.path, why, range.start);
            let (from, to) = (range.start, range.end);
            if from >= segment::HEADER_BYTES as u64 {
                self.lost += to - from;
                self.tell(&name, &format!("bytes {from} to {to} go to {}", name_of(&aside)))?;
            }
            if !self.is_dry {
                set_aside(on_disk, &file.path, range.clone(), &aside)?;
            }
        }
        if self.is_dry {
            return Ok(());
        }
        if plan.header.is_none() && plan.cut.is_empty() {
            let Some((from, _)) = plan.torn else { return Ok(()) };
            let cut = OpenOptions::new().write(true).open(&file.path).and_then(|file| {
                file.set_len(from)?;
                file.sync_all()
            });
            return cut.map_err(failed(&file.path));
        }
        let Some(header) = plan.header.or(header.ok()) else { return Ok(()) };
        let mut draft = Draft::begin(file, &header)?;
        for range in &plan.keep {
            draft.copy(on_disk, range.clone())?;
        }
        draft.finish()
    }

    /// Puts empty segments in the place of those that are missing behind one, so that nobody is told of
    /// them again.
    fn missing(&mut self, file: &SegmentFile, next: Option<&SegmentFile>) -> Result<(), Error> {
        let Some(next) = next.filter(|next| file.number + 1 < next.number) else { return Ok(()) };
        let first_sequence = match next.open()? {
            Some((_, Ok(header))) => header.first_sequence,
            _ => 0,
        };
        for number in file.number + 1..next.number {
            let path = next.path.with_file_name(segment::file_name(number));
            self.tell(&name_of(&path), "it is missing: an empty one takes its place")?;
            if self.is_dry {
                continue;
            }
            let seal = Seal { data_set: next.seal.data_set, number };
            let created_ms = now_ms();
            let header = Header { data_set: seal.data_set, number, first_sequence, created_ms };
            let text = "this segment was missing when the log was repaired\n";
            let mark = aside(&path, "damaged", 0);
            fs::write(&mark, text).map_err(failed(&mark))?;
            Draft::begin(&SegmentFile { path, number, seal }, &header)?.finish()?;
        }
        Ok(())
    }

    fn snapshot(
        &mut self,
        source: &Source,
        file: &SnapshotFile,
        whole: Option<&RangeInclusive<Sequence>>,
    ) -> Result<(), Error> {
        let Some((on_disk, opened)) = file.open(source.data_set)? else { return Ok(()) };
        let name = name_of(&file.path);
        let snapshot = match opened {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                let needs = needs_no_other(source, file, None, whole)?;
                let lost =
                    if needs { "nothing is lost by that" } else { "what only it had is lost" };
                return self.move_away(file, &format!("{reason}; {lost}"));
            }
        };
        let damaged = damaged_blocks(&on_disk, &snapshot);
        if damaged.is_empty() {
            if snapshot.has_damaged_header {
                self.tell(&name, "its header is written anew from its end")?;
                self.put_header(file, &snapshot)?;
            }
            return Ok(());
        }
        if needs_no_other(source, file, Some(&snapshot), whole)? {
            let text =
                format!("{} of its blocks are damaged; nothing is lost by that", damaged.len());
            return self.move_away(file, &text);
        }
        for (slot, range, reason) in &damaged {
            let (from, to) = (range.start, range.end);
            self.tell(&name, &format!("bytes {from} to {to} of slot {slot} are lost: {reason}"))?;
        }
        let slots = damaged.iter().map(|(slot, ..)| *slot).collect();
        Mended::new(source, file, &on_disk, &snapshot, &slots)?.write(self.is_dry)
    }

    fn put_header(&mut self, file: &SnapshotFile, snapshot: &Snapshot) -> Result<(), Error> {
        if self.is_dry {
            return Ok(());
        }
        let written = OpenOptions::new().write(true).open(&file.path).and_then(|to| {
            to.write_all_at(&snapshot.header.write(), 0)?;
            to.sync_all()
        });
        written.map_err(failed(&file.path))
    }

    /// Gives a file a name under which nobody reads it.
    pub fn move_away(&mut self, file: &SnapshotFile, reason: &str) -> Result<(), Error> {
        let to = aside(&file.path, "damaged", 0);
        self.tell(&name_of(&file.path), &format!("it is named {}: {reason}", name_of(&to)))?;
        if self.is_dry {
            return Ok(());
        }
        let moved = fs::rename(&file.path, &to).and_then(|()| sync_parent(&file.path));
        moved.map_err(failed(&file.path))
    }
}
