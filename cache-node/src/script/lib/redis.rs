//! `redis`, and `server`, as Valkey calls the same.

use mlua::{Lua, LuaString, MultiValue, Table, Value};
use sha1::{Digest, Sha1};

use crate::script::current;
use crate::script::vm::callback::{Args, Fail, define, one};
use crate::script::vm::raw;
use crate::server::resp::REDIS_VERSION;

/// A table with one text in it.
fn single(args: &Args<'_>, field: &str, text: LuaString) -> Result<Value, Fail> {
    let table = args.lua.create_table_with_capacity(0, 1)?;
    table.raw_set(field, text)?;
    Ok(Value::Table(table))
}

fn only_string<'a>(args: &'a Args<'_>) -> Option<&'a LuaString> {
    match (args.len(), args.value(0)) {
        (1, Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Where what it got is no text, an error table is what it gives, as in Redis.
fn wrong_text(args: &Args<'_>) -> Result<Value, Fail> {
    let text = args.lua.create_string("ERR wrong number or type of arguments")?;
    single(args, "err", text)
}

/// The version as Redis writes it in one number: two hex digits for each part.
fn version_number() -> u32 {
    REDIS_VERSION.split('.').take(3).fold(0, |n, part| n << 8 | part.parse::<u32>().unwrap_or(0))
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The library, under both of its names.
pub fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let redis = lua.create_table()?;
    redis.raw_set("call", raw::redis_call_function(lua, false)?)?;
    redis.raw_set("pcall", raw::redis_call_function(lua, true)?)?;
    define(lua, &redis, "error_reply", |args| {
        let Some(text) = only_string(args) else { return one(wrong_text(args)?) };
        let bytes = text.as_bytes();
        let text = match &*bytes {
            // With a code of its own behind the dash; else it is an error of no special kind.
            [b'-', rest @ ..] => match memchr::memchr(b' ', rest) {
                Some(_) => rest.to_vec(),
                None => [b"ERR ", rest].concat(),
            },
            // One word is a text without a code, too.
            rest if !rest.contains(&b' ') => [b"ERR ", rest].concat(),
            rest => rest.to_vec(),
        };
        one(single(args, "err", args.lua.create_string(text)?)?)
    })?;
    define(lua, &redis, "status_reply", |args| {
        let Some(text) = only_string(args) else { return one(wrong_text(args)?) };
        one(single(args, "ok", text.clone())?)
    })?;
    define(lua, &redis, "sha1hex", |args| {
        if args.len() != 1 {
            return Err(Fail::redis("wrong number of arguments"));
        }
        let digest = match args.value(0) {
            Value::String(text) => Sha1::digest(text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => Sha1::digest(args.string(0)?.as_bytes()),
            _ => Sha1::digest(b""),
        };
        one(args.text(hex(&digest))?)
    })?;
    define(lua, &redis, "log", |args| {
        if args.len() < 2 {
            return Err(Fail::redis("server.log() requires two arguments or more."));
        }
        let level = match args.value(0) {
            Value::Integer(level) => *level,
            Value::Number(level) => *level as i64,
            _ => return Err(Fail::redis("First argument must be a number (log level).")),
        };
        let level = u8::try_from(level).ok().filter(|level| *level <= 3);
        let Some(level) = level else { return Err(Fail::redis("Invalid log level.")) };
        let mut words = Vec::new();
        for index in 1..args.len() {
            if let Ok(word) = args.string(index) {
                words.push(word.to_string_lossy());
            }
        }
        current::with(|host| host.log(level, &words.join(" ")));
        Ok(MultiValue::new())
    })?;
    define(lua, &redis, "setresp", |args| {
        if args.len() != 1 {
            return Err(Fail::redis("server.setresp() requires one argument."));
        }
        let version = match args.value(0) {
            Value::Integer(version @ (2 | 3)) => *version as u8,
            _ => return Err(Fail::redis("RESP version must be 2 or 3.")),
        };
        current::with(|host| host.set_protocol(version));
        Ok(MultiValue::new())
    })?;
    // There is no debugger, and a script is not replicated as one: each write is on its own.
    define(lua, &redis, "breakpoint", |_| one(Value::Boolean(false)))?;
    define(lua, &redis, "debug", |_| Ok(MultiValue::new()))?;
    define(lua, &redis, "replicate_commands", |_| one(Value::Boolean(true)))?;
    define(lua, &redis, "set_repl", |args| {
        if args.len() != 1 {
            return Err(Fail::redis("server.set_repl() requires one argument."));
        }
        if args.integer(0)? & !3 != 0 {
            return Err(Fail::redis(
                "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ));
        }
        Ok(MultiValue::new())
    })?;
    define(lua, &redis, "acl_check_cmd", |args| {
        if args.len() == 0 {
            return Err(Fail::redis("Please specify at least one argument for this call"));
        }
        let mut words = Vec::new();
        for index in 0..args.len() {
            words.push(args.string(index)?.as_bytes().to_vec());
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match hypercache_core::command::lookup(&words) {
            // Whoever may run a script may run every command.
            Ok(_) => one(Value::Boolean(true)),
            Err(_) => Err(Fail::redis("Invalid command passed to server.acl_check_cmd()")),
        }
    })?;
    for (name, value) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", 0),
        ("REPL_AOF", 1),
        ("REPL_SLAVE", 2),
        ("REPL_REPLICA", 2),
        ("REPL_ALL", 3),
    ] {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", version_number())?;
    globals.raw_set("redis", &redis)?;
    globals.raw_set("server", redis)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_is_one_number_too() {
        assert!(super::version_number() >= 0x0007_0000);
    }
}
