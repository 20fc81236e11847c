//! Lists.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 16] = [
    Spec::new(
        "lpush",
        -3,
        Group::List,
        "1.0.0",
        "O(N) for N elements",
        "Adds elements at a list's head.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("element", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::lpush))),
    Spec::new(
        "rpush",
        -3,
        Group::List,
        "1.0.0",
        "O(N) for N elements",
        "Adds elements at a list's tail.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("element", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::rpush))),
    Spec::new(
        "lpushx",
        -3,
        Group::List,
        "2.2.0",
        "O(N) for N elements",
        "Adds elements at a list's head if the list exists.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("element", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::lpushx))),
    Spec::new(
        "rpushx",
        -3,
        Group::List,
        "2.2.0",
        "O(N) for N elements",
        "Adds elements at a list's tail if the list exists.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("element", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::rpushx))),
    Spec::new(
        "lpop",
        -2,
        Group::List,
        "1.0.0",
        "O(N) for N elements",
        "Takes elements from a list's head.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").since("6.2.0").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::lpop))),
    Spec::new(
        "rpop",
        -2,
        Group::List,
        "1.0.0",
        "O(N) for N elements",
        "Takes elements from a list's tail.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").since("6.2.0").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::rpop))),
    Spec::new("llen", 2, Group::List, "1.0.0", "O(1)", "Tells a list's length.")
        .flags(F::READONLY.union(F::FAST))
        .acl(Acl::LIST)
        .keyed(&[Key::at(1, &["RO"])])
        .args(&[Arg::key("key", 0)])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(lists::llen))),
    Spec::new(
        "lrange",
        4,
        Group::List,
        "1.0.0",
        "O(S+N) for N elements that start S elements from the nearer end",
        "Reads a run of elements.",
    )
    .flags(F::READONLY)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("start", "integer"), Arg::new("stop", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::lrange))),
    Spec::new(
        "lindex",
        3,
        Group::List,
        "1.0.0",
        "O(N) for N elements from the nearer end, in chunks",
        "Reads one element.",
    )
    .flags(F::READONLY)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[Arg::key("key", 0), Arg::new("index", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(lists::lindex))),
    Spec::new(
        "lset",
        4,
        Group::List,
        "1.0.0",
        "O(N) for N elements from the nearer end, in chunks",
        "Replaces one element.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "update"])])
    .args(&[Arg::key("key", 0), Arg::new("index", "integer"), Arg::new("element", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(list_edit::lset))),
    Spec::new(
        "linsert",
        5,
        Group::List,
        "2.2.0",
        "O(N) for N elements before the pivot",
        "Puts an element before or after another.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("where", "oneof")
            .of(&[Arg::word("before", "BEFORE"), Arg::word("after", "AFTER")]),
        Arg::new("pivot", "string"),
        Arg::new("element", "string"),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(list_edit::linsert))),
    Spec::new(
        "lrem",
        4,
        Group::List,
        "1.0.0",
        "O(N) for a list of N elements",
        "Removes elements that equal a value.",
    )
    .flags(F::WRITE)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer"), Arg::new("element", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(list_edit::lrem))),
    Spec::new(
        "ltrim",
        4,
        Group::List,
        "1.0.0",
        "O(N) for N elements removed",
        "Keeps a run of elements and removes the others.",
    )
    .flags(F::WRITE)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("start", "integer"), Arg::new("stop", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(list_edit::ltrim))),
    Spec::new(
        "lpos",
        -3,
        Group::List,
        "6.0.6",
        "O(N) for N elements compared",
        "Finds where an element stands.",
    )
    .flags(F::READONLY)
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RO", "access"])])
    .args(&[
        Arg::key("key", 0),
        Arg::new("element", "string"),
        Arg::new("rank", "integer").token("RANK").optional(),
        Arg::new("num-matches", "integer").token("COUNT").optional(),
        Arg::new("len", "integer").token("MAXLEN").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(list_edit::lpos))),
    Spec::new(
        "lmove",
        5,
        Group::List,
        "6.2.0",
        "O(1)",
        "Takes an element from one end of a list and adds it to an end of a list.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]), Key::at(2, &["RW", "insert"])])
    .args(&[
        Arg::key("source", 0),
        Arg::key("destination", 1),
        Arg::new("wherefrom", "oneof")
            .of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
        Arg::new("whereto", "oneof").of(&[Arg::word("left", "LEFT"), Arg::word("right", "RIGHT")]),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(list_edit::lmove))),
    Spec::new(
        "rpoplpush",
        3,
        Group::List,
        "1.2.0",
        "O(1)",
        "Takes a list's last element and adds it at a list's head.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::LIST)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]), Key::at(2, &["RW", "insert"])])
    .args(&[Arg::key("source", 0), Arg::key("destination", 1)])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(list_edit::rpoplpush))),
];
