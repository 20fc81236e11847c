//! What the binary does beside being a member: tools for the files that members leave.

pub mod log;
