//! A sorted set: members in the order of their scores.

use super::super::hash::KeyHasher;
use super::super::memory::block_bytes;
use super::dict::{Dict, Keyed};
use super::member::Member;
use super::packed::{At, MAX_PACKED_BYTES, Packed};
use super::tree::{Item, Tree};
use std::cmp::Ordering;

/// A sorted set with more members is no longer packed (Redis's `zset-max-listpack-entries`).
const MAX_PACKED_MEMBERS: usize = 128;

/// Members with scores; a small one is one block. It never goes back to that, as in Redis.
#[derive(Debug, Clone)]
pub enum SortedSet {
    /// In order; each string is a score's eight bytes and the member's.
    Packed(Packed),
    /// Many, or long ones.
    Full(Box<Full>),
}

/// Members by name and in order.
#[derive(Debug, Clone, Default)]
pub struct Full {
    scores: Dict<Item>,
    order: Tree,
}

impl Keyed for Item {
    #[inline]
    fn key(&self) -> &[u8] {
        self.member.as_slice()
    }

    #[inline]
    fn heap_bytes(&self) -> usize {
        self.member.heap_bytes()
    }
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::Packed(Packed::default())
    }
}

fn split(string: &[u8]) -> (f64, &[u8]) {
    match string.split_first_chunk() {
        Some((score, member)) => (f64::from_le_bytes(*score), member),
        None => (0.0, string),
    }
}

fn order(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(b.1))
}

fn items(packed: &Packed) -> impl Iterator<Item = (At, f64, &[u8])> {
    packed.places().map(|(at, string)| {
        let (score, member) = split(string);
        (at, score, member)
    })
}

fn put(packed: &mut Packed, score: f64, member: &[u8]) {
    // Redis keeps integers here, and so no -0.
    let score = if score == 0.0 { 0.0 } else { score };
    let mut string: smallvec::SmallVec<[u8; 96]> = smallvec::SmallVec::new();
    string.extend_from_slice(&score.to_le_bytes());
    string.extend_from_slice(member);
    let behind = items(packed)
        .find(|(_, s, m)| order((*s, m), (score, member)) == Ordering::Greater)
        .map(|(at, ..)| at);
    match behind {
        Some(at) => packed.insert(at, &[&string]),
        None => packed.push(&[&string]),
    }
}

impl SortedSet {
    /// How many members it has.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Full(full) => full.order.len(),
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
            Self::Full(full) => {
                block_bytes(size_of::<Full>()) + full.scores.heap_bytes() + full.order.heap_bytes()
            }
        }
    }

    /// Where its first block is.
    #[inline]
    pub fn block(&self) -> *const u8 {
        match self {
            Self::Packed(packed) => packed.as_ptr(),
            Self::Full(full) => (&raw const **full).cast(),
        }
    }

    /// Asks for what look-ups of members with these hashes will read.
    pub fn prefetch(&self, hashes: impl Iterator<Item = u64> + Clone) {
        if let Self::Full(full) = self {
            full.scores.prefetch(hashes);
        }
    }

    /// A member's score.
    #[inline]
    pub fn score(&self, hasher: &KeyHasher, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(packed) => {
                items(packed).find(|(_, _, found)| *found == member).map(|(_, score, _)| score)
            }
            Self::Full(full) => full.scores.get(hasher, member).map(|item| item.score),
        }
    }

    /// An empty one that is about to get so many members: as Redis makes it, and so with its -0 where
    /// they are many.
    pub fn for_members(hasher: &KeyHasher, members: usize) -> Self {
        let mut made = Self::default();
        if members > MAX_PACKED_MEMBERS {
            made.unpack(hasher);
        }
        made
    }

    /// The packed form of one that is small enough for it.
    pub fn packed(self) -> Self {
        let Self::Full(full) = &self else { return self };
        if full.order.len() > MAX_PACKED_MEMBERS {
            return self;
        }
        let (mut packed, mut fits) = (Packed::default(), true);
        full.order.visit(0, &mut |item: &Item| {
            let member = item.member.as_slice();
            fits = member.len() <= MAX_PACKED_BYTES;
            if fits {
                put(&mut packed, item.score, member);
            }
            fits
        });
        if !fits {
            return self;
        }
        Self::Packed(packed)
    }

    /// Leaves the packed form.
    pub fn unpack(&mut self, hasher: &KeyHasher) {
        if let Self::Packed(packed) = self {
            let mut full = Box::<Full>::default();
            for (_, score, member) in items(packed) {
                let item = Item { score, member: Member::new(member) };
                full.scores.insert(hasher, item.clone());
                full.order.insert(item);
            }
            *self = Self::Full(full);
        }
    }

    /// Gives a member a score, which is not NaN; true if the member is new.
    pub fn set(&mut self, hasher: &KeyHasher, member: &[u8], score: f64) -> bool {
        if let Self::Packed(packed) = self {
            let found = items(packed).find(|(_, _, found)| *found == member).map(|(at, ..)| at);
            if let Some(at) = found {
                packed.remove(at, at, 1);
                put(packed, score, member);
                return false;
            }
            if packed.len() < MAX_PACKED_MEMBERS && member.len() <= MAX_PACKED_BYTES {
                put(packed, score, member);
                return true;
            }
            self.unpack(hasher);
        }
        let Self::Full(full) = self else { return false };
        let new = Member::new(member);
        let old = full.scores.upsert(
            hasher,
            member,
            |item| {
                let old = item.clone();
                item.score = score;
                old
            },
            || Item { score, member: new.clone() },
        );
        match old {
            Some(old) => {
                full.order.remove(old.score, member);
                full.order.insert(Item { score, member: old.member });
                false
            }
            None => {
                full.order.insert(Item { score, member: new });
                true
            }
        }
    }

    /// Takes a member out; false if it was not there.
    pub fn remove(&mut self, hasher: &KeyHasher, member: &[u8]) -> bool {
        match self {
            Self::Packed(packed) => {
                let found = items(packed).find(|(_, _, found)| *found == member);
                let Some((at, ..)) = found else { return false };
                packed.remove(at, at, 1);
                true
            }
            Self::Full(full) => match full.scores.remove(hasher, member) {
                Some(item) => full.order.remove(item.score, member),
                None => false,
            },
        }
    }

    /// How many members come before one, and its score.
    pub fn rank(&self, hasher: &KeyHasher, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(packed) => items(packed)
                .enumerate()
                .find(|(_, (_, _, found))| *found == member)
                .map(|(rank, (_, score, _))| (rank, score)),
            Self::Full(full) => {
                let score = full.scores.get(hasher, member)?.score;
                let before = |item: &Item| item.compare(score, member) == Ordering::Less;
                Some((full.order.partition_point(before), score))
            }
        }
    }

    /// The rank of the first member for which `reached` holds; it should hold for all behind one
    /// for which it holds (for a small set, the first from the head counts).
    pub fn first(&self, reached: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self {
            Self::Packed(packed) => items(packed)
                .position(|(_, score, member)| reached(score, member))
                .unwrap_or(packed.len()),
            Self::Full(full) => {
                full.order.partition_point(|item| !reached(item.score, item.member.as_slice()))
            }
        }
    }

    /// One more than the rank of the last member for which `within` holds; it should hold for all
    /// before one for which it holds (for a small set, the first from the tail counts).
    pub fn last(&self, within: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self {
            Self::Packed(packed) => items(packed)
                .enumerate()
                .filter(|(_, (_, score, member))| within(*score, member))
                .last()
                .map_or(0, |(rank, _)| rank + 1),
            Self::Full(full) => {
                full.order.partition_point(|item| within(item.score, item.member.as_slice()))
            }
        }
    }

    /// Calls `visit` with the members from rank `start` to before `end`, until it returns false;
    /// the last first if `backwards`.
    pub fn visit(
        &self,
        start: usize,
        end: usize,
        backwards: bool,
        mut visit: impl FnMut(&[u8], f64) -> bool,
    ) {
        let end = end.min(self.len());
        let mut left = end.saturating_sub(start);
        if left == 0 {
            return;
        }
        match self {
            Self::Packed(packed) => {
                let range = items(packed).skip(start).take(left);
                if backwards {
                    let range: smallvec::SmallVec<[(f64, &[u8]); 128]> =
                        range.map(|(_, score, member)| (score, member)).collect();
                    let _ = range.iter().rev().all(|(score, member)| visit(member, *score));
                } else {
                    let mut range = range;
                    let _ = range.all(|(_, score, member)| visit(member, score));
                }
            }
            Self::Full(full) => {
                let mut visit = |item: &Item| {
                    left -= 1;
                    visit(item.member.as_slice(), item.score) && left > 0
                };
                if backwards {
                    full.order.visit_backwards(end, &mut visit);
                } else {
                    full.order.visit(start, &mut visit);
                }
            }
        }
    }

    /// Takes the members from rank `start` to before `end` out.
    pub fn remove_range(&mut self, hasher: &KeyHasher, start: usize, end: usize) {
        let mut gone: Vec<Member> = Vec::new();
        self.visit(start, end, false, |member, _| {
            gone.push(Member::new(member));
            true
        });
        for member in gone {
            self.remove(hasher, member.as_slice());
        }
    }

    /// A member that `random` chooses, with its score.
    pub fn random(&self, mut random: impl FnMut() -> u64) -> Option<(&[u8], f64)> {
        match self {
            Self::Packed(packed) => {
                let at = (random() % packed.len().max(1) as u64) as usize;
                items(packed).nth(at).map(|(_, score, member)| (member, score))
            }
            Self::Full(full) => {
                full.scores.random(random).map(|item| (item.member.as_slice(), item.score))
            }
        }
    }

    /// A step of ZSCAN: see [`Dict::scan`]. A packed one is visited whole.
    pub fn scan(
        &self,
        hasher: &KeyHasher,
        from: u64,
        count: u64,
        mut visit: impl FnMut(&[u8], f64),
    ) -> Option<u64> {
        match self {
            Self::Packed(packed) => {
                items(packed).for_each(|(_, score, member)| visit(member, score));
                None
            }
            Self::Full(full) => full.scores.scan(hasher, from, count, |item| {
                visit(item.member.as_slice(), item.score);
            }),
        }
    }

    /// What [`Self::heap_bytes`] must be, counted anew.
    #[cfg(test)]
    pub fn counted_bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.heap_bytes(),
            Self::Full(full) => {
                block_bytes(size_of::<Full>())
                    + full.scores.counted_bytes()
                    + full.order.counted_bytes()
            }
        }
    }
}
