//! What is missing is told, what stands twice is done once, and what says whose data it is is believed only
//! if it is whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use hypercache_core::log::directory::{Directory, Folder};
use hypercache_core::log::{catalog, data_set, segment};
use hypercache_core::store::{Durability, Fsync, Mode, StorePolicy};
use hypercache_sim::choice::{Choice, Dice};
use hypercache_sim::disk::{Disk, Faults};
use hypercache_sim::member::{Member, Start};

fn start(mode: Mode) -> Start {
    let durability = Durability { fsync: Fsync::Always, ..Durability::of(mode) };
    let policies = vec![StorePolicy { durability, ..StorePolicy::new("default", 0) }];
    Start { policies, seed: 7, now_ms: 1_700_000_000_000, segment_bytes: 200, serves: true }
}

fn begin(disk: &Disk) -> Member {
    Member::start(disk.clone(), &start(Mode::Aof)).unwrap()
}

/// What is on the disk after a crash.
fn crash(disk: &Disk) -> Disk {
    disk.die();
    disk.after_crash(&mut Dice::new(1), 1)
}

fn push(member: &Member, count: usize) {
    for index in 0..count {
        member.run(0, &[b"RPUSH", b"list", index.to_string().as_bytes()]);
        member.sync();
    }
}

fn list(member: &Member) -> String {
    let contents = member.contents(0);
    contents
        .get(&b"list"[..])
        .map_or(String::new(), |it| String::from_utf8(it.bytes.clone()).unwrap().replace('\n', " "))
}

fn segments(disk: &Disk) -> Vec<String> {
    disk.names(Folder::Log).unwrap()
}

#[test]
fn what_retention_removed_is_not_told_as_missing() {
    let disk = Disk::new(1);
    let member = begin(&disk);
    for _ in 0..3 {
        push(&member, 4);
        member.snapshot(0, |_| {}).unwrap();
    }
    push(&member, 1);
    assert!(segment::number_of(&segments(&disk)[0]) > Some(1), "{:?}", segments(&disk));
    for _ in 0..3 {
        let disk = crash(&member.disk);
        let again = begin(&disk);
        assert_eq!((again.report.damaged_frames, list(&again)), (0, list(&member)));
        push(&again, 1);
    }
}

#[test]
fn a_first_segment_that_is_gone_is_told() {
    let disk = Disk::new(1);
    push(&begin(&disk), 9);
    let disk = crash(&disk);
    disk.remove(Folder::Log, &segment::file_name(1)).unwrap();
    let member = begin(&disk);
    assert_eq!(member.report.damaged_frames, 1);
    let told = member.report.damages.join(", ");
    assert!(told.contains("the log begins with it") && told.contains("is missing"), "{told}");
}

#[test]
fn whole_frames_that_are_gone_at_the_end_of_an_older_segment_are_told() {
    let disk = Disk::new(1);
    let member = begin(&disk);
    push(&member, 1);
    for index in 1..31 {
        member.run(0, &[b"RPUSH", b"list", index.to_string().as_bytes()]);
    }
    member.sync();
    push(&member, 2);
    let whole = crash(&disk);
    let name = segment::file_name(1);
    let content = whole.content(Folder::Log, &name).unwrap();
    // The second frame of two.
    let second = content.windows(3).rposition(|bytes| bytes == b"HCF").unwrap();
    whole.put(Folder::Log, &name, &content[..second]);
    let member = begin(&whole);
    assert_eq!(member.report.damaged_frames, 1);
    let told = member.report.damages.join(", ");
    assert!(told.contains("30 records are missing at its end"), "{told}");
    // And once it is in snapshots, it is not missed any more.
    member.snapshot(0, |_| {}).unwrap();
    let again = begin(&crash(&member.disk));
    assert_eq!((again.report.damaged_frames, list(&again)), (0, list(&member)));
}

#[test]
fn a_segment_in_the_middle_that_is_gone_is_told() {
    let disk = Disk::new(1);
    push(&begin(&disk), 9);
    let disk = crash(&disk);
    disk.remove(Folder::Log, &segment::file_name(2)).unwrap();
    let member = begin(&disk);
    assert_eq!(member.report.damaged_frames, 1);
    let told = member.report.damages.join(", ");
    assert!(told.contains("00002.hclg: missing, up to"), "{told}");
}

#[test]
fn a_frame_that_stands_twice_is_done_once() {
    let mut twice = 0;
    for seed in 0..400 {
        let disk = Disk::new(seed);
        let member = begin(&disk);
        push(&member, 1);
        // A write that fails may have written all; cut away, and that is lost as well.
        member.run(0, &[b"RPUSH", b"list", b"last"]);
        disk.set_faults(Faults { writes: 2, syncs: 2 });
        for _ in 0..6 {
            member.cycle();
        }
        disk.set_faults(Faults::default());
        member.regain(|_, _| {});
        member.sync();
        member.cycle();
        let lost = member.standing.lost.load(std::sync::atomic::Ordering::Relaxed);
        twice += usize::from(lost > 0);
        let again = begin(&crash(&disk));
        assert_eq!(list(&again), "list 0 last", "seed {seed}: {:?}", again.report);
    }
    assert!(twice > 20, "{twice}: the test is about less than it says");
}

#[test]
fn s6_data_that_nobody_knows_the_owner_of_is_refused_and_never_an_empty_start() {
    let disk = Disk::new(1);
    push(&begin(&disk), 5);
    let disk = crash(&disk);
    let mut dice = Dice::new(9);
    for name in [data_set::NAME, catalog::NAME] {
        let good = disk.content(Folder::Root, name).unwrap();
        for _ in 0..1_500 {
            let mut bytes = good.clone();
            for _ in 0..1 + dice.pick(3) {
                let (at, to) = (dice.pick(bytes.len()), dice.pick(bytes.len() + 1));
                match dice.pick(5) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at..to.max(at)].fill(0),
                    2 => bytes.insert(at, dice.pick(256) as u8),
                    3 => bytes[at] = dice.pick(256) as u8,
                    _ => bytes[at] ^= 1 << dice.pick(8),
                }
            }
            if bytes == good {
                continue;
            }
            let damaged = disk.copy();
            damaged.put(Folder::Root, name, &bytes);
            let refused = Member::start(damaged, &start(Mode::Aof)).map(|_| ()).unwrap_err();
            assert_eq!(refused.name, name, "{refused}: {}", bytes.escape_ascii());
        }
        let without = disk.copy();
        without.remove(Folder::Root, name).unwrap();
        let refused = Member::start(without, &start(Mode::Aof)).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("it is missing, although"), "{refused}");
    }
}

#[test]
fn a_log_without_a_segment_is_refused_where_it_alone_had_the_data_and_told_where_snapshots_have_it()
{
    for mode in [Mode::Aof, Mode::AofSnapshot] {
        let disk = Disk::new(1);
        let member = Member::start(disk.clone(), &start(mode)).unwrap();
        push(&member, 3);
        if mode.has_snapshots() {
            member.snapshot(0, |_| {}).unwrap();
        }
        let disk = crash(&disk);
        segments(&disk).iter().for_each(|name| disk.remove(Folder::Log, name).unwrap());
        match Member::start(disk, &start(mode)) {
            Err(refused) => {
                let text = refused.to_string();
                assert_eq!(mode, Mode::Aof, "{text}");
                assert!(
                    text.contains("no segment is there") && text.contains("'default'"),
                    "{text}"
                );
            }
            Ok(member) => {
                assert_eq!((mode, list(&member).as_str()), (Mode::AofSnapshot, "list 0 1 2"));
                assert!(member.report.damages.concat().contains("no segment is there"));
            }
        }
    }
}

#[test]
fn a_log_in_which_nothing_was_written_yet_begins_empty_again() {
    let disk = Disk::new(1);
    drop(begin(&disk));
    let again = begin(&crash(&disk));
    assert_eq!((again.report.damaged_frames, list(&again)), (0, String::new()));
}

#[test]
fn one_record_that_is_gone_at_the_end_of_an_older_segment_is_told_and_a_change_of_stores_is_not() {
    let disk = Disk::new(1);
    let member = begin(&disk);
    let other =
        StorePolicy { durability: Durability::of(Mode::Aof), ..StorePolicy::new("other", 1) };
    for number in 0..4 {
        push(&member, 2);
        let mut policies = start(Mode::Aof).policies;
        policies.extend((number % 2 == 0).then(|| other.clone()));
        member.set_policies(&policies).unwrap();
    }
    push(&member, 2);
    let disk = crash(&disk);
    let names = segments(&disk);
    assert!(names.len() > 2, "{names:?}");
    let content = disk.content(Folder::Log, &names[0]).unwrap();
    assert_eq!(begin(&disk).report.damages, [""; 0]);
    let last = content.windows(3).rposition(|bytes| bytes == b"HCF").unwrap();
    let disk = crash(&member.disk);
    disk.put(Folder::Log, &names[0], &content[..last]);
    let told = begin(&disk).report.damages.join(", ");
    assert!(told.contains("1 records are missing at its end"), "{told}");
}
