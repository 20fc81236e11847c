//! Whether what a file holds is whole: every frame of a segment, every block of a snapshot.

use hypercache_core::log::frame::HEADER_BYTES as FRAME_HEADER_BYTES;
use hypercache_core::log::read_at::read_up_to;
use hypercache_core::log::segment::{self, Header, Piece, Scan, Seal};
use hypercache_core::log::snapshot::Snapshot;
use hypercache_core::log::{DataSet, FrameHeader, ReadAt};
use hypercache_core::store::StoreNumber;

use crate::disk::OnDisk;

/// A frame that is whole.
pub struct Whole<'f> {
    /// What its header says.
    pub header: &'f FrameHeader,
    /// Its payload as it stands in the file.
    pub payload: &'f [u8],
    /// Its payload, opened.
    pub raw: &'f [u8],
}

/// Reads a segment's header.
///
/// # Errors
/// It is damaged, or another segment's.
pub fn header(file: &OnDisk, seal: Seal) -> Result<Header, String> {
    let begin = read_up_to(file, 0, segment::HEADER_BYTES as u64).map_err(|e| e.to_string())?;
    let header = Header::read(&begin).map_err(|error| error.to_string())?;
    if header.seal() != seal {
        return Err("it is another segment, or of another data set".into());
    }
    Ok(header)
}

/// Gives each frame of a segment from a place on, where a frame begins, to `each`.
///
/// # Errors
/// Something is not whole, with its place; or `each` says what is wrong.
pub fn frames(
    file: &OnDisk,
    seal: Seal,
    from: u64,
    mut each: impl FnMut(Whole<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let from = from.max(segment::HEADER_BYTES as u64);
    for piece in Scan::starting_at(file, seal, from) {
        let (offset, header) = match piece.map_err(|error| error.to_string())? {
            Piece::Found { offset, header } => (offset, header),
            Piece::Damaged { range } => {
                return Err(format!("bytes {} to {} are damaged", range.start, range.end));
            }
            Piece::Torn { from, .. } => {
                return Err(format!("it is torn at byte {from} of {}", file.byte_len()));
            }
            Piece::Newer { offset, version } => {
                return Err(format!(
                    "the frame at byte {offset} is of version {version}: a later one"
                ));
            }
        };
        let wrong =
            |reason: &dyn std::fmt::Display| format!("the frame at byte {offset}: {reason}");
        let at = offset + FRAME_HEADER_BYTES as u64;
        let payload = read_up_to(file, at, header.payload_bytes).map_err(|error| wrong(&error))?;
        let raw = header.open(&payload).map_err(|error| wrong(&error))?;
        if header.records(&raw).any(|record| record.is_none()) {
            return Err(wrong(&"a record makes no sense"));
        }
        each(Whole { header: &header, payload: &payload, raw: &raw })?;
    }
    Ok(())
}

/// Reads a snapshot's index, without its blocks.
///
/// # Errors
/// It is damaged, or another one's.
pub fn snapshot(
    file: &OnDisk,
    data_set: &DataSet,
    store: StoreNumber,
    name: &str,
) -> Result<Snapshot, String> {
    let found = Snapshot::open(file).map_err(|error| error.to_string())?;
    if found.has_damaged_header {
        return Err("its header is damaged".into());
    }
    let header = &found.header;
    if header.data_set != *data_set || header.store != store || header.name != name {
        return Err("it is another store's, or of another data set".into());
    }
    Ok(found)
}

/// Reads all blocks of a snapshot.
///
/// # Errors
/// One is damaged.
pub fn blocks(file: &OnDisk, snapshot: &Snapshot) -> Result<(), String> {
    for entry in &snapshot.entries {
        entry.read(file).map_err(|error| format!("slot {}: {error}", entry.block.slot))?;
    }
    Ok(())
}
