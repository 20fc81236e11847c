//! Keys whatever their type.

use super::texts::{self, is};
use crate::keyspace::{Access, Event, Lifetime, Locked};
use crate::resp::{Writer, parse_i64};
use crate::store::StoreNumber;

/// Counts the keys for which `holds`.
fn count(
    keys: &mut Locked<'_>,
    args: &[&[u8]],
    out: &mut Writer<'_>,
    holds: impl Fn(&mut Access<'_>) -> bool,
) {
    let counted =
        args[1..].iter().filter(|key| keys.at(key).is_some_and(|mut key| holds(&mut key)));
    out.integer(counted.count() as i64);
}

/// DEL key [key ...], UNLINK key [key ...]
pub fn del(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let removed = args[1..].iter().filter(|key| keys.remove(key)).count();
    out.integer(removed as i64);
}

/// EXISTS key [key ...]
pub fn exists(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    count(keys, args, out, |key| key.look().is_some());
}

/// TOUCH key [key ...]
pub fn touch(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    count(keys, args, out, |key| key.read().is_some());
}

/// TYPE key
pub fn type_of(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    out.simple(key.look().map_or("none", |entry| entry.value.type_name()));
}

/// Gives the value and lifetime of `from` to `to`.
fn move_key(keys: &mut Locked<'_>, from: &[u8], to: &[u8]) {
    let Some(entry) = keys.at(from).and_then(|mut key| key.remove()) else { return };
    if let Some(mut key) = keys.at(to) {
        key.discard();
        key.set(entry.value, Lifetime::At(entry.expires_at_ms));
    }
    for (key, event) in [(from, "rename_from"), (to, "rename_to")] {
        if let Some(key) = keys.at(key) {
            key.happened(Event::generic(event));
        }
    }
}

/// RENAME key newkey
pub fn rename(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (from, to) = (args[1], args[2]);
    if !keys.at(from).is_some_and(|mut key| key.exists()) {
        return out.error(texts::NO_SUCH_KEY);
    }
    if from != to {
        move_key(keys, from, to);
    }
    out.ok();
}

/// RENAMENX key newkey
pub fn renamenx(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (from, to) = (args[1], args[2]);
    if !keys.at(from).is_some_and(|mut key| key.exists()) {
        return out.error(texts::NO_SUCH_KEY);
    }
    if keys.at(to).is_some_and(|mut key| key.exists()) {
        return out.integer(0);
    }
    move_key(keys, from, to);
    out.integer(1);
}

/// COPY source destination [DB destination-db] [REPLACE]
pub fn copy(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (from, to) = (args[1], args[2]);
    let (mut replace, mut number) = (false, keys.selected());
    let mut rest = &args[3..];
    while let [word, tail @ ..] = rest {
        rest = tail;
        if is(word, "REPLACE") {
            replace = true;
        } else if let (true, [database, tail @ ..]) = (is(word, "DB"), rest) {
            rest = tail;
            match database_number(keys, database) {
                Ok(found) => number = found,
                Err(error) => return out.error(error),
            }
        } else {
            return out.error(texts::SYNTAX);
        }
    }
    if keys.is_same((keys.selected(), from), (number, to)) {
        return out.error(texts::SAME_OBJECT);
    }
    let source = keys.at(from).and_then(|mut key| {
        key.read()?;
        key.peek().map(|entry| (entry.value.to_value(), entry.expires_at_ms))
    });
    let Some((value, expires_at_ms)) = source else { return out.integer(0) };
    let Some(mut target) = keys.at_store(number, to) else {
        return out.error(texts::NO_DATABASE);
    };
    if target.exists() && !replace {
        return out.integer(0);
    }
    target.discard();
    target.set(value, Lifetime::At(expires_at_ms));
    target.happened(Event::generic("copy_to"));
    out.integer(1);
}

fn database_number(keys: &Locked<'_>, arg: &[u8]) -> Result<StoreNumber, &'static str> {
    let value = parse_i64(arg).ok_or(texts::NOT_AN_INTEGER)?;
    if i32::try_from(value).is_err() {
        return Err("ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    match StoreNumber::try_from(value) {
        Ok(number) if keys.has_store(number) => Ok(number),
        _ => Err(texts::NO_DATABASE),
    }
}
