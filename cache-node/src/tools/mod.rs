//! What the binary does beside being a member: tools for a cluster that runs, and for the files that members leave.

pub mod cluster;
pub mod log;
