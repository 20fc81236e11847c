use super::super::{Attached, Options, Refusal, Unattached};
use super::*;
use crate::command::lookup;
use crate::log::record::{commands, take_varint};
use crate::log::{FrameHeader, frame::HEADER_BYTES};
use crate::replica::{Link, MARK, Position, SlotFeed, Synced, awaits};
use crate::resp::{Protocol, Writer};
use crate::store::StorePolicy;
use std::sync::Arc;
use std::task::Waker;

const NOW: u64 = 1_700_000_000_000;
/// The slot of `{a}` and its kin.
const SLOT: Slot = 15495;

fn policy(number: StoreNumber, replication_factor: u8, acks: Acks) -> StorePolicy {
    let name = if number == 0 { "default".to_owned() } else { format!("s{number}") };
    StorePolicy { replication_factor, acks, ..StorePolicy::new(name, number) }
}

fn space(policies: &[StorePolicy]) -> Arc<Keyspace> {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    space.set_stores(policies);
    space.set_serving(SLOT, true);
    awaits::take();
    Arc::new(space)
}

/// Links to members 2, 3 …, each in session 7.
fn links(space: &Keyspace, count: u64) -> Vec<Arc<Link>> {
    let links = (2..2 + count).map(|member| {
        let link = space.feed().link_to(member, || Waker::noop().clone());
        link.open(7);
        link
    });
    links.collect()
}

fn route(links: &[Arc<Link>]) -> Vec<Route> {
    let routes = links.iter().zip(2..).map(|(link, least_factor)| Route {
        link: Arc::clone(link),
        synced: Synced::No,
        least_factor,
    });
    routes.collect()
}

/// Attaches the slot to a link, which has nothing of it, and says that it is in sync.
fn attach(space: &Arc<Keyspace>, link: &Arc<Link>) {
    let attached = space.attach(SLOT, link, Position::default(), NOW).unwrap();
    let Attached::Pieces(mut pieces) = attached else { panic!("{attached:?}") };
    while pieces.next_piece(&mut Vec::new()).unwrap().is_some() {}
    assert!(space.attached(SLOT, link, pieces.attachment()));
    assert!(space.set_synced(SLOT, link, Synced::Perhaps));
    assert!(space.set_synced(SLOT, link, Synced::Yes));
    confirm(link);
}

/// What a link takes, and its peer confirms: store and commands of each record, without marks.
fn confirm(link: &Link) -> Vec<(StoreNumber, String)> {
    let mut records = Vec::new();
    while let Some(cycle) = link.take() {
        for frame in &cycle.frames {
            let header = FrameHeader::read(frame).unwrap();
            let raw = header.open(&frame[HEADER_BYTES..]).unwrap();
            for record in header.records(&raw).map(Option::unwrap).filter(|r| r.store != MARK) {
                let mut bytes = record.commands;
                take_varint(&mut bytes).unwrap();
                let words = commands(bytes).map(|words| {
                    let words: Vec<_> =
                        words.unwrap().iter().map(|w| w.escape_ascii().to_string()).collect();
                    words.join(" ")
                });
                let more = if record.continues { " +" } else { "" };
                records.push((record.store, words.collect::<Vec<_>>().join("; ") + more));
            }
        }
        link.confirm(cycle.session, cycle.number);
    }
    records
}

fn call_in(space: &Keyspace, store: StoreNumber, words: &str) -> String {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    let mut bytes = Vec::new();
    let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
    space.execute(lookup(&args).unwrap(), store, &args, NOW, out).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn call(space: &Keyspace, words: &str) -> String {
    call_in(space, 0, words)
}

const PRIMARY: Role = Role::Primary { epoch: 5 };

/// A primary, and its link to one other owner, who has everything.
fn attached() -> (Arc<Keyspace>, Vec<Arc<Link>>) {
    let space = space(&[policy(0, 2, Acks::All)]);
    let links = links(&space, 1);
    space.place(SLOT, PRIMARY, &route(&links), false);
    attach(&space, &links[0]);
    (space, links)
}

#[test]
fn l24_what_is_done_goes_to_the_owners_that_the_stores_replication_factor_covers() {
    let stores = [policy(0, 3, Acks::One), policy(1, 2, Acks::One), policy(2, 1, Acks::One)];
    let space = space(&stores);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    call(&space, "set {a} 1 px 500");
    call_in(&space, 1, "rpush {a}l x y");
    call_in(&space, 2, "set {a} 2");
    call(&space, "mset {a}1 v {a}2 w");
    let all = [
        (0, "SET {a} 1 PXAT 1700000000500".to_owned()),
        (1, "RPUSH {a}l x y".to_owned()),
        (0, "SET {a}1 v +".to_owned()),
        (0, "SET {a}2 w".to_owned()),
    ];
    assert_eq!(confirm(&links[0]), all);
    let first: Vec<_> = all.into_iter().filter(|(store, _)| *store == 0).collect();
    assert_eq!(confirm(&links[1]), first);
    assert_eq!(awaits::take(), None, "`one` waits for nobody");
    assert_eq!(space.expire_cycle(NOW + 500, 100), 1);
    assert_eq!(confirm(&links[1]), [(0, "DEL {a}".to_owned())]);
    space.flush(1);
    assert_eq!(confirm(&links[0])[1..], [(1, "FLUSHDB".to_owned())]);
}

#[test]
fn all_waits_for_each_owner_in_sync_and_a_read_for_what_it_may_have_seen() {
    let space = space(&[policy(0, 3, Acks::All)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    assert_eq!(call(&space, "get {a}"), "$-1\r\n");
    assert_eq!(awaits::take(), None);
    call(&space, "set {a} 1");
    let written = awaits::take().unwrap();
    call(&space, "get {a}");
    let read = awaits::take().unwrap();
    let is_met = || [&written, &read].map(|awaited| space.feed().is_met(awaited));
    assert_eq!(is_met(), [false, false]);
    confirm(&links[0]);
    assert_eq!(is_met(), [false, false]);
    confirm(&links[1]);
    assert_eq!(is_met(), [true, true]);
    call(&space, "get {a}");
    assert_eq!(awaits::take(), None);
    // One that is not in sync by the table is not waited for, one that may be is.
    call(&space, "set {a} 2");
    let written = awaits::take().unwrap();
    confirm(&links[0]);
    assert!(space.set_synced(SLOT, &links[1], Synced::Perhaps));
    assert!(!space.feed().is_met(&written));
    assert!(space.set_synced(SLOT, &links[1], Synced::No));
    assert!(space.feed().is_met(&written));
}

/// Tells that it was woken.
struct Told(std::sync::mpsc::Sender<()>);

impl std::task::Wake for Told {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

#[test]
fn who_waits_hears_of_what_is_confirmed_at_the_moment_in_which_it_begins_to() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let (space, links) = attached();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                confirm(&links[0]);
            }
        });
        let (sender, woken) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Told(sender)));
        let mut context = std::task::Context::from_waker(&waker);
        let hears = (0..20_000).all(|_| {
            call(&space, "set {a} 1");
            let Some(awaited) = awaits::take() else { return true };
            let mut met = std::pin::pin!(space.feed().until_met(&awaited));
            while met.as_mut().poll(&mut context).is_pending() {
                if woken.recv_timeout(std::time::Duration::from_secs(20)).is_err() {
                    return false;
                }
            }
            true
        });
        is_done.store(true, Relaxed);
        assert!(hears, "what a write waited for was confirmed, and nobody was told");
    });
}

#[test]
fn l22_quorum_waits_for_a_majority_and_is_refused_before_it_is_applied_without_one() {
    let space = space(&[policy(0, 3, Acks::Quorum)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    let refused = "-NOREPLICAS Not enough good replicas to write.\r\n";
    assert_eq!(call(&space, "set {a} 1"), refused);
    assert_eq!(call(&space, "mset {a} 1 {a}b 2"), refused);
    assert_eq!(space.with_key(0, b"{a}", NOW, false, |key| key.exists()), Ok(false));
    let write = space.with_sent_key(
        0,
        b"{a}",
        space.hashed(b"{a}"),
        &space.stores(),
        NOW,
        true,
        &[],
        |_| (),
    );
    assert_eq!(write, Err(Refusal::NotReplicated));
    links.iter().for_each(|link| attach(&space, link));
    assert_eq!(call(&space, "set {a} 1"), "+OK\r\n");
    let written = awaits::take().unwrap();
    assert!(!space.feed().is_met(&written));
    confirm(&links[1]);
    assert!(space.feed().is_met(&written), "one of two is a majority with the primary");
    // One of which the table may not say that it is in sync does not count.
    assert!(space.set_synced(SLOT, &links[1], Synced::Perhaps));
    call(&space, "set {a} 2");
    let written = awaits::take().unwrap();
    confirm(&links[1]);
    assert!(!space.feed().is_met(&written));
    confirm(&links[0]);
    assert!(space.feed().is_met(&written));
    assert!(space.set_synced(SLOT, &links[0], Synced::Perhaps));
    assert_eq!(call(&space, "set {a} 3"), refused);
    assert_eq!(call(&space, "get {a}"), "$1\r\n2\r\n");
}

#[test]
fn a_majority_has_the_owner_that_holds_more_stores_than_others_as_it_is_the_next_primary() {
    let space = space(&[policy(0, 3, Acks::Quorum), policy(1, 2, Acks::All)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    let write = |words: &str| {
        assert_eq!(call(&space, words), "+OK\r\n");
        awaits::take().unwrap()
    };
    let written = write("set {a} 1");
    confirm(&links[1]);
    assert!(!space.feed().is_met(&written), "the one that holds less");
    confirm(&links[0]);
    assert!(space.feed().is_met(&written));
    let written = write("set {a} 2");
    confirm(&links[0]);
    assert!(space.feed().is_met(&written), "the one that holds more, alone");
    // Where it is not in sync it is not the next primary.
    assert!(space.set_synced(SLOT, &links[0], Synced::Perhaps));
    assert!(space.set_synced(SLOT, &links[0], Synced::No));
    let written = write("set {a} 3");
    confirm(&links[1]);
    assert!(space.feed().is_met(&written));
    // Once nobody holds more than others, anybody will do.
    assert!(space.set_synced(SLOT, &links[0], Synced::Perhaps));
    assert!(space.set_synced(SLOT, &links[0], Synced::Yes));
    space.set_stores(&[policy(0, 3, Acks::Quorum), policy(1, 3, Acks::All)]);
    assert!(space.set_synced(SLOT, &links[1], Synced::No), "it gets more, and anew");
    attach(&space, &links[1]);
    let written = write("set {a} 4");
    confirm(&links[1]);
    assert!(space.feed().is_met(&written));
}

#[test]
fn a_flush_of_a_quorum_store_is_refused_without_a_majority_before_anything_goes() {
    let space = space(&[policy(0, 3, Acks::Quorum)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    assert_eq!(call(&space, "set {a} 1"), "+OK\r\n");
    links.iter().for_each(|link| drop(confirm(link)));
    for link in &links {
        assert!(space.set_synced(SLOT, link, Synced::No));
    }
    let refused = "-NOREPLICAS Not enough good replicas to write.\r\n";
    for flush in ["flushdb", "flushall"] {
        assert_eq!(call(&space, flush), refused);
    }
    assert_eq!(call(&space, "get {a}"), "$1\r\n1\r\n");
    // One of two is a majority with the primary.
    assert!(space.set_synced(SLOT, &links[0], Synced::Yes));
    assert_eq!(call(&space, "flushall"), "+OK\r\n");
    assert_eq!(call(&space, "get {a}"), "$-1\r\n");
}

#[test]
fn what_waits_as_the_slot_is_lost_is_not_known_and_after_a_hand_over_it_is_there() {
    for handed_over in [false, true] {
        let space = space(&[policy(0, 2, Acks::All)]);
        let links = links(&space, 1);
        space.place(SLOT, PRIMARY, &route(&links), false);
        attach(&space, &links[0]);
        call(&space, "set {a} 1");
        let written = awaits::take().unwrap();
        space.set_serving(SLOT, false);
        if handed_over {
            confirm(&links[0]);
            assert_eq!(space.feed().look(SLOT, SlotFeed::is_settled), Some(true));
        }
        space.place(SLOT, Role::Replica { of: 2, epoch: 6 }, &[], handed_over);
        assert_eq!(space.feed().is_met(&written), handed_over);
        let mut waits = space.feed().until_met(&written);
        let mut context = std::task::Context::from_waker(Waker::noop());
        let ended = std::pin::Pin::new(&mut waits).poll(&mut context);
        assert_eq!(ended.map(|ended| ended.is_ok()), std::task::Poll::Ready(handed_over));
        assert!(!space.is_fed(SLOT));
    }
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn who_waits_is_woken_by_what_he_waits_for_and_leaves_nothing_behind_when_he_gives_up() {
    let space = space(&[policy(0, 3, Acks::All)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut context = std::task::Context::from_waker(&waker);
    let count = || woken.0.swap(0, std::sync::atomic::Ordering::Relaxed);
    call(&space, "set {a} 1");
    let written = awaits::take().unwrap();
    let mut waits = space.feed().until_met(&written);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut context).is_pending());
    assert_eq!(links.iter().map(|link| link.pending().1).collect::<Vec<_>>(), [true, true]);
    confirm(&links[0]);
    assert_eq!(count(), 1);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut context).is_pending());
    // The other one never confirms: the session ends, and then it leaves the in-sync set.
    links[1].open(8);
    assert_eq!(count(), 1);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut context).is_pending());
    assert!(space.set_synced(SLOT, &links[1], Synced::No));
    assert!(count() > 0);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut context).is_ready());
    call(&space, "set {a} 2");
    let written = awaits::take().unwrap();
    let mut gives_up = space.feed().until_met(&written);
    assert!(std::pin::Pin::new(&mut gives_up).poll(&mut context).is_pending());
    drop(gives_up);
    confirm(&links[0]);
    space.place(SLOT, Role::Replica { of: 2, epoch: 6 }, &[], false);
    assert_eq!(count(), 0);
}

#[test]
fn an_owner_leaves_the_in_sync_set_once_those_that_stay_have_what_a_majority_has() {
    let space = space(&[policy(0, 3, Acks::Quorum)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    call(&space, "set {a} 1");
    let written = awaits::take().unwrap();
    confirm(&links[0]);
    assert!(space.feed().is_met(&written));
    // The second has it not: the first may not leave it alone with the primary.
    let mut leaving = space.begin_leaving(SLOT, &links[0]).unwrap();
    assert!(space.begin_leaving(SLOT, &links[0]).is_none(), "it is leaving");
    assert_eq!(leaving.ready(&space), None);
    confirm(&links[1]);
    assert_eq!(leaving.ready(&space), Some(vec![2]));
    // One that cannot get it any more leaves as well.
    assert!(space.set_synced(SLOT, &links[0], Synced::Yes));
    call(&space, "set {a} 2");
    confirm(&links[0]);
    let mut leaving = space.begin_leaving(SLOT, &links[0]).unwrap();
    links[1].open(8);
    assert_eq!(leaving.ready(&space), Some(vec![2, 3]));
    let owner = space.feed().look(SLOT, |feed| feed.owner(&links[1])).flatten().unwrap();
    assert_eq!(owner.synced, Synced::Perhaps);
}

#[test]
fn a_session_that_ends_takes_what_was_not_confirmed_with_it_until_the_slot_is_attached_anew() {
    let (space, links) = attached();
    let link = &links[0];
    call(&space, "set {a} 1");
    let written = awaits::take().unwrap();
    link.take().unwrap();
    link.open(8);
    call(&space, "set {a} 2");
    assert_eq!(confirm(link), []);
    assert!(!space.feed().is_met(&written));
    // It lacks something, and the table counts on it.
    let theirs = Position::default();
    assert_eq!(space.attach(SLOT, link, theirs, NOW).err(), Some(Unattached::InSync));
    assert!(space.set_synced(SLOT, link, Synced::No));
    attach(&space, link);
    assert!(space.feed().is_met(&written));
}

#[test]
fn an_owner_that_is_where_the_primary_is_goes_on_and_any_other_gets_all() {
    let (space, links) = attached();
    let link = &links[0];
    call(&space, "set {a} 1");
    let coverage = space.registry.load().coverage(2);
    let theirs = Position { coverage, ..space.feed().position(SLOT) };
    let goes_on = |theirs| {
        link.open(link.session() + 1);
        matches!(space.attach(SLOT, link, theirs, NOW), Ok(Attached::GoesOn))
    };
    assert!(goes_on(theirs));
    space.place(SLOT, Role::Primary { epoch: 9 }, &route(&links), false);
    assert!(goes_on(theirs), "of the epoch before, and nothing came since");
    assert!(!goes_on(Position { sequence: theirs.sequence - 1, ..theirs }));
    assert!(!goes_on(Position { epoch: 4, ..theirs }));
    assert!(!goes_on(Position { coverage: 1, ..theirs }));
    assert!(!goes_on(Position::default()));
    call(&space, "set {a} 2");
    assert!(!goes_on(theirs));
}

/// A primary since just now whose two owners are in sync and have what it has, and how far that is; of stores with
/// factors 3 and 2.
fn taken_over() -> (Arc<Keyspace>, Vec<Arc<Link>>, [Position; 2]) {
    let space = space(&[policy(0, 3, Acks::All), policy(1, 2, Acks::One)]);
    let links = links(&space, 2);
    space.place(SLOT, PRIMARY, &route(&links), false);
    links.iter().for_each(|link| attach(&space, link));
    call(&space, "set {a} 1");
    links.iter().for_each(|link| drop(confirm(link)));
    let coverage = |least| space.registry.load().coverage(least);
    let theirs =
        [2, 3].map(|least| Position { coverage: coverage(least), ..space.feed().position(SLOT) });
    // As one that was a replica until now: its links have other sessions.
    links.iter().for_each(|link| link.open(link.session() + 1));
    let synced = route(&links).into_iter().map(|one| Route { synced: Synced::Yes, ..one });
    space.place(SLOT, Role::Primary { epoch: 6 }, &synced.collect::<Vec<_>>(), false);
    awaits::take();
    (space, links, theirs)
}

#[test]
fn an_owner_that_is_where_a_new_primary_was_gets_what_was_written_since_and_not_the_slot() {
    let (space, links, theirs) = taken_over();
    call(&space, "set {a} 2");
    let written = awaits::take().unwrap();
    call_in(&space, 1, "set {a} 3");
    call(&space, "mset {a}1 v {a}2 w");
    assert!(matches!(space.attach(SLOT, &links[0], theirs[0], NOW), Ok(Attached::GoesOn)));
    call(&space, "set {a} 4");
    let all = [(0, "SET {a} 2"), (1, "SET {a} 3"), (0, "SET {a}1 v +"), (0, "SET {a}2 w")];
    let all = all.into_iter().chain([(0, "SET {a} 4")]);
    let all: Vec<_> = all.map(|(store, words)| (store, words.to_owned())).collect();
    assert!(!space.feed().is_met(&written));
    assert_eq!(confirm(&links[0]), all);
    assert!(!space.feed().is_met(&written), "the other one has nothing of it");
    assert!(matches!(space.attach(SLOT, &links[1], theirs[1], NOW), Ok(Attached::GoesOn)));
    assert!(!space.feed().is_met(&written), "it was sent, and is not confirmed");
    let first: Vec<_> = all.into_iter().filter(|(store, _)| *store == 0).collect();
    assert_eq!(confirm(&links[1]), first);
    assert!(space.feed().is_met(&written));
}

#[test]
fn nobody_goes_on_from_where_a_new_primary_was_when_not_all_is_known_that_was_written_since() {
    type Before<'b> = dyn Fn(&Arc<Keyspace>, &[Arc<Link>], [Position; 2]) + 'b;
    let refused = Some(Unattached::InSync);
    let attach = |before: &Before<'_>| {
        let (space, links, theirs) = taken_over();
        before(&space, &links, theirs);
        space.attach(SLOT, &links[0], theirs[0], NOW).err()
    };
    assert_eq!(attach(&|space, _, _| drop(call(space, "set {a} 2"))), None);
    let before_that = attach(&|space, links, theirs| {
        call(space, "set {a} 2");
        let theirs = Position { sequence: theirs[0].sequence - 1, ..theirs[0] };
        assert_eq!(space.attach(SLOT, &links[0], theirs, NOW).err(), refused);
        space.set_stores(&[policy(0, 3, Acks::All), policy(1, 1, Acks::One)]);
        call_in(space, 1, "set {a} 3");
        space.set_stores(&[policy(0, 3, Acks::All), policy(1, 2, Acks::One)]);
    });
    assert_eq!(before_that, refused, "a store went to nobody for a while");
    let too_much = attach(&|space, _, _| {
        let value = "x".repeat(200 << 10);
        call(space, &format!("set {{a}} {value}"));
        call(space, &format!("set {{a}} {value}"));
    });
    assert_eq!(too_much, refused);
    let all_attached = attach(&|space, links, theirs| {
        call(space, "set {a} 2");
        for (link, theirs) in links.iter().zip(theirs) {
            assert!(matches!(space.attach(SLOT, link, theirs, NOW), Ok(Attached::GoesOn)));
        }
        call(space, "set {a} 3");
        links[0].open(99);
    });
    assert_eq!(all_attached, refused);
}

#[test]
fn an_owner_that_was_away_while_a_store_went_to_nobody_gets_all_anew() {
    let stores = |factor| [policy(0, 2, Acks::One), policy(1, factor, Acks::One)];
    let space = space(&stores(2));
    let links = links(&space, 1);
    space.place(SLOT, PRIMARY, &route(&links), false);
    attach(&space, &links[0]);
    call(&space, "set {a} 1");
    confirm(&links[0]);
    let coverage = space.registry.load().coverage(2);
    let theirs = Position { coverage, ..space.feed().position(SLOT) };
    space.set_synced(SLOT, &links[0], Synced::No);
    links[0].open(8);
    space.set_stores(&stores(1));
    call_in(&space, 1, "set {a} 1");
    space.set_stores(&stores(2));
    let attached = space.attach(SLOT, &links[0], theirs, NOW);
    assert!(matches!(attached, Ok(Attached::Pieces(_))), "{attached:?}");
}

#[test]
fn where_an_owner_comes_others_stay_where_they_are_and_the_slot_does_not_if_it_gets_more_stores() {
    let comes =
        |link: &Arc<Link>| Route { link: Arc::clone(link), synced: Synced::No, least_factor: 1 };
    let moved = |factor| {
        let space = space(&[policy(0, 2, Acks::One), policy(1, factor, Acks::One)]);
        let links = links(&space, 2);
        let few = route(&links[..1]);
        space.place(SLOT, PRIMARY, &few, false);
        attach(&space, &links[0]);
        let before = space.feed().position(SLOT);
        space.place(SLOT, PRIMARY, &[few[0].clone(), comes(&links[1])], false);
        let stays = space.feed().position(SLOT) == before;
        links[0].open(8);
        let theirs = Position { coverage: space.registry.load().coverage(2), ..before };
        let attached = space.attach(SLOT, &links[0], theirs, NOW);
        assert!(matches!(attached, Ok(Attached::GoesOn)), "{attached:?}");
        stays
    };
    assert!(moved(2));
    assert!(!moved(1), "what was done in a store that went to nobody was not counted");
}

#[test]
fn who_gets_a_slot_anew_has_the_others_told_of_a_number_if_they_were_not_told_of_all() {
    let space = space(&[policy(0, 3, Acks::One), policy(1, 2, Acks::One)]);
    let links = links(&space, 3);
    space.place(SLOT, PRIMARY, &route(&links[..2]), false);
    links[..2].iter().for_each(|link| attach(&space, link));
    let comes = Route { link: Arc::clone(&links[2]), synced: Synced::No, least_factor: 1 };
    let comes = || {
        let all: Vec<_> = route(&links[..2]).into_iter().chain([comes.clone()]).collect();
        space.place(SLOT, PRIMARY, &route(&links[..2]), false);
        space.place(SLOT, PRIMARY, &all, false);
        links[2].open(links[2].session() + 1);
        let attached = space.attach(SLOT, &links[2], Position::default(), NOW);
        assert!(matches!(attached, Ok(Attached::Pieces(_))), "{attached:?}");
        confirm(&links[2]);
        [&links[0], &links[1]].map(|link| confirm(link))
    };
    assert_eq!(comes(), [vec![], vec![]]);
    call_in(&space, 1, "set {a} 1");
    let told = (0, String::new());
    assert_eq!(comes(), [vec![(1, "SET {a} 1".to_owned()), told.clone()], vec![told.clone()]]);
    assert_eq!(comes(), [vec![], vec![]]);
    call_in(&space, 1, "set {a} 2");
    links[0].open(99);
    assert_eq!(comes(), [vec![], vec![]], "one that is not attached could not be told");
}

#[test]
fn who_had_a_store_that_a_new_primary_had_not_gets_all_anew() {
    let space = space(&[policy(0, 2, Acks::One), policy(1, 1, Acks::One)]);
    let links = links(&space, 1);
    let coverage = |least| space.registry.load().coverage(least);
    let all = [Route { link: Arc::clone(&links[0]), synced: Synced::No, least_factor: 1 }];
    let attach = |held, least_factor| {
        let before = Position { epoch: 4, sequence: 8, coverage: coverage(held) };
        space.place(SLOT, Role::None, &[], false);
        space.feed().change(SLOT, |feed| {
            feed.position = before;
            feed.levels.count(u8::MAX, before.sequence);
        });
        let epoch = space.feed().look(SLOT, |feed| feed.seen_epoch).unwrap() + 5;
        let route = Route { least_factor, ..all[0].clone() };
        space.place(SLOT, Role::Primary { epoch }, &[route], false);
        let theirs = Position { coverage: coverage(least_factor), ..before };
        matches!(space.attach(SLOT, &links[0], theirs, NOW), Ok(Attached::GoesOn))
    };
    assert!(attach(1, 1) && attach(1, 2) && attach(2, 2));
    assert!(!attach(2, 1));
}

#[test]
fn an_owner_to_whom_more_goes_by_a_change_of_stores_gets_all_anew() {
    let (first, second) = (policy(0, 2, Acks::One), policy(1, 1, Acks::One));
    let space = space(&[first.clone(), second.clone()]);
    let links = links(&space, 1);
    space.place(SLOT, PRIMARY, &route(&links), false);
    attach(&space, &links[0]);
    let new = policy(2, 2, Acks::One);
    space.set_stores(&[first.clone(), second.clone(), new.clone()]);
    call_in(&space, 2, "set {a} 1");
    assert_eq!(confirm(&links[0]), [(2, "SET {a} 1".to_owned())], "a new one is empty everywhere");
    space.set_stores(&[first, StorePolicy { replication_factor: 2, ..second }, new]);
    call(&space, "set {a} 1");
    assert_eq!(confirm(&links[0]), []);
}

#[test]
fn a_slot_that_nobody_else_owns_leaves_nothing_and_waits_for_nobody() {
    let space = space(&[policy(0, 3, Acks::All)]);
    call(&space, "set {a} 1");
    assert_eq!(awaits::take(), None);
    assert!(!space.feed().is_on());
    space.place(SLOT, PRIMARY, &[], false);
    call(&space, "set {a} 2");
    assert_eq!(awaits::take(), None);
}
