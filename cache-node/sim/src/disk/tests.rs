#![cfg(test)]

use super::*;
use crate::choice::Every;
use hypercache_core::log::directory::{self, File, read_whole, write_whole};
use std::collections::BTreeSet;

/// What may be in a file after a crash; `None`: it is not there.
fn after(disk: &Disk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    let (mut every, mut found) = (Every::default(), BTreeSet::new());
    loop {
        let disk = disk.after_crash(&mut every, 0);
        found.insert(read_whole(&disk, Folder::Root, name).unwrap());
        if !every.next_way() {
            return found;
        }
    }
}

#[test]
fn what_is_not_forced_may_be_there_or_not_each_by_itself() {
    let disk = Disk::new(1);
    let mut file = disk.create(Folder::Root, "a").unwrap();
    assert_eq!(after(&disk, "a"), BTreeSet::from([None, Some(vec![])]));
    disk.sync(Folder::Root).unwrap();
    file.write_at(0, b"one").unwrap();
    file.sync().unwrap();
    file.write_at(3, b"two").unwrap();
    file.write_at(6, b"six").unwrap();
    let found = after(&disk, "a");
    for may in [&b"one"[..], b"onetwo", b"onetwosix", b"one\0\0\0six", b"one\0\0\0"] {
        assert!(found.contains(&Some(may.to_vec())), "{may:?}");
    }
    assert!(found.iter().all(|found| found.as_ref().is_some_and(|it| it.starts_with(b"one"))));
    file.sync().unwrap();
    assert_eq!(after(&disk, "a"), BTreeSet::from([Some(b"onetwosix".to_vec())]));
}

#[test]
fn a_sector_is_there_as_a_whole_or_not_at_all() {
    let disk = Disk::new(1);
    let mut file = disk.create(Folder::Root, "a").unwrap();
    disk.sync(Folder::Root).unwrap();
    file.write_at(0, &[1; 1200]).unwrap();
    let found = after(&disk, "a");
    assert!(found.len() > 3);
    for content in found.into_iter().flatten() {
        for sector in content.chunks(SECTOR_BYTES) {
            assert!(sector.windows(2).all(|two| two[0] == two[1]));
        }
    }
}

#[test]
fn what_a_failed_fsync_lost_stays_lost_though_the_next_one_is_well() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = Disk::new(seed);
        let mut file = disk.create(Folder::Root, "a").unwrap();
        disk.sync(Folder::Root).unwrap();
        file.write_at(0, &[1; 900]).unwrap();
        disk.set_faults(Faults { writes: 0, syncs: 1 });
        assert_eq!(file.sync(), Err(Error::Failed));
        disk.set_faults(Faults::default());
        file.write_at(900, b"more").unwrap();
        assert_eq!(file.sync(), Ok(()));
        assert_eq!(disk.content(Folder::Root, "a").map(|it| it.len()), Some(904));
        let found = after(&disk, "a");
        assert_eq!(found.len(), 1);
        let content = found.into_iter().next().flatten().unwrap();
        assert!(content.ends_with(b"more"));
        lost += usize::from(!content.starts_with(&[1; 900]));
    }
    assert!(lost > 10);
}

#[test]
fn a_file_that_is_written_as_a_whole_is_the_old_one_or_the_new_one() {
    let disk = Disk::new(1);
    write_whole(&disk, Folder::Root, "a", b"old").unwrap();
    let operations = {
        let copy = disk.copy();
        let before = copy.operations();
        write_whole(&copy, Folder::Root, "a", b"new").unwrap();
        copy.operations() - before
    };
    for dies_after in 0..operations {
        let copy = disk.copy();
        copy.die_after(dies_after);
        assert!(write_whole(&copy, Folder::Root, "a", b"new").is_err());
        let found = after(&copy, "a");
        let may = BTreeSet::from([Some(b"old".to_vec()), Some(b"new".to_vec())]);
        assert!(found.is_subset(&may), "{dies_after}: {found:?}");
    }
    let copy = disk.copy();
    write_whole(&copy, Folder::Root, "a", b"new").unwrap();
    assert_eq!(after(&copy, "a"), BTreeSet::from([Some(b"new".to_vec())]));
    assert!(directory::remove_drafts(&copy).unwrap().is_empty());
}
