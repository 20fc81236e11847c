//! A slot of a store as bytes, as of one moment, and back.
//!
//! | file | what it is about |
//! |---|---|
//! | `entry` | a key with its value and lifetime as bytes |
//! | `take` | a slot piece by piece, while others change it |
//! | `capture` | what they change before it was taken |
//! | `load` | a slot from bytes |
//! | `whole` | all slots of a store into a file |
//! | `digest` | whether two slots hold the same |

mod capture;
mod digest;
mod entry;
mod load;
mod take;
mod whole;

pub use crate::log::recovery::Loaded;
pub use capture::{Capture, before_change};
pub(super) use digest::table_digest;
pub use load::Damage;
pub(super) use load::keys_of;
pub use take::{SlotTaking, Taking};
pub use whole::Untaken;

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
