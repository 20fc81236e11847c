//! `struct`: numbers and strings in the layout of C.
//!
//! Source: the manual of Roberto Ierusalimschy's `struct` library for Lua, and what redis-server
//! answers.

use mlua::{Lua, MultiValue, Table, Value};

use crate::script::vm::callback::{Answer, Args, Fail, define, keep_within, one};

/// The largest integer, in bytes.
const MAX_INTEGER: usize = 32;
/// Where `!` alone aligns to.
const MAX_ALIGN: usize = 16;
/// How many values one unpack gives.
const MAX_VALUES: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Integer {
        size: usize,
        signed: bool,
    },
    Float,
    Double,
    /// So many bytes; 0 means what the last number said, or all.
    Chars(usize),
    Zero,
    Pad,
    /// Changes how what follows is read.
    Mode,
}

struct Format<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
    align: usize,
    /// Who reads it, for its errors.
    function: &'static str,
}

impl<'a> Format<'a> {
    fn new(bytes: &'a [u8], function: &'static str) -> Self {
        Self { bytes, at: 0, big: false, align: 1, function }
    }

    fn number(&mut self) -> Result<Option<usize>, Fail> {
        let digits = self.bytes[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(None);
        }
        let text = &self.bytes[self.at..self.at + digits];
        self.at += digits;
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok());
        match number.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => Err(Fail::here("integral size overflow")),
        }
    }

    fn integer(&mut self, signed: bool) -> Result<Item, Fail> {
        let size = self.number()?.unwrap_or(4);
        match size {
            0 => Err(Fail::here("integral size 0 is not allowed")),
            size if size > MAX_INTEGER => Err(Fail::here(format!(
                "integral size {size} is larger than limit of {MAX_INTEGER}"
            ))),
            size => Ok(Item::Integer { size, signed }),
        }
    }

    fn next(&mut self) -> Result<Option<Item>, Fail> {
        let Some(&option) = self.bytes.get(self.at) else { return Ok(None) };
        self.at += 1;
        let fixed = |size| Item::Integer { size, signed: option.is_ascii_lowercase() };
        Ok(Some(match option {
            b'b' | b'B' => fixed(1),
            b'h' | b'H' => fixed(2),
            b'l' | b'L' => fixed(8),
            b'T' => Item::Integer { size: 8, signed: false },
            b'i' => self.integer(true)?,
            b'I' => self.integer(false)?,
            b'f' => Item::Float,
            b'd' => Item::Double,
            b'x' => Item::Pad,
            b's' => Item::Zero,
            b'c' => Item::Chars(self.number()?.unwrap_or(1)),
            b' ' => Item::Mode,
            b'>' => {
                self.big = true;
                Item::Mode
            }
            b'<' => {
                self.big = false;
                Item::Mode
            }
            b'!' => {
                let align = self.number()?.unwrap_or(MAX_ALIGN);
                if !align.is_power_of_two() {
                    return Err(Fail::here("alignment is not a power of 2"));
                }
                self.align = align;
                Item::Mode
            }
            other => {
                let shown = char::from(other).escape_default();
                return Err(Fail::here(format!(
                    "bad argument #1 to '{}' (invalid format option '{shown}')",
                    self.function
                )));
            }
        }))
    }

    /// How many bytes of padding stand before an item at an offset.
    fn padding(&self, item: Item, offset: usize) -> usize {
        let size = match item {
            Item::Integer { size, .. } => size,
            Item::Float => 4,
            Item::Double => 8,
            _ => return 0,
        };
        let align = size.min(self.align);
        if align > 1 && size.is_power_of_two() { (align - offset % align) % align } else { 0 }
    }
}

fn put_integer(out: &mut Vec<u8>, n: f64, size: usize, big: bool) {
    // As a conversion of C's: what does not fit is cut.
    let value = if n < 0.0 { n as i64 } else { n as u64 as i64 };
    let fill = if n < 0.0 { 0xff } else { 0 };
    let mut bytes = [fill; MAX_INTEGER];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    let bytes = &mut bytes[..size];
    if big {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

fn integer_of(bytes: &[u8], signed: bool, big: bool) -> f64 {
    let mut value = [0u8; 8];
    let mut least = bytes.to_vec();
    if big {
        least.reverse();
    }
    let len = least.len().min(8);
    value[..len].copy_from_slice(&least[..len]);
    let value = u64::from_le_bytes(value);
    if !signed {
        return value as f64;
    }
    let shift = 64 - 8 * len as u32;
    ((value << shift) as i64 >> shift) as f64
}

fn pack(args: &Args<'_>, memory_bytes: usize) -> Answer {
    let format = args.string(0)?;
    let format = &*format.as_bytes();
    let mut format = Format::new(format, "pack");
    let (mut out, mut index) = (Vec::new(), 1);
    while let Some(item) = format.next()? {
        keep_within(&out, memory_bytes)?;
        out.resize(out.len() + format.padding(item, out.len()), 0);
        match item {
            Item::Mode => continue,
            Item::Pad => {
                out.push(0);
                continue;
            }
            Item::Integer { size, .. } => {
                put_integer(&mut out, args.number(index)?, size, format.big);
            }
            Item::Float => {
                let n = args.number(index)? as f32;
                out.extend_from_slice(&if format.big { n.to_be_bytes() } else { n.to_le_bytes() });
            }
            Item::Double => {
                let n = args.number(index)?;
                out.extend_from_slice(&if format.big { n.to_be_bytes() } else { n.to_le_bytes() });
            }
            Item::Chars(_) | Item::Zero => {
                let text = args.string(index)?;
                let text = text.as_bytes();
                let size = match item {
                    Item::Chars(size) if size > 0 => size,
                    _ => text.len(),
                };
                let Some(part) = text.get(..size) else {
                    // One more than it is, as in Redis.
                    return Err(args.wrong(index + 1, "string too short"));
                };
                out.extend_from_slice(part);
                if item == Item::Zero {
                    out.push(0);
                }
            }
        }
        index += 1;
    }
    one(args.text(out)?)
}

fn unpack(args: &Args<'_>) -> Answer {
    let (format, data) = (args.string(0)?, args.string(1)?);
    let (format, data) = (&*format.as_bytes(), &*data.as_bytes());
    let mut format = Format::new(format, "unpack");
    let at = args.integer_or(2, 1)?;
    if at < 1 {
        return Err(Fail::here("offset must be 1 or greater"));
    }
    let mut at = usize::try_from(at - 1).unwrap_or(usize::MAX);
    let mut values = MultiValue::new();
    let short = || args.wrong(1, "data string too short");
    while let Some(item) = format.next()? {
        if values.len() >= MAX_VALUES {
            return Err(Fail::here("too many results to unpack"));
        }
        at = at.saturating_add(format.padding(item, at));
        let mut take = |size: usize| {
            let found = data.get(at..at.checked_add(size)?)?;
            at += size;
            Some(found)
        };
        let value = match item {
            Item::Mode => continue,
            Item::Pad => {
                take(1).ok_or_else(short)?;
                continue;
            }
            Item::Integer { size, signed } => {
                let bytes = take(size).ok_or_else(short)?;
                Value::Number(integer_of(bytes, signed, format.big))
            }
            Item::Float => {
                let bytes = take(4).and_then(|b| b.first_chunk::<4>()).ok_or_else(short)?;
                let n = if format.big { f32::from_be_bytes } else { f32::from_le_bytes };
                Value::Number(n(*bytes).into())
            }
            Item::Double => {
                let bytes = take(8).and_then(|b| b.first_chunk::<8>()).ok_or_else(short)?;
                let n = if format.big { f64::from_be_bytes } else { f64::from_le_bytes };
                Value::Number(n(*bytes))
            }
            Item::Chars(0) => {
                // The number before says how many.
                let said = match values.pop_back() {
                    Some(Value::Number(n)) if n >= 0.0 => n as usize,
                    Some(Value::Integer(n)) if n >= 0 => n as usize,
                    _ => return Err(Fail::here("format 'c0' needs a previous size")),
                };
                args.text(take(said).ok_or_else(short)?)?
            }
            Item::Chars(size) => args.text(take(size).ok_or_else(short)?)?,
            Item::Zero => {
                let rest = data.get(at..).unwrap_or_default();
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(Fail::here("unfinished string in data"));
                };
                at += end + 1;
                args.text(&rest[..end])?
            }
        };
        values.push_back(value);
    }
    values.push_back(Value::Integer(i64::try_from(at).unwrap_or(i64::MAX).saturating_add(1)));
    Ok(values)
}

fn size(args: &Args<'_>) -> Answer {
    let format = args.string(0)?;
    let format = &*format.as_bytes();
    let mut format = Format::new(format, "size");
    let mut total = 0usize;
    while let Some(item) = format.next()? {
        total = total.saturating_add(format.padding(item, total));
        total = total.saturating_add(match item {
            Item::Mode => 0,
            Item::Pad => 1,
            Item::Integer { size, .. } => size,
            Item::Float => 4,
            Item::Double => 8,
            Item::Zero => {
                return Err(args.wrong(0, "variable-size format in call to 'size'"));
            }
            Item::Chars(0) => {
                return Err(args.wrong(0, "variable-length format"));
            }
            Item::Chars(size) => size,
        });
        if total > i32::MAX as usize {
            return Err(Fail::here("integer overflow"));
        }
    }
    one(Value::Integer(total as i64))
}

/// The library.
pub fn install(lua: &Lua, globals: &Table, memory_bytes: usize) -> mlua::Result<()> {
    let library = lua.create_table()?;
    define(lua, &library, "pack", move |args| pack(args, memory_bytes))?;
    define(lua, &library, "unpack", unpack)?;
    define(lua, &library, "size", size)?;
    globals.raw_set("struct", library)
}
