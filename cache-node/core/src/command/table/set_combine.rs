//! Sets: intersection, union, difference.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 7] = [
    Spec::new(
        "sinter",
        -2,
        Group::Set,
        "1.0.0",
        "O(N*M) for M sets, the smallest with N members",
        "Reads what all sets have in common.",
    )
    .flags(F::READONLY)
    .acl(Acl::SET)
    .tips(&["nondeterministic_output_order"])
    .keyed(&[Key::at(1, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sinter))),
    Spec::new(
        "sinterstore",
        -3,
        Group::Set,
        "1.0.0",
        "O(N*M) for M sets, the smallest with N members",
        "Stores what all sets have in common.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::SET)
    .keyed(&[Key::at(1, &["RW", "update"]), Key::at(2, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sinterstore))),
    Spec::new(
        "sintercard",
        -3,
        Group::Set,
        "7.0.0",
        "O(N*M) for M sets, the smallest with N members",
        "Counts what all sets have in common.",
    )
    .flags(F::READONLY.union(F::MOVABLEKEYS))
    .acl(Acl::SET)
    .keyed(&[Key::at(1, &["RO", "access"]).found(Find::Count)])
    .args(&[
        Arg::new("numkeys", "integer"),
        Arg::key("key", 0).multiple(),
        Arg::new("limit", "integer").token("LIMIT").optional(),
    ])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sintercard))),
    Spec::new(
        "sunion",
        -2,
        Group::Set,
        "1.0.0",
        "O(N) for N members in all",
        "Reads what any of the sets has.",
    )
    .flags(F::READONLY)
    .acl(Acl::SET)
    .tips(&["nondeterministic_output_order"])
    .keyed(&[Key::at(1, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sunion))),
    Spec::new(
        "sunionstore",
        -3,
        Group::Set,
        "1.0.0",
        "O(N) for N members in all",
        "Stores what any of the sets has.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::SET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sunionstore))),
    Spec::new(
        "sdiff",
        -2,
        Group::Set,
        "1.0.0",
        "O(N) for N members in all",
        "Reads what the first set has and the others have not.",
    )
    .flags(F::READONLY)
    .acl(Acl::SET)
    .tips(&["nondeterministic_output_order"])
    .keyed(&[Key::at(1, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sdiff))),
    Spec::new(
        "sdiffstore",
        -3,
        Group::Set,
        "1.0.0",
        "O(N) for N members in all",
        "Stores what the first set has and the others have not.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::SET)
    .keyed(&[Key::at(1, &["OW", "update"]), Key::at(2, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("destination", 0), Arg::key("key", 1).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(set_combine::sdiffstore))),
];
