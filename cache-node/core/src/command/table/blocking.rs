//! Commands that wait for lists and sorted sets.

use super::prelude::*;
use crate::keyspace::Value;
use crate::resp::Writer;

const fn waits(
    run: RunOrWait,
    wants: fn(&Value) -> bool,
    timeout_at: TimeoutAt,
    needs_all_keys: bool,
) -> Run {
    // What moves an element from here to there answers with one, the others with several.
    let nothing: fn(&mut Writer<'_>) =
        if needs_all_keys { |out| out.null() } else { |out| out.null_array() };
    Run::Keys(Waits(Blocking { run, wants, timeout_at, needs_all_keys, nothing }))
}

fn list(value: &Value) -> bool {
    matches!(value, Value::List(_))
}

fn sorted_set(value: &Value) -> bool {
    matches!(value, Value::SortedSet(_))
}

const BLOCKS: F = F::WRITE.union(F::NOSCRIPT).union(F::BLOCKING);
const KEYS_AND_TIMEOUT: &[Arg] = &[Arg::key("key", 0).multiple(), Arg::new("timeout", "double")];
const POPPED: &[&str] = &["RW", "access", "delete"];

/// The commands of this family.
pub(super) const LIST: [Spec; 8] = [
    Spec::new(
        "blpop",
        -3,
        Group::List,
        "2.0.0",
        "O(N) for N keys",
        "Takes the first element of the first list that has any, or waits for one.",
    )
    .flags(BLOCKS)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, POPPED).to(-2, 1)])
    .args(KEYS_AND_TIMEOUT)
    .spread(Spread::OneSlot)
    .run(waits(blocking::blpop, list, TimeoutAt::Last, false)),
    Spec::new(
        "brpop",
        -3,
        Group::List,
        "2.0.0",
        "O(N) for N keys",
        "Takes the last element of the first list that has any, or waits for one.",
    )
    .flags(BLOCKS)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, POPPED).to(-2, 1)])
    .args(KEYS_AND_TIMEOUT)
    .spread(Spread::OneSlot)
    .run(waits(blocking::brpop, list, TimeoutAt::Last, false)),
    Spec::new(
        "blmove",
        6,
        Group::List,
        "6.2.0",
        "O(1)",
        "Moves an element from one end of a list to an end of a list, or waits for one.",
    )
    .flags(BLOCKS.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, POPPED), Key::at(2, &["RW", "insert"])])
    .args(&[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::new("wherefrom", "oneof")
            .of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
        Arg::new("whereto", "oneof").of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
        Arg::new("timeout", "double"),
    ])
    .spread(Spread::OneSlot)
    .run(waits(blocking::blmove, list, TimeoutAt::Last, true)),
    Spec::new(
        "brpoplpush",
        4,
        Group::List,
        "2.2.0",
        "O(1)",
        "Moves a list's last element to a list's head, or waits for one.",
    )
    .flags(BLOCKS.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, POPPED), Key::at(2, &["RW", "insert"])])
    .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::new("timeout", "double")])
    .spread(Spread::OneSlot)
    .run(waits(blocking::brpoplpush, list, TimeoutAt::Last, true)),
    Spec::new(
        "blmpop",
        -5,
        Group::List,
        "7.0.0",
        "O(K+M) for K keys and M elements taken",
        "Takes elements of the first list that has any, or waits for some.",
    )
    .flags(F::WRITE.union(F::BLOCKING).union(F::MOVABLEKEYS))
    .acl(Acl::LIST)
    .keyed(&[Key::at(2, POPPED).found(Find::Count)])
    .args(&[
        Arg::new("timeout", "double"),
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("where", "oneof").of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(waits(blocking::blmpop, list, TimeoutAt::First, false)),
    Spec::new(
        "bzpopmin",
        -3,
        Group::SortedSet,
        "5.0.0",
        "O(log(N)) for a sorted set of N members",
        "Takes the lowest member of the first sorted set that has any, or waits for one.",
    )
    .flags(BLOCKS.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, POPPED).to(-2, 1)])
    .args(KEYS_AND_TIMEOUT)
    .spread(Spread::OneSlot)
    .run(waits(blocking::bzpopmin, sorted_set, TimeoutAt::Last, false)),
    Spec::new(
        "bzpopmax",
        -3,
        Group::SortedSet,
        "5.0.0",
        "O(log(N)) for a sorted set of N members",
        "Takes the highest member of the first sorted set that has any, or waits for one.",
    )
    .flags(BLOCKS.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, POPPED).to(-2, 1)])
    .args(KEYS_AND_TIMEOUT)
    .spread(Spread::OneSlot)
    .run(waits(blocking::bzpopmax, sorted_set, TimeoutAt::Last, false)),
    Spec::new(
        "bzmpop",
        -5,
        Group::SortedSet,
        "7.0.0",
        "O(K)+O(M*log(N)) for K keys and M members taken",
        "Takes members of the first sorted set that has any, or waits for some.",
    )
    .flags(F::WRITE.union(F::BLOCKING).union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(2, POPPED).found(Find::Count)])
    .args(&[
        Arg::new("timeout", "double"),
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("where", "oneof").of(&[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(waits(blocking::bzmpop, sorted_set, TimeoutAt::First, false)),
];
