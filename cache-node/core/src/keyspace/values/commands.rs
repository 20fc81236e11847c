//! Values as Redis commands: for the log, and for an AOF that redis-server replays.
//!
//! Two forms are this program's own: `CF.LOADPAGE key filter page cells` behind a filter's header
//! (`CF.LOADCHUNK key 1 header`), and `SESSION key`, which says that a key's lifetime is its session's.

use super::{Cuckoo, Hash, List, Set, SortedSet, Value, ValueRef};
use crate::log::record::{put_command, put_word, put_words};
use crate::resp::format_double;

/// The most words of one command, and about the most bytes.
const MOST_WORDS: usize = 1000;
const MOST_BYTES: usize = 64 << 10;

/// A key with all that it has.
#[derive(Clone, Copy)]
pub struct Whole<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: ValueRef<'a>,
    /// When it ends, in Unix milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Whether its lifetime is that of its session.
    pub in_session: bool,
    /// Whether there may be a value in its place.
    pub replaces: bool,
}

/// Appends the commands that make a key what it is.
#[inline]
pub fn put(out: &mut Vec<u8>, whole: &Whole<'_>) {
    let Whole { key, value, expires_at_ms, .. } = *whole;
    match value.as_bytes(&mut itoa::Buffer::new()) {
        Some(bytes) => put_string(out, key, bytes, expires_at_ms),
        None => put_collection(out, whole),
    }
    if whole.in_session {
        put_command(out, &[b"SESSION", key]);
    }
}

#[inline]
fn put_string(out: &mut Vec<u8>, key: &[u8], bytes: &[u8], expires_at_ms: u64) {
    // In one go: this is what most records are.
    out.reserve(key.len() + bytes.len() + 96);
    if expires_at_ms == 0 {
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
    } else {
        out.extend_from_slice(b"*5\r\n$3\r\nSET\r\n");
    }
    put_word(out, key);
    put_word(out, bytes);
    if expires_at_ms != 0 {
        out.extend_from_slice(b"$4\r\nPXAT\r\n");
        put_word(out, itoa::Buffer::new().format(expires_at_ms).as_bytes());
    }
}

/// Appends the command that says when a key ends; 0 for never.
pub fn put_expiry(out: &mut Vec<u8>, key: &[u8], expires_at_ms: u64) {
    if expires_at_ms == 0 {
        return put_command(out, &[b"PERSIST", key]);
    }
    let mut buffer = itoa::Buffer::new();
    put_command(out, &[b"PEXPIREAT", key, buffer.format(expires_at_ms).as_bytes()]);
}

#[inline(never)]
fn put_collection(out: &mut Vec<u8>, whole: &Whole<'_>) {
    let key = whole.key;
    if whole.replaces {
        put_command(out, &[b"DEL", key]);
    }
    match whole.value.object() {
        Some(Value::List(list)) => put_list(out, key, list),
        Some(Value::Hash(hash)) => put_hash(out, key, hash),
        Some(Value::Set(set)) => put_set(out, key, set),
        Some(Value::SortedSet(set)) => put_sorted_set(out, key, set),
        Some(Value::Cuckoo(filter)) => put_cuckoo(out, key, filter),
        _ => {}
    }
    if whole.expires_at_ms != 0 {
        put_expiry(out, key, whole.expires_at_ms);
    }
}

/// Commands of one name for one key, as many as its words fill.
struct Chunks<'a> {
    out: &'a mut Vec<u8>,
    name: &'static [u8],
    key: &'a [u8],
    words: usize,
    bytes: Vec<u8>,
}

impl<'a> Chunks<'a> {
    fn new(out: &'a mut Vec<u8>, name: &'static [u8], key: &'a [u8]) -> Self {
        Self { out, name, key, words: 0, bytes: Vec::new() }
    }

    /// Adds words that belong into one command.
    fn add(&mut self, words: &[&[u8]]) {
        words.iter().for_each(|word| put_word(&mut self.bytes, word));
        self.words += words.len();
        if self.words >= MOST_WORDS || self.bytes.len() >= MOST_BYTES {
            self.end();
        }
    }

    fn end(&mut self) {
        if self.words > 0 {
            put_words(self.out, self.words + 2);
            put_word(self.out, self.name);
            put_word(self.out, self.key);
            self.out.append(&mut self.bytes);
            self.words = 0;
        }
    }
}

fn put_list(out: &mut Vec<u8>, key: &[u8], list: &List) {
    let mut chunks = Chunks::new(out, b"RPUSH", key);
    list.visit(0, |_, element| {
        chunks.add(&[element]);
        true
    });
    chunks.end();
}

fn put_hash(out: &mut Vec<u8>, key: &[u8], hash: &Hash) {
    let mut chunks = Chunks::new(out, b"HSET", key);
    hash.visit(|field, value| chunks.add(&[field, value]));
    chunks.end();
}

fn put_set(out: &mut Vec<u8>, key: &[u8], set: &Set) {
    let mut chunks = Chunks::new(out, b"SADD", key);
    set.visit(|member| chunks.add(&[member]));
    chunks.end();
}

fn put_sorted_set(out: &mut Vec<u8>, key: &[u8], set: &SortedSet) {
    let mut chunks = Chunks::new(out, b"ZADD", key);
    set.visit(0, usize::MAX, false, |member, score| {
        chunks.add(&[format_double(score).as_bytes(), member]);
        true
    });
    chunks.end();
}

/// Pages in which nothing is are left out.
fn put_cuckoo(out: &mut Vec<u8>, key: &[u8], filter: &Cuckoo) {
    put_command(out, &[b"CF.LOADCHUNK", key, b"1", &filter.header()]);
    let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
    for (sub_filter, page, cells) in filter.pages() {
        let (sub_filter, page) = (first.format(sub_filter), second.format(page));
        let words: [&[u8]; 5] =
            [b"CF.LOADPAGE", key, sub_filter.as_bytes(), page.as_bytes(), cells];
        put_command(out, &words);
    }
}
