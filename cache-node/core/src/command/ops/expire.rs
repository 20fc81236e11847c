//! EXPIRE and its kin: lifetimes of keys.

use super::options::{Conditions, Unit};
use crate::keyspace::{Access, Event};
use crate::resp::Writer;

/// A key was given a lifetime.
pub(super) const EXPIRE: Event = Event::generic("expire");

fn set(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, unit: Unit, command: &str) {
    let Some(conditions) = Conditions::read(&args[3..], out) else { return };
    let Some(end) = unit.read_any(args[2], key.now_ms(), command, out) else { return };
    let Some(current) = key.expires_at_ms() else { return out.integer(0) };
    let _ = key.value();
    if !conditions.allow(current, end) {
        return out.integer(0);
    }
    match u64::try_from(end) {
        Ok(end) if end > key.now_ms() => {
            key.set_expiry(end);
            key.happened(EXPIRE);
        }
        _ => {
            key.end_now();
        }
    }
    out.integer(1);
}

/// EXPIRE key seconds [NX|XX|GT|LT]
pub fn expire(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set(key, args, out, Unit::Ex, "expire");
}

/// PEXPIRE key milliseconds [NX|XX|GT|LT]
pub fn pexpire(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set(key, args, out, Unit::Px, "pexpire");
}

/// EXPIREAT key unix-time-seconds [NX|XX|GT|LT]
pub fn expireat(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set(key, args, out, Unit::ExAt, "expireat");
}

/// PEXPIREAT key unix-time-milliseconds [NX|XX|GT|LT]
pub fn pexpireat(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set(key, args, out, Unit::PxAt, "pexpireat");
}

/// Answers what `of` makes of the end and now; −1 for a key without lifetime, −2 for none.
fn tell(key: &mut Access<'_>, out: &mut Writer<'_>, of: fn(end: u64, now: u64) -> u64) {
    let now_ms = key.now_ms();
    match key.look().map(|entry| entry.expires_at_ms) {
        None => out.integer(-2),
        Some(0) => out.integer(-1),
        Some(end) => out.integer(i64::try_from(of(end, now_ms)).unwrap_or(i64::MAX)),
    }
}

/// TTL key
pub fn ttl(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |end, now| (end.saturating_sub(now) + 500) / 1000);
}

/// PTTL key
pub fn pttl(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |end, now| end.saturating_sub(now));
}

/// EXPIRETIME key
pub fn expiretime(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |end, _| (end + 500) / 1000);
}

/// PEXPIRETIME key
pub fn pexpiretime(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |end, _| end);
}

/// PERSIST key
pub fn persist(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let _ = key.value();
    out.integer(i64::from(persist_key(key)));
}

/// Takes the key's lifetime away; false if it has none.
pub(super) fn persist_key(key: &mut Access<'_>) -> bool {
    let had = key.expires_at_ms().is_some_and(|end| end != 0);
    if had {
        key.set_expiry(0);
        key.happened(Event::generic("persist"));
    }
    had
}
