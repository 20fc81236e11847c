//! Backups of what a member has on its disk, and how they are restored.
//!
//! A backup is a set of objects in a directory or in S3-compatible object storage: snapshots, pieces of the
//! log, and a manifest that names them and is written last. What is there already is not sent again. It can
//! be restored to any point from its snapshots to its end, into an empty data directory. docs/formats.md
//! has the names and the manifest; docs/operations/backup.md says how it is used.
//!
//! | file | what it is about |
//! |---|---|
//! | `command` | `hypercache backup …` |
//! | `member` | asks a member that runs for a backup |
//! | `service` | backups on a member: one at a time |
//! | `create` | what is sent, and in which order |
//! | `list`, `verify`, `prune` | what is there, whether it is whole, what is too old |
//! | `restore`, `point` | into a data directory, to which point |
//! | `manifest`, `names`, `time` | what a backup says of itself |
//! | `check` | whether segments and snapshots are whole |
//! | `send`, `fetch` | a part of a file, as an object and back |
//! | `encryption` | age |
//! | `destination`, `http` | where objects are |

mod check;
pub mod command;
mod create;
mod destination;
mod encryption;
mod error;
mod fetch;
pub(crate) mod http;
pub mod list;
pub mod manifest;
mod member;
mod names;
pub mod point;
pub mod prune;
pub mod restore;
mod scratch;
mod send;
mod service;
mod time;
pub mod verify;

pub use destination::{Destination, Place, Settings};
pub use encryption::{Identities, Recipient};
pub use error::Error;
pub use service::{Configured, Done, Service, Status};
