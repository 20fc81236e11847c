//! The log's records, done again: at the start of a member, and where its state at some time is made.

use super::lookup_quiet;
use super::spec::{Run, RunKeys};
use crate::cluster::Slot;
use crate::keyspace::{Keyspace, Loaded, Replaying, Value};
use crate::log::record::commands;
use crate::log::{Record, recovery};
use crate::resp::{Protocol, Writer};
use crate::store::StoreNumber;
use std::fmt::Write as _;

/// What came of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It was done.
    Done,
    /// It is about a store that does not exist any more, and was left out.
    NoStore,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not made of commands. Those before were done.
    #[error("record {sequence}: its commands are not well-formed")]
    Malformed {
        /// The record's sequence.
        sequence: u64,
    },
    /// A command is none that a log has. The others were done.
    #[error("record {sequence}: a log has no command like `{command}`")]
    Unknown {
        /// The record's sequence.
        sequence: u64,
        /// The command, shortened.
        command: String,
    },
    /// A command's key is of another slot than its record. The others were done.
    #[error("record {sequence}: the key of `{command}` is not of the record's slot")]
    OtherSlot {
        /// The record's sequence.
        sequence: u64,
        /// The command, shortened.
        command: String,
    },
    /// A command does not fit what is there: something before it is missing. The others were done.
    #[error("record {sequence}: `{command}` was refused: {reply}")]
    Refused {
        /// The record's sequence.
        sequence: u64,
        /// The command, shortened.
        command: String,
        /// What it answered.
        reply: String,
    },
}

enum Wrong {
    Unknown,
    OtherSlot,
    Refused(String),
}

impl Keyspace {
    /// Does again what a record says was done to its slot of its store. The slot need not be served.
    /// No key's lifetime is over for this, nothing is logged, nobody hears of anything, and no budget
    /// is looked at. May be called from several threads at once, for different slots.
    ///
    /// # Errors
    /// The first thing that is wrong with it. What makes sense of it was done nevertheless.
    pub fn replay(&self, record: &Record<'_>) -> Result<Replayed, Error> {
        let sequence = record.sequence;
        let done = self.with_replaying(record.store, record.slot, record.time_ms, |slot| {
            replay_in(slot, sequence, record.commands).map(|()| Replayed::Done)
        });
        done.unwrap_or(Ok(Replayed::NoStore))
    }
}

/// Does a record's commands again in its slot.
pub(super) fn replay_in(
    slot: &mut Replaying<'_>,
    sequence: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut result = Ok(());
    for words in commands(bytes) {
        let Some(words) = words else {
            return result.and(Err(Error::Malformed { sequence }));
        };
        if let Err(wrong) = run(slot, &words) {
            result = result.and_then(|()| Err(error(sequence, &words, wrong)));
        }
    }
    result
}

impl recovery::Data for Keyspace {
    fn load(
        &self,
        store: StoreNumber,
        slot: Slot,
        payload: &[u8],
        as_of_ms: u64,
    ) -> Result<Loaded, String> {
        let loaded = self.load_slot(store, slot, payload, as_of_ms);
        loaded.map_err(|damage| damage.to_string())
    }

    fn replay(&self, record: &Record<'_>) -> Result<(), String> {
        Keyspace::replay(self, record).map(drop).map_err(|error| error.to_string())
    }
}

#[cold]
fn error(sequence: u64, words: &[&[u8]], wrong: Wrong) -> Error {
    let mut command = String::new();
    for word in words.iter().take(3) {
        let start = word.get(..word.len().min(40)).unwrap_or_default();
        let _ = write!(
            command,
            "{}{}",
            if command.is_empty() { "" } else { " " },
            start.escape_ascii()
        );
    }
    match wrong {
        Wrong::Unknown => Error::Unknown { sequence, command },
        Wrong::OtherSlot => Error::OtherSlot { sequence, command },
        Wrong::Refused(reply) => Error::Refused { sequence, command, reply },
    }
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Runs one command. Those that most records are made of are told apart by their bytes, as the log
/// spells them.
#[inline]
fn run(slot: &mut Replaying<'_>, words: &[&[u8]]) -> Result<(), Wrong> {
    match words {
        [b"SET", key, value] => {
            slot.at(key).ok_or(Wrong::OtherSlot)?.replay_string(value, 0);
        }
        [b"SET", key, value, b"PXAT", at] => {
            let at = number(at).ok_or(Wrong::Unknown)?;
            slot.at(key).ok_or(Wrong::OtherSlot)?.replay_string(value, at);
        }
        [b"DEL", key] => {
            slot.at(key).ok_or(Wrong::OtherSlot)?.discard();
        }
        [b"PEXPIREAT", key, at] => {
            let at = number(at).ok_or(Wrong::Unknown)?;
            slot.at(key).ok_or(Wrong::OtherSlot)?.set_expiry(at);
        }
        [b"PERSIST", key] => {
            slot.at(key).ok_or(Wrong::OtherSlot)?.set_expiry(0);
        }
        [b"SESSION", key] => slot.at(key).ok_or(Wrong::OtherSlot)?.replay_session(),
        [b"FLUSHDB"] => slot.flush(),
        [b"CF.LOADPAGE", key, filter, page, cells] => {
            let at = |word: &[u8]| number(word).and_then(|n| usize::try_from(n).ok());
            let (filter, page) = at(filter).zip(at(page)).ok_or(Wrong::Unknown)?;
            let mut key = slot.at(key).ok_or(Wrong::OtherSlot)?;
            let loaded = key.update(|value| match value {
                Value::Cuckoo(made) => made.load_page(filter, page, cells),
                _ => false,
            });
            if loaded != Some(true) {
                return Err(Wrong::Refused("there is no such page".into()));
            }
        }
        _ => return run_any(slot, words),
    }
    Ok(())
}

/// A command as a client sent it.
fn run_any(slot: &mut Replaying<'_>, words: &[&[u8]]) -> Result<(), Wrong> {
    let spec = lookup_quiet(words).filter(|spec| spec.is_write()).ok_or(Wrong::Unknown)?;
    let Run::Keys(RunKeys::One(run)) = spec.run else { return Err(Wrong::Unknown) };
    let key = spec.first_key(words).ok_or(Wrong::Unknown)?;
    let mut key = slot.at(key).ok_or(Wrong::OtherSlot)?;
    let mut reply = Vec::new();
    run(&mut key, words, &mut Writer::new(&mut reply, Protocol::Resp2));
    match reply.split_first() {
        Some((b'-', text)) => Err(Wrong::Refused(text.trim_ascii_end().escape_ascii().to_string())),
        _ => Ok(()),
    }
}
