//! Strings.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 23] = [
    Spec::new("get", 2, Group::String, "1.0.0", "O(1)", "Reads a string.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RO", "access"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(strings::get))),
    Spec::new(
        "set",
        -3,
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets a string, whatever the key held; conditions and lifetime are optional.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RW", "access", "update", "variable_flags"])
        .notes("With GET the former value is read as well.")])
    .args(&[
        Arg::key("key", 0),
        Arg::new("value", "string"),
        Arg::new("condition", "oneof").since("2.6.12").optional().of(&[
            Arg::word("nx", "NX"),
            Arg::word("xx", "XX"),
            Arg::new("comparison-value", "string").token("IFEQ").since("8.1.0"),
        ]),
        Arg::word("get", "GET").since("6.2.0").optional(),
        Arg::new("expiration", "oneof").optional().of(&[
            Arg::new("seconds", "integer").token("EX").since("2.6.12"),
            Arg::new("milliseconds", "integer").token("PX").since("2.6.12"),
            Arg::new("unix-time-seconds", "unix-time").token("EXAT").since("6.2.0"),
            Arg::new("unix-time-milliseconds", "unix-time").token("PXAT").since("6.2.0"),
            Arg::word("keepttl", "KEEPTTL").since("6.0.0"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::set))),
    Spec::new("getdel", 2, Group::String, "6.2.0", "O(1)", "Reads a string and removes its key.")
        .flags(F::WRITE.union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "delete"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(strings::getdel))),
    Spec::new(
        "getex",
        -2,
        Group::String,
        "6.2.0",
        "O(1)",
        "Reads a string and sets its key's lifetime.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RW", "access", "update"]).notes("The lifetime is changed.")])
    .args(&[
        Arg::key("key", 0),
        Arg::new("expiration", "oneof").optional().of(&[
            Arg::new("seconds", "integer").token("EX"),
            Arg::new("milliseconds", "integer").token("PX"),
            Arg::new("unix-time-seconds", "unix-time").token("EXAT"),
            Arg::new("unix-time-milliseconds", "unix-time").token("PXAT"),
            Arg::word("persist", "PERSIST"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::getex))),
    Spec::new(
        "getset",
        3,
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets a string and answers the former one.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RW", "access", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::getset))),
    Spec::new(
        "setnx",
        3,
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets a string if the key does not exist.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["OW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::setnx))),
    Spec::new(
        "setex",
        4,
        Group::String,
        "2.0.0",
        "O(1)",
        "Sets a string with a lifetime in seconds.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["OW", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("seconds", "integer"), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::setex))),
    Spec::new(
        "psetex",
        4,
        Group::String,
        "2.6.0",
        "O(1)",
        "Sets a string with a lifetime in milliseconds.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["OW", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("milliseconds", "integer"), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::psetex))),
    Spec::new("mget", -2, Group::String, "1.0.0", "O(N) for N keys", "Reads several strings.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::STRING)
        .tips(&["request_policy:multi_shard"])
        .keyed(&[Key::at(1, &["RO", "access"]).to(-1, 1)])
        .args(&[Arg::key("key", 0).multiple()])
        .spread(Spread::ArrayByKeys)
        .run(Run::Keys(Many(strings::mget))),
    Spec::new("mset", -3, Group::String, "1.0.1", "O(N) for N keys", "Sets several strings.")
        .flags(F::WRITE.union(F::DENYOOM))
        .acl(Acl::STRING)
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .keyed(&[Key::at(1, &["OW", "update"]).to(-1, 2)])
        .args(&[Arg::new("key_value", "block")
            .multiple()
            .of(&[Arg::key("key", 0), Arg::new("value", "string")])])
        .spread(Spread::OkByKeys)
        .run(Run::Keys(Many(strings::mset))),
    Spec::new(
        "msetex",
        -4,
        Group::String,
        "9.1.0",
        "O(N) for N keys",
        "Sets several strings with one lifetime; a condition is optional.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::MOVABLEKEYS))
    .acl(Acl::STRING)
    .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
    .keyed(&[Key::at(1, &["OW", "update"]).to(0, 2).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::new("data", "block").multiple().of(&[Arg::key("key", 0), Arg::new("value", "string")]),
        Arg::new("condition", "oneof")
            .optional()
            .of(&[Arg::word("nx", "NX"), Arg::word("xx", "XX")]),
        Arg::new("expiration", "oneof").optional().of(&[
            Arg::new("seconds", "integer").token("EX"),
            Arg::new("milliseconds", "integer").token("PX"),
            Arg::new("unix-time-seconds", "unix-time").token("EXAT"),
            Arg::new("unix-time-milliseconds", "unix-time").token("PXAT"),
            Arg::word("keepttl", "KEEPTTL"),
        ]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(strings::msetex))),
    Spec::new(
        "delifeq",
        3,
        Group::String,
        "9.0.0",
        "O(1)",
        "Removes a key if it holds a certain string.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RM", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(strings::delifeq))),
    Spec::new(
        "msetnx",
        -3,
        Group::String,
        "1.0.1",
        "O(N) for N keys",
        "Sets several strings if none of the keys exists.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::STRING)
    .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
    .keyed(&[Key::at(1, &["OW", "insert"]).to(-1, 2)])
    .args(&[Arg::new("key_value", "block")
        .multiple()
        .of(&[Arg::key("key", 0), Arg::new("value", "string")])])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(strings::msetnx))),
    Spec::new("incr", 2, Group::String, "1.0.0", "O(1)", "Adds one to an integer.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(numbers::incr))),
    Spec::new("decr", 2, Group::String, "1.0.0", "O(1)", "Takes one from an integer.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(numbers::decr))),
    Spec::new("incrby", 3, Group::String, "1.0.0", "O(1)", "Adds to an integer.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("increment", "integer")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(numbers::incrby))),
    Spec::new("decrby", 3, Group::String, "1.0.0", "O(1)", "Takes from an integer.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("decrement", "integer")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(numbers::decrby))),
    Spec::new("incrbyfloat", 3, Group::String, "2.6.0", "O(1)", "Adds to a number with decimals.")
        .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RW", "access", "update"])])
        .args(&[Arg::key("key", 0), Arg::new("increment", "double")])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(numbers::incrbyfloat))),
    Spec::new(
        "append",
        3,
        Group::String,
        "2.0.0",
        "O(1) amortised",
        "Adds bytes at the end of a string.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(ranges::append))),
    Spec::new("strlen", 2, Group::String, "2.2.0", "O(1)", "Tells a string's length in bytes.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::STRING)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(ranges::strlen))),
    Spec::new(
        "getrange",
        4,
        Group::String,
        "2.4.0",
        "O(N) for N bytes read",
        "Reads a part of a string.",
    )
    .flags(F::READONLY)
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("start", "integer"), Arg::new("end", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(ranges::getrange))),
    Spec::new(
        "substr",
        4,
        Group::String,
        "1.0.0",
        "O(N) for N bytes read",
        "Reads a part of a string (old name of GETRANGE).",
    )
    .flags(F::READONLY)
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("start", "integer"), Arg::new("end", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(ranges::getrange))),
    Spec::new(
        "setrange",
        4,
        Group::String,
        "2.2.0",
        "O(N) for N bytes written",
        "Overwrites a part of a string.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::STRING)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("offset", "integer"), Arg::new("value", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(ranges::setrange))),
];
