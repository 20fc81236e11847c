use super::super::record::put_command;
use super::*;
use crate::store::Mode;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn started() -> (Journal, Arc<Count>) {
    let journal = Journal::default();
    let count = Arc::new(Count::default());
    journal.start(0, Arc::clone(&count).into());
    (journal, count)
}

fn aof() -> Durability {
    Durability::of(Mode::Aof)
}

fn set(journal: &Journal, slot: Slot, word: &[u8]) -> Ticket {
    journal.append_one(0, &aof(), slot, 1_000, |to| put_command(to, &[b"SET", word, word]))
}

fn sequences(taken: Taken) -> Vec<Vec<Sequence>> {
    taken
        .frames
        .into_iter()
        .map(|frame| {
            let (bytes, header) = frame.finish();
            assert_eq!(FrameHeader::read(&bytes), Ok(header.clone()));
            let raw = header.open(&bytes[super::super::frame::HEADER_BYTES..]).unwrap();
            header.records(&raw).map(|record| record.unwrap().sequence).collect()
        })
        .collect()
}

use super::super::FrameHeader;

#[test]
fn a_lane_s_records_are_one_frame_and_the_writer_is_told_once() {
    let (journal, woken) = started();
    set(&journal, 1, b"a");
    set(&journal, 2000, b"b");
    set(&journal, 1, b"c");
    assert_eq!(woken.0.load(Relaxed), 1);
    assert_eq!(sequences(journal.take()), [vec![1, 3], vec![2]]);
    assert!(journal.take().frames.is_empty());
}

#[test]
fn records_are_counted_from_the_start_on() {
    let (journal, count) = (Journal::default(), Arc::new(Count::default()));
    journal.start(1_000, count.into());
    assert_eq!(journal.appended(), 0);
    set(&journal, 1, b"a");
    set(&journal, 1, b"b");
    assert_eq!((journal.appended(), journal.last_sequence()), (2, 1_002));
}

#[test]
fn a_batch_over_lanes_and_stores_is_one_frame_between_what_was_before_and_after() {
    let (journal, _) = started();
    set(&journal, 1, b"a");
    set(&journal, 16000, b"b");
    let mut batch = Batch::default();
    batch.add(0, 1, |to| put_command(to, &[b"DEL", b"a"]));
    batch.add(3, 16000, |to| put_command(to, &[b"DEL", b"b"]));
    journal.append(&batch, 1_001, |_| aof());
    set(&journal, 16000, b"c");
    set(&journal, 1, b"d");
    assert_eq!(sequences(journal.take()), [vec![1], vec![2], vec![3, 4], vec![5], vec![6]]);
}

#[test]
fn the_records_of_a_batch_say_in_a_shared_frame_that_they_belong_together() {
    let (journal, _) = started();
    set(&journal, 1, b"a");
    let mut batch = Batch::default();
    (1..4).for_each(|slot| batch.add(0, slot, |to| put_command(to, &[b"DEL", b"a"])));
    journal.append(&batch, 1_001, |_| aof());
    set(&journal, 2, b"b");
    let (bytes, header) = journal.take().frames.remove(0).finish();
    let raw = header.open(&bytes[super::super::frame::HEADER_BYTES..]).unwrap();
    let read = header.records(&raw).map(Option::unwrap);
    let read: Vec<_> = read.map(|record| (record.slot, record.continues)).collect();
    assert_eq!(read, [(1, false), (1, true), (2, true), (3, false), (2, false)]);
}

fn poll(wait: &mut UntilDurable<'_>, waker: &Waker) -> Poll<Result<(), Failed>> {
    std::pin::Pin::new(wait).poll(&mut std::task::Context::from_waker(waker))
}

#[test]
fn who_waits_is_woken_when_his_cycle_is_durable_and_not_before() {
    let (journal, _) = started();
    let first = journal.until_durable(set(&journal, 1, b"a"));
    let taken = journal.take();
    let second = journal.until_durable(set(&journal, 1, b"b"));
    let (mut first, mut second) = (first, second);
    let (one, two) = (Arc::new(Count::default()), Arc::new(Count::default()));
    assert!(poll(&mut first, &Arc::clone(&one).into()).is_pending());
    assert!(poll(&mut second, &Arc::clone(&two).into()).is_pending());
    journal.durable(taken.cycle);
    assert_eq!((one.0.load(Relaxed), two.0.load(Relaxed)), (1, 0));
    assert_eq!(poll(&mut first, Waker::noop()), Poll::Ready(Ok(())));
    journal.fail(Failed("disk full".into()));
    assert_eq!(two.0.load(Relaxed), 1);
    let told = poll(&mut second, Waker::noop());
    assert_eq!(told, Poll::Ready(Err(Failed("disk full".into()))));
    journal.heal();
    journal.durable(journal.take().cycle);
    assert_eq!(poll(&mut second, Waker::noop()), Poll::Ready(Ok(())));
}

#[test]
fn who_gives_up_waiting_leaves_nothing_behind_and_who_looks_again_waits_once() {
    let (journal, _) = started();
    let ticket = set(&journal, 1, b"a");
    let mut stays = journal.until_durable(ticket);
    let woken = Arc::new(Count::default());
    for waker in [Waker::noop(), &Arc::clone(&woken).into()] {
        assert!(poll(&mut stays, waker).is_pending());
    }
    for _ in 0..100 {
        let mut gives_up = journal.until_durable(ticket);
        assert!(poll(&mut gives_up, Waker::noop()).is_pending());
        assert_eq!(journal.awaiting(), 2);
    }
    assert_eq!(journal.awaiting(), 1);
    journal.durable(journal.take().cycle);
    assert_eq!((journal.awaiting(), woken.0.load(Relaxed)), (0, 1));
}

#[test]
fn where_nothing_waits_to_be_written_the_ticket_is_that_of_what_was_before() {
    let (journal, _) = started();
    assert!(journal.is_durable(journal.ticket()), "nothing was written yet");
    let first = set(&journal, 1, b"a");
    assert_eq!(journal.ticket(), first);
    assert!(!journal.is_durable(first));
    let taken = journal.take();
    assert_eq!(journal.ticket(), first);
    journal.durable(taken.cycle);
    assert!(journal.is_durable(journal.ticket()), "all that was written is durable");
    set(&journal, 1, b"b");
    assert!(!journal.is_durable(journal.ticket()));
}

#[test]
fn a_full_journal_makes_writers_wait_until_it_is_taken() {
    let (journal, _) = started();
    let large = vec![b'x'; FULL_BYTES];
    assert!(journal.poll_room(Waker::noop()).is_ready());
    set(&journal, 1, &large);
    let woken = Arc::new(Count::default());
    assert!(journal.poll_room(&Arc::clone(&woken).into()).is_pending());
    journal.take();
    assert_eq!(woken.0.load(Relaxed), 1);
    assert!(journal.poll_room(Waker::noop()).is_ready());
}

#[test]
fn while_nothing_can_be_written_what_waits_is_bounded_and_it_shows() {
    let (journal, _) = started();
    journal.fail(Failed("disk full".into()));
    let large = vec![b'x'; FULL_BYTES];
    for _ in 0..4 {
        set(&journal, 1, &large);
    }
    assert!(journal.take_lost());
    assert!(!journal.take_lost());
    let bytes: usize = journal.take().frames.iter().map(Frame::len).sum();
    assert!(bytes < 5 * FULL_BYTES, "{bytes}");
}

#[test]
fn a_sequence_that_is_skipped_is_nobodys_and_the_writer_hears_of_it() {
    let journal = Journal::default();
    assert_eq!(journal.skip(1_000), 0, "nothing is written yet");
    journal.start(10, Waker::noop().clone());
    assert_eq!(journal.skip(1_000), 11, "and the log is still empty");
    assert_eq!((journal.pending(), journal.appended()), ((false, true), 0));
    journal.append_one(1, &Durability::default(), 0, 1_000, |to| to.push(b'x'));
    assert_eq!(journal.skip(1_000), 13);
    assert_eq!((journal.last_sequence(), journal.appended()), (13, 1));
    let taken = journal.take();
    let stores: Vec<_> = taken.frames.iter().map(|of| (of.store(), of.first_sequence())).collect();
    assert_eq!((taken.last_sequence, stores), (13, vec![(1, 12), (NOBODY, 13)]));
}
