//! What scripts find besides Lua's own functions: each library of Redis's, in Rust.

mod base;
mod bit;
pub mod cjson;
mod cmsgpack;
mod math;
mod pattern;
mod redis;
mod strings;
mod structs;
mod tables;

pub use base::syntax_error;
pub use math::Dice;

use std::rc::Rc;

use mlua::{Lua, Table};

/// What a script can change in a library, and what is as new for the next.
#[derive(Debug, Default)]
pub struct PerRun {
    /// The state of `math.random`.
    pub dice: Dice,
    /// The settings of cjson.
    pub cjson: cjson::Settings,
}

/// Puts all libraries into the table of globals, whose own `string`, `table` and `math` are there.
///
/// # Errors
/// No memory.
pub fn install(
    lua: &Lua,
    globals: &Table,
    memory_bytes: usize,
    per_run: &Rc<PerRun>,
) -> mlua::Result<()> {
    base::install(lua, globals)?;
    strings::install(lua, globals, memory_bytes)?;
    tables::install(lua, globals)?;
    math::install(lua, globals, per_run)?;
    bit::install(lua, globals)?;
    cjson::install(lua, globals, per_run, memory_bytes)?;
    cmsgpack::install(lua, globals, memory_bytes)?;
    structs::install(lua, globals, memory_bytes)?;
    redis::install(lua, globals)
}
