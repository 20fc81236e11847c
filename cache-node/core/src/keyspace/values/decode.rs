//! Values from the bytes that `encode` wrote. Whatever the bytes are, nothing panics, and no more is
//! allocated than what they hold needs.

use super::super::hash::KeyHasher;
use super::super::part::New;
use super::cuckoo::HEADER_BYTES;
use super::encode::kind;
use super::{Cuckoo, Hash, List, Set, SortedSet, Value};
use crate::log::record::{take_bytes, take_varint};

/// Takes bytes that stand behind their length from the front.
#[inline]
pub fn take_string<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let len = take_varint(bytes)?;
    take_bytes(bytes, len)
}

/// Takes eight bytes from the front.
#[inline]
pub fn take_8(bytes: &mut &[u8]) -> Option<[u8; 8]> {
    take_bytes(bytes, 8)?.try_into().ok()
}

/// Takes a value of a kind from the front; `None` if there is none. Collections that are empty, or have
/// a member twice, are none.
#[inline]
pub fn take_value<'b>(kind: u8, bytes: &mut &'b [u8], hasher: &KeyHasher) -> Option<New<'b>> {
    Some(New::Value(match kind {
        kind::STR => return take_string(bytes).map(New::Str),
        kind::INT => Value::Int(i64::from_le_bytes(take_8(bytes)?)),
        kind::RAW => Value::Raw(Box::new(take_string(bytes)?.to_vec())),
        kind::LIST => take_list(bytes)?,
        kind::HASH => take_hash(bytes, hasher)?,
        kind::SET => take_set(bytes, hasher)?,
        kind::SORTED_SET => take_sorted_set(bytes, hasher)?,
        kind::CUCKOO => take_cuckoo(bytes)?,
        _ => return None,
    }))
}

/// How many members follow: some, and no more than there are bytes.
fn take_count(bytes: &mut &[u8]) -> Option<u64> {
    let count = take_varint(bytes)?;
    (count > 0 && count <= bytes.len() as u64).then_some(count)
}

fn take_list(bytes: &mut &[u8]) -> Option<Value> {
    let mut list = List::default();
    for _ in 0..take_count(bytes)? {
        list.push_back(take_string(bytes)?);
    }
    Some(Value::List(Box::new(list)))
}

fn take_hash(bytes: &mut &[u8], hasher: &KeyHasher) -> Option<Value> {
    let mut hash = Hash::default();
    for _ in 0..take_count(bytes)? {
        let (field, value) = (take_string(bytes)?, take_string(bytes)?);
        hash.set(hasher, field, value).then_some(())?;
    }
    Some(Value::Hash(hash))
}

fn take_set(bytes: &mut &[u8], hasher: &KeyHasher) -> Option<Value> {
    let mut set = Set::default();
    for _ in 0..take_count(bytes)? {
        set.insert(hasher, take_string(bytes)?).then_some(())?;
    }
    Some(Value::Set(set))
}

fn take_sorted_set(bytes: &mut &[u8], hasher: &KeyHasher) -> Option<Value> {
    let members = take_count(bytes)?;
    let mut set = SortedSet::for_members(hasher, usize::try_from(members).ok()?);
    for _ in 0..members {
        let member = take_string(bytes)?;
        let score = f64::from_bits(u64::from_le_bytes(take_8(bytes)?));
        (!score.is_nan() && set.set(hasher, member, score)).then_some(())?;
    }
    Some(Value::SortedSet(set))
}

fn take_cuckoo(bytes: &mut &[u8]) -> Option<Value> {
    let mut filter = Cuckoo::from_header(take_bytes(bytes, HEADER_BYTES as u64)?)?;
    for _ in 0..take_varint(bytes)? {
        let (sub_filter, page) = (take_varint(bytes)?, take_varint(bytes)?);
        let (sub_filter, page) = (usize::try_from(sub_filter).ok()?, usize::try_from(page).ok()?);
        filter.load_page(sub_filter, page, take_string(bytes)?).then_some(())?;
    }
    Some(Value::Cuckoo(Box::new(filter)))
}
