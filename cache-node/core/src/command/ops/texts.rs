//! Redis's error texts, and the readers of arguments that answer with them.

use crate::resp::{Writer, parse_double, parse_i64};

pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub const SYNTAX: &str = "ERR syntax error";
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
pub const NOT_A_FLOAT: &str = "ERR value is not a valid float";
pub const NO_SUCH_KEY: &str = "ERR no such key";
pub const INDEX: &str = "ERR index out of range";
pub const OFFSET: &str = "ERR offset is out of range";
pub const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub const DECREMENT: &str = "ERR decrement would overflow";
pub const NAN_OR_INFINITY: &str = "ERR increment would produce NaN or Infinity";
pub const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
pub const SAME_OBJECT: &str = "ERR source and destination objects are the same";
pub const NO_DATABASE: &str = "ERR DB index is out of range";
pub const POSITIVE: &str = "ERR value is out of range, must be positive";
pub const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
pub const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
pub const NO_STORE: &str = "ERR the selected store does not exist any more";

/// A command that has too few or too many arguments in a way that its arity does not show.
pub fn wrong_arity(out: &mut Writer<'_>, command: &str) {
    out.error(&format!("ERR wrong number of arguments for '{command}' command"));
}

/// An integer argument; `None` after answering with an error.
#[inline]
pub fn integer(arg: &[u8], out: &mut Writer<'_>) -> Option<i64> {
    integer_or(arg, NOT_AN_INTEGER, out)
}

/// An integer argument; `None` after answering with `error`.
#[inline]
pub fn integer_or(arg: &[u8], error: &str, out: &mut Writer<'_>) -> Option<i64> {
    let value = parse_i64(arg);
    if value.is_none() {
        out.error(error);
    }
    value
}

/// A count that is not negative; `None` after answering with `error`.
pub fn count_or(arg: &[u8], error: &str, out: &mut Writer<'_>) -> Option<u64> {
    let value = parse_i64(arg).and_then(|value| u64::try_from(value).ok());
    if value.is_none() {
        out.error(error);
    }
    value
}

/// Whether an argument is a word, whatever its case.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A double argument; `None` after answering with `error`.
pub fn double_or(arg: &[u8], error: &str, out: &mut Writer<'_>) -> Option<f64> {
    let value = parse_double(arg);
    if value.is_none() {
        out.error(error);
    }
    value
}

/// A count of 1 or more; `None` after answering with `error`.
pub fn positive_or(arg: &[u8], error: &str, out: &mut Writer<'_>) -> Option<u64> {
    let value = parse_i64(arg).filter(|value| *value > 0);
    if value.is_none() {
        out.error(error);
    }
    value.and_then(|value| u64::try_from(value).ok())
}

/// Arguments in two parts.
pub type Parts<'b, 'c> = (&'b [&'c [u8]], &'b [&'c [u8]]);
