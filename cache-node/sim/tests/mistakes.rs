//! Each mistake is found, in each world in which it is looked for.
//!
//! `SIM_SEEDS` and `SIM_FROM`: of these seeds it is counted how many find each, in each world; `SIM_MISTAKE`: how
//! those are called of which that is asked; `SIM_SHAPE`: in which world.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

mod common;

use hypercache_core::mutation::Mutation;
use hypercache_sim::replicas::{Broken, Options, Shape, run};

/// So many seeds are tried until a mistake is found, from the one on that once found it. It is the first one, until
/// something makes all seeds do other things.
const SEEDS: u64 = 2000;
const OPTIONS: Options = Options { steps: 1500, prints: false, shape: None, broken: None };

/// Mistakes that take more than a few seeds in a world, and one that found each.
const FOUND_AT: [(Broken, &str, u64); 28] = [
    (Broken::Core(Mutation::DirtyRead), "narrow", 124),
    (Broken::Core(Mutation::DirtyRead), "wide", 299),
    (Broken::Core(Mutation::IgnoredEpoch), "impatient", 49),
    (Broken::Core(Mutation::IgnoredEpoch), "wide", 256),
    (Broken::Core(Mutation::KeptSession), "narrow", 339),
    (Broken::Core(Mutation::KeptSession), "wide", 468),
    (Broken::Core(Mutation::ExpiryAtReplica), "narrow", 79),
    (Broken::Core(Mutation::HastyMark), "wide", 735),
    (Broken::ServesWithoutLease, "narrow", 12),
    (Broken::AnyOwner, "wide", 43),
    (Broken::ServesUnknown, "wide", 42),
    (Broken::LeavesAlone, "impatient", 1371),
    (Broken::OlderTable, "wide", 134),
    (Broken::OlderTable, "restless", 49),
    (Broken::RemovedQuietly, "wide", 27),
    (Broken::RemovedQuietly, "restless", 12),
    (Broken::Core(Mutation::AnyMajority), "mixed", 110),
    (Broken::Core(Mutation::IgnoredCoverage), "changing", 31),
    (Broken::Core(Mutation::UncountedLevel), "mixed", 275),
    (Broken::Core(Mutation::HastyFactor), "changing", 667),
    (Broken::Core(Mutation::UnforcedRead), "disks", 58),
    (Broken::Core(Mutation::CountedOut), "disks", 3249),
    (Broken::Core(Mutation::YieldsToFew), "disks", 2805),
    (Broken::UnforcedPosition, "disks", 2411),
    (Broken::UnforcedConfirmed, "disks", 5111),
    (Broken::LeaseByHearing, "one-way", 226),
    (Broken::WaitsNoLonger, "clocks", 824),
    (Broken::KeptOverSnapshot, "snapshots", 302),
];

fn find(broken: Broken, shape: Shape, seed: u64) -> Option<String> {
    run(seed, Options { shape: Some(shape), broken: Some(broken), ..OPTIONS }).err()
}

#[test]
fn each_mistake_is_found() {
    if common::is_long() {
        return;
    }
    let mut missed = Vec::new();
    for broken in Broken::all() {
        for world in broken.worlds() {
            let shape = Shape::NAMED.iter().find(|(name, _)| name == world).unwrap().1;
            let known = FOUND_AT.iter().find(|(of, at, _)| of == &broken && at == world);
            let first = known.map_or(1, |(_, _, seed)| *seed);
            let mut seeds = first..first + SEEDS;
            match seeds.find_map(|seed| find(broken, shape, seed)) {
                Some(what) => println!("{broken:?}, {world}: {what}"),
                None => missed.push((broken, *world)),
            }
        }
    }
    assert!(missed.is_empty(), "nothing showed of {missed:?}");
}

#[test]
fn how_many_seeds_find_each_mistake() {
    if !common::is_long() {
        return;
    }
    let asked = std::env::var("SIM_MISTAKE").unwrap_or_default();
    let place = std::env::var("SIM_SHAPE").unwrap_or_default();
    let is_asked = |broken: &Broken| format!("{broken:?}").contains(&asked);
    for broken in Broken::all().filter(is_asked) {
        for (world, shape) in Shape::NAMED.iter().filter(|(world, _)| world.contains(&place)) {
            let seeds = common::seeds(SEEDS);
            let find = |seed: &u64| find(broken, *shape, *seed).is_some();
            let found: Vec<u64> = seeds.clone().filter(find).collect();
            let (count, first) = (found.len(), found.first());
            println!("{broken:?}, {world}: {count} of {seeds:?}, the first is {first:?}");
        }
    }
}
