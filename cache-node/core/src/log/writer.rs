//! The log's writer, without files: which bytes go where, when a segment is begun, and what is done when
//! a disk fails. Who has files gives them as [`Files`].
//!
//! What was taken from the journal stays here until it is written. A write that fails is tried again at
//! the same place, after what it left there was cut away. An fsync that fails says nothing of what was
//! written since the last good one, and the next one would not either (the kernel drops the pages and
//! then reports success; Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC
//! 2020): so nothing more goes to that segment, and until snapshots of all that is logged are on the
//! disk nothing may be called durable.

use super::Sequence;
use super::frame::Frame;
use super::segment::{DataSet, HEADER_BYTES, Header};
use std::fmt::Display;

/// So many bytes are written at once: what stays in a processor's cache.
const WRITE_BYTES: usize = 256 << 10;

/// The files of the log's directory, by their segments' numbers. Every call waits for its end.
pub trait Files {
    /// Why something could not be done.
    type Error: Display;

    /// Makes the file of a segment, empty; if it is there, empties it.
    ///
    /// # Errors
    /// Why not.
    fn create(&mut self, number: u64) -> Result<(), Self::Error>;

    /// Writes all these bytes at a place.
    ///
    /// # Errors
    /// Why not; some may be written.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    /// Why not.
    fn truncate(&mut self, number: u64, len: u64) -> Result<(), Self::Error>;

    /// Forces what was written to a file, and its length, to the disk (fdatasync).
    ///
    /// # Errors
    /// Why not.
    fn sync(&mut self, number: u64) -> Result<(), Self::Error>;

    /// Forces the directory's entries to the disk.
    ///
    /// # Errors
    /// Why not.
    fn sync_dir(&mut self) -> Result<(), Self::Error>;
}

/// What the disk did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It could not be written. Nothing is lost: it is kept here, for the next try.
    #[error("the log cannot be written: {0}")]
    Write(String),
    /// It could not be forced to the disk. What was written since the last good time is lost there, as
    /// far as anybody knows.
    #[error("the log cannot be forced to the disk: {0}")]
    Sync(String),
    /// Some never got here, and is lost as well.
    #[error("what came while the disk could not be written was too much to keep")]
    TooMuch,
}

/// How a [`Writer`] begins.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whose log it is.
    pub data_set: DataSet,
    /// The number of the first segment that it writes: no file has it, nor a higher one.
    pub next_number: u64,
    /// The last sequence that was given before.
    pub last_sequence: Sequence,
    /// A segment that is as large takes no further cycle.
    pub segment_bytes: u64,
}

/// The segment that is written.
#[derive(Debug)]
struct Open {
    header: Header,
    /// Its bytes that are good.
    len: u64,
    /// Those of them that are on the disk.
    synced: u64,
    /// A failed write may have left something behind `len`.
    has_rest: bool,
    /// It was cut since the last good fsync.
    was_cut: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Writer {
    data_set: DataSet,
    segment_bytes: u64,
    next_number: u64,
    open: Option<Open>,
    /// Frames that are not written yet, not sealed.
    pending: Vec<Vec<u8>>,
    /// Those that are: their memory can be used again.
    spent: Vec<Vec<u8>>,
    /// Sealed frames on their way to the file.
    sealed: Vec<u8>,
    /// The last sequence that is in what is pending, and in what is written.
    pending_sequence: Sequence,
    written_sequence: Sequence,
    needs_snapshots: bool,
}

impl Writer {
    /// Begins a log, or goes on with it in a segment of its own; that is made with the first write.
    pub fn new(options: Options) -> Self {
        let Options { data_set, next_number, last_sequence, segment_bytes } = options;
        Self {
            data_set,
            segment_bytes,
            next_number,
            open: None,
            pending: Vec::new(),
            spent: Vec::new(),
            sealed: Vec::new(),
            pending_sequence: last_sequence,
            written_sequence: last_sequence,
            needs_snapshots: false,
        }
    }

    /// The segment that is written, if there is one by now.
    pub fn number(&self) -> Option<u64> {
        Some(self.open.as_ref()?.header.number)
    }

    /// The bytes of that segment.
    pub fn segment_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.len)
    }

    /// Bytes that are written but not known to be on the disk.
    pub fn unsynced_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.len - open.synced)
    }

    /// Bytes that could not be written yet.
    pub fn pending_bytes(&self) -> u64 {
        self.pending.iter().map(|frame| frame.len() as u64).sum()
    }

    /// The buffers of frames that were written since the last call, for [`super::Journal::recycle`].
    pub fn take_spent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.spent)
    }

    /// All records up to this one are written.
    pub fn written_sequence(&self) -> Sequence {
        self.written_sequence
    }

    /// An fsync failed: what the disk has of the log may lack something. Nothing may be called durable
    /// until snapshots of all that is logged, begun after this, are on the disk.
    pub fn needs_snapshots(&self) -> bool {
        self.needs_snapshots
    }

    /// Says that these snapshots are on the disk.
    pub fn snapshots_are_taken(&mut self) {
        self.needs_snapshots = false;
    }

    /// Writes a cycle of the journal: its frames, and the last sequence that was given when they were
    /// taken. A new segment is begun before it if the last one is full.
    ///
    /// # Errors
    /// What failed. The frames are kept: [`Self::retry`] writes them, or the next call.
    pub fn write<F: Files>(
        &mut self,
        files: &mut F,
        frames: Vec<Frame>,
        last_sequence: Sequence,
        now_ms: u64,
    ) -> Result<(), Trouble> {
        self.pending.extend(frames.into_iter().map(|frame| frame.finish().0));
        self.pending_sequence = last_sequence.max(self.pending_sequence);
        self.retry(files, now_ms)
    }

    /// Writes what could not be written before; after a failed fsync, to a new segment.
    ///
    /// # Errors
    /// What failed.
    pub fn retry<F: Files>(&mut self, files: &mut F, now_ms: u64) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            // Sequences may have been given to nothing.
            self.written_sequence = self.pending_sequence;
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|open| open.len >= self.segment_bytes) {
            self.close(files)?;
        }
        self.begin_if_none(files, now_ms)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let number = open.header.number;
        let write = |error: F::Error| Trouble::Write(error.to_string());
        if open.has_rest {
            files.truncate(number, open.len).map_err(write)?;
            (open.has_rest, open.was_cut) = (false, true);
        }
        let (seal, mut at) = (open.header.seal(), open.len);
        let mut from = at;
        open.has_rest = true;
        let sealed = &mut self.sealed;
        sealed.clear();
        for (frame, left) in self.pending.iter().zip((0..self.pending.len()).rev()) {
            let start = sealed.len();
            sealed.extend_from_slice(frame);
            seal.apply(sealed.get_mut(start..).unwrap_or_default(), at);
            at += frame.len() as u64;
            if sealed.len() >= WRITE_BYTES || left == 0 {
                files.write(number, from, sealed).map_err(write)?;
                from = at;
                sealed.clear();
            }
        }
        sealed.shrink_to(2 * WRITE_BYTES);
        (open.has_rest, open.len) = (false, at);
        self.spent.append(&mut self.pending);
        self.written_sequence = self.pending_sequence;
        Ok(())
    }

    /// Forces what is written to the disk. Whether it may be called durable then: false as long as
    /// snapshots are needed.
    ///
    /// # Errors
    /// It failed: what was written since the last good time is lost, as far as anybody knows.
    pub fn sync<F: Files>(&mut self, files: &mut F) -> Result<bool, Trouble> {
        if let Some(open) = &mut self.open
            && (open.synced < open.len || open.was_cut)
        {
            match files.sync(open.header.number) {
                Ok(()) => (open.synced, open.was_cut) = (open.len, false),
                Err(error) => return Err(self.lost(error)),
            }
        }
        Ok(!self.needs_snapshots)
    }

    /// Nothing more goes to the segment that is written, all of which is on the disk then: the next
    /// write begins another.
    ///
    /// # Errors
    /// What failed.
    pub fn close<F: Files>(&mut self, files: &mut F) -> Result<(), Trouble> {
        if let Some(open) = self.open.as_mut().filter(|open| open.has_rest) {
            let truncated = files.truncate(open.header.number, open.len);
            truncated.map_err(|error| Trouble::Write(error.to_string()))?;
            (open.has_rest, open.was_cut) = (false, true);
        }
        self.sync(files)?;
        self.open = None;
        Ok(())
    }

    fn lost(&mut self, error: impl Display) -> Trouble {
        self.open = None;
        self.needs_snapshots = true;
        Trouble::Sync(error.to_string())
    }

    /// Begins a segment if none is open: it is on the disk, with its name, before anything is in it.
    fn begin_if_none<F: Files>(&mut self, files: &mut F, now_ms: u64) -> Result<(), Trouble> {
        if self.open.is_some() {
            return Ok(());
        }
        let (number, data_set) = (self.next_number, self.data_set);
        let first_sequence = self.written_sequence + 1;
        let header = Header { data_set, number, first_sequence, created_ms: now_ms };
        let made = files.create(number).and_then(|()| files.write(number, 0, &header.write()));
        made.map_err(|error| Trouble::Write(error.to_string()))?;
        // From here on no file of this number is made again, whatever fails.
        self.next_number += 1;
        let synced = files.sync(number).and_then(|()| files.sync_dir());
        // Nothing is in it yet: another one is begun, and nothing is lost.
        synced.map_err(|error| Trouble::Write(error.to_string()))?;
        let len = HEADER_BYTES as u64;
        self.open = Some(Open { header, len, synced: len, has_rest: false, was_cut: false });
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
