//! Sessions: keys that live and leave together.
//!
//! A session is what keys with one hash tag belong to, or keys that start with one of the store's
//! prefixes and go on alike up to the next `:` (`sess:` makes `sess:42:cart` and `sess:42:user`
//! one). Such keys may be in different slots; so a session is not a list of keys but a record
//! that its keys ask for: when it ended, no command finds them any more, in the same moment, and
//! the hand and the expiry cycle take them out as they meet them.

use super::pace::Pace;
use super::usage::TURN_MASK;
use crate::cluster::hash_tag;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::KeyHasher;
use crate::keyspace::memory::block_bytes;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sessions are kept in so many places, so that threads seldom meet.
const SHARDS: usize = 16;

/// What is known of one session.
#[derive(Debug)]
struct Session {
    /// The hash of its name.
    id: u64,
    /// The turn in which it began: keys that were not touched since are of an earlier one.
    born: u64,
    /// The turn of the last access to any of its keys.
    touched: u64,
    /// Its keys.
    keys: u32,
    /// When it ends in Unix milliseconds, unless it is used; 0 for never.
    ends_at_ms: u64,
}

/// What a key's session says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The session ended, and the key with it.
    Over,
    /// The session lives until then (Unix milliseconds; 0 for ever).
    Until(u64),
    /// The key's own lifetime counts.
    Own,
}

/// The sessions of a store.
#[derive(Debug, Default)]
pub struct Sessions {
    shards: [Mutex<HashTable<Session>>; SHARDS],
    prefixes: RwLock<Vec<Box<[u8]>>>,
    /// The turn in which the store's policy became `session`; 0 if it is another.
    since: AtomicU64,
}

impl Sessions {
    /// The store has sessions from this turn on, named by these prefixes.
    pub fn start(&self, turn: u64, prefixes: Vec<Box<[u8]>>) {
        *self.prefixes.write() = prefixes;
        if self.since.load(Relaxed) == 0 {
            self.since.store(turn.max(1), Relaxed);
        }
    }

    /// The store has no sessions any more; keys live by what their own lifetime says.
    /// What they cost is given back.
    pub fn stop(&self) -> usize {
        if self.since.swap(0, Relaxed) == 0 { 0 } else { self.clear() }
    }

    /// Forgets all sessions, without a word to their keys; gives back what they cost.
    pub fn clear(&self) -> usize {
        let clear = |shard: &Mutex<HashTable<Session>>| {
            let old = std::mem::take(&mut *shard.lock());
            block_bytes(old.allocation_size())
        };
        self.shards.iter().map(clear).sum()
    }

    /// Whether the store has sessions.
    #[inline]
    pub fn are_on(&self) -> bool {
        self.since.load(Relaxed) != 0
    }

    /// The hash of the name of a key's session.
    fn id(&self, hasher: &KeyHasher, key: &[u8]) -> u64 {
        let tag = hash_tag(key);
        if tag.len() < key.len() {
            return hasher.hash(tag);
        }
        let prefixes = self.prefixes.read();
        let prefix = prefixes.iter().filter(|p| key.starts_with(p)).map(|p| p.len()).max();
        let name = prefix.map_or(key, |start| {
            let end = memchr::memchr(b':', &key[start..]).map_or(key.len(), |len| start + len);
            &key[..end]
        });
        hasher.hash(name)
    }

    fn shard(&self, id: u64) -> &Mutex<HashTable<Session>> {
        &self.shards[(id >> 60) as usize % SHARDS]
    }

    /// What a key's session says of it now.
    pub fn fate(&self, hasher: &KeyHasher, entry: &Entry<'_>, pace: &Pace, now_ms: u64) -> Fate {
        if !entry.usage.in_session() {
            return Fate::Own;
        }
        let since = self.since.load(Relaxed);
        let touched = pace.full(entry.usage.touched());
        if since == 0 || touched < since {
            // It was bound when the store had this policy before.
            return Fate::Own;
        }
        let id = self.id(hasher, entry.key);
        match self.shard(id).lock().find(id, |session| session.id == id) {
            Some(session) if touched < session.born => Fate::Over,
            Some(session) if session.ends_at_ms != 0 && session.ends_at_ms <= now_ms => Fate::Over,
            Some(session) => Fate::Until(session.ends_at_ms),
            None => Fate::Over,
        }
    }

    /// A key joins its session, which begins if it is not there. Tells what the sessions' memory
    /// was and is.
    pub fn join(&self, hasher: &KeyHasher, key: &[u8], turn: u64, now_ms: u64) -> (usize, usize) {
        let id = self.id(hasher, key);
        let mut shard = self.shard(id).lock();
        let before = block_bytes(shard.allocation_size());
        let found = shard.find_mut(id, |session| session.id == id);
        match found.filter(|session| session.ends_at_ms == 0 || session.ends_at_ms > now_ms) {
            Some(session) => session.keys = session.keys.saturating_add(1),
            None => {
                if let Ok(old) = shard.find_entry(id, |session| session.id == id) {
                    old.remove();
                }
                let session = Session { id, born: turn, touched: turn, keys: 1, ends_at_ms: 0 };
                shard.insert_unique(id, session, |session| session.id);
            }
        }
        (before, block_bytes(shard.allocation_size()))
    }

    /// A key that is in its session leaves it; the last one takes the record with it. Tells what
    /// the sessions' memory was and is.
    pub fn leave(&self, hasher: &KeyHasher, key: &[u8], touched: u64) -> (usize, usize) {
        let id = self.id(hasher, key);
        let mut shard = self.shard(id).lock();
        let before = block_bytes(shard.allocation_size());
        if let Ok(mut entry) = shard.find_entry(id, |session| session.id == id)
            && touched >= entry.get().born
        {
            let session = entry.get_mut();
            session.keys -= 1;
            if session.keys == 0 {
                entry.remove();
                if shard.len() * 8 < shard.capacity() {
                    let len = shard.len();
                    shard.shrink_to(2 * len, |session| session.id);
                }
            }
        }
        (before, block_bytes(shard.allocation_size()))
    }

    /// One of a session's keys was used: the session lives until a later time.
    pub fn touch(&self, hasher: &KeyHasher, key: &[u8], turn: u64, ends_at_ms: u64) {
        let id = self.id(hasher, key);
        if let Some(session) = self.shard(id).lock().find_mut(id, |session| session.id == id) {
            session.touched = turn;
            session.ends_at_ms = ends_at_ms;
        }
    }

    /// The lowest bits of the turn in which a key's session was last used.
    pub fn touched(&self, hasher: &KeyHasher, entry: &Entry<'_>) -> u32 {
        let id = self.id(hasher, entry.key);
        let shard = self.shard(id).lock();
        let session = shard.find(id, |session| session.id == id);
        session.map_or(entry.usage.touched(), |session| session.touched as u32 & TURN_MASK)
    }

    /// A key's session ends now.
    pub fn end(&self, hasher: &KeyHasher, key: &[u8]) {
        let id = self.id(hasher, key);
        if let Some(session) = self.shard(id).lock().find_mut(id, |session| session.id == id) {
            session.ends_at_ms = 1;
        }
    }

    /// How many sessions there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether two keys are of one session.
    pub fn same(&self, hasher: &KeyHasher, a: &[u8], b: &[u8]) -> bool {
        self.id(hasher, a) == self.id(hasher, b)
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
