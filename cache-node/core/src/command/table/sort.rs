//! SORT, and commands that look into values of several types.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 4] = [
    Spec::new(
        "sort",
        -2,
        Group::Generic,
        "1.0.0",
        "O(N*log(N)+M) for N elements, M of them read",
        "Reads or stores the sorted elements of a list, set or sorted set.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::MOVABLEKEYS))
    .acl(Acl::SET.union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::DANGEROUS))
    .keyed(&[
        Key::at(1, &["RO", "access"]),
        Key::at(0, &["RO", "access"]).found(Find::Unknown),
        Key::at(0, &["OW", "update"]).found(Find::SortStore),
    ])
    .args(&[
        Arg::key("key", 0),
        Arg::new("pattern", "pattern").token("BY").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
        Arg::new("pattern", "pattern").token("GET").optional().multiple().multiple_token(),
        Arg::new("order", "oneof")
            .optional()
            .of(&[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]),
        Arg::word("sorting", "ALPHA").optional(),
        Arg::key("destination", 2).token("STORE").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(sort::sort))),
    Spec::new(
        "sort_ro",
        -2,
        Group::Generic,
        "7.0.0",
        "O(N*log(N)+M) for N elements, M of them read",
        "Reads the sorted elements of a list, set or sorted set.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SET.union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::DANGEROUS))
    .keyed(&[Key::at(1, &["RO", "access"]), Key::at(0, &["RO", "access"]).found(Find::Unknown)])
    .args(&[
        Arg::key("key", 0),
        Arg::new("pattern", "pattern").token("BY").optional(),
        Arg::new("offset_count", "block")
            .token("LIMIT")
            .optional()
            .of(&[Arg::new("offset", "integer"), Arg::new("count", "integer")]),
        Arg::new("pattern", "pattern").token("GET").optional().multiple().multiple_token(),
        Arg::new("order", "oneof")
            .optional()
            .of(&[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]),
        Arg::word("sorting", "ALPHA").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(sort::sort_ro))),
    Spec::new(
        "lcs",
        -3,
        Group::String,
        "7.0.0",
        "O(N*M) for strings of N and M bytes",
        "Finds the longest common subsequence of two strings.",
    )
    .flags(F::READONLY)
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RO", "access"]).to(1, 1)])
    .args(&[
        Arg::key("key1", 0),
        Arg::key("key2", 0),
        Arg::word("len", "LEN").optional(),
        Arg::word("idx", "IDX").optional(),
        Arg::new("len", "integer").token("MINMATCHLEN").optional(),
        Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(lcs::lcs))),
    Spec::new(
        "lmpop",
        -4,
        Group::List,
        "7.0.0",
        "O(K+M) for K keys and M elements taken",
        "Takes elements out of the first list that has any.",
    )
    .flags(F::WRITE.union(F::MOVABLEKEYS))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("where", "oneof").of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(list_edit::lmpop))),
];
