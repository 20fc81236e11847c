//! Bits of strings: one at a time, counting, finding.

use super::texts::{self, is};
use crate::keyspace::{Access, Event, Lifetime, Value};
use crate::resp::{Writer, parse_i64};
use std::ops::RangeInclusive;

const OFFSET: &str = "ERR bit offset is not an integer or out of range";
const BIT: &str = "ERR bit is not an integer or out of range";
/// The longest string in bytes (Redis's `proto-max-bulk-len`).
const MAX_STRING_BYTES: i64 = 512 * 1024 * 1024;

/// A bit offset; with a width, `#n` means n times that. `None` after answering with an error.
pub(super) fn offset(arg: &[u8], width: Option<u32>, out: &mut Writer<'_>) -> Option<u64> {
    let value = match (arg.strip_prefix(b"#"), width) {
        // Redis lets the product wrap, and checks what comes out.
        (Some(digits), Some(width)) => {
            parse_i64(digits).map(|value| value.wrapping_mul(i64::from(width)))
        }
        _ => parse_i64(arg),
    };
    let offset = value
        .filter(|value| value >> 3 < MAX_STRING_BYTES)
        .and_then(|value| u64::try_from(value).ok());
    if offset.is_none() {
        out.error(OFFSET);
    }
    offset
}

/// Changes the key's string, made of zeros up to `len` bytes at least; the key holds a string or
/// nothing. `change` is told whether it was made longer,
/// and says as well whether it changed anything: that is `setbit`.
pub(super) fn change<R>(
    key: &mut Access<'_>,
    len: usize,
    mut change: impl FnMut(&mut [u8], bool) -> (R, bool),
) -> Option<R> {
    let mut grow = |bytes: &mut Vec<u8>| {
        let grows = bytes.len() < len;
        if grows {
            bytes.resize(len, 0);
        }
        change(bytes, grows)
    };
    if !key.exists() {
        let mut bytes = Vec::new();
        let (result, changed) = grow(&mut bytes);
        key.set(Value::Raw(Box::new(bytes)), Lifetime::Default);
        if changed {
            key.happened(Event::string("setbit"));
        }
        return Some(result);
    }
    let done = key.update_if(|value| match value.as_raw().map(grow) {
        Some((result, changed)) => (Some((result, changed)), changed),
        None => (None, false),
    });
    let (result, changed) = done??;
    if changed {
        key.happened(Event::string("setbit"));
    }
    Some(result)
}

/// Whether the key holds a string or nothing, for a command that may write; answers if not.
pub(super) fn is_string(key: &mut Access<'_>, out: &mut Writer<'_>) -> bool {
    let good = key.value().is_none_or(|value| value.string_len().is_some());
    if !good {
        out.error(texts::WRONG_TYPE);
    }
    good
}

/// SETBIT key offset value
pub fn setbit(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(offset) = offset(args[2], None, out) else { return };
    let bit = match parse_i64(args[3]) {
        Some(0) => 0,
        Some(1) => 1,
        _ => return out.error(BIT),
    };
    if !is_string(key, out) {
        return;
    }
    let (at, shift) = ((offset / 8) as usize, 7 - offset % 8);
    let before = change(key, at + 1, |bytes, grew| {
        let before = bytes[at] >> shift & 1;
        bytes[at] = bytes[at] & !(1 << shift) | bit << shift;
        (before, grew || before != bit)
    });
    out.integer(i64::from(before.unwrap_or(0)));
}

/// GETBIT key offset
pub fn getbit(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(offset) = offset(args[2], None, out) else { return };
    let Some(value) = key.read() else { return out.integer(0) };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    let byte = bytes.get((offset / 8) as usize).copied().unwrap_or(0);
    out.integer(i64::from(byte >> (7 - offset % 8) & 1));
}

/// What a range of bytes or bits is in bits; `None` if it is empty.
fn bits(start: i64, end: i64, in_bits: bool, len: usize) -> Option<RangeInclusive<u64>> {
    let total = if in_bits { len as i64 * 8 } else { len as i64 };
    let from = |index: i64| if index < 0 { index.saturating_add(total).max(0) } else { index };
    let (start, end) = (from(start), from(end).min(total - 1));
    if start > end {
        return None;
    }
    let (start, end) = (start as u64, end as u64);
    Some(if in_bits { start..=end } else { start * 8..=end * 8 + 7 })
}

/// Reads `BYTE` or `BIT`; `None` after answering with an error.
fn unit(arg: &[u8], out: &mut Writer<'_>) -> Option<bool> {
    if is(arg, "BIT") {
        return Some(true);
    }
    if !is(arg, "BYTE") {
        out.error(texts::SYNTAX);
        return None;
    }
    Some(false)
}

/// The byte at an index with the bits outside of the range made `outside`.
fn masked(bytes: &[u8], at: usize, range: &RangeInclusive<u64>, outside: bool) -> u8 {
    let (first, last) = (*range.start(), *range.end());
    let mut inside = 0xffu8;
    if at as u64 == first / 8 {
        inside &= 0xff >> (first % 8);
    }
    if at as u64 == last / 8 {
        inside &= 0xffu8 << (7 - last % 8);
    }
    let byte = bytes.get(at).copied().unwrap_or(0);
    if outside { byte | !inside } else { byte & inside }
}

/// BITCOUNT key [start [end [BYTE|BIT]]]. As in Valkey, the arguments are looked at before the key.
pub fn bitcount(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (start, end, in_bits) = match &args[2..] {
        [] => (0, -1, false),
        [start, rest @ ..] if rest.len() <= 2 => {
            let Some(start) = texts::integer(start, out) else { return };
            let end = match rest.first().map(|end| texts::integer(end, out)) {
                Some(None) => return,
                end => end.flatten().unwrap_or(-1),
            };
            match rest.get(1).map(|word| unit(word, out)) {
                Some(None) => return,
                in_bits => (start, end, in_bits.flatten().unwrap_or(false)),
            }
        }
        _ => return out.error(texts::SYNTAX),
    };
    let Some(value) = key.read() else { return out.integer(0) };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    if start < 0 && end < 0 && start > end {
        return out.integer(0);
    }
    let range = bits(start, end, in_bits, bytes.len());
    let Some(range) = range else { return out.integer(0) };
    let (first, last) = ((range.start() / 8) as usize, (range.end() / 8) as usize);
    let mut count = i64::from(masked(bytes, first, &range, false).count_ones());
    if last > first {
        count += i64::from(masked(bytes, last, &range, false).count_ones());
        count += count_ones(&bytes[first + 1..last]);
    }
    out.integer(count);
}

fn count_ones(bytes: &[u8]) -> i64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u64 = words.iter().map(|w| u64::from(u64::from_le_bytes(*w).count_ones())).sum();
    let rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    (words + rest) as i64
}

/// BITPOS key bit [start [end [BYTE|BIT]]]
pub fn bitpos(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let wanted = match texts::integer(args[2], out) {
        Some(0) => false,
        Some(1) => true,
        Some(_) => return out.error("ERR The bit argument must be 1 or 0."),
        None => return,
    };
    if args.len() > 6 {
        return out.error(texts::SYNTAX);
    }
    let start = match args.get(3).map(|arg| texts::integer(arg, out)) {
        Some(None) => return,
        start => start.flatten().unwrap_or(0),
    };
    let in_bits = match args.get(5).map(|word| unit(word, out)) {
        Some(None) => return,
        in_bits => in_bits.flatten().unwrap_or(false),
    };
    let end = match args.get(4).map(|arg| texts::integer(arg, out)) {
        Some(None) => return,
        end => end.flatten(),
    };
    let Some(value) = key.read() else { return out.integer(if wanted { -1 } else { 0 }) };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    let Some(range) = bits(start, end.unwrap_or(-1), in_bits, bytes.len()) else {
        return out.integer(-1);
    };
    match find(bytes, wanted, &range) {
        Some(at) => out.integer(at as i64),
        // Without an end, zeros follow the string.
        None if !wanted && end.is_none() => out.integer(bytes.len() as i64 * 8),
        None => out.integer(-1),
    }
}

/// The first bit of the range that is as wanted.
fn find(bytes: &[u8], wanted: bool, range: &RangeInclusive<u64>) -> Option<u64> {
    let (first, last) = ((range.start() / 8) as usize, (range.end() / 8) as usize);
    let hit = |at: usize| {
        let byte = masked(bytes, at, range, !wanted);
        let zeros = if wanted { byte.leading_zeros() } else { byte.leading_ones() };
        (zeros < 8).then(|| at as u64 * 8 + u64::from(zeros))
    };
    let skipped = if wanted { 0 } else { 0xff };
    hit(first)
        .or_else(|| {
            let inner = bytes.get(first + 1..last)?;
            let at = inner.iter().position(|byte| *byte != skipped)?;
            hit(first + 1 + at)
        })
        .or_else(|| if last > first { hit(last) } else { None })
}
