//! The command table: data, one file a family. COMMAND, the router and the docs are made from it.
//!
//! `table/` says what commands there are, `ops/` what those over keys do, `execute` runs them
//! under their slots' locks, `replay` and `apply` do again what a log or a primary says, `lookup` finds a command by its words, `introspect` answers COMMAND.

pub mod apply;
mod execute;
mod introspect;
mod lookup;
mod ops;
mod pattern;
pub mod replay;
mod spec;
mod table;
mod transact;
mod waiting;

pub use execute::Known;
pub use introspect::introspect;
pub use lookup::{find, lookup, lookup_quiet};
pub use ops::walk::Walk;
pub use pattern::matches;
pub use spec::{
    Acl, Arg, Blocking, Find, Flags, Group, KeySpec, Run, RunKeys, RunKeyspace, RunWalk, ScriptBy,
    ShellCommand, Spec, Spread,
};
pub use table::{COUNT, DIFFERS, IN_GENERAL, NOT_HERE};
pub use transact::{NO_REPLICAS, NoScripts, Scripts, Step, Transacted};
pub use waiting::Call;

/// Every command, its subcommands inside it.
pub fn all() -> &'static [Spec] {
    &table::TABLE
}
