//! Exact policies to compare with, over numbered keys of one size.

use std::collections::BTreeSet;

/// How many accesses of a trace hit in a cache for `capacity` keys.
pub type Policy = fn(accesses: &[u32], keys: usize, capacity: usize) -> u64;

/// The policies, by name.
pub const ALL: [(&str, Policy); 6] = [
    ("LRU", lru),
    ("LFU", lfu),
    ("SIEVE", sieve),
    ("S3-FIFO", s3_fifo),
    ("ARC", arc),
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
