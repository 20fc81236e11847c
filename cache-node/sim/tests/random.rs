//! Members on disks that fail and forget, as seeds say.
//!
//! `SIM_SEEDS` says how many seeds, `SIM_FROM` the first of them; `SIM_SEED` one to be replayed
//! and printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "the environment says how long the test is")]

mod common;

use hypercache_sim::run::{Options, Ran, run};

const SEEDS: u64 = 200;
const OPTIONS: Options = Options { lives: 4, steps: 120, faults: true, prints: false };

#[test]
fn what_is_durable_is_there_after_any_crash_and_nothing_else_is() {
    let (seeds, replayed) = (common::seeds(SEEDS), common::replayed());
    let mut all = Ran::default();
    let mut wrong = Vec::new();
    for seed in seeds.clone() {
        match run(seed, Options { prints: replayed.is_some(), ..OPTIONS }) {
            Ok(ran) => {
                all.writes += ran.writes;
                all.crashes += ran.crashes;
                all.crashes_in_recovery += ran.crashes_in_recovery;
                all.snapshots += ran.snapshots;
                all.losses += ran.losses;
            }
            Err(what) => wrong.push(what),
        }
    }
    println!("{seeds:?}: {all:?}");
    for what in wrong.iter().take(10) {
        println!("{what}");
    }
    assert!(
        wrong.is_empty(),
        "{} seeds of {seeds:?} are wrong: SIM_SEED=… replays one",
        wrong.len()
    );
}

/// Seeds that found something, and what.
const FOUND: [(u64, &str); 6] = [
    (
        101_556,
        "a snapshot from before a change of stores had the sequence from which on they are new",
    ),
    (
        101_654,
        "a store that was off while the list of stores could not be written came back as it was",
    ),
    (102_895, "the same, of a store with snapshots"),
    (202_198, "what an fsync lost of a store that was logged until just before was in no snapshot"),
    (204_493, "a snapshot of nobody had the sequence from which on a store was new"),
    (
        205_862,
        "a segment's header of which a try had left three bytes was taken for a foreign file",
    ),
];

#[test]
fn what_seeds_once_found_is_mended() {
    for (seed, what) in FOUND {
        run(seed, OPTIONS).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
    }
}

#[test]
fn the_same_seed_does_the_same_again() {
    for seed in 1..6 {
        assert_eq!(run(seed, OPTIONS).unwrap(), run(seed, OPTIONS).unwrap());
    }
}
