//! Several owners of a slot that get different stores of it, and who of them is whole for another primary.

use super::*;
use crate::replica::MAX_WAYS;

/// Members 1, 2 and 3, with two stores of all owners, one of two and one of the primary alone.
struct Owners {
    spaces: Vec<Arc<Keyspace>>,
}

impl Owners {
    fn new() -> Self {
        let policy = |number: u16, replication_factor| StorePolicy {
            replication_factor,
            ..StorePolicy::new(format!("s{number}"), number)
        };
        let stores = [policy(0, 3), policy(1, 2), policy(2, 1), policy(3, 3)];
        let space = |seed| {
            let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed });
            space.set_stores(&stores);
            Arc::new(space)
        };
        Self { spaces: (1..=3).map(space).collect() }
    }

    fn space(&self, member: u64) -> &Arc<Keyspace> {
        &self.spaces[usize::try_from(member - 1).unwrap()]
    }

    fn link(&self, from: u64, to: u64) -> Arc<Link> {
        self.space(from).feed().link_to(to, || Waker::noop().clone())
    }

    /// All hear that the first one is the slot's primary; `others` says who gets what.
    fn place(&self, primary: u64, epoch: u64, others: &[(u64, u8)]) {
        assert!(others.len() <= MAX_WAYS);
        let route = |(to, least_factor): &(u64, u8)| Route {
            link: self.link(primary, *to),
            synced: Synced::No,
            least_factor: *least_factor,
        };
        let route: Vec<_> = others.iter().map(route).collect();
        for (member, space) in (1..).zip(&self.spaces) {
            let role = match member == primary {
                true => Role::Primary { epoch },
                false => Role::Replica { of: primary, epoch },
            };
            let is_route = if member == primary { &route[..] } else { &[] };
            assert!(space.place(SLOT, role, is_route, false));
            space.set_serving(SLOT, member == primary);
        }
        awaits::take();
    }

    /// Attaches an owner over a new session; how many pieces it needed.
    fn attach(&self, from: u64, to: u64) -> usize {
        let link = self.link(from, to);
        link.open(link.session() + 1);
        let theirs = self.space(to).feed().position(SLOT);
        let attached = self.space(from).attach(SLOT, &link, theirs, NOW).unwrap();
        self.send(from, to);
        let Attached::Pieces(mut pieces) = attached else { return 0 };
        let (mut entries, mut count) = (Vec::new(), 0);
        while let Some(piece) = pieces.next_piece(&mut entries).unwrap() {
            let loaded = self.space(to).load_piece(from, link.session(), &piece, &entries, NOW);
            assert_eq!(matches!(loaded, LoadedPiece::Whole(_)), piece.is_last, "{loaded:?}");
            count += 1;
        }
        assert!(self.space(from).attached(SLOT, &link, pieces.attachment()));
        self.send(from, to);
        count
    }

    fn send(&self, from: u64, to: u64) {
        let link = self.link(from, to);
        while let Some(cycle) = link.take() {
            for frame in &cycle.frames {
                let applied = self.space(to).apply(from, cycle.session, frame, NOW).unwrap();
                assert!(applied.refused.is_empty(), "{applied:?}");
            }
            link.confirm(cycle.session, cycle.number);
        }
    }

    fn write(&self, primary: u64, store: u16, value: &str, to: &[u64]) {
        let args: [&[u8]; 3] = [b"set", b"{a}", value.as_bytes()];
        let mut bytes = Vec::new();
        let out = &mut Writer::new(&mut bytes, Protocol::Resp2);
        self.space(primary).execute(lookup(&args).unwrap(), store, &args, NOW, out).unwrap();
        awaits::take();
        to.iter().for_each(|to| self.send(primary, *to));
    }

    fn has_same(&self, store: u16, members: [u64; 2]) -> bool {
        let [one, other] = members.map(|of| self.space(of).slot_digest(store, SLOT, NOW));
        one == other
    }

    /// Member 1 is the primary, 2 and 3 follow it with two stores and one.
    fn three() -> Self {
        let owners = Self::new();
        owners.place(1, 5, &[(2, 2), (3, 3)]);
        [2, 3].into_iter().for_each(|to| assert_ne!(owners.attach(1, to), 0));
        owners.write(1, 0, "first", &[2, 3]);
        owners
    }
}

#[test]
fn an_owner_of_fewer_stores_goes_on_after_a_fail_over_although_it_was_not_told_of_all_records() {
    let owners = Owners::three();
    owners.write(1, 1, "not for 3", &[2]);
    owners.place(2, 6, &[(3, 3)]);
    assert_eq!(owners.attach(2, 3), 0);
    owners.write(2, 0, "second", &[3]);
    assert!(owners.has_same(0, [2, 3]));
}

#[test]
fn an_owner_that_lacks_a_record_of_its_stores_gets_all_after_a_fail_over() {
    let owners = Owners::three();
    owners.write(1, 0, "only with 2", &[2]);
    owners.write(1, 1, "not for 3", &[2]);
    owners.place(2, 6, &[(3, 3)]);
    assert_ne!(owners.attach(2, 3), 0);
    assert!(owners.has_same(0, [2, 3]));
}

#[test]
fn an_owner_that_comes_to_be_primary_and_gets_all_stores_is_no_reason_for_the_others_to_get_theirs_again()
 {
    let owners = Owners::new();
    owners.place(1, 5, &[(2, 2)]);
    owners.attach(1, 2);
    owners.write(1, 0, "first", &[2]);
    owners.write(1, 2, "with nobody else", &[2]);
    owners.place(1, 5, &[(2, 2), (3, 1)]);
    assert_ne!(owners.attach(1, 3), 0);
    owners.send(1, 2);
    owners.write(1, 2, "with the next primary", &[2, 3]);
    owners.place(3, 6, &[(2, 2)]);
    assert!(owners.has_same(2, [1, 3]));
    assert_eq!(owners.attach(3, 2), 0, "it has what there is of its stores");
    owners.write(3, 1, "second", &[2]);
    assert!(owners.has_same(0, [2, 3]) && owners.has_same(1, [2, 3]));
}

#[test]
fn what_was_counted_by_other_replication_factors_proves_nothing() {
    let owners = Owners::three();
    owners.write(1, 1, "not for 3", &[2]);
    let mut stores = owners.space(2).policies().to_vec();
    stores[2].replication_factor = 2;
    owners.space(2).set_stores(&stores);
    owners.place(2, 6, &[(3, 3)]);
    assert_ne!(owners.attach(2, 3), 0);
}

#[test]
fn a_primary_that_hands_over_goes_on_with_the_stores_that_it_is_to_have_and_loses_the_others() {
    let owners = Owners::three();
    owners.write(1, 2, "with nobody else", &[]);
    owners.place(2, 6, &[(1, 2), (3, 3)]);
    owners.space(1).narrow(SLOT, 2);
    assert_eq!(owners.space(1).keys(2), 0);
    assert_eq!(owners.attach(2, 1), 0);
    owners.write(2, 1, "second", &[1]);
    assert!(owners.has_same(0, [1, 2]) && owners.has_same(1, [1, 2]));
    // It is another one's to be primary again, and to have something in that store.
    owners.place(1, 7, &[(2, 2), (3, 3)]);
    owners.space(2).narrow(SLOT, 2);
    owners.write(1, 2, "once more", &[]);
    assert_eq!(owners.attach(1, 2), 0, "it had no more by that");
}

#[test]
fn a_copy_that_follows_a_stream_is_left_as_it_is() {
    let owners = Owners::new();
    owners.place(1, 5, &[(2, 1)]);
    owners.attach(1, 2);
    owners.write(1, 2, "also with who is to be primary", &[2]);
    let before = owners.space(2).feed().position(SLOT);
    owners.space(2).narrow(SLOT, 2);
    assert_eq!((owners.space(2).feed().position(SLOT), owners.space(2).keys(2)), (before, 1));
}

#[test]
fn a_former_primary_counts_on_from_where_those_are_whose_stores_it_kept() {
    let owners = Owners::new();
    owners.place(1, 5, &[(2, 1)]);
    owners.attach(1, 2);
    owners.write(1, 0, "for all", &[2]);
    owners.write(1, 2, "for who is to be primary", &[2]);
    owners.place(2, 6, &[(1, 3)]);
    owners.space(1).narrow(SLOT, 3);
    owners.place(1, 7, &[(2, 2), (3, 1)]);
    assert_ne!(owners.attach(1, 3), 0);
    owners.write(1, 0, "next", &[3]);
    assert!(owners.has_same(0, [1, 3]));
}

#[test]
fn an_owner_drops_what_it_has_of_a_store_that_only_the_primary_is_to_have_any_more() {
    for hears_first in [1, 3] {
        let owners = Owners::three();
        let mut stores = owners.space(1).policies().to_vec();
        let index = stores.iter().position(|store| store.number == 0).unwrap();
        stores[index].replication_factor = 1;
        assert_eq!(owners.space(3).keys(0), 1);
        owners.space(hears_first).set_stores(&stores);
        owners.send(1, 3);
        assert_eq!(owners.space(3).keys(0), 1, "the other does not know");
        owners.space(4 - hears_first).set_stores(&stores);
        owners.send(1, 3);
        assert_eq!((owners.space(2).keys(0), owners.space(3).keys(0)), (1, 0));
    }
}

#[test]
fn an_owner_that_is_to_have_fewer_stores_keeps_those_and_is_whole_all_the_time() {
    let owners = Owners::new();
    owners.place(1, 5, &[(2, 2), (3, 1)]);
    [2, 3].into_iter().for_each(|to| assert_ne!(owners.attach(1, to), 0));
    owners.write(1, 0, "for all", &[2, 3]);
    owners.write(1, 2, "for who takes another one's place", &[2, 3]);
    owners.place(1, 5, &[(2, 2), (3, 3)]);
    let link = owners.link(1, 3);
    let owner = owners.space(1).feed().look(SLOT, |feed| feed.owner(&link)).flatten();
    assert!(owner.is_some_and(|owner| owner.is_whole));
    [2, 3].into_iter().for_each(|to| owners.send(1, to));
    assert_eq!([0, 2].map(|store| owners.space(3).keys(store)), [1, 0]);
    owners.place(2, 6, &[(3, 3)]);
    assert_eq!(owners.attach(2, 3), 0, "the other one knows how far it is");
    owners.write(2, 0, "next", &[3]);
    assert!(owners.has_same(0, [2, 3]));
}
