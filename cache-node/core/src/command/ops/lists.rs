//! Lists: their ends, and reading.

use super::ranges::range;
use super::texts;
use crate::keyspace::{Access, Event, Lifetime, List, Value, ValueRef};
use crate::resp::Writer;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The head.
    Left,
    /// The tail.
    Right,
}

impl End {
    /// The element at this end.
    pub fn peek(self, list: &List) -> Option<&[u8]> {
        match self {
            Self::Left => list.front(),
            Self::Right => list.back(),
        }
    }

    /// Takes the element at this end away.
    pub fn drop(self, list: &mut List) {
        match self {
            Self::Left => list.drop_front(),
            Self::Right => list.drop_back(),
        }
    }

    /// Something was added at this end.
    pub fn pushed(self) -> Event {
        Event::list(if self == Self::Left { "lpush" } else { "rpush" })
    }

    /// Something was taken from this end.
    pub fn popped(self) -> Event {
        Event::list(if self == Self::Left { "lpop" } else { "rpop" })
    }

    /// The command that adds at this end.
    pub fn push_name(self) -> &'static [u8] {
        if self == Self::Left { b"LPUSH" } else { b"RPUSH" }
    }

    /// The command that takes from this end.
    pub fn pop_name(self) -> &'static [u8] {
        if self == Self::Left { b"LPOP" } else { b"RPOP" }
    }

    /// Adds an element at this end.
    pub fn push(self, list: &mut List, element: &[u8]) {
        match self {
            Self::Left => list.push_front(element),
            Self::Right => list.push_back(element),
        }
    }
}

/// What a command that may write finds at its key.
pub(super) enum Found {
    Nothing,
    List,
    Other,
}

/// What is at the key; counts as a use.
pub(super) fn find(key: &mut Access<'_>) -> Found {
    match key.value().map(ValueRef::as_list) {
        None => Found::Nothing,
        Some(Some(_)) => Found::List,
        Some(None) => Found::Other,
    }
}

/// Changes the list at the key, which is `event`; the key goes with its last element.
pub(super) fn edit<R>(
    key: &mut Access<'_>,
    event: Event,
    change: impl FnOnce(&mut List) -> R,
) -> Option<R> {
    let (result, empty) = key.update(|value| {
        let list = value.as_list_mut()?;
        let result = change(list);
        Some((result, list.is_empty()))
    })??;
    key.happened(event);
    if empty {
        key.delete();
    }
    Some(result)
}

/// Adds to the list or takes from it, which is `event`; if its length stays, nothing was changed.
pub(super) fn resize<R>(
    key: &mut Access<'_>,
    event: Event,
    change: impl FnOnce(&mut List) -> R,
) -> Option<R> {
    let (result, changed, empty) = key.update_if(|value| {
        let Some(list) = value.as_list_mut() else { return (None, false) };
        let before = list.len();
        let result = change(list);
        let changed = list.len() != before;
        (Some((result, changed, list.is_empty())), changed)
    })??;
    if changed {
        key.happened(event);
    }
    if empty {
        key.delete();
    }
    Some(result)
}

fn push(
    key: &mut Access<'_>,
    elements: &[&[u8]],
    out: &mut Writer<'_>,
    end: End,
    only_existing: bool,
) {
    let add = |list: &mut List| {
        for element in elements {
            end.push(list, element);
        }
        list.len()
    };
    match find(key) {
        Found::Other => out.error(texts::WRONG_TYPE),
        Found::Nothing if only_existing => out.integer(0),
        Found::Nothing => {
            let mut list = Box::<List>::default();
            let len = add(&mut list);
            key.set(Value::List(list), Lifetime::Default);
            key.happened(end.pushed());
            out.integer(len as i64);
        }
        Found::List => {
            let len = edit(key, end.pushed(), add).unwrap_or(0);
            out.integer(len as i64);
        }
    }
}

/// LPUSH key element [element ...]
pub fn lpush(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    push(key, &args[2..], out, End::Left, false);
}

/// RPUSH key element [element ...]
pub fn rpush(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    push(key, &args[2..], out, End::Right, false);
}

/// LPUSHX key element [element ...]
pub fn lpushx(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    push(key, &args[2..], out, End::Left, true);
}

/// RPUSHX key element [element ...]
pub fn rpushx(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    push(key, &args[2..], out, End::Right, true);
}

fn pop(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, end: End, command: &str) {
    if args.len() > 3 {
        return texts::wrong_arity(out, command);
    }
    let count = match args.get(2) {
        None => None,
        Some(arg) => match texts::count_or(arg, texts::POSITIVE, out) {
            Some(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            None => return,
        },
    };
    match (find(key), count) {
        (Found::Other, _) => out.error(texts::WRONG_TYPE),
        (Found::Nothing, None) => out.null(),
        (Found::Nothing, Some(_)) => out.null_array(),
        (Found::List, Some(0)) => out.array(0),
        (Found::List, count) => {
            edit(key, end.popped(), |list| {
                let taken = count.unwrap_or(1).min(list.len());
                if count.is_some() {
                    out.array(taken);
                }
                for _ in 0..taken {
                    if let Some(element) = end.peek(list) {
                        out.bulk(element);
                    }
                    end.drop(list);
                }
            });
        }
    }
}

/// LPOP key [count]
pub fn lpop(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    pop(key, args, out, End::Left, "lpop");
}

/// RPOP key [count]
pub fn rpop(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    pop(key, args, out, End::Right, "rpop");
}

/// Gives the list at the key to `read`, or answers `absent`, or that it is no list.
pub(super) fn read(
    key: &mut Access<'_>,
    out: &mut Writer<'_>,
    absent: impl FnOnce(&mut Writer<'_>),
    read: impl FnOnce(&List, &mut Writer<'_>),
) {
    match key.read().map(ValueRef::as_list) {
        None => absent(out),
        Some(Some(list)) => read(list, out),
        Some(None) => out.error(texts::WRONG_TYPE),
    }
}

/// LLEN key
pub fn llen(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    read(key, out, |out| out.integer(0), |list, out| out.integer(list.len() as i64));
}

/// LRANGE key start stop
pub fn lrange(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let Some(start) = texts::integer(args[2], out) else { return };
    let Some(stop) = texts::integer(args[3], out) else { return };
    read(
        key,
        out,
        |out| out.array(0),
        |list, out| {
            let range = range(start, stop, list.len());
            out.array(range.len());
            if range.is_empty() {
                return;
            }
            list.visit(range.start, |index, element| {
                out.bulk(element);
                index + 1 < range.end
            });
        },
    );
}

/// The index that a possibly negative one means.
pub(super) fn index(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// LINDEX key index
pub fn lindex(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    read(
        key,
        out,
        |out| out.null(),
        |list, out| {
            let Some(at) = texts::integer(args[2], out) else { return };
            match index(at, list.len()).and_then(|at| list.get(at)) {
                Some(element) => out.bulk(element),
                None => out.null(),
            }
        },
    );
}
