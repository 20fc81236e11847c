//! The file of a snapshot as it is written: under another name until it is complete and on the disk.

use super::Sequence;
use super::directory::{DRAFT, Directory, File, Folder};
use super::snapshot::{self, Block, Header};

/// The bytes of a snapshot that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Draft<F> {
    name: String,
    file: F,
    writer: snapshot::Writer,
    /// What is not written yet, and where it goes.
    buffer: Vec<u8>,
    at: u64,
    first_sequence: Sequence,
    /// How many keys are in it.
    pub keys: u64,
}

impl<F: File> Draft<F> {
    /// Begins one.
    ///
    /// # Errors
    /// Why not.
    pub fn begin<D>(directory: &D, header: &Header, compresses: bool) -> Result<Self, D::Error>
    where
        D: Directory<File = F, Error = F::Error>,
    {
        let first_sequence = header.first_sequence;
        let name = snapshot::file_name(header.store, first_sequence);
        let file = directory.create(Folder::Snapshots, &format!("{name}{DRAFT}"))?;
        let (writer, begin) = snapshot::Writer::new(header, compresses);
        let buffer = begin.to_vec();
        Ok(Self { name, file, writer, buffer, at: 0, first_sequence, keys: 0 })
    }

    fn flush(&mut self) -> Result<(), F::Error> {
        self.file.write_at(self.at, &self.buffer)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Adds a slot, or a piece of it, as [`crate::keyspace::SlotTaking`] gave it. One that was empty and
    /// to which nothing was done since the header's sequence needs no place.
    ///
    /// # Errors
    /// It could not be written.
    pub fn add(&mut self, block: Block, payload: &[u8]) -> Result<(), F::Error> {
        let untouched = block.sequence == self.first_sequence && block.is_last;
        if untouched && block.piece == 0 && payload.is_empty() {
            return Ok(());
        }
        self.keys += u64::from(block.keys);
        let bytes = self.writer.block(block, payload);
        self.buffer.extend_from_slice(&bytes);
        match self.buffer.len() >= BUFFER_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Completes it, and forces it to the disk: given the last sequence that was given when its last slot
    /// was taken. It has no name yet.
    ///
    /// # Errors
    /// Why not.
    pub fn finish(self, last: Sequence, ended_ms: u64) -> Result<Finished<F>, F::Error> {
        let Self { name, mut file, writer, mut buffer, at, first_sequence, keys } = self;
        buffer.extend_from_slice(&writer.finish(last, ended_ms));
        file.write_at(at, &buffer)?;
        file.sync()?;
        let bytes = at + buffer.len() as u64;
        Ok(Finished { name, _file: file, bytes, keys, first_sequence })
    }
}

/// A snapshot that is on the disk, and has no name yet.
#[derive(Debug)]
pub struct Finished<F> {
    name: String,
    _file: F,
    /// Its bytes.
    pub bytes: u64,
    /// The keys in it.
    pub keys: u64,
    /// What the log has up to it is not needed.
    pub first_sequence: Sequence,
}

impl<F> Finished<F> {
    /// Gives it its name: from now on it is a snapshot. All records up to the last sequence that was
    /// given when its last slot was taken have to be on the disk by now: a batch of which a part is in
    /// the snapshot has to be in the log for the rest of it.
    ///
    /// # Errors
    /// Why not. It may have it nevertheless.
    pub fn publish<D: Directory>(&self, directory: &D) -> Result<(), D::Error> {
        let draft = format!("{}{DRAFT}", self.name);
        directory.rename(Folder::Snapshots, &draft, &self.name)?;
        directory.sync(Folder::Snapshots)
    }
}

/// Removes what a snapshot left behind that failed.
///
/// # Errors
/// Why not: it is removed at the next start then.
pub fn abandon<D: Directory>(directory: &D, header: &Header) -> Result<(), D::Error> {
    let name = snapshot::file_name(header.store, header.first_sequence);
    directory.remove(Folder::Snapshots, &format!("{name}{DRAFT}"))
}
