//! The scripts that a member knows, by the SHA-1 of their texts.
//!
//! Those that came with EVAL leave when they are too many, the least recently used first; those of
//! SCRIPT LOAD stay until SCRIPT FLUSH.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use sha1::{Digest, Sha1};

use super::header::Header;

/// The most scripts that are there because of EVAL (as in Valkey).
const MAX_EVALUATED: usize = 500;
/// What their texts may take together.
const MAX_EVALUATED_BYTES: usize = 32 << 20;
/// The most scripts of SCRIPT LOAD.
const MAX_LOADED: usize = 10_000;
/// What their texts may take together.
const MAX_LOADED_BYTES: usize = 64 << 20;
/// What one costs beside its text.
const OVERHEAD_BYTES: usize = 200;

/// The SHA-1 of a text.
pub type Sha = [u8; 20];

/// The digest of a text.
pub fn sha_of(text: &[u8]) -> Sha {
    Sha1::digest(text).into()
}

/// The digest that 40 hex digits, of any case, mean.
pub fn sha_named(hex: &[u8]) -> Option<Sha> {
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    let pairs: &[[u8; 2]; 20] = pairs.try_into().ok()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut sha = [0; 20];
    for (byte, [high, low]) in sha.iter_mut().zip(pairs) {
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(sha)
}

/// One script.
#[derive(Debug)]
pub struct Script {
    /// Its text, as it came.
    pub text: Box<[u8]>,
    /// The SHA-1 of its text.
    pub sha: Sha,
    /// What its first line says.
    pub header: Header,
    /// It came with SCRIPT LOAD.
    loaded: AtomicBool,
    known: AtomicBool,
    used_ms: AtomicU64,
}

impl Script {
    /// A script that nobody knows yet.
    ///
    /// # Errors
    /// Redis's words for what is wrong with its first line.
    pub fn new(text: &[u8], sha: Sha) -> Result<Self, String> {
        Ok(Self {
            header: Header::read(text)?,
            text: text.into(),
            sha,
            loaded: AtomicBool::new(false),
            known: AtomicBool::new(true),
            used_ms: AtomicU64::new(0),
        })
    }

    /// Its digest as 40 hex digits.
    pub fn hex(&self) -> String {
        self.sha.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is still in the cache.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.known.load(Relaxed)
    }

    /// It runs at this time.
    #[inline]
    pub fn use_at(&self, now_ms: u64) {
        self.used_ms.store(now_ms, Relaxed);
    }

    fn cost(&self) -> usize {
        self.text.len() + OVERHEAD_BYTES
    }
}

/// The scripts.
#[derive(Debug, Default)]
pub struct Cache {
    scripts: HashMap<Sha, Arc<Script>>,
    evaluated: usize,
    evaluated_bytes: usize,
    loaded_bytes: usize,
    /// How many left to make room.
    pub evicted: u64,
}

impl Cache {
    /// The script of a digest.
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.scripts.get(sha).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scripts.len()
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        self.evaluated_bytes + self.loaded_bytes
    }

    /// Takes in a script that came with EVAL; gives the one that is there in the end.
    pub fn evaluated(&mut self, script: Arc<Script>) -> Arc<Script> {
        if let Some(there) = self.scripts.get(&script.sha) {
            return there.clone();
        }
        if script.cost() > MAX_EVALUATED_BYTES {
            // It runs, but EVALSHA will not know it.
            return script;
        }
        while self.evaluated >= MAX_EVALUATED
            || self.evaluated_bytes + script.cost() > MAX_EVALUATED_BYTES
        {
            let evaluated = self.scripts.values().filter(|script| !script.loaded.load(Relaxed));
            let Some(oldest) = evaluated.min_by_key(|script| script.used_ms.load(Relaxed)) else {
                break;
            };
            let sha = oldest.sha;
            self.remove(&sha);
            self.evicted += 1;
        }
        self.evaluated += 1;
        self.evaluated_bytes += script.cost();
        self.scripts.insert(script.sha, script.clone());
        script
    }

    /// Takes in a script to stay.
    ///
    /// # Errors
    /// There are too many.
    pub fn load(&mut self, script: Arc<Script>) -> Result<(), String> {
        if self.scripts.get(&script.sha).is_some_and(|there| there.loaded.load(Relaxed)) {
            return Ok(());
        }
        if self.scripts.len() - self.evaluated >= MAX_LOADED
            || self.loaded_bytes + script.cost() > MAX_LOADED_BYTES
        {
            return Err("ERR too many scripts are loaded; SCRIPT FLUSH forgets them".into());
        }
        self.remove(&script.sha);
        script.loaded.store(true, Relaxed);
        self.loaded_bytes += script.cost();
        self.scripts.insert(script.sha, script);
        Ok(())
    }

    /// Forgets all.
    pub fn flush(&mut self) {
        for script in self.scripts.values() {
            script.known.store(false, Relaxed);
        }
        *self = Self { evicted: self.evicted, ..Self::default() };
    }

    fn remove(&mut self, sha: &Sha) {
        let Some(script) = self.scripts.remove(sha) else { return };
        script.known.store(false, Relaxed);
        if script.loaded.load(Relaxed) {
            self.loaded_bytes -= script.cost();
        } else {
            self.evaluated -= 1;
            self.evaluated_bytes -= script.cost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Arc<Script> {
        Arc::new(Script::new(text.as_bytes(), sha_of(text.as_bytes())).unwrap())
    }

    #[test]
    fn a_digest_is_read_back_from_its_hex_in_any_case() {
        let script = script("return 1");
        assert_eq!(script.hex(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(sha_named(script.hex().to_uppercase().as_bytes()), Some(script.sha));
        assert_eq!(sha_named(b"e0e1"), None);
        assert_eq!(sha_named(&[b'x'; 40]), None);
    }

    #[test]
    fn the_least_recently_evaluated_leave_and_loaded_ones_stay() {
        let mut cache = Cache::default();
        let stays = script("return 'loaded'");
        cache.load(stays.clone()).unwrap();
        let first = cache.evaluated(script("return 0"));
        let second = cache.evaluated(script("return 1"));
        first.use_at(2);
        second.use_at(1);
        for n in 2..MAX_EVALUATED {
            cache.evaluated(script(&format!("return {n}"))).use_at(3);
        }
        assert_eq!((cache.len(), cache.evicted), (MAX_EVALUATED + 1, 0));
        cache.evaluated(script("return 'one more'"));
        assert_eq!((cache.len(), cache.evicted), (MAX_EVALUATED + 1, 1));
        assert!(first.is_known() && stays.is_known() && !second.is_known());
        assert!(cache.get(&second.sha).is_none());
        cache.flush();
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        assert!(!stays.is_known());
    }

    #[test]
    fn what_is_loaded_after_it_was_evaluated_is_counted_once() {
        let mut cache = Cache::default();
        cache.evaluated(script("return 1"));
        cache.load(script("return 1")).unwrap();
        cache.load(script("return 1")).unwrap();
        assert_eq!((cache.len(), cache.evaluated, cache.evaluated_bytes), (1, 0, 0));
    }
}
