//! How a policy is kept in the cluster's table and its log.
//!
//! Those have a form in which fields have no names. The first one ended with the replication factor
//! and `managed`; a factor of 0, which never was one, now says that a list of numbered extras
//! follows `managed`. So tables of before that are still read, and another policy is another number.

use super::{Acks, Durability, EvictionPolicy, FilterRate, Fsync, Mode, StoreNumber, StorePolicy};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeTuple};
use std::fmt;

/// In the place of the replication factor: extras follow.
const EXTENDED: u8 = 0;
/// An extra: the replication factor, one byte.
const REPLICATION_FACTOR: u8 = 1;
/// An extra: the filter's rate in parts per million, four bytes, the lowest first.
const FILTER: u8 = 2;
/// An extra: what is on disk, in the form of [`durability_bytes`].
const DURABILITY: u8 = 3;
/// An extra: the place of the acks in [`Acks::ALL`], one byte; left out for the first.
const ACKS: u8 = 4;
/// Fields with the extras.
const FIELDS: usize = 9;

impl Serialize for StorePolicy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut extras: Vec<(u8, Vec<u8>)> =
            vec![(REPLICATION_FACTOR, vec![self.replication_factor])];
        if let Some(filter) = self.filter {
            extras.push((FILTER, filter.ppm().to_le_bytes().to_vec()));
        }
        if self.durability != Durability::default() {
            extras.push((DURABILITY, durability_bytes(&self.durability)));
        }
        if self.acks != Acks::default() {
            let place = Acks::ALL.iter().position(|(_, acks)| *acks == self.acks);
            extras.push((ACKS, vec![place.and_then(|at| u8::try_from(at).ok()).unwrap_or(0)]));
        }
        let mut to = to.serialize_tuple(FIELDS)?;
        to.serialize_element(&self.name)?;
        to.serialize_element(&self.number)?;
        to.serialize_element(&self.max_memory_bytes)?;
        to.serialize_element(&self.default_ttl_ms)?;
        to.serialize_element(&self.eviction_policy)?;
        to.serialize_element(&self.key_prefixes)?;
        to.serialize_element(&EXTENDED)?;
        to.serialize_element(&self.managed)?;
        to.serialize_element(&extras)?;
        to.end()
    }
}

impl<'de> Deserialize<'de> for StorePolicy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_tuple(FIELDS, Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = StorePolicy;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store's policy")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<StorePolicy, A::Error> {
        let (name, number): (String, StoreNumber) = (next(&mut from)?, next(&mut from)?);
        let mut policy = StorePolicy::new(name, number);
        policy.max_memory_bytes = next(&mut from)?;
        policy.default_ttl_ms = next(&mut from)?;
        policy.eviction_policy = next::<_, EvictionPolicy>(&mut from)?;
        policy.key_prefixes = next(&mut from)?;
        policy.replication_factor = next(&mut from)?;
        policy.managed = next(&mut from)?;
        if policy.replication_factor == EXTENDED {
            for (number, bytes) in next::<_, Vec<(u8, Vec<u8>)>>(&mut from)? {
                extra(&mut policy, number, &bytes)?;
            }
        }
        Ok(policy)
    }
}

fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(from: &mut A) -> Result<T, A::Error> {
    from.next_element()?.ok_or_else(|| A::Error::custom("a store's policy is cut off"))
}

fn extra<E: Error>(policy: &mut StorePolicy, number: u8, bytes: &[u8]) -> Result<(), E> {
    match (number, bytes) {
        (REPLICATION_FACTOR, [factor]) => policy.replication_factor = *factor,
        (FILTER, [a, b, c, d]) => {
            policy.filter = Some(FilterRate(u32::from_le_bytes([*a, *b, *c, *d])));
        }
        (ACKS, [place]) => {
            let acks = Acks::ALL.get(usize::from(*place));
            policy.acks = acks.ok_or_else(|| E::custom("a store's acks are of a later version"))?.1;
        }
        (DURABILITY, bytes) => {
            policy.durability = read_durability(bytes)
                .ok_or_else(|| E::custom("what a store keeps on disk is of a later version"))?;
        }
        // To go on without it would let members run different policies.
        _ => return Err(E::custom(format!("policy {number} of a store is of a later version"))),
    }
    Ok(())
}

/// Mode and fsync by their places in `ALL`, then the numbers, each with its lowest byte first.
fn durability_bytes(durability: &Durability) -> Vec<u8> {
    let place = |found: Option<usize>| found.and_then(|at| u8::try_from(at).ok()).unwrap_or(0);
    let mode = Mode::ALL.iter().position(|(_, mode)| *mode == durability.mode);
    let fsync = Fsync::ALL.iter().position(|(_, fsync)| *fsync == durability.fsync);
    let mut bytes = vec![place(mode), place(fsync), u8::from(durability.compression)];
    bytes.extend_from_slice(&durability.fsync_interval_ms.to_le_bytes());
    bytes.extend_from_slice(&u64::from(durability.batch_size).to_le_bytes());
    bytes.extend_from_slice(&durability.snapshot_interval_ms.to_le_bytes());
    bytes.extend_from_slice(&u64::from(durability.rewrite_percentage).to_le_bytes());
    bytes.extend_from_slice(&durability.rewrite_min_bytes.to_le_bytes());
    bytes
}

fn read_durability(bytes: &[u8]) -> Option<Durability> {
    let ([mode, fsync, compression], numbers) = bytes.split_first_chunk::<3>()?;
    let (numbers, rest) = numbers.as_chunks::<8>();
    let [interval, batch, snapshot, percentage, min_bytes] =
        <[u64; 5]>::try_from(numbers.iter().map(|n| u64::from_le_bytes(*n)).collect::<Vec<_>>())
            .ok()?;
    rest.is_empty().then_some(Durability {
        mode: Mode::ALL.get(usize::from(*mode))?.1,
        fsync: Fsync::ALL.get(usize::from(*fsync))?.1,
        compression: *compression == 1,
        fsync_interval_ms: interval,
        batch_size: u32::try_from(batch).ok()?,
        snapshot_interval_ms: snapshot,
        rewrite_percentage: u32::try_from(percentage).ok()?,
        rewrite_min_bytes: min_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of before.
    #[derive(Serialize)]
    struct Older {
        name: &'static str,
        number: StoreNumber,
        max_memory_bytes: Option<u64>,
        default_ttl_ms: Option<u64>,
        eviction_policy: EvictionPolicy,
        key_prefixes: Vec<String>,
        replication_factor: u8,
        managed: bool,
    }

    fn older(name: &'static str) -> Older {
        Older {
            name,
            number: 3,
            max_memory_bytes: Some(1 << 20),
            default_ttl_ms: None,
            eviction_policy: EvictionPolicy::NoEviction,
            key_prefixes: vec!["a:".into()],
            replication_factor: 1,
            managed: true,
        }
    }

    #[test]
    fn tables_from_before_filters_are_read() {
        let bytes = postcard::to_allocvec(&[older("a"), older("b")]).unwrap();
        let read: [StorePolicy; 2] = postcard::from_bytes(&bytes).unwrap();
        for (policy, name) in read.iter().zip(["a", "b"]) {
            let mut wanted = StorePolicy::new(name, 3);
            wanted.max_memory_bytes = Some(1 << 20);
            wanted.eviction_policy = EvictionPolicy::NoEviction;
            wanted.key_prefixes = vec!["a:".into()];
            wanted.managed = true;
            assert_eq!(*policy, wanted);
        }
    }

    #[test]
    fn a_policy_is_read_as_it_was_written() {
        let mut policies = vec![StorePolicy::new("a", 1), StorePolicy::new("b", 2)];
        policies[0].filter = Some(FilterRate::default());
        policies[1].replication_factor = 3;
        policies[1].acks = Acks::All;
        policies[1].default_ttl_ms = Some(u64::MAX);
        policies[1].durability = Durability::of(Mode::AofSnapshot);
        policies[1].durability.fsync = Fsync::Always;
        let bytes = postcard::to_allocvec(&policies).unwrap();
        assert_eq!(postcard::from_bytes::<Vec<StorePolicy>>(&bytes).unwrap(), policies);
    }

    #[test]
    fn s6_cut_damaged_and_later_policies_are_errors() {
        let mut policy = StorePolicy::new("a", 1);
        policy.filter = Some(FilterRate::default());
        let bytes = postcard::to_allocvec(&policy).unwrap();
        for end in 0..bytes.len() {
            assert!(postcard::from_bytes::<StorePolicy>(&bytes[..end]).is_err(), "{end}");
        }
        let at = bytes.len() - 6;
        assert_eq!(bytes[at], FILTER);
        let mut later = bytes;
        later[at] = 99;
        assert!(postcard::from_bytes::<StorePolicy>(&later).is_err());
    }
}
