//! Hashes: fields as numbers.

use super::extended::{Extended, Parsed};
use super::texts;
use super::typed::{find, upsert};
use crate::keyspace::{Access, Event, Hash};
use crate::resp::{Protocol, Writer, parse_i64};

fn put(key: &mut Access<'_>, field: &[u8], value: &[u8], event: &'static str) {
    let (hasher, out) = (key.hasher(), &mut Vec::new());
    let out = &mut Writer::new(out, Protocol::Resp2);
    upsert(key, out, Event::hash(event), |hash: &mut Hash| (hash.set(hasher, field, value), true));
}

/// HINCRBY key field increment
pub fn hincrby(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(delta) = texts::integer(args[3], out) else { return };
    let hasher = key.hasher();
    let Some(found) = find::<Hash>(key, out) else { return };
    let current = match found.and_then(|hash| hash.get(hasher, args[2])) {
        None => 0,
        Some(value) => match parse_i64(value) {
            Some(value) => value,
            None => return out.error("ERR hash value is not an integer"),
        },
    };
    let Some(sum) = current.checked_add(delta) else { return out.error(texts::OVERFLOW) };
    put(key, args[2], itoa::Buffer::new().format(sum).as_bytes(), "hincrby");
    out.integer(sum);
}

/// HINCRBYFLOAT key field increment
pub fn hincrbyfloat(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let delta = match Extended::parse(args[3]) {
        Parsed::Finite(delta) => delta,
        Parsed::Infinite => return out.error("ERR value is NaN or Infinity"),
        Parsed::Invalid => return out.error(texts::NOT_A_FLOAT),
    };
    let hasher = key.hasher();
    let Some(found) = find::<Hash>(key, out) else { return };
    let sum = match found.and_then(|hash| hash.get(hasher, args[2])).map(Extended::parse) {
        None => Some(delta),
        Some(Parsed::Finite(value)) => value.add(delta),
        Some(Parsed::Infinite) => None,
        Some(Parsed::Invalid) => return out.error("ERR hash value is not a float"),
    };
    let Some(sum) = sum else { return out.error(texts::NAN_OR_INFINITY) };
    let text = sum.format();
    put(key, args[2], text.as_bytes(), "hincrbyfloat");
    out.bulk(text.as_bytes());
}
