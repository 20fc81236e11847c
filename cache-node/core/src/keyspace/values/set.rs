//! A set: members without order.

use super::super::entry::Bytes;
use super::super::hash::KeyHasher;
use super::super::memory::block_bytes;
use super::dict::{Dict, Keyed};
use super::intset::IntSet;
use super::packed::{MAX_PACKED_BYTES, Packed};
use crate::resp::parse_i64;

/// A set of more integers is no longer sorted in one block (Redis's `set-max-intset-entries`).
const MAX_INTEGERS: usize = 512;
/// A set with more members is no longer packed.
const MAX_PACKED_MEMBERS: usize = 128;

/// Members; a small set is one block. It never goes back to that, as in Redis.
#[derive(Debug, Clone)]
pub enum Set {
    /// Integers only.
    Ints(IntSet),
    /// A few short strings.
    Packed(Packed),
    /// Many, or long ones.
    Table(Box<Dict<Bytes>>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Ints(IntSet::default())
    }
}

impl Keyed for Bytes {
    #[inline]
    fn key(&self) -> &[u8] {
        self.as_slice()
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }
}

impl Set {
    /// How many members it has.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Packed(packed) => packed.len(),
            Self::Table(table) => table.len(),
        }
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.heap_bytes(),
            Self::Packed(packed) => packed.heap_bytes(),
            Self::Table(table) => block_bytes(size_of::<Dict<Bytes>>()) + table.heap_bytes(),
        }
    }

    /// Whether it has a member.
    #[inline]
    pub fn contains(&self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self {
            Self::Ints(ints) => parse_i64(member).is_some_and(|value| ints.contains(value)),
            Self::Packed(packed) => packed.iter().any(|found| found == member),
            Self::Table(table) => table.get(hasher, member).is_some(),
        }
    }

    /// Puts all members into a form for strings that has room for `member`.
    fn widen(&mut self, hasher: &KeyHasher, member: &[u8]) {
        let short = self.len() < MAX_PACKED_MEMBERS && member.len() <= MAX_PACKED_BYTES;
        match self {
            Self::Ints(ints) if short => {
                let mut packed = Packed::default();
                for value in ints.iter() {
                    packed.push(&[itoa::Buffer::new().format(value).as_bytes()]);
                }
                *self = Self::Packed(packed);
            }
            Self::Packed(_) if short => {}
            Self::Table(_) => {}
            _ => {
                let mut table = Box::<Dict<Bytes>>::default();
                self.visit(|member| table.insert(hasher, Bytes::new(member)));
                *self = Self::Table(table);
            }
        }
    }

    /// Adds a member; false if it was there.
    pub fn insert(&mut self, hasher: &KeyHasher, member: &[u8]) -> bool {
        if let Self::Ints(ints) = self {
            match parse_i64(member) {
                Some(value) if ints.len() < MAX_INTEGERS => return ints.insert(value),
                Some(value) if ints.contains(value) => return false,
                _ => {}
            }
        } else if self.contains(hasher, member) {
            return false;
        }
        self.widen(hasher, member);
        match self {
            Self::Ints(_) => return false,
            Self::Packed(packed) => packed.push(&[member]),
            Self::Table(table) => table.insert(hasher, Bytes::new(member)),
        }
        true
    }

    /// Takes a member out; false if it was not there.
    pub fn remove(&mut self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self {
            Self::Ints(ints) => parse_i64(member).is_some_and(|value| ints.remove(value)),
            Self::Packed(packed) => {
                let found = packed.places().find(|(_, found)| *found == member);
                let Some((at, _)) = found else { return false };
                packed.remove(at, at, 1);
                true
            }
            Self::Table(table) => table.remove(hasher, member).is_some(),
        }
    }

    /// Every member.
    pub fn visit(&self, mut visit: impl FnMut(&[u8])) {
        match self {
            Self::Ints(ints) => {
                ints.iter().for_each(|value| visit(itoa::Buffer::new().format(value).as_bytes()))
            }
            Self::Packed(packed) => packed.iter().for_each(visit),
            Self::Table(table) => table.iter().for_each(|member| visit(member.as_slice())),
        }
    }

    /// Whether `wanted` holds for every member; stops at the first for which it does not.
    pub fn all(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Ints(ints) => {
                ints.iter().all(|value| wanted(itoa::Buffer::new().format(value).as_bytes()))
            }
            Self::Packed(packed) => packed.iter().all(wanted),
            Self::Table(table) => table.iter().all(|member| wanted(member.as_slice())),
        }
    }

    /// A member that `random` chooses.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Bytes> {
        let mut below = |len: usize| (random() % len.max(1) as u64) as usize;
        match self {
            Self::Ints(ints) => {
                let value = ints.get(below(ints.len()))?;
                Some(Bytes::new(itoa::Buffer::new().format(value).as_bytes()))
            }
            Self::Packed(packed) => packed.iter().nth(below(packed.len())).map(Bytes::new),
            Self::Table(table) => table.random(random).cloned(),
        }
    }

    /// A step of SSCAN: see [`Dict::scan`]. A small set is visited whole.
    pub fn scan(
        &self,
        hasher: &KeyHasher,
        from: u64,
        count: u64,
        mut visit: impl FnMut(&[u8]),
    ) -> Option<u64> {
        match self {
            Self::Table(table) => {
                table.scan(hasher, from, count, |member| visit(member.as_slice()))
            }
            _ => {
                self.visit(visit);
                None
            }
        }
    }
}
