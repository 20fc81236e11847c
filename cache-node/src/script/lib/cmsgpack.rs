//! `cmsgpack`: MessagePack for scripts.
//!
//! Source: the MessagePack specification (github.com/msgpack/msgpack/blob/master/spec.md), and what
//! redis-server answers.

use mlua::{Lua, MultiValue, Table, Value};

use crate::script::vm::callback::{Answer, Args, Fail, Items, define, keep_within};

/// Tables nested deeper are packed as nil.
const MAX_NESTING: usize = 16;
/// What is nested deeper is not unpacked.
const MAX_DEPTH: usize = 200;
/// How many values one unpack gives; more do not fit on Lua's stack.
const MAX_VALUES: usize = 2000;

const MISSING: &str = "Missing bytes in input.";
const BAD: &str = "Bad data format in input.";

struct Packer {
    out: Vec<u8>,
    memory_bytes: usize,
    items: Items,
}

impl Packer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fail> {
        self.items.next()?;
        keep_within(&self.out, self.memory_bytes)?;
        match value {
            Value::Boolean(value) => self.out.push(0xc2 + u8::from(*value)),
            Value::Integer(n) => self.integer(*n),
            Value::Number(n) => self.number(*n),
            Value::String(text) => {
                let bytes = text.as_bytes();
                match bytes.len() {
                    len @ 0..32 => self.out.push(0xa0 | len as u8),
                    len @ 32..0x100 => self.out.extend_from_slice(&[0xd9, len as u8]),
                    len => self.len(len, 0xda, 0xdb),
                }
                self.out.extend_from_slice(&bytes);
            }
            Value::Table(table) if depth < MAX_NESTING => self.table(table, depth + 1)?,
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn len(&mut self, len: usize, short: u8, long: u8) {
        match u16::try_from(len) {
            Ok(len) => {
                self.out.push(short);
                self.out.extend_from_slice(&len.to_be_bytes());
            }
            Err(_) => {
                self.out.push(long);
                self.out.extend_from_slice(&(len as u32).to_be_bytes());
            }
        }
    }

    fn integer(&mut self, n: i64) {
        match n {
            0..0x80 => self.out.push(n as u8),
            0x80..0x100 => self.out.extend_from_slice(&[0xcc, n as u8]),
            0x100..0x1_0000 => self.put(0xcd, &(n as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.put(0xce, &(n as u32).to_be_bytes()),
            0x1_0000_0000.. => self.put(0xcf, &n.to_be_bytes()),
            -32..0 => self.out.push(n as u8),
            -0x80..-32 => self.put(0xd0, &(n as i8).to_be_bytes()),
            -0x8000..-0x80 => self.put(0xd1, &(n as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.put(0xd2, &(n as i32).to_be_bytes()),
            _ => self.put(0xd3, &n.to_be_bytes()),
        }
    }

    fn put(&mut self, kind: u8, bytes: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(bytes);
    }

    fn number(&mut self, n: f64) {
        if n.fract() == 0.0 && n.abs() < i64::MAX as f64 {
            self.integer(n as i64);
        } else if f64::from(n as f32) == n {
            self.put(0xca, &(n as f32).to_be_bytes());
        } else {
            self.put(0xcb, &n.to_be_bytes());
        }
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Fail> {
        let (mut count, mut most, mut list) = (0usize, 0i64, true);
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            count += 1;
            match key {
                Value::Integer(n) if n > 0 => most = most.max(n),
                _ => list = false,
            }
        }
        if list && most == count as i64 {
            match count {
                0..16 => self.out.push(0x90 | count as u8),
                _ => self.len(count, 0xdc, 0xdd),
            }
            for index in 1..=most {
                self.value(&table.raw_get::<Value>(index)?, depth)?;
            }
            return Ok(());
        }
        match count {
            0..16 => self.out.push(0x80 | count as u8),
            _ => self.len(count, 0xde, 0xdf),
        }
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, depth)?;
            self.value(&value, depth)?;
        }
        Ok(())
    }
}

struct Unpacker<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
    items: Items,
}

impl Unpacker<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fail> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<N>() else { return Err(Fail::here(MISSING)) };
        self.at += N;
        Ok(*bytes)
    }

    fn text(&mut self, len: usize) -> Result<Value, Fail> {
        let end = self.at.checked_add(len).ok_or_else(|| Fail::here(MISSING))?;
        let bytes = self.bytes.get(self.at..end).ok_or_else(|| Fail::here(MISSING))?;
        self.at = end;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn list(&mut self, count: usize, depth: usize) -> Result<Value, Fail> {
        let table = self.lua.create_table()?;
        for index in 1..=count {
            let value = self.value(depth)?;
            table.raw_set(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, Fail> {
        let table = self.lua.create_table()?;
        for _ in 0..count {
            let key = self.value(depth)?;
            let value = self.value(depth)?;
            match key {
                Value::Nil => return Err(Fail::here("table index is nil")),
                Value::Number(n) if n.is_nan() => return Err(Fail::here("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fail> {
        self.items.next()?;
        if depth > MAX_DEPTH {
            return Err(Fail::here(BAD));
        }
        let [kind] = self.take::<1>()?;
        let integer = |n: i64| Ok(Value::Number(n as f64));
        match kind {
            0..0x80 => integer(kind.into()),
            0x80..0x90 => self.map(usize::from(kind & 15), depth + 1),
            0x90..0xa0 => self.list(usize::from(kind & 15), depth + 1),
            0xa0..0xc0 => self.text(usize::from(kind & 31)),
            0xc0 => Ok(Value::Nil),
            0xc2 => Ok(Value::Boolean(false)),
            0xc3 => Ok(Value::Boolean(true)),
            0xc4 | 0xd9 => {
                let [len] = self.take::<1>()?;
                self.text(len.into())
            }
            0xc5 | 0xda => {
                let len = u16::from_be_bytes(self.take()?);
                self.text(len.into())
            }
            0xc6 | 0xdb => {
                let len = u32::from_be_bytes(self.take()?);
                self.text(len as usize)
            }
            0xca => Ok(Value::Number(f32::from_be_bytes(self.take()?).into())),
            0xcb => Ok(Value::Number(f64::from_be_bytes(self.take()?))),
            0xcc => integer(u8::from_be_bytes(self.take()?).into()),
            0xcd => integer(u16::from_be_bytes(self.take()?).into()),
            0xce => integer(u32::from_be_bytes(self.take()?).into()),
            0xcf => Ok(Value::Number(u64::from_be_bytes(self.take()?) as f64)),
            0xd0 => integer(i8::from_be_bytes(self.take()?).into()),
            0xd1 => integer(i16::from_be_bytes(self.take()?).into()),
            0xd2 => integer(i32::from_be_bytes(self.take()?).into()),
            0xd3 => integer(i64::from_be_bytes(self.take()?)),
            0xdc => {
                let count = u16::from_be_bytes(self.take()?);
                self.list(count.into(), depth + 1)
            }
            0xdd => {
                let count = u32::from_be_bytes(self.take()?);
                self.list(count as usize, depth + 1)
            }
            0xde => {
                let count = u16::from_be_bytes(self.take()?);
                self.map(count.into(), depth + 1)
            }
            0xdf => {
                let count = u32::from_be_bytes(self.take()?);
                self.map(count as usize, depth + 1)
            }
            0xe0..=0xff => integer((kind as i8).into()),
            _ => Err(Fail::here(BAD)),
        }
    }
}

/// Unpacks at most `limit` values (0: all) from an offset; unless all are asked for, the offset of
/// what follows comes first, −1 at the end.
fn unpack(args: &Args<'_>, limit: i64, offset: i64) -> Answer {
    let text = args.string(0)?;
    let bytes = &*text.as_bytes();
    if limit < 0 || offset < 0 {
        return Err(Fail::here(format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            bytes.len()
        )));
    }
    let at = usize::try_from(offset).unwrap_or(usize::MAX);
    if at > bytes.len() {
        return Err(Fail::here(format!(
            "Start offset {offset} greater than input length {}.",
            bytes.len()
        )));
    }
    let mut unpacker = Unpacker { lua: args.lua, bytes, at, items: Items::default() };
    let all = limit == 0;
    let most = if all { MAX_VALUES } else { (limit as usize).min(MAX_VALUES) };
    let mut values = MultiValue::new();
    while unpacker.at < bytes.len() && values.len() < most {
        values.push_back(unpacker.value(0)?);
    }
    if all && unpacker.at < bytes.len() {
        return Err(Fail::here("too many results to unpack"));
    }
    if !all {
        let next = if unpacker.at < bytes.len() { unpacker.at as i64 } else { -1 };
        values.push_front(Value::Integer(next));
    }
    Ok(values)
}

/// The library.
pub fn install(lua: &Lua, globals: &Table, memory_bytes: usize) -> mlua::Result<()> {
    let cmsgpack = lua.create_table()?;
    define(lua, &cmsgpack, "pack", move |args| {
        if args.len() == 0 {
            return Err(Fail::here("bad argument #0 to 'pack' (MessagePack pack needs input.)"));
        }
        let mut packer = Packer { out: Vec::new(), memory_bytes, items: Items::default() };
        for index in 0..args.len() {
            packer.value(args.value(index), 0)?;
        }
        Ok(MultiValue::from_iter([args.text(packer.out)?]))
    })?;
    define(lua, &cmsgpack, "unpack", |args| unpack(args, 0, 0))?;
    define(lua, &cmsgpack, "unpack_one", |args| unpack(args, 1, args.integer_or(1, 0)?))?;
    define(lua, &cmsgpack, "unpack_limit", |args| {
        unpack(args, args.integer(1)?, args.integer_or(2, 0)?)
    })?;
    cmsgpack.raw_set("_NAME", "cmsgpack")?;
    cmsgpack.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    globals.raw_set("cmsgpack", cmsgpack)
}
