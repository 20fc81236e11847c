//! A set: members without order.

use super::super::entry::Bytes;
use super::super::hash::KeyHasher;
use super::super::memory::block_bytes;
use super::dict::{Dict, Keyed};
use super::intset::IntSet;
use super::packed::{MAX_PACKED_BYTES, Packed, are_distinct};
use crate::resp::parse_i64;

/// A set of more integers is no longer sorted in one block (Redis's `set-max-intset-entries`).
const MAX_INTEGERS: usize = 512;
/// A set with more members is no longer packed.
const MAX_PACKED_MEMBERS: usize = 128;

/// Members; a small set is one block. It never goes back to that, as in Redis.
///
/// Two of the three forms share a box, so that a value stays at 24 bytes.
#[derive(Debug, Clone)]
pub enum Set {
    /// A few short strings.
    Packed(Packed),
    /// The other forms.
    Boxed(Box<Boxed>),
}

/// The forms of a set that is not packed.
#[derive(Debug, Clone)]
pub enum Boxed {
    /// Integers only.
    Ints(IntSet),
    /// Many, or long ones.
    Table(Box<Dict<Bytes>>),
}

/// A set's form, whatever box it is in.
enum Form<'a> {
    Ints(&'a IntSet),
    Packed(&'a Packed),
    Table(&'a Dict<Bytes>),
}

/// The same, to change.
enum FormMut<'a> {
    Ints(&'a mut IntSet),
    Packed(&'a mut Packed),
    Table(&'a mut Dict<Bytes>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Boxed(Box::new(Boxed::Ints(IntSet::default())))
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
    /// Takes so many members, each behind its length, from the front of `bytes`, and all at once; `None`, with
    /// nothing taken, if that is not to be: they are many or long, begin with an integer, or one may be
    /// there twice.
    pub fn take_packed(hasher: &KeyHasher, bytes: &mut &[u8], members: usize) -> Option<Self> {
        let mut rest = *bytes;
        let members = Some(members).filter(|members| *members <= MAX_PACKED_MEMBERS)?;
        let packed = Packed::take(&mut rest, members)?;
        let is_int = packed.iter().next().is_none_or(|first| parse_i64(first).is_some());
        (!is_int && are_distinct(hasher, packed.iter())).then_some(())?;
        *bytes = rest;
        Some(Self::Packed(packed))
    }

    #[inline]
    fn form(&self) -> Form<'_> {
        match self {
            Self::Packed(packed) => Form::Packed(packed),
            Self::Boxed(boxed) => match &**boxed {
                Boxed::Ints(ints) => Form::Ints(ints),
                Boxed::Table(table) => Form::Table(table),
            },
        }
    }

    #[inline]
    fn form_mut(&mut self) -> FormMut<'_> {
        match self {
            Self::Packed(packed) => FormMut::Packed(packed),
            Self::Boxed(boxed) => match &mut **boxed {
                Boxed::Ints(ints) => FormMut::Ints(ints),
                Boxed::Table(table) => FormMut::Table(table),
            },
        }
    }

    /// Where its first block is.
    #[inline]
    pub fn block(&self) -> *const u8 {
        match self {
            Self::Packed(packed) => packed.as_ptr(),
            Self::Boxed(boxed) => (&raw const **boxed).cast(),
        }
    }

    /// Asks for what look-ups of members with these hashes will read.
    pub fn prefetch(&self, hashes: impl Iterator<Item = u64> + Clone) {
        if let Form::Table(table) = self.form() {
            table.prefetch(hashes);
        }
    }

    /// Whether it is kept as sorted integers.
    pub fn is_ints(&self) -> bool {
        matches!(self.form(), Form::Ints(_))
    }

    /// Whether it stands in many blocks.
    pub fn is_table(&self) -> bool {
        matches!(self.form(), Form::Table(_))
    }

    /// How many members it has.
    #[inline]
    pub fn len(&self) -> usize {
        match self.form() {
            Form::Ints(ints) => ints.len(),
            Form::Packed(packed) => packed.len(),
            Form::Table(table) => table.len(),
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
        match self.form() {
            Form::Packed(packed) => packed.heap_bytes(),
            Form::Ints(ints) => block_bytes(size_of::<Boxed>()) + ints.heap_bytes(),
            Form::Table(table) => {
                block_bytes(size_of::<Boxed>())
                    + block_bytes(size_of::<Dict<Bytes>>())
                    + table.heap_bytes()
            }
        }
    }

    /// Whether it has a member.
    #[inline]
    pub fn contains(&self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self.form() {
            Form::Ints(ints) => parse_i64(member).is_some_and(|value| ints.contains(value)),
            Form::Packed(packed) => packed.iter().any(|found| found == member),
            Form::Table(table) => table.get(hasher, member).is_some(),
        }
    }

    /// Puts all members into a form for strings that has room for `member`.
    fn widen(&mut self, hasher: &KeyHasher, member: &[u8]) {
        let short = self.len() < MAX_PACKED_MEMBERS && member.len() <= MAX_PACKED_BYTES;
        match self.form() {
            Form::Ints(ints) if short => {
                let mut packed = Packed::default();
                for value in ints.iter() {
                    packed.push(&[itoa::Buffer::new().format(value).as_bytes()]);
                }
                *self = Self::Packed(packed);
            }
            Form::Packed(_) if short => {}
            Form::Table(_) => {}
            _ => {
                let mut table = Box::<Dict<Bytes>>::default();
                self.visit(|member| table.insert(hasher, Bytes::new(member)));
                *self = Self::Boxed(Box::new(Boxed::Table(table)));
            }
        }
    }

    /// Adds a member; false if it was there.
    pub fn insert(&mut self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self.form_mut() {
            FormMut::Ints(ints) => match parse_i64(member) {
                Some(value) if ints.len() < MAX_INTEGERS => return ints.insert(value),
                Some(value) if ints.contains(value) => return false,
                _ => {}
            },
            FormMut::Table(table) => {
                return table.upsert(hasher, member, |_| (), || Bytes::new(member)).is_none();
            }
            FormMut::Packed(packed) if packed.iter().any(|found| found == member) => return false,
            FormMut::Packed(_) => {}
        }
        self.widen(hasher, member);
        match self.form_mut() {
            FormMut::Ints(_) => return false,
            FormMut::Packed(packed) => packed.push(&[member]),
            FormMut::Table(table) => table.insert(hasher, Bytes::new(member)),
        }
        true
    }

    /// Takes a member out; false if it was not there.
    pub fn remove(&mut self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self.form_mut() {
            FormMut::Ints(ints) => parse_i64(member).is_some_and(|value| ints.remove(value)),
            FormMut::Packed(packed) => {
                let found = packed.places().find(|(_, found)| *found == member);
                let Some((at, _)) = found else { return false };
                packed.remove(at, at, 1);
                true
            }
            FormMut::Table(table) => table.remove(hasher, member).is_some(),
        }
    }

    /// Every member.
    pub fn visit(&self, mut visit: impl FnMut(&[u8])) {
        match self.form() {
            Form::Ints(ints) => {
                ints.iter().for_each(|value| visit(itoa::Buffer::new().format(value).as_bytes()))
            }
            Form::Packed(packed) => packed.iter().for_each(visit),
            Form::Table(table) => table.iter().for_each(|member| visit(member.as_slice())),
        }
    }

    /// Whether `wanted` holds for every member; stops at the first for which it does not.
    pub fn all(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
        match self.form() {
            Form::Ints(ints) => {
                ints.iter().all(|value| wanted(itoa::Buffer::new().format(value).as_bytes()))
            }
            Form::Packed(packed) => packed.iter().all(wanted),
            Form::Table(table) => table.iter().all(|member| wanted(member.as_slice())),
        }
    }

    /// A member that `random` chooses.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<Bytes> {
        let mut below = |len: usize| (random() % len.max(1) as u64) as usize;
        match self.form() {
            Form::Ints(ints) => {
                let value = ints.get(below(ints.len()))?;
                Some(Bytes::new(itoa::Buffer::new().format(value).as_bytes()))
            }
            Form::Packed(packed) => packed.iter().nth(below(packed.len())).map(Bytes::new),
            Form::Table(table) => table.random(random).cloned(),
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
        match self.form() {
            Form::Table(table) => {
                table.scan(hasher, from, count, |member| visit(member.as_slice()))
            }
            _ => {
                self.visit(visit);
                None
            }
        }
    }
}
