//! Replies: read back by routers, tests and clients.

use super::ProtocolError;
use super::number::parse_i64;
use smallvec::SmallVec;

/// How deep replies may be nested for [`Reply::parse`].
const MAX_DEPTH: usize = 32;
/// The longest line, and so the longest simple string, error or number.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The longest bulk string.
const MAX_BULK_BYTES: i64 = 512 * 1024 * 1024;
/// The most elements of one array, set, map or push.
const MAX_ELEMENTS: i64 = i32::MAX as i64;

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`: the whole text.
    Error(String),
    /// `:1`
    Integer(i64),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// A null of any kind.
    Null,
    /// An array.
    Array(Vec<Reply>),
    /// A map, in the order it came.
    Map(Vec<(Reply, Reply)>),
    /// A set, in the order it came.
    Set(Vec<Reply>),
    /// A push.
    Push(Vec<Reply>),
    /// A double.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// Text with its format, such as `txt`.
    Verbatim(String, Vec<u8>),
    /// An integer beyond 64 bits, in decimal.
    BigNumber(String),
}

impl Reply {
    /// Reads the first reply in `bytes` and how many bytes it took; `None` when more are needed.
    /// Attributes (`|`) are skipped.
    ///
    /// # Errors
    /// What is wrong with the bytes; also a reply nested deeper than 32.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let mut at = 0;
        let reply = Self::read(bytes, &mut at, 0)?;
        Ok(reply.map(|reply| (reply, at)))
    }

    fn read(bytes: &[u8], at: &mut usize, depth: usize) -> Result<Option<Self>, ProtocolError> {
        if depth > MAX_DEPTH {
            return Err(ProtocolError::new("reply is nested too deep"));
        }
        loop {
            let Some(item) = Item::read(bytes, at)? else { return Ok(None) };
            let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
            return Ok(Some(match item {
                Item::Line(b'+', line) => Self::Simple(text(line)),
                Item::Line(b'-', line) => Self::Error(text(line)),
                Item::Line(b':', line) => match parse_i64(line) {
                    Some(value) => Self::Integer(value),
                    None => return Err(ProtocolError::new("invalid integer in reply")),
                },
                Item::Line(b'#', b"t") => Self::Boolean(true),
                Item::Line(b'#', b"f") => Self::Boolean(false),
                Item::Line(b',', line) => match text(line).parse() {
                    Ok(value) => Self::Double(value),
                    Err(_) => return Err(ProtocolError::new("invalid double in reply")),
                },
                Item::Line(b'(', line) => Self::BigNumber(text(line)),
                Item::Line(b'_', _) | Item::Null => Self::Null,
                Item::Line(_, _) => return Err(ProtocolError::new("invalid boolean in reply")),
                Item::Bulk(b'!', body) => Self::Error(text(body)),
                Item::Bulk(b'=', body) => match body {
                    [a, b, c, b':', rest @ ..] => {
                        Self::Verbatim(text(&[*a, *b, *c]), rest.to_vec())
                    }
                    _ => return Err(ProtocolError::new("invalid verbatim string in reply")),
                },
                Item::Bulk(_, body) => Self::Bulk(body.to_vec()),
                Item::Many(b'%', count) => {
                    let mut pairs = Vec::new();
                    for _ in 0..count {
                        let Some(key) = Self::read(bytes, at, depth + 1)? else { return Ok(None) };
                        let Some(value) = Self::read(bytes, at, depth + 1)? else {
                            return Ok(None);
                        };
                        pairs.push((key, value));
                    }
                    Self::Map(pairs)
                }
                Item::Many(kind, count) => {
                    let mut elements = Vec::new();
                    let total = if kind == b'|' { count.saturating_mul(2) } else { count };
                    for _ in 0..total {
                        match Self::read(bytes, at, depth + 1)? {
                            Some(element) if kind != b'|' => elements.push(element),
                            Some(_) => {}
                            None => return Ok(None),
                        }
                    }
                    match kind {
                        b'|' => continue,
                        b'~' => Self::Set(elements),
                        b'>' => Self::Push(elements),
                        _ => Self::Array(elements),
                    }
                }
            }));
        }
    }
}

/// One item of a reply, without what is nested in it.
enum Item<'a> {
    /// A kind that is one line, and its text.
    Line(u8, &'a [u8]),
    /// A kind with a length, and its bytes.
    Bulk(u8, &'a [u8]),
    /// `$-1` or `*-1`.
    Null,
    /// A kind that holds others, and its count.
    Many(u8, usize),
}

impl<'a> Item<'a> {
    /// Reads the item at `at` and moves `at` behind it; `None` (and `at` as it was) when it is
    /// not whole.
    fn read(bytes: &'a [u8], at: &mut usize) -> Result<Option<Self>, ProtocolError> {
        let Some((&kind, rest)) = bytes.get(*at..).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        if !b"+-:#,(_!=$*%~>|".contains(&kind) {
            return Err(ProtocolError::new("unknown type of reply"));
        }
        let window = &rest[..rest.len().min(MAX_LINE_BYTES)];
        let Some(end) = memchr::memchr(b'\r', window) else {
            if window.len() == MAX_LINE_BYTES {
                return Err(ProtocolError::new("too long a line in reply"));
            }
            return Ok(None);
        };
        match rest.get(end + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(ProtocolError::new("expected LF after CR in reply")),
        }
        let line = &rest[..end];
        let body = *at + 1 + end + 2;
        if b"+-:#,(_".contains(&kind) {
            *at = body;
            return Ok(Some(Self::Line(kind, line)));
        }
        let len = parse_i64(line).ok_or_else(|| ProtocolError::new("invalid length in reply"))?;
        if len == -1 && matches!(kind, b'$' | b'*') {
            *at = body;
            return Ok(Some(Self::Null));
        }
        let is_bulk = matches!(kind, b'$' | b'!' | b'=');
        let most = if is_bulk { MAX_BULK_BYTES } else { MAX_ELEMENTS };
        let len = usize::try_from(len)
            .ok()
            .filter(|len| *len as u64 <= most as u64)
            .ok_or_else(|| ProtocolError::new("invalid length in reply"))?;
        if !is_bulk {
            *at = body;
            return Ok(Some(Self::Many(kind, len)));
        }
        match bytes.get(body..body + len + 2) {
            None => Ok(None),
            Some([content @ .., b'\r', b'\n']) => {
                *at = body + len + 2;
                Ok(Some(Self::Bulk(kind, content)))
            }
            Some(_) => Err(ProtocolError::new("expected CR LF after a bulk string in reply")),
        }
    }
}

/// Finds where a reply ends while it arrives: remembers what it saw, so that each byte is looked
/// at once. Needs no memory, however deep the reply is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplyScan {
    at: usize,
    /// Items still to come, minus one, once begun.
    pending: u64,
}

impl ReplyScan {
    /// Goes on in `bytes`, which begin with what earlier calls saw: the length of the reply once
    /// it is whole.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        loop {
            match Item::read(bytes, &mut self.at)? {
                None => return Ok(None),
                Some(Item::Many(kind, count)) => {
                    let count = count as u64;
                    let items = match kind {
                        b'%' => count * 2,
                        // An attribute is followed by what it belongs to.
                        b'|' => count * 2 + 1,
                        _ => count,
                    };
                    self.pending = self.pending.saturating_add(items);
                }
                Some(_) => {}
            }
            if self.pending == 0 {
                return Ok(Some(self.at));
            }
            self.pending -= 1;
        }
    }
}

/// How many bytes the first reply in `bytes` takes; `None` when more are needed.
///
/// # Errors
/// What is wrong with the bytes.
#[inline]
pub fn reply_len(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    ReplyScan::default().advance(bytes)
}

/// The raw elements of one whole array reply; `None` if it is not one.
pub fn array_elements(reply: &[u8]) -> Option<SmallVec<[&[u8]; 8]>> {
    let mut at = 0;
    let Some(Item::Many(b'*', count)) = Item::read(reply, &mut at).ok()? else { return None };
    let mut elements = SmallVec::new();
    for _ in 0..count {
        let rest = reply.get(at..)?;
        let len = reply_len(rest).ok()??;
        elements.push(&rest[..len]);
        at += len;
    }
    (at == reply.len()).then_some(elements)
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
