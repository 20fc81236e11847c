//! `log dump`: what the log, or the snapshots, have, in order. A member may write meanwhile.

use std::io::Write;
use std::ops::Range;

use hypercache_core::keyspace::Entry;
use hypercache_core::log::Record;
use hypercache_core::log::record::commands;
use hypercache_core::store::StoreNumber;
use serde_json::json;

use super::args::DumpArgs;
use super::parts::{Opened, Part, visit};
use super::source::{SegmentFile, SnapshotFile, Source, name_of};
use super::state::{Scratch, put_entry};
use super::{Ended, Error, text};
use crate::clock::rfc3339;

/// Prints what was asked for.
pub fn run(args: &DumpArgs, out: &mut dyn Write) -> Result<Ended, Error> {
    let source = args.from.open()?;
    let store = args.store.as_deref().map(|asked| source.store_number(asked)).transpose()?;
    let mut dump = Dump { args, source: &source, store, out, damaged: 0 };
    // Files that were given are dumped, whatever they are.
    if args.snapshots || source.root.is_none() {
        source.snapshots.iter().try_for_each(|snapshot| dump.snapshot(snapshot))?;
    }
    if !args.snapshots {
        let last = source.segments.len().saturating_sub(1);
        for (index, segment) in source.segments.iter().enumerate() {
            dump.missing(index)?;
            dump.segment(segment, index == last)?;
        }
    }
    let damaged = dump.damaged;
    if damaged > 0 {
        eprintln!(
            "hypercache: {damaged} damaged places were met; `hypercache log verify` has more"
        );
    }
    Ok(if damaged > 0 { Ended::Damaged } else { Ended::Well })
}

struct Dump<'a> {
    args: &'a DumpArgs,
    source: &'a Source,
    store: Option<StoreNumber>,
    out: &'a mut dyn Write,
    damaged: u64,
}

impl Dump<'_> {
    /// Tells of something that is not as it should be, where it is.
    fn tell(
        &mut self,
        what: &str,
        file: &str,
        range: Range<u64>,
        reason: &str,
    ) -> Result<(), Error> {
        if self.args.json {
            let (from, to) = (range.start, range.end);
            let told = json!({ what: { "file": file, "from": from, "to": to, "reason": reason } });
            return Ok(writeln!(self.out, "{told}")?);
        }
        Ok(writeln!(
            self.out,
            "# {what}: {file}: bytes {} to {}: {reason}",
            range.start, range.end
        )?)
    }

    fn damage(&mut self, file: &str, range: Range<u64>, reason: &str) -> Result<(), Error> {
        self.damaged += 1;
        self.tell("damaged", file, range, reason)
    }

    /// Tells of segments that are missing before this one.
    fn missing(&mut self, index: usize) -> Result<(), Error> {
        let number = |index: usize| self.source.segments.get(index).map(|s| s.number);
        let before = index.checked_sub(1).and_then(number);
        let (Some(before), Some(this)) = (before, number(index)) else { return Ok(()) };
        if self.source.root.is_some() && before + 1 < this {
            let name = hypercache_core::log::segment::file_name(before + 1);
            let reason = format!("{} segments are missing from here on", this - before - 1);
            self.damage(&name, 0..0, &reason)?;
        }
        Ok(())
    }

    fn segment(&mut self, segment: &SegmentFile, is_last: bool) -> Result<(), Error> {
        let Some((file, header)) = segment.open()? else { return Ok(()) };
        let name = name_of(&segment.path);
        if let Err(error) = header {
            self.damage(&name, 0..64, &error.to_string())?;
        }
        let len = hypercache_core::log::ReadAt::byte_len(&file);
        let (store, last) = (self.store, self.args.to_sequence);
        let wants = |header: &hypercache_core::log::FrameHeader| {
            let is_of_store = store.is_none_or(|store| {
                header.store == store || header.store == hypercache_core::log::frame::SEVERAL
            });
            is_of_store && last.is_none_or(|last| header.first_sequence <= last)
        };
        visit(segment, &file, wants, |part| match part {
            Part::Frame(frame) => self.frame(&name, &frame),
            Part::Damaged { range, reason } => self.damage(&name, range, &reason),
            Part::Torn { from, is_blank: true } => {
                self.tell("blank", &name, from..len, "nothing was written here yet")
            }
            // What is just being written, or was when the member ended.
            Part::Torn { from, .. } if is_last => {
                self.tell("torn", &name, from..len, "the log ends within a frame")
            }
            Part::Torn { from, .. } => self.damage(&name, from..len, "nothing that can be read"),
        })
    }

    fn frame(&mut self, name: &str, frame: &Opened) -> Result<(), Error> {
        for batch in frame.batches() {
            let of = batch.len();
            for (index, record) in batch.iter().enumerate() {
                if self.is_wanted(record) {
                    self.record(name, frame.offset, record, (index + 1, of))?;
                }
            }
        }
        Ok(())
    }

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let args = self.args;
        self.store.is_none_or(|store| store == record.store)
            && args.from_sequence.is_none_or(|first| first <= record.sequence)
            && args.to_sequence.is_none_or(|last| record.sequence <= last)
            && args.from_time.is_none_or(|first| first <= record.time_ms)
            && args.to_time.is_none_or(|last| record.time_ms <= last)
            && self.args.key.as_deref().is_none_or(|key| {
                commands(record.commands).flatten().any(|words| self.is_about(&words, key))
            })
    }

    /// Whether a command is about a key. `FLUSHDB` is about all of its slot.
    fn is_about(&self, words: &[&[u8]], key: &str) -> bool {
        words.get(1).is_some_and(|word| *word == key.as_bytes())
    }

    fn record(
        &mut self,
        name: &str,
        offset: u64,
        record: &Record<'_>,
        (index, of): (usize, usize),
    ) -> Result<(), Error> {
        let Record { sequence, time_ms, slot, .. } = *record;
        let (store, time) = (self.source.store_name(record.store), rfc3339(time_ms));
        let words: Vec<_> = commands(record.commands).flatten().collect();
        if self.args.json {
            let words: Vec<_> = words.iter().map(|words| text::as_json(words)).collect();
            let told = json!({
                "segment": name, "offset": offset, "sequence": sequence, "time": time,
                "store": store, "store_number": record.store, "slot": slot,
                "batch_index": index, "batch_records": of, "commands": words,
            });
            return Ok(writeln!(self.out, "{told}")?);
        }
        for words in words {
            let line = text::line(&words);
            writeln!(
                self.out,
                "{name}:{offset} {sequence} {time} {store} slot={slot} {index}/{of} {line}"
            )?;
        }
        Ok(())
    }

    fn snapshot(&mut self, snapshot: &SnapshotFile) -> Result<(), Error> {
        let Some((file, opened)) = snapshot.open(self.source.data_set)? else { return Ok(()) };
        let name = name_of(&snapshot.path);
        let len = hypercache_core::log::ReadAt::byte_len(&file);
        let opened = match opened {
            Ok(opened) => opened,
            Err(reason) => return self.damage(&name, 0..len, &reason),
        };
        let header = &opened.header;
        if self.store.is_some_and(|store| store != header.store) {
            return Ok(());
        }
        if self.args.json {
            let told = json!({ "snapshot": {
                "file": name, "store": header.store, "name": header.name, "keys": opened.keys,
                "first_sequence": header.first_sequence, "last_sequence": opened.last_sequence,
                "begun": rfc3339(header.created_ms), "ended": rfc3339(opened.ended_ms),
            }});
            writeln!(self.out, "{told}")?;
        } else {
            writeln!(
                self.out,
                "# snapshot: {name}: store {} ({}), {} keys, sequences {} to {}, begun {}, ended {}",
                header.name,
                header.store,
                opened.keys,
                header.first_sequence,
                opened.last_sequence,
                rfc3339(header.created_ms),
                rfc3339(opened.ended_ms)
            )?;
        }
        if opened.has_damaged_header {
            let reason = "the header is damaged; that at the file's end was taken";
            self.damage(&name, 0..128, reason)?;
        }
        let scratch = Scratch::of(header.store, &header.name);
        for entry in &opened.entries {
            if self.args.to_sequence.is_some_and(|last| entry.block.sequence > last)
                || self.args.from_sequence.is_some_and(|first| entry.block.sequence < first)
            {
                continue;
            }
            let payload = match entry.read(&file) {
                Ok(payload) => payload,
                Err(error) => {
                    self.damage(&name, entry.range.clone(), &error.to_string())?;
                    continue;
                }
            };
            let loaded = scratch.load(entry.block.slot, &payload);
            if let Err(error) = loaded {
                self.damage(&name, entry.range.clone(), &error.to_string())?;
            }
            let mut written = Ok(());
            scratch.take(entry.block.slot, |found| {
                if written.is_ok() {
                    let (slot, sequence) = (entry.block.slot, entry.block.sequence);
                    written = self.entry(&name, entry.range.start, (slot, sequence), found);
                }
            });
            written?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        name: &str,
        offset: u64,
        (slot, sequence): (u16, u64),
        entry: &Entry<'_>,
    ) -> Result<(), Error> {
        let is_wanted = self.args.key.as_deref().is_none_or(|key| key.as_bytes() == entry.key);
        if !is_wanted {
            return Ok(());
        }
        let mut bytes = Vec::new();
        put_entry(&mut bytes, entry);
        let words: Vec<_> = commands(&bytes).flatten().collect();
        if self.args.json {
            let words: Vec<_> = words.iter().map(|words| text::as_json(words)).collect();
            let told = json!({
                "snapshot": name, "offset": offset, "sequence": sequence, "slot": slot,
                "commands": words,
            });
            return Ok(writeln!(self.out, "{told}")?);
        }
        for words in words {
            writeln!(self.out, "{name}:{offset} {sequence} slot={slot} {}", text::line(&words))?;
        }
        Ok(())
    }
}
