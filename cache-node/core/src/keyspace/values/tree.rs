//! Members in the order of their scores, with the rank of each in O(log n): a B+ tree whose inner
//! nodes know how many items stand under each child.
//!
//! A skip list with spans, as Redis has it, costs a block, a back pointer and on average 1.33
//! forward pointers with spans for each member. Here a member costs its place in a leaf, and a
//! range is read from memory that lies together.

use super::super::memory::block_bytes;
use super::member::Member;
use std::cmp::Ordering;

/// A leaf splits rather than hold more.
const LEAF_ITEMS: usize = 64;
/// An inner node splits rather than hold more.
const CHILDREN: usize = 32;

/// A member with its score.
#[derive(Debug, Clone)]
pub struct Item {
    /// What the members are sorted by; never NaN.
    pub score: f64,
    /// Equal scores are sorted by the bytes.
    pub member: Member,
}

impl Item {
    /// The order of sorted sets.
    #[inline]
    pub fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        let scores = self.score.partial_cmp(&score).unwrap_or(Ordering::Equal);
        scores.then_with(|| self.member.as_slice().cmp(member))
    }

    #[inline]
    fn is_before(&self, other: &Self) -> bool {
        self.compare(other.score, other.member.as_slice()) == Ordering::Less
    }
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(Vec<Item>),
    Inner(Vec<Child>),
}

#[derive(Debug, Clone)]
struct Child {
    /// The least item under the node.
    first: Item,
    /// How many items are under it.
    len: usize,
    node: Node,
}

/// Items in order. Members' own blocks are not in its accounts.
#[derive(Debug, Clone)]
pub struct Tree {
    root: Node,
    len: usize,
    bytes: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0, bytes: 0 }
    }
}

fn leaf_bytes(items: &Vec<Item>) -> usize {
    block_bytes(items.capacity() * size_of::<Item>())
}

fn inner_bytes(children: &Vec<Child>) -> usize {
    block_bytes(children.capacity() * size_of::<Child>())
}

impl Tree {
    /// How many items it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for it, without the members' own blocks.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an item that is not there yet.
    pub fn insert(&mut self, item: Item) {
        self.len += 1;
        let Some(right) = self.root.insert(item, &mut self.bytes) else { return };
        let left = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
        if let Some(first) = left.first().cloned() {
            let left = Child { first, len: self.len - right.len, node: left };
            let children = vec![left, right];
            self.bytes += inner_bytes(&children);
            self.root = Node::Inner(children);
        }
    }

    /// Takes an item out; whether it was there.
    pub fn remove(&mut self, score: f64, member: &[u8]) -> bool {
        if !self.root.remove(score, member, &mut self.bytes) {
            return false;
        }
        self.len -= 1;
        while let Node::Inner(children) = &mut self.root {
            if children.len() > 1 {
                break;
            }
            self.bytes -= inner_bytes(children);
            self.root = children.pop().map_or(Node::Leaf(Vec::new()), |child| child.node);
        }
        true
    }

    /// How many items come first for which `before` holds; it must hold for all that come before
    /// one for which it holds.
    pub fn partition_point(&self, before: impl Fn(&Item) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return rank + items.partition_point(&before),
                Node::Inner(children) => {
                    let at = children.partition_point(|child| before(&child.first));
                    let Some(at) = at.checked_sub(1) else { return rank };
                    rank += children[..at].iter().map(|child| child.len).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// Calls `visit` with the items from `rank` on until it returns false.
    pub fn visit(&self, rank: usize, visit: &mut impl FnMut(&Item) -> bool) {
        self.root.visit(rank, visit);
    }

    /// Calls `visit` with the items before `rank`, the last first, until it returns false.
    pub fn visit_backwards(&self, rank: usize, visit: &mut impl FnMut(&Item) -> bool) {
        self.root.visit_backwards(rank, visit);
    }

    /// What [`Self::heap_bytes`] must be, counted anew; panics if a count or an order is wrong.
    #[cfg(test)]
    pub fn counted_bytes(&self) -> usize {
        self.root.check().1
    }
}

impl Node {
    fn first(&self) -> Option<&Item> {
        match self {
            Self::Leaf(items) => items.first(),
            Self::Inner(children) => children.first().map(|child| &child.first),
        }
    }

    /// How much of its room is used, in its own units.
    fn size(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// Adds an item; what was cut off on the right if the node had to split.
    fn insert(&mut self, item: Item, bytes: &mut usize) -> Option<Child> {
        match self {
            Self::Leaf(items) => insert_item(items, item, bytes),
            Self::Inner(children) => {
                let at = children.partition_point(|child| !item.is_before(&child.first));
                let at = at.saturating_sub(1);
                let child = children.get_mut(at)?;
                if item.is_before(&child.first) {
                    child.first = item.clone();
                }
                child.len += 1;
                let sibling = child.node.insert(item, bytes)?;
                child.len -= sibling.len;
                let before = inner_bytes(children);
                children.insert(at + 1, sibling);
                let right = (children.len() > CHILDREN).then(|| children.split_off(CHILDREN / 2));
                *bytes = *bytes + inner_bytes(children) - before;
                let right = right?;
                *bytes += inner_bytes(&right);
                let first = right.first()?.first.clone();
                let len = right.iter().map(|child| child.len).sum();
                Some(Child { first, len, node: Self::Inner(right) })
            }
        }
    }

    fn remove(&mut self, score: f64, member: &[u8], bytes: &mut usize) -> bool {
        match self {
            Self::Leaf(items) => {
                let found = items.binary_search_by(|item| item.compare(score, member));
                if let Ok(at) = found {
                    items.remove(at);
                    if items.is_empty() {
                        *bytes -= leaf_bytes(items);
                        *items = Vec::new();
                    }
                }
                found.is_ok()
            }
            Self::Inner(children) => {
                let after = |child: &Child| child.first.compare(score, member) != Ordering::Greater;
                let Some(at) = children.partition_point(after).checked_sub(1) else { return false };
                let Some(child) = children.get_mut(at) else { return false };
                if !child.node.remove(score, member, bytes) {
                    return false;
                }
                child.len -= 1;
                match child.node.first() {
                    Some(first) => child.first = first.clone(),
                    None => {
                        // An empty inner node still has its block.
                        if let Self::Inner(inner) = &child.node {
                            *bytes -= inner_bytes(inner);
                        }
                        children.remove(at);
                    }
                }
                merge(children, at, bytes);
                merge(children, at.wrapping_sub(1), bytes);
                true
            }
        }
    }

    fn visit(&self, mut rank: usize, visit: &mut impl FnMut(&Item) -> bool) -> bool {
        match self {
            Self::Leaf(items) => items.iter().skip(rank).all(visit),
            Self::Inner(children) => {
                for child in children {
                    if rank >= child.len {
                        rank -= child.len;
                    } else {
                        if !child.node.visit(rank, visit) {
                            return false;
                        }
                        rank = 0;
                    }
                }
                true
            }
        }
    }

    fn visit_backwards(&self, rank: usize, visit: &mut impl FnMut(&Item) -> bool) -> bool {
        match self {
            Self::Leaf(items) => items.iter().take(rank).rev().all(visit),
            Self::Inner(children) => {
                let mut start: usize = children.iter().map(|child| child.len).sum();
                for child in children.iter().rev() {
                    start -= child.len;
                    if rank > start && !child.node.visit_backwards(rank - start, visit) {
                        return false;
                    }
                }
                true
            }
        }
    }

    #[cfg(test)]
    fn check(&self) -> (usize, usize) {
        match self {
            Self::Leaf(items) => {
                assert!(items.windows(2).all(|pair| pair[0].is_before(&pair[1])));
                (items.len(), leaf_bytes(items))
            }
            Self::Inner(children) => {
                let mut sum = (0, inner_bytes(children));
                for child in children {
                    let first = child.node.first().unwrap();
                    let same = child.first.compare(first.score, first.member.as_slice());
                    assert_eq!(same, Ordering::Equal);
                    let (len, bytes) = child.node.check();
                    assert_eq!(len, child.len);
                    sum = (sum.0 + len, sum.1 + bytes);
                }
                sum
            }
        }
    }
}

fn insert_item(items: &mut Vec<Item>, item: Item, bytes: &mut usize) -> Option<Child> {
    let at = items.partition_point(|found| found.is_before(&item));
    let before = leaf_bytes(items);
    if items.len() < LEAF_ITEMS {
        items.insert(at, item);
        *bytes = *bytes + leaf_bytes(items) - before;
        return None;
    }
    // Members that come in order leave full leaves behind.
    let cut = if at == items.len() { at } else { LEAF_ITEMS / 2 };
    let mut right = items.split_off(cut);
    if at < cut {
        items.insert(at, item);
    } else {
        right.insert(at - cut, item);
    }
    *bytes = *bytes + leaf_bytes(items) - before + leaf_bytes(&right);
    let first = right.first()?.clone();
    Some(Child { first, len: right.len(), node: Node::Leaf(right) })
}

/// Makes one node of the child at `at` and the next if one of them is nearly empty and both
/// together leave room.
fn merge(children: &mut Vec<Child>, at: usize, bytes: &mut usize) {
    let Some([left, right]) = children.get(at..).and_then(<[Child]>::first_chunk::<2>) else {
        return;
    };
    let most = if matches!(left.node, Node::Leaf(_)) { LEAF_ITEMS } else { CHILDREN };
    let (a, b) = (left.node.size(), right.node.size());
    if a.min(b) > most / 4 || a + b > most * 3 / 4 {
        return;
    }
    let right = children.remove(at + 1);
    let Some(left) = children.get_mut(at) else { return };
    left.len += right.len;
    match (&mut left.node, right.node) {
        (Node::Leaf(items), Node::Leaf(mut more)) => {
            *bytes -= leaf_bytes(items) + leaf_bytes(&more);
            items.append(&mut more);
            *bytes += leaf_bytes(items);
        }
        (Node::Inner(items), Node::Inner(mut more)) => {
            *bytes -= inner_bytes(items) + inner_bytes(&more);
            items.append(&mut more);
            *bytes += inner_bytes(items);
        }
        // All children of a node are of one height.
        _ => {}
    }
}
