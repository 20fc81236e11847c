//! Log lines, as members and the operator write them: one JSON object a line, in the fields of the
//! Elastic Common Schema.
//!
//! [`fields`] says under which name, and of which type, each field stands; what is not in that table
//! is a text below `hypercache.fields`, so that no two lines can disagree about a type. [`levels`]
//! says what is logged, also while the process runs. [`limit`] keeps lines that others provoke few.

pub mod fields;
pub mod levels;
pub mod limit;
mod line;
mod time;
mod visit;

pub use levels::{Levels, Origin};
pub use limit::Limit;
pub use line::{Lines, Service, Trace};
pub use time::{now_ms, timestamp};

/// The target of events about who changed what, and who was let in.
pub const AUDIT: &str = "audit";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The level is not one.
    #[error("log level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Nothing is logged to any more.
    #[error("log level: {0}")]
    Gone(#[from] tracing_subscriber::reload::Error),
}
