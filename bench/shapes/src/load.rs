//! The load: batches of GET and SET on random keys, as they come from a pipeline.

use std::hint::black_box;
use std::slice::from_ref;

use anyhow::{Context as _, Result};
use hypercache_core::cluster::SLOTS;
use hypercache_core::command::{Known, Spec, lookup};
use hypercache_core::keyspace::{Hashed, Keyspace, Options};
use hypercache_core::resp::{Protocol, Writer};

/// Commands that arrive together.
pub const BATCH: usize = 16;
/// The length of keys.
const KEY_BYTES: usize = 16;
/// A time; nothing expires.
const NOW_MS: u64 = 1_700_000_000_000;

/// A key, and whether it is written rather than read.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// The key.
    pub key: [u8; KEY_BYTES],
    /// SET rather than GET.
    pub writes: bool,
}

/// What runs operations.
pub struct Engine {
    keyspace: Keyspace,
    get: &'static Spec,
    set: &'static Spec,
    value: Vec<u8>,
}

impl Engine {
    /// An engine that serves all slots, with `keys` keys of which `keep` says yes.
    pub fn new(keys: u64, value_bytes: usize, keep: impl Fn(&[u8]) -> bool) -> Result<Self> {
        let keyspace = Keyspace::new(Options { hash_seed: 1, eviction_seed: 1 });
        (0..SLOTS).for_each(|slot| keyspace.set_serving(slot, true));
        let spec = |words: &[&[u8]]| lookup(words).map_err(anyhow::Error::msg);
        let engine = Self {
            keyspace,
            get: spec(&[b"get", b"k"]).context("GET")?,
            set: spec(&[b"set", b"k", b"v"]).context("SET")?,
            value: vec![b'v'; value_bytes],
        };
        let mut out = Vec::new();
        for number in 0..keys {
            let key = key(number);
            if keep(&key) {
                let hashed = engine.keyspace.hashed(&key);
                let known = Known { hashed: from_ref(&hashed), stores: None };
                engine.run(&Op { key, writes: true }, known, &mut out);
                out.clear();
            }
        }
        Ok(engine)
    }

    /// Runs operations that arrived together; their replies are appended to `out`.
    pub fn batch(&self, ops: &[Op], out: &mut Vec<u8>) {
        let mut hashed = [Hashed { slot: 0, hash: 0 }; BATCH];
        for (place, op) in hashed.iter_mut().zip(ops) {
            *place = self.keyspace.hashed(&op.key);
        }
        let hashed = &hashed[..ops.len().min(BATCH)];
        if hashed.len() > 1 {
            self.keyspace.prefetch(hashed, &[]);
        }
        let stores = self.keyspace.stores();
        for (op, hashed) in ops.iter().zip(hashed) {
            self.run(op, Known { hashed: from_ref(hashed), stores: Some(&stores) }, out);
        }
    }

    fn run(&self, op: &Op, known: Known<'_>, out: &mut Vec<u8>) {
        let mut out = Writer::new(out, Protocol::Resp2);
        let served = if op.writes {
            let args: [&[u8]; 3] = [b"SET", &op.key, &self.value];
            self.keyspace.execute_known(self.set, 0, &args, known, NOW_MS, &mut out)
        } else {
            let args: [&[u8]; 2] = [b"GET", &op.key];
            self.keyspace.execute_known(self.get, 0, &args, known, NOW_MS, &mut out)
        };
        let _ = black_box(served);
    }
}

/// The key of that number.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key:000000000000";
    let (mut left, mut at) = (number, KEY_BYTES);
    while left > 0 && at > 4 {
        at -= 1;
        key[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    key
}

/// Random operations: one in ten writes.
#[derive(Debug)]
pub struct Source {
    state: u64,
    keys: u64,
}

impl Source {
    /// A source that a seed determines.
    pub fn new(seed: u64, keys: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, keys: keys.max(1) }
    }

    /// The next operation (xorshift64*: Vigna 2016).
    pub fn op(&mut self) -> Op {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        Op { key: key((random >> 16) % self.keys), writes: random.is_multiple_of(10) }
    }
}
