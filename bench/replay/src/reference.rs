//! Exact policies to compare with, over numbered keys of one size.

use std::collections::BTreeSet;

/// How many accesses of a trace hit in a cache for `capacity` keys.
pub type Policy = fn(accesses: &[u32], keys: usize, capacity: usize) -> u64;

/// The policies, by name.
pub const ALL: [(&str, Policy); 7] = [
    ("LRU", lru),
    ("LFU", lfu),
    ("SIEVE", sieve),
    ("S3-FIFO", s3_fifo),
    ("ARC", arc),
    ("LIRS", lirs),
    ("Belady", belady),
];

const NONE: u32 = u32::MAX;

/// Doubly linked lists over numbered keys; a key is in one of them at most. The front is the
/// newest.
struct Lists {
    /// The neighbours of each key: towards the front, towards the back.
    links: Vec<(u32, u32)>,
    /// The list of each key, [`NONE`] if it is in none.
    of: Vec<u8>,
    ends: Vec<(u32, u32)>,
    lens: Vec<usize>,
}

const OUT: u8 = u8::MAX;

impl Lists {
    fn new(lists: usize, keys: usize) -> Self {
        Self {
            links: vec![(NONE, NONE); keys],
            of: vec![OUT; keys],
            ends: vec![(NONE, NONE); lists],
            lens: vec![0; lists],
        }
    }

    fn remove(&mut self, key: u32) {
        let list = self.of[key as usize];
        if list == OUT {
            return;
        }
        let (newer, older) = self.links[key as usize];
        let ends = &mut self.ends[list as usize];
        if newer == NONE {
            ends.0 = older;
        } else {
            self.links[newer as usize].1 = older;
        }
        if older == NONE {
            ends.1 = newer;
        } else {
            self.links[older as usize].0 = newer;
        }
        self.of[key as usize] = OUT;
        self.lens[list as usize] -= 1;
    }

    fn push(&mut self, list: u8, key: u32) {
        self.remove(key);
        let front = self.ends[list as usize].0;
        self.links[key as usize] = (NONE, front);
        if front == NONE {
            self.ends[list as usize].1 = key;
        } else {
            self.links[front as usize].0 = key;
        }
        self.ends[list as usize].0 = key;
        self.of[key as usize] = list;
        self.lens[list as usize] += 1;
    }

    fn back(&self, list: u8) -> Option<u32> {
        Some(self.ends[list as usize].1).filter(|key| *key != NONE)
    }

    fn pop(&mut self, list: u8) -> Option<u32> {
        let key = self.back(list)?;
        self.remove(key);
        Some(key)
    }
}

fn lru(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    let mut lists = Lists::new(1, keys);
    let mut hits = 0;
    for &key in accesses {
        if lists.of[key as usize] == 0 {
            hits += 1;
        } else if lists.lens[0] >= capacity {
            lists.pop(0);
        }
        lists.push(0, key);
    }
    hits
}

/// Counts while a key is in the cache; among equals the least recently used leaves.
fn lfu(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    let mut state: Vec<Option<(u32, u32)>> = vec![None; keys];
    let mut order: BTreeSet<(u32, u32, u32)> = BTreeSet::new();
    let mut hits = 0;
    for (&key, now) in accesses.iter().zip(0u32..) {
        let count = match state[key as usize] {
            Some((count, at)) => {
                hits += 1;
                order.remove(&(count, at, key));
                count + 1
            }
            None => {
                if order.len() >= capacity
                    && let Some((_, _, gone)) = order.pop_first()
                {
                    state[gone as usize] = None;
                }
                1
            }
        };
        state[key as usize] = Some((count, now));
        order.insert((count, now, key));
    }
    hits
}

/// "SIEVE is Simpler than LRU" (Zhang, Yang, Yue, Vigfusson, Rashmi 2024).
fn sieve(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    let mut lists = Lists::new(1, keys);
    let mut visited = vec![false; keys];
    let mut hand = NONE;
    let mut hits = 0;
    for &key in accesses {
        if lists.of[key as usize] == 0 {
            hits += 1;
            visited[key as usize] = true;
            continue;
        }
        if lists.lens[0] >= capacity {
            let mut at = if hand == NONE { lists.ends[0].1 } else { hand };
            while at != NONE && visited[at as usize] {
                visited[at as usize] = false;
                let newer = lists.links[at as usize].0;
                at = if newer == NONE { lists.ends[0].1 } else { newer };
            }
            if at != NONE {
                hand = lists.links[at as usize].0;
                lists.remove(at);
            }
        }
        visited[key as usize] = false;
        lists.push(0, key);
    }
    hits
}

/// "FIFO Queues are All You Need for Cache Eviction" (Yang, Zhang, Qiu, Yue, Rashmi 2023).
fn s3_fifo(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    const SMALL: u8 = 0;
    const MAIN: u8 = 1;
    const GHOST: u8 = 2;
    let mut lists = Lists::new(3, keys);
    let mut uses = vec![0u8; keys];
    let small = (capacity / 10).max(1);
    let ghosts = capacity - small.min(capacity);
    let mut hits = 0;
    for &key in accesses {
        let list = lists.of[key as usize];
        if list == SMALL || list == MAIN {
            hits += 1;
            uses[key as usize] = (uses[key as usize] + 1).min(3);
            continue;
        }
        while lists.lens[0] + lists.lens[1] >= capacity {
            if lists.lens[0] >= small || lists.lens[1] == 0 {
                let Some(old) = lists.pop(SMALL) else { break };
                if uses[old as usize] > 1 {
                    uses[old as usize] = 0;
                    lists.push(MAIN, old);
                } else {
                    lists.push(GHOST, old);
                    if lists.lens[2] > ghosts {
                        lists.pop(GHOST);
                    }
                }
            } else if let Some(old) = lists.pop(MAIN)
                && uses[old as usize] > 0
            {
                uses[old as usize] -= 1;
                lists.push(MAIN, old);
            }
        }
        let known = lists.of[key as usize] == GHOST;
        uses[key as usize] = 0;
        lists.push(if known { MAIN } else { SMALL }, key);
    }
    hits
}

/// "ARC: A Self-Tuning, Low Overhead Replacement Cache" (Megiddo, Modha 2003).
fn arc(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    const T1: u8 = 0;
    const T2: u8 = 1;
    const B1: u8 = 2;
    const B2: u8 = 3;
    let mut lists = Lists::new(4, keys);
    let (mut target, mut hits) = (0usize, 0);
    let replace = |lists: &mut Lists, target: usize, in_b2: bool| {
        let recent = lists.lens[0];
        if recent > 0 && (recent > target || (in_b2 && recent == target)) {
            if let Some(old) = lists.pop(T1) {
                lists.push(B1, old);
            }
        } else if let Some(old) = lists.pop(T2) {
            lists.push(B2, old);
        }
    };
    for &key in accesses {
        match lists.of[key as usize] {
            T1 | T2 => {
                hits += 1;
                lists.push(T2, key);
            }
            B1 => {
                target = (target + (lists.lens[3] / lists.lens[2].max(1)).max(1)).min(capacity);
                replace(&mut lists, target, false);
                lists.push(T2, key);
            }
            B2 => {
                target = target.saturating_sub((lists.lens[2] / lists.lens[3].max(1)).max(1));
                replace(&mut lists, target, true);
                lists.push(T2, key);
            }
            _ => {
                let all: usize = lists.lens.iter().sum();
                if lists.lens[0] + lists.lens[2] >= capacity {
                    if lists.lens[0] < capacity {
                        lists.pop(B1);
                        replace(&mut lists, target, false);
                    } else {
                        lists.pop(T1);
                    }
                } else if all >= capacity {
                    if all >= 2 * capacity {
                        lists.pop(B2);
                    }
                    replace(&mut lists, target, false);
                }
                lists.push(T1, key);
            }
        }
    }
    hits
}

/// "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy" (Jiang, Zhang 2002): a
/// hundredth of the room is for keys of a high recency, and twice the room is remembered.
fn lirs(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    let mut stack = LirsStack::new(keys, capacity);
    accesses.iter().filter(|key| stack.access(**key)).count() as u64
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Unknown,
    /// Low inter-reference recency: stays.
    Low,
    /// High, and here.
    High,
    /// High, and remembered.
    Gone,
}

struct LirsStack {
    recency: Lists,
    /// The resident blocks of high recency; the back leaves first.
    queue: Lists,
    /// Blocks that are remembered, in the order in which they left.
    gone: Lists,
    blocks: Vec<Block>,
    low: usize,
    low_bound: usize,
    capacity: usize,
}

impl LirsStack {
    fn new(keys: usize, capacity: usize) -> Self {
        Self {
            recency: Lists::new(1, keys),
            queue: Lists::new(1, keys),
            gone: Lists::new(1, keys),
            blocks: vec![Block::Unknown; keys],
            low: 0,
            low_bound: capacity - (capacity / 100).max(1).min(capacity),
            capacity,
        }
    }

    fn access(&mut self, key: u32) -> bool {
        let known = self.recency.of[key as usize] != OUT;
        let block = self.blocks[key as usize];
        match block {
            Block::Low => {
                self.recency.push(0, key);
                self.prune();
                return true;
            }
            Block::High if !known => {
                self.recency.push(0, key);
                self.queue.push(0, key);
                return true;
            }
            Block::High => self.queue.remove(key),
            Block::Unknown | Block::Gone => {
                self.gone.remove(key);
                self.make_room();
            }
        }
        let low = self.low < self.low_bound || self.recency.of[key as usize] != OUT;
        self.recency.push(0, key);
        if low && self.low_bound > 0 {
            self.blocks[key as usize] = Block::Low;
            self.low += 1;
            self.demote();
        } else {
            self.blocks[key as usize] = Block::High;
            self.queue.push(0, key);
        }
        block == Block::High
    }

    /// A block of high recency leaves if all room is taken; it is remembered as long as the
    /// stack has it.
    fn make_room(&mut self) {
        if self.low + self.queue.lens[0] < self.capacity {
            return;
        }
        let Some(old) = self.queue.pop(0) else { return };
        if self.recency.of[old as usize] == OUT {
            self.blocks[old as usize] = Block::Unknown;
            return;
        }
        self.blocks[old as usize] = Block::Gone;
        self.gone.push(0, old);
        if self.gone.lens[0] > 2 * self.capacity
            && let Some(oldest) = self.gone.pop(0)
        {
            self.recency.remove(oldest);
            self.blocks[oldest as usize] = Block::Unknown;
        }
    }

    /// The bottom of the stack is no longer of low recency if there are too many.
    fn demote(&mut self) {
        self.prune();
        if self.low > self.low_bound
            && let Some(bottom) = self.recency.pop(0)
        {
            self.blocks[bottom as usize] = Block::High;
            self.queue.push(0, bottom);
            self.low -= 1;
            self.prune();
        }
    }

    /// Takes what is not of low recency from the bottom.
    fn prune(&mut self) {
        while let Some(bottom) = self.recency.back(0)
            && self.blocks[bottom as usize] != Block::Low
        {
            self.recency.remove(bottom);
            if self.blocks[bottom as usize] == Block::Gone {
                self.gone.remove(bottom);
                self.blocks[bottom as usize] = Block::Unknown;
            }
        }
    }
}

/// The bound: who is needed again last leaves, and a key that is needed later than all others
/// is not taken in ("A Study of Replacement Algorithms for a Virtual-Storage Computer", Belady
/// 1966).
fn belady(accesses: &[u32], keys: usize, capacity: usize) -> u64 {
    let mut next = vec![NONE; accesses.len()];
    let mut seen = vec![NONE; keys];
    for (at, &key) in accesses.iter().enumerate().rev() {
        next[at] = seen[key as usize];
        seen[key as usize] = at as u32;
    }
    let mut held = vec![NONE; keys];
    let mut inside = vec![false; keys];
    let mut order: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut hits = 0;
    for (&key, &again) in accesses.iter().zip(&next) {
        let index = key as usize;
        if inside[index] {
            hits += 1;
            order.remove(&(held[index], key));
        }
        inside[index] = again != NONE;
        if again == NONE {
            continue;
        }
        held[index] = again;
        order.insert((again, key));
        if order.len() > capacity
            && let Some((_, gone)) = order.pop_last()
        {
            inside[gone as usize] = false;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_do_by_hand_what_their_papers_say() {
        // With room for two: LRU keeps 2 and 1, Belady keeps 0 for its return.
        let trace = [0, 1, 2, 1, 0, 0];
        assert_eq!(lru(&trace, 3, 2), 2);
        assert_eq!(belady(&trace, 3, 2), 3);
        // 0 is used twice, so LFU gives up 1 and then 2.
        assert_eq!(lfu(&[0, 0, 1, 2, 0, 1], 3, 2), 2);
        // A loop over one more than fits: LIRS keeps all but one of its places for the same keys.
        let round = [0, 1, 2, 3, 4].repeat(10);
        assert_eq!((lru(&round, 5, 4), lirs(&round, 5, 4)), (0, 27));
    }

    #[test]
    fn none_hits_more_than_the_bound_and_all_hit_what_fits() {
        let mut random = crate::trace::Random::new(3);
        let trace: Vec<u32> =
            (0..20_000).map(|_| (random.next() % 300).min(random.next() % 300) as u32).collect();
        let distinct = trace.iter().collect::<BTreeSet<_>>().len();
        for capacity in [1, 7, 50, 150, 300] {
            let bound = belady(&trace, 300, capacity);
            for (name, policy) in ALL {
                let hits = policy(&trace, 300, capacity);
                assert!(hits <= bound, "{name} at {capacity}: {hits} over {bound}");
                if capacity == 300 {
                    assert_eq!(hits as usize, 20_000 - distinct, "{name}");
                }
            }
        }
    }
}
