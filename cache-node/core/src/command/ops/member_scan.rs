//! HSCAN, SSCAN, ZSCAN: through a collection in steps.

use super::options::cursor;
use super::texts::{self, is};
use super::typed::read;
use super::walk::Collected;
use crate::command::pattern::matches;
use crate::keyspace::{Access, Hash, Set, SortedSet};
use crate::resp::{Writer, format_double};

/// What a step is told beside the cursor.
struct Step<'a> {
    pattern: Option<&'a [u8]>,
    count: u64,
    /// Only fields or members, without what belongs to them.
    bare: bool,
}

impl<'a> Step<'a> {
    /// Reads the options; `bare` is the word for [`Self::bare`], where there is one.
    fn read(mut rest: &[&'a [u8]], bare: Option<&str>, out: &mut Writer<'_>) -> Option<Self> {
        let mut step = Self { pattern: None, count: 10, bare: false };
        while let [word, tail @ ..] = rest {
            match tail {
                tail if bare.is_some_and(|bare| is(word, bare)) => {
                    step.bare = true;
                    rest = tail;
                }
                [value, tail @ ..] if is(word, "COUNT") => {
                    let count = texts::integer(value, out)?;
                    step.count = match u64::try_from(count) {
                        Ok(count) if count > 0 => count,
                        _ => {
                            out.error(texts::SYNTAX);
                            return None;
                        }
                    };
                    rest = tail;
                }
                [value, tail @ ..] if is(word, "MATCH") => {
                    step.pattern = Some(*value).filter(|pattern| *pattern != b"*");
                    rest = tail;
                }
                _ => {
                    out.error(texts::SYNTAX);
                    return None;
                }
            }
        }
        Some(step)
    }

    fn wants(&self, member: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| matches(pattern, member))
    }
}

/// The cursor and options of a step; `None` after answering with an error.
fn start(args: &[&[u8]], out: &mut Writer<'_>) -> Option<u64> {
    let from = cursor(args[2]);
    if from.is_none() {
        out.error("ERR invalid cursor");
    }
    from
}

fn finish(next: Option<u64>, found: &Collected, out: &mut Writer<'_>) {
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next.unwrap_or(0)).as_bytes());
    found.answer(out);
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
pub fn hscan(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(from) = start(args, out) else { return };
    let (hasher, mut found) = (key.hasher(), Collected::default());
    let Some(hash) = read::<Hash>(key, out) else { return };
    let Some(hash) = hash else { return finish(None, &found, out) };
    let Some(step) = Step::read(&args[3..], Some("NOVALUES"), out) else { return };
    let next = hash.scan(hasher, from, step.count, |field, value| {
        if step.wants(field) {
            found.push(field);
            if !step.bare {
                found.push(value);
            }
        }
    });
    finish(next, &found, out);
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub fn sscan(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(from) = start(args, out) else { return };
    let (hasher, mut found) = (key.hasher(), Collected::default());
    let Some(set) = read::<Set>(key, out) else { return };
    let Some(set) = set else { return finish(None, &found, out) };
    let Some(step) = Step::read(&args[3..], None, out) else { return };
    let next = set.scan(hasher, from, step.count, |member| {
        if step.wants(member) {
            found.push(member);
        }
    });
    finish(next, &found, out);
}

/// ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]
pub fn zscan(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(from) = start(args, out) else { return };
    let (hasher, mut found) = (key.hasher(), Collected::default());
    let Some(set) = read::<SortedSet>(key, out) else { return };
    let Some(set) = set else { return finish(None, &found, out) };
    let Some(step) = Step::read(&args[3..], Some("NOSCORES"), out) else { return };
    let mut text = Vec::new();
    let next = set.scan(hasher, from, step.count, |member, score| {
        if step.wants(member) {
            found.push(member);
            if !step.bare {
                text.clear();
                text.extend_from_slice(format_double(score).as_bytes());
                found.push(&text);
            }
        }
    });
    finish(next, &found, out);
}
