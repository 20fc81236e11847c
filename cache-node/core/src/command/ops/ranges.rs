//! Strings: parts of values.

use super::texts;
use crate::keyspace::{Access, Event, Lifetime, Value, ValueRef};
use crate::resp::Writer;

/// The longest string (Redis's `proto-max-bulk-len`).
const MAX_STRING_BYTES: u64 = 512 * 1024 * 1024;

/// The length of the string that there is; 0 for none, `None` after answering about its type.
fn length(key: &mut Access<'_>, out: &mut Writer<'_>) -> Option<Option<usize>> {
    match key.value().map(ValueRef::string_len) {
        None => Some(None),
        Some(Some(len)) => Some(Some(len)),
        Some(None) => {
            out.error(texts::WRONG_TYPE);
            None
        }
    }
}

/// APPEND key value
pub fn append(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(len) = length(key, out) else { return };
    let Some(len) = len else {
        key.set_string(args[2], Lifetime::Default);
        key.happened(Event::string("append"));
        return out.integer(args[2].len() as i64);
    };
    let total = len as u64 + args[2].len() as u64;
    if total > MAX_STRING_BYTES {
        return out.error(texts::TOO_LONG);
    }
    key.update(|value| {
        if let Some(bytes) = value.as_raw() {
            bytes.extend_from_slice(args[2]);
        }
    });
    key.happened(Event::string("append"));
    out.integer(total as i64);
}

/// STRLEN key
pub fn strlen(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    match key.read().map(ValueRef::string_len) {
        None => out.integer(0),
        Some(Some(len)) => out.integer(len as i64),
        Some(None) => out.error(texts::WRONG_TYPE),
    }
}

/// Makes an index from the end (negative) one from the start, not below 0.
fn from_start(index: i64, len: usize) -> u64 {
    let len = len as u64;
    if index < 0 { len.saturating_sub(index.unsigned_abs()) } else { index.unsigned_abs() }
}

/// The elements from `start` to `stop`, both included, as a range of indexes below `len`; empty
/// when they are the wrong way round or beyond the end.
pub(super) fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    if stop < 0 && stop.unsigned_abs() > len as u64 {
        return 0..0;
    }
    let (from, to) = (from_start(start, len), from_start(stop, len));
    if from > to || from >= len as u64 {
        return 0..0;
    }
    from as usize..(to as usize).saturating_add(1).min(len)
}

/// GETRANGE key start end
pub fn getrange(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(start) = texts::integer(args[2], out) else { return };
    let Some(end) = texts::integer(args[3], out) else { return };
    let Some(value) = key.read() else { return out.bulk(b"") };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    if start < 0 && end < 0 && start > end {
        return out.bulk(b"");
    }
    // Unlike for lists, an end before the first byte means the first byte.
    let end = if end < 0 && end.unsigned_abs() > bytes.len() as u64 { 0 } else { end };
    out.bulk(&bytes[range(start, end, bytes.len())]);
}

/// SETRANGE key offset value
pub fn setrange(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(offset) = texts::integer(args[2], out) else { return };
    let Ok(offset) = u64::try_from(offset) else { return out.error(texts::OFFSET) };
    let part = args[3];
    let Some(len) = length(key, out) else { return };
    if part.is_empty() {
        return out.integer(len.unwrap_or(0) as i64);
    }
    let end = offset.saturating_add(part.len() as u64);
    if end > MAX_STRING_BYTES {
        return out.error(texts::TOO_LONG);
    }
    let (offset, end) = (offset as usize, end as usize);
    let write = |bytes: &mut Vec<u8>| {
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(part);
        bytes.len()
    };
    let total = if len.is_some() {
        key.update(|value| value.as_raw().map_or(0, write)).unwrap_or(0)
    } else {
        let mut bytes = Vec::new();
        let total = write(&mut bytes);
        key.set(Value::Raw(Box::new(bytes)), Lifetime::Default);
        total
    };
    key.happened(Event::string("setrange"));
    out.integer(total as i64);
}
