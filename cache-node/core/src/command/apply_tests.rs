use super::*;
use crate::command::{NoScripts, Step, lookup};
use crate::keyspace::{Attached, Options, Unattached};
use crate::log::frame::Frame;
use crate::replica::{Cycle, Link, Position, Role, Route, Synced, awaits};
use crate::resp::{Protocol, Writer};
use crate::store::{Acks, Durability, EvictionPolicy, Fsync, Mode, StorePolicy};
use std::sync::Arc;
use std::task::Waker;

const NOW: u64 = 1_700_000_000_000;
/// The slot of `{a}` and its kin.
const SLOT: Slot = 15495;
const SESSION: u64 = 7;

fn policy() -> StorePolicy {
    StorePolicy { replication_factor: 2, acks: Acks::All, ..StorePolicy::new("default", 0) }
}

fn space(policy: StorePolicy, seed: u64) -> Arc<Keyspace> {
    let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed });
    space.set_stores(&[policy]);
    Arc::new(space)
}

/// Member 1, the slot's primary, and member 2, which follows it.
struct Pair {
    primary: Arc<Keyspace>,
    replica: Arc<Keyspace>,
    link: Arc<Link>,
}

impl Pair {
    fn new(policy: &StorePolicy) -> Self {
        let (primary, replica) = (space(policy.clone(), 1), space(policy.clone(), 2));
        let link = primary.feed().link_to(2, || Waker::noop().clone());
        link.open(SESSION);
        let pair = Self { primary, replica, link };
        pair.primary.set_serving(SLOT, true);
        pair.place(5);
        awaits::take();
        pair
    }

    fn route(&self) -> [Route; 1] {
        [Route { link: Arc::clone(&self.link), synced: Synced::No, least_factor: 2 }]
    }

    /// Both hear that member 1 is primary in an epoch.
    fn place(&self, epoch: u64) {
        self.primary.place(SLOT, Role::Primary { epoch }, &self.route(), false);
        self.replica.place(SLOT, Role::Replica { of: 1, epoch }, &[], false);
    }

    fn attach(&self) -> Attached {
        let theirs = self.replica.feed().position(SLOT);
        self.primary.attach(SLOT, &self.link, theirs, NOW).unwrap()
    }

    /// Sends what waits, and the peer does it.
    fn send(&self) -> Applied {
        let mut applied = Applied::default();
        while let Some(cycle) = self.link.take() {
            self.deliver(&cycle, &mut applied);
        }
        applied
    }

    fn deliver(&self, cycle: &Cycle, applied: &mut Applied) {
        for frame in &cycle.frames {
            applied.merge(self.replica.apply(1, cycle.session, frame, NOW).unwrap());
        }
        for (slot, why) in &applied.refused {
            self.primary.refused(*slot, &self.link, cycle.session, *why);
        }
        self.link.confirm(cycle.session, cycle.number);
    }

    fn load(&self, attached: Attached) -> usize {
        let Attached::Pieces(mut pieces) = attached else { return 0 };
        let (mut entries, mut count) = (Vec::new(), 0);
        while let Some(piece) = pieces.next_piece(&mut entries).unwrap() {
            count += 1;
            let loaded = self.replica.load_piece(1, SESSION, &piece, &entries, NOW);
            assert_eq!(matches!(loaded, LoadedPiece::Whole(_)), piece.is_last, "{loaded:?}");
        }
        assert!(self.primary.attached(SLOT, &self.link, pieces.attachment()));
        count
    }

    fn attach_whole(&self) {
        let attached = self.attach();
        self.send();
        self.load(attached);
    }

    fn call(&self, words: &str) -> String {
        self.call_at(words, NOW)
    }

    fn call_at(&self, words: &str, now_ms: u64) -> String {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
        self.primary.execute(lookup(&args).unwrap(), 0, &args, now_ms, out).unwrap();
        awaits::take();
        String::from_utf8(bytes).unwrap()
    }

    fn digests(&self) -> [u64; 2] {
        [&self.primary, &self.replica].map(|space| space.slot_digest(0, SLOT, NOW))
    }

    fn assert_equal(&self) {
        let [ours, theirs] = self.digests();
        assert_eq!(ours, theirs);
        let ours = self.primary.feed().position(SLOT);
        let theirs = self.replica.feed().position(SLOT);
        assert_eq!(Position { coverage: 0, ..ours }, Position { coverage: 0, ..theirs });
    }
}

#[test]
fn l21_what_was_there_comes_in_pieces_and_what_comes_meanwhile_after_them() {
    let pair = Pair::new(&policy());
    for n in 0..5000 {
        pair.call(&format!("set {{a}}{n} {n}"));
    }
    pair.call("rpush {a}list a b c");
    let attached = pair.attach();
    pair.call("rpush {a}list d");
    pair.call("incr {a}7");
    pair.call("del {a}8");
    pair.send();
    assert_eq!(pair.replica.keys(0), 0, "they wait");
    assert_eq!(pair.replica.feed().position(SLOT), Position::default());
    pair.call("set {a}new 1");
    assert!(pair.load(attached) > 2, "a large slot is several pieces");
    pair.send();
    pair.call("lpop {a}list");
    pair.send();
    pair.assert_equal();
    assert_eq!(pair.primary.keys(0), pair.replica.keys(0));
}

#[test]
fn a_replica_that_is_where_its_primary_is_goes_on_in_another_session() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("set {a} 1");
    pair.send();
    pair.link.open(8);
    assert!(matches!(pair.attach(), Attached::GoesOn));
    pair.call("set {a} 2");
    assert_eq!(pair.send().refused, []);
    pair.assert_equal();
    // A new epoch of the same primary.
    pair.place(6);
    pair.call("set {a} 3");
    assert_eq!(pair.send().refused, []);
    pair.assert_equal();
    assert_eq!(pair.replica.feed().position(SLOT).epoch, 6);
}

#[test]
fn records_of_a_member_that_is_not_the_slots_primary_any_more_are_refused() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("set {a} 1");
    pair.send();
    // Member 2 is promoted; member 1 has not heard of it.
    assert!(pair.replica.place(SLOT, Role::Primary { epoch: 6 }, &[], false));
    pair.replica.set_serving(SLOT, true);
    assert!(!pair.replica.place(SLOT, Role::Replica { of: 1, epoch: 5 }, &[], false), "is old");
    for synced in [Synced::Perhaps, Synced::Yes] {
        assert!(pair.primary.set_synced(SLOT, &pair.link, synced));
    }
    let args: [&[u8]; 3] = [b"SET", b"{a}", b"lost"];
    let out = &mut Vec::new();
    let to = &mut Writer::new(out, Protocol::Resp2);
    pair.primary.execute(lookup(&args).unwrap(), 0, &args, NOW, to).unwrap();
    let written = awaits::take().unwrap();
    let refused = pair.send().refused;
    assert_eq!(refused, [(SLOT, Refused::Newer { epoch: 6 })]);
    assert!(!pair.primary.is_serving(SLOT) && pair.replica.is_serving(SLOT));
    assert_eq!(pair.primary.feed().progress(&written.needs()[0]), crate::replica::Progress::Lost);
    let value = |space: &Keyspace| {
        space.with_key(0, b"{a}", NOW, false, |key| {
            key.value().map(|v| v.as_bytes(&mut Default::default()).map(<[u8]>::to_vec))
        })
    };
    assert_eq!(value(&pair.replica).unwrap().flatten(), Some(b"1".to_vec()));
}

#[test]
fn a_primary_that_stays_and_has_not_heard_of_the_new_epoch_goes_on_serving() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("set {a} 1");
    pair.send();
    assert!(pair.replica.place(SLOT, Role::Replica { of: 1, epoch: 6 }, &[], false));
    pair.link.open(8);
    assert!(matches!(pair.attach(), Attached::GoesOn));
    assert_eq!(pair.send().refused, [(SLOT, Refused::Unattached)]);
    assert!(pair.primary.is_serving(SLOT));
    pair.place(6);
    assert!(matches!(pair.attach(), Attached::GoesOn));
    pair.call("set {a} 2");
    assert_eq!(pair.send().refused, []);
    pair.assert_equal();
}

#[test]
fn a_primary_hears_of_its_successor_from_the_successors_mark_and_stops() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("set {a} 1");
    pair.send();
    let back = pair.replica.feed().link_to(1, || Waker::noop().clone());
    back.open(3);
    let route = [Route { link: Arc::clone(&back), synced: Synced::No, least_factor: 2 }];
    pair.replica.place(SLOT, Role::Primary { epoch: 6 }, &route, false);
    pair.replica.set_serving(SLOT, true);
    // It is where its successor began.
    let theirs = pair.primary.feed().position(SLOT);
    assert!(matches!(pair.replica.attach(SLOT, &back, theirs, NOW), Ok(Attached::GoesOn)));
    let cycle = back.take().unwrap();
    let applied = pair.primary.apply(2, 3, &cycle.frames[0], NOW).unwrap();
    assert_eq!((&applied.deposed[..], &applied.refused[..]), (&[SLOT][..], &[][..]));
    assert!(!pair.primary.is_serving(SLOT));
    assert_eq!(pair.primary.feed().role(SLOT), Role::Replica { of: 2, epoch: 6 });
    assert_eq!(
        pair.primary.attach(SLOT, &pair.link, theirs, NOW).err(),
        Some(Unattached::NotPrimary)
    );
}

#[test]
fn a_transaction_is_done_at_a_replica_as_one_batch_of_its_log() {
    let pair = Pair::new(&StorePolicy { durability: Durability::of(Mode::Aof), ..policy() });
    pair.replica.journal().start(0, Waker::noop().clone());
    pair.attach_whole();
    let steps = ["SET {a} 1", "SET {a}b 2", "INCR {a}"].map(|words| {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let spec = lookup(&args).unwrap();
        Step { spec, store: 0, protocol: Protocol::Resp2, args: args.into_iter().collect() }
    });
    pair.primary.transact(&[], &steps, &NoScripts, NOW, &mut Vec::new()).unwrap();
    pair.send();
    pair.assert_equal();
    let frames: Vec<_> =
        pair.replica.journal().take().frames.into_iter().map(Frame::finish).collect();
    let logged: Vec<(bool, bool)> = frames
        .iter()
        .flat_map(|(bytes, header)| {
            let raw = header.open(&bytes[HEADER_BYTES..]).unwrap();
            let records = header.records(&raw).map(|record| {
                let record = record.unwrap();
                (record.continues, record.commands.starts_with(b"*3\r\n$3\r\nSET"))
            });
            records.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(logged, [(true, true), (true, true), (false, true)]);
}

#[test]
fn what_a_replica_loads_is_in_its_own_log_and_always_waits_for_its_disk() {
    let mut durability = Durability::of(Mode::Aof);
    durability.fsync = Fsync::Always;
    let pair = Pair::new(&StorePolicy { durability, ..policy() });
    pair.replica.journal().start(0, Waker::noop().clone());
    pair.call("set {a}old 1");
    pair.call("rpush {a}l x y");
    let attached = pair.attach();
    pair.call("set {a}new 1");
    pair.send();
    let Attached::Pieces(mut pieces) = attached else { panic!() };
    let mut entries = Vec::new();
    let piece = pieces.next_piece(&mut entries).unwrap().unwrap();
    let loaded = pair.replica.load_piece(1, SESSION, &piece, &entries, NOW);
    let LoadedPiece::Whole(Some(ticket)) = loaded else { panic!("{loaded:?}") };
    assert!(!pair.replica.journal().is_durable(ticket));
    let again = pair.replica.load_piece(1, SESSION, &piece, &entries, NOW);
    assert_eq!(again, LoadedPiece::Whole(None));
    pair.call("set {a}more 1");
    assert!(pair.send().ticket.is_some());
    // The log says all of it.
    let recovered = space(policy(), 3);
    for frame in pair.replica.journal().take().frames {
        let (bytes, header) = frame.finish();
        let raw = header.open(&bytes[HEADER_BYTES..]).unwrap();
        for record in header.records(&raw) {
            recovered.replay(&record.unwrap()).unwrap();
        }
    }
    assert_eq!(recovered.slot_digest(0, SLOT, NOW), pair.replica.slot_digest(0, SLOT, NOW));
    pair.assert_equal();
}

#[test]
fn a_flush_while_a_slot_is_taken_ends_the_attachment_and_the_next_one_is_right() {
    let pair = Pair::new(&policy());
    for n in 0..5000 {
        pair.call(&format!("set {{a}}{n} {n}"));
    }
    let Attached::Pieces(mut pieces) = pair.attach() else { panic!() };
    let mut entries = Vec::new();
    let piece = pieces.next_piece(&mut entries).unwrap().unwrap();
    pair.send();
    let loaded = pair.replica.load_piece(1, SESSION, &piece, &entries, NOW);
    assert_eq!(loaded, LoadedPiece::Taken);
    assert_eq!(pair.replica.load_piece(1, SESSION, &piece, &entries, NOW), LoadedPiece::Taken);
    pair.primary.flush(0);
    pair.call("set {a} 1");
    assert!(pieces.next_piece(&mut entries).is_err());
    pair.send();
    pair.attach_whole();
    pair.assert_equal();
    assert_eq!(pair.replica.load_piece(1, SESSION, &piece, &entries, NOW), LoadedPiece::Void);
    assert_eq!(pair.replica.keys(0), 1);
}

#[test]
fn l15_a_replica_removes_nothing_by_itself_and_what_its_primary_removes() {
    let pair = Pair::new(&StorePolicy { max_memory_bytes: Some(1 << 20), ..policy() });
    pair.attach_whole();
    pair.call("set {a} 1 px 500");
    pair.send();
    let later = NOW + 1000;
    assert_eq!(pair.replica.expire_cycle(later, 1000), 0);
    assert_eq!(pair.replica.evict_share(100, 1000, later), 0);
    assert_eq!(pair.replica.keys(0), 1);
    assert_eq!(pair.replica.slot_digest(0, SLOT, later), 0, "for whoever looks it is gone");
    assert_eq!(pair.call_at("get {a}", later), "$-1\r\n");
    pair.send();
    assert_eq!(pair.replica.keys(0), 0);
    for policy in [EvictionPolicy::WTinyLfu, EvictionPolicy::Lru] {
        let pair = Pair::new(&StorePolicy {
            max_memory_bytes: Some(1 << 20),
            eviction_policy: policy,
            ..self::policy()
        });
        pair.attach_whole();
        for n in 0..20_000 {
            pair.call(&format!("set {{a}}{n} {n:0100}"));
        }
        pair.send();
        let keys = pair.primary.keys(0);
        assert!(keys > 100 && keys < 19_000, "{keys}");
        assert_eq!(pair.replica.evict_share(100, 1000, NOW), 0);
        pair.assert_equal();
    }
}

#[test]
fn a_key_that_is_over_by_the_replicas_clock_alone_is_not_left_out() {
    let pair = Pair::new(&policy());
    pair.call("set {a} 1 px 500");
    let Attached::Pieces(mut pieces) = pair.attach() else { panic!() };
    pair.send();
    let mut entries = Vec::new();
    let piece = pieces.next_piece(&mut entries).unwrap().unwrap();
    pair.replica.load_piece(1, SESSION, &piece, &entries, NOW + 10_000);
    pair.primary.attached(SLOT, &pair.link, pieces.attachment());
    pair.call("persist {a}");
    pair.send();
    pair.assert_equal();
    assert_eq!(pair.replica.keys(0), 1);
}

#[test]
fn a_key_that_is_over_until_the_primarys_clock_is_set_back_is_with_its_copies() {
    let pair = Pair::new(&policy());
    pair.call_at("set {a} 1 px 500", NOW - 1000);
    pair.attach_whole();
    assert_eq!((pair.primary.keys(0), pair.replica.keys(0)), (1, 1), "nobody has removed it");
    assert_eq!(pair.call_at("persist {a}", NOW - 800), ":1\r\n", "the clock was set back");
    pair.send();
    pair.assert_equal();
    assert_ne!(pair.replica.slot_digest(0, SLOT, NOW), 0);
}

#[test]
fn what_comes_twice_is_done_once_and_what_comes_of_another_session_is_refused() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("incr {a}");
    pair.call("rpush {a}l x");
    let cycle = pair.link.take().unwrap();
    let mut applied = Applied::default();
    pair.deliver(&cycle, &mut applied);
    pair.deliver(&cycle, &mut applied);
    assert_eq!(applied.refused, []);
    pair.assert_equal();
    let other = pair.replica.apply(1, 8, &cycle.frames[0], NOW).unwrap();
    assert_eq!(other.refused, [(SLOT, Refused::Unattached)]);
    let other = pair.replica.apply(9, SESSION, &cycle.frames[0], NOW).unwrap();
    assert_eq!(other.refused.len(), 1);
    pair.assert_equal();
}

#[test]
fn s2_a_damaged_frame_is_an_error_and_nothing_of_it_is_done() {
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.call("set {a} 1");
    let cycle = pair.link.take().unwrap();
    let frame = &cycle.frames[0];
    for at in 0..frame.len() {
        let mut damaged = frame.clone();
        damaged[at] ^= 0x10;
        assert!(pair.replica.apply(1, SESSION, &damaged, NOW).is_err(), "{at}");
        assert!(pair.replica.apply(1, SESSION, &frame[..at], NOW).is_err(), "{at}");
    }
    assert_eq!(pair.replica.keys(0), 0);
    pair.deliver(&cycle, &mut Applied::default());
    pair.assert_equal();
}

#[test]
fn records_of_a_store_that_is_not_here_yet_are_refused_and_of_one_that_is_gone_passed_over() {
    let more = StorePolicy { replication_factor: 2, ..StorePolicy::new("more", 1) };
    let pair = Pair::new(&policy());
    pair.attach_whole();
    pair.primary.set_stores(&[policy(), more.clone()]);
    let put = |pair: &Pair| {
        let args: [&[u8]; 3] = [b"SET", b"{a}", b"1"];
        let out = &mut Vec::new();
        let to = &mut Writer::new(out, Protocol::Resp2);
        pair.primary.execute(lookup(&args).unwrap(), 1, &args, NOW, to).unwrap();
    };
    put(&pair);
    assert_eq!(pair.send().refused, [(SLOT, Refused::Unattached)]);
    pair.replica.set_stores(&[policy(), more]);
    pair.attach_whole();
    put(&pair);
    pair.replica.set_stores(&[policy()]);
    assert_eq!(pair.send().refused, []);
    pair.call("set {a} 1");
    assert_eq!(pair.send().refused, []);
    pair.assert_equal();
}

#[path = "check_tests.rs"]
mod check_tests;
#[path = "owners_tests.rs"]
mod owners_tests;
