//! The options of SET and GETEX, and lifetimes in arguments.

use super::texts::{self, is};
use crate::resp::Writer;

/// A lifetime as it stands in the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix time in seconds.
    ExAt,
    /// Unix time in milliseconds.
    PxAt,
}

impl Unit {
    /// Whether it is a Unix time.
    pub fn is_absolute(self) -> bool {
        matches!(self, Self::ExAt | Self::PxAt)
    }

    /// When a key with this lifetime ends in Unix milliseconds, as SET reads it: it must be more
    /// than 0. `None` after answering with an error in the name of `command`.
    pub fn read_positive(
        self,
        arg: &[u8],
        now_ms: u64,
        command: &str,
        out: &mut Writer<'_>,
    ) -> Option<u64> {
        let value = texts::integer(arg, out)?;
        let end = self.end(value.max(0), now_ms).filter(|end| value > 0 && *end > 0);
        if end.is_none() {
            invalid(command, out);
        }
        end.and_then(|end| u64::try_from(end).ok())
    }

    /// When a key with this lifetime ends, as EXPIRE reads it: it may have ended already. `None`
    /// after answering with an error in the name of `command`.
    pub fn read_any(
        self,
        arg: &[u8],
        now_ms: u64,
        command: &str,
        out: &mut Writer<'_>,
    ) -> Option<i64> {
        let value = texts::integer(arg, out)?;
        let end = self.end(value, now_ms);
        if end.is_none() {
            invalid(command, out);
        }
        end
    }

    fn end(self, value: i64, now_ms: u64) -> Option<i64> {
        let ms = match self {
            Self::Ex | Self::ExAt => value.checked_mul(1000)?,
            Self::Px | Self::PxAt => value,
        };
        if self.is_absolute() { Some(ms) } else { ms.checked_add_unsigned(now_ms) }
    }
}

fn invalid(command: &str, out: &mut Writer<'_>) {
    out.error(&format!("ERR invalid expire time in '{command}' command"));
}

/// What SET and GETEX are told beside key and value.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// Only if the key does not exist.
    pub nx: bool,
    /// Only if the key exists.
    pub xx: bool,
    /// Answer the former value.
    pub get: bool,
    /// The lifetime stays.
    pub keep_ttl: bool,
    /// The lifetime goes.
    pub persist: bool,
    /// The lifetime.
    pub expiry: Option<(Unit, &'a [u8])>,
    /// Only if the key holds this.
    pub if_equal: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the options of SET, or those of GETEX; `None` if they make no sense.
    pub fn read(args: &[&'a [u8]], is_set: bool) -> Option<Self> {
        let mut options = Self::default();
        let mut rest = args;
        while let [word, tail @ ..] = rest {
            rest = tail;
            let timed = options.expiry.is_some();
            if is_set && is(word, "NX") && !options.xx && options.if_equal.is_none() {
                options.nx = true;
            } else if is_set && is(word, "XX") && !options.nx && options.if_equal.is_none() {
                options.xx = true;
            } else if is_set && is(word, "IFEQ") && !options.nx && !options.xx {
                let [value, tail @ ..] = rest else { return None };
                options.if_equal = Some(value);
                rest = tail;
            } else if is_set && is(word, "GET") {
                options.get = true;
            } else if is_set && is(word, "KEEPTTL") && !timed {
                options.keep_ttl = true;
            } else if !is_set && is(word, "PERSIST") && !timed {
                options.persist = true;
            } else {
                let unit = unit(word)?;
                let same = options.expiry.is_none_or(|(before, _)| before == unit);
                if options.keep_ttl || options.persist || !same {
                    return None;
                }
                let [value, tail @ ..] = rest else { return None };
                options.expiry = Some((unit, value));
                rest = tail;
            }
        }
        Some(options)
    }
}

fn unit(word: &[u8]) -> Option<Unit> {
    let units = [("EX", Unit::Ex), ("PX", Unit::Px), ("EXAT", Unit::ExAt), ("PXAT", Unit::PxAt)];
    units.into_iter().find(|(name, _)| is(word, name)).map(|(_, unit)| unit)
}

/// The conditions of EXPIRE.
#[derive(Debug, Default, Clone, Copy)]
pub struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    /// Reads the conditions; `None` after answering with an error.
    pub fn read(args: &[&[u8]], out: &mut Writer<'_>) -> Option<Self> {
        let mut conditions = Self::default();
        for word in args {
            let flag = match () {
                () if is(word, "NX") => &mut conditions.nx,
                () if is(word, "XX") => &mut conditions.xx,
                () if is(word, "GT") => &mut conditions.gt,
                () if is(word, "LT") => &mut conditions.lt,
                () => {
                    let end = memchr::memchr(0, word).unwrap_or(word.len());
                    let word = String::from_utf8_lossy(&word[..end]);
                    out.error(&format!("ERR Unsupported option {word}"));
                    return None;
                }
            };
            *flag = true;
        }
        if conditions.nx && (conditions.xx || conditions.gt || conditions.lt) {
            out.error("ERR NX and XX, GT or LT options at the same time are not compatible");
            return None;
        }
        if conditions.gt && conditions.lt {
            out.error("ERR GT and LT options at the same time are not compatible");
            return None;
        }
        Some(conditions)
    }

    /// Whether they allow a new end for a key that ends at `current` (0 for never).
    pub fn allow(self, current: u64, end: i64) -> bool {
        let current = i64::try_from(current).unwrap_or(i64::MAX);
        let forever = current == 0;
        !(self.nx && !forever
            || self.xx && forever
            || self.gt && (forever || end <= current)
            || self.lt && !forever && end >= current)
    }
}

/// An integer, or Redis's `strtoul` for cursors: digits, perhaps none.
pub fn cursor(arg: &[u8]) -> Option<u64> {
    if arg.is_empty() {
        return Some(0);
    }
    let digits = arg.strip_prefix(b"+").unwrap_or(arg);
    let digits = match digits.iter().position(|b| *b != b'0') {
        Some(first) => &digits[first..],
        None if digits.is_empty() => return None,
        None => return Some(0),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
