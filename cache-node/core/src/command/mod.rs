//! The command table: data, one file a family. COMMAND, the router and the docs are made from it.

mod spec;

pub use spec::{Arg, Flags, Group, KeySpec, Run, RunKeyspace, ShellCommand, Spec, Spread};

use crate::keyspace::{Access, Locked};
use crate::resp::Writer;

/// How many commands and subcommands there are; [`Spec::index`] is below it.
pub const COUNT: usize = 0;

/// A command over the keys it names; their slots are locked.
#[derive(Debug, Clone, Copy)]
pub enum RunKeys {
    /// Over one key.
    One(fn(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>)),
    /// Over several keys.
    Many(fn(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>)),
}

/// The command or subcommand that `args` name, its arity checked.
///
/// # Errors
/// Redis's text, ready to send.
pub fn lookup(args: &[&[u8]]) -> Result<&'static Spec, String> {
    let _ = args;
    Err("ERR unknown command".into())
}

/// Every command, its subcommands inside it.
pub fn all() -> &'static [Spec] {
    &[]
}

/// Answers COMMAND with all its subcommands, and every command's HELP, from the table.
pub fn introspect(args: &[&[u8]], out: &mut Writer<'_>) {
    let _ = (args, out);
}
