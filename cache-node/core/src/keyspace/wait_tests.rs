//! The waiting queue: who is served, in which order, and that nothing is lost or given twice.

use super::*;
use crate::command::{Call, lookup};
use crate::keyspace::Options;
use crate::resp::{Protocol, Writer};
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

fn space() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn words(text: &str) -> Vec<&[u8]> {
    text.split(' ').map(str::as_bytes).collect()
}

fn run(space: &Keyspace, text: &str) -> String {
    let args = words(text);
    let mut out = Vec::new();
    let spec = lookup(&args).unwrap();
    space.execute(spec, 0, &args, 1000, &mut Writer::new(&mut out, Protocol::Resp2)).unwrap();
    String::from_utf8(out).unwrap()
}

fn begin(space: &Keyspace, text: &str, ticket: Option<u64>) -> Result<Arc<Wait>, String> {
    let args = words(text);
    let mut out = Vec::new();
    let spec = lookup(&args).unwrap();
    let call = Call { spec, store: 0, protocol: Protocol::Resp2, args: &args };
    match space.execute_or_wait(call, ticket, 1000, &mut out).unwrap() {
        Some(wait) => {
            assert!(out.is_empty());
            Ok(wait)
        }
        None => Err(String::from_utf8(out).unwrap()),
    }
}

fn wait(space: &Keyspace, text: &str) -> Arc<Wait> {
    begin(space, text, None).unwrap()
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn served(wait: &Wait) -> Option<String> {
    match wait.poll(&Arc::new(Woken::default()).into()) {
        Poll::Ready(Ended::Served { reply, .. }) => Some(String::from_utf8(reply).unwrap()),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

fn is_idle(space: &Keyspace) -> bool {
    let idle = |slot| !space.is_waited(slot);
    space.waits_bytes() == 0 && (0..16384).all(idle)
}

fn popped(key: &str, element: &str) -> Option<String> {
    let (k, e) = (key.len(), element.len());
    Some(format!("*2\r\n${k}\r\n{key}\r\n${e}\r\n{element}\r\n"))
}

#[test]
fn those_who_wait_are_served_in_their_order_and_the_pusher_sees_the_length_before() {
    let space = space();
    let (first, second, third) =
        (wait(&space, "BLPOP k 0"), wait(&space, "BRPOP k 0"), wait(&space, "BLPOP k 0"));
    assert_eq!(run(&space, "RPUSH k a b"), ":2\r\n");
    assert_eq!((served(&first), served(&second)), (popped("k", "a"), popped("k", "b")));
    assert_eq!(served(&third), None);
    assert_eq!(run(&space, "EXISTS k"), ":0\r\n");
    assert_eq!(run(&space, "RPUSH k c d"), ":2\r\n");
    assert_eq!(served(&third), popped("k", "c"));
    assert_eq!(run(&space, "LRANGE k 0 -1"), "*1\r\n$1\r\nd\r\n");
    for wait in [first, second, third] {
        space.forget_wait(&wait);
    }
    assert!(is_idle(&space));
}

#[test]
fn one_who_waits_for_several_keys_gets_one_element_of_the_first_that_has_any() {
    let space = space();
    let both = wait(&space, "BLPOP {k}1 {k}2 {k}1 0");
    let other = wait(&space, "BLPOP {k}2 0");
    run(&space, "RPUSH {k}2 x y");
    assert_eq!((served(&both), served(&other)), (popped("{k}2", "x"), popped("{k}2", "y")));
    run(&space, "RPUSH {k}1 z");
    assert_eq!(run(&space, "LLEN {k}1"), ":1\r\n");
    assert_eq!(begin(&space, "BLPOP {k}2 {k}1 0", None).unwrap_err(), popped("{k}1", "z").unwrap());
    drop((both, other));
    assert!(is_idle(&space));
}

#[test]
fn keys_of_several_slots_serve_once() {
    let space = space();
    let both = wait(&space, "BLPOP a b 0");
    run(&space, "RPUSH b 1");
    run(&space, "RPUSH a 2");
    assert_eq!(served(&both), popped("b", "1"));
    assert_eq!(run(&space, "LLEN a"), ":1\r\n");
    space.forget_wait(&both);
    drop(both);
    assert!(is_idle(&space));
}

#[test]
fn a_chain_of_moves_is_followed_to_its_end() {
    let space = space();
    let moves = wait(&space, "BLMOVE {k}1 {k}2 LEFT RIGHT 0");
    let again = wait(&space, "BRPOPLPUSH {k}2 {k}3 0");
    let last = wait(&space, "BLPOP {k}3 0");
    run(&space, "RPUSH {k}1 x");
    assert_eq!(served(&moves).as_deref(), Some("$1\r\nx\r\n"));
    assert_eq!(served(&again).as_deref(), Some("$1\r\nx\r\n"));
    assert_eq!(served(&last), popped("{k}3", "x"));
    assert_eq!(run(&space, "EXISTS {k}1 {k}2 {k}3"), ":0\r\n");
}

#[test]
fn a_move_to_a_key_of_another_type_answers_so_and_the_next_is_served() {
    let space = space();
    run(&space, "SET {k}text 1");
    let wrong = wait(&space, "BLMOVE {k}1 {k}text LEFT LEFT 0");
    let next = wait(&space, "BLPOP {k}1 0");
    run(&space, "RPUSH {k}1 x");
    assert!(served(&wrong).unwrap().starts_with("-WRONGTYPE"));
    assert_eq!(served(&next), popped("{k}1", "x"));
}

#[test]
fn keys_of_another_type_leave_those_who_wait_alone() {
    let space = space();
    let list = wait(&space, "BLPOP k 0");
    let set = wait(&space, "BZPOPMIN k 0");
    run(&space, "SET k 1");
    run(&space, "DEL k");
    run(&space, "ZADD k 1.5 m");
    assert_eq!(served(&list), None);
    assert_eq!(served(&set).as_deref(), Some("*3\r\n$1\r\nk\r\n$1\r\nm\r\n$3\r\n1.5\r\n"));
    run(&space, "SET k 1");
    assert!(begin(&space, "BLPOP k 0", None).unwrap_err().starts_with("-WRONGTYPE"));
    run(&space, "DEL k");
    run(&space, "RPUSH k x");
    assert_eq!(served(&list), popped("k", "x"));
}

#[test]
fn whatever_makes_the_key_exist_serves() {
    for (command, element) in [
        ("LPUSH {k}w x", "x"),
        ("RENAME {k}list {k}w", "1"),
        ("COPY {k}list {k}w", "1"),
        ("SORT {k}list ALPHA DESC STORE {k}w", "3"),
        ("LMOVE {k}list {k}w RIGHT LEFT", "3"),
        ("RPOPLPUSH {k}list {k}w", "3"),
    ] {
        let space = space();
        run(&space, "RPUSH {k}list 1 2 3");
        let waits = wait(&space, "BLPOP {k}w 0");
        run(&space, command);
        assert_eq!(served(&waits), popped("{k}w", element), "{command}");
    }
    for command in [
        "ZADD {k}w 2 b",
        "ZUNIONSTORE {k}w 1 {k}set",
        "ZRANGESTORE {k}w {k}set 0 -1",
        "ZINCRBY {k}w 2 b",
        "RENAME {k}set {k}w",
    ] {
        let space = space();
        run(&space, "ZADD {k}set 2 b");
        let waits = wait(&space, "BZMPOP 0 1 {k}w MAX COUNT 5");
        run(&space, command);
        let wanted = "*2\r\n$4\r\n{k}w\r\n*1\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n";
        assert_eq!(served(&waits).as_deref(), Some(wanted), "{command}");
    }
}

#[test]
fn s7_one_who_gave_up_takes_nothing_and_leaves_nothing_behind() {
    let space = space();
    let gone = wait(&space, "BLPOP k k2 0");
    let stays = wait(&space, "BLPOP k 0");
    space.forget_wait(&gone);
    assert_eq!(gone.poll(&Arc::new(Woken::default()).into()), Poll::Ready(Ended::GivenUp));
    run(&space, "RPUSH k x");
    assert_eq!(served(&stays), popped("k", "x"));
    // Giving up comes too late for one that was served.
    let late = wait(&space, "BLPOP k 0");
    run(&space, "RPUSH k y");
    late.give_up();
    assert_eq!(served(&late), popped("k", "y"));
    for wait in [&gone, &stays, &late] {
        space.forget_wait(wait);
    }
    drop((gone, stays, late));
    assert!(is_idle(&space));
}

#[test]
fn one_who_waits_is_woken_once_the_locks_are_given_back() {
    let space = space();
    let woken = Arc::new(Woken::default());
    let waits = wait(&space, "BLPOP k 0");
    assert_eq!(waits.poll(&woken.clone().into()), Poll::Pending);
    run(&space, "SET k 1");
    run(&space, "DEL k");
    assert_eq!(woken.0.load(Relaxed), 0);
    run(&space, "RPUSH k x y");
    assert_eq!(woken.0.load(Relaxed), 1);
    assert_eq!(served(&waits), popped("k", "x"));
}

#[test]
fn waits_end_to_be_tried_anew_when_the_slot_or_the_store_goes() {
    let again = |wait: &Wait| wait.poll(&Arc::new(Woken::default()).into());
    let space = space();
    let slot = slot_of(b"k");
    let first = wait(&space, "BLPOP k 0");
    assert!(space.fence_if_empty(slot, 1000));
    assert_eq!(again(&first), Poll::Ready(Ended::Again));
    space.set_serving(slot, true);
    let second = wait(&space, "BLPOP k 0");
    space.set_serving(slot, false);
    assert_eq!(again(&second), Poll::Ready(Ended::Again));
    space.set_serving(slot, true);
    let third = wait(&space, "BLPOP k 0");
    space.set_stores(&space.policies().clone());
    assert_eq!(again(&third), Poll::Ready(Ended::Again));
    let fourth = wait(&space, "BLPOP k 0");
    space.clear_slot(slot);
    assert_eq!(again(&fourth), Poll::Ready(Ended::Again));
    for wait in [first, second, third, fourth] {
        space.forget_wait(&wait);
    }
    // A flush is no reason.
    let stays = wait(&space, "BLPOP k 0");
    space.flush(0);
    run(&space, "RPUSH k x");
    assert_eq!(served(&stays), popped("k", "x"));
    drop(stays);
    assert_eq!(space.waits_bytes(), 0);
}

#[test]
fn a_move_between_slots_is_tried_anew_by_itself_and_keeps_its_place() {
    let space = space();
    let moves = wait(&space, "BLMOVE a b LEFT LEFT 0");
    let next = wait(&space, "BLPOP a 0");
    run(&space, "RPUSH a 1");
    assert_eq!(moves.poll(&Arc::new(Woken::default()).into()), Poll::Ready(Ended::Again));
    // Somebody was quicker.
    assert_eq!(served(&next), popped("a", "1"));
    let ticket = Some(moves.ticket());
    let again = begin(&space, "BLMOVE a b LEFT LEFT 0", ticket).unwrap();
    let later = wait(&space, "BLPOP a 0");
    assert!(again.ticket() < later.ticket());
    space.forget_wait(&moves);
    run(&space, "RPUSH a 2 3");
    assert_eq!(again.poll(&Arc::new(Woken::default()).into()), Poll::Ready(Ended::Again));
    assert_eq!(served(&later), popped("a", "2"));
    assert_eq!(begin(&space, "BLMOVE a b LEFT LEFT 0", ticket).unwrap_err(), "$1\r\n3\r\n");
    assert_eq!(run(&space, "LRANGE b 0 -1"), "*1\r\n$1\r\n3\r\n");
}

#[test]
fn what_waits_is_bounded() {
    let space = space();
    let long = "x".repeat(1 << 20);
    let text = format!("BLPOP {long} 0");
    let mut waits = Vec::new();
    let refused = loop {
        match begin(&space, &text, None) {
            Ok(wait) => waits.push(wait),
            Err(text) => break text,
        }
    };
    assert_eq!(refused, "-ERR too many clients wait for keys\r\n");
    assert!(waits.len() < 256 && space.waits_bytes() <= MAX_BYTES);
    waits.iter().for_each(|wait| space.forget_wait(wait));
    waits.clear();
    assert!(is_idle(&space));
}

#[test]
fn many_threads_push_and_wait_and_every_element_is_taken_once() {
    let space = Arc::new(space());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let rounds = 400;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (space, taken) = (Arc::clone(&space), Arc::clone(&taken));
            #[allow(clippy::disallowed_methods, reason = "threads show that the locks hold")]
            std::thread::spawn(move || {
                for round in 0..rounds {
                    if thread % 2 == 0 {
                        run(&space, &format!("RPUSH k {thread}-{round}"));
                        continue;
                    }
                    let reply = match begin(&space, "BLPOP k 0", None) {
                        Err(reply) => Some(reply),
                        // Every third gives up, in the middle of it all.
                        Ok(wait) if round % 3 == 0 => {
                            space.forget_wait(&wait);
                            match wait.poll(&Arc::new(Woken::default()).into()) {
                                Poll::Ready(Ended::Served { reply, .. }) => {
                                    Some(String::from_utf8(reply).unwrap())
                                }
                                _ => None,
                            }
                        }
                        Ok(wait) => loop {
                            if let Some(reply) = served(&wait) {
                                space.forget_wait(&wait);
                                break Some(reply);
                            }
                            if space.keys(0) == 0 && Arc::strong_count(&taken) <= 3 {
                                space.forget_wait(&wait);
                                break served_or_not(&wait);
                            }
                            std::thread::yield_now();
                        },
                    };
                    taken.lock().extend(reply);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let left = run(&space, "LRANGE k 0 -1").matches("-").count();
    let mut taken = Arc::into_inner(taken).unwrap().into_inner();
    let count = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), count, "an element was given twice");
    assert_eq!(count + left, 2 * rounds, "an element was lost");
    assert!(is_idle(&space));
}

fn served_or_not(wait: &Wait) -> Option<String> {
    match wait.poll(&Arc::new(Woken::default()).into()) {
        Poll::Ready(Ended::Served { reply, .. }) => Some(String::from_utf8(reply).unwrap()),
        _ => None,
    }
}
