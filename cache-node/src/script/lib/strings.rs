//! The functions of `string` that could take for ever or too much memory in C.

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::pattern::{Capture, Matcher};
use crate::script::vm::callback::{
    Answer, Args, Fail, define, function, keep_on, keep_within, one, plain,
};
use crate::script::vm::raw;

/// `string.gmatch` over a function that finds one match: see [`next_match`].
const GMATCH: &str = r"
local next_match, check = ...
return function(s, p)
    check(s, p)
    local at = 1
    local function give(first, last, ...)
        if not first then
            at = nil
            return nil
        end
        at = last + 1
        if last < first then at = at + 1 end
        return ...
    end
    return function()
        if at then return give(next_match(s, p, at, false)) end
    end
end
";

/// `string.gsub` whose replacement is a table or a function.
const GSUB: &str = r#"
local next_match, sub, concat, type, error = ...
return function(s, p, r, limit)
    if type(s) == "number" then s = s .. "" end
    local out, n, at, count = {}, 0, 1, 0
    local call = r
    if type(r) == "table" then call = function(key) return r[key] end end
    local function replaced(first, last, value)
        if value == nil or value == false then
            return sub(s, first, last)
        elseif type(value) ~= "string" and type(value) ~= "number" then
            error("invalid replacement value (a " .. type(value) .. ")", 0)
        end
        return value
    end
    local function take(first, last, ...)
        if not first then return false end
        count = count + 1
        out[n + 1] = sub(s, at, first - 1)
        out[n + 2] = replaced(first, last, (call(...)))
        n = n + 2
        at = last + 1
        if last < first then
            if at > #s then return false end
            n = n + 1
            out[n] = sub(s, at, at)
            at = at + 1
        end
        return true
    end
    while (not limit or count < limit) and take(next_match(s, p, at, true)) do
        if sub(p, 1, 1) == "^" then break end
    end
    out[n + 1] = sub(s, at)
    return concat(out), count
end
"#;

/// The offset that a position of Lua's means: from 1, negative from the end.
fn offset(position: i64, len: usize) -> usize {
    let len = len as i64;
    let position = if position < 0 { (len + position + 1).max(1) } else { position.max(1) };
    (position - 1) as usize
}

fn unanchored(pattern: &[u8]) -> (&[u8], bool) {
    match pattern {
        [b'^', rest @ ..] => (rest, true),
        _ => (pattern, false),
    }
}

fn value_of(args: &Args<'_>, subject: &[u8], capture: Capture) -> Result<Value, Fail> {
    match capture {
        Capture::Position(at) => Ok(Value::Integer(at as i64 + 1)),
        Capture::Span(start, len) => args.text(&subject[start..start + len]),
    }
}

/// Appends the captures of a match, or all of it where it has none.
fn put_captures(
    args: &Args<'_>,
    matcher: &Matcher<'_>,
    subject: &[u8],
    whole: (usize, usize),
    out: &mut MultiValue,
) -> Result<(), Fail> {
    if matcher.count() == 0 {
        out.push_back(args.text(&subject[whole.0..whole.1])?);
    }
    for index in 0..matcher.count() {
        out.push_back(value_of(args, subject, matcher.capture(index)?)?);
    }
    Ok(())
}

/// `string.find` and, without positions, `string.match`.
fn find(args: &Args<'_>, positions: bool) -> Answer {
    let (subject, pattern) = (args.string(0)?, args.string(1)?);
    let (subject, pattern) = (&*subject.as_bytes(), &*pattern.as_bytes());
    let from = offset(args.integer_or(2, 1)?, subject.len());
    let mut out = MultiValue::new();
    // As Lua 5.1: a start behind the end counts as the end.
    let from = from.min(subject.len());
    let literal = !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte));
    let plainly =
        positions && (!matches!(args.value(3), Value::Nil | Value::Boolean(false)) || literal);
    if plainly {
        return Ok(match memchr::memmem::find(&subject[from..], pattern) {
            None => MultiValue::from_iter([Value::Nil]),
            Some(at) => {
                let first = (from + at + 1) as i64;
                let last = first + pattern.len() as i64 - 1;
                MultiValue::from_iter([Value::Integer(first), Value::Integer(last)])
            }
        });
    }
    let (pattern, anchored) = unanchored(pattern);
    let mut matcher = Matcher::new(subject, pattern);
    let Some((start, end)) = matcher.find(from, anchored)? else {
        return Ok(MultiValue::from_iter([Value::Nil]));
    };
    if positions {
        out.push_back(Value::Integer(start as i64 + 1));
        out.push_back(Value::Integer(end as i64));
        if matcher.count() == 0 {
            return Ok(out);
        }
    }
    put_captures(args, &matcher, subject, (start, end), &mut out)?;
    Ok(out)
}

/// `(s, p, at, anchors)`: the first and last position of the next match, then its captures; nothing if
/// there is none. Only where `^` `anchors` is it more than a character, as in `gsub`.
fn next_match(args: &Args<'_>) -> Answer {
    let (subject, pattern) = (args.string(0)?, args.string(1)?);
    let (subject, pattern) = (&*subject.as_bytes(), &*pattern.as_bytes());
    let from = args.integer(2)?.max(1) as usize - 1;
    let mut out = MultiValue::new();
    if from > subject.len() {
        return Ok(out);
    }
    let (pattern, anchored) = match args.value(3) {
        Value::Boolean(true) => unanchored(pattern),
        _ => (pattern, false),
    };
    let mut matcher = Matcher::new(subject, pattern);
    if let Some((start, end)) = matcher.find(from, anchored)? {
        out.push_back(Value::Integer(start as i64 + 1));
        out.push_back(Value::Integer(end as i64));
        put_captures(args, &matcher, subject, (start, end), &mut out)?;
    }
    Ok(out)
}

/// `string.gsub` with a text.
fn substitute(args: &Args<'_>, memory_bytes: usize) -> Answer {
    let (subject, pattern) = (args.string(0)?, args.string(1)?);
    if !matches!(args.value(2), Value::String(_) | Value::Number(_) | Value::Integer(_)) {
        return Err(args.wrong(2, "string/function/table expected"));
    }
    let replacement: LuaString = args.string(2)?;
    let (subject, pattern) = (&*subject.as_bytes(), &*pattern.as_bytes());
    let most = args.integer_or(3, subject.len() as i64 + 1)?;
    let (pattern, anchored) = unanchored(pattern);
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    let mut matcher = Matcher::new(subject, pattern);
    while count < most {
        keep_within(&out, memory_bytes)?;
        if count % 1024 == 1023 {
            keep_on()?;
        }
        let Some((start, end)) = matcher.find(at, anchored)? else { break };
        count += 1;
        out.extend_from_slice(&subject[at..start]);
        expand(&matcher, subject, (start, end), &replacement.as_bytes(), &mut out)?;
        at = end;
        if end == start {
            match subject.get(at) {
                Some(byte) => out.push(*byte),
                None => break,
            }
            at += 1;
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(&subject[at.min(subject.len())..]);
    keep_within(&out, memory_bytes)?;
    Ok(MultiValue::from_iter([args.text(out)?, Value::Integer(count)]))
}

/// Appends a replacement, `%1` and the like filled in.
fn expand(
    matcher: &Matcher<'_>,
    subject: &[u8],
    (start, end): (usize, usize),
    replacement: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Fail> {
    let mut bytes = replacement.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => out.extend_from_slice(&subject[start..end]),
            Some(digit @ b'1'..=b'9') => {
                let index = usize::from(digit - b'1');
                if index == 0 && matcher.count() == 0 {
                    out.extend_from_slice(&subject[start..end]);
                    continue;
                }
                match matcher.capture(index)? {
                    Capture::Span(start, len) => {
                        out.extend_from_slice(&subject[start..start + len]);
                    }
                    Capture::Position(at) => {
                        out.extend_from_slice((at + 1).to_string().as_bytes());
                    }
                }
            }
            Some(other) => out.push(*other),
            None => out.push(0),
        }
    }
    Ok(())
}

/// Puts the functions into `string`.
pub fn install(lua: &Lua, globals: &Table, memory_bytes: usize) -> mlua::Result<()> {
    let string: Table = globals.raw_get("string")?;
    let table: Table = globals.raw_get("table")?;
    string.raw_set("gfind", Value::Nil)?;
    define(lua, &string, "find", |args| find(args, true))?;
    define(lua, &string, "match", |args| find(args, false))?;
    define(lua, &string, "rep", move |args| {
        let (text, count) = (args.string(0)?, args.integer(1)?);
        let text = text.as_bytes();
        let count = usize::try_from(count).unwrap_or(0);
        match text.len().checked_mul(count) {
            Some(len) if len <= memory_bytes => one(args.text(text.repeat(count))?),
            _ => Err(Fail::no_memory()),
        }
    })?;
    let next = function(lua, "gmatch", next_match)?;
    let check = function(lua, "gmatch", |args| {
        args.string(0)?;
        args.string(1)?;
        Ok(MultiValue::new())
    })?;
    let gmatch: Function = lua.load(GMATCH).set_name("=string.gmatch").call((&next, check))?;
    string.raw_set("gmatch", gmatch)?;
    let own = lua.globals();
    let calls: Function = lua.load(GSUB).set_name("=string.gsub").call((
        function(lua, "gsub", next_match)?,
        string.raw_get::<Function>("sub")?,
        table.raw_get::<Function>("concat")?,
        own.raw_get::<Function>("type")?,
        own.raw_get::<Function>("error")?,
    ))?;
    let text = plain(lua, "gsub", move |args| substitute(args, memory_bytes))?;
    string.raw_set("gsub", raw::raising_or(lua, text, calls)?)
}
