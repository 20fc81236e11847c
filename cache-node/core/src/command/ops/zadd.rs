//! Sorted sets: giving members scores.

use super::texts::{self, is};
use super::typed::upsert;
use crate::keyspace::{Access, Event, KeyHasher, SortedSet};
use crate::resp::Writer;

/// The conditions of ZADD.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    /// Count changes as well.
    ch: bool,
    /// Add to the score.
    incr: bool,
}

/// What became of one member.
enum Outcome {
    Added(f64),
    Updated(f64),
    Same(f64),
    /// A condition did not hold.
    Skipped,
    NotANumber,
}

impl Options {
    /// Reads words until one is no option; the rest.
    fn read<'a, 'b>(&mut self, mut rest: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
        while let [word, tail @ ..] = rest {
            let flag = match () {
                () if is(word, "NX") => &mut self.nx,
                () if is(word, "XX") => &mut self.xx,
                () if is(word, "GT") => &mut self.gt,
                () if is(word, "LT") => &mut self.lt,
                () if is(word, "CH") => &mut self.ch,
                () if is(word, "INCR") => &mut self.incr,
                () => break,
            };
            *flag = true;
            rest = tail;
        }
        rest
    }

    /// What is wrong with them.
    fn conflict(self, members: usize) -> Option<&'static str> {
        if self.nx && self.xx {
            Some("ERR XX and NX options at the same time are not compatible")
        } else if self.nx && (self.gt || self.lt) || self.gt && self.lt {
            Some("ERR GT, LT, and/or NX options at the same time are not compatible")
        } else if self.incr && members > 1 {
            Some("ERR INCR option supports a single increment-element pair")
        } else {
            None
        }
    }

    fn apply(self, set: &mut SortedSet, hasher: &KeyHasher, member: &[u8], score: f64) -> Outcome {
        if score.is_nan() {
            return Outcome::NotANumber;
        }
        let Some(current) = set.score(hasher, member) else {
            if self.xx {
                return Outcome::Skipped;
            }
            set.set(hasher, member, score);
            return Outcome::Added(score);
        };
        if self.nx {
            return Outcome::Skipped;
        }
        let score = if self.incr { score + current } else { score };
        if score.is_nan() {
            return Outcome::NotANumber;
        }
        if self.lt && score >= current || self.gt && score <= current {
            return Outcome::Skipped;
        }
        if score == current {
            return Outcome::Same(score);
        }
        set.set(hasher, member, score);
        Outcome::Updated(score)
    }
}

fn add(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, mut options: Options) {
    let pairs = options.read(&args[2..]);
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return out.error(texts::SYNTAX);
    }
    if let Some(error) = options.conflict(pairs.len() / 2) {
        return out.error(error);
    }
    let mut scores = smallvec::SmallVec::<[f64; 8]>::new();
    for pair in pairs.chunks_exact(2) {
        let Some(score) = texts::double_or(pair[0], texts::NOT_A_FLOAT, out) else { return };
        scores.push(score);
    }
    let hasher = key.hasher();
    let event = Event::sorted_set(if options.incr { "zincr" } else { "zadd" });
    let done = upsert(key, out, event, |set: &mut SortedSet| {
        let (mut added, mut updated, mut last) = (0, 0, Outcome::Skipped);
        for (pair, score) in pairs.chunks_exact(2).zip(&scores) {
            last = options.apply(set, hasher, pair[1], *score);
            match last {
                Outcome::Added(_) => added += 1,
                Outcome::Updated(_) => updated += 1,
                Outcome::NotANumber => break,
                Outcome::Same(_) | Outcome::Skipped => {}
            }
        }
        ((added, updated, last), added + updated > 0)
    });
    let Some((added, updated, last)) = done else { return };
    match last {
        Outcome::NotANumber => out.error("ERR resulting score is not a number (NaN)"),
        Outcome::Added(score) | Outcome::Updated(score) | Outcome::Same(score) if options.incr => {
            out.double(score);
        }
        _ if options.incr => out.null(),
        _ => out.integer(if options.ch { added + updated } else { added }),
    }
}

/// ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]
pub fn zadd(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    add(key, args, out, Options::default());
}

/// ZINCRBY key increment member
pub fn zincrby(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    add(key, args, out, Options { incr: true, ..Options::default() });
}
