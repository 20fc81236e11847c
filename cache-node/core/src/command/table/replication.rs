//! What other members have of what was written here.

use super::prelude::*;

/// The commands of this family.
pub(super) const LIST: [Spec; 2] = [
    Spec::new(
        "role",
        1,
        Group::Server,
        "2.8.12",
        "O(N) for N members",
        "Tells which members keep what this one writes, and whose writes it keeps.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::FAST))
    .acl(Acl::ADMIN.union(Acl::DANGEROUS))
    .run(Run::Shell(Role)),
    Spec::new(
        "wait",
        3,
        Group::Generic,
        "3.0.0",
        "O(1)",
        "Waits until other members have what was written.",
    )
    .flags(F::BLOCKING)
    .acl(Acl::CONNECTION)
    .tips(&["request_policy:all_shards", "response_policy:agg_min"])
    .args(&[Arg::new("numreplicas", "integer"), Arg::new("timeout", "integer")])
    .run(Run::Shell(Wait)),
];
