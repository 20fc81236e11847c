//! Members in one process, single-threaded, without a clock of their own: what they do, and what goes
//! wrong, is what a seed says, and the same seed does the same again.
//!
//! | room | what it is about |
//! |---|---|
//! | `choice` | what happens next, of several things that may |
//! | `disk` | a disk whose writes fail, tear, and are forgotten in a crash until they are forced |
//! | `member` | a member's data and its disk: the real keyspace, journal, log, snapshots and recovery |
//! | `model` | what has to be there after a crash, and what must not |
//! | `replicas` | members that replicate, on a network that loses, delays and repeats |
//! | `run` | a member under a seed's commands, faults and crashes |

pub mod choice;
pub mod disk;
pub mod member;
pub mod model;
pub mod replicas;
pub mod run;
