use super::*;
use crate::log::record::put_command;
use crate::replica::CheckCounts;

impl Pair {
    /// A pair that is in sync.
    fn in_sync(policy: &StorePolicy) -> Self {
        let pair = Self::new(policy);
        pair.attach_whole();
        pair.is_in_sync();
        pair
    }

    fn is_in_sync(&self) {
        assert!(self.primary.set_synced(SLOT, &self.link, Synced::Perhaps));
        assert!(self.primary.set_synced(SLOT, &self.link, Synced::Yes));
    }

    /// Does something to the replica's copy that its primary knows nothing of.
    fn damage(&self, words: &[&[u8]]) {
        let mut commands = Vec::new();
        put_command(&mut commands, words);
        let record = Record {
            sequence: 1,
            time_ms: NOW,
            store: 0,
            slot: SLOT,
            continues: false,
            commands: &commands,
        };
        self.replica.replay(&record).unwrap();
    }

    /// Asks the replica whether it holds the same, and gives what it says.
    fn check(&self, now_ms: u64) -> Applied {
        assert_eq!(self.primary.check_copies(SLOT, now_ms), 1);
        self.send()
    }

    fn counts(&self) -> CheckCounts {
        self.replica.feed().check_counts()
    }
}

#[test]
fn a_copy_that_is_not_what_its_primary_holds_is_found_whatever_differs_and_replaced_as_a_whole() {
    let damages: [&[&[u8]]; 7] = [
        &[b"SET", b"{a}", b"2"],
        &[b"DEL", b"{a}"],
        &[b"SET", b"{a}other", b"1"],
        &[b"PEXPIREAT", b"{a}", b"1900000000000"],
        &[b"HSET", b"{a}h", b"f", b"2"],
        &[b"RPUSH", b"{a}l", b"x"],
        &[b"ZADD", b"{a}z", b"2", b"m"],
    ];
    for damage in damages {
        let pair = Pair::in_sync(&policy());
        for words in
            ["set {a} 1", "hset {a}h f 1", "rpush {a}l x y", "zadd {a}z 1 m", "sadd {a}s 1"]
        {
            pair.call(words);
        }
        assert_eq!(pair.check(NOW).differing, []);
        pair.damage(damage);
        let found = pair.check(NOW);
        assert_eq!(found.differing, [(SLOT, 0)], "{damage:?}");
        assert_eq!(found.refused, [(SLOT, Refused::Differs)]);
        // Others count on it: first it has to leave the in-sync set, as it is.
        let theirs = pair.replica.feed().position(SLOT);
        assert_eq!(
            theirs,
            Position { coverage: theirs.coverage, ..pair.primary.feed().position(SLOT) }
        );
        let refused = pair.primary.attach(SLOT, &pair.link, theirs, NOW).unwrap_err();
        assert_eq!(refused, Unattached::InSync);
        assert!(pair.primary.set_synced(SLOT, &pair.link, Synced::No));
        let attached = pair.attach();
        pair.send();
        assert!(pair.load(attached) > 0, "that it is as far says nothing");
        pair.assert_equal();
        pair.is_in_sync();
        assert_eq!(pair.check(NOW).differing, []);
        let counts = CheckCounts { compared: 3, differing: 1, repaired: 1, left_out: 0 };
        assert_eq!(pair.counts(), counts);
    }
}

#[test]
fn what_ends_leaves_or_is_on_its_way_makes_no_copy_another_one() {
    let policy = StorePolicy { max_memory_bytes: Some(1 << 20), ..policy() };
    let pair = Pair::new(&policy);
    // One that is over and still there when the copy is made.
    pair.call("set {a}over 1 px 5");
    let theirs = pair.replica.feed().position(SLOT);
    let attached = pair.primary.attach(SLOT, &pair.link, theirs, NOW + 10).unwrap();
    pair.send();
    pair.load(attached);
    pair.is_in_sync();
    assert_eq!(pair.check(NOW + 10).differing, []);
    for n in 0..8000u64 {
        let now_ms = NOW + 10 + n;
        pair.call_at(&format!("set {{a}}{n} {n:0200} px {}", 1 + n * 7 % 9000), now_ms);
        pair.call_at(&format!("incr {{a}}i{}", n % 7), now_ms);
        pair.call_at(&format!("hset {{a}}h{} f{n} {n}", n % 5), now_ms);
        pair.call_at(&format!("zincrby {{a}}z 0.1 m{}", n % 11), now_ms);
        pair.call_at(&format!("pfadd {{a}}p {n}"), now_ms);
        if n % 50 == 0 {
            pair.primary.expire_cycle(now_ms, 1000);
        }
        if n % 40 == 0 {
            // By another clock than its primary's.
            pair.replica.expire_cycle(now_ms + 60_000, 1000);
            assert_eq!(pair.check(now_ms).differing, [], "{n}");
        }
    }
    let stats = pair.primary.stats().remove(0);
    assert!(stats.evicted_keys > 100 && stats.expired_keys > 100, "{stats:?}");
    assert_eq!(pair.counts().differing, 0);
}

#[test]
fn only_owners_that_are_in_sync_are_asked_and_only_by_a_primary_that_serves() {
    let pair = Pair::new(&policy());
    assert_eq!(pair.primary.check_copies(SLOT, NOW), 0, "nothing is attached");
    pair.attach_whole();
    assert_eq!(pair.primary.check_copies(SLOT, NOW), 0, "it is not in sync");
    pair.is_in_sync();
    assert_eq!(pair.primary.check_copies(SLOT, NOW), 1);
    assert_eq!(pair.replica.check_copies(SLOT, NOW), 0);
    pair.primary.set_serving(SLOT, false);
    assert_eq!(pair.primary.check_copies(SLOT, NOW), 0);
}

#[test]
fn a_slot_that_holds_too_much_to_be_read_at_once_is_left_out_and_counted() {
    let pair = Pair::in_sync(&policy());
    pair.call(&format!("set {{a}} {}", "x".repeat(5 << 20)));
    assert_eq!(pair.primary.check_copies(SLOT, NOW), 0);
    assert_eq!(pair.primary.feed().check_counts().left_out, 1);
}

#[test]
fn stores_of_sessions_and_those_that_the_copy_has_not_heard_of_are_not_compared() {
    let sessions = StorePolicy { eviction_policy: EvictionPolicy::Session, ..policy() };
    let pair = Pair::in_sync(&sessions);
    pair.call("set {a} 1");
    pair.send();
    pair.damage(&[b"SET", b"{a}", b"2"]);
    assert_eq!(pair.check(NOW).differing, []);
    pair.primary.set_stores(&[policy()]);
    assert_eq!(pair.check(NOW).differing, [], "the copy takes it for a store of sessions yet");
    pair.replica.set_stores(&[policy()]);
    assert_eq!(pair.check(NOW).differing, [(SLOT, 0)]);
}

#[test]
fn a_copy_that_was_given_up_is_refused_although_nothing_is_written() {
    let pair = Pair::in_sync(&policy());
    assert!(pair.replica.give_up_copy(SLOT));
    let found = pair.check(NOW);
    assert_eq!((found.differing, found.refused), (vec![], vec![(SLOT, Refused::Unattached)]));
}
