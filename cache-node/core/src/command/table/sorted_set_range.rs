//! Sorted sets: ranges by rank, score and member.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 7] = [
    Spec::new(
        "zrange",
        -4,
        Group::SortedSet,
        "1.2.0",
        "O(log(N)+M) for M members read",
        "Reads a range of members.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("start", "string"),
        Arg::new("stop", "string"),
        Arg::new("sortby", "oneof")
            .since("6.2.0")
            .optional()
            .of(&[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]),
        Arg::word("rev", "REV").since("6.2.0").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .since("6.2.0")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
        Arg::word("withscores", "WITHSCORES").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrange))),
    Spec::new(
        "zrangestore",
        -5,
        Group::SortedSet,
        "6.2.0",
        "O(log(N)+M) for M members stored",
        "Stores a range of members.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"])])
    .args(&[
        Arg::key("dst", 0),
        Arg::key("src", 1),
        Arg::new("min", "string"),
        Arg::new("max", "string"),
        Arg::new("sortby", "oneof")
            .optional()
            .of(&[Arg::word("byscore", "BYSCORE"), Arg::word("bylex", "BYLEX")]),
        Arg::word("rev", "REV").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zrange::zrangestore))),
    Spec::new(
        "zrevrange",
        -4,
        Group::SortedSet,
        "1.2.0",
        "O(log(N)+M) for M members read",
        "Reads a range of places, the highest score first.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("start", "integer"),
        Arg::new("stop", "integer"),
        Arg::word("withscores", "WITHSCORES").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrevrange))),
    Spec::new(
        "zrangebyscore",
        -4,
        Group::SortedSet,
        "1.0.5",
        "O(log(N)+M) for M members read",
        "Reads the members with scores in a range.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("min", "double"),
        Arg::new("max", "double"),
        Arg::word("withscores", "WITHSCORES").since("2.0.0").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrangebyscore))),
    Spec::new(
        "zrevrangebyscore",
        -4,
        Group::SortedSet,
        "2.2.0",
        "O(log(N)+M) for M members read",
        "Reads the members with scores in a range, the highest first.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("max", "double"),
        Arg::new("min", "double"),
        Arg::word("withscores", "WITHSCORES").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrevrangebyscore))),
    Spec::new(
        "zrangebylex",
        -4,
        Group::SortedSet,
        "2.8.9",
        "O(log(N)+M) for M members read",
        "Reads the members between two members.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("min", "string"),
        Arg::new("max", "string"),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrangebylex))),
    Spec::new(
        "zrevrangebylex",
        -4,
        Group::SortedSet,
        "2.8.9",
        "O(log(N)+M) for M members read",
        "Reads the members between two members, the last first.",
    )
    .flags(F::READONLY)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("max", "string"),
        Arg::new("min", "string"),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zrange::zrevrangebylex))),
];
