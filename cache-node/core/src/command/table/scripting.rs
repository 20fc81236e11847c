//! Scripts: EVAL and its kin, and SCRIPT.

use super::prelude::*;

const RUNS: F = F::NOSCRIPT
    .union(F::STALE)
    .union(F::SKIP_MONITOR)
    .union(F::NO_MANDATORY_KEYS)
    .union(F::MOVABLEKEYS);
const ABOUT: F = F::NOSCRIPT;

const UNKNOWN_RW: &str =
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE";
const UNKNOWN_RO: &str =
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS";

const COST: &str = "Depends on the script that is executed.";

const READ_WRITE: &[Key] = &[Key::at(2, &["RW", "access", "update"]).found(Find::Count)];
const READ_WRITE_NOTED: &[Key] =
    &[Key::at(2, &["RW", "access", "update"]).found(Find::Count).notes(UNKNOWN_RW)];
const READ: &[Key] = &[Key::at(2, &["RO", "access"]).found(Find::Count).notes(UNKNOWN_RO)];

const TEXT: &[Arg] = &[
    Arg::new("script", "string"),
    Arg::new("numkeys", "integer"),
    Arg::key("key", 0).optional().multiple(),
    Arg::new("arg", "string").optional().multiple(),
];
const SHA: &[Arg] = &[
    Arg::new("sha1", "string"),
    Arg::new("numkeys", "integer"),
    Arg::key("key", 0).optional().multiple(),
    Arg::new("arg", "string").optional().multiple(),
];

/// Subcommands of SCRIPT.
pub(super) const SCRIPT_LIST: [Spec; 7] = [
    Spec::new(
        "script|debug",
        3,
        Group::Scripting,
        "3.2.0",
        "O(1)",
        "Chooses how scripts are debugged; there is no debugger, so only NO is taken.",
    )
    .flags(F::NOSCRIPT)
    .acl(Acl::SCRIPTING)
    .args(&[Arg::new("mode", "oneof").of(&[
        Arg::word("yes", "YES"),
        Arg::word("sync", "SYNC"),
        Arg::word("no", "NO"),
    ])])
    .run(Run::Shell(ScriptDebug)),
    Spec::new(
        "script|exists",
        -3,
        Group::Scripting,
        "2.6.0",
        "O(N) for N scripts",
        "Tells which scripts EVALSHA can run.",
    )
    .flags(ABOUT)
    .acl(Acl::SCRIPTING)
    .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
    .args(&[Arg::new("sha1", "string").multiple()])
    .run(Run::Shell(ScriptExists)),
    Spec::new(
        "script|flush",
        -2,
        Group::Scripting,
        "2.6.0",
        "O(N) for N scripts in the cache",
        "Forgets all scripts, on every member.",
    )
    .flags(ABOUT)
    .acl(Acl::SCRIPTING)
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::new("flush-type", "oneof")
        .since("6.2.0")
        .optional()
        .of(&[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])])
    .run(Run::Shell(ScriptFlush)),
    Spec::new("script|help", 2, Group::Scripting, "5.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::SCRIPTING)
        .run(Run::Shell(Help)),
    Spec::new(
        "script|kill",
        2,
        Group::Scripting,
        "2.6.0",
        "O(1)",
        "Stops the script that runs longest, if it has not written yet.",
    )
    .flags(F::NOSCRIPT.union(F::ALLOW_BUSY))
    .acl(Acl::SCRIPTING)
    .tips(&["request_policy:all_shards", "response_policy:one_succeeded"])
    .run(Run::Shell(ScriptKill)),
    Spec::new(
        "script|load",
        3,
        Group::Scripting,
        "2.6.0",
        "O(N) for N bytes of the script",
        "Keeps a script on every member, for EVALSHA.",
    )
    .flags(ABOUT.union(F::STALE))
    .acl(Acl::SCRIPTING)
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::new("script", "string")])
    .run(Run::Shell(ScriptLoad)),
    Spec::new("script|show", 3, Group::Scripting, "8.0.0", "O(1)", "Shows the text of a script.")
        .flags(ABOUT.union(F::STALE))
        .acl(Acl::SCRIPTING)
        .args(&[Arg::new("sha1", "string")])
        .run(Run::Shell(ScriptShow)),
];
static SCRIPT: [Spec; 7] = numbered(SCRIPT_LIST, super::SCRIPT_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 5] = [
    Spec::new("eval", -3, Group::Scripting, "2.6.0", COST, "Runs a Lua script.")
        .flags(RUNS)
        .acl(Acl::SCRIPTING)
        .keyed(READ_WRITE_NOTED)
        .args(TEXT)
        .spread(Spread::OneSlot)
        .run(Run::Script(ScriptBy::Text)),
    Spec::new("eval_ro", -3, Group::Scripting, "7.0.0", COST, "Runs a Lua script that only reads.")
        .flags(RUNS.union(F::READONLY))
        .acl(Acl::SCRIPTING)
        .keyed(READ)
        .args(TEXT)
        .spread(Spread::OneSlot)
        .run(Run::Script(ScriptBy::Text)),
    Spec::new(
        "evalsha",
        -3,
        Group::Scripting,
        "2.6.0",
        COST,
        "Runs a Lua script that the server knows, by the SHA-1 of its text.",
    )
    .flags(RUNS)
    .acl(Acl::SCRIPTING)
    .keyed(READ_WRITE)
    .args(SHA)
    .spread(Spread::OneSlot)
    .run(Run::Script(ScriptBy::Sha)),
    Spec::new(
        "evalsha_ro",
        -3,
        Group::Scripting,
        "7.0.0",
        COST,
        "Runs a Lua script that the server knows and that only reads, by the SHA-1 of its text.",
    )
    .flags(RUNS.union(F::READONLY))
    .acl(Acl::SCRIPTING)
    .keyed(&[Key::at(2, &["RO", "access"]).found(Find::Count)])
    .args(SHA)
    .spread(Spread::OneSlot)
    .run(Run::Script(ScriptBy::Sha)),
    Spec::new("script", -2, Group::Scripting, "2.6.0", "O(1)", "What scripts there are.")
        .subcommands(&SCRIPT),
];
