//! Each mistake is found, in each world in which it is looked for.
//!
//! `SIM_SEEDS` and `SIM_FROM`: which seeds are tried for each, in the place of those that are known to find it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

mod common;

use hypercache_core::mutation::Mutation;
use hypercache_sim::replicas::{Broken, Options, run};

/// So many seeds are tried until a mistake is found, from the one on that once found it.
const SEEDS: u64 = 400;
const OPTIONS: Options = Options { steps: 1500, prints: false, shape: None, broken: None };

/// Mistakes that take more than a few seeds in a world, and one that found each.
const FOUND_AT: [(Broken, &str, u64); 0] = [];

#[test]
fn each_mistake_is_found() {
    let mut missed = Vec::new();
    for broken in Broken::all() {
        for (world, shape) in broken.shapes() {
            let known = FOUND_AT.iter().find(|(of, at, _)| of == &broken && at == world);
            let first = known.map_or(1, |(_, _, seed)| *seed);
            let mut seeds = common::seeds_from(first, SEEDS);
            let options = Options { shape: Some(*shape), broken: Some(broken), ..OPTIONS };
            match seeds.find_map(|seed| run(seed, options).err()) {
                Some(what) => println!("{broken:?}, {world}: {what}"),
                None => missed.push((broken, *world)),
            }
        }
    }
    assert!(missed.is_empty(), "nothing showed of {missed:?}");
}
