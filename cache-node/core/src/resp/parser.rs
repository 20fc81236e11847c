//! Requests: RESP arrays of bulk strings, and inline commands.

use super::inline::split_arguments;
use super::number::parse_i64;
use smallvec::SmallVec;

/// The arguments of one command.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

/// The most arguments of a command before AUTH.
const MAX_UNAUTHENTICATED_ARGS: i64 = 10;
/// The longest argument before AUTH.
const MAX_UNAUTHENTICATED_BULK: i64 = 16384;
/// A parser that grew over this many arguments gives the room back after the command.
const KEPT_ARGS: usize = 1024;
/// An inline line's room is kept up to this many bytes.
const KEPT_INLINE_BYTES: usize = 4096;

/// Valkey's words for a line or an argument that does not end as it has to.
const NO_CRLF: &str = "invalid CRLF in request";

/// What a request may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest line: an inline command, a count or a length (Redis: 64 KiB).
    pub max_inline_bytes: usize,
    /// The longest argument (Redis's `proto-max-bulk-len`: 512 MiB).
    pub max_bulk_bytes: usize,
    /// The most arguments of one command.
    pub max_args: usize,
    /// False before AUTH where a password is set: then a command has at most 10 arguments of at
    /// most 16384 bytes.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_inline_bytes: 64 * 1024,
            max_bulk_bytes: 512 * 1024 * 1024,
            max_args: i32::MAX as usize,
            authenticated: true,
        }
    }
}

/// Input that is not RESP; the connection it came from ends. The text is Redis's, without `ERR`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(pub String);

impl ProtocolError {
    pub(super) fn new(what: &str) -> Self {
        Self(format!("Protocol error: {what}"))
    }
}

/// Where the parser is within a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Before the first byte.
    #[default]
    Start,
    /// In a line without `*`.
    Inline,
    /// In the `*<count>` line.
    Count,
    /// In a `$<length>` line; so many arguments are missing.
    Length { missing: usize },
    /// In an argument's bytes; so many arguments are missing, this one included.
    Bulk { missing: usize, len: usize },
    /// One command is whole.
    Done,
}

/// The state of one connection within its current command. It remembers what it saw, so that
/// input that comes in pieces is looked at once. Nothing is allocated for a declared count or
/// length, only for arguments that were received.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    /// The first byte that belongs to the current state's item.
    at: usize,
    /// The current line was searched up to here.
    searched: usize,
    /// Start and end of each argument, in the input or in `inline`.
    ranges: SmallVec<[(usize, usize); 8]>,
    /// The unquoted arguments of an inline command.
    inline: Vec<u8>,
    is_inline: bool,
}

/// What a search for a line's end found.
enum Line {
    /// The line is not whole.
    Partial,
    /// The index of its CR.
    End(usize),
}

impl Parser {
    /// A parser at the start of a command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for one whole command at the start of `buf`: its length when it is whole (no
    /// arguments for an empty line), `None` when more input is needed. Until [`Self::reset`],
    /// `buf` must begin with the same bytes at every call.
    ///
    /// # Errors
    /// Redis's text for what is wrong.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        loop {
            match self.state {
                State::Start => match buf.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        self.state = State::Count;
                        self.at = 1;
                        self.searched = 1;
                    }
                    Some(_) => self.state = State::Inline,
                },
                State::Inline => return self.parse_inline(buf, limits),
                State::Count => {
                    let line = self.find_line(buf, 1, limits, "too big mbulk count string")?;
                    let Line::End(end) = line else { return Ok(None) };
                    let count = count(&buf[self.at..end], limits)?;
                    self.at = end + 2;
                    self.searched = self.at;
                    if count == 0 {
                        self.state = State::Done;
                    } else {
                        self.state = State::Length { missing: count };
                    }
                }
                State::Length { missing } => {
                    let line = self.find_line(buf, 0, limits, "too big bulk count string")?;
                    let Line::End(end) = line else { return Ok(None) };
                    let len = length(&buf[self.at..end], limits)?;
                    self.at = end + 2;
                    self.state = State::Bulk { missing, len };
                }
                State::Bulk { missing, len } => {
                    if buf.len() - self.at.min(buf.len()) < len + 2 {
                        self.searched = buf.len();
                        return Ok(None);
                    }
                    let end = self.at + len;
                    if buf.get(end..end + 2) != Some(b"\r\n") {
                        return Err(ProtocolError::new(NO_CRLF));
                    }
                    self.ranges.push((self.at, end));
                    self.at = end + 2;
                    self.searched = self.at;
                    self.state = if missing == 1 {
                        State::Done
                    } else {
                        State::Length { missing: missing - 1 }
                    };
                }
                State::Done => return Ok(Some(self.at)),
            }
        }
    }

    /// The arguments of the command that [`Self::parse`] found whole in `buf`.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let source: &'a [u8] = if self.is_inline { &self.inline } else { buf };
        self.ranges.iter().map(|&(start, end)| source.get(start..end).unwrap_or(&[])).collect()
    }

    /// How many more bytes the argument that is being received needs, its CR LF included; 0
    /// outside of one. The caller may make room for them, within its own bounds.
    pub fn wanted_bytes(&self) -> usize {
        match self.state {
            State::Bulk { len, .. } => (self.at + len + 2).saturating_sub(self.searched),
            _ => 0,
        }
    }

    /// Whether it has seen nothing of a command yet.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.state == State::Start
    }

    /// Ready for the next command.
    #[inline]
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.at = 0;
        self.searched = 0;
        self.is_inline = false;
        if self.ranges.capacity() > KEPT_ARGS {
            self.ranges = SmallVec::new();
        } else {
            self.ranges.clear();
        }
        if self.inline.capacity() > KEPT_INLINE_BYTES {
            self.inline = Vec::new();
        }
    }

    /// The CR of the line that starts `before` bytes ahead of `self.at`, if its LF is there too.
    #[inline]
    fn find_line(
        &mut self,
        buf: &[u8],
        before: usize,
        limits: &Limits,
        too_long: &str,
    ) -> Result<Line, ProtocolError> {
        let from = self.searched.min(buf.len());
        // Counts and lengths are a few digits: a loop beats a call for them.
        let near = &buf[from..buf.len().min(from + 12)];
        let found = match near.iter().position(|&b| b == b'\r') {
            Some(offset) => Some(offset),
            None => memchr::memchr(b'\r', &buf[from + near.len()..]).map(|o| o + near.len()),
        };
        match found {
            Some(offset) => {
                self.searched = from + offset;
                // The same whether its end came with it or later.
                if from + offset + before - self.at > limits.max_inline_bytes {
                    return Err(ProtocolError::new(too_long));
                }
                match buf.get(from + offset + 1) {
                    Some(b'\n') => return Ok(Line::End(from + offset)),
                    Some(_) => return Err(ProtocolError::new(NO_CRLF)),
                    None => {}
                }
            }
            None => {
                self.searched = buf.len();
                if buf.len() + before - self.at > limits.max_inline_bytes {
                    return Err(ProtocolError::new(too_long));
                }
            }
        }
        Ok(Line::Partial)
    }

    fn parse_inline(
        &mut self,
        buf: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let from = self.searched.min(buf.len());
        let Some(offset) = memchr::memchr(b'\n', &buf[from..]) else {
            self.searched = buf.len();
            if buf.len() > limits.max_inline_bytes {
                return Err(ProtocolError::new("too big inline request"));
            }
            return Ok(None);
        };
        let end = from + offset;
        if end > limits.max_inline_bytes {
            return Err(ProtocolError::new("too big inline request"));
        }
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        self.is_inline = true;
        self.inline.clear();
        if !split_arguments(line, &mut self.inline, &mut self.ranges) {
            return Err(ProtocolError::new("unbalanced quotes in request"));
        }
        self.at = end + 1;
        self.state = State::Done;
        Ok(Some(self.at))
    }
}

/// The number of arguments in a `*` line; 0 for an empty or a null array.
#[inline]
fn count(digits: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let most = i64::try_from(limits.max_args).unwrap_or(i64::MAX);
    match parse_i64(digits) {
        Some(count) if !limits.authenticated && count > MAX_UNAUTHENTICATED_ARGS => {
            if count > i64::from(i32::MAX) {
                return Err(ProtocolError::new("invalid multibulk length"));
            }
            Err(ProtocolError::new("unauthenticated multibulk length"))
        }
        Some(count) if count <= most => Ok(usize::try_from(count).unwrap_or(0)),
        _ => Err(ProtocolError::new("invalid multibulk length")),
    }
}

/// The length in a `$` line.
#[inline]
fn length(line: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let Some((b'$', digits)) = line.split_first().map(|(first, rest)| (*first, rest)) else {
        let got = line.first().copied().unwrap_or(b'\r');
        return Err(ProtocolError::new(&format!("expected '$', got '{}'", char::from(got))));
    };
    let most = i64::try_from(limits.max_bulk_bytes).unwrap_or(i64::MAX);
    match parse_i64(digits) {
        Some(len) if (0..=most).contains(&len) => {
            if !limits.authenticated && len > MAX_UNAUTHENTICATED_BULK {
                return Err(ProtocolError::new("unauthenticated bulk length"));
            }
            usize::try_from(len).map_err(|_| ProtocolError::new("invalid bulk length"))
        }
        _ => Err(ProtocolError::new("invalid bulk length")),
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
