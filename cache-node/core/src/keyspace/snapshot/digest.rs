//! Whether two slots hold the same keys with the same values, whatever their order and form.

use super::super::Keyspace;
use super::super::entry::Entry;
use super::super::table::Table;
use super::super::values::cuckoo::murmur::murmur64a;
use super::super::values::encode::{kind, kind_of, put_bytes, put_value};
use super::super::values::{Value, ValueRef};
use super::entry;
use crate::cluster::Slot;
use crate::store::StoreNumber;

impl Keyspace {
    /// A number that is the same for slots with the same live keys, values and lifetimes, on every
    /// member; for others it is another, but for chance. The use of keys and the form of values do not
    /// count. 0 for a slot without keys.
    pub fn slot_digest(&self, store: StoreNumber, slot: Slot, now_ms: u64) -> u64 {
        let Some(cell) = self.cell(slot) else { return 0 };
        let state = cell.state.lock();
        let Some(table) = state.get(store) else { return 0 };
        let as_of = entry::AsOf { now_ms, with_over: false };
        table_digest(&table.table, |found| {
            entry::ends_at_ms(&table.counters, &self.hasher, found, as_of)
        })
    }
}

/// A number for the entries of a table, whatever their order; `ends_at_ms` tells when each ends, 0 for never, and
/// `None` if it does not count.
pub fn table_digest(table: &Table, ends_at_ms: impl Fn(&Entry<'_>) -> Option<u64>) -> u64 {
    let (mut sum, mut bytes) = (0u64, Vec::new());
    table.visit(|found| {
        if let Some(ends_at_ms) = ends_at_ms(&found) {
            sum = sum.wrapping_add(digest(&mut bytes, &found, ends_at_ms));
        }
    });
    sum
}

fn digest(bytes: &mut Vec<u8>, found: &Entry<'_>, ends_at_ms: u64) -> u64 {
    bytes.clear();
    put_bytes(bytes, found.key);
    bytes.extend_from_slice(&ends_at_ms.to_le_bytes());
    match found.value {
        // What has no order is summed up.
        ValueRef::Object(Value::Hash(hash)) => {
            let (mut sum, mut pair) = (0u64, Vec::new());
            hash.visit(|field, value| {
                pair.clear();
                put_bytes(&mut pair, field);
                put_bytes(&mut pair, value);
                sum = sum.wrapping_add(murmur64a(&pair));
            });
            bytes.push(kind::HASH);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        ValueRef::Object(Value::Set(set)) => {
            let mut sum = 0u64;
            set.visit(|member| sum = sum.wrapping_add(murmur64a(member)));
            bytes.push(kind::SET);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        value => match value.as_bytes(&mut itoa::Buffer::new()) {
            Some(string) => {
                bytes.push(kind::STR);
                put_bytes(bytes, string);
            }
            None => {
                bytes.push(kind_of(value));
                put_value(bytes, value);
            }
        },
    }
    murmur64a(bytes)
}
