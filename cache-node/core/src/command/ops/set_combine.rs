//! Sets: what several have in common, in all, or beyond others.

use super::texts::{self, Parts, is};
use super::typed::{read, store};
use super::walk::Collected;
use crate::keyspace::{Event, KeyHasher, Locked, Set, Value, ValueRef};
use crate::resp::{Writer, parse_i64};

/// What is made of several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Inter,
    Union,
    Diff,
}

/// Checks that the keys hold sets or nothing; false after answering that one does not.
fn check(keys: &mut Locked<'_>, names: &[&[u8]], out: &mut Writer<'_>) -> bool {
    names.iter().all(|name| match keys.at(name) {
        Some(mut key) => read::<Set>(&mut key, out).is_some(),
        None => true,
    })
}

fn set_of<'b>(keys: &'b Locked<'_>, name: &[u8]) -> Option<&'b Set> {
    match keys.peek(name).and_then(ValueRef::object) {
        Some(Value::Set(set)) => Some(set),
        _ => None,
    }
}

/// Whether a difference is made by taking the others' members out of the first set: where that looks at
/// fewer members than to look each of the first set's up in the others. As in Redis, whose estimate it is,
/// since what is made may be encoded as the first set was.
fn takes_out(sets: &[Option<&Set>]) -> bool {
    let Some((Some(first), _)) = sets.split_first() else { return false };
    let there = || sets.iter().flatten();
    let all: usize = there().map(|set| set.len()).sum();
    first.len() * there().count() / 2 > all
}

/// Visits each member of the result once until `visit` returns false.
fn combine(
    keys: &Locked<'_>,
    names: &[&[u8]],
    operation: Operation,
    visit: &mut impl FnMut(&[u8]) -> bool,
) {
    let hasher = keys.hasher();
    let sets: Vec<Option<&Set>> = names.iter().map(|name| set_of(keys, name)).collect();
    match operation {
        Operation::Inter => {
            let Some(mut sets) = sets.into_iter().collect::<Option<Vec<&Set>>>() else { return };
            sets.sort_by_key(|set| set.len());
            let Some((first, rest)) = sets.split_first() else { return };
            first.all(|m| !rest.iter().all(|set| set.contains(hasher, m)) || visit(m));
        }
        Operation::Diff => {
            let Some((Some(first), rest)) = sets.split_first() else { return };
            let rest: Vec<&Set> = rest.iter().flatten().copied().collect();
            first.all(|m| rest.iter().any(|set| set.contains(hasher, m)) || visit(m));
        }
        Operation::Union => {
            let made = union(hasher, sets.into_iter().flatten());
            made.all(visit);
        }
    }
}

fn union<'b>(hasher: &KeyHasher, sets: impl Iterator<Item = &'b Set>) -> Set {
    let mut made = Set::default();
    for set in sets {
        set.visit(|member| {
            made.insert(hasher, member);
        });
    }
    made
}

fn answer(keys: &mut Locked<'_>, names: &[&[u8]], operation: Operation, out: &mut Writer<'_>) {
    if !check(keys, names, out) {
        return;
    }
    let mut found = Collected::default();
    combine(keys, names, operation, &mut |member| {
        found.push(member);
        true
    });
    found.answer_set(out);
}

fn keep(keys: &mut Locked<'_>, args: &[&[u8]], operation: Operation, out: &mut Writer<'_>) {
    let names = &args[2..];
    if !check(keys, names, out) {
        return;
    }
    let hasher = keys.hasher();
    let sets: Vec<Option<&Set>> = names.iter().map(|name| set_of(keys, name)).collect();
    let made = match (operation, sets.split_first()) {
        (Operation::Union, _) => union(hasher, sets.into_iter().flatten()),
        (Operation::Diff, Some((first, rest))) if takes_out(&sets) => {
            let mut made = union(hasher, first.iter().copied());
            for set in rest.iter().flatten() {
                set.visit(|member| {
                    made.remove(hasher, member);
                });
            }
            made
        }
        _ => {
            let mut made = Set::default();
            combine(keys, names, operation, &mut |member| made.insert(hasher, member));
            made
        }
    };
    out.integer(made.len() as i64);
    if let Some(mut target) = keys.at(args[1]) {
        let event = match operation {
            Operation::Inter => "sinterstore",
            Operation::Union => "sunionstore",
            Operation::Diff => "sdiffstore",
        };
        store(&mut target, made, Event::set(event));
    }
}

/// SINTER key [key ...]
pub fn sinter(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, &args[1..], Operation::Inter, out);
}

/// SUNION key [key ...]
pub fn sunion(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, &args[1..], Operation::Union, out);
}

/// SDIFF key [key ...]
pub fn sdiff(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    answer(keys, &args[1..], Operation::Diff, out);
}

/// SINTERSTORE destination key [key ...]
pub fn sinterstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Inter, out);
}

/// SUNIONSTORE destination key [key ...]
pub fn sunionstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Union, out);
}

/// SDIFFSTORE destination key [key ...]
pub fn sdiffstore(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    keep(keys, args, Operation::Diff, out);
}

/// The keys behind a number of keys, and what follows; `None` after answering with an error.
pub(super) fn counted<'b, 'c>(args: &'b [&'c [u8]], out: &mut Writer<'_>) -> Option<Parts<'b, 'c>> {
    let Some(count) = parse_i64(args[1]).filter(|count| *count > 0) else {
        out.error("ERR numkeys should be greater than 0");
        return None;
    };
    let parts = usize::try_from(count).ok().and_then(|count| args[2..].split_at_checked(count));
    if parts.is_none() {
        out.error("ERR Number of keys can't be greater than number of args");
    }
    parts
}

/// The LIMIT behind SINTERCARD's and ZINTERCARD's keys, 0 for none; `None` after answering with an
/// error.
pub(super) fn limit(mut rest: &[&[u8]], out: &mut Writer<'_>) -> Option<u64> {
    let mut limit = 0;
    while let [word, tail @ ..] = rest {
        match tail {
            [value, tail @ ..] if is(word, "LIMIT") => {
                limit = texts::count_or(value, "ERR LIMIT can't be negative", out)?;
                rest = tail;
            }
            _ => {
                out.error(texts::SYNTAX);
                return None;
            }
        }
    }
    Some(limit)
}

/// SINTERCARD numkeys key [key ...] [LIMIT limit]
pub fn sintercard(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some((names, rest)) = counted(args, out) else { return };
    let Some(limit) = limit(rest, out) else { return };
    if !check(keys, names, out) {
        return;
    }
    let mut count = 0;
    combine(keys, names, Operation::Inter, &mut |_| {
        count += 1;
        count != limit
    });
    out.integer(count as i64);
}
