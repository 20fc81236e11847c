//! Sorted sets: members that leave.

use super::texts::{self, is};
use super::typed::{edit, edit_typed, find};
use super::zbounds::{Bounds, By};
use crate::keyspace::{Access, Event, Locked, SortedSet};
use crate::resp::{Protocol, Writer, parse_i64};

/// ZREM key member [member ...]
pub fn zrem(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let removed = edit_typed(key, out, Event::sorted_set("zrem"), |set: &mut SortedSet| {
        let removed = args[2..].iter().filter(|member| set.remove(hasher, member)).count();
        (removed, removed > 0)
    });
    if let Some(removed) = removed {
        out.integer(removed.unwrap_or(0) as i64);
    }
}

fn remove_range(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, by: By) {
    let event = Event::sorted_set(match by {
        By::Place => "zremrangebyrank",
        By::Score => "zremrangebyscore",
        By::Member => "zremrangebylex",
    });
    let Some(bounds) = Bounds::read(by, args[2], args[3], out) else { return };
    let Some(found) = find::<SortedSet>(key, out) else { return };
    let places = found.map_or(0..0, |set| bounds.places(set, false));
    out.integer(places.len() as i64);
    if places.is_empty() {
        return;
    }
    if found.is_some_and(|set| set.len() == places.len()) {
        key.happened(event);
        key.delete();
        return;
    }
    let hasher = key.hasher();
    edit(key, event, |set: &mut SortedSet| set.remove_range(hasher, places.start, places.end));
}

/// ZREMRANGEBYRANK key start stop
pub fn zremrangebyrank(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    remove_range(key, args, out, By::Place);
}

/// ZREMRANGEBYSCORE key min max
pub fn zremrangebyscore(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    remove_range(key, args, out, By::Score);
}

/// ZREMRANGEBYLEX key min max
pub fn zremrangebylex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    remove_range(key, args, out, By::Member);
}

fn popped(highest: bool) -> Event {
    Event::sorted_set(if highest { "zpopmax" } else { "zpopmin" })
}

/// Up to `count` members are about to leave from an end.
fn log_pop(key: &mut Access<'_>, count: usize, highest: bool) {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let name: &[u8] = if highest { b"ZPOPMAX" } else { b"ZPOPMIN" };
    key.log_as(&[name, key.name(), itoa::Buffer::new().format(count).as_bytes()]);
}

/// Takes up to `count` members from an end out and writes them.
fn take(key: &mut Access<'_>, count: usize, highest: bool, nested: bool, out: &mut Writer<'_>) {
    log_pop(key, count, highest);
    let hasher = key.hasher();
    edit(key, popped(highest), |set: &mut SortedSet| {
        let (len, taken) = (set.len(), count.min(set.len()));
        out.array(if nested { taken } else { taken * 2 });
        let places = if highest { len - taken..len } else { 0..taken };
        set.visit(places.start, places.end, highest, |member, score| {
            if nested {
                out.array(2);
            }
            out.bulk(member);
            out.double(score);
            true
        });
        set.remove_range(hasher, places.start, places.end);
    });
}

fn pop(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, highest: bool) {
    if args.len() > 3 {
        return out.error(texts::SYNTAX);
    }
    let count = match args.get(2) {
        None => None,
        Some(arg) => match texts::count_or(arg, texts::POSITIVE, out) {
            Some(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            None => return,
        },
    };
    match find::<SortedSet>(key, out) {
        None => {}
        Some(None) => out.array(0),
        Some(Some(_)) if count == Some(0) => out.array(0),
        Some(Some(_)) => {
            let nested = count.is_some() && out.protocol() == Protocol::Resp3;
            take(key, count.unwrap_or(1), highest, nested, out);
        }
    }
}

/// ZPOPMIN key [count]
pub fn zpopmin(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    pop(key, args, out, false);
}

/// ZPOPMAX key [count]
pub fn zpopmax(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    pop(key, args, out, true);
}

/// What LMPOP and ZMPOP are told: `numkeys key [key ...] end [COUNT count]`.
pub(super) struct Pops<'b, 'c> {
    pub names: &'b [&'c [u8]],
    /// Whether the second of the two words stands there.
    pub second_end: bool,
    pub count: usize,
}

impl<'b, 'c> Pops<'b, 'c> {
    /// Reads the arguments; `None` after answering with an error.
    pub fn read(args: &'b [&'c [u8]], ends: [&str; 2], out: &mut Writer<'_>) -> Option<Self> {
        let Some(count) = parse_i64(args[1]).filter(|count| *count > 0) else {
            out.error("ERR numkeys should be greater than 0");
            return None;
        };
        let parts = usize::try_from(count).ok().and_then(|n| args[2..].split_at_checked(n));
        let Some((names, [end, rest @ ..])) = parts else {
            out.error(texts::SYNTAX);
            return None;
        };
        let second_end = is(end, ends[1]);
        if !second_end && !is(end, ends[0]) {
            out.error(texts::SYNTAX);
            return None;
        }
        let count = match rest {
            [] => 1,
            [word, value, rest @ ..] if is(word, "COUNT") => {
                let count = texts::positive_or(value, "ERR count should be greater than 0", out)?;
                if !rest.is_empty() {
                    out.error(texts::SYNTAX);
                    return None;
                }
                usize::try_from(count).unwrap_or(usize::MAX)
            }
            _ => {
                out.error(texts::SYNTAX);
                return None;
            }
        };
        Some(Self { names, second_end, count })
    }
}

/// ZMPOP numkeys key [key ...] MIN|MAX [COUNT count]
pub fn zmpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(pops) = Pops::read(args, ["MIN", "MAX"], out) else { return };
    if !zpop_first(keys, &pops, out) {
        out.null_array();
    }
}

/// Takes the lowest or the highest member out and writes it and its score.
pub(super) fn pop_lowest_or_highest(key: &mut Access<'_>, highest: bool, out: &mut Writer<'_>) {
    log_pop(key, 1, highest);
    let hasher = key.hasher();
    edit(key, popped(highest), |set: &mut SortedSet| {
        let place = if highest { set.len().saturating_sub(1) } else { 0 };
        set.visit(place, place + 1, false, |member, score| {
            out.bulk(member);
            out.double(score);
            true
        });
        set.remove_range(hasher, place, place + 1);
    });
}

/// Takes members out of the first sorted set that has any, and answers; false if none has.
pub(super) fn zpop_first(keys: &mut Locked<'_>, pops: &Pops<'_, '_>, out: &mut Writer<'_>) -> bool {
    take_from_first(keys, pops.names, 2, out, |key, out| {
        take(key, pops.count, pops.second_end, true, out);
    })
}

/// Answers the name of the first key that has a sorted set, and what `take` answers of what it takes
/// from that, as an array of `parts`; false if none has.
pub(super) fn take_from_first(
    keys: &mut Locked<'_>,
    names: &[&[u8]],
    parts: usize,
    out: &mut Writer<'_>,
    take: impl FnOnce(&mut Access<'_>, &mut Writer<'_>),
) -> bool {
    for name in names {
        let Some(mut key) = keys.at(name) else { continue };
        match find::<SortedSet>(&mut key, out) {
            None => return true,
            Some(None) => {}
            Some(Some(_)) => {
                out.array(parts);
                out.bulk(name);
                take(&mut key, out);
                return true;
            }
        }
    }
    false
}
