//! Sets: their members.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 10] = [
    Spec::new("sadd", -3, Group::Set, "1.0.0", "O(N) for N members", "Adds members to a set.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::SET)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RW", "insert"])])
        .args(&[Arg::key("key", 0), Arg::new("member", "string").multiple()])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(sets::sadd))),
    Spec::new("srem", -3, Group::Set, "1.0.0", "O(N) for N members", "Removes members.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::SET)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RW", "delete"])])
        .args(&[Arg::key("key", 0), Arg::new("member", "string").multiple()])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(sets::srem))),
    Spec::new("sismember", 3, Group::Set, "1.0.0", "O(1)", "Tells whether a member is in a set.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::SET)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0), Arg::new("member", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(sets::sismember))),
    Spec::new(
        "smismember",
        -3,
        Group::Set,
        "6.2.0",
        "O(N) for N members",
        "Tells which of the members are in a set.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SET)
    .members(2, 1)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("member", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(sets::smismember))),
    Spec::new("smembers", 2, Group::Set, "1.0.0", "O(N) for N members", "Reads all members.")
        .flags(F::READONLY)
        .acl(Acl::SET)
        .tips(&["nondeterministic_output_order"])
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(sets::smembers))),
    Spec::new("scard", 2, Group::Set, "1.0.0", "O(1)", "Counts the members.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::SET)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(sets::scard))),
    Spec::new(
        "spop",
        -2,
        Group::Set,
        "1.0.0",
        "O(N) for N members asked for",
        "Takes random members out.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::SET)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").since("3.2.0").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(random_members::spop))),
    Spec::new(
        "srandmember",
        -2,
        Group::Set,
        "1.0.0",
        "O(N) for N members asked for",
        "Reads random members.",
    )
    .flags(F::READONLY)
    .acl(Acl::SET)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").since("2.6.0").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(random_members::srandmember))),
    Spec::new("smove", 4, Group::Set, "1.0.0", "O(1)", "Moves a member from one set to another.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::SET)
        .keyed(&[Key::at(1, &["RW", "access", "delete"]), Key::at(2, &["RW", "insert"])])
        .args(&[Arg::key("source", 0), Arg::key("destination", 1), Arg::new("member", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(Many(sets::smove))),
    Spec::new(
        "sscan",
        -3,
        Group::Set,
        "2.8.0",
        "O(1) a step, O(N) for all",
        "Walks through the members in steps.",
    )
    .flags(F::READONLY)
    .acl(Acl::SET)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("cursor", "integer"),
        Arg::new("pattern", "pattern").token("MATCH").optional(),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(member_scan::sscan))),
];
