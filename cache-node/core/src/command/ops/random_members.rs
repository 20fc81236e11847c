//! Random members of hashes, sets and sorted sets. Chance comes from the keyspace's seeded source.

use super::texts::{self, is};
use super::typed::{Kind, edit, find, read};
use crate::keyspace::{Access, Event, Hash, Set, SortedSet};
use crate::resp::{Protocol, Writer};
use std::collections::BTreeSet;

/// More repeated members are not answered with at once: the reply would not fit memory.
const MOST_REPEATED: u64 = 1 << 22;
/// So many members for each that is asked for make picking cheaper than a pass over all.
const FEW: usize = 3;
/// Picks for each member before a pass over all is made.
const TRIES: usize = 32;
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

/// The indexes of `count` different ones of `len` (Floyd's algorithm, 1987).
fn choose(count: usize, len: usize, random: &impl Fn() -> u64) -> BTreeSet<usize> {
    let mut chosen = BTreeSet::new();
    for last in len - count..len {
        let pick = (random() % (last as u64 + 1)) as usize;
        if !chosen.insert(pick) {
            chosen.insert(last);
        }
    }
    chosen
}

/// How a kind of collection gives its members.
struct Members<P, W, V> {
    /// One that chance picks.
    pick: P,
    /// Writes a member, with what belongs to it.
    write: W,
    /// Visits all.
    visit: V,
}

/// Answers the members that are asked for.
fn answer<T: Kind>(
    found: &T,
    request: &Request,
    random: impl Fn() -> u64,
    out: &mut Writer<'_>,
    members: Members<
        impl Fn(&T) -> Option<Vec<u8>>,
        impl Fn(&T, &[u8], &mut Writer<'_>),
        impl Fn(&T, &mut dyn FnMut(&[u8])),
    >,
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
        for _ in 0..count {
            let member = (members.pick)(found).unwrap_or_default();
            (members.write)(found, &member, out);
        }
        return;
    }
    let count = usize::try_from(request.count).unwrap_or(usize::MAX).min(len);
    out.array(count * width);
    if count.saturating_mul(FEW) <= len {
        // Few of many: picked until they are different, which seldom takes a second pick.
        let mut picked = BTreeSet::new();
        for _ in 0..count.saturating_mul(TRIES) {
            if picked.len() == count {
                break;
            }
            picked.extend((members.pick)(found));
        }
        if picked.len() == count {
            picked.iter().for_each(|member| (members.write)(found, member, out));
            return;
        }
    }
    let chosen = (count < len).then(|| choose(count, len, &random));
    let mut index = 0;
    (members.visit)(found, &mut |member| {
        if chosen.as_ref().is_none_or(|chosen| chosen.contains(&index)) {
            (members.write)(found, member, out);
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
    let (dice, hasher) = (key.dice(), key.hasher());
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
    let members = Members {
        pick: |hash: &Hash| hash.random(&dice).map(|(field, _)| field.to_vec()),
        write: |hash: &Hash, field: &[u8], out: &mut Writer<'_>| {
            pair(request.with, out);
            out.bulk(field);
            if request.with {
                out.bulk(hash.get(hasher, field).unwrap_or_default());
            }
        },
        visit: |hash: &Hash, visit: &mut dyn FnMut(&[u8])| hash.visit(|field, _| visit(field)),
    };
    answer(hash, &request, &dice, out, members);
}

/// ZRANDMEMBER key [count [WITHSCORES]]
pub fn zrandmember(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (dice, hasher) = (key.dice(), key.hasher());
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
    let members = Members {
        pick: |set: &SortedSet| set.random(&dice).map(|(member, _)| member.to_vec()),
        write: |set: &SortedSet, member: &[u8], out: &mut Writer<'_>| {
            pair(request.with, out);
            out.bulk(member);
            if request.with {
                out.double(set.score(hasher, member).unwrap_or_default());
            }
        },
        visit: |set: &SortedSet, visit: &mut dyn FnMut(&[u8])| {
            set.visit(0, usize::MAX, false, |member, _| {
                visit(member);
                true
            });
        },
    };
    answer(set, &request, &dice, out, members);
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
    let members = Members {
        pick: |set: &Set| set.random(&dice).map(|member| member.as_slice().to_vec()),
        write: |_: &Set, member: &[u8], out: &mut Writer<'_>| out.bulk(member),
        visit: |set: &Set, visit: &mut dyn FnMut(&[u8])| set.visit(visit),
    };
    answer(set, &request, &dice, out, members);
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
        key.happened(Event::set("spop"));
        key.delete();
        return;
    }
    if taken == 0 {
        return;
    }
    key.log_later();
    let is_recorded = key.is_recorded();
    let mut gone: Vec<Vec<u8>> = Vec::new();
    edit(key, Event::set("spop"), |set: &mut Set| {
        for _ in 0..taken {
            if let Some(member) = set.random(&dice) {
                out.bulk(member.as_slice());
                if is_recorded {
                    gone.push(member.as_slice().to_vec());
                }
                set.remove(hasher, member.as_slice());
            }
        }
    });
    let name = key.name();
    let words: Vec<&[u8]> =
        [&b"SREM"[..], name].into_iter().chain(gone.iter().map(Vec::as_slice)).collect();
    if !gone.is_empty() {
        key.log_also(&words);
    }
}
