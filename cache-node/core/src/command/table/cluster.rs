//! The cluster's layout.

use super::prelude::*;

/// Subcommands of CLUSTER.
pub(super) const CLUSTER_LIST: [Spec; 8] = [
    Spec::new(
        "cluster|countkeysinslot",
        3,
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Counts the keys of a slot.",
    )
    .flags(F::STALE)
    .args(&[Arg::new("slot", "integer")])
    .run(Run::Shell(ClusterCountKeysInSlot)),
    Spec::new("cluster|help", 2, Group::Cluster, "5.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "cluster|info",
        2,
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Describes the state of the cluster.",
    )
    .flags(F::STALE)
    .tips(&["nondeterministic_output"])
    .run(Run::Shell(ClusterInfo)),
    Spec::new(
        "cluster|keyslot",
        3,
        Group::Cluster,
        "3.0.0",
        "O(N) for N bytes",
        "Tells the slot of a key.",
    )
    .flags(F::STALE)
    .args(&[Arg::new("key", "string")])
    .run(Run::Shell(ClusterKeySlot)),
    Spec::new("cluster|myid", 2, Group::Cluster, "3.0.0", "O(1)", "Tells this member's id.")
        .flags(F::STALE)
        .run(Run::Shell(ClusterMyId)),
    Spec::new(
        "cluster|nodes",
        2,
        Group::Cluster,
        "3.0.0",
        "O(N) for N members",
        "Lists the members in one line each.",
    )
    .flags(F::STALE)
    .tips(&["nondeterministic_output"])
    .run(Run::Shell(ClusterNodes)),
    Spec::new(
        "cluster|shards",
        2,
        Group::Cluster,
        "7.0.0",
        "O(N) for N members",
        "Describes the shards: their slots and members.",
    )
    .flags(F::STALE)
    .tips(&["nondeterministic_output"])
    .run(Run::Shell(ClusterShards)),
    Spec::new(
        "cluster|slots",
        2,
        Group::Cluster,
        "3.0.0",
        "O(N) for N members",
        "Lists ranges of slots with their members.",
    )
    .flags(F::STALE)
    .tips(&["nondeterministic_output"])
    .run(Run::Shell(ClusterSlots)),
];
static CLUSTER: [Spec; 8] = numbered(CLUSTER_LIST, super::CLUSTER_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 4] = [
    Spec::new(
        "cluster",
        -2,
        Group::Cluster,
        "3.0.0",
        "As its subcommand",
        "Tells how the cluster is laid out.",
    )
    .run(Run::Shell(Container))
    .subcommands(&CLUSTER),
    Spec::new(
        "asking",
        1,
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Says that the next command was sent by an ASK.",
    )
    .flags(F::FAST)
    .acl(Acl::CONNECTION)
    .run(Run::Shell(Asking)),
    Spec::new(
        "readonly",
        -1,
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Accepts reads from replicas on this connection.",
    )
    .flags(F::LOADING.union(F::STALE).union(F::FAST))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(ReadOnly)),
    Spec::new("readwrite", 1, Group::Cluster, "3.0.0", "O(1)", "Ends READONLY.")
        .flags(F::LOADING.union(F::STALE).union(F::FAST))
        .acl(Acl::CONNECTION)
        .run(Run::Shell(ReadWrite)),
];
