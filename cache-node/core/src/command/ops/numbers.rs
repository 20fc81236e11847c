//! Strings as numbers.

use super::extended::{Extended, Parsed};
use super::texts;
use crate::keyspace::{Access, Event, Lifetime, Value, ValueRef};
use crate::resp::{Writer, parse_i64};

fn add(key: &mut Access<'_>, out: &mut Writer<'_>, delta: i64) {
    let current = match key.value() {
        None => 0,
        Some(ValueRef::Int(value)) => value,
        Some(value) => match value.as_bytes(&mut itoa::Buffer::new()).map(parse_i64) {
            None => return out.error(texts::WRONG_TYPE),
            Some(None) => return out.error(texts::NOT_AN_INTEGER),
            Some(Some(value)) => value,
        },
    };
    let Some(sum) = current.checked_add(delta) else { return out.error(texts::OVERFLOW) };
    put(key, Value::Int(sum), Event::string("incrby"));
    out.integer(sum);
}

/// Puts a value in the place of one, with its lifetime, or of none.
fn put(key: &mut Access<'_>, value: Value, event: Event) {
    key.set(value, Lifetime::Keep);
    key.happened(event);
}

/// INCR key
pub fn incr(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    add(key, out, 1);
}

/// DECR key
pub fn decr(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    add(key, out, -1);
}

/// INCRBY key increment
pub fn incrby(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(delta) = texts::integer(args[2], out) {
        add(key, out, delta);
    }
}

/// DECRBY key decrement
pub fn decrby(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match texts::integer(args[2], out) {
        Some(i64::MIN) => out.error(texts::DECREMENT),
        Some(delta) => add(key, out, -delta),
        None => {}
    }
}

/// INCRBYFLOAT key increment
pub fn incrbyfloat(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let current = match key.value() {
        None => Parsed::Finite(Extended::ZERO),
        Some(value) => match value.as_bytes(&mut itoa::Buffer::new()) {
            None => return out.error(texts::WRONG_TYPE),
            Some(bytes) => Extended::parse(bytes),
        },
    };
    let sum = match (current, Extended::parse(args[2])) {
        (Parsed::Invalid, _) | (_, Parsed::Invalid) => return out.error(texts::NOT_A_FLOAT),
        (Parsed::Finite(a), Parsed::Finite(b)) => a.add(b),
        _ => None,
    };
    let Some(sum) = sum else { return out.error(texts::NAN_OR_INFINITY) };
    let text = sum.format();
    put(key, Value::plain(text.as_bytes()), Event::string("incrbyfloat"));
    out.bulk(text.as_bytes());
}
