//! Strings: whole values.

use super::expire::{EXPIRE, persist_key as persist};
use super::options::{Options, Unit};
use super::texts;
use crate::keyspace::{Access, Event, Lifetime, Locked, ValueRef};
use crate::resp::{Writer, parse_i64};

const SET: Event = Event::string("set");

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

/// SET key value [NX|XX|IFEQ value] [GET] [EX|PX|EXAT|PXAT n|KEEPTTL]
#[inline]
pub fn set(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len() == 3 {
        key.set_string(args[2], Lifetime::Default);
        key.happened(SET);
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
    let differs = match options.if_equal.map(|wanted| holds(key, wanted)) {
        Some(None) => {
            // With GET, that was said already.
            return out.error(texts::WRONG_TYPE);
        }
        Some(Some(equal)) => !equal,
        None => false,
    };
    if options.nx && found || options.xx && !found || differs {
        if !options.get {
            out.null();
        }
        return;
    }
    key.set_string(args[2], lifetime);
    key.happened(SET);
    if options.expiry.is_some() {
        key.happened(EXPIRE);
    }
    if !options.get {
        out.ok();
    }
}

/// Whether the key holds this string; `None` if it holds another type.
fn holds(key: &mut Access<'_>, wanted: &[u8]) -> Option<bool> {
    match key.value() {
        Some(value) => value.as_bytes(&mut itoa::Buffer::new()).map(|bytes| bytes == wanted),
        None => Some(false),
    }
}

/// DELIFEQ key value
pub fn delifeq(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match holds(key, args[2]) {
        Some(equal) => out.integer(i64::from(equal && key.delete())),
        None => out.error(texts::WRONG_TYPE),
    }
}

/// SETNX key value
pub fn setnx(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let found = key.exists();
    if !found {
        key.set_string(args[2], Lifetime::Default);
        key.happened(SET);
    }
    out.integer(i64::from(!found));
}

fn set_for(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, unit: Unit, command: &str) {
    if let Some(end) = unit.read_positive(args[2], key.now_ms(), command, out) {
        key.set_string(args[3], Lifetime::At(end));
        key.happened(SET);
        key.happened(EXPIRE);
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
        key.delete();
    }
}

/// GETSET key value
pub fn getset(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if answer(key.read(), out) {
        key.set_string(args[2], Lifetime::Default);
        key.happened(SET);
    }
}

/// GETEX key [EX|PX|EXAT|PXAT n|PERSIST]
pub fn getex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(options) = Options::read(&args[2..], false) else { return out.error(texts::SYNTAX) };
    let now_ms = key.now_ms();
    let end = match options.expiry {
        Some((unit, arg)) => match unit.read_positive(arg, now_ms, "getex", out) {
            Some(end) => Some((unit, end)),
            None => return,
        },
        None => None,
    };
    let Some(value) = key.read() else { return out.null() };
    let mut buffer = itoa::Buffer::new();
    let Some(bytes) = value.as_bytes(&mut buffer) else { return out.error(texts::WRONG_TYPE) };
    out.bulk(bytes);
    let Some((unit, end)) = end else {
        if options.persist {
            persist(key);
        }
        return;
    };
    if unit.is_absolute() && end <= now_ms {
        key.end_now();
    } else {
        key.set_expiry(end);
        key.happened(EXPIRE);
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

fn set_pairs(keys: &mut Locked<'_>, pairs: &[&[u8]], lifetime: Lifetime) {
    for pair in pairs.chunks_exact(2) {
        if let Some(mut key) = keys.at(pair[0]) {
            key.set_string(pair[1], lifetime);
            key.happened(SET);
            if matches!(lifetime, Lifetime::At(_)) {
                key.happened(EXPIRE);
            }
        }
    }
}

/// MSET key value [key value ...]
pub fn mset(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len().is_multiple_of(2) {
        return texts::wrong_arity(out, "mset");
    }
    set_pairs(keys, &args[1..], Lifetime::Default);
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
        set_pairs(keys, &args[1..], Lifetime::Default);
    }
    out.integer(i64::from(!taken));
}

/// MSETEX numkeys key value [key value ...] [NX|XX] [EX|PX|EXAT|PXAT n|KEEPTTL]
pub fn msetex(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let count = parse_i64(args[1]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
        return out.error("ERR invalid numkeys value or out of range");
    };
    let pairs = count.checked_mul(2).and_then(|words| args[2..].split_at_checked(words));
    let options = pairs.map(|(pairs, rest)| (pairs, Options::read(rest, true)));
    let Some((pairs, Some(options))) = options else { return out.error(texts::SYNTAX) };
    if options.get || options.if_equal.is_some() {
        return out.error(texts::SYNTAX);
    }
    let mut lifetime = if options.keep_ttl { Lifetime::Keep } else { Lifetime::Default };
    if let Some((unit, arg)) = options.expiry {
        let Some(end) = unit.read_positive(arg, keys.now_ms(), "msetex", out) else { return };
        lifetime = Lifetime::At(end);
    }
    let mut there =
        pairs.chunks_exact(2).map(|pair| keys.at(pair[0]).is_some_and(|mut k| k.exists()));
    if options.nx && there.any(|there| there) || options.xx && !there.all(|there| there) {
        return out.integer(0);
    }
    set_pairs(keys, pairs, lifetime);
    out.integer(1);
}
