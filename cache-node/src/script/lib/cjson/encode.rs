//! Values to JSON.

use mlua::{Table, Value};

use super::{Invalid, Values, format_general};
use crate::script::vm::callback::{Fail, Items, keep_within, type_name};

/// Writes a value as JSON, in `memory_bytes` at most.
pub fn encode(value: &Value, settings: Values, memory_bytes: usize) -> Result<Vec<u8>, Fail> {
    let mut encoder = Encoder { settings, memory_bytes, out: Vec::new(), items: Items::default() };
    encoder.value(value, 0)?;
    Ok(encoder.out)
}

struct Encoder {
    settings: Values,
    memory_bytes: usize,
    out: Vec<u8>,
    items: Items,
}

fn refuse(what: &str, why: &str) -> Fail {
    Fail::here(format!("Cannot serialise {what}: {why}"))
}

impl Encoder {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fail> {
        self.items.next()?;
        keep_within(&self.out, self.memory_bytes)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(n) => self.number(*n as f64)?,
            Value::Number(n) => self.number(*n)?,
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::LightUserData(pointer) if pointer.0.is_null() => {
                self.out.extend_from_slice(b"null");
            }
            other => return Err(refuse(type_name(other), "type not supported")),
        }
        Ok(())
    }

    fn number(&mut self, n: f64) -> Result<(), Fail> {
        if !n.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refused => {
                    return Err(refuse("number", "must not be NaN or Inf"));
                }
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Written => {}
            }
        }
        self.out.extend_from_slice(format_general(n, self.settings.precision).as_bytes());
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        for &byte in bytes {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..0x20 | 0x7f => {
                    self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                }
                other => self.out.push(other),
            }
        }
        self.out.push(b'"');
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Fail> {
        if depth > self.settings.encode_depth {
            return Err(Fail::here(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_len(table)? {
            Some(len) => {
                self.out.push(b'[');
                for index in 1..=len {
                    if index > 1 {
                        self.out.push(b',');
                    }
                    self.value(&table.raw_get::<Value>(index)?, depth)?;
                }
                self.out.push(b']');
            }
            None => {
                self.out.push(b'{');
                let mut first = true;
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    self.key(&key)?;
                    self.out.push(b':');
                    self.value(&value, depth)?;
                }
                self.out.push(b'}');
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Result<(), Fail> {
        match key {
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                self.out.push(b'"');
                match key {
                    Value::Integer(n) => self.number(*n as f64)?,
                    Value::Number(n) => self.number(*n)?,
                    _ => {}
                }
                self.out.push(b'"');
            }
            other => {
                return Err(refuse(type_name(other), "table key must be a number or string"));
            }
        }
        Ok(())
    }

    /// The length of a table that is an array; `None` for others, and for an empty one.
    fn array_len(&mut self, table: &Table) -> Result<Option<i64>, Fail> {
        let (mut count, mut most) = (0i64, 0i64);
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let index = match key {
                Value::Integer(n) => n,
                Value::Number(n) if n.fract() == 0.0 => n as i64,
                _ => return Ok(None),
            };
            if index < 1 {
                return Ok(None);
            }
            count += 1;
            most = most.max(index);
        }
        if count == 0 {
            return Ok(None);
        }
        let Values { sparse_convert, sparse_ratio, sparse_safe, .. } = self.settings;
        if sparse_ratio > 0 && most > count.saturating_mul(sparse_ratio) && most > sparse_safe {
            if !sparse_convert {
                return Err(refuse("table", "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok(Some(most))
    }
}
