//! What a link says of a slot beside its records: from here on the slot begins anew, or goes on.

use crate::log::record::{put_varint, take_varint};
use crate::store::StoreNumber;

/// The store of records that are marks.
pub const MARK: StoreNumber = u16::MAX - 1;

/// A mark. The records behind it are of its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The slot's epoch.
    pub epoch: u64,
    /// How many records were done before.
    pub sequence: u64,
    /// Which stores go over the link: a number for a set of stores.
    pub coverage: u64,
    /// The number of the pieces that say what the slot holds here; 0: the peer has that.
    pub attachment: u64,
}

impl Mark {
    /// Appends it: its numbers as varints.
    pub fn put(&self, out: &mut Vec<u8>) {
        [self.epoch, self.sequence, self.coverage, self.attachment]
            .into_iter()
            .for_each(|number| put_varint(out, number));
    }

    /// Reads one that stands alone; `None` if it makes no sense.
    pub fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut next = || take_varint(&mut bytes);
        let (epoch, sequence) = (next()?, next()?);
        let (coverage, attachment) = (next()?, next()?);
        bytes.is_empty().then_some(Self { epoch, sequence, coverage, attachment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_nothing_else_is() {
        let mark = Mark { epoch: 7, sequence: u64::MAX, coverage: 1 << 63, attachment: 0 };
        let mut bytes = Vec::new();
        mark.put(&mut bytes);
        assert_eq!(Mark::read(&bytes), Some(mark));
        for end in 0..bytes.len() {
            assert_eq!(Mark::read(&bytes[..end]), None);
        }
        bytes.push(0);
        assert_eq!(Mark::read(&bytes), None);
    }
}
