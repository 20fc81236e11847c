//! What a script returns or raises, as a reply.
//!
//! Source: the conversion rules of the Lua API reference of Redis 7
//! (redis.io/docs/latest/develop/interact/programmability/lua-api).

use hypercache_core::resp::{Protocol, Writer};
use mlua::{Table, Value};

use super::raw::Called;
use crate::script::cache::Script;
use crate::script::limits;

/// How deep arrays may be nested in one another; tables may hold themselves.
const MAX_DEPTH: usize = 256;

/// Writes a script's reply.
pub struct Answer<'a, 'b> {
    out: &'a mut Writer<'b>,
    /// What the script chose: with 3, booleans are booleans.
    spoken: Protocol,
    most_bytes: usize,
    items: u32,
}

/// Why a reply ends early: Redis's error.
struct Broken(String);

impl<'a, 'b> Answer<'a, 'b> {
    /// Writes to `out`; at most so many bytes.
    pub fn new(out: &'a mut Writer<'b>, spoken: Protocol, most_bytes: usize) -> Self {
        Self { out, spoken, most_bytes, items: 0 }
    }

    /// Writes what became of a script.
    pub fn write(mut self, script: &Script, called: &Called) {
        let start = self.out.position();
        if called.raised {
            let (text, known) = raised(&called.value);
            let mut text = text;
            match &called.place {
                Some((source, line)) if known => {
                    let place = format!(" script: {}, on {source}:{line}.", script.hex());
                    text.extend_from_slice(place.as_bytes());
                }
                _ if known => {
                    text.extend_from_slice(format!(" script: {}", script.hex()).as_bytes());
                }
                _ => {
                    let begin = format!("ERR Error running script {}, ", script.hex());
                    text.splice(0..0, begin.into_bytes());
                }
            }
            return self.error(&text);
        }
        if let Err(Broken(text)) = self.value(&called.value, 0) {
            self.out.truncate(start);
            self.out.error(&text);
        }
    }

    /// S3: whatever a script calls an error stays on one line.
    fn error(&mut self, text: &[u8]) {
        self.out.raw(b"-");
        self.line(text);
    }

    fn line(&mut self, text: &[u8]) {
        let mut line: Vec<u8> = text.to_vec();
        for byte in &mut line {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        line.extend_from_slice(b"\r\n");
        self.out.raw(&line);
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Broken> {
        self.items = self.items.wrapping_add(1);
        if self.items.is_multiple_of(1024)
            && let Some(text) = limits::check()
        {
            return Err(Broken(format!("ERR {text}")));
        }
        if self.out.position() > self.most_bytes {
            return Err(Broken("ERR the script's reply is larger than script.memory_limit".into()));
        }
        match value {
            Value::String(text) => self.out.bulk(&text.as_bytes()),
            Value::Integer(n) => self.out.integer(*n),
            Value::Number(n) => self.out.integer(truncated(*n)),
            Value::Boolean(value) if self.spoken == Protocol::Resp3 => self.out.boolean(*value),
            Value::Boolean(true) => self.out.integer(1),
            Value::Table(table) => return self.table(table, depth + 1),
            _ => self.out.null(),
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Broken> {
        if depth > MAX_DEPTH {
            return Err(Broken("ERR reached lua stack limit".into()));
        }
        let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        // Most tables are lists, so their fields need not be looked for.
        let first = table.raw_get::<Value>(1).unwrap_or(Value::Nil);
        if let Value::String(text) = field("err") {
            let text = text.as_bytes();
            let text: &[u8] = &text;
            self.error(text.trim_ascii_end());
            return Ok(());
        }
        if let Value::String(text) = field("ok") {
            self.out.raw(b"+");
            self.line(&text.as_bytes());
            return Ok(());
        }
        match field("double") {
            Value::Number(n) => {
                self.out.double(n);
                return Ok(());
            }
            Value::Integer(n) => {
                self.out.double(n as f64);
                return Ok(());
            }
            _ => {}
        }
        if let Value::Table(map) = field("map") {
            return self.map(&map, depth);
        }
        if let Value::Table(set) = field("set") {
            return self.set(&set, depth);
        }
        if let Value::String(digits) = field("big_number") {
            return self.big_number(&digits.as_bytes());
        }
        if let Value::Table(verbatim) = field("verbatim_string") {
            let part = |name: &str| verbatim.raw_get::<Value>(name).unwrap_or(Value::Nil);
            if let (Value::String(text), Value::String(format)) = (part("string"), part("format")) {
                let format: String = format
                    .to_string_lossy()
                    .chars()
                    .filter(|c| c.is_ascii_graphic() && *c != ':')
                    .chain("   ".chars())
                    .take(3)
                    .collect();
                self.out.verbatim(&format, &text.as_bytes());
                return Ok(());
            }
        }
        self.list(table, first, depth)
    }

    fn list(&mut self, table: &Table, first: Value, depth: usize) -> Result<(), Broken> {
        let mut count = 0usize;
        let mut next = first.clone();
        while !next.is_nil() {
            count += 1;
            if count.is_multiple_of(4096)
                && let Some(text) = limits::check()
            {
                return Err(Broken(format!("ERR {text}")));
            }
            next = table.raw_get::<Value>(count + 1).unwrap_or(Value::Nil);
        }
        self.out.array(count);
        if count > 0 {
            self.value(&first, depth)?;
        }
        for index in 2..=count {
            let value = table.raw_get::<Value>(index).unwrap_or(Value::Nil);
            self.value(&value, depth)?;
        }
        Ok(())
    }

    fn map(&mut self, map: &Table, depth: usize) -> Result<(), Broken> {
        self.out.map(map.pairs::<Value, Value>().count());
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair.unwrap_or((Value::Nil, Value::Nil));
            self.value(&key, depth)?;
            self.value(&value, depth)?;
        }
        Ok(())
    }

    fn set(&mut self, set: &Table, depth: usize) -> Result<(), Broken> {
        self.out.set(set.pairs::<Value, Value>().count());
        for pair in set.pairs::<Value, Value>() {
            let (key, _) = pair.unwrap_or((Value::Nil, Value::Nil));
            self.value(&key, depth)?;
        }
        Ok(())
    }

    fn big_number(&mut self, digits: &[u8]) -> Result<(), Broken> {
        if self.out.protocol() == Protocol::Resp3 {
            self.out.raw(b"(");
            self.line(digits);
        } else {
            let text = String::from_utf8_lossy(digits).replace(['\r', '\n'], " ");
            self.out.bulk(text.as_bytes());
        }
        Ok(())
    }
}

/// What was raised, with its code in front, and whether its place is worth telling.
fn raised(value: &Value) -> (Vec<u8>, bool) {
    match value {
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => (text.as_bytes().to_vec(), true),
            _ => (b"ERR unknown error".to_vec(), true),
        },
        Value::String(text) if &*text.as_bytes() == b"not enough memory" => {
            (b"not enough memory".to_vec(), false)
        }
        Value::String(text) => ([b"ERR ", &*text.as_bytes()].concat(), true),
        Value::Integer(n) => (format!("ERR {n}").into_bytes(), true),
        Value::Number(n) => (format!("ERR {n}").into_bytes(), true),
        Value::Boolean(b) => (format!("ERR {b}").into_bytes(), true),
        Value::Nil => (b"ERR nil".to_vec(), true),
        Value::Error(error) => (error.to_string().into_bytes(), false),
        other => (format!("ERR {}", other.type_name()).into_bytes(), true),
    }
}

/// A number without its fraction, as a conversion in C does it: what does not fit is the least.
fn truncated(n: f64) -> i64 {
    if (i64::MIN as f64..-(i64::MIN as f64)).contains(&n) { n as i64 } else { i64::MIN }
}
