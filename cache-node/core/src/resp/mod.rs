//! RESP, the protocol that Redis clients speak: versions 2 and 3, and inline commands.
//!
//! Source: the Redis serialization protocol specification (redis.io/docs/reference/protocol-spec)
//! and redis-server 7.0 for limits and error texts.

mod double;
mod inline;
mod number;
mod parser;
mod pipeline;
mod reply;
mod writer;

pub use double::{format_double, parse_bound, parse_double};
pub use number::parse_i64;
pub use parser::{Args, Limits, Parser, ProtocolError};
pub use pipeline::Pipeline;
pub use reply::{Reply, ReplyScan, array_elements, reply_len};
pub use writer::Writer;

/// The version of RESP that a connection speaks; `HELLO` changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// RESP2, what a connection starts with.
    #[default]
    Resp2,
    /// RESP3: maps, sets, doubles, booleans, pushes.
    Resp3,
}
