use super::*;

fn error(directory: &Path) -> String {
    match Disk::open(directory, 9) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    {
        let (disk, member) = Disk::open(directory.path(), 7).unwrap();
        assert_eq!(member, 7);
        let append = (1..=5).map(|i| (i, vec![i as u8])).collect();
        disk.write(Batch { append, ..Batch::default() }).await.unwrap();
        let batch = Batch {
            put: vec![(Key::Vote, b"v".to_vec())],
            truncate_from: Some(5),
            purge_to: Some(1),
            ..Batch::default()
        };
        disk.write(batch).await.unwrap();
    }
    let (disk, member) = Disk::open(directory.path(), 8).unwrap();
    assert_eq!(member, 7);
    assert_eq!(disk.get(Key::Vote).unwrap(), Some(b"v".to_vec()));
    assert_eq!(disk.get(Key::Snapshot).unwrap(), None);
    assert_eq!(disk.log().unwrap(), [(2, vec![2]), (3, vec![3]), (4, vec![4])]);
}

#[test]
fn a_directory_is_used_by_one_process_only() {
    let directory = tempfile::tempdir().unwrap();
    let _open = Disk::open(directory.path(), 7).unwrap();
    assert!(error(directory.path()).contains("another process uses it"));
}

#[test]
fn s6_damaged_foreign_and_lost_files_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    drop(Disk::open(directory.path(), 7).unwrap());
    let (path, member) = (directory.path().join("raft.redb"), directory.path().join("member"));
    let good = fs::read(&path).unwrap();

    fs::write(&path, b"something else").unwrap();
    assert!(error(directory.path()).contains("raft.redb: it cannot be opened"));
    fs::remove_file(&path).unwrap();
    assert!(error(directory.path()).contains("raft.redb: it is missing"));
    fs::write(&path, b"").unwrap();
    assert!(error(directory.path()).contains("raft.redb: it is missing"));

    fs::write(&path, &good).unwrap();
    fs::write(&member, format!("{MEMBER_FORMAT}\n{:016x}\n", 8)).unwrap();
    assert!(error(directory.path()).contains("belongs to member 0000000000000007"));
    fs::write(&member, "hypercache member 2\n").unwrap();
    assert!(error(directory.path()).contains("member: 'hypercache member 2' is not"));
    fs::write(&member, "x").unwrap();
    assert!(error(directory.path()).contains("member: it is no file of HyperCache"));
    fs::remove_file(&member).unwrap();
    assert_eq!(Disk::open(directory.path(), 9).unwrap().1, 7, "raft.redb knows");
}

#[test]
fn s6_a_newer_or_foreign_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let other: TableDefinition<&str, &[u8]> = TableDefinition::new("other");
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(other).unwrap();
    write.commit().unwrap();
    drop(database);
    assert!(error(directory.path()).contains("it is no file of HyperCache"));
    fs::remove_file(&path).unwrap();
    drop(Disk::open(directory.path(), 7).unwrap());
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert("format", &b"hypercache raft 3"[..]).unwrap();
    write.commit().unwrap();
    drop(database);
    assert!(error(directory.path()).contains("another version of HyperCache"));
}

/// A small file system, unmounted at the end; `None` where that needs to be root.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(directory.path());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(directory))
    }

    /// All that is left of it is taken.
    fn fill(&self, name: &str) {
        let mut file = fs::File::create(self.0.path().join(name)).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_the_room_that_is_kept_is_used_and_then_it_is_waited_for() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: mounting a small file system needs to be root");
        return;
    };
    let directory = small.0.path();
    let (disk, _) = Disk::open(directory, 7).unwrap();
    let entry = |index: u64| (index, vec![b'x'; 1 << 16]);
    let append = |index| Batch { append: vec![entry(index)], ..Batch::default() };
    let room = directory.join("room");
    assert!(room.exists());
    small.fill("first");
    // More than the file has free, and less than is kept.
    for index in 1..=8 {
        disk.write(append(index)).await.unwrap();
    }
    assert!(!room.exists(), "it was needed");
    small.fill("second");
    let (other, more) = (disk.clone(), append(9));
    let waits = tokio::spawn(async move { other.write(more).await });
    let until = Instant::now() + Duration::from_secs(20);
    // What failed is closed until it is tried again.
    while disk.database.lock().is_some() {
        assert!(Instant::now() < until, "it found room");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!waits.is_finished());
    fs::remove_file(directory.join("first")).unwrap();
    waits.await.unwrap().unwrap();
    let log = disk.log().unwrap();
    assert!(log.iter().map(|(index, _)| *index).eq(1..=9), "nothing is lost");
}
