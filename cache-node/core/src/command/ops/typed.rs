//! A key's collection, whatever its kind: found, made, changed, and removed with its last member.

use super::texts;
use crate::keyspace::{Access, Event, Hash, Lifetime, Set, SortedSet, Value, ValueRef};
use crate::resp::{Protocol, Writer};

/// A kind of collection.
pub trait Kind: Default {
    /// The collection, if the value is of this kind.
    fn of(value: &Value) -> Option<&Self>;
    /// The collection to change, if the value is of this kind.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// The value that it makes.
    fn into_value(self) -> Value;
    /// How many members it has.
    fn count(&self) -> usize;
}

macro_rules! kind {
    ($kind:ident) => {
        impl Kind for $kind {
            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$kind(found) => Some(found),
                    _ => None,
                }
            }
            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$kind(found) => Some(found),
                    _ => None,
                }
            }
            fn into_value(self) -> Value {
                Value::$kind(self)
            }
            fn count(&self) -> usize {
                self.len()
            }
        }
    };
}

kind!(Hash);
kind!(Set);
kind!(SortedSet);

/// The key's collection for a command that reads; `None` after answering that it is of another
/// type.
pub fn read<'b, T: Kind>(key: &'b mut Access<'_>, out: &mut Writer<'_>) -> Option<Option<&'b T>> {
    typed(key.read(), out)
}

/// The key's collection for a command that may write; `None` after answering that it is of another
/// type.
pub fn find<'b, T: Kind>(key: &'b mut Access<'_>, out: &mut Writer<'_>) -> Option<Option<&'b T>> {
    typed(key.value(), out)
}

fn typed<'b, T: Kind>(value: Option<ValueRef<'b>>, out: &mut Writer<'_>) -> Option<Option<&'b T>> {
    match value.map(|value| value.object().and_then(T::of)) {
        None => Some(None),
        Some(Some(found)) => Some(Some(found)),
        Some(None) => {
            out.error(texts::WRONG_TYPE);
            None
        }
    }
}

/// Changes the key's collection, or a new one if there is none; `None` after answering that it is of
/// another type. `change` says as well whether it changed anything: that is `event`.
pub fn upsert<T: Kind, R>(
    key: &mut Access<'_>,
    out: &mut Writer<'_>,
    event: Event,
    mut change: impl FnMut(&mut T) -> (R, bool),
) -> Option<R> {
    if let Some(result) = edit_typed(key, out, event, &mut change)? {
        return Some(result);
    }
    let mut made = T::default();
    let (result, _) = change(&mut made);
    if made.count() > 0 {
        key.set(made.into_value(), Lifetime::Default);
        key.happened(event);
    }
    Some(result)
}

/// Changes the key's collection, which goes with its last member; `None` after answering that it is
/// of another type, `Some(None)` if there is none. `change` says as well whether it changed anything:
/// that is `event`.
pub fn edit_typed<T: Kind, R>(
    key: &mut Access<'_>,
    out: &mut Writer<'_>,
    event: Event,
    change: impl FnOnce(&mut T) -> (R, bool),
) -> Option<Option<R>> {
    let done = key.update_if(|value| {
        let Some(found) = T::of_mut(value) else { return (None, false) };
        let (result, changed) = change(found);
        (Some((result, changed, found.count() == 0)), changed)
    });
    match done {
        None => Some(None),
        Some(None) => {
            out.error(texts::WRONG_TYPE);
            None
        }
        Some(Some((result, changed, empty))) => {
            if changed {
                key.happened(event);
            }
            if empty {
                key.delete();
            }
            Some(Some(result))
        }
    }
}

/// The same, when the key is known not to be of another type and something changes.
pub fn edit<T: Kind, R>(
    key: &mut Access<'_>,
    event: Event,
    change: impl FnOnce(&mut T) -> R,
) -> Option<R> {
    let out = &mut Vec::new();
    let change = |found: &mut T| (change(found), true);
    edit_typed(key, &mut Writer::new(out, Protocol::Resp2), event, change).flatten()
}

/// Puts a collection where there may be another value; an empty one removes the key.
pub fn store<T: Kind>(key: &mut Access<'_>, made: T, event: Event) {
    if made.count() > 0 {
        key.set(made.into_value(), Lifetime::Default);
        key.happened(event);
    } else {
        key.delete();
    }
}
