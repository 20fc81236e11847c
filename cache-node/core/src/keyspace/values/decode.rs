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
    let count = take_count(bytes)?;
    let fields = usize::try_from(count).ok()?;
    if let Some(hash) = Hash::take_packed(hasher, bytes, fields) {
        return Some(Value::Hash(hash));
    }
    let mut hash = Hash::default();
    for _ in 0..count {
        let (field, value) = (take_string(bytes)?, take_string(bytes)?);
        hash.set(hasher, field, value).then_some(())?;
    }
    Some(Value::Hash(hash))
}

fn take_set(bytes: &mut &[u8], hasher: &KeyHasher) -> Option<Value> {
    let count = take_count(bytes)?;
    let members = usize::try_from(count).ok()?;
    if let Some(set) = Set::take_packed(hasher, bytes, members) {
        return Some(Value::Set(set));
    }
    let mut set = Set::default();
    for _ in 0..count {
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

#[cfg(test)]
mod tests {
    use super::super::encode::{put_bytes, put_value};
    use super::super::{Value, ValueRef};
    use super::*;
    use crate::log::record::put_varint;

    fn hasher() -> KeyHasher {
        KeyHasher::new(7)
    }

    fn member(n: usize, len: usize) -> Vec<u8> {
        format!("{n:0len$}m").into_bytes()
    }

    fn taken(kind: u8, bytes: &[u8]) -> Option<Value> {
        let mut rest = bytes;
        let New::Value(value) = take_value(kind, &mut rest, &hasher())? else { return None };
        assert!(rest.is_empty(), "all of it was taken");
        Some(value)
    }

    #[test]
    fn what_is_packed_is_taken_at_once_as_what_it_is_when_its_members_are_added() {
        for count in [1, 2, 30, 127, 128, 129, 512, 513] {
            for len in [3, 63, 64] {
                let (mut hash, mut set) = (Hash::default(), Set::default());
                for n in 0..count {
                    hash.set(&hasher(), &member(n, len), &member(n, 9));
                    set.insert(&hasher(), &member(n, len));
                }
                for (kind, made) in [(kind::HASH, Value::Hash(hash)), (kind::SET, Value::Set(set))]
                {
                    let mut bytes = Vec::new();
                    put_value(&mut bytes, ValueRef::Object(&made));
                    let found = taken(kind, &bytes).unwrap();
                    let mut again = Vec::new();
                    put_value(&mut again, ValueRef::Object(&found));
                    let what = format!("{kind}: {count} of {len}");
                    assert!(again.len() == bytes.len(), "{what}");
                    assert_eq!(found.encoding(), made.encoding(), "{what}");
                    assert_eq!(found.heap_bytes(), made.heap_bytes(), "{what}");
                    // In order, where it is packed.
                    assert!(count > 128 || len > 63 || again == bytes, "{what}");
                    for end in 0..bytes.len() {
                        let mut cut = bytes.get(..end).unwrap_or_default();
                        let is_none = take_value(kind, &mut cut, &hasher()).is_none();
                        assert!(is_none || count > 30, "{what}: cut at {end}");
                        if count > 30 {
                            break;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_member_that_is_there_twice_makes_a_collection_none() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 2);
        (0..2).for_each(|_| put_bytes(&mut bytes, b"same"));
        assert!(taken(kind::SET, &bytes).is_none());
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 2);
        (0..2).for_each(|_| {
            put_bytes(&mut bytes, b"same");
            put_bytes(&mut bytes, b"value");
        });
        assert!(taken(kind::HASH, &bytes).is_none());
    }
}
