//! One key with its value, lifetime and use, as bytes that stand one behind the other.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind of value, long key, kind of lifetime, flags of [`Usage`] |
//! | 4 | the rest of [`Usage`] |
//! | 1–2 | length of the key |
//! | 1–2 | length of the value |
//! | 0, 4, 8 | when it ends: never; 1 + milliseconds since the part's base; Unix milliseconds |
//! | … | the key, or the number of the object that is the key |
//! | … | the value: bytes, an integer in 1, 2, 4 or 8 bytes, or the number of an object |
//!
//! A first byte of zero is no record but one byte of nothing. A hole is a record that was: its
//! kind is [`HOLE`] and its length is in the next two bytes.

use super::super::eviction::usage::Usage;

/// No record is longer: larger values, and longer keys, are objects.
pub const MAX_RECORD_BYTES: usize = 1024;
/// Longer keys are objects.
const MAX_KEY_BYTES: usize = 500;
/// What a record needs at most beside key and value.
const MAX_HEAD_BYTES: usize = 1 + 4 + 2 + 2 + 8;
/// What of a record comes before its lengths.
const FIXED_BYTES: usize = 5;

/// The value is an integer.
pub const INT: u8 = 1;
/// The value is a string.
pub const STR: u8 = 2;
/// The value is a string that was changed in place.
pub const RAW: u8 = 3;
/// The value is an object.
pub const OBJECT: u8 = 4;
/// No record is here any more.
const HOLE: u8 = 7;

const KIND: u8 = 7;
const LONG_KEY: u8 = 1 << 3;
const ENDS: u8 = 3 << 4;
const ENDS_NEAR: u8 = 1 << 4;
const ENDS_FAR: u8 = 2 << 4;
const WINDOW: u8 = 1 << 6;
const SESSION: u8 = 1 << 7;

/// The number of an object, as it stands in a record.
pub type ObjectNumber = u32;

/// Whether a key and a string of these lengths fit in a record.
#[inline]
pub fn fits(key_len: usize, value_len: usize) -> bool {
    let key_len = if is_long(key_len) { size_of::<ObjectNumber>() } else { key_len };
    MAX_HEAD_BYTES + key_len + value_len <= MAX_RECORD_BYTES
}

/// Whether a key of this length is an object.
#[inline]
pub fn is_long(key_len: usize) -> bool {
    key_len > MAX_KEY_BYTES
}

/// When a record ends, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// There is no room for it: never.
    Nowhere,
    /// Milliseconds since the part's base, and one; 0 for never.
    Near(u32),
    /// Unix milliseconds; 0 for never.
    Far(u64),
}

impl Ends {
    /// A time in Unix milliseconds (0 for never) as it is written with a base.
    pub fn of(at_ms: u64, base_ms: u64) -> Self {
        if at_ms == 0 {
            return Self::Nowhere;
        }
        match at_ms.checked_sub(base_ms).and_then(|ms| u32::try_from(ms.saturating_add(1)).ok()) {
            Some(near) => Self::Near(near),
            None => Self::Far(at_ms),
        }
    }

    /// The time in Unix milliseconds; 0 for never.
    #[inline]
    fn at_ms(self, base_ms: u64) -> u64 {
        match self {
            Self::Nowhere | Self::Near(0) => 0,
            Self::Near(near) => base_ms + u64::from(near) - 1,
            Self::Far(at_ms) => at_ms,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Nowhere => 0,
            Self::Near(_) => 4,
            Self::Far(_) => 8,
        }
    }
}

/// What is read of a record before its key and value. Offsets count from the record's start.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    flags: u8,
    word: u32,
    ends: Ends,
    key_at: usize,
    value_at: usize,
    end: usize,
}

/// One length, and what follows it.
#[inline]
fn length(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let low = *bytes.get(at)?;
    if low < 128 {
        return Some((usize::from(low), at + 1));
    }
    let high = *bytes.get(at + 1)?;
    Some((usize::from(low & 127) | usize::from(high) << 7, at + 2))
}

fn length_bytes(len: usize) -> usize {
    if len < 128 { 1 } else { 2 }
}

impl Head {
    /// The head of the record that these bytes begin with; `None` if they do not begin with one.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [flags, a, b, c, d] = *bytes.first_chunk::<FIXED_BYTES>()?;
        if matches!(flags & KIND, 0 | HOLE) {
            return None;
        }
        let (key_len, at) = length(bytes, FIXED_BYTES)?;
        let (value_len, at) = length(bytes, at)?;
        let ends = match flags & ENDS {
            0 => Ends::Nowhere,
            ENDS_NEAR => Ends::Near(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)),
            _ => Ends::Far(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)),
        };
        let key_at = at + ends.len();
        let value_at = key_at + key_len;
        let word = u32::from_le_bytes([a, b, c, d]);
        Some(Self { flags, word, ends, key_at, value_at, end: value_at + value_len })
    }

    /// The kind of value.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.flags & KIND
    }

    /// Whether the key is an object.
    #[inline]
    pub fn has_long_key(&self) -> bool {
        self.flags & LONG_KEY != 0
    }

    /// How many bytes the record has.
    #[inline]
    pub fn len(&self) -> usize {
        self.end
    }

    /// The key, or its object's number.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.key_at..self.value_at).unwrap_or_default()
    }

    /// The value's bytes.
    #[inline]
    pub fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.value_at..self.end).unwrap_or_default()
    }

    /// The key, or its object's number, to change.
    pub fn key_mut<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        bytes.get_mut(self.key_at..self.value_at).unwrap_or_default()
    }

    /// The value's bytes, to change.
    pub fn value_mut<'a>(&self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        bytes.get_mut(self.value_at..self.end).unwrap_or_default()
    }

    /// When it ends, as it is written.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// How it was used.
    #[inline]
    pub fn usage(&self) -> Usage {
        Usage::unpack(self.word, self.flags & WINDOW != 0, self.flags & SESSION != 0)
    }

    /// When it ends in Unix milliseconds, 0 for never.
    #[inline]
    pub fn expires_at_ms(&self, base_ms: u64) -> u64 {
        self.ends.at_ms(base_ms)
    }

    /// The same record, with another end.
    pub fn draft<'a>(&self, bytes: &'a [u8], ends: Ends) -> Draft<'a> {
        Draft {
            kind: self.kind(),
            long_key: self.has_long_key(),
            key: self.key(bytes),
            value: self.value(bytes),
            ends,
            usage: self.usage(),
        }
    }

    /// Writes when it ends over what stands there; false if there is no room of this kind.
    pub fn set_ends(&self, bytes: &mut [u8], ends: Ends) -> bool {
        let at = self.key_at - self.ends.len();
        let place = bytes.get_mut(at..self.key_at).unwrap_or_default();
        match (self.ends, ends) {
            (Ends::Nowhere, Ends::Nowhere) => {}
            (_, Ends::Nowhere) => place.fill(0),
            (Ends::Near(_), Ends::Near(near)) => place.copy_from_slice(&near.to_le_bytes()),
            (Ends::Far(_), Ends::Far(at_ms)) => place.copy_from_slice(&at_ms.to_le_bytes()),
            _ => return false,
        }
        true
    }
}

/// Writes how a record was used.
#[inline]
pub fn set_usage(bytes: &mut [u8], usage: Usage) {
    let (word, window, session) = usage.pack();
    if let Some([flags, rest @ ..]) = bytes.first_chunk_mut::<FIXED_BYTES>() {
        *flags = *flags & !(WINDOW | SESSION)
            | if window { WINDOW } else { 0 }
            | if session { SESSION } else { 0 };
        *rest = word.to_le_bytes();
    }
}

/// A record that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The kind of value.
    pub kind: u8,
    /// Whether the key is an object.
    pub long_key: bool,
    /// The key, or its object's number.
    pub key: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
    /// When it ends.
    pub ends: Ends,
    /// How it was used.
    pub usage: Usage,
}

impl Draft<'_> {
    /// How many bytes the record will have.
    pub fn len(&self) -> usize {
        FIXED_BYTES
            + length_bytes(self.key.len())
            + length_bytes(self.value.len())
            + self.ends.len()
            + self.key.len()
            + self.value.len()
    }

    /// Writes it to the beginning of `bytes`, which are no fewer than [`Self::len`].
    pub fn write(&self, bytes: &mut [u8]) {
        let long_key = if self.long_key { LONG_KEY } else { 0 };
        let ends = match self.ends {
            Ends::Nowhere => 0,
            Ends::Near(_) => ENDS_NEAR,
            Ends::Far(_) => ENDS_FAR,
        };
        let mut rest = bytes;
        let mut put = |part: &[u8]| {
            if let Some((place, behind)) =
                std::mem::take(&mut rest).split_at_mut_checked(part.len())
            {
                place.copy_from_slice(part);
                rest = behind;
            }
        };
        let (word, window, session) = self.usage.pack();
        let flags = self.kind
            | long_key
            | ends
            | if window { WINDOW } else { 0 }
            | if session { SESSION } else { 0 };
        let [a, b, c, d] = word.to_le_bytes();
        put(&[flags, a, b, c, d]);
        for len in [self.key.len(), self.value.len()] {
            match len {
                0..128 => put(&[len as u8]),
                _ => put(&[len as u8 | 128, (len >> 7) as u8]),
            }
        }
        match self.ends {
            Ends::Nowhere => {}
            Ends::Near(near) => put(&near.to_le_bytes()),
            Ends::Far(at_ms) => put(&at_ms.to_le_bytes()),
        }
        put(self.key);
        put(self.value);
    }
}

/// Makes a hole of a record of this length.
pub fn make_hole(bytes: &mut [u8], len: usize) {
    if let Some(place) = bytes.first_chunk_mut::<3>() {
        let [low, high] = (len as u16).to_le_bytes();
        *place = [HOLE, low, high];
    }
}

/// The first record at or behind `at`: where it starts, and where it ends.
#[inline]
pub fn next(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    loop {
        let rest = bytes.get(at..)?;
        match *rest.first()? {
            0 => at += rest.iter().position(|byte| *byte != 0)?,
            flags if flags & KIND == HOLE => {
                let [_, low, high] = *rest.first_chunk::<3>()?;
                at += usize::from(u16::from_le_bytes([low, high])).max(1);
            }
            _ => return Head::read(rest).map(|head| (at, at + head.len())),
        }
    }
}

/// An integer in as few bytes as it needs, of eight, and how many.
pub fn pack_int(value: i64) -> ([u8; 8], usize) {
    let len = match value {
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    };
    (value.to_le_bytes(), len)
}

/// The integer in these bytes.
#[inline]
pub fn unpack_int(bytes: &[u8]) -> i64 {
    match *bytes {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            key in proptest::collection::vec(any::<u8>(), 0..500),
            value in proptest::collection::vec(any::<u8>(), 0..500),
            at_ms in prop_oneof![Just(0), 1..10_000_000_000u64, any::<u64>()],
            base_ms in 0..10_000_000_000u64,
            word: u32, window: bool, session: bool,
            kind in INT..=OBJECT,
            long_key: bool,
        ) {
            let usage = Usage::unpack(word, window, session);
            let ends = Ends::of(at_ms, base_ms);
            let draft = Draft { kind, long_key, key: &key, value: &value, ends, usage };
            prop_assert!(draft.len() <= MAX_RECORD_BYTES);
            let mut bytes = vec![0xff; draft.len() + 3];
            draft.write(&mut bytes);
            prop_assert_eq!(&bytes[draft.len()..], &[0xff; 3]);
            let head = Head::read(&bytes).unwrap();
            prop_assert_eq!((head.len(), head.kind(), head.has_long_key()), (draft.len(), kind, long_key));
            prop_assert_eq!((head.key(&bytes), head.value(&bytes)), (&key[..], &value[..]));
            prop_assert_eq!(head.expires_at_ms(base_ms), at_ms);
            prop_assert_eq!(head.usage(), usage);
            let other = Usage::unpack(!word, !window, !session);
            set_usage(&mut bytes, other);
            prop_assert_eq!(Head::read(&bytes).unwrap().usage(), other);
            prop_assert_eq!(Head::read(&bytes).unwrap().key(&bytes), &key[..]);
            let mut page = vec![0; 9];
            page.extend_from_slice(&bytes[..head.len()]);
            page.extend_from_slice(&bytes[..head.len()]);
            let end = 9 + head.len();
            prop_assert_eq!(next(&page, 0), Some((9, end)));
            make_hole(&mut page[9..], head.len());
            prop_assert_eq!(next(&page, 0), Some((end, end + head.len())));
            prop_assert_eq!(next(&page, end + head.len()), None);
        }

        #[test]
        fn integers_are_read_as_they_were_written(value: i64, shift in 0..64u32) {
            let value = value >> shift;
            let (bytes, len) = pack_int(value);
            prop_assert_eq!(unpack_int(&bytes[..len]), value);
        }

        #[test]
        fn s2_no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), at in 0..50usize) {
            if let Some(head) = Head::read(&bytes) {
                let _ = (head.key(&bytes), head.value(&bytes), head.expires_at_ms(0));
            }
            next(&bytes, at);
        }
    }
}
