//! Histories: clients of a real library against real members that are killed, paused, cut off, filled
//! up and scaled meanwhile. A checker says whether what the clients were told could have come from one
//! copy of each key.
//!
//! `HISTORY_SECONDS` says for how long faults happen in each run, `HISTORY_ROUNDS` how many runs there
//! are, `HISTORY_SEED` which seed is the first. `HISTORY_HYPERCACHE` names another build of the server: an
//! optimised one does ten times as much in the same time.
//! Faults and clients are as the seed says; when exactly things meet is the machine's affair, so a seed
//! may have to be run several times to show the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod checker;
mod client;
mod faults;
mod nodes;
mod op;
mod run;
mod scale;
mod steps;
mod world;

use faults::Kind;
use run::Plan;
use scale::{Step, Who};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// One cluster at a time: members that get no turn for long are taken for dead.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

/// A seed that was not there before, unless one is asked for.
fn first_seed() -> u64 {
    let fresh = || SystemTime::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_millis() as u64);
    number("HISTORY_SEED").unwrap_or_else(fresh)
}

fn rounds(net: world::Net, plan: impl Fn(u64, Duration) -> Plan) {
    let length = Duration::from_secs(number("HISTORY_SECONDS").unwrap_or(12));
    let first = first_seed();
    for round in 0..number("HISTORY_ROUNDS").unwrap_or(1) {
        run::run(net, &plan(first + round, length));
    }
}

/// Runs with so many copies of two stores in memory that have to be linearizable, and a third one that need not.
fn in_memory(test: &str, copies: u8, faults: &'static [Kind]) {
    let _alone = alone();
    world::within(test, |net| {
        rounds(net, |seed, length| Plan {
            seed,
            length,
            yaml: format!(
                "stores:\n  \
                 q: {{number: 1, replication_factor: {copies}, acks: quorum, key_prefixes: ['q:']}}\n  \
                 a: {{number: 2, replication_factor: {copies}, acks: all, key_prefixes: ['a:']}}\n  \
                 o: {{number: 3, replication_factor: 2, acks: one, key_prefixes: ['o:']}}\n"
            ),
            strict: &["q:", "a:"],
            loose: "o:",
            faults,
        });
    });
}

#[test]
#[ignore = "with an optimised server, in scripts/test"]
fn stores_in_memory_are_linearizable_while_members_die_one_at_a_time_stop_and_are_cut_off() {
    let name =
        "stores_in_memory_are_linearizable_while_members_die_one_at_a_time_stop_and_are_cut_off";
    let faults = &[
        Kind::CarefulKill,
        Kind::Pause,
        Kind::Minority,
        Kind::CarefulKill,
        Kind::OneWay,
        Kind::Scale,
        Kind::Copies,
    ];
    in_memory(name, 3, faults);
}

#[test]
#[ignore = "with an optimised server, in scripts/test"]
fn five_copies_in_memory_are_linearizable_while_two_members_die_at_once() {
    let name = "five_copies_in_memory_are_linearizable_while_two_members_die_at_once";
    let faults = &[
        Kind::CarefulKillTwo,
        Kind::Pause,
        Kind::Copies,
        Kind::CarefulKillTwo,
        Kind::Minority,
        Kind::OneWay,
    ];
    in_memory(name, 5, faults);
}

#[test]
#[ignore = "with an optimised server, in scripts/test"]
fn stores_on_disk_are_linearizable_whoever_is_killed_stopped_cut_off_or_has_a_full_disk() {
    let name =
        "stores_on_disk_are_linearizable_whoever_is_killed_stopped_cut_off_or_has_a_full_disk";
    let _alone = alone();
    world::within(name, |net| {
        rounds(net, |seed, length| Plan {
            seed,
            length,
            yaml: "stores:\n  \
                   q: {number: 1, replication_factor: 3, acks: quorum, key_prefixes: ['q:'], \
                       persistence: {mode: aof, fsync: always}}\n  \
                   a: {number: 2, replication_factor: 2, acks: all, key_prefixes: ['a:'], \
                       persistence: {mode: aof, fsync: always}}\n  \
                   o: {number: 3, replication_factor: 2, acks: one, key_prefixes: ['o:'], \
                       persistence: {mode: aof, fsync: periodic}}\n"
                .into(),
            strict: &["q:", "a:"],
            loose: "o:",
            faults: &[
                Kind::Kill,
                Kind::Pause,
                Kind::Minority,
                Kind::Kill,
                Kind::OneWay,
                Kind::FullDisk,
                Kind::KillAll,
                Kind::Shatter,
            ],
        });
    });
}

#[test]
fn from_three_members_to_five_and_back_no_write_is_lost_or_doubled_and_no_more_moves_than_has_to() {
    let name = "from_three_members_to_five_and_back_no_write_is_lost_or_doubled_and_no_more_moves_than_has_to";
    let _alone = alone();
    world::within(name, |net| {
        scale::run(net, first_seed(), &[(Step::Quiet, Step::Quiet)]);
    });
}

#[test]
fn members_that_come_or_go_while_one_is_killed_end_right() {
    let _alone = alone();
    world::within("members_that_come_or_go_while_one_is_killed_end_right", |net| {
        // Two of these at each run, all of them in a long one.
        let all: Vec<(Step, Step)> = [Who::Leader, Who::Mover, Who::Other]
            .into_iter()
            .flat_map(|who| [0, 10, 50, 90].map(|at| (Step::Kill(who, at), Step::Kill(who, at))))
            .collect();
        let seed = first_seed();
        let rounds = usize::try_from(number("HISTORY_ROUNDS").unwrap_or(1)).unwrap();
        let from = usize::try_from(seed).unwrap() % all.len();
        let steps: Vec<_> =
            all.iter().cycle().skip(from).step_by(5).take(rounds).copied().collect();
        scale::run(net, seed, &steps);
    });
}

#[test]
#[ignore = "with an optimised server, in scripts/test"]
fn from_three_members_to_four_and_back_with_a_kill_at_each_step_of_the_way_it_ends_right() {
    let name =
        "from_three_members_to_four_and_back_with_a_kill_at_each_step_of_the_way_it_ends_right";
    let _alone = alone();
    world::within(name, |net| {
        steps::run(net, first_seed(), number("HISTORY_ROUNDS").unwrap_or(1));
    });
}
