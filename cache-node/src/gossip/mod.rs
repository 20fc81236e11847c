//! Gossip: who is there, and how they seem to be. Rumour, never truth: truth is Raft's table.
//!
//! SWIM (Das, Gupta, Motivala 2002) by `foca`, kept behind [`swim::Swim`], which has no socket and
//! no clock. [`Gossip`] drives it with a UDP socket, finds the first others from the join list
//! (host names may stand for many addresses, this member's own among them), looks them up again
//! for as long as somebody is missing, and publishes what it sees.

mod addresses;
mod codec;
mod config;
mod identity;
mod swim;
mod task;
#[cfg(test)]
mod tests;

pub use codec::ENVELOPE_BYTES;
pub use config::config;
pub use identity::Rumour;
pub use task::{Counters, Gossip, Handle, Options};

/// The version of the datagrams; others are dropped.
pub const VERSION: u8 = 2;
