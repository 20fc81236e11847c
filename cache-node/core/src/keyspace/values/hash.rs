//! A hash: fields with their values.

use super::super::hash::KeyHasher;
use super::super::memory::block_bytes;
use super::dict::{Dict, Keyed};
use super::packed::{At, MAX_PACKED_BYTES, Packed, are_distinct};

/// A hash with more fields is no longer packed (Redis's `hash-max-listpack-entries`).
const MAX_PACKED_FIELDS: usize = 512;
/// A field's length that does not fit one byte stands in four behind this one.
const LONG: u8 = u8::MAX;

/// Fields and values; a small hash is one block. It never goes back to that, as in Redis.
#[derive(Debug, Clone)]
pub enum Hash {
    /// Field, value, field, value, … in the order in which they came.
    Packed(Packed),
    /// Many, or long ones.
    Table(Box<Dict<Pair>>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Packed::default())
    }
}

/// A field and its value in one block, the field's length in front.
#[derive(Debug, Clone)]
pub struct Pair(Box<[u8]>);

impl Pair {
    fn new(field: &[u8], value: &[u8]) -> Self {
        let mut block = Vec::with_capacity(field.len() + value.len() + 5);
        match u8::try_from(field.len()) {
            Ok(len) if len != LONG => block.push(len),
            _ => {
                block.push(LONG);
                block.extend_from_slice(&(field.len() as u32).to_le_bytes());
            }
        }
        block.extend_from_slice(field);
        block.extend_from_slice(value);
        Self(block.into_boxed_slice())
    }

    /// Gives the field, which it has already, another value.
    #[inline]
    fn set_value(&mut self, field: &[u8], value: &[u8]) {
        let old = self.split().1.len();
        if old != value.len() {
            *self = Self::new(field, value);
            return;
        }
        // Where it stands: blocks of the same length need no other.
        let at = self.0.len() - old;
        self.0[at..].copy_from_slice(value);
    }

    #[inline]
    fn split(&self) -> (&[u8], &[u8]) {
        match &*self.0 {
            [LONG, a, b, c, d, rest @ ..] => {
                rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize)
            }
            [len, rest @ ..] => rest.split_at_checked(usize::from(*len)),
            [] => None,
        }
        .unwrap_or_default()
    }
}

impl Keyed for Pair {
    #[inline]
    fn key(&self) -> &[u8] {
        self.split().0
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        block_bytes(self.0.len())
    }

    #[inline]
    fn block(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// A string and where it stands.
type Placed<'a> = (At, &'a [u8]);

fn pairs(packed: &Packed) -> impl Iterator<Item = (Placed<'_>, Placed<'_>)> {
    let mut strings = packed.places();
    std::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
}

impl Hash {
    /// Takes so many fields and their values, each behind its length, from the front of `bytes`, and all at
    /// once; `None`, with nothing taken, if that is not to be: they are many or long, or one may be there
    /// twice.
    pub fn take_packed(hasher: &KeyHasher, bytes: &mut &[u8], fields: usize) -> Option<Self> {
        let mut rest = *bytes;
        let strings = fields.checked_mul(2).filter(|_| fields <= MAX_PACKED_FIELDS)?;
        let packed = Packed::take(&mut rest, strings)?;
        are_distinct(hasher, pairs(&packed).map(|((_, field), _)| field)).then_some(())?;
        *bytes = rest;
        Some(Self::Packed(packed))
    }

    /// How many fields it has.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len() / 2,
            Self::Table(table) => table.len(),
        }
    }

    /// Whether it has none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What stands on the heap for it.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.heap_bytes(),
            Self::Table(table) => block_bytes(size_of::<Dict<Pair>>()) + table.heap_bytes(),
        }
    }

    /// Where its block is.
    #[inline]
    pub fn block(&self) -> *const u8 {
        match self {
            Self::Packed(packed) => packed.as_ptr(),
            Self::Table(table) => (&raw const **table).cast(),
        }
    }

    /// A field's value.
    #[inline]
    pub fn get(&self, hasher: &KeyHasher, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Packed(packed) => {
                pairs(packed).find(|((_, found), _)| *found == field).map(|(_, (_, value))| value)
            }
            Self::Table(table) => table.get(hasher, field).map(|pair| pair.split().1),
        }
    }

    /// Leaves the packed form if one of these strings is too long for it.
    pub fn prepare(&mut self, hasher: &KeyHasher, strings: &[&[u8]]) {
        if strings.iter().any(|string| string.len() > MAX_PACKED_BYTES) {
            self.unpack(hasher);
        }
    }

    fn unpack(&mut self, hasher: &KeyHasher) {
        if let Self::Packed(packed) = self {
            let mut table = Box::<Dict<Pair>>::default();
            for ((_, field), (_, value)) in pairs(packed) {
                table.insert(hasher, Pair::new(field, value));
            }
            *self = Self::Table(table);
        }
    }

    /// Sets a field; true if it is new.
    pub fn set(&mut self, hasher: &KeyHasher, field: &[u8], value: &[u8]) -> bool {
        self.prepare(hasher, &[field, value]);
        match self {
            Self::Packed(packed) => {
                let found = pairs(packed).find(|((_, found), _)| *found == field);
                if let Some((_, (at, _))) = found {
                    packed.replace(at, value);
                    return false;
                }
                packed.push(&[field, value]);
                if packed.len() / 2 > MAX_PACKED_FIELDS {
                    self.unpack(hasher);
                }
                true
            }
            Self::Table(table) => {
                let replaced = table.upsert(
                    hasher,
                    field,
                    |pair| pair.set_value(field, value),
                    || Pair::new(field, value),
                );
                replaced.is_none()
            }
        }
    }

    /// Takes a field out; whether it was there.
    pub fn remove(&mut self, hasher: &KeyHasher, field: &[u8]) -> bool {
        match self {
            Self::Packed(packed) => {
                let found = pairs(packed).find(|((_, found), _)| *found == field);
                let Some(((first, _), (last, _))) = found else { return false };
                packed.remove(first, last, 2);
                true
            }
            Self::Table(table) => table.remove(hasher, field).is_some(),
        }
    }

    /// Every field with its value; in the order in which they came as long as it is packed.
    pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'a [u8], &'a [u8])) {
        match self {
            Self::Packed(packed) => {
                pairs(packed).for_each(|((_, field), (_, value))| visit(field, value));
            }
            Self::Table(table) => table.iter().for_each(|pair| {
                let (field, value) = pair.split();
                visit(field, value);
            }),
        }
    }

    /// A field that `random` chooses, with its value.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Packed(packed) => {
                let len = (packed.len() / 2).max(1) as u64;
                let at = (random() % len) as usize;
                pairs(packed).nth(at).map(|((_, field), (_, value))| (field, value))
            }
            Self::Table(table) => table.random(random).map(Pair::split),
        }
    }

    /// A step of HSCAN: see [`Dict::scan`]. A packed hash is visited whole.
    pub fn scan(
        &self,
        hasher: &KeyHasher,
        from: u64,
        count: u64,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Option<u64> {
        match self {
            Self::Packed(_) => {
                self.visit(visit);
                None
            }
            Self::Table(table) => table.scan(hasher, from, count, |pair| {
                let (field, value) = pair.split();
                visit(field, value);
            }),
        }
    }
}
