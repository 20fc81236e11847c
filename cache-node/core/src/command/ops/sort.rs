//! SORT and SORT_RO.
//!
//! Other keys (`BY`, `GET`) are looked up if the pattern's hash tag puts them all in the slot of the
//! sorted key, as Valkey does in a cluster: that slot is locked. A member that has all slots looks up
//! any, once it has locked their slots as well.

use super::texts::{self, is};
use crate::cluster::slot_of;
use crate::keyspace::{Event, Lifetime, List, Locked, LockedAlso, Value, ValueRef};
use crate::resp::{Writer, parse_bound};
use std::cmp::Ordering;

/// What is asked for.
struct Request<'a> {
    descending: bool,
    alphabetic: bool,
    offset: i64,
    count: i64,
    by: Option<&'a [u8]>,
    /// A pattern of BY names no key: no later one makes that the elements are sorted.
    unsorted: bool,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
    /// The first option that names keys in other slots.
    far: Option<&'static str>,
}

/// After so many attempts to lock the slots of keys that change all the time, the client is told to try.
const ATTEMPTS: usize = 8;

/// An element with what it is sorted by.
struct Item {
    element: Vec<u8>,
    score: f64,
    text: Option<Vec<u8>>,
}

/// Whether a pattern's keys are all in one slot with `key`. One without `*` names no key at all.
fn is_near(pattern: &[u8], key: &[u8]) -> bool {
    let Some(star) = memchr::memchr(b'*', pattern) else { return true };
    let tag = memchr::memchr(b'{', pattern)
        .and_then(|open| Some((open, open + memchr::memchr(b'}', &pattern[open..])?)));
    match tag {
        Some((open, close)) => {
            close > open + 1
                && !(open..close).contains(&star)
                && slot_of(pattern) == slot_of(key)
                && star > open
        }
        None => false,
    }
}

impl<'a> Request<'a> {
    /// Reads `key [option ...]`; `None` after answering with an error.
    fn read(args: &[&'a [u8]], read_only: bool, out: &mut Writer<'_>) -> Option<Self> {
        let mut request = Self {
            descending: false,
            alphabetic: false,
            offset: 0,
            count: -1,
            by: None,
            unsorted: false,
            get: Vec::new(),
            store: None,
            far: None,
        };
        let key = *args.get(1)?;
        let mut rest = args.get(2..)?;
        while let [word, tail @ ..] = rest {
            rest = tail;
            match tail {
                _ if is(word, "ASC") => request.descending = false,
                _ if is(word, "DESC") => request.descending = true,
                _ if is(word, "ALPHA") => request.alphabetic = true,
                [offset, count, tail @ ..] if is(word, "LIMIT") => {
                    request.offset = texts::integer(offset, out)?;
                    request.count = texts::integer(count, out)?;
                    rest = tail;
                }
                [target, tail @ ..] if !read_only && is(word, "STORE") => {
                    request.store = Some(target);
                    rest = tail;
                }
                [pattern, tail @ ..] if is(word, "BY") => {
                    if !is_near(pattern, key) {
                        request.far.get_or_insert("BY");
                    }
                    request.unsorted |= memchr::memchr(b'*', pattern).is_none();
                    request.by = Some(pattern);
                    rest = tail;
                }
                [pattern, tail @ ..] if is(word, "GET") => {
                    if !is_near(pattern, key) {
                        request.far.get_or_insert("GET");
                    }
                    request.get.push(pattern);
                    rest = tail;
                }
                _ => {
                    out.error(texts::SYNTAX);
                    return None;
                }
            }
        }
        Some(request)
    }

    /// The part of `len` elements that is wanted.
    fn part(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX).min(len);
        let end = match usize::try_from(self.count) {
            Ok(count) => start.saturating_add(count).min(len),
            Err(_) => len,
        };
        start..end
    }
}

/// The key that a pattern names for an element, and the hash's field if it names one.
fn named<'p>(pattern: &'p [u8], element: &[u8]) -> Option<(Vec<u8>, Option<&'p [u8]>)> {
    let star = memchr::memchr(b'*', pattern)?;
    let behind = &pattern[star + 1..];
    let arrow = memchr::memmem::find(behind, b"->").filter(|at| at + 2 < behind.len());
    let (postfix, field) = match arrow {
        Some(at) => (&behind[..at], Some(&behind[at + 2..])),
        None => (behind, None),
    };
    Some(([&pattern[..star], element, postfix].concat(), field))
}

/// What a pattern means for an element: the element itself, a string, or a hash's field.
fn look_up(keys: &Locked<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let (key, field) = named(pattern, element)?;
    let Some(value) = keys.peek(&key) else {
        keys.missed(&key);
        return None;
    };
    match (value.object(), field) {
        (Some(Value::Hash(hash)), Some(field)) => {
            hash.get(keys.hasher(), field).map(<[u8]>::to_vec)
        }
        (_, None) => value.as_bytes(&mut itoa::Buffer::new()).map(<[u8]>::to_vec),
        _ => None,
    }
}

/// Locks the slots of all keys that the patterns name; false after answering with an error.
fn lock_named(
    keys: &mut Locked<'_>,
    key: &[u8],
    option: &str,
    request: &Request<'_>,
    out: &mut Writer<'_>,
) -> bool {
    for _ in 0..ATTEMPTS {
        let found =
            keys.peek(key).and_then(ValueRef::object).and_then(elements).unwrap_or_default();
        let patterns = request.by.iter().chain(&request.get);
        let named: Vec<Vec<u8>> = patterns
            .flat_map(|pattern| found.iter().filter_map(|element| named(pattern, element)))
            .map(|(key, _)| key)
            .collect();
        match keys.lock_also(named.iter().map(Vec::as_slice)) {
            LockedAlso::Already => return true,
            LockedAlso::Anew => {}
            LockedAlso::Refused => {
                out.error(&format!(
                    "ERR {option} option of SORT denied in Cluster mode when keys formed by the \
                     pattern may be in different slots."
                ));
                return false;
            }
        }
    }
    out.error("TRYAGAIN The elements to sort change all the time");
    false
}

/// The elements in the order in which the value has them; `None` if it has none.
fn elements(value: &Value) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    match value {
        Value::List(list) => list.visit(0, |_, element| {
            found.push(element.to_vec());
            true
        }),
        Value::Set(set) => set.visit(|member| found.push(member.to_vec())),
        Value::SortedSet(set) => set.visit(0, usize::MAX, false, |member, _| {
            found.push(member.to_vec());
            true
        }),
        _ => return None,
    }
    Some(found)
}

/// A number to sort by.
fn score(text: &[u8]) -> Option<f64> {
    let score = parse_bound(text)?;
    let infinite = score.is_infinite() && !text.iter().any(|b| matches!(b, b'i' | b'I'));
    (!infinite).then_some(score)
}

fn compare(a: &Item, b: &Item, request: &Request<'_>, by_pattern: bool) -> Ordering {
    let order = match (request.alphabetic, by_pattern) {
        (false, _) => {
            let scores = a.score.partial_cmp(&b.score).unwrap_or(Ordering::Equal);
            scores.then_with(|| a.element.cmp(&b.element))
        }
        (true, true) => a.text.cmp(&b.text),
        (true, false) => a.element.cmp(&b.element),
    };
    if request.descending { order.reverse() } else { order }
}

/// Sorts; false if something is no number.
fn sort_items(
    keys: &Locked<'_>,
    found: Vec<Vec<u8>>,
    request: &Request<'_>,
    by: Option<&[u8]>,
) -> Option<Vec<Vec<u8>>> {
    let (mut items, mut in_numbers) = (Vec::with_capacity(found.len()), true);
    for element in found {
        let value = match by {
            Some(pattern) => look_up(keys, pattern, &element),
            None => None,
        };
        let mut item = Item { element, score: 0.0, text: None };
        if request.alphabetic {
            item.text = value;
        } else if let Some(number) = if by.is_none() { Some(&item.element) } else { value.as_ref() }
        {
            match score(number) {
                Some(score) => item.score = score,
                None => in_numbers = false,
            }
        }
        items.push(item);
    }
    if !in_numbers {
        return None;
    }
    items.sort_by(|a, b| compare(a, b, request, by.is_some()));
    Some(items.into_iter().map(|item| item.element).collect())
}

fn run(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>, read_only: bool) {
    let Some(mut request) = Request::read(args, read_only, out) else { return };
    if let Some(option) = request.far
        && !lock_named(keys, args[1], option, &request, out)
    {
        return;
    }
    let (mut found, mut is_set) = (Vec::new(), false);
    if let Some(mut key) = keys.at(args[1])
        && let Some(value) = key.read()
    {
        is_set = matches!(value.object(), Some(Value::Set(_)));
        match value.object().and_then(elements) {
            Some(elements) => found = elements,
            None => return out.error(texts::WRONG_TYPE),
        }
    }
    // BY without `*` keeps the order; a set has none, and what is stored, or seen by a script, should
    // be the same always.
    let mut keep = request.unsorted;
    if keep && is_set && (request.store.is_some() || keys.is_for_script()) {
        keep = false;
        request.alphabetic = true;
        request.by = None;
    }
    if keep && request.descending && !is_set {
        found.reverse();
    }
    if !keep {
        match sort_items(keys, found, &request, request.by) {
            Some(sorted) => found = sorted,
            None => {
                return out.error("ERR One or more scores can't be converted into double");
            }
        }
    }
    let part = request.part(found.len());
    let chosen = &found[part];
    let width = request.get.len().max(1);
    let Some(target) = request.store else {
        out.array(chosen.len() * width);
        for element in chosen {
            if request.get.is_empty() {
                out.bulk(element);
            }
            for pattern in &request.get {
                match look_up(keys, pattern, element) {
                    Some(value) => out.bulk(&value),
                    None => out.null(),
                }
            }
        }
        return;
    };
    let mut list = Box::<List>::default();
    for element in chosen {
        if request.get.is_empty() {
            list.push_back(element);
        }
        for pattern in &request.get {
            list.push_back(&look_up(keys, pattern, element).unwrap_or_default());
        }
    }
    out.integer(list.len() as i64);
    if let Some(mut key) = keys.at(target) {
        if list.is_empty() {
            key.delete();
        } else {
            key.set(Value::List(list), Lifetime::Default);
            key.happened(Event::list("sortstore"));
        }
    }
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]
pub fn sort(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    run(keys, args, out, false);
}

/// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA]
pub fn sort_ro(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    run(keys, args, out, true);
}
