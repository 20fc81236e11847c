//! Sorted sets: intersection, union, difference.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 7] = [
    Spec::new(
        "zunion",
        -3,
        Group::SortedSet,
        "6.2.0",
        "O(N)+O(M*log(M)) for N members in all and M in the result",
        "Reads what any of the sorted sets has.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("weight", "integer").token("WEIGHTS").optional().multiple(),
        Arg::new("aggregate", "oneof").token("AGGREGATE").optional().of(&[
            Arg::word("sum", "SUM"),
            Arg::word("min", "MIN"),
            Arg::word("max", "MAX"),
        ]),
        Arg::word("withscores", "WITHSCORES").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zunion))),
    Spec::new(
        "zunionstore",
        -4,
        Group::SortedSet,
        "2.0.0",
        "O(N)+O(M*log(M)) for N members in all and M in the result",
        "Stores what any of the sorted sets has.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::key("destination", 0),
        Arg::new("numkeys", "integer"),
        Arg::key("key", 1).multiple(),
        Arg::new("weight", "integer").token("WEIGHTS").optional().multiple(),
        Arg::new("aggregate", "oneof").token("AGGREGATE").optional().of(&[
            Arg::word("sum", "SUM"),
            Arg::word("min", "MIN"),
            Arg::word("max", "MAX"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zunionstore))),
    Spec::new(
        "zinter",
        -3,
        Group::SortedSet,
        "6.2.0",
        "O(N*K)+O(M*log(M)) for K sets, the smallest with N members, and M in the result",
        "Reads what all sorted sets have in common.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("weight", "integer").token("WEIGHTS").optional().multiple(),
        Arg::new("aggregate", "oneof").token("AGGREGATE").optional().of(&[
            Arg::word("sum", "SUM"),
            Arg::word("min", "MIN"),
            Arg::word("max", "MAX"),
        ]),
        Arg::word("withscores", "WITHSCORES").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zinter))),
    Spec::new(
        "zinterstore",
        -4,
        Group::SortedSet,
        "2.0.0",
        "O(N*K)+O(M*log(M)) for K sets, the smallest with N members, and M in the result",
        "Stores what all sorted sets have in common.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::key("destination", 0),
        Arg::new("numkeys", "integer"),
        Arg::key("key", 1).multiple(),
        Arg::new("weight", "integer").token("WEIGHTS").optional().multiple(),
        Arg::new("aggregate", "oneof").token("AGGREGATE").optional().of(&[
            Arg::word("sum", "SUM"),
            Arg::word("min", "MIN"),
            Arg::word("max", "MAX"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zinterstore))),
    Spec::new(
        "zintercard",
        -3,
        Group::SortedSet,
        "7.0.0",
        "O(N*K) for K sets, the smallest with N members",
        "Counts what all sorted sets have in common.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("limit", "integer").token("LIMIT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zintercard))),
    Spec::new(
        "zdiff",
        -3,
        Group::SortedSet,
        "6.2.0",
        "O(N)+O(M*log(M)) for N members in all and M in the result",
        "Reads what the first sorted set has and the others have not.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::word("withscores", "WITHSCORES").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zdiff))),
    Spec::new(
        "zdiffstore",
        -4,
        Group::SortedSet,
        "6.2.0",
        "O(N)+O(M*log(M)) for N members in all and M in the result",
        "Stores what the first sorted set has and the others have not.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::key("destination", 0),
        Arg::new("numkeys", "integer"),
        Arg::key("key", 1).multiple(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zcombine::zdiffstore))),
];
