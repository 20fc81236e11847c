//! Bytes that are read at a place: a file, for who has files; some bytes, for tests and tools.

use std::convert::Infallible;

/// Something that is read at places. What is read does not change meanwhile.
pub trait ReadAt {
    /// Why bytes could not be read.
    type Error;

    /// How many bytes there are.
    fn byte_len(&self) -> u64;

    /// Fills `to` with what stands from `offset` on; how many bytes that were: less than asked for
    /// only where the bytes end.
    ///
    /// # Errors
    /// Why they could not be read.
    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Self::Error>;
}

impl ReadAt for [u8] {
    type Error = Infallible;

    fn byte_len(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, Infallible> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(from..).unwrap_or_default();
        let len = bytes.len().min(to.len());
        to.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        Ok(len)
    }
}

/// Up to `len` bytes from `offset` on; no more than there are.
pub fn read_up_to<S: ReadAt + ?Sized>(
    source: &S,
    offset: u64,
    len: u64,
) -> Result<Vec<u8>, S::Error> {
    let len = len.min(source.byte_len().saturating_sub(offset));
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = source.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
