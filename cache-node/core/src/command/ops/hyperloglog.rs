//! HyperLogLog: PFADD, PFCOUNT, PFMERGE. The value is a string, see [`super::hll`].

use super::hll::{Corrupt, Registers, Sketch};
use super::texts;
use crate::keyspace::{Access, Event, Lifetime, Locked, Value, ValueRef};
use crate::resp::Writer;

const NO_SKETCH: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPT: &str = "INVALIDOBJ Corrupted HLL object detected";

/// Whether the value can be a sketch; answers if not.
fn check(value: ValueRef<'_>, out: &mut Writer<'_>) -> bool {
    match value.as_bytes(&mut itoa::Buffer::new()) {
        None => out.error(texts::WRONG_TYPE),
        Some(bytes) if !Sketch::is_one(bytes) => out.error(NO_SKETCH),
        Some(_) => return true,
    }
    false
}

/// Changes the key's sketch, or a new one; the key holds a sketch or nothing. `change` says as well
/// whether it changed anything.
fn change<R>(
    key: &mut Access<'_>,
    mut change: impl FnMut(&mut Sketch<'_>) -> (R, bool),
) -> Option<R> {
    if key.exists() {
        let mut change = |bytes: &mut Vec<u8>| change(&mut Sketch::over(bytes));
        return key
            .update_if(|value| match value.as_raw().map(&mut change) {
                Some((result, changed)) => (Some(result), changed),
                None => (None, false),
            })
            .flatten();
    }
    let mut bytes = Sketch::empty();
    let (result, _) = change(&mut Sketch::over(&mut bytes));
    key.set(Value::Raw(Box::new(bytes)), Lifetime::Default);
    Some(result)
}

/// PFADD key [element ...]
pub fn pfadd(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let exists = match key.value() {
        None => false,
        Some(value) if check(value, out) => true,
        Some(_) => return,
    };
    let changed = change(key, |sketch| {
        let mut changed = !exists;
        for element in &args[2..] {
            match sketch.add(element) {
                Ok(added) => changed |= added,
                Err(corrupt) => return (Err(corrupt), false),
            }
        }
        if changed {
            sketch.forget_count();
        }
        (Ok::<bool, Corrupt>(changed), changed)
    });
    if matches!(changed, Some(Ok(true))) {
        key.happened(Event::string("pfadd"));
    }
    match changed {
        Some(Err(Corrupt)) => {
            key.log_again();
            out.error(CORRUPT);
        }
        Some(Ok(changed)) => out.integer(i64::from(changed)),
        None => out.integer(0),
    }
}

/// Merges what the keys hold; `None` after answering with an error. Tells as well whether one of
/// them is dense.
fn merged(
    keys: &mut Locked<'_>,
    names: &[&[u8]],
    out: &mut Writer<'_>,
) -> Option<(Registers, bool)> {
    let (mut registers, mut dense) = (Registers::default(), false);
    for name in names {
        let Some(mut key) = keys.at(name) else { continue };
        let Some(value) = key.read() else { continue };
        if !check(value, out) {
            return None;
        }
        let mut buffer = itoa::Buffer::new();
        let bytes = value.as_bytes(&mut buffer).unwrap_or_default();
        dense |= Sketch::is_dense(bytes);
        if registers.merge(bytes).is_err() {
            out.error(CORRUPT);
            return None;
        }
    }
    Some((registers, dense))
}

/// PFCOUNT key [key ...]
pub fn pfcount(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len() > 2 {
        if let Some((registers, _)) = merged(keys, &args[1..], out) {
            out.integer(registers.estimate() as i64);
        }
        return;
    }
    let Some(mut key) = keys.at(args[1]) else { return out.integer(0) };
    match key.read() {
        None => return out.integer(0),
        Some(value) if !check(value, out) => return,
        Some(_) => {}
    }
    match change(&mut key, |sketch| {
        let keeps = sketch.is_uncounted();
        let counted = sketch.count();
        let changed = keeps && counted.is_ok();
        (counted, changed)
    }) {
        Some(Ok(count)) => out.integer(count as i64),
        Some(Err(Corrupt)) => out.error(CORRUPT),
        None => out.integer(0),
    }
}

/// PFMERGE destination [source ...]
pub fn pfmerge(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some((registers, dense)) = merged(keys, &args[1..], out) else { return };
    let Some(mut key) = keys.at(args[1]) else { return out.ok() };
    let done = change(&mut key, |sketch| {
        let taken = sketch.take(&registers, dense);
        let changed = taken.is_ok();
        (taken, changed)
    });
    if !matches!(done, Some(Err(Corrupt))) {
        key.happened(Event::string("pfadd"));
    }
    match done {
        Some(Err(Corrupt)) => {
            key.log_again();
            out.error(CORRUPT);
        }
        _ => out.ok(),
    }
}
