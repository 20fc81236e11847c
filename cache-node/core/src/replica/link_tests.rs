use super::*;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn link() -> Link {
    let link = Link::new(0, 2, Waker::noop().clone());
    link.open(7);
    link
}

fn put(link: &Link, session: u64, bytes: usize) -> (Ticket, bool) {
    link.append(session, 0, 1, 0, |out| out.resize(out.len() + bytes, 0))
}

#[test]
fn what_is_not_confirmed_is_there_to_be_sent_again_and_what_is_is_not() {
    let link = link();
    let mut numbers = Vec::new();
    for _ in 0..3 {
        let (ticket, is_in) = put(&link, 7, 10);
        let cycle = link.take().unwrap();
        assert!(is_in && cycle.number == ticket.cycle() && cycle.frames.len() == 1);
        numbers.push(cycle.number);
    }
    assert!(link.take().is_none());
    let again = |after| -> Vec<u64> {
        link.unconfirmed_after(after).iter().map(|cycle| cycle.number).collect()
    };
    assert_eq!(again(0), numbers);
    assert_eq!(again(numbers[0]), numbers[1..]);
    link.confirm(6, numbers[2]);
    assert_eq!(again(0), numbers, "of another session");
    link.confirm(7, numbers[1]);
    assert_eq!(again(0), numbers[2..]);
    let confirmed = numbers.iter().map(|n| link.has_confirmed(Ticket::of_cycle(*n)));
    assert_eq!(confirmed.collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn records_count_until_they_are_confirmed_and_those_that_are_dropped_do_not() {
    let link = link();
    let batch = |records: u16| {
        let mut batch = Batch::default();
        (0..records).for_each(|_| batch.add(0, 1, |out| out.push(0)));
        batch
    };
    put(&link, 7, 10);
    assert!(link.append_batch(7, 1, &batch(3), 0).1);
    let first = link.take().unwrap();
    put(&link, 7, 10);
    let second = link.take().unwrap();
    put(&link, 7, 10);
    assert_eq!(link.records(), 6);
    link.confirm(6, second.number);
    assert_eq!(link.records(), 6, "of another session");
    link.confirm(7, first.number);
    assert_eq!(link.records(), 2);
    link.confirm(7, second.number);
    assert_eq!(link.records(), 1);
    link.open(8);
    assert_eq!(link.records(), 0);
    assert!(!put(&link, 7, 10).1);
    put(&link, 8, 10);
    assert_eq!(link.records(), 1);
    let third = link.take().unwrap();
    link.confirm(8, third.number);
    assert_eq!(link.records(), 0);
    put(&link, 8, 10);
    link.close(8);
    assert_eq!(link.records(), 0);
}

#[test]
fn a_new_session_forgets_what_the_last_one_had_and_takes_nothing_for_it() {
    let link = link();
    let (old, _) = put(&link, 7, 10);
    link.take().unwrap();
    put(&link, 7, 10);
    link.open(8);
    assert_eq!(link.bytes(), 0);
    assert!(link.take().is_none() && link.unconfirmed_after(0).is_empty());
    assert!(!put(&link, 7, 10).1);
    let (new, is_in) = put(&link, 8, 10);
    assert!(is_in && new > old);
    let cycle = link.take().unwrap();
    assert_eq!((cycle.session, cycle.number), (8, new.cycle()));
    link.close(7);
    assert_eq!(link.session(), 8);
    link.close(8);
    assert!(!put(&link, 8, 10).1 && link.take().is_none());
}

#[test]
fn no_more_is_taken_than_fits_the_window_and_the_sender_is_woken_when_it_does() {
    let woken = Arc::new(Woken::default());
    let link = Link::new(0, 2, Arc::clone(&woken).into());
    link.open(7);
    put(&link, 7, WINDOW_BYTES);
    let first = link.take().unwrap();
    put(&link, 7, 1);
    assert!(link.take().is_none());
    let before = woken.0.load(Relaxed);
    link.confirm(7, first.number);
    assert!(woken.0.load(Relaxed) > before);
    assert!(link.take().is_some());
}

#[test]
fn writers_wait_for_room_and_a_link_that_keeps_too_much_gives_its_session_up() {
    let link = link();
    assert!(link.has_room());
    put(&link, 7, 17 << 20);
    assert!(!link.has_room());
    let woken = Arc::new(Woken::default());
    assert!(link.poll_room(&Arc::clone(&woken).into()).is_pending());
    link.take().unwrap();
    assert!(link.has_room() && woken.0.load(Relaxed) == 1);
    while link.session() != 0 {
        put(&link, 7, 64 << 20);
        assert!(link.bytes() <= MOST_BYTES + (64 << 20));
    }
    assert_eq!(link.bytes(), 0);
    assert!(link.has_room());
}
