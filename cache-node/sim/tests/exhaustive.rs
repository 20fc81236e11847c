//! A short script, and a crash at every one of its disk operations: at each, every part of what was not
//! forced to the disk may be there, as far as that can be counted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use hypercache_core::store::{Durability, Fsync, Mode, StoreNumber, StorePolicy};
use hypercache_sim::choice::{Dice, Every};
use hypercache_sim::disk::{Disk, Faults};
use hypercache_sim::member::{Content, Done, Member, Start};
use hypercache_sim::model::Model;

const NOW_MS: u64 = 1_700_000_000_000;
/// So many ways are looked at of what a crash leaves; more are taken by chance.
const MOST_WAYS: usize = 150;

fn policies(fsync: Fsync) -> Vec<StorePolicy> {
    let policy = |name: &str, number, mode| {
        let durability = Durability { fsync, ..Durability::of(mode) };
        StorePolicy { durability, ..StorePolicy::new(name, number) }
    };
    vec![policy("default", 0, Mode::Aof), policy("other", 1, Mode::AofSnapshot)]
}

fn start(fsync: Fsync) -> Start {
    // Without fsync what may be lost is what is in one segment.
    let segment_bytes = if fsync == Fsync::Never { 5_000 } else { 300 };
    Start { policies: policies(fsync), seed: 7, now_ms: NOW_MS, segment_bytes, serves: true }
}

/// One who writes, and what has to be there.
struct Client<'m> {
    member: &'m Member,
    model: &'m mut Model,
}

impl Client<'_> {
    fn run(&mut self, changes: &[(StoreNumber, &str, Option<&str>)]) {
        let words = |key: &str, value: Option<&str>| match value {
            Some(value) => vec![b"SET".to_vec(), key.into(), value.into()],
            None => vec![b"DEL".to_vec(), key.into()],
        };
        let commands: Vec<_> =
            changes.iter().map(|(store, key, value)| (*store, words(key, *value))).collect();
        let Done::Done(ticket) = self.member.transact(&commands) else { return };
        let batch = (changes.len() > 1).then(|| self.model.batch());
        for (store, key, value) in changes {
            let bytes = value.map(|value| value.as_bytes().to_vec());
            let content = bytes.map(|bytes| Content { bytes, expires_at_ms: 0 });
            self.model.change(*store, key.as_bytes(), content, Some(ticket), batch);
        }
    }

    fn look(&mut self) {
        if !self.member.disk.is_dead() {
            self.model.durable(|ticket| self.member.journal().is_durable(ticket));
        }
    }

    fn cycle(&mut self) {
        self.member.cycle();
        self.look();
    }

    fn snapshot(&mut self, store: StoreNumber) {
        let before = self.model.index();
        if self.member.snapshot(store, |_| {}).is_ok() && !self.member.disk.is_dead() {
            self.model.in_snapshot(store, before);
        }
        self.look();
    }
}

/// What is done: sets, deletes, batches over slots and stores, segments that are full, snapshots of both
/// stores twice, and what they make needless.
fn script(member: &Member, model: &mut Model, has_snapshots: bool) {
    let mut client = Client { member, model };
    client.run(&[(0, "a", Some("1"))]);
    client.cycle();
    client.run(&[(0, "a", Some("2")), (0, "b", Some("3")), (1, "a", Some("4"))]);
    client.run(&[(1, "c", Some("5"))]);
    client.cycle();
    client.run(&[(0, "a", None)]);
    client.run(&[(0, "b", Some("6"))]);
    client.cycle();
    if has_snapshots {
        client.snapshot(0);
    }
    client.run(&[(0, "c", Some("7")), (1, "a", None)]);
    client.cycle();
    if has_snapshots {
        client.snapshot(1);
    }
    client.run(&[(0, "b", None), (1, "b", Some("8"))]);
    client.cycle();
    if has_snapshots {
        client.snapshot(0);
        client.snapshot(1);
    }
    client.run(&[(0, "a", Some("9"))]);
    client.cycle();
    if has_snapshots {
        member.sync();
        client.look();
    }
}

/// Recovers from every way in which a crash may leave a disk, and checks it. How many those were.
fn check_all(crashed: &Disk, model: &Model, fsync: Fsync, lacks: bool, what: &str) -> usize {
    crashed.die();
    let (mut every, mut ways) = (Every::default(), 0);
    let mut dice = Dice::new(1);
    loop {
        let is_over = ways >= MOST_WAYS;
        let disk = match is_over {
            false => crashed.after_crash(&mut every, 1),
            true => crashed.after_crash(&mut dice, 1),
        };
        ways += 1;
        let member = Member::start(disk, &start(fsync));
        let member = member.unwrap_or_else(|wrong| panic!("{what}, way {ways}: {wrong}"));
        let checked = model.clone().check(&member, &[0, 1], lacks, NOW_MS);
        checked.unwrap_or_else(|wrong| panic!("{what}, way {ways}: {wrong}"));
        if is_over && ways > MOST_WAYS + MOST_WAYS / 5 || !is_over && !every.next_way() {
            return ways;
        }
    }
}

fn crash_everywhere(fsync: Fsync, has_snapshots: bool) -> (u64, usize) {
    let mut ways = 0;
    for operation in 0.. {
        let (disk, mut model) = (Disk::new(3), Model::default());
        disk.die_after(operation);
        let lacks = match Member::start(disk.clone(), &start(fsync)) {
            Ok(member) => {
                script(&member, &mut model, has_snapshots);
                member.standing.to_regain().is_some()
            }
            Err(_) => false,
        };
        let is_over = !disk.is_dead();
        ways +=
            check_all(&disk, &model, fsync, lacks, &format!("{fsync:?}, operation {operation}"));
        if is_over {
            return (operation, ways);
        }
    }
    (0, 0)
}

#[test]
fn l13_with_fsync_always_a_crash_at_any_operation_costs_nothing_that_was_acknowledged() {
    for has_snapshots in [true, false] {
        let (operations, ways) = crash_everywhere(Fsync::Always, has_snapshots);
        println!("{operations} operations, {ways} ways");
        assert!(operations > 25 && ways > 100, "{operations} operations, {ways} ways: too few");
    }
}

#[test]
fn without_fsync_a_crash_at_any_operation_leaves_what_once_was_and_whole_batches() {
    for has_snapshots in [true, false] {
        let (operations, ways) = crash_everywhere(Fsync::Never, has_snapshots);
        println!("{operations} operations, {ways} ways");
        assert!(operations > 15 && ways > 200, "{operations} operations, {ways} ways: too few");
    }
}

#[test]
fn l15_nothing_comes_back_when_any_one_operation_fails_before_the_crash() {
    let operations = {
        let (disk, mut model) = (Disk::new(3), Model::default());
        let member = Member::start(disk.clone(), &start(Fsync::Always)).unwrap();
        script(&member, &mut model, true);
        disk.operations()
    };
    for operation in 0..operations {
        let (disk, mut model) = (Disk::new(operation), Model::default());
        disk.fail_after(operation, Faults { writes: 1, syncs: 1 });
        let Ok(member) = Member::start(disk.clone(), &start(Fsync::Always)) else { continue };
        script(&member, &mut model, true);
        let lacks = member.standing.to_regain().is_some();
        check_all(&disk, &model, Fsync::Always, lacks, &format!("operation {operation} fails"));
    }
}

#[test]
fn what_is_recovered_is_recovered_again_wherever_recovery_is_cut_short() {
    let (disk, mut model) = (Disk::new(3), Model::default());
    let member = Member::start(disk.clone(), &start(Fsync::Never)).unwrap();
    let mut client = Client { member: &member, model: &mut model };
    for round in 0..6 {
        let value = format!("{round}");
        client.run(&[(0, "a", Some(&value)), (1, "b", Some(&value))]);
        client.run(&[(0, "c", Some(&value))]);
        client.cycle();
    }
    disk.die();
    for seed in 0..20 {
        let torn = disk.after_crash(&mut Dice::new(seed), seed);
        for operation in 0.. {
            let copy = torn.copy();
            copy.die_after(operation);
            let ended = Member::start(copy.clone(), &start(Fsync::Never)).is_ok();
            let is_over = ended && !copy.is_dead();
            check_all(&copy, &model, Fsync::Never, false, &format!("seed {seed}, {operation}"));
            if is_over {
                break;
            }
        }
    }
}
