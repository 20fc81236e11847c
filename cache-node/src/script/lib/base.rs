//! Lua's base functions: those that a script has, and how.

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::script::vm::callback::{Answer, Args, define, one};
use crate::script::vm::raw::{self, Wrap};

/// The base functions that scripts have, as Lua comes with them.
const KEPT: [&str; 11] = [
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "rawequal",
    "select",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "_VERSION",
];

/// Reads a chunk by calling a function; what it raises is caught as Lua does, and as everything that
/// catches errors it must not hold up a script that has to end.
const LOAD: &str = r#"
local compile, pcall, type, concat, error = ...
return function(read, name)
    if type(read) ~= "function" then
        error("bad argument #1 to 'load' (function expected, got " .. type(read) .. ")", 2)
    end
    local parts, n = {}, 0
    local read_all = function()
        while true do
            local part = read()
            if part == nil or part == "" then return end
            if type(part) ~= "string" then error("reader function must return a string", 0) end
            n = n + 1
            parts[n] = part
        end
    end
    local ok, failed = pcall(read_all)
    if not ok then return nil, failed end
    if name == nil then name = "=(load)" end
    return compile(concat(parts), name)
end
"#;

/// Compiles a text in the environment of scripts. Compiled code is refused: it could be made to break
/// the interpreter.
fn compile(args: &Args<'_>, environment: &Table) -> Answer {
    let text = args.string(0)?;
    let name = match args.value(1) {
        Value::Nil => text.to_string_lossy(),
        _ => args.string(1)?.to_string_lossy(),
    };
    let name: String = name.chars().filter(|c| *c != '\0').take(200).collect();
    if text.as_bytes().first() == Some(&0x1b) {
        let failed =
            args.text("attempt to load chunk with wrong mode (binary chunks are refused)")?;
        return Ok(MultiValue::from_iter([Value::Nil, failed]));
    }
    let bytes = text.as_bytes().to_vec();
    let chunk = args.lua.load(bytes).set_name(name).set_mode(ChunkMode::Text);
    match chunk.set_environment(environment.clone()).into_function() {
        Ok(function) => one(Value::Function(function)),
        Err(error @ mlua::Error::MemoryError(_)) => Err(error.into()),
        Err(error) => {
            let failed = args.text(syntax_error(&error))?;
            Ok(MultiValue::from_iter([Value::Nil, failed]))
        }
    }
}

/// Lua's own words for what it cannot compile.
pub fn syntax_error(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Leaves of the base functions what scripts may have, and replaces those that could be misused.
pub fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let own = lua.globals();
    for name in KEPT {
        globals.raw_set(name, own.raw_get::<Value>(name)?)?;
    }
    let (pcall, xpcall) = raw::protected_calls(lua)?;
    globals.raw_set("pcall", &pcall)?;
    globals.raw_set("xpcall", xpcall)?;
    let coroutine: Table = own.raw_get("coroutine")?;
    let resume = raw::wrap(lua, coroutine.raw_get("resume")?, Wrap::Catching)?;
    coroutine.raw_set("resume", resume)?;
    globals.raw_set("coroutine", coroutine)?;
    for name in ["rawset", "setmetatable"] {
        globals.raw_set(name, raw::wrap(lua, own.raw_get(name)?, Wrap::Guarded)?)?;
    }
    for name in ["rawget", "next"] {
        globals.raw_set(name, raw::wrap(lua, own.raw_get(name)?, Wrap::Viewing)?)?;
    }
    globals.raw_set("unpack", raw::wrap(lua, own.raw_get("unpack")?, Wrap::Unpack)?)?;
    globals.raw_set("pairs", raw::pairs_with(lua, globals.raw_get("next")?)?)?;

    let environment: Table = lua.named_registry_value(super::super::vm::ENVIRONMENT)?;
    let inside = environment.clone();
    define(lua, globals, "loadstring", move |args| compile(args, &inside))?;
    let table: Table = own.raw_get("table")?;
    let load: Function = lua.load(LOAD).set_name("=load").call((
        globals.raw_get::<Function>("loadstring")?,
        pcall,
        own.raw_get::<Function>("type")?,
        table.raw_get::<Function>("concat")?,
        own.raw_get::<Function>("error")?,
    ))?;
    globals.raw_set("load", load)?;

    // The collector is ours: a script that stops it, or runs it again and again, harms the next one.
    define(lua, globals, "collectgarbage", |args| {
        let what = match args.value(0) {
            Value::Nil => "collect".to_owned(),
            _ => args.string(0)?.to_string_lossy(),
        };
        one(match what.as_str() {
            "count" => Value::Number(args.lua.used_memory() as f64 / 1024.0),
            "step" => Value::Boolean(true),
            "collect" | "stop" | "restart" | "setpause" | "setstepmul" => Value::Integer(0),
            other => return Err(args.wrong(0, &format!("invalid option '{other}'"))),
        })
    })?;
    define(lua, globals, "gcinfo", |args| {
        Ok(MultiValue::from_iter([Value::Integer((args.lua.used_memory() / 1024) as i64)]))
    })?;

    let os = lua.create_table()?;
    define(lua, &os, "clock", |_| {
        // The time that the process has computed, in seconds.
        let (system, user) = crate::telemetry::process::cpu_seconds();
        one(Value::Number(system + user))
    })?;
    globals.raw_set("os", os)?;
    Ok(())
}
