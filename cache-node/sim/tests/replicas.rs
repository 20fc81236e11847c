//! Members that replicate, on a network that loses, delays and repeats, as seeds say.
//!
//! `SIM_SEEDS` says how many seeds, `SIM_FROM` the first of them; `SIM_SEED` one to be replayed and
//! printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

mod common;

use hypercache_core::mutation::Mutation;
use hypercache_sim::replicas::{Broken, Options, Ran, run};

const SEEDS: u64 = 150;
/// So many seeds are tried until a mistake is found, from the one on that once found it.
const SEEDS_A_MISTAKE: u64 = 400;
const OPTIONS: Options = Options { steps: 1500, prints: false, broken: None };

#[test]
fn what_was_answered_is_there_after_any_fail_over_and_all_members_end_up_equal() {
    let (seeds, replayed) = (common::seeds(SEEDS), common::replayed());
    let (mut all, mut wrong) = (Ran::default(), Vec::new());
    for seed in seeds.clone() {
        match run(seed, Options { prints: replayed.is_some(), ..OPTIONS }) {
            Ok(ran) => {
                all.acked += ran.acked;
                all.unknown += ran.unknown;
                all.refused += ran.refused;
                all.kills += ran.kills;
                all.promoted += ran.promoted;
                all.versions += ran.versions;
                all.moves += ran.moves;
                all.connections += ran.connections;
                all.differing += ran.differing;
            }
            Err(what) => wrong.push(what),
        }
    }
    println!("{seeds:?}: {all:?}");
    wrong.iter().take(10).for_each(|what| println!("{what}"));
    assert!(wrong.is_empty(), "{} seeds are wrong: SIM_SEED=… replays one", wrong.len());
    if replayed.is_none() && seeds.end - seeds.start >= SEEDS {
        assert!(all.kills > 100 && all.promoted > 100 && all.acked > 10_000, "{all:?}");
        assert!(all.differing > 100 && all.moves > 1000, "{all:?}");
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in 1..6 {
        assert_eq!(run(seed, OPTIONS).unwrap(), run(seed, OPTIONS).unwrap());
    }
}

/// Mistakes that take more than a few seeds, and one that found each.
const FOUND_AT: [(Broken, u64); 5] = [
    (Broken::Core(Mutation::DirtyRead), 59),
    (Broken::Core(Mutation::IgnoredEpoch), 313),
    (Broken::Core(Mutation::KeptSession), 157),
    (Broken::ServesWithoutLease, 55),
    (Broken::OlderTable, 561),
];

#[test]
fn each_mistake_is_found() {
    let mut missed = Vec::new();
    for broken in Broken::all() {
        let options = Options { broken: Some(broken), ..OPTIONS };
        let from = FOUND_AT.iter().find(|(known, _)| *known == broken).map_or(1, |(_, at)| *at);
        let mut seeds = from..from + SEEDS_A_MISTAKE;
        let found = seeds.find_map(|seed| run(seed, options).err());
        match found {
            Some(what) => println!("{broken:?}: {what}"),
            None => missed.push(broken),
        }
    }
    assert!(missed.is_empty(), "nothing showed of {missed:?}");
}
