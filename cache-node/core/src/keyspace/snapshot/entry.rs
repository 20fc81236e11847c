//! A key with its value and lifetime as bytes: a byte that says what follows, the key behind its length,
//! when it ends (Unix milliseconds, if it does), the value.

use super::super::entry::Entry;
use super::super::hash::KeyHasher;
use super::super::part::New;
use super::super::stores::Counters;
use super::super::values::{decode, encode};
use crate::keyspace::eviction::session::Fate;

const KIND: u8 = 0x0f;
const ENDS: u8 = 0x10;
const SESSION: u8 = 0x20;

/// An entry as it was read.
pub struct Decoded<'b> {
    pub key: &'b [u8],
    pub value: New<'b>,
    /// In Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Whether its lifetime is that of its session.
    pub in_session: bool,
}

/// The moment as of which entries are taken.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// In Unix milliseconds.
    pub now_ms: u64,
    /// Whether entries count whose lifetime is over, and that are there yet. For a copy they do: a clock that is set
    /// back lets them live on, and commands find them.
    pub with_over: bool,
}

/// When an entry ends in Unix milliseconds, 0 for never; `None` if its lifetime is over.
#[inline]
pub fn ends_at_ms(
    counters: &Counters,
    hasher: &KeyHasher,
    entry: &Entry<'_>,
    as_of: AsOf,
) -> Option<u64> {
    let AsOf { now_ms, with_over } = as_of;
    let ends_at_ms = match entry.usage.in_session() {
        false => entry.expires_at_ms,
        true => match counters.sessions.fate(hasher, entry, &counters.pace, now_ms) {
            Fate::Over => return None,
            Fate::Until(at) => at,
            Fate::Own => entry.expires_at_ms,
        },
    };
    (ends_at_ms == 0 || ends_at_ms > now_ms || with_over).then_some(ends_at_ms)
}

/// Appends an entry.
#[inline]
pub fn put(out: &mut Vec<u8>, entry: &Entry<'_>, ends_at_ms: u64) {
    let ends = if ends_at_ms == 0 { 0 } else { ENDS };
    let session = if entry.usage.in_session() { SESSION } else { 0 };
    out.push(encode::kind_of(entry.value) | ends | session);
    encode::put_bytes(out, entry.key);
    if ends_at_ms != 0 {
        out.extend_from_slice(&ends_at_ms.to_le_bytes());
    }
    encode::put_value(out, entry.value);
}

/// Takes an entry from the front; `None` if there is none that makes sense.
#[inline]
pub fn take<'b>(bytes: &mut &'b [u8], hasher: &KeyHasher) -> Option<Decoded<'b>> {
    let (&flags, rest) = bytes.split_first()?;
    *bytes = rest;
    if flags & !(KIND | ENDS | SESSION) != 0 {
        return None;
    }
    let key = decode::take_string(bytes)?;
    let expires_at_ms = match flags & ENDS {
        0 => 0,
        _ => u64::from_le_bytes(decode::take_8(bytes)?),
    };
    let value = decode::take_value(flags & KIND, bytes, hasher)?;
    Some(Decoded { key, value, expires_at_ms, in_session: flags & SESSION != 0 })
}
