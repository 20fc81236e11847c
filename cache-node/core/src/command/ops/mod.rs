//! What the commands over keys do, one file a family. Replies, errors and the order of checks are
//! those of redis-server 7.0; `tests/differential.rs` compares them.

pub mod expire;
mod extended;
pub mod keys;
pub mod list_edit;
pub mod lists;
pub mod numbers;
pub mod object;
mod options;
pub mod ranges;
pub mod strings;
pub mod texts;
pub mod walk;
