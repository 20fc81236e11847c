//! Hashes.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 17] = [
    Spec::new("hset", -4, Group::Hash, "2.0.0", "O(N) for N fields", "Sets fields of a hash.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 2)
        .keyed(&[Key::at(1, &["RW", "update"])])
        .args(&[
            Arg::key("key", 0),
            Arg::new("field_value", "block")
                .multiple()
                .of(&[Arg::new("field", "string"), Arg::new("value", "string")]),
        ])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hset))),
    Spec::new("hsetnx", 4, Group::Hash, "2.0.0", "O(1)", "Sets a field if it does not exist.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 2)
        .keyed(&[Key::at(1, &["RW", "insert"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string"), Arg::new("value", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hsetnx))),
    Spec::new("hget", 3, Group::Hash, "2.0.0", "O(1)", "Reads a field.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hget))),
    Spec::new(
        "hmset",
        -4,
        Group::Hash,
        "2.0.0",
        "O(N) for N fields",
        "Sets fields of a hash (old form of HSET).",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::HASH)
    .members(2, 2)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("field_value", "block")
            .multiple()
            .of(&[Arg::new("field", "string"), Arg::new("value", "string")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hashes::hmset))),
    Spec::new("hmget", -3, Group::Hash, "2.0.0", "O(N) for N fields", "Reads several fields.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string").multiple()])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hmget))),
    Spec::new("hdel", -3, Group::Hash, "2.0.0", "O(N) for N fields", "Removes fields.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RW", "delete"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string").multiple()])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hdel))),
    Spec::new(
        "hgetdel",
        -5,
        Group::Hash,
        "9.1.0",
        "O(N) for N fields",
        "Reads fields and removes them.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::HASH)
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("fields", "block")
            .token("FIELDS")
            .of(&[Arg::new("numfields", "integer"), Arg::new("field", "string").multiple()]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hashes::hgetdel))),
    Spec::new("hexists", 3, Group::Hash, "2.0.0", "O(1)", "Tells whether a field exists.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 1)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hexists))),
    Spec::new("hlen", 2, Group::Hash, "2.0.0", "O(1)", "Counts the fields.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::HASH)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hlen))),
    Spec::new(
        "hstrlen",
        3,
        Group::Hash,
        "3.2.0",
        "O(1)",
        "Tells the length of a field's value in bytes.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::HASH)
    .members(2, 1)
    .keyed(&[Key::at(1, &["RO"])])
    .args(&[Arg::key("key", 0), Arg::new("field", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hashes::hstrlen))),
    Spec::new("hkeys", 2, Group::Hash, "2.0.0", "O(N) for N fields", "Reads all fields' names.")
        .flags(F::READONLY)
        .acl(Acl::HASH)
        .tips(&["nondeterministic_output_order"])
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hkeys))),
    Spec::new("hvals", 2, Group::Hash, "2.0.0", "O(N) for N fields", "Reads all fields' values.")
        .flags(F::READONLY)
        .acl(Acl::HASH)
        .tips(&["nondeterministic_output_order"])
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hashes::hvals))),
    Spec::new(
        "hgetall",
        2,
        Group::Hash,
        "2.0.0",
        "O(N) for N fields",
        "Reads all fields with their values.",
    )
    .flags(F::READONLY)
    .acl(Acl::HASH)
    .tips(&["nondeterministic_output_order"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hashes::hgetall))),
    Spec::new("hincrby", 4, Group::Hash, "2.0.0", "O(1)", "Adds to an integer in a field.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::HASH)
        .members(2, 2)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("field", "string"), Arg::new("increment", "integer")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(hash_numbers::hincrby))),
    Spec::new(
        "hincrbyfloat",
        4,
        Group::Hash,
        "2.6.0",
        "O(1)",
        "Adds to a number with decimals in a field.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::HASH)
    .members(2, 2)
    .keyed(&[Key::at(1, &["RW", "access", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("field", "string"), Arg::new("increment", "double")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hash_numbers::hincrbyfloat))),
    Spec::new(
        "hrandfield",
        -2,
        Group::Hash,
        "6.2.0",
        "O(N) for N fields asked for",
        "Reads random fields.",
    )
    .flags(F::READONLY)
    .acl(Acl::HASH)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("options", "block")
            .optional()
            .of(&[Arg::new("count", "integer"), Arg::word("withvalues", "WITHVALUES").optional()]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(random_members::hrandfield))),
    Spec::new(
        "hscan",
        -3,
        Group::Hash,
        "2.8.0",
        "O(1) a step, O(N) for all",
        "Walks through the fields in steps.",
    )
    .flags(F::READONLY)
    .acl(Acl::HASH)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("cursor", "integer"),
        Arg::new("pattern", "pattern").token("MATCH").optional(),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(member_scan::hscan))),
];
