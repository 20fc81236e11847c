//! Values as bytes, for snapshots. docs/formats.md has the form; `decode` reads it.

use super::{Cuckoo, Hash, List, Set, SortedSet, Value, ValueRef};
use crate::log::record::put_varint;

/// What a value is, as it stands in an entry's first byte.
pub mod kind {
    /// A string.
    pub const STR: u8 = 0;
    /// A string that is an integer's digits.
    pub const INT: u8 = 1;
    /// A string that was changed in place.
    pub const RAW: u8 = 2;
    /// A list.
    pub const LIST: u8 = 3;
    /// A hash.
    pub const HASH: u8 = 4;
    /// A set.
    pub const SET: u8 = 5;
    /// A sorted set.
    pub const SORTED_SET: u8 = 6;
    /// A cuckoo filter.
    pub const CUCKOO: u8 = 7;
}

/// Appends bytes behind their length.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 10);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What a value is.
#[inline]
pub fn kind_of(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Int(_) | ValueRef::Object(Value::Int(_)) => kind::INT,
        ValueRef::Raw(_) | ValueRef::Object(Value::Raw(_)) => kind::RAW,
        ValueRef::Str(_) | ValueRef::Object(Value::Inline { .. } | Value::Str(_)) => kind::STR,
        ValueRef::Object(Value::List(_)) => kind::LIST,
        ValueRef::Object(Value::Hash(_)) => kind::HASH,
        ValueRef::Object(Value::Set(_)) => kind::SET,
        ValueRef::Object(Value::SortedSet(_)) => kind::SORTED_SET,
        ValueRef::Object(Value::Cuckoo(_)) => kind::CUCKOO,
    }
}

/// Appends a value. One of a million fields is written in one go.
#[inline]
pub fn put_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
        ValueRef::Str(bytes) | ValueRef::Raw(bytes) => put_bytes(out, bytes),
        ValueRef::Object(value) => put_object(out, value),
    }
}

fn put_object(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Inline { .. } | Value::Str(_) | Value::Raw(_) => {
            let mut buffer = itoa::Buffer::new();
            put_bytes(out, value.as_bytes(&mut buffer).unwrap_or_default());
        }
        Value::List(list) => put_list(out, list),
        Value::Hash(hash) => put_hash(out, hash),
        Value::Set(set) => put_set(out, set),
        Value::SortedSet(set) => put_sorted_set(out, set),
        Value::Cuckoo(filter) => put_cuckoo(out, filter),
    }
}

fn put_list(out: &mut Vec<u8>, list: &List) {
    put_varint(out, list.len() as u64);
    list.visit(0, |_, element| {
        put_bytes(out, element);
        true
    });
}

fn put_hash(out: &mut Vec<u8>, hash: &Hash) {
    put_varint(out, hash.len() as u64);
    hash.visit(|field, value| {
        put_bytes(out, field);
        put_bytes(out, value);
    });
}

fn put_set(out: &mut Vec<u8>, set: &Set) {
    put_varint(out, set.len() as u64);
    set.visit(|member| put_bytes(out, member));
}

fn put_sorted_set(out: &mut Vec<u8>, set: &SortedSet) {
    put_varint(out, set.len() as u64);
    set.visit(0, usize::MAX, false, |member, score| {
        put_bytes(out, member);
        out.extend_from_slice(&score.to_bits().to_le_bytes());
        true
    });
}

/// A filter's cells by page; pages in which nothing is are left out.
fn put_cuckoo(out: &mut Vec<u8>, filter: &Cuckoo) {
    out.extend_from_slice(&filter.header());
    put_varint(out, filter.pages().count() as u64);
    for (sub_filter, page, cells) in filter.pages() {
        put_varint(out, sub_filter as u64);
        put_varint(out, page as u64);
        put_bytes(out, cells);
    }
}
