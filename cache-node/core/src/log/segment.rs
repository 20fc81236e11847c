//! Segments: the files of frames that the log is.
//!
//! A segment begins with a header, all numbers with the lowest byte first:
//!
//! | at | bytes | what |
//! |---:|---:|---|
//! | 0 | 4 | `HCLG` |
//! | 4 | 4 | CRC-32C of the header from byte 8 on |
//! | 8 | 4 | the format's version |
//! | 12 | 4 | zero |
//! | 16 | 16 | the data set: whose log this is |
//! | 32 | 8 | the segment's number; each is one more than the one before |
//! | 40 | 8 | the lowest sequence that can be in it: all lower ones are in segments before it |
//! | 48 | 8 | when it was begun, Unix milliseconds |
//! | 56 | 8 | zero |
//!
//! Later versions keep the place of the checksum, the version and the length of the header, so that a
//! damaged header is told from one of a later version.
//!
//! After it come frames, one behind the other. Each is *sealed*: the checksum of its header is combined
//! (exclusive or) with the CRC-32C of data set, segment number, the frame's place and the version in its
//! fourth byte. So a frame that somebody stored as a value, or one that is left of another file, is not taken for one of the log
//! when frames are searched for behind a damaged place.

use super::Sequence;
use super::frame::{self, Damage, FrameHeader, crc32c};
use super::read_at::{ReadAt, read_up_to};
use std::ops::Range;

/// The bytes of a segment's header: where the first frame is.
pub const HEADER_BYTES: usize = 64;
/// How every segment begins.
pub const MAGIC: [u8; 4] = *b"HCLG";
/// The version that this program writes.
pub const VERSION: u32 = 1;
/// So much is read at once where frames are small, and where one is searched for.
const WINDOW_BYTES: usize = 16 << 10;

/// Which data a file is of: given once to the data of a member, at random.
pub type DataSet = [u8; 16];

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose log it is.
    pub data_set: DataSet,
    /// Its number among the segments.
    pub number: u64,
    /// All lower sequences are in segments before it.
    pub first_sequence: Sequence,
    /// When it was begun, in Unix milliseconds.
    pub created_ms: u64,
}

/// Why a file's header cannot be used. The same for segments and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is shorter than a header.
    #[error("the file ends within its header")]
    CutOff,
    /// It does not begin as it should.
    #[error("the file is not one of HyperCache's: it begins otherwise")]
    Foreign,
    /// Its checksum is another.
    #[error("the file's header is damaged: its checksum is wrong")]
    Damaged,
    /// A later version of this program wrote it.
    #[error("the file is of format version {0}, and this program knows versions up to {VERSION}")]
    Version(u32),
}

/// The name of a segment's file.
pub fn file_name(number: u64) -> String {
    format!("log-{number:020}.hclg")
}

/// The number of the segment with this file name; `None` for other files.
pub fn number_of(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_prefix("log-")?.strip_suffix(".hclg")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Checks what all of our files begin with: magic, checksum, version. The bytes after these 12.
pub(super) fn checked_header<const BYTES: usize>(
    bytes: &[u8],
    magic: [u8; 4],
) -> Result<&[u8], HeaderError> {
    let begin = bytes.get(..magic.len().min(bytes.len())).unwrap_or_default();
    if begin != &magic[..begin.len()] {
        return Err(HeaderError::Foreign);
    }
    let header = bytes.get(..BYTES).ok_or(HeaderError::CutOff)?;
    let crc = header.get(4..8).and_then(|crc| crc.try_into().ok()).map(u32::from_le_bytes);
    let body = header.get(8..).unwrap_or_default();
    if crc != Some(crc32c(body)) {
        return Err(HeaderError::Damaged);
    }
    let (version, rest) = body.split_first_chunk().ok_or(HeaderError::CutOff)?;
    match u32::from_le_bytes(*version) {
        VERSION => Ok(rest),
        other => Err(HeaderError::Version(other)),
    }
}

/// Writes what [`checked_header`] checks.
pub(super) fn sealed_header<const BYTES: usize>(magic: [u8; 4], rest: &[u8]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let body = VERSION.to_le_bytes();
    let body = body.iter().chain(rest);
    bytes.iter_mut().skip(8).zip(body).for_each(|(to, byte)| *to = *byte);
    let crc = crc32c(bytes.get(8..).unwrap_or_default()).to_le_bytes();
    bytes.iter_mut().zip(magic.iter().chain(&crc)).for_each(|(to, byte)| *to = *byte);
    bytes
}

impl Header {
    /// The header as it stands in the file.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let mut rest = vec![0; 4];
        rest.extend_from_slice(&self.data_set);
        for number in [self.number, self.first_sequence, self.created_ms] {
            rest.extend_from_slice(&number.to_le_bytes());
        }
        sealed_header(MAGIC, &rest)
    }

    /// Reads a header from the first [`HEADER_BYTES`] of a file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(bytes: &[u8]) -> Result<Self, HeaderError> {
        let rest = checked_header::<HEADER_BYTES>(bytes, MAGIC)?;
        let read = || {
            let (data_set, mut rest) = rest.get(4..)?.split_first_chunk::<16>()?;
            let mut next = || {
                let (number, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                Some(u64::from_le_bytes(*number))
            };
            let (number, first_sequence, created_ms) = (next()?, next()?, next()?);
            Some(Self { data_set: *data_set, number, first_sequence, created_ms })
        };
        read().ok_or(HeaderError::CutOff)
    }

    /// What seals the frames of this segment.
    pub fn seal(&self) -> Seal {
        Seal { data_set: self.data_set, number: self.number }
    }
}

/// Binds frames to a segment and their place in it. The header of a segment need not be readable for
/// this: its number is in the name of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Whose log it is.
    pub data_set: DataSet,
    /// The segment's number.
    pub number: u64,
}

impl Seal {
    fn mask(&self, offset: u64, version: u8) -> u32 {
        let mut bytes = [0; 33];
        let parts = self.data_set.iter().copied();
        let parts = parts.chain(self.number.to_le_bytes()).chain(offset.to_le_bytes());
        let parts = parts.chain([version]);
        bytes.iter_mut().zip(parts).for_each(|(to, byte)| *to = byte);
        crc32c(&bytes)
    }

    /// Seals a finished frame for its place in the file, or opens the seal again.
    pub fn apply(&self, frame: &mut [u8], offset: u64) {
        let mask = self.mask(offset, frame.get(3).copied().unwrap_or(0)).to_le_bytes();
        frame.iter_mut().skip(4).zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }

    /// Reads the header of the frame that is sealed at a place, from its first bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, bytes: &[u8], offset: u64) -> Result<FrameHeader, Damage> {
        let (header, _) =
            bytes.split_first_chunk::<{ frame::HEADER_BYTES }>().ok_or(Damage::CutOff)?;
        let mut header = *header;
        self.apply(&mut header, offset);
        FrameHeader::read(&header)
    }
}

/// A part of a segment, as [`Scan`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A frame is all there, as far as its header says: its payload was not read yet.
    Found {
        /// Where its header is; the payload is [`frame::HEADER_BYTES`] behind.
        offset: u64,
        /// What it says.
        header: FrameHeader,
    },
    /// No frame was found in these bytes, but one behind them.
    Damaged {
        /// The bytes that are lost.
        range: Range<u64>,
    },
    /// Nothing that can be read follows; the last piece.
    Torn {
        /// Where the segment is to be cut.
        from: u64,
        /// Only zeros follow: blocks that were never written.
        is_blank: bool,
    },
    /// A later version of this program wrote a frame: nothing may be cut here. The last piece.
    Newer {
        /// Where the frame is.
        offset: u64,
        /// Its version.
        version: u8,
    },
}

/// Steps over a segment from frame to frame without reading their payloads. After a damaged header it
/// searches for the next frame.
pub struct Scan<'s, S: ?Sized> {
    source: &'s S,
    seal: Seal,
    at: u64,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
    ended: bool,
}

impl<S: ?Sized> std::fmt::Debug for Scan<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("at", &self.at).field("len", &self.len).finish_non_exhaustive()
    }
}

impl<'s, S: ReadAt + ?Sized> Scan<'s, S> {
    /// Begins behind the segment's header.
    pub fn new(source: &'s S, seal: Seal) -> Self {
        Self::starting_at(source, seal, HEADER_BYTES as u64)
    }

    /// Begins where a frame begins.
    pub fn starting_at(source: &'s S, seal: Seal, offset: u64) -> Self {
        let len = source.byte_len();
        let (window, window_at) = (Vec::new(), 0);
        Self { source, seal, at: offset, len, window, window_at, ended: false }
    }

    /// Up to `len` bytes from a place on; fewer only at the end.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], S::Error> {
        let has = |window: &[u8], window_at: u64| {
            let from = usize::try_from(at.checked_sub(window_at)?).ok()?;
            let end = from.checked_add(len)?;
            (end <= window.len()).then_some(from)
        };
        if has(&self.window, self.window_at).is_none() {
            self.window = read_up_to(self.source, at, len.max(WINDOW_BYTES) as u64)?;
            self.window_at = at;
        }
        let from = has(&self.window, self.window_at).unwrap_or(0);
        let end = (from + len).min(self.window.len());
        Ok(self.window.get(from..end).unwrap_or_default())
    }

    fn header_at(&mut self, at: u64) -> Result<Result<FrameHeader, Damage>, S::Error> {
        let (seal, left) = (self.seal, self.len.saturating_sub(at));
        let read = seal.read(self.bytes(at, frame::HEADER_BYTES)?, at);
        Ok(read.and_then(|header| match header.frame_bytes() <= left {
            true => Ok(header),
            false => Err(Damage::CutOff),
        }))
    }

    /// The next place from `from` on where a frame begins, and whether all before it is zero.
    fn search(&mut self, from: u64) -> Result<(Option<u64>, bool), S::Error> {
        let name = &frame::MAGIC[..3];
        let (mut at, mut is_blank) = (from, true);
        while at < self.len {
            let chunk = self.bytes(at, WINDOW_BYTES)?.to_vec();
            is_blank &= chunk.iter().all(|byte| *byte == 0);
            for found in memchr::memmem::find_iter(&chunk, name) {
                let found = at + found as u64;
                if found > from && matches!(self.header_at(found)?, Ok(_) | Err(Damage::Version(_)))
                {
                    return Ok((Some(found), false));
                }
            }
            if chunk.len() < WINDOW_BYTES {
                break;
            }
            at += (chunk.len() - name.len() + 1) as u64;
        }
        Ok((None, is_blank))
    }

    fn step(&mut self) -> Result<Option<Piece>, S::Error> {
        if self.ended || self.at >= self.len {
            return Ok(None);
        }
        let from = self.at;
        match self.header_at(from)? {
            Ok(header) => {
                self.at += header.frame_bytes();
                Ok(Some(Piece::Found { offset: from, header }))
            }
            Err(Damage::Version(version)) => {
                self.ended = true;
                Ok(Some(Piece::Newer { offset: from, version }))
            }
            Err(_) => match self.search(from)? {
                (Some(next), _) => {
                    self.at = next;
                    Ok(Some(Piece::Damaged { range: from..next }))
                }
                (None, is_blank) => {
                    self.ended = true;
                    Ok(Some(Piece::Torn { from, is_blank }))
                }
            },
        }
    }
}

impl<S: ReadAt + ?Sized> Iterator for Scan<'_, S> {
    type Item = Result<Piece, S::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        self.ended |= step.is_err();
        step.transpose()
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
