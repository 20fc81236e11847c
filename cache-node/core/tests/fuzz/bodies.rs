//! What the fuzz targets do with bytes: each panics when something is wrong, and for nothing else.
//! `cache-node/fuzz` runs them under libFuzzer; `tests/fuzz.rs` over the kept corpus.

use hypercache_core::command::{self, Run, Spec};
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::resp::{Limits, Parser, Pipeline, Protocol, Reply, Writer};
use hypercache_core::store::{EvictionPolicy, StorePolicy};
use std::cell::RefCell;

const NOW_MS: u64 = 1_700_000_000_000;

/// Bytes of the input, one after the other; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

fn limits() -> Limits {
    Limits { max_inline_bytes: 256, max_bulk_bytes: 4096, max_args: 64, authenticated: true }
}

/// All commands of an input that comes in parts of these lengths, and what ends it.
fn commands_in(bytes: &[u8], mut parts: impl FnMut() -> usize) -> (Vec<Vec<Vec<u8>>>, String) {
    let (mut parser, mut commands) = (Parser::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match parser.parse(&bytes[start..end], &limits()) {
            Err(error) => return (commands, error.to_string()),
            Ok(Some(len)) => {
                assert!(len > 0 && start + len <= end, "a command longer than what came");
                commands
                    .push(parser.args(&bytes[start..end]).iter().map(|arg| arg.to_vec()).collect());
                start += len;
                parser.reset();
            }
            Ok(None) if end == bytes.len() => return (commands, String::new()),
            Ok(None) => end = (end + parts().max(1)).min(bytes.len()),
        }
    }
}

/// However its bytes are split, an input is the same commands and ends in the same way.
pub fn resp_parser(data: &[u8]) {
    let (splits, bytes) = data.split_at(data.len().min(8));
    let whole = commands_in(bytes, || bytes.len());
    let single = commands_in(bytes, || 1);
    assert_eq!(whole, single, "byte by byte");
    let mut turn = 0;
    let odd = commands_in(bytes, || {
        turn += 1;
        splits.get(turn % 8).map_or(1, |split| usize::from(*split))
    });
    assert_eq!(whole, odd, "in parts of {splits:?}");
    // What is read at once is the same as far as it goes.
    let ahead = Pipeline::read(bytes, &limits(), 1000);
    let mut read = (0..ahead.len()).filter_map(|index| ahead.get(index));
    for command in whole.0.iter().take(ahead.len()) {
        let (args, _) = read.next().unwrap();
        assert_eq!(args, command.iter().map(Vec::as_slice).collect::<Vec<_>>(), "read ahead");
    }
    assert!(read.next().is_none(), "more was read than there is");
}

/// Words that get commands further than random bytes would.
const WORDS: [&str; 96] = [
    "",
    "a",
    "b",
    "{a}1",
    "{a}2",
    "key",
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "3.5",
    "-0",
    "nan",
    "inf",
    "-inf",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "4294967295",
    "1e400",
    "+",
    "-",
    "(1",
    "[a",
    "[",
    "(",
    "*",
    "?",
    "[a-z]*",
    "\\",
    "*a*b*c*",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "KEEPTTL",
    "PERSIST",
    "GET",
    "SET",
    "OVERFLOW",
    "WRAP",
    "SAT",
    "FAIL",
    "INCRBY",
    "u8",
    "i64",
    "u63",
    "i65",
    "#1",
    "COUNT",
    "MATCH",
    "TYPE",
    "STORE",
    "BY",
    "LIMIT",
    "ASC",
    "DESC",
    "ALPHA",
    "WITHSCORES",
    "WITHVALUES",
    "REV",
    "BYLEX",
    "BYSCORE",
    "WEIGHTS",
    "AGGREGATE",
    "SUM",
    "MIN",
    "MAX",
    "LEFT",
    "RIGHT",
    "BEFORE",
    "AFTER",
    "RANK",
    "MAXLEN",
    "LEN",
    "IDX",
    "WITHMATCHLEN",
    "MINMATCHLEN",
    "REPLACE",
    "DB",
    "AND",
    "NOT",
    "BYTE",
    "BIT",
    "ITEMS",
    "CAPACITY",
    "NOCREATE",
    "FIELDS",
];

thread_local! {
    /// Made once: what a run leaves is flushed, and must be nothing.
    static SPACE: RefCell<(Keyspace, u64)> = RefCell::new(keyspace());
}

fn keyspace() -> (Keyspace, u64) {
    let space = Keyspace::new(Options { hash_seed: 3, eviction_seed: 5 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    let mut policy = StorePolicy::new("default", 0);
    policy.max_memory_bytes = Some(64 << 20);
    policy.eviction_policy = EvictionPolicy::NoEviction;
    space.set_stores(&[policy, StorePolicy::new("other", 1)]);
    let empty = used(&space);
    (space, empty)
}

fn used(space: &Keyspace) -> u64 {
    space.stats().iter().map(|store| store.used_memory_bytes).sum()
}

/// The commands over keys, subcommands among them.
fn data_commands() -> Vec<&'static Spec> {
    let all = command::all().iter().flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
    all.filter(|spec| !matches!(spec.run, Run::Shell(_)) && spec.subcommands.is_empty()).collect()
}

/// A number that is right, and only takes long: a string or reply of many MB.
fn is_large(arg: &[u8]) -> bool {
    let number = std::str::from_utf8(arg).ok().and_then(|text| text.trim().parse::<i128>().ok());
    number.is_some_and(|n| ((1 << 16)..(1 << 40)).contains(&n.unsigned_abs()))
}

/// Runs a command and gives its reply.
fn run(
    space: &Keyspace,
    store: u16,
    args: &[&[u8]],
    now_ms: u64,
    protocol: Protocol,
) -> Option<Reply> {
    let spec = command::lookup(args).ok()?;
    let mut bytes = Vec::new();
    space.execute(spec, store, args, now_ms, &mut Writer::new(&mut bytes, protocol)).unwrap();
    let (reply, len) = Reply::parse(&bytes).unwrap().expect("a whole reply");
    assert_eq!(len, bytes.len(), "more than one reply to {args:?}");
    Some(reply)
}

fn flushed(space: &Keyspace, empty: u64) {
    let keys: u64 = space.stats().iter().map(|store| store.keys).sum();
    let listed =
        (0..2).map(|store| match run(space, store, &[b"KEYS", b"*"], 0, Protocol::Resp2) {
            Some(Reply::Array(keys)) => keys.len() as u64,
            other => panic!("{other:?}"),
        });
    // At time 0 no lifetime is over.
    assert_eq!(keys, listed.sum::<u64>(), "keys are counted as they are");
    space.flush_all();
    assert_eq!(used(space), empty, "memory that nothing has");
    let left: u64 = space.stats().iter().map(|store| store.keys + store.keys_with_ttl).sum();
    assert_eq!(left, 0);
}

/// Any commands with any arguments: whole replies, no panic, and accounts that are right.
pub fn commands(data: &[u8]) {
    SPACE.with_borrow(|(space, empty)| {
        let (specs, mut input) = (data_commands(), Input(data));
        let mut step = 0;
        while !input.0.is_empty() && step < 200 {
            step += 1;
            let choice = usize::from(input.byte()) << 8 | usize::from(input.byte());
            let spec = specs[choice % specs.len()];
            let mut args: Vec<&[u8]> = spec.name.split('|').map(str::as_bytes).collect();
            let shape = input.byte();
            for _ in 0..shape % 12 {
                let word = usize::from(input.byte());
                args.push(match WORDS.get(word) {
                    Some(word) => word.as_bytes(),
                    None => input.take(word - WORDS.len()),
                });
            }
            if args.iter().any(|arg| is_large(arg)) {
                continue;
            }
            let protocol = if shape & 64 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
            let now_ms = NOW_MS + step * u64::from(shape >> 4) * 100;
            run(space, u16::from(shape & 128 != 0), &args, now_ms, protocol);
        }
        flushed(space, *empty);
    });
}

/// Any chunks of a dump, as they may be sent: an error or a filter that works, within bounds.
pub fn loadchunk(data: &[u8]) {
    SPACE.with_borrow(|(space, empty)| {
        let (header, mut input) =
            (data.get(..46).unwrap_or(data), Input(data.get(46..).unwrap_or(&[])));
        let ask = |args: &[&[u8]]| run(space, 0, args, NOW_MS, Protocol::Resp2);
        ask(&[b"CF.LOADCHUNK", b"k", b"1", header]);
        for _ in 0..20 {
            if input.0.is_empty() {
                break;
            }
            let position = match input.byte() {
                near @ 0..=199 => i64::from(near),
                200..=229 => i64::from(input.byte()) << 8 | i64::from(input.byte()),
                _ => i64::from_le_bytes(input.take(8).try_into().unwrap_or([0xff; 8])),
            };
            let len = usize::from(input.byte());
            let chunk = input.take(len);
            ask(&[b"CF.LOADCHUNK", b"k", position.to_string().as_bytes(), chunk]);
        }
        for args in [
            &[&b"CF.INFO"[..], b"k"][..],
            &[b"CF.EXISTS", b"k", b"x"],
            &[b"CF.ADD", b"k", b"x"],
            &[b"CF.COUNT", b"k", b"x"],
            &[b"CF.SCANDUMP", b"k", b"0"],
            &[b"CF.SCANDUMP", b"k", b"1"],
            &[b"CF.DEL", b"k", b"x"],
            &[b"COPY", b"k", b"{k}2"],
        ] {
            ask(args);
        }
        assert!(used(space) < empty + (96 << 20), "{} bytes", used(space));
        flushed(space, *empty);
    });
}
