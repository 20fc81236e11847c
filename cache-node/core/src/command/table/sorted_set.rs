//! Sorted sets: their members.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 11] = [
    Spec::new(
        "zadd",
        -4,
        Group::SortedSet,
        "1.2.0",
        "O(log(N)) for each member",
        "Gives members scores, on conditions.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::SORTEDSET)
    .members(3, 2)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("condition", "oneof")
            .since("3.0.2")
            .optional()
            .of(&[Arg::word("nx", "NX"), Arg::word("xx", "XX")]),
        Arg::new("comparison", "oneof")
            .since("6.2.0")
            .optional()
            .of(&[Arg::word("gt", "GT"), Arg::word("lt", "LT")]),
        Arg::word("change", "CH").since("3.0.2").optional(),
        Arg::word("increment", "INCR").since("3.0.2").optional(),
        Arg::new("score_member", "block")
            .multiple()
            .of(&[Arg::new("score", "double"), Arg::new("member", "string")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zadd::zadd))),
    Spec::new("zincrby", 4, Group::SortedSet, "1.2.0", "O(log(N))", "Adds to a member's score.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::SORTEDSET)
        .members(3, 2)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("increment", "integer"), Arg::new("member", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(zadd::zincrby))),
    Spec::new("zscore", 3, Group::SortedSet, "1.2.0", "O(1)", "Reads a member's score.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::SORTEDSET)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0), Arg::new("member", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(zsets::zscore))),
    Spec::new(
        "zmscore",
        -3,
        Group::SortedSet,
        "6.2.0",
        "O(N) for N members",
        "Reads several members' scores.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .members(2, 1)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("member", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zsets::zmscore))),
    Spec::new("zcard", 2, Group::SortedSet, "1.2.0", "O(1)", "Counts the members.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::SORTEDSET)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(zsets::zcard))),
    Spec::new(
        "zcount",
        4,
        Group::SortedSet,
        "2.0.0",
        "O(log(N))",
        "Counts the members with scores in a range.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("min", "double"), Arg::new("max", "double")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zsets::zcount))),
    Spec::new(
        "zlexcount",
        4,
        Group::SortedSet,
        "2.8.9",
        "O(log(N))",
        "Counts the members between two members.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("min", "string"), Arg::new("max", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zsets::zlexcount))),
    Spec::new(
        "zrank",
        -3,
        Group::SortedSet,
        "2.0.0",
        "O(log(N))",
        "Tells a member's place, the lowest score first.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .members(2, 2)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("member", "string"),
        Arg::word("withscore", "WITHSCORE").since("7.2.0").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zsets::zrank))),
    Spec::new(
        "zrevrank",
        -3,
        Group::SortedSet,
        "2.0.0",
        "O(log(N))",
        "Tells a member's place, the highest score first.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .members(2, 2)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("member", "string"),
        Arg::word("withscore", "WITHSCORE").since("7.2.0").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zsets::zrevrank))),
    Spec::new(
        "zrandmember",
        -2,
        Group::SortedSet,
        "6.2.0",
        "O(N) for N members asked for",
        "Reads random members.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("options", "block")
            .optional()
            .of(&[Arg::new("count", "integer"), Arg::word("withscores", "WITHSCORES").optional()]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(random_members::zrandmember))),
    Spec::new(
        "zscan",
        -3,
        Group::SortedSet,
        "2.8.0",
        "O(1) a step, O(N) for all",
        "Walks through the members in steps.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("cursor", "integer"),
        Arg::new("pattern", "pattern").token("MATCH").optional(),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(member_scan::zscan))),
];
