//! Sorted sets: members that leave.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 7] = [
    Spec::new(
        "zrem",
        -3,
        Group::SortedSet,
        "1.2.0",
        "O(M*log(N)) for M members removed",
        "Removes members.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .members(2, 1)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("member", "string").multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zrem))),
    Spec::new(
        "zremrangebyrank",
        4,
        Group::SortedSet,
        "2.0.0",
        "O(M*log(N)) for M members removed",
        "Removes the members in a range of places.",
    )
    .flags(F::WRITE)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("start", "integer"), Arg::new("stop", "integer")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zremrangebyrank))),
    Spec::new(
        "zremrangebyscore",
        4,
        Group::SortedSet,
        "1.2.0",
        "O(M*log(N)) for M members removed",
        "Removes the members with scores in a range.",
    )
    .flags(F::WRITE)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("min", "double"), Arg::new("max", "double")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zremrangebyscore))),
    Spec::new(
        "zremrangebylex",
        4,
        Group::SortedSet,
        "2.8.9",
        "O(M*log(N)) for M members removed",
        "Removes the members between two members.",
    )
    .flags(F::WRITE)
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("min", "string"), Arg::new("max", "string")])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zremrangebylex))),
    Spec::new(
        "zpopmin",
        -2,
        Group::SortedSet,
        "5.0.0",
        "O(M*log(N)) for M members taken",
        "Takes out the members with the lowest scores.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zpopmin))),
    Spec::new(
        "zpopmax",
        -2,
        Group::SortedSet,
        "5.0.0",
        "O(M*log(N)) for M members taken",
        "Takes out the members with the highest scores.",
    )
    .flags(F::WRITE.union(F::FAST))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "access", "delete"])])
    .args(&[Arg::key("key", 0), Arg::new("count", "integer").optional()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(zremove::zpopmax))),
    Spec::new(
        "zmpop",
        -4,
        Group::SortedSet,
        "7.0.0",
        "O(K)+O(M*log(N)) for K keys and M members taken",
        "Takes members out of the first sorted set that has any.",
    )
    .flags(F::WRITE.union(F::MOVABLEKEYS))
    .acl(Acl::SORTEDSET)
    .keyed(&[Key::at(1, &["RW", "access", "delete"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("where", "oneof").of(&[Arg::word("min", "MIN"), Arg::word("max", "MAX")]),
        Arg::new("count", "integer").token("COUNT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(zremove::zmpop))),
];
