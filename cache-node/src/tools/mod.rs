//! What the binary does beside being a member: tools for a cluster that runs,
//! for the files that members leave, and a load to see both under.

pub mod cluster;
pub mod doctor;
pub mod load;
pub mod log;
mod table;
