//! What is on the disk.

use super::prelude::*;

const OF_ADMIN: F = F::ADMIN.union(F::NOSCRIPT);

/// The commands of this family.
pub(super) const LIST: [Spec; 5] = [
    Spec::new(
        "bgrewriteaof",
        1,
        Group::Server,
        "1.0.0",
        "O(N) for N keys",
        "Begins to rewrite the log as what the stores hold.",
    )
    .flags(OF_ADMIN.union(F::NO_ASYNC_LOADING))
    .run(Run::Shell(BgRewriteAof)),
    Spec::new(
        "bgsave",
        -1,
        Group::Server,
        "1.0.0",
        "O(N) for N keys",
        "Begins to take a snapshot of every store that is kept.",
    )
    .flags(OF_ADMIN.union(F::NO_ASYNC_LOADING))
    .args(&[Arg::word("schedule", "SCHEDULE").optional().since("3.2.2")])
    .run(Run::Shell(BgSave)),
    Spec::new(
        "lastsave",
        1,
        Group::Server,
        "1.0.0",
        "O(1)",
        "Tells when the last snapshot was complete.",
    )
    .flags(F::LOADING.union(F::STALE).union(F::FAST))
    .acl(Acl::ADMIN.union(Acl::DANGEROUS))
    .tips(&["nondeterministic_output"])
    .run(Run::Shell(LastSave)),
    Spec::new(
        "save",
        1,
        Group::Server,
        "1.0.0",
        "O(N) for N keys",
        "Takes a snapshot of every store that is kept, and waits until it is on the disk.",
    )
    .flags(OF_ADMIN.union(F::NO_ASYNC_LOADING).union(F::NO_MULTI))
    .run(Run::Shell(Save)),
    Spec::new(
        "waitaof",
        4,
        Group::Generic,
        "7.2.0",
        "O(1)",
        "Waits until what was written is forced to the disk.",
    )
    .flags(F::BLOCKING)
    .acl(Acl::CONNECTION)
    .tips(&["request_policy:all_shards", "response_policy:agg_min"])
    .args(&[
        Arg::new("numlocal", "integer"),
        Arg::new("numreplicas", "integer"),
        Arg::new("timeout", "integer"),
    ])
    .run(Run::Shell(WaitAof)),
];
