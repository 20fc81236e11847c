use super::super::frame::{Frame, HEADER_BYTES as FRAME_HEADER};
use super::super::record::put_command;
use super::*;

fn header() -> Header {
    Header { data_set: *b"0123456789abcdef", number: 7, first_sequence: 3, created_ms: 1_000 }
}

fn frame(sequence: Sequence, value: &[u8]) -> Vec<u8> {
    let mut frame = Frame::new(0, 10, false);
    frame.add(sequence, 1, 0, 5, |to| put_command(to, &[b"SET", b"k", value]));
    frame.finish().0
}

/// A segment of these frames, and where each begins.
fn segment(values: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = header().write().to_vec();
    let mut places = Vec::new();
    for (value, sequence) in values.iter().zip(3..) {
        let mut frame = frame(sequence, value);
        places.push(bytes.len() as u64);
        header().seal().apply(&mut frame, bytes.len() as u64);
        bytes.extend_from_slice(&frame);
    }
    (bytes, places)
}

fn scan(bytes: &[u8]) -> Vec<Piece> {
    Scan::new(bytes, header().seal()).map(|piece| piece.unwrap()).collect()
}

/// The sequences of the frames whose payload is whole, and the bytes of all that is not.
fn read(bytes: &[u8]) -> (Vec<Sequence>, u64) {
    let (mut whole, mut lost) = (Vec::new(), 0);
    for piece in scan(bytes) {
        match piece {
            Piece::Found { offset, header } => {
                let (from, len) = (offset as usize + FRAME_HEADER, header.payload_bytes as usize);
                match header.open(&bytes[from..from + len]) {
                    Ok(_) => whole.push(header.first_sequence),
                    Err(_) => lost += header.frame_bytes(),
                }
            }
            Piece::Damaged { range } => lost += range.end - range.start,
            Piece::Torn { from, .. } => lost += bytes.len() as u64 - from,
            Piece::Newer { .. } => panic!("no such frame was written"),
        }
    }
    (whole, lost)
}

#[test]
fn a_header_reads_back_and_says_what_is_wrong_with_it() {
    let bytes = header().write();
    assert_eq!(Header::read(&bytes), Ok(header()));
    assert_eq!(Header::read(b"REDIS0011"), Err(HeaderError::Foreign));
    assert_eq!(Header::read(b""), Err(HeaderError::CutOff));
    assert_eq!(Header::read(&bytes[..63]), Err(HeaderError::CutOff));
    for at in 0..bytes.len() {
        let mut bytes = bytes;
        bytes[at] ^= 0x10;
        let wrong = if at < 4 { HeaderError::Foreign } else { HeaderError::Damaged };
        assert_eq!(Header::read(&bytes), Err(wrong), "{at}");
    }
    let mut newer = bytes;
    newer[8] = 2;
    let crc = crc32c(&newer[8..]);
    newer[4..8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Header::read(&newer), Err(HeaderError::Version(2)));
}

#[test]
fn a_file_name_says_the_number_and_other_names_none() {
    assert_eq!(number_of(&file_name(42)), Some(42));
    assert_eq!(number_of(&file_name(u64::MAX)), Some(u64::MAX));
    for other in ["log-1.hclg", "log-.hclg", "log-0000000000000000001x.hclg", "lost+found"] {
        assert_eq!(number_of(other), None, "{other}");
    }
}

#[test]
fn frames_are_found_one_after_the_other() {
    let large = vec![b'x'; 3 * WINDOW_BYTES];
    let (bytes, places) = segment(&[b"a", &large, b"c"]);
    let found: Vec<_> = scan(&bytes)
        .into_iter()
        .map(|piece| match piece {
            Piece::Found { offset, header } => (offset, header.first_sequence),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(places[0], 3), (places[1], 4), (places[2], 5)]);
}

#[test]
fn each_flipped_byte_costs_no_more_than_its_frame() {
    let (bytes, places) = segment(&[b"first", b"second", b"third"]);
    let frame_of = |at: usize| places.iter().rposition(|place| *place <= at as u64);
    for at in HEADER_BYTES..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let (whole, lost) = read(&bytes);
            let hit = frame_of(at).unwrap() as u64 + 3;
            let expected: Vec<_> = (3..6).filter(|sequence| *sequence != hit).collect();
            assert_eq!(whole, expected, "byte {at}");
            assert!(lost > 0, "byte {at}");
        }
    }
}

#[test]
fn each_prefix_gives_the_frames_that_are_whole_and_tells_the_torn_tail() {
    let (bytes, places) = segment(&[b"first", b"second", b"third"]);
    let ends: Vec<_> = places[1..].iter().copied().chain([bytes.len() as u64]).collect();
    for len in HEADER_BYTES..bytes.len() {
        let (whole, lost) = read(&bytes[..len]);
        let expected = ends.iter().filter(|end| **end <= len as u64).count();
        assert_eq!(whole.len(), expected, "{len}");
        let is_torn = len != HEADER_BYTES && !ends.contains(&(len as u64));
        assert_eq!(lost > 0, is_torn, "{len}");
    }
}

#[test]
fn zeros_behind_the_last_frame_are_a_torn_tail_that_was_never_written() {
    let (mut bytes, _) = segment(&[b"a", b"b"]);
    let end = bytes.len() as u64;
    bytes.resize(bytes.len() + 3 * WINDOW_BYTES, 0);
    let last = scan(&bytes).pop();
    assert_eq!(last, Some(Piece::Torn { from: end, is_blank: true }));
    bytes.push(1);
    let last = scan(&bytes).pop();
    assert_eq!(last, Some(Piece::Torn { from: end, is_blank: false }));
}

#[test]
fn a_frame_is_found_again_behind_a_large_damaged_place() {
    let large = vec![b'x'; 5 * WINDOW_BYTES + 17];
    let (mut bytes, places) = segment(&[b"a", &large, b"c"]);
    let (from, end) = (places[1], places[2]);
    bytes[from as usize..end as usize].fill(0);
    assert_eq!(scan(&bytes)[1], Piece::Damaged { range: from..end });
    assert_eq!(read(&bytes).0, [3, 5]);
}

#[test]
fn a_frame_within_a_value_or_of_another_place_is_not_taken_for_one_of_the_log() {
    let forged = frame(99, b"invented");
    let (mut bytes, places) = segment(&[b"a", &forged, b"c"]);
    bytes[places[1] as usize] ^= 1;
    assert_eq!(read(&bytes).0, [3, 5]);
    // Nor is one of the same segment that stands elsewhere.
    let (bytes, places) = segment(&[b"a", b"b"]);
    let mut moved = bytes[..places[1] as usize].to_vec();
    moved.push(0);
    moved.extend_from_slice(&bytes[places[1] as usize..]);
    assert_eq!(read(&moved).0, [3]);
}

#[test]
fn a_frame_of_a_later_version_ends_the_scan_and_says_so() {
    let (mut bytes, places) = segment(&[b"a", b"b"]);
    let (place, seal) = (places[1] as usize, header().seal());
    seal.apply(&mut bytes[place..], places[1]);
    bytes[place + 3] = 2;
    seal.apply(&mut bytes[place..], places[1]);
    let last = scan(&bytes).pop();
    assert_eq!(last, Some(Piece::Newer { offset: places[1], version: 2 }));
}

proptest::proptest! {
    #[test]
    fn zeroed_blocks_never_invent_a_frame(from in 0usize..4000, len in 1usize..2000) {
        let values: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; usize::from(n) * 17]).collect();
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let (mut bytes, places) = segment(&values);
        let from = HEADER_BYTES + from % (bytes.len() - HEADER_BYTES);
        let end = (from + len).min(bytes.len());
        bytes[from..end].fill(0);
        let ends = places[1..].iter().copied().chain([bytes.len() as u64]);
        let spared = places.iter().zip(ends).zip(3..).filter(|((start, stop), _)| {
            *stop <= from as u64 || **start >= end as u64
        });
        let spared: Vec<Sequence> = spared.map(|(_, sequence)| sequence).collect();
        let (whole, _) = read(&bytes);
        // A frame whose zeroed bytes were zeros before is whole, too.
        proptest::prop_assert!(spared.iter().all(|s| whole.contains(s)));
        proptest::prop_assert!(whole.len() <= spared.len() + 20);
    }
}
