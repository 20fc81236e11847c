//! Sorted sets: looking up.

use super::typed::read;
use super::zbounds::{Bounds, By};
use crate::keyspace::{Access, SortedSet};
use crate::resp::Writer;

fn answer(score: Option<f64>, out: &mut Writer<'_>) {
    match score {
        Some(score) => out.double(score),
        None => out.null(),
    }
}

/// ZSCORE key member
pub fn zscore(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    if let Some(found) = read::<SortedSet>(key, out) {
        answer(found.and_then(|set| set.score(hasher, args[2])), out);
    }
}

/// ZMSCORE key member [member ...]
pub fn zmscore(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<SortedSet>(key, out) else { return };
    out.array(args.len() - 2);
    for member in &args[2..] {
        answer(found.and_then(|set| set.score(hasher, member)), out);
    }
}

/// ZCARD key
pub fn zcard(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(found) = read::<SortedSet>(key, out) {
        out.integer(found.map_or(0, SortedSet::len) as i64);
    }
}

fn count(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, by: By) {
    let Some(bounds) = Bounds::read(by, args[2], args[3], out) else { return };
    if let Some(found) = read::<SortedSet>(key, out) {
        out.integer(found.map_or(0, |set| bounds.places(set, false).len()) as i64);
    }
}

/// ZCOUNT key min max
pub fn zcount(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    count(key, args, out, By::Score);
}

/// ZLEXCOUNT key min max
pub fn zlexcount(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    count(key, args, out, By::Member);
}

fn rank(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, backwards: bool) {
    let with_score = match &args[3..] {
        [] => false,
        [word] if super::texts::is(word, "WITHSCORE") => true,
        _ => return out.error(super::texts::SYNTAX),
    };
    let hasher = key.hasher();
    let Some(found) = read::<SortedSet>(key, out) else { return };
    let found = found.and_then(|set| Some((set.rank(hasher, args[2])?, set.len())));
    let Some(((rank, score), len)) = found else {
        return if with_score { out.null_array() } else { out.null() };
    };
    if with_score {
        out.array(2);
    }
    out.integer(if backwards { len - 1 - rank } else { rank } as i64);
    if with_score {
        out.double(score);
    }
}

/// ZRANK key member [WITHSCORE]
pub fn zrank(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    rank(key, args, out, false);
}

/// ZREVRANK key member [WITHSCORE]
pub fn zrevrank(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    rank(key, args, out, true);
}
