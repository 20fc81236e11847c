//! Members that replicate, on a network that loses, delays and repeats, as seeds say.
//!
//! `SIM_SEEDS` says how many seeds, `SIM_FROM` the first of them; `SIM_SEED` one to be replayed and
//! printed. `SIM_SHAPE=narrow`, `wide` or another one with a name: all in that world.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

mod common;

use hypercache_sim::replicas::{Options, Ran, Shape, run};
use std::ops::Range;

const SEEDS: u64 = 180;
const OPTIONS: Options = Options { steps: 1500, prints: false, shape: None, broken: None };

/// Worlds and seeds that found what did not heal, or copies that were not the same.
const FOUND: [(&str, u64); 32] = [
    ("mixed", 1028),
    ("mixed", 1134),
    ("mixed", 1144),
    ("mixed", 1241),
    ("mixed", 1258),
    ("mixed", 1563),
    ("mixed", 1776),
    ("clocks", 1038),
    ("clocks", 1839),
    ("clocks", 1870),
    ("clocks", 1874),
    ("clocks", 1900),
    ("clocks", 1918),
    ("clocks", 2037),
    ("wide", 700_041),
    ("disks", 58),
    ("disks", 2527),
    ("disks", 2805),
    ("disks", 3249),
    ("changing", 1_200_276),
    ("changing", 1_200_389),
    ("changing", 1_200_584),
    ("changing", 1_500_995),
    ("changing", 1_502_276),
    ("changing", 3_001_202),
    ("changing", 3_001_559),
    ("changing", 3_001_981),
    ("changing", 3_004_267),
    ("changing", 3_004_489),
    ("changing", 667),
    ("single", 2_000_698),
    ("single", 2_001_460),
];

/// The world that the environment asks for.
fn shape() -> Option<Shape> {
    let asked = std::env::var("SIM_SHAPE").ok()?;
    let named = Shape::NAMED.into_iter().find(|(name, _)| *name == asked);
    Some(named.unwrap_or_else(|| panic!("SIM_SHAPE names one of {:?}", Shape::NAMED)).1)
}

fn run_all(seeds: Range<u64>) -> Ran {
    run_in(shape(), seeds)
}

fn run_in(shape: Option<Shape>, seeds: Range<u64>) -> Ran {
    let options = Options { prints: common::replayed().is_some(), shape, ..OPTIONS };
    let (mut all, mut wrong) = (Ran::default(), Vec::new());
    for seed in seeds.clone() {
        match run(seed, options) {
            Ok(ran) => all.add(&ran),
            Err(what) => wrong.push(what),
        }
    }
    println!("{seeds:?}: {all:?}");
    wrong.iter().take(10).for_each(|what| println!("{what}"));
    assert!(wrong.is_empty(), "{} seeds are wrong: SIM_SEED=… replays one", wrong.len());
    all
}

#[test]
fn what_was_answered_is_there_after_any_fail_over_and_all_members_end_up_equal() {
    let seeds = common::seeds(SEEDS);
    let all = run_all(seeds.clone());
    if shape().is_none() && seeds.end - seeds.start >= SEEDS {
        assert!(all.kills > 100 && all.promoted > 100 && all.acked > 10_000, "{all:?}");
        assert!(all.differing > 30 && all.moves > 600, "{all:?}");
    }
}

#[test]
fn what_holds_for_seeds_that_are_known_holds_for_others() {
    if common::replayed().is_none() {
        run_all(common::fresh_seeds(SEEDS / 3));
    }
}

#[test]
fn what_holds_in_the_worlds_that_seeds_choose_from_holds_in_those_with_one_thing_more() {
    if shape().is_some() || common::replayed().is_some() {
        return;
    }
    for (name, shape) in Shape::added() {
        // Each start reads a disk.
        let seeds = if shape.disks { SEEDS / 20 } else { SEEDS / 6 };
        println!("{name}:");
        run_in(Some(*shape), common::seeds(seeds));
    }
}

#[test]
fn seeds_that_once_found_something_find_nothing() {
    for (shape, seed) in FOUND {
        let named = Shape::NAMED.iter().find(|(name, _)| *name == shape);
        let options = Options { shape: Some(named.unwrap().1), ..OPTIONS };
        run(seed, options).unwrap();
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    let worlds = Shape::added().iter().map(|(_, shape)| Some(*shape));
    for (seed, shape) in (1..7).map(|seed| (seed, None)).chain((1..).zip(worlds)) {
        let options = Options { shape, ..OPTIONS };
        assert_eq!(run(seed, options).unwrap(), run(seed, options).unwrap());
    }
}
