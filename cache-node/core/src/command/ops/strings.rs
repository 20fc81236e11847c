//! Strings: whole values.

use super::options::{Options, Unit};
use super::texts;
use crate::keyspace::{Access, Lifetime, Locked, ValueRef};
use crate::resp::Writer;

/// Answers a string; false after answering that it is of another type.
#[inline]
pub(super) fn answer(value: Option<ValueRef<'_>>, out: &mut Writer<'_>) -> bool {
    match value {
        None => out.null(),
        Some(value) => match value.as_bytes(&mut itoa::Buffer::new()) {
            Some(bytes) => out.bulk(bytes),
            None => {
                out.error(texts::WRONG_TYPE);
                return false;
            }
        },
    }
    true
}

/// GET key
#[inline]
pub fn get(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    answer(key.read(), out);
}

/// SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT n|KEEPTTL]
#[inline]
pub fn set(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len() == 3 {
        key.set_string(args[2], Lifetime::Default);
        return out.ok();
    }
    set_with_options(key, args, out);
}

fn set_with_options(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(options) = Options::read(&args[3..], true) else { return out.error(texts::SYNTAX) };
    let mut lifetime = if options.keep_ttl { Lifetime::Keep } else { Lifetime::Default };
    if let Some((unit, arg)) = options.expiry {
        let Some(end) = unit.read_positive(arg, key.now_ms(), "set", out) else { return };
        lifetime = Lifetime::At(end);
    }
    if options.get && !answer(key.read(), out) {
        return;
    }
    let found = key.exists();
    if options.nx && found || options.xx && !found {
        if !options.get {
            out.null();
        }
        return;
    }
    key.set_string(args[2], lifetime);
    if !options.get {
        out.ok();
    }
}

/// SETNX key value
pub fn setnx(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let found = key.exists();
    if !found {
        key.set_string(args[2], Lifetime::Default);
    }
    out.integer(i64::from(!found));
}

fn set_for(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, unit: Unit, command: &str) {
    if let Some(end) = unit.read_positive(args[2], key.now_ms(), command, out) {
        key.set_string(args[3], Lifetime::At(end));
        out.ok();
    }
}

/// SETEX key seconds value
pub fn setex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set_for(key, args, out, Unit::Ex, "setex");
}

/// PSETEX key milliseconds value
pub fn psetex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    set_for(key, args, out, Unit::Px, "psetex");
}

/// GETDEL key
pub fn getdel(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    if answer(key.read(), out) {
        key.remove();
    }
}

/// GETSET key value
pub fn getset(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if answer(key.read(), out) {
        key.set_string(args[2], Lifetime::Default);
    }
}

/// GETEX key [EX|PX|EXAT|PXAT n|PERSIST]
pub fn getex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(options) = Options::read(&args[2..], false) else { return out.error(texts::SYNTAX) };
    let now_ms = key.now_ms();
    let Some(value) = key.read() else { return out.null() };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    let Some((unit, arg)) = options.expiry else {
        out.bulk(bytes);
        if options.persist {
            key.set_expiry(0);
        }
        return;
    };
    let Some(end) = unit.read_positive(arg, now_ms, "getex", out) else { return };
    out.bulk(bytes);
    if unit.is_absolute() && end <= now_ms {
        key.remove();
    } else {
        key.set_expiry(end);
    }
}

/// MGET key [key ...]
pub fn mget(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    out.array(args.len() - 1);
    for key in &args[1..] {
        let mut key = keys.at(key);
        let value = key.as_mut().and_then(|key| key.read());
        match value.map(|value| value.as_bytes(&mut itoa::Buffer::new()).map(|b| out.bulk(b))) {
            Some(Some(())) => {}
            // Another type counts as absent.
            _ => out.null(),
        }
    }
}

fn set_pairs(keys: &mut Locked<'_>, pairs: &[&[u8]]) {
    for pair in pairs.chunks_exact(2) {
        if let Some(mut key) = keys.at(pair[0]) {
            key.set_string(pair[1], Lifetime::Default);
        }
    }
}

/// MSET key value [key value ...]
pub fn mset(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len().is_multiple_of(2) {
        return texts::wrong_arity(out, "mset");
    }
    set_pairs(keys, &args[1..]);
    out.ok();
}

/// MSETNX key value [key value ...]
pub fn msetnx(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len().is_multiple_of(2) {
        return texts::wrong_arity(out, "msetnx");
    }
    let taken =
        args[1..].chunks_exact(2).any(|pair| keys.at(pair[0]).is_some_and(|mut key| key.exists()));
    if !taken {
        set_pairs(keys, &args[1..]);
    }
    out.integer(i64::from(!taken));
}
