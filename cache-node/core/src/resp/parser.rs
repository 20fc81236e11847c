//! Requests: RESP arrays of bulk strings, and inline commands.

use smallvec::SmallVec;

/// The arguments of one command.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

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

/// The state of one connection within its current command.
#[derive(Debug, Default)]
pub struct Parser {
    ends: SmallVec<[(usize, usize); 8]>,
}

impl Parser {
    /// A parser at the start of a command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for one whole command at the start of `buf`: its length when it is whole (no
    /// arguments for an empty line), `None` when more input is needed.
    ///
    /// # Errors
    /// Redis's text for what is wrong.
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let _ = (buf, limits);
        Ok(None)
    }

    /// The arguments of the command that [`Self::parse`] found whole in `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        self.ends.iter().filter_map(|&(start, end)| buf.get(start..end)).collect()
    }

    /// How many more bytes the current argument is known to need.
    pub fn wanted_bytes(&self) -> usize {
        0
    }

    /// Ready for the next command.
    pub fn reset(&mut self) {
        self.ends.clear();
    }
}
