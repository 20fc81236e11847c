//! Replies: read back by routers, tests and clients.

use super::ProtocolError;
use smallvec::SmallVec;

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
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let _ = bytes;
        Ok(None)
    }
}

/// How many bytes the first reply in `bytes` takes; `None` when more are needed.
///
/// # Errors
/// What is wrong with the bytes.
pub fn reply_len(bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let _ = bytes;
    Ok(None)
}

/// The raw elements of one whole array reply; `None` if it is not one.
pub fn array_elements(reply: &[u8]) -> Option<SmallVec<[&[u8]; 8]>> {
    let _ = reply;
    None
}
