//! LCS: the longest common subsequence of two strings, by the textbook's table.

use super::texts::{self, is};
use crate::keyspace::{Locked, ValueRef};
use crate::resp::Writer;

/// The table may take so much (Redis's `proto-max-bulk-len`).
const MAX_TABLE_BYTES: u64 = 512 * 1024 * 1024;

/// What is asked for.
#[derive(Default)]
struct Options {
    len: bool,
    index: bool,
    with_len: bool,
    least: i64,
}

impl Options {
    /// Reads the options; `None` after answering with an error.
    fn read(mut rest: &[&[u8]], out: &mut Writer<'_>) -> Option<Self> {
        let mut options = Self::default();
        while let [word, tail @ ..] = rest {
            rest = tail;
            if is(word, "IDX") {
                options.index = true;
            } else if is(word, "LEN") {
                options.len = true;
            } else if is(word, "WITHMATCHLEN") {
                options.with_len = true;
            } else if let (true, [value, tail @ ..]) = (is(word, "MINMATCHLEN"), tail) {
                options.least = texts::integer(value, out)?.max(0);
                rest = tail;
            } else {
                out.error(texts::SYNTAX);
                return None;
            }
        }
        if options.len && options.index {
            out.error("ERR If you want both the length and indexes, please just use IDX.");
            return None;
        }
        Some(options)
    }
}

/// The lengths for all pairs of beginnings.
struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0u32; (a.len() + 1) * width];
        for (i, x) in a.iter().enumerate() {
            let (above, here) = cells[i * width..].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                here[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(here[j]) };
            }
        }
        Self { cells, width }
    }

    fn get(&self, i: usize, j: usize) -> u32 {
        self.cells.get(i * self.width + j).copied().unwrap_or(0)
    }
}

/// A run of bytes that both strings have: where it starts in each, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// Walks back through the table: the common bytes, and the runs, the last first.
fn walk(table: &Table, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
    let (mut i, mut j) = (a.len(), b.len());
    let (mut common, mut runs) = (Vec::new(), Vec::new());
    let mut run: Option<Match> = None;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.push(a[i]);
            run = match run {
                Some(found) if found.a == i + 1 && found.b == j + 1 => {
                    Some(Match { a: i, b: j, len: found.len + 1 })
                }
                found => {
                    runs.extend(found);
                    Some(Match { a: i, b: j, len: 1 })
                }
            };
        } else {
            if table.get(i - 1, j) > table.get(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
            runs.extend(run.take());
        }
    }
    runs.extend(run);
    common.reverse();
    (common, runs)
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]
pub fn lcs(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let mut strings = true;
    for name in &args[1..3] {
        strings &= keys
            .at(name)
            .is_none_or(|mut key| key.read().is_none_or(|value| value.string_len().is_some()));
    }
    if !strings {
        return out.error("ERR The specified keys must contain string values");
    }
    let Some(options) = Options::read(&args[3..], out) else { return };
    let (mut first, mut second) = (itoa::Buffer::new(), itoa::Buffer::new());
    let bytes =
        |value: Option<ValueRef<'_>>| value.map_or(0, |value| value.string_len().unwrap_or(0));
    let cells = (bytes(keys.peek(args[1])) as u64 + 1) * (bytes(keys.peek(args[2])) as u64 + 1);
    if cells * size_of::<u32>() as u64 > MAX_TABLE_BYTES {
        return out
            .error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    }
    let a = keys.peek(args[1]).and_then(|value| value.as_bytes(&mut first)).unwrap_or_default();
    let b = keys.peek(args[2]).and_then(|value| value.as_bytes(&mut second)).unwrap_or_default();
    let table = Table::new(a, b);
    let len = i64::from(table.get(a.len(), b.len()));
    if options.len {
        return out.integer(len);
    }
    let (common, mut runs) = walk(&table, a, b);
    if !options.index {
        return out.bulk(&common);
    }
    runs.retain(|run| run.len as i64 >= options.least);
    out.map(2);
    out.bulk(b"matches");
    out.array(runs.len());
    for run in runs {
        out.array(if options.with_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            out.array(2);
            out.integer(start as i64);
            out.integer((start + run.len - 1) as i64);
        }
        if options.with_len {
            out.integer(run.len as i64);
        }
    }
    out.bulk(b"len");
    out.integer(len);
}
