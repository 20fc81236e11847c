//! What the server notices of itself: memory, slow commands, latency.

use super::prelude::*;

/// Subcommands of MEMORY.
pub(super) const MEMORY_LIST: [Spec; 6] = [
    Spec::new(
        "memory|doctor",
        2,
        Group::Server,
        "4.0.0",
        "O(1)",
        "Says what is wrong with the memory, if anything is.",
    )
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
    .run(Run::Shell(MemoryDoctor)),
    Spec::new("memory|help", 2, Group::Server, "4.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "memory|malloc-stats",
        2,
        Group::Server,
        "4.0.0",
        "Depends on how much is allocated",
        "Tells the allocator's own statistics.",
    )
    .flags(F::LOADING)
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
    .run(Run::Shell(MemoryMallocStats)),
    Spec::new(
        "memory|purge",
        2,
        Group::Server,
        "4.0.0",
        "Depends on how much is allocated",
        "Has the allocator give back what it does not need.",
    )
    .flags(F::LOADING)
    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .run(Run::Shell(MemoryPurge)),
    Spec::new("memory|stats", 2, Group::Server, "4.0.0", "O(1)", "Tells what takes memory.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .run(Run::Shell(MemoryStats)),
    Spec::new("memory|usage", -3, Group::Server, "4.0.0", "O(1)", "Tells what a key takes.")
        .flags(F::READONLY)
        .keyed(&[Key::at(2, &["RO"])])
        .args(&[Arg::key("key", 0), Arg::new("count", "integer").token("SAMPLES").optional()])
        .spread(Spread::OneSlot)
        .run(Run::Keys(One(object::usage))),
];
static MEMORY: [Spec; 6] = numbered(MEMORY_LIST, super::MEMORY_FIRST);

/// Subcommands of SLOWLOG.
pub(super) const SLOWLOG_LIST: [Spec; 4] = [
    Spec::new(
        "slowlog|get",
        -2,
        Group::Server,
        "2.2.12",
        "O(N) for N entries",
        "Tells the newest commands that took long.",
    )
    .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "nondeterministic_output"])
    .args(&[Arg::new("count", "integer").optional()])
    .run(Run::Shell(SlowlogGet)),
    Spec::new("slowlog|help", 2, Group::Server, "6.2.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "slowlog|len",
        2,
        Group::Server,
        "2.2.12",
        "O(1)",
        "Counts the commands in the slow log.",
    )
    .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
    .run(Run::Shell(SlowlogLen)),
    Spec::new(
        "slowlog|reset",
        2,
        Group::Server,
        "2.2.12",
        "O(N) for N entries",
        "Empties the slow log.",
    )
    .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .run(Run::Shell(SlowlogReset)),
];
static SLOWLOG: [Spec; 4] = numbered(SLOWLOG_LIST, super::SLOWLOG_FIRST);

/// Which log of commands.
const LOG: Arg = Arg::new("type", "oneof").of(&[
    Arg::word("slow", "slow"),
    Arg::word("large-request", "large-request"),
    Arg::word("large-reply", "large-reply"),
]);

/// Subcommands of COMMANDLOG.
pub(super) const COMMANDLOG_LIST: [Spec; 4] = [
    Spec::new(
        "commandlog|get",
        4,
        Group::Server,
        "8.1.0",
        "O(N) for N entries",
        "Tells the newest commands that took long, or that were or answered much.",
    )
    .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "nondeterministic_output"])
    .args(&[Arg::new("count", "integer"), LOG])
    .run(Run::Shell(CommandlogGet)),
    Spec::new("commandlog|help", 2, Group::Server, "8.1.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new("commandlog|len", 3, Group::Server, "8.1.0", "O(1)", "Counts the commands in a log.")
        .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .args(&[LOG])
        .run(Run::Shell(CommandlogLen)),
    Spec::new(
        "commandlog|reset",
        3,
        Group::Server,
        "8.1.0",
        "O(N) for N entries",
        "Empties a log.",
    )
    .flags(F::ADMIN.union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[LOG])
    .run(Run::Shell(CommandlogReset)),
];
static COMMANDLOG: [Spec; 4] = numbered(COMMANDLOG_LIST, super::COMMANDLOG_FIRST);

/// Subcommands of LATENCY.
pub(super) const LATENCY_LIST: [Spec; 7] = [
    Spec::new(
        "latency|doctor",
        2,
        Group::Server,
        "2.8.13",
        "O(1)",
        "Says what makes the server slow, if anything does.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
    .run(Run::Shell(LatencyDoctor)),
    Spec::new("latency|graph", 3, Group::Server, "2.8.13", "O(1)", "Draws the times of an event.")
        .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[Arg::new("event", "string")])
        .run(Run::Shell(LatencyGraph)),
    Spec::new("latency|help", 2, Group::Server, "2.8.13", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "latency|histogram",
        -2,
        Group::Server,
        "7.0.0",
        "O(N) for N commands",
        "Tells how the times of commands are spread.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
    .args(&[Arg::new("command", "string").optional().multiple()])
    .run(Run::Shell(LatencyHistogram)),
    Spec::new(
        "latency|history",
        3,
        Group::Server,
        "2.8.13",
        "O(1)",
        "Tells the times of an event.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
    .args(&[Arg::new("event", "string")])
    .run(Run::Shell(LatencyHistory)),
    Spec::new(
        "latency|latest",
        2,
        Group::Server,
        "2.8.13",
        "O(1)",
        "Tells the newest time of every event.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
    .run(Run::Shell(LatencyLatest)),
    Spec::new("latency|reset", -2, Group::Server, "2.8.13", "O(1)", "Forgets the times of events.")
        .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .args(&[Arg::new("event", "string").optional().multiple()])
        .run(Run::Shell(LatencyReset)),
];
static LATENCY: [Spec; 7] = numbered(LATENCY_LIST, super::LATENCY_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 4] = [
    Spec::new("memory", -2, Group::Server, "4.0.0", "As its subcommand", "Looks at memory.")
        .run(Run::Shell(Container))
        .subcommands(&MEMORY),
    Spec::new(
        "slowlog",
        -2,
        Group::Server,
        "2.2.12",
        "As its subcommand",
        "Looks at the slow log.",
    )
    .run(Run::Shell(Container))
    .subcommands(&SLOWLOG),
    Spec::new(
        "commandlog",
        -2,
        Group::Server,
        "8.1.0",
        "As its subcommand",
        "Looks at the logs of slow commands, large requests and large replies.",
    )
    .run(Run::Shell(Container))
    .subcommands(&COMMANDLOG),
    Spec::new(
        "latency",
        -2,
        Group::Server,
        "2.8.13",
        "As its subcommand",
        "Looks at what makes the server slow.",
    )
    .run(Run::Shell(Container))
    .subcommands(&LATENCY),
];
