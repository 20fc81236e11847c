use super::*;

fn header() -> Header {
    Header {
        data_set: *b"0123456789abcdef",
        store: 3,
        name: "sessions".into(),
        created_ms: 1_000,
        first_sequence: 40,
    }
}

fn block(slot: Slot, piece: u32, is_last: bool) -> Block {
    Block { slot, piece, is_last, sequence: 50 + u64::from(slot), keys: 2 }
}

fn file(compresses: bool) -> Vec<u8> {
    let (mut writer, begin) = Writer::new(&header(), compresses);
    let mut bytes = begin.to_vec();
    bytes.extend(writer.block(block(1, 0, true), b"one one one one one one one one one one one"));
    bytes.extend(writer.block(block(2, 0, false), b"void"));
    bytes.extend(writer.block(block(2, 0, false), b"two"));
    bytes.extend(writer.block(block(2, 1, true), b"two again"));
    bytes.extend(writer.block(Block { keys: 0, ..block(7, 0, true) }, b""));
    assert_eq!(writer.file_bytes(), bytes.len() as u64);
    bytes.extend(writer.finish(60, 2_000));
    bytes
}

/// What the whole blocks of a file hold; `None` for one that is damaged.
fn read(bytes: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let snapshot = Snapshot::open(bytes).ok()?;
    Some(snapshot.entries.iter().map(|entry| entry.read(bytes).ok()).collect())
}

#[test]
fn a_snapshot_reads_back() {
    for compresses in [false, true] {
        let bytes = file(compresses);
        let snapshot = Snapshot::open(&bytes[..]).unwrap();
        assert_eq!(snapshot.header, header());
        assert_eq!((snapshot.last_sequence, snapshot.ended_ms, snapshot.keys), (60, 2_000, 6));
        assert!(!snapshot.has_damaged_header);
        let pieces: Vec<_> = snapshot.entries.iter().map(|entry| entry.block).collect();
        assert_eq!(pieces[..3], [block(1, 0, true), block(2, 0, false), block(2, 1, true)]);
        assert_eq!(snapshot.sequence_of(2), 52);
        assert_eq!(snapshot.sequence_of(7), 57);
        assert_eq!(snapshot.sequence_of(9), 40);
        let blocks: Vec<Vec<u8>> = read(&bytes).unwrap().into_iter().map(Option::unwrap).collect();
        assert_eq!(blocks[1..], [b"two".to_vec(), b"two again".to_vec(), Vec::new()]);
    }
    assert!(file(true).len() < file(false).len());
}

#[test]
fn a_file_name_says_store_and_sequence_and_other_names_nothing() {
    assert_eq!(parse_file_name(&file_name(3, 77)), Some((3, 77)));
    for other in ["snapshot-00003-77.hcsn", "snapshot-00003-00000000000000000077.hcsn.tmp", "x"] {
        assert_eq!(parse_file_name(other), None);
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_no_snapshot() {
    let bytes = file(true);
    for len in 0..bytes.len() {
        assert!(Snapshot::open(&bytes[..len]).is_err(), "{len}");
    }
    let foreign = Snapshot::open(&b"REDIS0011 and more"[..]);
    assert!(matches!(foreign, Err(OpenError::Header(HeaderError::Foreign))), "{foreign:?}");
}

#[test]
fn each_flipped_byte_costs_a_block_or_is_told_of_and_never_changes_what_is_read() {
    for compresses in [false, true] {
        let bytes = file(compresses);
        let whole = read(&bytes).unwrap();
        let blocks = Snapshot::open(&bytes[..]).unwrap().entries;
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let Some(read) = read(&bytes) else {
                    assert!(at as u64 >= blocks.last().unwrap().range.end, "{at}");
                    continue;
                };
                let snapshot = Snapshot::open(&bytes[..]).unwrap();
                assert_eq!(snapshot.has_damaged_header, at < HEADER_BYTES, "{at}");
                for ((read, whole), entry) in read.iter().zip(&whole).zip(&blocks) {
                    let expected = whole.as_ref().filter(|_| !entry.range.contains(&(at as u64)));
                    assert_eq!(read.as_ref(), expected, "{at}");
                }
            }
        }
    }
}

#[test]
fn a_later_version_is_refused_and_not_taken_for_damage() {
    let mut bytes = file(false);
    bytes[8] = 9;
    let crc = crc32c(&bytes[8..HEADER_BYTES]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let opened = Snapshot::open(&bytes[..]);
    assert!(matches!(opened, Err(OpenError::Header(HeaderError::Version(9)))), "{opened:?}");
}

proptest::proptest! {
    #[test]
    fn zeroed_blocks_of_a_file_never_change_what_is_read(from in 0usize..700, len in 1usize..300) {
        let mut bytes = file(true);
        let whole = read(&bytes).unwrap();
        let from = from % bytes.len();
        let end = (from + len).min(bytes.len());
        bytes[from..end].fill(0);
        if let Some(read) = read(&bytes) {
            for (read, whole) in read.iter().zip(&whole) {
                proptest::prop_assert!(read.is_none() || read == whole);
            }
        }
    }
}

#[test]
fn a_snapshot_becomes_another_data_sets_by_its_ends() {
    let bytes = file(true);
    let snapshot = Snapshot::open(&bytes[..]).unwrap();
    let (begin, end) = snapshot.ends_for([9; 16]);
    let mut other = bytes[..snapshot.index_at as usize].to_vec();
    other[..HEADER_BYTES].copy_from_slice(&begin);
    other.extend_from_slice(&end);
    assert_eq!(other.len(), bytes.len());
    assert_eq!(read(&other), read(&bytes));
    let of_other = Snapshot::open(&other[..]).unwrap();
    assert_eq!(of_other.header, Header { data_set: [9; 16], ..header() });
    assert_eq!(Snapshot { header: header(), ..of_other }, snapshot);
}
