//! A segment part by part: frames with their checksums checked and their records read, and what is no
//! frame. Batches, which are cut whole or not at all.

use std::ops::Range;

use hypercache_core::log::cut::{self, Cut};
use hypercache_core::log::frame::HEADER_BYTES;
use hypercache_core::log::read_at::read_up_to;
use hypercache_core::log::record::commands;
use hypercache_core::log::segment::{Piece, Scan};
use hypercache_core::log::{FrameHeader, Record, Sequence};

use super::Error;
use super::source::{SegmentFile, failed};
use crate::disk::layout::OnDisk;

/// A part of a segment.
pub enum Part {
    /// A frame, all of whose checksums are right.
    Frame(Opened),
    /// Bytes that are no frame, or one that is damaged.
    Damaged {
        /// Where.
        range: Range<u64>,
        /// What is wrong.
        reason: String,
    },
    /// Nothing that can be read follows: the last part.
    Torn {
        /// From here on.
        from: u64,
        /// Only zeros follow: blocks that were never written.
        is_blank: bool,
    },
}

/// A frame that was read.
pub struct Opened {
    pub offset: u64,
    pub header: FrameHeader,
    raw: Vec<u8>,
}

impl Opened {
    /// The records, in order.
    pub fn records(&self) -> Vec<Record<'_>> {
        self.header.records(&self.raw).flatten().collect()
    }

    /// What of it stays when all batches go that have a record after a sequence; `None`: a batch in it is
    /// not whole.
    pub fn cut(&self, last: Sequence) -> Option<Cut> {
        cut::cut(&self.header, &self.raw, last)
    }

    /// The records by batch: what was done at once, and is there as a whole or not at all.
    pub fn batches(&self) -> Vec<Vec<Record<'_>>> {
        let (mut batches, mut batch) = (Vec::new(), Vec::new());
        for record in self.header.records(&self.raw).flatten() {
            batch.push(record);
            if !record.continues {
                batches.push(std::mem::take(&mut batch));
            }
        }
        batches
    }

    /// Where the frame is.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.header.frame_bytes()
    }
}

/// Why a frame's records are none; `None` if they are.
fn nonsense(header: &FrameHeader, raw: &[u8]) -> Option<String> {
    for record in header.records(raw) {
        let Some(record) = record else { return Some("a record makes no sense".into()) };
        if commands(record.commands).any(|command| command.is_none()) {
            return Some(format!("the commands of record {} are not well-formed", record.sequence));
        }
    }
    None
}

/// Gives each part of a segment to `each`, in order. Only frames for which `wants` says so by their header
/// are read; the others are left out.
pub fn visit(
    segment: &SegmentFile,
    file: &OnDisk,
    wants: impl Fn(&FrameHeader) -> bool,
    mut each: impl FnMut(Part) -> Result<(), Error>,
) -> Result<(), Error> {
    for piece in Scan::new(file, segment.seal) {
        let part = match piece.map_err(failed(&segment.path))? {
            Piece::Found { header, .. } if !wants(&header) => continue,
            Piece::Found { offset, header } => {
                let at = offset + HEADER_BYTES as u64;
                let payload = read_up_to(file, at, header.payload_bytes);
                let payload = payload.map_err(failed(&segment.path))?;
                let range = offset..offset + header.frame_bytes();
                match header.open(&payload).map(std::borrow::Cow::into_owned) {
                    Err(error) => Part::Damaged { range, reason: error.to_string() },
                    Ok(raw) => match nonsense(&header, &raw) {
                        Some(reason) => Part::Damaged { range, reason },
                        None => Part::Frame(Opened { offset, header, raw }),
                    },
                }
            }
            Piece::Damaged { range } => {
                Part::Damaged { range, reason: "no frame that can be read".into() }
            }
            Piece::Torn { from, is_blank } => Part::Torn { from, is_blank },
            Piece::Newer { offset, version } => {
                return Err(Error::Refused(format!(
                    "{}: its frame at byte {offset} is of version {version}: a later one",
                    segment.path.display()
                )));
            }
        };
        each(part)?;
    }
    Ok(())
}
