//! The cache server. One component's shape everywhere: `Options → build() → run()`, a cheap
//! `Handle`, its own `Error`.

pub mod backup;
pub mod clock;
pub mod config;
pub mod disk;
pub mod gossip;
pub mod loops;
pub mod memory;
pub mod node;
pub mod peer;
pub mod pubsub;
pub mod raft;
pub mod replica;
pub mod router;
pub mod script;
pub mod server;
pub mod telemetry;
pub mod tools;
