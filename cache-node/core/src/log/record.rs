//! Records: what was done to a slot of a store, as Redis commands.
//!
//! A record's bytes in a frame: its sequence and its time in milliseconds, both less the frame's first
//! and as varints; in a frame of several stores, the store's number as a varint; the slot, two bytes, the
//! lowest first; the length of its commands, four bytes; and these, in RESP: each an array of bulk
//! strings, so that any byte is safe in them.

use super::Sequence;
use crate::cluster::Slot;
use crate::store::StoreNumber;
use smallvec::SmallVec;

/// Appends a number in the form of LEB128: seven bits a byte, the lowest first.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`put_varint`] wrote, and moves on behind it; `None` if it is cut off or too long.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Takes this many bytes from the front; `None` if there are not as many.
#[inline]
pub fn take_bytes<'b>(bytes: &mut &'b [u8], len: u64) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(taken)
}

/// Appends a command in RESP.
#[inline]
pub fn put_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    put_words(out, words.len());
    words.iter().for_each(|word| put_word(out, word));
}

/// Begins a command of so many words; they follow by [`put_word`].
#[inline]
pub fn put_words(out: &mut Vec<u8>, words: usize) {
    put_length(out, b'*', words);
}

/// Appends one word of a command.
#[inline]
pub fn put_word(out: &mut Vec<u8>, word: &[u8]) {
    out.reserve(word.len() + 24);
    put_length(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn put_length(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    if len < 10 {
        out.push(b'0' + len as u8);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// The records of a batch, before they have sequences.
#[derive(Debug, Default)]
pub struct Batch {
    /// The commands of all records.
    bytes: Vec<u8>,
    records: SmallVec<[Part; 4]>,
}

/// Where a record ends in [`Batch::bytes`], and whose it is.
#[derive(Debug, Clone, Copy)]
struct Part {
    store: StoreNumber,
    slot: Slot,
    end: usize,
}

impl Batch {
    /// Whether nothing is in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How many records it is.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record, whose commands `write` appends.
    #[inline]
    pub fn add(&mut self, store: StoreNumber, slot: Slot, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.records.push(Part { store, slot, end: self.bytes.len() });
    }

    /// Store, slot and commands of each record, in order.
    pub fn records(&self) -> impl Iterator<Item = (StoreNumber, Slot, &[u8])> {
        let mut start = 0;
        self.records.iter().map(move |part| {
            let commands = self.bytes.get(start..part.end).unwrap_or_default();
            start = part.end;
            (part.store, part.slot, commands)
        })
    }

    /// Makes it empty, for the next one.
    pub fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.bytes.shrink_to(64 << 10);
    }
}

/// A record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'b> {
    /// Its number.
    pub sequence: Sequence,
    /// When it was done, in Unix milliseconds.
    pub time_ms: u64,
    /// Whose data it changed.
    pub store: StoreNumber,
    /// The slot of all its keys.
    pub slot: Slot,
    /// The next record of the frame is of the same batch: both are to be there, or neither.
    pub continues: bool,
    /// What was done, in RESP.
    pub commands: &'b [u8],
}

/// The words of a record's commands, one command after the other; `None` in the place of one that
/// is not well-formed, which is the last then.
pub fn commands(mut bytes: &[u8]) -> impl Iterator<Item = Option<SmallVec<[&[u8]; 8]>>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let command = take_command(&mut bytes);
        if command.is_none() {
            bytes = &[];
        }
        Some(command)
    })
}

fn take_command<'b>(bytes: &mut &'b [u8]) -> Option<SmallVec<[&'b [u8]; 8]>> {
    let words = take_length(bytes, b'*')?;
    let mut command = SmallVec::new();
    for _ in 0..words {
        let len = take_length(bytes, b'$')?;
        command.push(take_bytes(bytes, len)?);
        if take_bytes(bytes, 2)? != b"\r\n" {
            return None;
        }
    }
    (words > 0).then_some(command)
}

#[inline]
fn take_length(bytes: &mut &[u8], kind: u8) -> Option<u64> {
    let (&first, mut rest) = bytes.split_first()?;
    if first != kind {
        return None;
    }
    let mut value = 0u64;
    let mut digits = 0;
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'0'..=b'9' if digits < 18 => {
                value = value * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'\r' if digits > 0 => break,
            _ => return None,
        }
    }
    let (&newline, after) = rest.split_first()?;
    *bytes = after;
    (newline == b'\n').then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_and_cut_or_overlong_ones_are_none() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty());
            assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(take_varint(&mut &[0xff; 10][..]), None);
    }

    #[test]
    fn l4_any_byte_is_safe_in_a_command() {
        let odd: Vec<u8> = (0..=255).collect();
        let words: [&[u8]; 5] = [b"SET", b"a\r\n|\0", b"", &odd, b"*1\r\n$1\r\nx\r\n"];
        let mut bytes = Vec::new();
        put_command(&mut bytes, &words);
        put_command(&mut bytes, &[b"DEL", b"k"]);
        let read: Vec<_> = commands(&bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].as_deref(), Some(&words[..]));
        for end in 1..bytes.len() {
            assert!(commands(&bytes[..end]).all(|c| c.is_none_or(|c| c.len() == 5)), "{end}");
        }
    }
}
