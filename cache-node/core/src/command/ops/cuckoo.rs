//! Cuckoo filters under keys (CF.*), with RedisBloom's arguments, limits, replies and errors.

use super::texts::{self, is};
use crate::keyspace::cuckoo::{
    Cuckoo, DEFAULT_CAPACITY, Full, HEADER_BYTES, MAX_CAPACITY, Patience, Shape,
};
use crate::keyspace::{Access, Lifetime, Value, ValueRef};
use crate::resp::{Protocol, Writer, parse_i64};

const NOT_FOUND: &str = "ERR not found";
const NOTHING_TO_DELETE: &str = "Not found";
const EXISTS: &str = "ERR item exists";
const BAD_CAPACITY: &str = "Bad capacity";
const RESERVE_RANGE: &str = "Capacity must be in the range [2 * BUCKETSIZE, 1073741824]";
const INSERT_RANGE: &str = "Capacity must be in the range [cf-bucket-size * 2, 1073741824]";
const UNKNOWN_ARGUMENT: &str = "Unknown argument received";
const BAD_POSITION: &str = "Invalid position";
const BAD_HEADER: &str = "Invalid header";
const NO_FILTER: &str = "Couldn't create filter!";
const BAD_CHUNK: &str = "Couldn't load chunk!";

fn filter<'a>(value: ValueRef<'a>) -> Option<&'a Cuckoo> {
    match value.object()? {
        Value::Cuckoo(filter) => Some(filter),
        _ => None,
    }
}

fn filter_mut(value: &mut Value) -> Option<&mut Cuckoo> {
    match value {
        Value::Cuckoo(filter) => Some(filter),
        _ => None,
    }
}

/// Whether the key has a filter; `None` after answering that it is of another type.
fn find(key: &mut Access<'_>, out: &mut Writer<'_>) -> Option<bool> {
    match key.value().map(|value| filter(value).is_some()) {
        None => Some(false),
        Some(true) => Some(true),
        Some(false) => {
            out.error(texts::WRONG_TYPE);
            None
        }
    }
}

/// The key's filter for a command that reads it; `None` after answering that it is of another type.
fn read<'a>(key: &'a mut Access<'_>, out: &mut Writer<'_>) -> Option<Option<&'a Cuckoo>> {
    match key.read().map(filter) {
        None => Some(None),
        Some(Some(found)) => Some(Some(found)),
        Some(None) => {
            out.error(texts::WRONG_TYPE);
            None
        }
    }
}

/// Changes the key's filter, if there is one; `change` says whether it did.
fn change<R>(key: &mut Access<'_>, change: impl FnOnce(&mut Cuckoo) -> (R, bool)) -> Option<R> {
    key.update_if(|value| match filter_mut(value).map(change) {
        Some((result, changed)) => (Some(result), changed),
        None => (None, false),
    })
    .flatten()
}

fn put(key: &mut Access<'_>, made: Cuckoo) {
    key.set(Value::Cuckoo(Box::new(made)), Lifetime::Default);
}

/// An answer of yes or no: a number for RESP2.
fn yes_or_no(out: &mut Writer<'_>, yes: bool) {
    match out.protocol() {
        Protocol::Resp2 => out.integer(i64::from(yes)),
        Protocol::Resp3 => out.boolean(yes),
    }
}

/// The value of an option of CF.RESERVE; `None` after answering that it is wrong.
fn option(
    args: &[&[u8]],
    name: &str,
    range: (i64, i64),
    default: u16,
    out: &mut Writer<'_>,
) -> Option<u16> {
    let given = args[3..].chunks_exact(2).find(|pair| is(pair[0], name));
    let Some(pair) = given else { return Some(default) };
    let Some(value) = parse_i64(pair[1]) else {
        out.error(&format!("Couldn't parse {name}"));
        return None;
    };
    let (least, most) = range;
    let value = u16::try_from(value).ok().filter(|_| (least..=most).contains(&value));
    if value.is_none() {
        out.error(&format!("{name}: value must be in the range [{least}, {most}]"));
    }
    value
}

/// CF.RESERVE key capacity [BUCKETSIZE size] [MAXITERATIONS moves] [EXPANSION factor]
pub fn reserve(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len().is_multiple_of(2) {
        return texts::wrong_arity(out, "cf.reserve");
    }
    let Some(capacity) = parse_i64(args[2]) else { return out.error(BAD_CAPACITY) };
    let usual = Shape::default();
    let moves = option(args, "MAXITERATIONS", (1, 65535), usual.max_iterations, out);
    let Some(max_iterations) = moves else { return };
    let size = option(args, "BUCKETSIZE", (1, 255), u16::from(usual.bucket_size), out);
    let Some(bucket_size) = size.and_then(|size| u8::try_from(size).ok()) else { return };
    let factor = option(args, "EXPANSION", (0, 32768), usual.expansion, out);
    let Some(expansion) = factor else { return };
    let capacity = u64::try_from(capacity).unwrap_or(0);
    if !(2 * u64::from(bucket_size)..=MAX_CAPACITY).contains(&capacity) {
        return out.error(RESERVE_RANGE);
    }
    match find(key, out) {
        None => {}
        Some(true) => out.error(EXISTS),
        Some(false) => {
            put(key, Cuckoo::new(capacity, Shape { bucket_size, max_iterations, expansion }));
            out.ok();
        }
    }
}

/// What became of an item.
enum Added {
    Yes,
    Known,
    No(Full),
}

fn add_to(made: &mut Cuckoo, item: &[u8], new_only: bool, patience: &mut Patience) -> Added {
    if new_only && made.contains(item) {
        return Added::Known;
    }
    match made.insert(item, patience) {
        Ok(()) => Added::Yes,
        Err(full) => Added::No(full),
    }
}

/// Adds items to the key's filter, or a new one; `None` after answering that the key is of another
/// type, or has no filter and gets none.
fn add(
    key: &mut Access<'_>,
    items: &[&[u8]],
    capacity: Option<u64>,
    new_only: bool,
    out: &mut Writer<'_>,
) -> Option<Vec<Added>> {
    if !find(key, out)? {
        let Some(capacity) = capacity else {
            out.error(NOT_FOUND);
            return None;
        };
        put(key, Cuckoo::new(capacity, Shape::default()));
    }
    change(key, |filter| {
        let mut patience = Patience::default();
        let added = items.iter().map(|item| add_to(filter, item, new_only, &mut patience));
        let added: Vec<_> = added.collect();
        let changed = added.iter().any(|added| matches!(added, Added::Yes));
        (added, changed)
    })
}

fn add_one(key: &mut Access<'_>, args: &[&[u8]], new_only: bool, out: &mut Writer<'_>) {
    let Some(added) = add(key, &args[2..3], Some(DEFAULT_CAPACITY), new_only, out) else { return };
    match added.first() {
        Some(Added::No(Full::Fixed)) => out.error("Filter is full"),
        Some(Added::No(Full::Grown)) | None => out.error("Maximum expansions reached"),
        Some(added) => yes_or_no(out, matches!(added, Added::Yes)),
    }
}

/// CF.ADD key item
pub fn add_item(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    add_one(key, args, false, out);
}

/// CF.ADDNX key item
pub fn add_new(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    add_one(key, args, true, out);
}

/// The capacity that a new filter would get (`None`: none is made), and the items; `None` after
/// answering that they do not read.
fn insert_options<'a>(
    args: &'a [&'a [u8]],
    command: &str,
    out: &mut Writer<'_>,
) -> Option<(Option<u64>, &'a [&'a [u8]])> {
    let (mut capacity, mut create) = (DEFAULT_CAPACITY, true);
    let mut rest = &args[2..];
    loop {
        match rest {
            [word, items @ ..] if is(word, "ITEMS") && !items.is_empty() => {
                return Some((create.then_some(capacity), items));
            }
            [word, value, tail @ ..] if is(word, "CAPACITY") => {
                let Some(value) = parse_i64(value) else {
                    out.error(BAD_CAPACITY);
                    return None;
                };
                capacity = u64::try_from(value).unwrap_or(0);
                let least = 2 * u64::from(Shape::default().bucket_size);
                if !(least..=MAX_CAPACITY).contains(&capacity) {
                    out.error(INSERT_RANGE);
                    return None;
                }
                rest = tail;
            }
            [word, tail @ ..] if is(word, "NOCREATE") => {
                create = false;
                rest = tail;
            }
            [word, ..] if !is(word, "ITEMS") && !is(word, "CAPACITY") => {
                out.error(UNKNOWN_ARGUMENT);
                return None;
            }
            _ => {
                texts::wrong_arity(out, command);
                return None;
            }
        }
    }
}

/// CF.INSERT key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]
pub fn insert(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some((capacity, items)) = insert_options(args, "cf.insert", out) else { return };
    let Some(added) = add(key, items, capacity, false, out) else { return };
    out.array(added.len());
    for added in added {
        match (added, out.protocol()) {
            (Added::Yes, _) => yes_or_no(out, true),
            (_, Protocol::Resp2) => out.integer(-1),
            (_, Protocol::Resp3) => out.boolean(false),
        }
    }
}

/// CF.INSERTNX key [CAPACITY capacity] [NOCREATE] ITEMS item [item ...]
pub fn insert_new(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some((capacity, items)) = insert_options(args, "cf.insertnx", out) else { return };
    let Some(added) = add(key, items, capacity, true, out) else { return };
    out.array(added.len());
    for added in added {
        out.integer(match added {
            Added::Yes => 1,
            Added::Known => 0,
            Added::No(_) => -1,
        });
    }
}

/// CF.EXISTS key item
pub fn exists(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(found) = read(key, out) {
        yes_or_no(out, found.is_some_and(|filter| filter.contains(args[2])));
    }
}

/// CF.MEXISTS key item [item ...]
pub fn exist(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = read(key, out) else { return };
    out.array(args.len() - 2);
    for item in &args[2..] {
        yes_or_no(out, found.is_some_and(|filter| filter.contains(item)));
    }
}

/// CF.COUNT key item
pub fn count(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(found) = read(key, out) {
        out.integer(found.map_or(0, |filter| number(filter.count(args[2]))));
    }
}

/// CF.DEL key item
pub fn delete(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = find(key, out) else { return };
    if !found {
        return out.error(NOTHING_TO_DELETE);
    }
    let removed = change(key, |filter| {
        let removed = filter.remove(args[2]);
        (removed, removed)
    });
    yes_or_no(out, removed == Some(true));
}

/// CF.INFO key
pub fn info(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let filter = match read(key, out) {
        None => return,
        Some(None) => return out.error(NOT_FOUND),
        Some(Some(filter)) => filter,
    };
    let Shape { bucket_size, max_iterations, expansion } = filter.shape();
    let facts = [
        ("Size", filter.heap_bytes() as u64 + size_of::<Cuckoo>() as u64),
        ("Number of buckets", filter.buckets()),
        ("Number of filters", filter.filters() as u64),
        ("Number of items inserted", filter.items()),
        ("Number of items deleted", filter.deleted()),
        ("Bucket size", bucket_size.into()),
        ("Expansion rate", expansion.into()),
        ("Max iterations", max_iterations.into()),
    ];
    out.map(facts.len());
    for (name, value) in facts {
        out.simple(name);
        out.integer(number(value));
    }
}

/// CF.SCANDUMP key iterator
pub fn scan_dump(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let filter = match read(key, out) {
        None => return,
        Some(None) => return out.error(NOT_FOUND),
        Some(Some(filter)) => filter,
    };
    let position = parse_i64(args[2]).and_then(|position| u64::try_from(position).ok());
    let Some(position) = position else { return out.error(BAD_POSITION) };
    let part = match position {
        // One with nothing in it has no dump.
        _ if filter.items() == 0 => None,
        0 => Some((1, filter.header().to_vec())),
        _ => filter.chunk(position),
    };
    out.array(2);
    match part {
        Some((next, bytes)) => {
            out.integer(number(next));
            out.bulk(&bytes);
        }
        None => {
            out.integer(0);
            out.null();
        }
    }
}

/// CF.LOADCHUNK key iterator data
pub fn load_chunk(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let position = parse_i64(args[2]).and_then(|position| u64::try_from(position).ok());
    let Some(position) = position.filter(|position| *position > 0) else {
        return out.error(BAD_POSITION);
    };
    let Some(found) = find(key, out) else { return };
    let data = args[3];
    if position == 1 {
        // The first chunk is a filter of its own, in the place of one that is there.
        if data.len() != HEADER_BYTES {
            return out.error(BAD_HEADER);
        }
        let Some(made) = Cuckoo::from_header(data) else { return out.error(NO_FILTER) };
        put(key, made);
        return out.ok();
    }
    if !found {
        return out.error(NOT_FOUND);
    }
    let loaded = change(key, |filter| {
        let loaded = filter.load(position, data);
        (loaded, loaded)
    });
    match loaded {
        Some(true) => out.ok(),
        _ => out.error(BAD_CHUNK),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
