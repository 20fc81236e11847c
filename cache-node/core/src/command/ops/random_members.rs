//! Random members of hashes, sets and sorted sets. Chance comes from the keyspace's seeded source.

use super::texts::{self, is};
use super::typed::{Kind, edit, find, read};
use crate::keyspace::{Access, Hash, Set, SortedSet};
use crate::resp::{Protocol, Writer};
use std::collections::HashSet;

/// More repeated members are not answered with at once: the reply would not fit memory.
const MOST_REPEATED: u64 = 1 << 22;
const OUT_OF_RANGE: &str = "ERR value is out of range";

/// What is asked for.
struct Request {
    count: i64,
    /// With values or scores.
    with: bool,
}

impl Request {
    /// `key count [word]`; `None` after answering with an error.
    fn read(args: &[&[u8]], word: Option<&str>, out: &mut Writer<'_>) -> Option<Self> {
        let count = texts::integer(args[2], out)?;
        if count == i64::MIN {
            out.error(
                "ERR value is out of range, value must between -9223372036854775807 and \
                       9223372036854775807",
            );
            return None;
        }
        let with = match (&args[3..], word) {
            ([], _) => false,
            ([arg], Some(word)) if is(arg, word) => true,
            _ => {
                out.error(texts::SYNTAX);
                return None;
            }
        };
        if with && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
            out.error(OUT_OF_RANGE);
            return None;
        }
        Some(Self { count, with })
    }
}

/// The indexes of `count` different ones of `len`, in order of chance (Floyd's algorithm, 1987).
fn choose(count: usize, len: usize, random: &impl Fn() -> u64) -> HashSet<usize> {
    let mut chosen = HashSet::with_capacity(count);
    for last in len - count..len {
        let pick = (random() % (last as u64 + 1)) as usize;
        if !chosen.insert(pick) {
            chosen.insert(last);
        }
    }
    chosen
}

/// Answers `count` members, each given by `write` to the writer.
fn answer<T: Kind>(
    found: &T,
    request: &Request,
    random: impl Fn() -> u64,
    out: &mut Writer<'_>,
    one: impl Fn(&T, &mut Writer<'_>),
    all: impl Fn(&T, &mut dyn FnMut(&mut dyn FnMut(&mut Writer<'_>))),
) {
    let flat = request.with && out.protocol() == Protocol::Resp2;
    let width = if flat { 2 } else { 1 };
    let len = found.count();
    if request.count < 0 {
        let count = request.count.unsigned_abs();
        if count > MOST_REPEATED {
            return out.error(OUT_OF_RANGE);
        }
        out.array(count as usize * width);
        (0..count).for_each(|_| one(found, out));
        return;
    }
    let count = usize::try_from(request.count).unwrap_or(usize::MAX).min(len);
    let chosen = (count < len).then(|| choose(count, len, &random));
    out.array(count * width);
    let mut index = 0;
    all(found, &mut |write| {
        if chosen.as_ref().is_none_or(|chosen| chosen.contains(&index)) {
            write(out);
        }
        index += 1;
    });
}

fn pair(with: bool, out: &mut Writer<'_>) {
    if with && out.protocol() == Protocol::Resp3 {
        out.array(2);
    }
}

/// HRANDFIELD key [count [WITHVALUES]]
pub fn hrandfield(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let dice = key.dice();
    if args.len() == 2 {
        let Some(found) = read::<Hash>(key, out) else { return };
        return match found.and_then(|hash| hash.random(&dice)) {
            Some((field, _)) => out.bulk(field),
            None => out.null(),
        };
    }
    let Some(request) = Request::read(args, Some("WITHVALUES"), out) else { return };
    let Some(found) = read::<Hash>(key, out) else { return };
    let Some(hash) = found else { return out.array(0) };
    let write = |field: &[u8], value: &[u8], out: &mut Writer<'_>| {
        pair(request.with, out);
        out.bulk(field);
        if request.with {
            out.bulk(value);
        }
    };
    answer(
        hash,
        &request,
        &dice,
        out,
        |hash, out| {
            if let Some((field, value)) = hash.random(&dice) {
                write(field, value, out);
            }
        },
        |hash, each| hash.visit(|field, value| each(&mut |out| write(field, value, out))),
    );
}

/// ZRANDMEMBER key [count [WITHSCORES]]
pub fn zrandmember(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let dice = key.dice();
    if args.len() == 2 {
        let Some(found) = read::<SortedSet>(key, out) else { return };
        return match found.and_then(|set| set.random(&dice)) {
            Some((member, _)) => out.bulk(member),
            None => out.null(),
        };
    }
    let Some(request) = Request::read(args, Some("WITHSCORES"), out) else { return };
    let Some(found) = read::<SortedSet>(key, out) else { return };
    let Some(set) = found else { return out.array(0) };
    let write = |member: &[u8], score: f64, out: &mut Writer<'_>| {
        pair(request.with, out);
        out.bulk(member);
        if request.with {
            out.double(score);
        }
    };
    answer(
        set,
        &request,
        &dice,
        out,
        |set, out| {
            if let Some((member, score)) = set.random(&dice) {
                write(member, score, out);
            }
        },
        |set, each| {
            set.visit(0, usize::MAX, false, |member, score| {
                each(&mut |out| write(member, score, out));
                true
            });
        },
    );
}

/// SRANDMEMBER key [count]
pub fn srandmember(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let dice = key.dice();
    if args.len() == 2 {
        let Some(found) = read::<Set>(key, out) else { return };
        return match found.and_then(|set| set.random(&dice)) {
            Some(member) => out.bulk(member.as_slice()),
            None => out.null(),
        };
    }
    if args.len() > 3 {
        return out.error(texts::SYNTAX);
    }
    let Some(request) = Request::read(args, None, out) else { return };
    let Some(found) = read::<Set>(key, out) else { return };
    let Some(set) = found else { return out.array(0) };
    answer(
        set,
        &request,
        &dice,
        out,
        |set, out| {
            if let Some(member) = set.random(&dice) {
                out.bulk(member.as_slice());
            }
        },
        |set, each| set.visit(|member| each(&mut |out| out.bulk(member))),
    );
}

/// SPOP key [count]
pub fn spop(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (dice, hasher) = (key.dice(), key.hasher());
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
    let Some(found) = find::<Set>(key, out) else { return };
    let Some(len) = found.map(Set::len) else {
        return if count.is_some() { out.set(0) } else { out.null() };
    };
    let taken = count.unwrap_or(1).min(len);
    if count.is_some() {
        out.set(taken);
    }
    if taken == len {
        if let Some(Some(set)) = find::<Set>(key, out) {
            set.visit(|member| out.bulk(member));
        }
        key.discard();
        return;
    }
    edit(key, |set: &mut Set| {
        for _ in 0..taken {
            if let Some(member) = set.random(&dice) {
                out.bulk(member.as_slice());
                set.remove(hasher, member.as_slice());
            }
        }
    });
}
