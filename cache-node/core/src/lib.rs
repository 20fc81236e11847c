//! What decides and what holds data.
//!
//! Nothing here reaches sockets, disks, clocks or randomness: callers pass bytes, the time in
//! Unix milliseconds and seeds, and get bytes, values and decisions back. The dependency list of
//! this crate, its `clippy.toml` and `tests/purity.rs` keep it so.
//!
//! Rooms, each depending only on those below it: [`command`] → [`keyspace`] → [`resp`];
//! [`cluster`] → [`store`]; [`keyspace`] → [`replica`] → [`log`] → [`store`].

mod cache_line;
pub mod cluster;
pub mod command;
pub mod keyspace;
pub mod log;
pub mod metric;
#[doc(hidden)]
pub mod mutation;
pub mod replica;
pub mod resp;
pub mod store;
