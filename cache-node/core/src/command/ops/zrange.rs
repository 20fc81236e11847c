//! Sorted sets: reading and storing ranges.

use super::texts::{self, is};
use super::typed::{read, store};
use super::zbounds::{Bounds, By};
use crate::keyspace::{Access, Event, Locked, SortedSet};
use crate::resp::{Protocol, Writer};
use std::ops::Range;

/// Some members of a range.
struct Query<'a> {
    bounds: Bounds<'a>,
    backwards: bool,
    with_scores: bool,
    offset: i64,
    /// Negative: all.
    limit: i64,
}

/// What a command's name says already.
#[derive(Clone, Copy)]
struct Fixed {
    by: Option<By>,
    backwards: Option<bool>,
    is_store: bool,
}

impl<'a> Query<'a> {
    /// Reads `from to [option ...]`; `None` after answering with an error.
    fn read(args: &[&'a [u8]], fixed: Fixed, out: &mut Writer<'_>) -> Option<Self> {
        let (mut by, mut backwards, mut with_scores) = (fixed.by, fixed.backwards, false);
        let (mut offset, mut limit) = (0, -1);
        let mut rest = args.get(2..).unwrap_or_default();
        while let [word, tail @ ..] = rest {
            rest = tail;
            match tail {
                _ if !fixed.is_store && is(word, "WITHSCORES") => with_scores = true,
                [first, second, tail @ ..] if is(word, "LIMIT") => {
                    offset = texts::integer(first, out)?;
                    limit = texts::integer(second, out)?;
                    rest = tail;
                }
                _ if backwards.is_none() && is(word, "REV") => backwards = Some(true),
                _ if by.is_none() && is(word, "BYLEX") => by = Some(By::Member),
                _ if by.is_none() && is(word, "BYSCORE") => by = Some(By::Score),
                _ => {
                    out.error(texts::SYNTAX);
                    return None;
                }
            }
        }
        let (by, backwards) = (by.unwrap_or(By::Place), backwards.unwrap_or(false));
        if limit != -1 && by == By::Place {
            out.error(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            );
            return None;
        }
        if with_scores && by == By::Member {
            out.error("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
            return None;
        }
        let (mut from, mut to) = (*args.first()?, *args.get(1)?);
        if backwards && by != By::Place {
            std::mem::swap(&mut from, &mut to);
        }
        let bounds = Bounds::read(by, from, to, out)?;
        Some(Self { bounds, backwards, with_scores, offset, limit })
    }

    /// The places that are asked for, from the head.
    fn places(&self, set: &SortedSet) -> Range<usize> {
        let range = self.bounds.places(set, self.backwards);
        if matches!(self.bounds, Bounds::Places(..)) {
            return range;
        }
        let Ok(offset) = usize::try_from(self.offset) else { return 0..0 };
        let Some(left) = range.len().checked_sub(offset) else { return 0..0 };
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(left);
        if self.backwards {
            let end = range.end - offset;
            end - count..end
        } else {
            let start = range.start + offset;
            start..start + count
        }
    }
}

fn answer(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, fixed: Fixed) {
    let Some(query) = Query::read(&args[2..], fixed, out) else { return };
    let Some(found) = read::<SortedSet>(key, out) else { return };
    let Some(set) = found else { return out.array(0) };
    let places = query.places(set);
    write(set, places, query.backwards, query.with_scores, out);
}

/// Answers members, with scores if asked for: flat in RESP2, as pairs in RESP3.
pub(super) fn write(
    set: &SortedSet,
    places: Range<usize>,
    backwards: bool,
    with_scores: bool,
    out: &mut Writer<'_>,
) {
    let pairs = with_scores && out.protocol() == Protocol::Resp3;
    let flat = with_scores && !pairs;
    out.array(if flat { places.len() * 2 } else { places.len() });
    set.visit(places.start, places.end, backwards, |member, score| {
        if pairs {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(score);
        }
        true
    });
}

/// ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]
pub fn zrange(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(key, args, out, Fixed { by: None, backwards: None, is_store: false });
}

/// ZREVRANGE key start stop [WITHSCORES]
pub fn zrevrange(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: Some(By::Place), backwards: Some(true), is_store: false };
    answer(key, args, out, fixed);
}

/// ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
pub fn zrangebyscore(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: Some(By::Score), backwards: Some(false), is_store: false };
    answer(key, args, out, fixed);
}

/// ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]
pub fn zrevrangebyscore(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: Some(By::Score), backwards: Some(true), is_store: false };
    answer(key, args, out, fixed);
}

/// ZRANGEBYLEX key min max [LIMIT offset count]
pub fn zrangebylex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: Some(By::Member), backwards: Some(false), is_store: false };
    answer(key, args, out, fixed);
}

/// ZREVRANGEBYLEX key max min [LIMIT offset count]
pub fn zrevrangebylex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: Some(By::Member), backwards: Some(true), is_store: false };
    answer(key, args, out, fixed);
}

/// ZRANGESTORE destination source start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count]
pub fn zrangestore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let fixed = Fixed { by: None, backwards: None, is_store: true };
    let Some(query) = Query::read(&args[3..], fixed, out) else { return };
    let mut made = SortedSet::default();
    {
        let Some(mut source) = keys.at(args[2]) else { return out.integer(0) };
        let hasher = source.hasher();
        let Some(found) = read::<SortedSet>(&mut source, out) else { return };
        if let Some(set) = found {
            let places = query.places(set);
            // Redis knows beforehand how many these are if they are named by their ranks.
            if matches!(query.bounds, Bounds::Places(..)) {
                made = SortedSet::for_members(hasher, places.len());
            }
            set.visit(places.start, places.end, query.backwards, |member, score| {
                made.set(hasher, member, score);
                true
            });
        }
    }
    out.integer(made.len() as i64);
    if let Some(mut target) = keys.at(args[1]) {
        store(&mut target, made, Event::sorted_set("zrangestore"));
    }
}
