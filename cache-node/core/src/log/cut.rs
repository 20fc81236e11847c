//! A log that is cut at a sequence or a time, as when it is restored to a point in the past: batches stay
//! whole or go. Frames of different lanes overlap in their sequences, so each frame is looked at.

use super::frame::{Frame, FrameHeader};
use super::record::Record;
use super::{Batch, Sequence};

/// What of a frame stays.
#[derive(Debug)]
pub enum Cut {
    /// All of it.
    Whole,
    /// Nothing.
    Nothing,
    /// The batches that are in this frame.
    Part(Frame),
}

/// What of a frame stays when all batches go that have a record after sequence `last`. `raw` is its opened
/// payload. `None`: what is in it makes no sense.
pub fn cut(header: &FrameHeader, raw: &[u8], last: Sequence) -> Option<Cut> {
    let mut highest = 0;
    for record in header.records(raw) {
        highest = highest.max(record?.sequence);
    }
    if highest <= last {
        return Some(Cut::Whole);
    }
    if header.first_sequence > last {
        return Some(Cut::Nothing);
    }
    let mut frame = Frame::new(header.store, u32::MAX, header.is_compressed);
    let mut batch = Open::default();
    for record in header.records(raw) {
        batch.add(&record?, last, &mut frame)?;
    }
    Some(if frame.is_empty() { Cut::Nothing } else { Cut::Part(frame) })
}

/// The lowest sequence of a frame's records that were done after a time, in Unix milliseconds. `raw` is
/// its opened payload. `Err`: what is in it makes no sense.
///
/// # Errors
/// See above.
pub fn first_after(
    header: &FrameHeader,
    raw: &[u8],
    time_ms: u64,
) -> Result<Option<Sequence>, super::frame::Damage> {
    let mut first = None;
    for record in header.records(raw) {
        let record = record.ok_or(super::frame::Damage::Content)?;
        if record.time_ms > time_ms {
            first =
                Some(first.map_or(record.sequence, |first: Sequence| first.min(record.sequence)));
        }
    }
    Ok(first)
}

/// The batch that is being read.
#[derive(Default)]
struct Open {
    batch: Batch,
    first_sequence: Sequence,
    time_ms: u64,
}

impl Open {
    /// Adds a record; one that ends its batch puts it into `frame` if it stays. `None`: sequences are
    /// missing within the batch.
    fn add(&mut self, record: &Record<'_>, last: Sequence, frame: &mut Frame) -> Option<()> {
        if self.batch.is_empty() {
            (self.first_sequence, self.time_ms) = (record.sequence, record.time_ms);
        }
        let expected = self.first_sequence.checked_add(self.batch.len() as u64)?;
        (record.sequence == expected).then_some(())?;
        self.batch.add(record.store, record.slot, |to| to.extend_from_slice(record.commands));
        if !record.continues {
            if record.sequence <= last {
                frame.add_batch(self.first_sequence, self.time_ms, &self.batch);
            }
            self.batch.clear();
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{HEADER_BYTES, SEVERAL};
    use super::*;

    type Seen = Vec<(Sequence, u64, u16, u16, bool, Vec<u8>)>;

    fn seen(header: &FrameHeader, raw: &[u8]) -> Seen {
        let records = header.records(raw).map(|record| record.unwrap());
        let all = records
            .map(|r| (r.sequence, r.time_ms, r.store, r.slot, r.continues, r.commands.to_vec()));
        all.collect()
    }

    fn opened(frame: Frame) -> (FrameHeader, Vec<u8>) {
        let (bytes, header) = frame.finish();
        let raw = header.open(&bytes[HEADER_BYTES..]).unwrap().into_owned();
        (header, raw)
    }

    /// Batches of one, three and one records, with a gap that records of other lanes have.
    fn example(compresses: bool) -> (FrameHeader, Vec<u8>) {
        let mut frame = Frame::new(SEVERAL, u32::MAX, compresses);
        frame.add(10, 1_000, 1, 7, |to| to.extend_from_slice(b"one"));
        let mut batch = Batch::default();
        for (store, slot) in [(1, 8), (2, 9), (1, 9)] {
            batch.add(store, slot, |to| to.extend_from_slice(&[b'x'; 200]));
        }
        frame.add_batch(12, 1_001, &batch);
        frame.add(20, 1_005, 3, 7, |to| to.extend_from_slice(b"last"));
        opened(frame)
    }

    #[test]
    fn a_batch_stays_whole_or_goes_wherever_the_cut_is() {
        for compresses in [false, true] {
            let (header, raw) = example(compresses);
            let all = seen(&header, &raw);
            for last in 0..=25 {
                let expected = match last {
                    0..10 => 0,
                    10..14 => 1,
                    14..20 => 4,
                    _ => 5,
                };
                let stays = match cut(&header, &raw, last).unwrap() {
                    Cut::Whole => all.clone(),
                    Cut::Nothing => Vec::new(),
                    Cut::Part(frame) => {
                        let (header, raw) = opened(frame);
                        seen(&header, &raw)
                    }
                };
                assert_eq!(stays, all[..expected], "cut at {last}");
            }
        }
    }

    #[test]
    fn the_first_record_after_a_time_is_found() {
        let (header, raw) = example(false);
        let first = |time_ms| first_after(&header, &raw, time_ms).unwrap();
        assert_eq!(first(999), Some(10));
        assert_eq!(first(1_000), Some(12));
        assert_eq!(first(1_004), Some(20));
        assert_eq!(first(1_005), None);
    }

    #[test]
    fn s6_a_payload_that_makes_no_sense_is_told() {
        let (header, raw) = example(false);
        for end in 0..raw.len() {
            assert!(cut(&header, &raw[..end], 12).is_none(), "{end}");
            assert!(first_after(&header, &raw[..end], 0).is_err(), "{end}");
        }
    }
}
