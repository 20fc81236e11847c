//! Several commands as one.

use super::prelude::*;

const COMMON: F = F::NOSCRIPT.union(F::LOADING).union(F::STALE);
const QUICK: F = COMMON.union(F::FAST).union(F::ALLOW_BUSY);

/// The commands of this family.
pub(super) const LIST: [Spec; 5] = [
    Spec::new("multi", 1, Group::Transactions, "1.2.0", "O(1)", "Begins a transaction.")
        .flags(QUICK.union(F::NO_MULTI))
        .acl(Acl::TRANSACTION)
        .run(Run::Shell(Multi)),
    Spec::new(
        "exec",
        1,
        Group::Transactions,
        "1.2.0",
        "As the commands of the transaction",
        "Runs the commands since MULTI as one, if no watched key changed.",
    )
    .flags(COMMON.union(F::SKIP_SLOWLOG))
    .acl(Acl::TRANSACTION)
    .run(Run::Shell(Exec)),
    Spec::new(
        "discard",
        1,
        Group::Transactions,
        "2.0.0",
        "O(N) for N commands since MULTI",
        "Ends the transaction without running it.",
    )
    .flags(QUICK)
    .acl(Acl::TRANSACTION)
    .run(Run::Shell(Discard)),
    Spec::new(
        "watch",
        -2,
        Group::Transactions,
        "2.2.0",
        "O(1) a key",
        "Lets the next EXEC run only if these keys do not change before it.",
    )
    .flags(QUICK.union(F::NO_MULTI))
    .acl(Acl::TRANSACTION)
    .keyed(&[Key::at(1, &["RO"]).to(-1, 1)])
    .args(&[Arg::key("key", 0).multiple()])
    .run(Run::Shell(Watch)),
    Spec::new("unwatch", 1, Group::Transactions, "2.2.0", "O(1)", "Watches no key any more.")
        .flags(QUICK)
        .acl(Acl::TRANSACTION)
        .run(Run::Shell(Unwatch)),
];
