//! Frames: records with a header and checksums. A frame is there whole or not at all.
//!
//! The header, all numbers with the lowest byte first:
//!
//! | at | bytes | what |
//! |---:|---:|---|
//! | 0 | 4 | `HCF` and the format's version |
//! | 4 | 4 | CRC-32C of the header from byte 8 on |
//! | 8 | 4 | CRC-32C of the payload as it stands in the file |
//! | 12 | 4 | records |
//! | 16 | 8 | length of the payload as it stands in the file |
//! | 24 | 8 | its length when it is not compressed |
//! | 32 | 8 | sequence of the first record |
//! | 40 | 8 | time of the first record, Unix milliseconds |
//! | 48 | 2 | the records' store; 65535: of several, each record says which; 65533: of none |
//! | 50 | 2 | the lowest slot of the records |
//! | 52 | 2 | the highest one |
//! | 54 | 2 | 1: the payload is compressed, LZ4 block; 2: all before the frame was forced to the disk when it was written |
//!
//! CRC-32C is that of RFC 3720 (iSCSI).

use super::record::{Record, put_varint, take_bytes, take_varint};
use super::{Batch, Sequence};
use crate::cache_line::{LINE_BYTES, line_to_write};
use crate::cluster::Slot;
use crate::store::StoreNumber;
use std::ops::RangeInclusive;

/// The bytes of a frame's header.
pub const HEADER_BYTES: usize = 56;
/// How every frame begins.
pub const MAGIC: [u8; 4] = *b"HCF\x01";
/// In the place of a store's number: the records say themselves whose they are.
pub const SEVERAL: StoreNumber = u16::MAX;
/// The store of records without commands, whose sequences were given to changes of stores.
pub const NOBODY: StoreNumber = u16::MAX - 2;

const COMPRESSED: u16 = 1;
const FOLLOWS_SYNC: u16 = 2;
/// A frame is closed once it is this large.
const FULL_BYTES: usize = 256 << 10;
/// In a record's slot: the next record of the frame is of the same batch.
const CONTINUES: Slot = 1 << 15;
/// So many lines of memory are asked for ahead at most.
const MOST_LINES_AHEAD: usize = 4;
/// The most bytes of a record beside its commands.
const RECORD_BYTES: usize = 10 + 10 + 3 + 2 + 4;

/// The CRC-32C of some bytes.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// What a frame's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameHeader {
    /// The length of the payload as it stands in the file.
    pub payload_bytes: u64,
    /// Its length when it is not compressed.
    pub raw_bytes: u64,
    /// How many records it has.
    pub records: u32,
    /// The sequence of the first record.
    pub first_sequence: Sequence,
    /// The time of the first record, in Unix milliseconds.
    pub first_time_ms: u64,
    /// The records' store, or [`SEVERAL`].
    pub store: StoreNumber,
    /// From the lowest slot of the records to the highest.
    pub slots: RangeInclusive<Slot>,
    /// Whether the payload is compressed.
    pub is_compressed: bool,
    /// All before the frame in its segment was forced to the disk when it was written.
    pub follows_sync: bool,
    /// The payload's checksum.
    pub payload_crc: u32,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is no header, or its checksum is another.
    #[error("no frame begins here")]
    Header,
    /// The file ends before the frame does.
    #[error("the frame is cut off")]
    CutOff,
    /// The payload's checksum is another.
    #[error("the frame's checksum is wrong")]
    Checksum,
    /// The checksums are right, but what they are of makes no sense.
    #[error("the frame's content makes no sense")]
    Content,
    /// A later version of this program wrote it.
    #[error("the frame is of version {0}, which this program does not know")]
    Version(u8),
}

impl FrameHeader {
    /// Reads a header from the first [`HEADER_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(Damage::CutOff);
        };
        let Some((crc, _)) = rest.split_first_chunk::<4>() else { return Err(Damage::CutOff) };
        let Some(body) = bytes.get(8..HEADER_BYTES) else { return Err(Damage::CutOff) };
        if magic[..3] != MAGIC[..3] || u32::from_le_bytes(*crc) != crc32c(body) {
            return Err(Damage::Header);
        }
        if magic[3] != MAGIC[3] {
            return Err(Damage::Version(magic[3]));
        }
        let mut from = body;
        let mut next = |bytes: u32| -> u64 {
            let taken = take_bytes(&mut from, u64::from(bytes)).unwrap_or_default();
            taken.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
        };
        let payload_crc = next(4) as u32;
        let records = next(4) as u32;
        let (payload_bytes, raw_bytes) = (next(8), next(8));
        let (first_sequence, first_time_ms) = (next(8), next(8));
        let store = next(2) as u16;
        let (lowest, highest, flags) = (next(2) as u16, next(2) as u16, next(2) as u16);
        let (is_compressed, follows_sync) = (flags & COMPRESSED != 0, flags & FOLLOWS_SYNC != 0);
        if flags > COMPRESSED | FOLLOWS_SYNC
            || records == 0
            || !is_compressed && payload_bytes != raw_bytes
        {
            return Err(Damage::Content);
        }
        Ok(Self {
            payload_bytes,
            raw_bytes,
            records,
            first_sequence,
            first_time_ms,
            store,
            slots: lowest..=highest,
            is_compressed,
            follows_sync,
            payload_crc,
        })
    }

    fn write(&self, to: &mut [u8]) {
        let mut body = [0; HEADER_BYTES - 8];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(place) = body.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&self.payload_crc.to_le_bytes());
        put(&self.records.to_le_bytes());
        put(&self.payload_bytes.to_le_bytes());
        put(&self.raw_bytes.to_le_bytes());
        put(&self.first_sequence.to_le_bytes());
        put(&self.first_time_ms.to_le_bytes());
        put(&self.store.to_le_bytes());
        put(&self.slots.start().to_le_bytes());
        put(&self.slots.end().to_le_bytes());
        let compressed = if self.is_compressed { COMPRESSED } else { 0 };
        let follows_sync = if self.follows_sync { FOLLOWS_SYNC } else { 0 };
        put(&(compressed | follows_sync).to_le_bytes());
        if let Some((magic, rest)) = to.split_first_chunk_mut::<4>() {
            *magic = MAGIC;
            if let Some((crc, rest)) = rest.split_first_chunk_mut::<4>() {
                *crc = crc32c(&body).to_le_bytes();
                if let Some(place) = rest.get_mut(..body.len()) {
                    place.copy_from_slice(&body);
                }
            }
        }
    }

    /// The header as it stands in a file, but for the seal.
    pub fn unsealed(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        self.write(&mut bytes);
        bytes
    }

    /// Says in a finished frame, not sealed, that all before it is on the disk.
    pub fn mark_follows_sync(frame: &mut [u8]) {
        if let Ok(header) = Self::read(frame) {
            Self { follows_sync: true, ..header }.write(frame);
        }
    }

    /// The bytes of the whole frame in the file.
    pub fn frame_bytes(&self) -> u64 {
        self.payload_bytes.saturating_add(HEADER_BYTES as u64)
    }

    /// Checks a payload against the header, and gives it as it was before it was compressed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open<'p>(&self, payload: &'p [u8]) -> Result<std::borrow::Cow<'p, [u8]>, Damage> {
        if payload.len() as u64 != self.payload_bytes {
            return Err(Damage::CutOff);
        }
        if crc32c(payload) != self.payload_crc {
            return Err(Damage::Checksum);
        }
        if !self.is_compressed {
            return Ok(payload.into());
        }
        let len = usize::try_from(self.raw_bytes).map_err(|_| Damage::Content)?;
        // LZ4 makes of one byte no more than 255: a length beyond that is a lie.
        if len / 256 > payload.len() {
            return Err(Damage::Content);
        }
        let raw = lz4_flex::block::decompress(payload, len).map_err(|_| Damage::Content)?;
        if raw.len() == len { Ok(raw.into()) } else { Err(Damage::Content) }
    }

    /// The records of an opened payload, in order. `None` in the place of one that makes no sense,
    /// which is the last then.
    pub fn records<'p>(&self, raw: &'p [u8]) -> impl Iterator<Item = Option<Record<'p>>> + use<'p> {
        let (first_sequence, first_time_ms) = (self.first_sequence, self.first_time_ms);
        let (store, slots, mut left) = (self.store, self.slots.clone(), self.records);
        let mut rest = raw;
        std::iter::from_fn(move || {
            if left == 0 && rest.is_empty() {
                return None;
            }
            let mut read = || {
                left = left.checked_sub(1)?;
                let sequence = first_sequence.checked_add(take_varint(&mut rest)?)?;
                let time_ms = first_time_ms.checked_add(take_varint(&mut rest)?)?;
                let store = match store {
                    SEVERAL => StoreNumber::try_from(take_varint(&mut rest)?).ok()?,
                    store => store,
                };
                let slot: Slot =
                    take_bytes(&mut rest, 2)?.try_into().map(u16::from_le_bytes).ok()?;
                let (slot, continues) = (slot & !CONTINUES, slot & CONTINUES != 0);
                // A batch ends with its frame at the latest.
                (!continues || left > 0).then_some(())?;
                let len = take_bytes(&mut rest, 4)?.try_into().map(u32::from_le_bytes).ok()?;
                let commands = take_bytes(&mut rest, u64::from(len))?;
                slots.contains(&slot).then_some(())?;
                Some(Record { sequence, time_ms, store, slot, continues, commands })
            };
            let record = read();
            if record.is_none() {
                (left, rest) = (0, &[]);
            }
            Some(record)
        })
    }
}

/// A frame that is being made.
#[derive(Debug)]
pub struct Frame {
    /// The place of the header, and the payload.
    bytes: Vec<u8>,
    header: FrameHeader,
    batch_size: u32,
    compresses: bool,
}

impl Frame {
    /// An empty frame for the records of a store, or of [`SEVERAL`]; `batch_size` is the most records
    /// that it takes before it is full.
    pub fn new(store: StoreNumber, batch_size: u32, compresses: bool) -> Self {
        Self::in_buffer(Vec::new(), store, batch_size, compresses)
    }

    /// As [`Self::new`], in the memory of a buffer whose content goes.
    pub fn in_buffer(
        mut bytes: Vec<u8>,
        store: StoreNumber,
        batch_size: u32,
        compresses: bool,
    ) -> Self {
        bytes.clear();
        bytes.resize(HEADER_BYTES, 0);
        Self {
            bytes,
            header: FrameHeader {
                payload_bytes: 0,
                raw_bytes: 0,
                records: 0,
                first_sequence: 0,
                first_time_ms: 0,
                store,
                slots: RangeInclusive::new(Slot::MAX, 0),
                is_compressed: false,
                follows_sync: false,
                payload_crc: 0,
            },
            batch_size,
            compresses,
        }
    }

    /// Whose records it has.
    #[inline]
    pub fn store(&self) -> StoreNumber {
        self.header.store
    }

    /// The sequence of its first record.
    pub fn first_sequence(&self) -> Sequence {
        self.header.first_sequence
    }

    /// How many records it has.
    pub fn records(&self) -> u32 {
        self.header.records
    }

    /// How many bytes it is by now.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.header.records == 0
    }

    /// Whether the next record belongs into another frame.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.header.records >= self.batch_size || self.bytes.len() >= FULL_BYTES
    }

    /// Adds a batch of one record, whose commands `write` appends: 4 GB at most.
    #[inline]
    pub fn add(
        &mut self,
        sequence: Sequence,
        time_ms: u64,
        store: StoreNumber,
        slot: Slot,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.add_record(sequence, time_ms, store, slot, 0, write);
    }

    /// Adds a record; `flag` is [`CONTINUES`] if the batch goes on in the next one.
    #[inline]
    fn add_record(
        &mut self,
        sequence: Sequence,
        time_ms: u64,
        store: StoreNumber,
        slot: Slot,
        flag: Slot,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let header = &mut self.header;
        if header.records == 0 {
            (header.first_sequence, header.first_time_ms) = (sequence, time_ms);
        }
        header.records += 1;
        header.slots = slot.min(*header.slots.start())..=slot.max(*header.slots.end());
        let bytes = &mut self.bytes;
        let begin = bytes.len();
        bytes.reserve(RECORD_BYTES + 64);
        put_varint(bytes, sequence - header.first_sequence);
        // A clock that was set back shows as no time passed.
        put_varint(bytes, time_ms.saturating_sub(header.first_time_ms));
        if header.store == SEVERAL {
            put_varint(bytes, u64::from(store));
        }
        bytes.extend_from_slice(&(slot | flag).to_le_bytes());
        let start = bytes.len() + 4;
        bytes.extend_from_slice(&[0; 4]);
        write(bytes);
        let len = (bytes.len() - start) as u32;
        if let Some(place) = bytes.get_mut(start - 4..start) {
            place.copy_from_slice(&len.to_le_bytes());
        }
        // The next one is as long, most likely: its lines are on their way until it comes, so that the
        // lane's lock is not held until they are there.
        let lines = (bytes.len() - begin).div_ceil(LINE_BYTES).min(MOST_LINES_AHEAD);
        let end = bytes.as_ptr().wrapping_add(bytes.len());
        (1..=lines).for_each(|line| line_to_write(end.wrapping_add(line * LINE_BYTES)));
    }

    /// Adds the records of a batch, the first with this sequence.
    pub fn add_batch(&mut self, first: Sequence, time_ms: u64, batch: &Batch) {
        let mut left = batch.len();
        for ((store, slot, commands), sequence) in batch.records().zip(first..) {
            left -= 1;
            let flag = if left > 0 { CONTINUES } else { 0 };
            self.add_record(sequence, time_ms, store, slot, flag, |to| {
                to.extend_from_slice(commands);
            });
        }
    }

    /// The frame as it goes to the file, and what its header says.
    pub fn finish(mut self) -> (Vec<u8>, FrameHeader) {
        let raw = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let raw_bytes = raw.len();
        self.header.raw_bytes = raw_bytes as u64;
        let compressed = self.compresses.then(|| lz4_flex::block::compress(raw));
        if let Some(compressed) = compressed.filter(|compressed| compressed.len() < raw_bytes) {
            self.header.is_compressed = true;
            self.bytes.truncate(HEADER_BYTES);
            self.bytes.extend_from_slice(&compressed);
        }
        let payload = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        self.header.payload_bytes = payload.len() as u64;
        self.header.payload_crc = crc32c(payload);
        self.header.write(&mut self.bytes);
        (self.bytes, self.header)
    }
}
