//! Commands over the whole keyspace of a member.

use super::options::cursor;
use super::texts::{self, is};
use crate::cluster::Slot;
use crate::command::pattern::matches;
use crate::keyspace::{Keyspace, NotServing, scan_slot};
use crate::resp::{Protocol, Writer};
use crate::store::{StoreNumber, StorePolicy};

/// Bulk strings that are collected before their number is known.
#[derive(Default)]
pub(super) struct Collected {
    bytes: Vec<u8>,
    count: usize,
}

impl Collected {
    pub(super) fn push(&mut self, key: &[u8]) {
        Writer::new(&mut self.bytes, Protocol::Resp2).bulk(key);
        self.count += 1;
    }

    pub(super) fn answer_set(&self, out: &mut Writer<'_>) {
        out.set(self.count);
        out.raw(&self.bytes);
    }

    pub(super) fn answer(&self, out: &mut Writer<'_>) {
        out.array(self.count);
        out.raw(&self.bytes);
    }
}

/// How far a command over the whole keyspace is that is carried out in steps, so that nobody waits
/// long for it.
#[derive(Default)]
pub struct Walk {
    /// The place where it goes on.
    at: u64,
    /// How many stores are done.
    stores: usize,
    found: Collected,
}

/// About so many keys are looked at in one step of KEYS.
const KEYS_A_STEP: usize = 4096;
/// So many slots are emptied in one step of a flush.
const SLOTS_A_STEP: usize = 1024;

/// KEYS pattern
pub fn keys(
    space: &Keyspace,
    store: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    walk: &mut Walk,
    out: &mut Writer<'_>,
) -> bool {
    let pattern = args[1];
    let Walk { at, found, .. } = walk;
    let next = space.visit_keys(store, *at, KEYS_A_STEP, now_ms, |entry| {
        let key = entry.key;
        if pattern == b"*" || matches(pattern, key) {
            found.push(key);
        }
    });
    match next {
        Some(next) => *at = next,
        None => found.answer(out),
    }
    next.is_none()
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub fn scan(
    space: &Keyspace,
    store: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    out: &mut Writer<'_>,
) -> Result<(), NotServing> {
    let Some(from) = cursor(args[1]) else {
        out.error("ERR invalid cursor");
        return Ok(());
    };
    let (mut pattern, mut count, mut kind) = (None, 10, None);
    let mut rest = &args[2..];
    while let [word, tail @ ..] = rest {
        let Some((value, tail)) = tail.split_first() else {
            out.error(texts::SYNTAX);
            return Ok(());
        };
        rest = tail;
        if is(word, "COUNT") {
            let Some(value) = texts::integer(value, out) else { return Ok(()) };
            let Some(value) = u64::try_from(value).ok().filter(|value| *value > 0) else {
                out.error(texts::SYNTAX);
                return Ok(());
            };
            count = value;
        } else if is(word, "MATCH") {
            pattern = Some(*value).filter(|pattern| *pattern != b"*");
        } else if is(word, "TYPE") {
            kind = Some(*value);
        } else {
            out.error(texts::SYNTAX);
            return Ok(());
        }
    }
    let slot = scan_slot(from);
    if !space.is_serving(slot) {
        return Err(NotServing { slot });
    }
    let mut found = Collected::default();
    let next = space.scan(store, from, count, now_ms, |entry| {
        let key = entry.key;
        let wanted = pattern.is_none_or(|pattern| matches(pattern, key))
            && kind.is_none_or(|kind| is(kind, entry.value.type_name()));
        if wanted {
            found.push(key);
        }
    });
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    found.answer(out);
    Ok(())
}

/// RANDOMKEY
pub fn randomkey(
    space: &Keyspace,
    store: StoreNumber,
    _: &[&[u8]],
    now_ms: u64,
    out: &mut Writer<'_>,
) -> Result<(), NotServing> {
    if !space.random_key(store, now_ms, |key| out.bulk(key)) {
        out.null();
    }
    Ok(())
}

/// DBSIZE
pub fn dbsize(
    space: &Keyspace,
    store: StoreNumber,
    _: &[&[u8]],
    _: u64,
    out: &mut Writer<'_>,
) -> Result<(), NotServing> {
    out.integer(i64::try_from(space.served_keys(store)).unwrap_or(i64::MAX));
    Ok(())
}

/// Whether the arguments of a flush make sense: nothing, ASYNC or SYNC.
fn flush_arguments(args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    let good = match args {
        [_] => true,
        [_, word] => is(word, "ASYNC") || is(word, "SYNC"),
        _ => false,
    };
    if !good {
        out.error(texts::SYNTAX);
    }
    good
}

/// One step of emptying a store; whether it was the last.
fn flush_step(space: &Keyspace, store: StoreNumber, now_ms: u64, walk: &mut Walk) -> bool {
    let from = Slot::try_from(walk.at).unwrap_or_default();
    let next = space.flush_step(store, from, SLOTS_A_STEP, now_ms);
    walk.at = next.map_or(0, u64::from);
    next.is_none()
}

/// FLUSHDB [ASYNC|SYNC]
pub fn flushdb(
    space: &Keyspace,
    store: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    walk: &mut Walk,
    out: &mut Writer<'_>,
) -> bool {
    if !flush_arguments(args, out) {
        return true;
    }
    if space.refuses_writes(store) {
        out.error(&space.misconf());
        return true;
    }
    if walk.at == 0 && space.lacks_replicas_anywhere(store) {
        out.error(texts::NO_REPLICAS);
        return true;
    }
    let done = flush_step(space, store, now_ms, walk);
    if done {
        out.ok();
    }
    done
}

/// FLUSHALL [ASYNC|SYNC]
pub fn flushall(
    space: &Keyspace,
    _: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    walk: &mut Walk,
    out: &mut Writer<'_>,
) -> bool {
    if !flush_arguments(args, out) {
        return true;
    }
    let policies = space.policies();
    if policies.iter().any(|policy| space.refuses_writes(policy.number)) {
        out.error(&space.misconf());
        return true;
    }
    let lacks = |policy: &StorePolicy| space.lacks_replicas_anywhere(policy.number);
    if walk.stores == 0 && walk.at == 0 && policies.iter().any(lacks) {
        out.error(texts::NO_REPLICAS);
        return true;
    }
    match policies.get(walk.stores) {
        Some(policy) => {
            walk.stores += usize::from(flush_step(space, policy.number, now_ms, walk));
            false
        }
        None => {
            out.ok();
            true
        }
    }
}
