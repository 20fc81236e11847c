//! `cjson`: JSON for scripts.
//!
//! Source: the manual of Lua CJSON 2.1 (kyne.au/~mark/software/lua-cjson-manual.html), and what
//! redis-server answers.

mod decode;
mod encode;
mod number;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::PerRun;
use crate::script::vm::callback::{Args, Fail, define, one};

pub use number::format_general;

/// Deeper than this nobody's settings go: what is nested is walked on the thread's stack.
const MAX_DEPTH: usize = 1000;

/// What scripts can set.
#[derive(Debug, Clone, Copy)]
pub struct Values {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: usize,
    decode_depth: usize,
    precision: usize,
    /// NaN and infinity: refused, written, or written as null.
    encode_invalid: Invalid,
    decode_invalid: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Written,
    Null,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: MAX_DEPTH,
            decode_depth: MAX_DEPTH,
            precision: 14,
            encode_invalid: Invalid::Refused,
            decode_invalid: true,
        }
    }
}

/// The settings of the script that runs.
#[derive(Debug, Default)]
pub struct Settings(Cell<Values>);

impl Settings {
    /// As they are at first.
    pub fn reset(&self) {
        self.0.set(Values::default());
    }
}

fn boolean(args: &Args<'_>, index: usize) -> Result<Option<bool>, Fail> {
    match args.value(index) {
        Value::Nil => Ok(None),
        Value::Boolean(value) => Ok(Some(*value)),
        Value::String(word) => match &*word.as_bytes() {
            b"on" => Ok(Some(true)),
            b"off" => Ok(Some(false)),
            other => {
                let other = String::from_utf8_lossy(other);
                Err(args.wrong(index, &format!("invalid option '{other}'")))
            }
        },
        _ => Err(args.wrong(index, "boolean expected")),
    }
}

fn integer(args: &Args<'_>, index: usize, low: i64, high: i64) -> Result<Option<i64>, Fail> {
    if matches!(args.value(index), Value::Nil) {
        return Ok(None);
    }
    let n = args.integer(index)?;
    if (low..=high).contains(&n) {
        Ok(Some(n))
    } else {
        Err(args.wrong(index, &format!("expected integer between {low} and {high}")))
    }
}

/// A setting of one number.
fn depth(
    lua: &Lua,
    table: &Table,
    per_run: &Rc<PerRun>,
    name: &'static str,
    field: fn(&mut Values) -> &mut usize,
    high: i64,
) -> mlua::Result<()> {
    let per_run = per_run.clone();
    define(lua, table, name, move |args| {
        let settings = &per_run.cjson.0;
        let mut values = settings.get();
        if let Some(n) = integer(args, 0, 1, high)? {
            // Settings above what there is stack for mean what there is.
            *field(&mut values) = (n as usize).min(MAX_DEPTH);
            settings.set(values);
        }
        one(Value::Integer(*field(&mut values) as i64))
    })
}

/// The library.
pub fn install(
    lua: &Lua,
    globals: &Table,
    per_run: &Rc<PerRun>,
    memory_bytes: usize,
) -> mlua::Result<()> {
    let cjson = lua.create_table()?;
    let settings = per_run.clone();
    define(lua, &cjson, "encode", move |args| {
        if args.len() != 1 {
            return Err(args.wrong(0, "expected 1 argument"));
        }
        let text = encode::encode(args.value(0), settings.cjson.0.get(), memory_bytes)?;
        one(args.text(text)?)
    })?;
    let settings = per_run.clone();
    define(lua, &cjson, "decode", move |args| {
        if args.len() != 1 {
            return Err(args.wrong(0, "expected 1 argument"));
        }
        let text = args.string(0)?;
        one(decode::decode(args.lua, &text.as_bytes(), settings.cjson.0.get())?)
    })?;
    depth(lua, &cjson, per_run, "encode_max_depth", |v| &mut v.encode_depth, i32::MAX.into())?;
    depth(lua, &cjson, per_run, "decode_max_depth", |v| &mut v.decode_depth, i32::MAX.into())?;
    depth(lua, &cjson, per_run, "encode_number_precision", |v| &mut v.precision, 14)?;
    define(lua, &cjson, "encode_keep_buffer", |args| {
        one(Value::Boolean(boolean(args, 0)?.unwrap_or(true)))
    })?;
    let settings = per_run.clone();
    define(lua, &cjson, "encode_sparse_array", move |args| {
        let settings = &settings.cjson.0;
        let mut values = settings.get();
        values.sparse_convert = boolean(args, 0)?.unwrap_or(values.sparse_convert);
        values.sparse_ratio = integer(args, 1, 0, i32::MAX.into())?.unwrap_or(values.sparse_ratio);
        values.sparse_safe = integer(args, 2, 0, i32::MAX.into())?.unwrap_or(values.sparse_safe);
        settings.set(values);
        Ok(MultiValue::from_iter([
            Value::Boolean(values.sparse_convert),
            Value::Integer(values.sparse_ratio),
            Value::Integer(values.sparse_safe),
        ]))
    })?;
    let settings = per_run.clone();
    define(lua, &cjson, "encode_invalid_numbers", move |args| {
        let settings = &settings.cjson.0;
        let mut values = settings.get();
        let null = matches!(args.value(0), Value::String(word) if &*word.as_bytes() == b"null");
        if null {
            values.encode_invalid = Invalid::Null;
        } else if let Some(on) = boolean(args, 0)? {
            values.encode_invalid = if on { Invalid::Written } else { Invalid::Refused };
        }
        settings.set(values);
        one(match values.encode_invalid {
            Invalid::Null => args.text("null")?,
            other => Value::Boolean(other == Invalid::Written),
        })
    })?;
    let settings = per_run.clone();
    define(lua, &cjson, "decode_invalid_numbers", move |args| {
        let settings = &settings.cjson.0;
        let mut values = settings.get();
        values.decode_invalid = boolean(args, 0)?.unwrap_or(values.decode_invalid);
        settings.set(values);
        one(Value::Boolean(values.decode_invalid))
    })?;
    cjson.raw_set("null", Value::NULL)?;
    cjson.raw_set("_NAME", "cjson")?;
    cjson.raw_set("_VERSION", "2.1.0")?;
    globals.raw_set("cjson", cjson)
}
