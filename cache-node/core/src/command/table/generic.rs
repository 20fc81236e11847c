//! Keys of any type.

use super::prelude::*;

/// Subcommands of OBJECT.
pub(super) const OBJECT_LIST: [Spec; 5] = [
    Spec::new(
        "object|encoding",
        3,
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Tells how a value is encoded.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(2, &["RO"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(object::encoding))),
    Spec::new(
        "object|freq",
        3,
        Group::Generic,
        "4.0.0",
        "O(1)",
        "Tells how often a key was used, under an LFU policy.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(2, &["RO"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(object::freq))),
    Spec::new("object|help", 2, Group::Generic, "6.2.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::KEYSPACE)
        .run(Run::Shell(Help)),
    Spec::new(
        "object|idletime",
        3,
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Tells for how many seconds a key was not used.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(2, &["RO"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(object::idletime))),
    Spec::new(
        "object|refcount",
        3,
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Tells how many references a value has.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(2, &["RO"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(object::refcount))),
];
static OBJECT: [Spec; 5] = numbered(OBJECT_LIST, super::OBJECT_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 21] = [
    Spec::new("del", -2, Group::Generic, "1.0.0", "O(N) for N keys", "Removes keys.")
        .flags(F::WRITE)
        .acl(Acl::KEYSPACE)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .keyed(&[Key::at(1, &["RM", "delete"]).to(-1, 1)])
        .args(&[Arg::key("key", 0).multiple()])
        .spread(Spread::SumByKeys)
        .run(Run::Keys(Many(keys::del))),
    Spec::new(
        "unlink",
        -2,
        Group::Generic,
        "4.0.0",
        "O(N) for N keys",
        "Removes keys; here as DEL, which gives large values back outside of the lock too.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keyed(&[Key::at(1, &["RM", "delete"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::SumByKeys)
    .run(Run::Keys(Many(keys::del))),
    Spec::new(
        "exists",
        -2,
        Group::Generic,
        "1.0.0",
        "O(N) for N keys",
        "Counts which of the keys exist; a key named twice counts twice.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keyed(&[Key::at(1, &["RO"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::SumByKeys)
    .run(Run::Keys(Many(keys::exists))),
    Spec::new("type", 2, Group::Generic, "1.0.0", "O(1)", "Tells what type of value a key has.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::KEYSPACE)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(keys::type_of))),
    Spec::new("expire", -3, Group::Generic, "1.0.0", "O(1)", "Sets a key's lifetime in seconds.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::KEYSPACE)
        .keyed(&[Key::at(1, &["RW", "update"])])
        .args(&[
            Arg::key("key", 0),
            Arg::new("seconds", "integer"),
            Arg::new("condition", "oneof").since("7.0.0").optional().of(&[
                Arg::word("nx", "NX"),
                Arg::word("xx", "XX"),
                Arg::word("gt", "GT"),
                Arg::word("lt", "LT"),
            ]),
        ])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(expire::expire))),
    Spec::new(
        "pexpire",
        -3,
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Sets a key's lifetime in milliseconds.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("milliseconds", "integer"),
        Arg::new("condition", "oneof").since("7.0.0").optional().of(&[
            Arg::word("nx", "NX"),
            Arg::word("xx", "XX"),
            Arg::word("gt", "GT"),
            Arg::word("lt", "LT"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::pexpire))),
    Spec::new(
        "expireat",
        -3,
        Group::Generic,
        "1.2.0",
        "O(1)",
        "Sets the Unix time in seconds at which a key ends.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("unix-time-seconds", "unix-time"),
        Arg::new("condition", "oneof").since("7.0.0").optional().of(&[
            Arg::word("nx", "NX"),
            Arg::word("xx", "XX"),
            Arg::word("gt", "GT"),
            Arg::word("lt", "LT"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::expireat))),
    Spec::new(
        "pexpireat",
        -3,
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Sets the Unix time in milliseconds at which a key ends.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("unix-time-milliseconds", "unix-time"),
        Arg::new("condition", "oneof").since("7.0.0").optional().of(&[
            Arg::word("nx", "NX"),
            Arg::word("xx", "XX"),
            Arg::word("gt", "GT"),
            Arg::word("lt", "LT"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::pexpireat))),
    Spec::new(
        "ttl",
        2,
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Tells a key's remaining lifetime in seconds.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::ttl))),
    Spec::new(
        "pttl",
        2,
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Tells a key's remaining lifetime in milliseconds.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output"])
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::pttl))),
    Spec::new(
        "expiretime",
        2,
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Tells the Unix time in seconds at which a key ends.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::expiretime))),
    Spec::new(
        "pexpiretime",
        2,
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Tells the Unix time in milliseconds at which a key ends.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(expire::pexpiretime))),
    Spec::new("persist", 2, Group::Generic, "2.2.0", "O(1)", "Takes a key's lifetime away.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::KEYSPACE)
        .keyed(&[Key::at(1, &["RW", "update"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(expire::persist))),
    Spec::new(
        "touch",
        -2,
        Group::Generic,
        "3.2.1",
        "O(N) for N keys",
        "Counts keys as used now; tells how many exist.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .keyed(&[Key::at(1, &["RO"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::SumByKeys)
    .run(Run::Keys(Many(keys::touch))),
    Spec::new(
        "rename",
        3,
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Gives a value another key, whatever that held.",
    )
    .flags(F::WRITE)
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]), Key::at(2, &["OW", "update"])])
    .args(&[Arg::key("key", 0), Arg::key("newkey", 1)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(keys::rename))),
    Spec::new(
        "renamenx",
        3,
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Gives a value another key if that does not exist.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]), Key::at(2, &["OW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::key("newkey", 1)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(keys::renamenx))),
    Spec::new(
        "copy",
        -3,
        Group::Generic,
        "6.2.0",
        "O(N) for a list of N elements, O(1) for a string",
        "Copies a value to another key.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::KEYSPACE)
    .keyed(&[Key::at(1, &["RO", "access"]), Key::at(2, &["OW", "update"])])
    .args(&[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::new("destination-db", "integer").token("DB").optional(),
        Arg::word("replace", "REPLACE").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(keys::copy))),
    Spec::new(
        "object",
        -2,
        Group::Generic,
        "2.2.3",
        "As its subcommand",
        "Looks at how a value is kept.",
    )
    .run(Run::Shell(Container))
    .subcommands(&OBJECT),
    Spec::new(
        "keys",
        2,
        Group::Generic,
        "1.0.0",
        "O(N) for N keys in the store",
        "Lists the keys that match a pattern.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE.union(Acl::DANGEROUS))
    .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
    .args(&[Arg::new("pattern", "pattern")])
    .spread(Spread::ConcatMembers)
    .run(Run::Walk(walk::keys)),
    Spec::new(
        "scan",
        -2,
        Group::Generic,
        "2.8.0",
        "O(1) a call, O(N) for a whole walk over N keys",
        "Walks over the keys in steps.",
    )
    .flags(F::READONLY)
    .acl(Acl::KEYSPACE)
    .tips(&["nondeterministic_output", "request_policy:special"])
    .args(&[
        Arg::new("cursor", "integer"),
        Arg::new("pattern", "pattern").token("MATCH").optional(),
        Arg::new("count", "integer").token("COUNT").optional(),
        Arg::new("type", "string").token("TYPE").since("6.0.0").optional(),
    ])
    .spread(Spread::Cursor)
    .run(Run::Keyspace(walk::scan)),
    Spec::new("randomkey", 1, Group::Generic, "1.0.0", "O(1)", "Answers some key.")
        .flags(F::READONLY)
        .acl(Acl::KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .spread(Spread::AnyMember)
        .run(Run::Keyspace(walk::randomkey)),
];
