//! Hashes: reading and setting fields.

use super::texts;
use super::typed::{edit_typed, read, upsert};
use crate::keyspace::{Access, Event, Hash};
use crate::resp::Writer;

/// Sets the fields of `field value` pairs: how many are new; `None` after answering with an error.
fn set(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, command: &str) -> Option<usize> {
    if args.len() % 2 == 1 {
        texts::wrong_arity(out, command);
        return None;
    }
    let hasher = key.hasher();
    upsert(key, out, Event::hash("hset"), |hash: &mut Hash| {
        hash.prepare(hasher, &args[2..]);
        let pairs = args[2..].chunks_exact(2);
        (pairs.filter(|pair| hash.set(hasher, pair[0], pair[1])).count(), true)
    })
}

/// HSET key field value [field value ...]
pub fn hset(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(new) = set(key, args, out, "hset") {
        out.integer(new as i64);
    }
}

/// HMSET key field value [field value ...]
pub fn hmset(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if set(key, args, out, "hmset").is_some() {
        out.ok();
    }
}

/// HSETNX key field value
pub fn hsetnx(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let new = upsert(key, out, Event::hash("hset"), |hash: &mut Hash| {
        let new = hash.get(hasher, args[2]).is_none() && hash.set(hasher, args[2], args[3]);
        (new, new)
    });
    if let Some(new) = new {
        out.integer(i64::from(new));
    }
}

fn answer(value: Option<&[u8]>, out: &mut Writer<'_>) {
    match value {
        Some(value) => out.bulk(value),
        None => out.null(),
    }
}

/// HGET key field
pub fn hget(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    if let Some(found) = read::<Hash>(key, out) {
        answer(found.and_then(|hash| hash.get(hasher, args[2])), out);
    }
}

/// HMGET key field [field ...]
pub fn hmget(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<Hash>(key, out) else { return };
    out.array(args.len() - 2);
    for field in &args[2..] {
        answer(found.and_then(|hash| hash.get(hasher, field)), out);
    }
}

/// HDEL key field [field ...]
pub fn hdel(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let removed = edit_typed(key, out, Event::hash("hdel"), |hash: &mut Hash| {
        let removed = args[2..].iter().filter(|field| hash.remove(hasher, field)).count();
        (removed, removed > 0)
    });
    if let Some(removed) = removed {
        out.integer(removed.unwrap_or(0) as i64);
    }
}

/// HGETDEL key FIELDS numfields field [field ...]
pub fn hgetdel(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if !texts::is(args[2], "FIELDS") {
        return out.error(texts::SYNTAX);
    }
    let Some(count) = texts::integer(args[3], out) else { return };
    let fields = &args[4..];
    if usize::try_from(count).ok().is_none_or(|count| count == 0 || count != fields.len()) {
        return out.error(
            "ERR numfields should be greater than 0 and match the provided number of fields",
        );
    }
    if key.is_recorded() {
        // What every Redis knows.
        let name = [&b"HDEL"[..], key.name()];
        let words: Vec<&[u8]> = name.into_iter().chain(fields.iter().copied()).collect();
        key.log_as(&words);
    }
    let hasher = key.hasher();
    let taken = edit_typed(key, out, Event::hash("hdel"), |hash: &mut Hash| {
        let take = |field: &&[u8]| {
            let value = hash.get(hasher, field).map(<[u8]>::to_vec);
            if value.is_some() {
                hash.remove(hasher, field);
            }
            value
        };
        let taken: Vec<_> = fields.iter().map(take).collect();
        let changed = taken.iter().any(Option::is_some);
        (taken, changed)
    });
    let Some(taken) = taken else { return };
    let taken = taken.unwrap_or_else(|| vec![None; fields.len()]);
    out.array(taken.len());
    taken.iter().for_each(|value| answer(value.as_deref(), out));
}

/// HEXISTS key field
pub fn hexists(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<Hash>(key, out) else { return };
    let exists = found.is_some_and(|hash| hash.get(hasher, args[2]).is_some());
    out.integer(i64::from(exists));
}

/// HLEN key
pub fn hlen(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(found) = read::<Hash>(key, out) {
        out.integer(found.map_or(0, Hash::len) as i64);
    }
}

/// HSTRLEN key field
pub fn hstrlen(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<Hash>(key, out) else { return };
    let value = found.and_then(|hash| hash.get(hasher, args[2]));
    out.integer(value.map_or(0, <[u8]>::len) as i64);
}

/// HKEYS key
pub fn hkeys(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = read::<Hash>(key, out) else { return };
    out.array(found.map_or(0, Hash::len));
    if let Some(hash) = found {
        hash.visit(|field, _| out.bulk(field));
    }
}

/// HVALS key
pub fn hvals(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = read::<Hash>(key, out) else { return };
    out.array(found.map_or(0, Hash::len));
    if let Some(hash) = found {
        hash.visit(|_, value| out.bulk(value));
    }
}

/// HGETALL key
pub fn hgetall(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = read::<Hash>(key, out) else { return };
    out.map(found.map_or(0, Hash::len));
    if let Some(hash) = found {
        hash.visit(|field, value| {
            out.bulk(field);
            out.bulk(value);
        });
    }
}
