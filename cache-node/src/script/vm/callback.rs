//! Functions in Rust that scripts call: their arguments, as Lua's own functions read them, and their
//! errors, in Lua's words.

use mlua::{Function, LightUserData, Lua, LuaString, MultiValue, Table, Value};

use super::raw;
use crate::script::limits;

/// More arguments than any function here has use for; each takes a place in a table of bounded size.
const MAX_ARGS: usize = 2000;

/// What a function raises.
#[derive(Debug)]
pub enum Fail {
    /// A text, with the place in the script in front.
    Here(String),
    /// A text as it is.
    Text(String),
    /// An error of Redis's, without its code: a table, as commands raise it.
    Redis(String),
}

impl From<mlua::Error> for Fail {
    fn from(error: mlua::Error) -> Self {
        match error {
            mlua::Error::MemoryError(_) => Self::no_memory(),
            other => Self::Here(other.to_string()),
        }
    }
}

impl Fail {
    /// Lua's words for an allocation over the limit.
    pub fn no_memory() -> Self {
        Self::Text("not enough memory".into())
    }

    /// An error without its place.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An error as commands raise it.
    pub fn redis(text: impl Into<String>) -> Self {
        Self::Redis(text.into())
    }

    /// An error with the place in the script.
    pub fn here(text: impl Into<String>) -> Self {
        Self::Here(text.into())
    }
}

/// What a function gives.
pub type Answer = Result<MultiValue, Fail>;

/// One value.
pub fn one(value: Value) -> Answer {
    Ok(MultiValue::from_iter([value]))
}

/// Raises the stop of a script that has to end; for what may run long.
///
/// # Errors
/// The script has to end.
pub fn keep_on() -> Result<(), Fail> {
    limits::check().map_or(Ok(()), |text| Err(Fail::here(text)))
}

/// What a library function goes through: values, so many that it has to ask now and then whether
/// the script has to end.
#[derive(Debug, Default)]
pub struct Items(u32);

impl Items {
    /// One more.
    ///
    /// # Errors
    /// The script has to end.
    #[inline]
    pub fn next(&mut self) -> Result<(), Fail> {
        self.0 = self.0.wrapping_add(1);
        if self.0.is_multiple_of(1024) { keep_on() } else { Ok(()) }
    }
}

/// Refuses what a library function wrote outside of Lua's own memory, once that is over the limit.
///
/// # Errors
/// It is.
#[inline]
pub fn keep_within(written: &[u8], memory_bytes: usize) -> Result<(), Fail> {
    if written.len() > memory_bytes { Err(Fail::no_memory()) } else { Ok(()) }
}

/// The arguments of one call.
pub struct Args<'a> {
    /// The interpreter.
    pub lua: &'a Lua,
    name: &'static str,
    values: MultiValue,
}

impl Args<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// One of them, the first is 0; nil if it is not there.
    pub fn value(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Nil)
    }

    /// Lua's error for an argument that is wrong.
    pub fn wrong(&self, index: usize, why: &str) -> Fail {
        Fail::Here(format!("bad argument #{} to '{}' ({why})", index + 1, self.name))
    }

    fn wrong_type(&self, index: usize, wanted: &str) -> Fail {
        let got = match self.values.get(index) {
            None => "no value",
            Some(value) => type_name(value),
        };
        self.wrong(index, &format!("{wanted} expected, got {got}"))
    }

    /// A string, or a number as one.
    pub fn string(&self, index: usize) -> Result<LuaString, Fail> {
        match self.value(index) {
            Value::String(string) => Ok(string.clone()),
            value @ (Value::Integer(_) | Value::Number(_)) => self
                .lua
                .coerce_string(value.clone())?
                .ok_or_else(|| self.wrong_type(index, "string")),
            _ => Err(self.wrong_type(index, "string")),
        }
    }

    /// A number, or a string that is one.
    pub fn number(&self, index: usize) -> Result<f64, Fail> {
        match self.value(index) {
            Value::Number(n) => Ok(*n),
            Value::Integer(n) => Ok(*n as f64),
            value @ Value::String(_) => self
                .lua
                .coerce_number(value.clone())?
                .ok_or_else(|| self.wrong_type(index, "number")),
            _ => Err(self.wrong_type(index, "number")),
        }
    }

    /// A number without its fraction.
    pub fn integer(&self, index: usize) -> Result<i64, Fail> {
        self.number(index).map(|n| n as i64)
    }

    /// As [`Self::integer`], or `default` where it is nil or not there.
    pub fn integer_or(&self, index: usize, default: i64) -> Result<i64, Fail> {
        match self.value(index) {
            Value::Nil => Ok(default),
            _ => self.integer(index),
        }
    }

    /// A table.
    pub fn table(&self, index: usize) -> Result<&Table, Fail> {
        match self.value(index) {
            Value::Table(table) => Ok(table),
            _ => Err(self.wrong_type(index, "table")),
        }
    }

    /// A string as a value.
    pub fn text(&self, bytes: impl AsRef<[u8]>) -> Result<Value, Fail> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }
}

/// What Lua calls the type of a value.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::LightUserData(LightUserData(_)) | Value::UserData(_) => "userdata",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

/// Makes a function that scripts can call and that can raise.
///
/// # Errors
/// No memory.
pub fn function(
    lua: &Lua,
    name: &'static str,
    run: impl Fn(&Args<'_>) -> Answer + 'static,
) -> mlua::Result<Function> {
    raw::raising(lua, plain(lua, name, run)?)
}

/// As [`function`], for [`raw::raising`] to be put around it.
///
/// # Errors
/// No memory.
pub fn plain(
    lua: &Lua,
    name: &'static str,
    run: impl Fn(&Args<'_>) -> Answer + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let args = Args { lua, name, values };
        let answer = if args.len() > MAX_ARGS {
            Err(Fail::Here(format!("too many arguments to '{name}'")))
        } else {
            run(&args)
        };
        drop(args);
        let (value, placed) = match answer {
            Ok(values) => return Ok(values),
            Err(Fail::Here(text)) => (Value::String(lua.create_string(text)?), true),
            Err(Fail::Text(text)) => (Value::String(lua.create_string(text)?), false),
            Err(Fail::Redis(text)) => {
                let table = lua.create_table_with_capacity(0, 1)?;
                table.raw_set("err", format!("ERR {text}"))?;
                (Value::Table(table), false)
            }
        };
        Ok(MultiValue::from_iter([
            Value::LightUserData(raw::raise_mark()),
            value,
            Value::Boolean(placed),
        ]))
    })
}

/// Puts a function under its name in a table.
///
/// # Errors
/// No memory.
pub fn define(
    lua: &Lua,
    table: &Table,
    name: &'static str,
    run: impl Fn(&Args<'_>) -> Answer + 'static,
) -> mlua::Result<()> {
    table.raw_set(name, function(lua, name, run)?)
}
