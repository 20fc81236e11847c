//! The server and its stores.

use super::prelude::*;

/// Subcommands of COMMAND.
pub(super) const COMMAND_LIST: [Spec; 7] = [
    Spec::new("command|count", 2, Group::Server, "2.8.13", "O(1)", "Counts the commands.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::CONNECTION)
        .run(Run::Shell(Command)),
    Spec::new(
        "command|docs",
        -2,
        Group::Server,
        "7.0.0",
        "O(N) for N commands",
        "Documents commands.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .args(&[Arg::new("command-name", "string").optional().multiple()])
    .run(Run::Shell(Command)),
    Spec::new(
        "command|getkeys",
        -4,
        Group::Server,
        "2.8.13",
        "O(N) for N arguments",
        "Finds the keys in a command's arguments.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(Command)),
    Spec::new(
        "command|getkeysandflags",
        -4,
        Group::Server,
        "7.0.0",
        "O(N) for N arguments",
        "Finds the keys in a command's arguments, and what is done to them.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(Command)),
    Spec::new("command|help", 2, Group::Server, "5.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::CONNECTION)
        .run(Run::Shell(Help)),
    Spec::new(
        "command|info",
        -2,
        Group::Server,
        "2.8.13",
        "O(N) for N commands",
        "Describes commands.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .args(&[Arg::new("command-name", "string").optional().multiple()])
    .run(Run::Shell(Command)),
    Spec::new(
        "command|list",
        -2,
        Group::Server,
        "7.0.0",
        "O(N) for N commands",
        "Lists the names of commands.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .args(&[Arg::new("filterby", "oneof").token("FILTERBY").optional().of(&[
        Arg::new("module-name", "string").token("MODULE"),
        Arg::new("category", "string").token("ACLCAT"),
        Arg::new("pattern", "pattern").token("PATTERN"),
    ])])
    .run(Run::Shell(Command)),
];
static COMMAND: [Spec; 7] = numbered(COMMAND_LIST, super::COMMAND_FIRST);

/// Subcommands of CONFIG.
pub(super) const CONFIG_LIST: [Spec; 5] = [
    Spec::new("config|get", -3, Group::Server, "2.0.0", "O(N) for N settings", "Reads settings.")
        .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
        .args(&[Arg::new("parameter", "block").multiple().of(&[Arg::new("parameter", "string")])])
        .run(Run::Shell(ConfigGet)),
    Spec::new("config|help", 2, Group::Server, "5.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "config|resetstat",
        2,
        Group::Server,
        "2.0.0",
        "O(1)",
        "Sets the statistics back to zero.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .run(Run::Shell(ConfigResetStat)),
    Spec::new(
        "config|set",
        -4,
        Group::Server,
        "2.0.0",
        "O(N) for N settings",
        "Changes settings while running.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::new("parameter_value", "block")
        .multiple()
        .of(&[Arg::new("parameter", "string"), Arg::new("value", "string")])])
    .run(Run::Shell(ConfigSet)),
    Spec::new(
        "config|rewrite",
        2,
        Group::Server,
        "2.8.0",
        "O(1)",
        "Writes the settings in force to the configuration file.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .run(Run::Shell(ConfigRewrite)),
];
static CONFIG: [Spec; 5] = numbered(CONFIG_LIST, super::CONFIG_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 8] = [
    Spec::new(
        "dbsize",
        1,
        Group::Server,
        "1.0.0",
        "O(1)",
        "Counts the keys of the selected store.",
    )
    .flags(F::READONLY.union(F::FAST))
    .acl(Acl::KEYSPACE)
    .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
    .spread(Spread::SumMembers)
    .run(Run::Keyspace(walk::dbsize)),
    Spec::new(
        "flushdb",
        -1,
        Group::Server,
        "1.0.0",
        "O(N) for N keys in the store",
        "Removes all keys of the selected store.",
    )
    .flags(F::WRITE)
    .acl(Acl::KEYSPACE.union(Acl::DANGEROUS))
    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .args(&[Arg::new("async", "oneof").optional().of(&[
        Arg::word("async", "ASYNC").since("4.0.0"),
        Arg::word("sync", "SYNC").since("6.2.0"),
    ])])
    .spread(Spread::OkMembers)
    .run(Run::Walk(walk::flushdb)),
    Spec::new(
        "flushall",
        -1,
        Group::Server,
        "1.0.0",
        "O(N) for N keys in all stores",
        "Removes all keys of all stores.",
    )
    .flags(F::WRITE)
    .acl(Acl::KEYSPACE.union(Acl::DANGEROUS))
    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .args(&[Arg::new("async", "oneof").optional().of(&[
        Arg::word("async", "ASYNC").since("4.0.0"),
        Arg::word("sync", "SYNC").since("6.2.0"),
    ])])
    .spread(Spread::OkMembers)
    .run(Run::Walk(walk::flushall)),
    Spec::new("info", -1, Group::Server, "1.0.0", "O(1)", "Tells what the server holds and does.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .args(&[Arg::new("section", "string").optional().multiple()])
        .run(Run::Shell(Info)),
    Spec::new("time", 1, Group::Server, "2.6.0", "O(1)", "Tells the server's time.")
        .flags(F::LOADING.union(F::STALE).union(F::FAST))
        .tips(&["nondeterministic_output"])
        .run(Run::Shell(Time)),
    Spec::new(
        "command",
        -1,
        Group::Server,
        "2.8.13",
        "O(N) for N commands",
        "Describes all commands.",
    )
    .flags(F::LOADING.union(F::STALE))
    .acl(Acl::CONNECTION)
    .tips(&["nondeterministic_output_order"])
    .run(Run::Shell(Command))
    .subcommands(&COMMAND),
    Spec::new(
        "config",
        -2,
        Group::Server,
        "2.0.0",
        "As its subcommand",
        "Reads and changes settings.",
    )
    .run(Run::Shell(Container))
    .subcommands(&CONFIG),
    Spec::new(
        "stores",
        1,
        Group::Server,
        "7.0.0",
        "O(N) for N stores",
        "Lists the stores with their policies and what they hold.",
    )
    .flags(F::LOADING.union(F::STALE))
    .run(Run::Shell(Stores)),
];
