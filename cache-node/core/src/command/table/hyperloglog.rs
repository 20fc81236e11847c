//! HyperLogLog: how many different elements there were.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 3] = [
    Spec::new(
        "pfadd",
        -2,
        Group::HyperLogLog,
        "2.8.9",
        "O(1) for each element",
        "Adds elements to a HyperLogLog.",
    )
    .flags(F::WRITE.union(F::DENYOOM).union(F::FAST))
    .acl(Acl::HYPERLOGLOG)
    .keyed(&[Key::at(1, &["RW", "insert"])])
    .args(&[Arg::key("key", 0), Arg::new("element", "string").optional().multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(One(hyperloglog::pfadd))),
    Spec::new(
        "pfcount",
        -2,
        Group::HyperLogLog,
        "2.8.9",
        "O(1), O(N) for N keys",
        "Estimates how many different elements were added.",
    )
    .flags(F::READONLY)
    .acl(Acl::HYPERLOGLOG)
    .keyed(&[Key::at(1, &["RW", "access"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(hyperloglog::pfcount))),
    Spec::new(
        "pfmerge",
        -2,
        Group::HyperLogLog,
        "2.8.9",
        "O(N) for N keys",
        "Makes one HyperLogLog of several.",
    )
    .flags(F::WRITE.union(F::DENYOOM))
    .acl(Acl::HYPERLOGLOG)
    .keyed(&[Key::at(1, &["RW", "access", "insert"]), Key::at(2, &["RO", "access"]).to(-1, 1)])
    .args(&[Arg::key("destkey", 0), Arg::key("sourcekey", 1).multiple()])
    .spread(Spread::OneSlot)
    .run(Run::Keys(Many(hyperloglog::pfmerge))),
];
