//! What the commands over keys do, one file a family. Replies, errors and the order of checks are
//! those of redis-server 7.0; `tests/differential.rs` compares them.

pub mod bit_op;
pub mod bitfield;
pub mod bits;
pub mod blocking;
pub mod cuckoo;
pub mod expire;
mod extended;
pub mod hash_numbers;
pub mod hashes;
mod hll;
mod hll_sparse;
pub mod hyperloglog;
pub mod keys;
pub mod lcs;
pub mod list_edit;
pub mod lists;
pub mod member_scan;
pub mod numbers;
pub mod object;
mod options;
pub mod random_members;
pub mod ranges;
pub mod set_combine;
pub mod sets;
pub mod sort;
pub mod strings;
pub mod texts;
mod typed;
pub mod walk;
pub mod zadd;
mod zbounds;
pub mod zcombine;
pub mod zrange;
pub mod zremove;
pub mod zsets;
