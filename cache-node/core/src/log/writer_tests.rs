use super::super::frame::HEADER_BYTES as FRAME_HEADER;
use super::super::record::put_command;
use super::super::segment::{Piece, Scan};
use super::*;
use std::collections::{BTreeMap, VecDeque};

/// Files that fail when they are told to.
#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Vec<u8>>,
    calls: Vec<&'static str>,
    /// The next calls of this name fail; a write leaves as many bytes behind.
    failing: VecDeque<(&'static str, usize)>,
}

impl Disk {
    fn call(&mut self, name: &'static str) -> Result<(), (String, usize)> {
        self.calls.push(name);
        match self.failing.front() {
            Some((failing, left)) if *failing == name => {
                let left = *left;
                self.failing.pop_front();
                Err((format!("{name} failed"), left))
            }
            _ => Ok(()),
        }
    }
}

impl Files for Disk {
    type Error = String;

    fn create(&mut self, number: u64) -> Result<(), String> {
        self.call("create").map_err(|(why, _)| why)?;
        self.files.insert(number, Vec::new());
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let done = self.call("write");
        let len = done.as_ref().map_or_else(|(_, left)| *left, |()| bytes.len());
        let file = self.files.get_mut(&number).unwrap();
        file.resize(file.len().max(offset as usize + len), 0);
        file[offset as usize..][..len].copy_from_slice(&bytes[..len]);
        done.map_err(|(why, _)| why)
    }

    fn truncate(&mut self, number: u64, len: u64) -> Result<(), String> {
        self.call("truncate").map_err(|(why, _)| why)?;
        self.files.get_mut(&number).unwrap().truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self, _: u64) -> Result<(), String> {
        self.call("sync").map_err(|(why, _)| why)
    }

    fn sync_dir(&mut self) -> Result<(), String> {
        self.call("sync_dir").map_err(|(why, _)| why)
    }
}

fn writer(segment_bytes: u64) -> Writer {
    let data_set = *b"0123456789abcdef";
    Writer::new(Options { data_set, next_number: 5, last_sequence: 10, segment_bytes })
}

fn frame(sequence: Sequence) -> Vec<Frame> {
    let mut frame = Frame::new(0, 10, false);
    frame.add(sequence, 1, 0, 5, |to| put_command(to, &[b"SET", b"k", b"v"]));
    vec![frame]
}

/// The sequences in each segment; panics over anything that is not a whole frame.
fn sequences(disk: &Disk) -> Vec<(u64, Vec<Sequence>)> {
    let read = |number: &u64, bytes: &[u8]| {
        let seal = Header::read(bytes).unwrap().seal();
        assert_eq!(seal.number, *number);
        let pieces = Scan::new(bytes, seal).map(|piece| match piece.unwrap() {
            Piece::Found { offset, header } => {
                let from = offset as usize + FRAME_HEADER;
                assert!(header.open(&bytes[from..from + header.payload_bytes as usize]).is_ok());
                header.first_sequence
            }
            other => panic!("{other:?}"),
        });
        pieces.collect()
    };
    disk.files.iter().map(|(number, bytes)| (*number, read(number, bytes))).collect()
}

#[test]
fn cycles_go_to_a_segment_until_it_is_full() {
    let (mut disk, mut writer) = (Disk::default(), writer(200));
    for sequence in 11..15 {
        writer.write(&mut disk, frame(sequence), sequence, 1).unwrap();
        writer.sync(&mut disk).unwrap();
        assert_eq!(writer.unsynced_bytes(), 0);
    }
    assert_eq!(sequences(&disk), [(5, vec![11, 12]), (6, vec![13, 14])]);
    assert_eq!(Header::read(&disk.files[&6]).unwrap().first_sequence, 13);
    assert_eq!((writer.number(), writer.written_sequence()), (Some(6), 14));
}

#[test]
fn a_segment_is_on_the_disk_with_its_name_before_anything_is_in_it() {
    let (mut disk, mut writer) = (Disk::default(), writer(200));
    writer.write(&mut disk, frame(11), 11, 1).unwrap();
    assert_eq!(disk.calls, ["create", "write", "sync", "sync_dir", "write"]);
    writer.sync(&mut disk).unwrap();
    writer.sync(&mut disk).unwrap();
    assert_eq!(disk.calls.len(), 6, "nothing new, nothing to force");
}

#[test]
fn a_write_that_fails_is_tried_again_at_the_same_place_after_a_cut() {
    for left in [0, 10, 70, 200] {
        let (mut disk, mut writer) = (Disk::default(), writer(1000));
        writer.write(&mut disk, frame(11), 11, 1).unwrap();
        disk.failing.push_back(("write", left.min(80)));
        let failed = writer.write(&mut disk, frame(12), 12, 1);
        assert_eq!(failed, Err(Trouble::Write("write failed".into())));
        assert_eq!(writer.written_sequence(), 11);
        disk.failing.push_back(("truncate", 0));
        assert!(writer.write(&mut disk, frame(13), 13, 1).is_err());
        assert!(writer.pending_bytes() > 0);
        writer.retry(&mut disk, 1).unwrap();
        assert_eq!(sequences(&disk), [(5, vec![11, 12, 13])]);
        assert!(!writer.needs_snapshots());
    }
}

#[test]
fn an_fsync_that_fails_is_never_tried_again_and_asks_for_snapshots() {
    let (mut disk, mut writer) = (Disk::default(), writer(1000));
    writer.write(&mut disk, frame(11), 11, 1).unwrap();
    disk.failing.push_back(("sync", 0));
    assert_eq!(writer.sync(&mut disk), Err(Trouble::Sync("sync failed".into())));
    let syncs = |disk: &Disk| disk.calls.iter().filter(|call| **call == "sync").count();
    let before = syncs(&disk);
    assert_eq!(writer.sync(&mut disk), Ok(false));
    assert_eq!(syncs(&disk), before);
    assert!(writer.needs_snapshots());
    writer.write(&mut disk, frame(12), 12, 1).unwrap();
    assert_eq!(sequences(&disk), [(5, vec![11]), (6, vec![12])]);
    assert!(writer.needs_snapshots());
    assert_eq!(writer.sync(&mut disk), Ok(false), "on the disk, but what was before is not");
    writer.snapshots_are_taken();
    assert_eq!(writer.sync(&mut disk), Ok(true));
    assert!(!writer.needs_snapshots());
}

#[test]
fn a_segment_that_cannot_be_made_loses_nothing() {
    for failing in ["create", "write", "sync", "sync_dir"] {
        let (mut disk, mut writer) = (Disk::default(), writer(1000));
        disk.failing.push_back((failing, 0));
        assert!(matches!(writer.write(&mut disk, frame(11), 11, 1), Err(Trouble::Write(_))));
        writer.write(&mut disk, frame(12), 12, 1).unwrap();
        assert_eq!(sequences(&disk).pop().unwrap().1, [11, 12], "{failing}");
        assert!(!writer.needs_snapshots());
    }
}

#[test]
fn what_was_cut_is_forced_to_the_disk_before_the_next_segment() {
    let (mut disk, mut writer) = (Disk::default(), writer(1000));
    writer.write(&mut disk, frame(11), 11, 1).unwrap();
    writer.sync(&mut disk).unwrap();
    disk.failing.push_back(("write", 50));
    assert!(writer.write(&mut disk, frame(12), 12, 1).is_err());
    writer.close(&mut disk).unwrap();
    assert_eq!(disk.calls[disk.calls.len() - 2..], ["truncate", "sync"]);
    writer.retry(&mut disk, 1).unwrap();
    assert_eq!(sequences(&disk), [(5, vec![11]), (6, vec![12])]);
}
