//! Snapshots: the file of one store's slots, each as of a moment of its own.
//!
//! | part | bytes | what |
//! |---|---:|---|
//! | header | 128 | [`Header`] |
//! | blocks | 56 + payload, each | a slot, or a piece of a large one: [`Block`] |
//! | index | 40 each | where each block is; slots that were empty |
//! | trailer | 192 | totals, and the header once more |
//!
//! The file is read from its end: without a trailer whose checksums are right it is incomplete, and no
//! snapshot. Each block has checksums of its own: a damaged one costs its slot only. A damaged header
//! costs nothing. docs/formats.md has every byte.
//!
//! The records of a slot up to the sequence that stands with its blocks are in them. A slot that is not
//! in the index was empty, and nothing was done to it since [`Header::first_sequence`].

use super::Sequence;
use super::frame::crc32c;
use super::read_at::{ReadAt, read_up_to};
use super::segment::{DataSet, HeaderError, checked_header, sealed_header};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use std::ops::Range;

/// How every snapshot begins.
pub const MAGIC: [u8; 4] = *b"HCSN";
/// How the trailer begins.
pub const TRAILER_MAGIC: [u8; 4] = *b"HCSE";
/// How every block begins.
pub const BLOCK_MAGIC: [u8; 4] = *b"HCSB";
/// The bytes of the file's header.
pub const HEADER_BYTES: usize = 128;
/// The bytes of a block's header.
pub const BLOCK_HEADER_BYTES: usize = 56;
const ENTRY_BYTES: usize = 40;
const TRAILER_BYTES: usize = 64 + HEADER_BYTES;
/// The most bytes of a store's name.
const MAX_NAME_BYTES: usize = 63;

const COMPRESSED: u16 = 1;
const LAST: u16 = 2;

/// What a snapshot's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whose data it is.
    pub data_set: DataSet,
    /// The store's number.
    pub store: StoreNumber,
    /// The store's name: a number may be given to another store later. Up to 63 bytes.
    pub name: String,
    /// When it was begun, in Unix milliseconds.
    pub created_ms: u64,
    /// The last sequence that was given when it was begun: what the log has up to it is not needed.
    pub first_sequence: Sequence,
}

impl Header {
    /// The header as it stands in the file.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let name = self.name.as_bytes();
        let name = name.get(..MAX_NAME_BYTES).unwrap_or(name);
        let mut rest = Vec::with_capacity(HEADER_BYTES);
        rest.extend_from_slice(&self.store.to_le_bytes());
        rest.extend_from_slice(&(name.len() as u16).to_le_bytes());
        rest.extend_from_slice(&self.data_set);
        rest.extend_from_slice(&self.first_sequence.to_le_bytes());
        rest.extend_from_slice(&self.created_ms.to_le_bytes());
        rest.extend_from_slice(name);
        sealed_header(MAGIC, &rest)
    }

    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut fields = Fields(checked_header::<HEADER_BYTES>(bytes, MAGIC)?);
        let (store, name) = (fields.u16(), usize::from(fields.u16()));
        let data_set = fields.take();
        let (first_sequence, created_ms) = (fields.u64(), fields.u64());
        let name = fields.0.get(..name).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or(HeaderError::Damaged)?.to_owned();
        Ok(Self { data_set, store, name, created_ms, first_sequence })
    }
}

/// The name of a snapshot's file, and [`parse_file_name`] the other way round. It gets this name once it
/// is complete and on the disk.
pub fn file_name(store: StoreNumber, first_sequence: Sequence) -> String {
    format!("snapshot-{store:05}-{first_sequence:020}.hcsn")
}

/// Store and sequence of the snapshot with this file name; `None` for other files.
pub fn parse_file_name(file_name: &str) -> Option<(StoreNumber, Sequence)> {
    let rest = file_name.strip_prefix("snapshot-")?.strip_suffix(".hcsn")?;
    let (store, sequence) = rest.split_once('-')?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    (digits(store, 5) && digits(sequence, 20)).then_some(())?;
    Some((store.parse().ok()?, sequence.parse().ok()?))
}

/// Numbers with their lowest byte first, one behind the other; zero where there are none.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const LEN: usize>(&mut self) -> [u8; LEN] {
        let Some((taken, rest)) = self.0.split_first_chunk() else {
            self.0 = &[];
            return [0; LEN];
        };
        self.0 = rest;
        *taken
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// A slot, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The slot.
    pub slot: Slot,
    /// Which piece of the slot it is, from 0.
    pub piece: u32,
    /// Whether it is the slot's last.
    pub is_last: bool,
    /// The records of the slot up to this one are in its blocks.
    pub sequence: Sequence,
    /// How many keys it has.
    pub keys: u32,
}

/// Where a block is, as the index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is of.
    pub block: Block,
    /// Its header and payload in the file; empty for a slot that was empty.
    pub range: Range<u64>,
}

/// Makes the bytes of a snapshot, one part after the other.
#[derive(Debug)]
pub struct Writer {
    header: [u8; HEADER_BYTES],
    at: u64,
    entries: Vec<Entry>,
    raw_bytes: u64,
    compresses: bool,
}

impl Writer {
    /// Begins a snapshot; with the bytes that the file begins with.
    pub fn new(header: &Header, compresses: bool) -> (Self, [u8; HEADER_BYTES]) {
        let header = header.write();
        let at = HEADER_BYTES as u64;
        (Self { header, at, entries: Vec::new(), raw_bytes: 0, compresses }, header)
    }

    /// The bytes of a block, which come next in the file. Piece 0 of a slot makes those void that were
    /// written of it before: its taking was begun anew. A slot without keys needs no bytes.
    pub fn block(&mut self, block: Block, payload: &[u8]) -> Vec<u8> {
        if block.piece == 0 && self.entries.last().is_some_and(|e| e.block.slot == block.slot) {
            self.entries.retain(|entry| entry.block.slot != block.slot);
        }
        if payload.is_empty() {
            self.entries.push(Entry { block, range: self.at..self.at });
            return Vec::new();
        }
        let compressed = self.compresses.then(|| lz4_flex::block::compress(payload));
        let compressed = compressed.filter(|compressed| compressed.len() < payload.len());
        let mut flags = if block.is_last { LAST } else { 0 };
        let stored = match &compressed {
            Some(compressed) => {
                flags |= COMPRESSED;
                compressed
            }
            None => payload,
        };
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + stored.len());
        bytes.extend_from_slice(&BLOCK_MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c(stored).to_le_bytes());
        bytes.extend_from_slice(&block.slot.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&block.sequence.to_le_bytes());
        bytes.extend_from_slice(&block.keys.to_le_bytes());
        bytes.extend_from_slice(&block.piece.to_le_bytes());
        bytes.extend_from_slice(&(stored.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.at.to_le_bytes());
        let crc = crc32c(bytes.get(8..).unwrap_or_default()).to_le_bytes();
        bytes.iter_mut().skip(4).zip(crc).for_each(|(to, byte)| *to = byte);
        bytes.extend_from_slice(stored);
        let end = self.at + bytes.len() as u64;
        self.entries.push(Entry { block, range: self.at..end });
        self.at = end;
        self.raw_bytes += payload.len() as u64;
        bytes
    }

    /// How many bytes the file has by now.
    pub fn file_bytes(&self) -> u64 {
        self.at
    }

    /// The bytes that the file ends with, given the last sequence that was given when its last slot
    /// was taken, and the time in Unix milliseconds.
    pub fn finish(self, last_sequence: Sequence, ended_ms: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_BYTES + TRAILER_BYTES);
        for Entry { block, range } in &self.entries {
            bytes.extend_from_slice(&block.slot.to_le_bytes());
            bytes.extend_from_slice(&(if block.is_last { LAST } else { 0 }).to_le_bytes());
            bytes.extend_from_slice(&block.piece.to_le_bytes());
            bytes.extend_from_slice(&block.sequence.to_le_bytes());
            bytes.extend_from_slice(&u64::from(block.keys).to_le_bytes());
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&(range.end - range.start).to_le_bytes());
        }
        let index_crc = crc32c(&bytes);
        let keys: u64 = self.entries.iter().map(|entry| u64::from(entry.block.keys)).sum();
        let mut rest = Vec::with_capacity(TRAILER_BYTES);
        rest.extend_from_slice(&index_crc.to_le_bytes());
        for number in [self.at, self.entries.len() as u64, keys] {
            rest.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.raw_bytes, last_sequence] {
            rest.extend_from_slice(&number.to_le_bytes());
        }
        rest.extend_from_slice(&ended_ms.to_le_bytes());
        rest.extend_from_slice(&self.header);
        bytes.extend_from_slice(&sealed_header::<TRAILER_BYTES>(TRAILER_MAGIC, &rest));
        bytes
    }
}

/// Why a file is no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// It could not be read.
    #[error("the snapshot cannot be read: {0}")]
    Read(E),
    /// It does not begin as one, and does not end as one.
    #[error("{0}")]
    Header(HeaderError),
    /// Its end is not that of a complete snapshot.
    #[error("the snapshot is incomplete, or its end is damaged")]
    Incomplete,
}

/// Why a block is lost.
#[derive(Debug, thiserror::Error)]
pub enum BlockError<E> {
    /// It could not be read.
    #[error("the snapshot cannot be read: {0}")]
    Read(E),
    /// Its checksums are wrong, or it is another block than the index says.
    #[error("a block of the snapshot is damaged")]
    Damaged,
}

/// A complete snapshot: what its header, trailer and index say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What the header says.
    pub header: Header,
    /// The blocks, as they stand in the file.
    pub entries: Vec<Entry>,
    /// The last sequence that was given when its last slot was taken.
    pub last_sequence: Sequence,
    /// When that was, in Unix milliseconds.
    pub ended_ms: u64,
    /// How many keys it has.
    pub keys: u64,
    /// What its payloads are before they are compressed.
    pub raw_bytes: u64,
    /// Where the index begins, which the trailer follows.
    pub index_at: u64,
    /// The header at the beginning of the file is damaged; that at its end was taken.
    pub has_damaged_header: bool,
}

impl Snapshot {
    /// Reads header, trailer and index of a snapshot.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open<S: ReadAt + ?Sized>(source: &S) -> Result<Self, OpenError<S::Error>> {
        let read = |at, len| read_up_to(source, at, len).map_err(OpenError::Read);
        let first = read(0, HEADER_BYTES as u64)?;
        let at_front = Header::read(&first);
        if let Err(error @ HeaderError::Version(_)) = at_front {
            return Err(OpenError::Header(error));
        }
        let len = source.byte_len();
        let trailer_at = len.saturating_sub(TRAILER_BYTES as u64);
        let trailer = read(trailer_at, TRAILER_BYTES as u64)?;
        let trailer = match checked_header::<TRAILER_BYTES>(&trailer, TRAILER_MAGIC) {
            Ok(trailer) => trailer,
            Err(error @ HeaderError::Version(_)) => return Err(OpenError::Header(error)),
            Err(_) => {
                let foreign = at_front.err().filter(|error| *error == HeaderError::Foreign);
                return Err(foreign.map_or(OpenError::Incomplete, OpenError::Header));
            }
        };
        let mut fields = Fields(trailer);
        let index_crc = fields.u32();
        let (index_at, entries, keys) = (fields.u64(), fields.u64(), fields.u64());
        let (raw_bytes, last_sequence, ended_ms) = (fields.u64(), fields.u64(), fields.u64());
        let header = Header::read(fields.0).map_err(OpenError::Header)?;
        let index_bytes = entries.checked_mul(ENTRY_BYTES as u64);
        let ends = index_bytes.and_then(|bytes| index_at.checked_add(bytes));
        if ends != Some(trailer_at) {
            return Err(OpenError::Incomplete);
        }
        let index = read(index_at, index_bytes.unwrap_or(0))?;
        if crc32c(&index) != index_crc {
            return Err(OpenError::Incomplete);
        }
        let mut entries = Vec::with_capacity(index.len() / ENTRY_BYTES);
        for bytes in index.chunks_exact(ENTRY_BYTES) {
            let mut fields = Fields(bytes);
            let (slot, flags, piece) = (fields.u16(), fields.u16(), fields.u32());
            let (sequence, keys) = (fields.u64(), fields.u64() as u32);
            let (start, len) = (fields.u64(), fields.u64());
            let end = start.checked_add(len).filter(|end| *end <= index_at);
            let end = end.ok_or(OpenError::Incomplete)?;
            let block = Block { slot, piece, is_last: flags & LAST != 0, sequence, keys };
            entries.push(Entry { block, range: start..end });
        }
        let has_damaged_header = at_front.as_ref() != Ok(&header);
        Ok(Self {
            header,
            entries,
            last_sequence,
            ended_ms,
            keys,
            raw_bytes,
            index_at,
            has_damaged_header,
        })
    }

    /// How the file begins, and how it ends from [`Self::index_at`] on, when it is to be another data
    /// set's: the blocks between say nothing of whose they are.
    pub fn ends_for(&self, data_set: DataSet) -> ([u8; HEADER_BYTES], Vec<u8>) {
        let header = Header { data_set, ..self.header.clone() }.write();
        let (at, entries, raw_bytes) = (self.index_at, self.entries.clone(), self.raw_bytes);
        let writer = Writer { header, at, entries, raw_bytes, compresses: false };
        (header, writer.finish(self.last_sequence, self.ended_ms))
    }

    /// The records of a slot up to this one are in the snapshot.
    pub fn sequence_of(&self, slot: Slot) -> Sequence {
        let of_slot = self.entries.iter().find(|entry| entry.block.slot == slot);
        of_slot.map_or(self.header.first_sequence, |entry| entry.block.sequence)
    }

    /// [`Self::sequence_of`] of every slot.
    pub fn sequences(&self) -> Vec<Sequence> {
        let mut sequences = vec![self.header.first_sequence; usize::from(crate::cluster::SLOTS)];
        for entry in &self.entries {
            if let Some(place) = sequences.get_mut(usize::from(entry.block.slot)) {
                *place = entry.block.sequence;
            }
        }
        sequences
    }
}

impl Entry {
    /// Reads a block's payload, as it was before it was compressed.
    ///
    /// # Errors
    /// Why it is lost.
    pub fn read<S: ReadAt + ?Sized>(&self, source: &S) -> Result<Vec<u8>, BlockError<S::Error>> {
        if self.range.is_empty() {
            return Ok(Vec::new());
        }
        let len = self.range.end - self.range.start;
        let bytes = read_up_to(source, self.range.start, len).map_err(BlockError::Read)?;
        if bytes.len() as u64 != len {
            return Err(BlockError::Damaged);
        }
        self.open(&bytes).ok_or(BlockError::Damaged)
    }

    /// Checks the bytes of a block, and gives its payload as it was before it was compressed; `None` if
    /// it is damaged, or another block than the index says.
    pub fn open(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (header, stored) = bytes.split_at_checked(BLOCK_HEADER_BYTES)?;
        let mut fields = Fields(header);
        let (magic, crc): ([u8; 4], u32) = (fields.take(), fields.u32());
        if magic != BLOCK_MAGIC || crc != crc32c(fields.0) {
            return None;
        }
        let payload_crc = fields.u32();
        let (slot, flags, sequence) = (fields.u16(), fields.u16(), fields.u64());
        let (keys, piece) = (fields.u32(), fields.u32());
        let (stored_bytes, raw_bytes, at) = (fields.u64(), fields.u64(), fields.u64());
        let block = Block { slot, piece, is_last: flags & LAST != 0, sequence, keys };
        let as_told = block == self.block && at == self.range.start;
        if !as_told || stored_bytes != stored.len() as u64 || payload_crc != crc32c(stored) {
            return None;
        }
        let raw_bytes = usize::try_from(raw_bytes).ok()?;
        if flags & COMPRESSED == 0 {
            return (raw_bytes == stored.len()).then(|| stored.to_vec());
        }
        // LZ4 makes of one byte no more than 255: a length beyond that is a lie.
        if raw_bytes / 256 > stored.len() {
            return None;
        }
        let raw = lz4_flex::block::decompress(stored, raw_bytes).ok()?;
        (raw.len() == raw_bytes).then_some(raw)
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
