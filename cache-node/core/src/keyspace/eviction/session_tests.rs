use crate::cluster::SLOTS;
use crate::keyspace::{Keyspace, Lifetime, Options, Value};
use crate::store::{DEFAULT_STORE, EvictionPolicy, StorePolicy};

const NOW: u64 = 1_700_000_000_000;
const IDLE_MS: u64 = 1000;

fn policies(eviction: EvictionPolicy, max_memory_bytes: Option<u64>) -> Vec<StorePolicy> {
    let mut sessions = StorePolicy::new("sessions", 1);
    sessions.eviction_policy = eviction;
    sessions.max_memory_bytes = max_memory_bytes;
    sessions.default_ttl_ms = Some(IDLE_MS);
    sessions.key_prefixes = vec!["sess:".into()];
    vec![StorePolicy::new(DEFAULT_STORE, 0), sessions]
}

fn space(max_memory_bytes: Option<u64>) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 5, eviction_seed: 6 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space.set_stores(&policies(EvictionPolicy::Session, max_memory_bytes));
    space
}

fn set(space: &Keyspace, key: &str, now_ms: u64, lifetime: Lifetime) {
    let value = Value::plain(&[b'v'; 100]);
    space.with_key(1, key.as_bytes(), now_ms, true, |key| key.set(value, lifetime)).unwrap();
}

fn get(space: &Keyspace, key: &str, now_ms: u64) -> bool {
    space.with_key(1, key.as_bytes(), now_ms, false, |key| key.read().is_some()).unwrap()
}

fn exists(space: &Keyspace, key: &str, now_ms: u64) -> bool {
    space.with_key(1, key.as_bytes(), now_ms, false, |key| key.exists()).unwrap()
}

fn ends_at(space: &Keyspace, key: &str, now_ms: u64) -> Option<u64> {
    space.with_key(1, key.as_bytes(), now_ms, false, |key| key.expires_at_ms()).unwrap()
}

fn used(space: &Keyspace) -> u64 {
    space.stats()[1].used_memory_bytes
}

#[test]
fn a_use_of_one_key_extends_the_lifetime_of_its_whole_session() {
    for (user, cart, other) in
        [("{s1}user", "{s1}cart", "{s2}user"), ("sess:1:user", "sess:1:cart", "sess:2:user")]
    {
        let space = space(None);
        [user, cart, other].iter().for_each(|key| set(&space, key, NOW, Lifetime::Default));
        for round in 1..20 {
            assert!(get(&space, user, NOW + round * 900));
        }
        let last = NOW + 19 * 900;
        assert_eq!(ends_at(&space, cart, last), Some(last + IDLE_MS));
        assert_eq!(space.expire_cycle(last, usize::MAX), 1);
        let mut seen = 0;
        space.visit_keys(1, 0, usize::MAX, last + IDLE_MS - 1, |_| seen += 1);
        assert_eq!((seen, space.scan(1, 0, 100, last, |_| seen += 1)), (2, 0));
        assert_eq!(seen, 4);
        assert!(!exists(&space, other, last));
        // A write counts as well as a read; a look does not.
        set(&space, cart, last + 500, Lifetime::Keep);
        assert!(exists(&space, cart, last + 600));
        assert_eq!(ends_at(&space, user, last + 600), Some(last + 1500));
        assert!(!exists(&space, cart, last + 1500) && !exists(&space, user, last + 1500));
        assert_eq!(used(&space), 0);
    }
}

#[test]
fn a_key_with_a_lifetime_of_its_own_does_not_follow_its_session() {
    let space = space(None);
    set(&space, "{s}a", NOW, Lifetime::Default);
    set(&space, "{s}own", NOW, Lifetime::At(NOW + 300));
    set(&space, "{s}ever", NOW, Lifetime::At(0));
    assert!(get(&space, "{s}own", NOW + 299) && get(&space, "{s}a", NOW + 299));
    assert!(!get(&space, "{s}own", NOW + 300));
    assert!(!get(&space, "{s}a", NOW + 1299));
    assert!(get(&space, "{s}ever", NOW + 10 * IDLE_MS));
}

#[test]
fn keys_of_one_session_leave_together_the_most_idle_session_first() {
    for by_tag in [true, false] {
        let space = space(Some(1 << 20));
        let name = |session: u32, key: u32| {
            if by_tag { format!("{{s{session}}}{key}") } else { format!("sess:{session}:{key}") }
        };
        for session in 0..6000 {
            (0..4).for_each(|key| set(&space, &name(session, key), NOW, Lifetime::Default));
            // One session stays in use by one of its keys.
            assert!(get(&space, &name(0, 2), NOW), "{session}");
        }
        let (mut whole, mut gone) = (0, 0);
        for session in 0..6000 {
            let keys = (0..4).filter(|key| exists(&space, &name(session, *key), NOW)).count();
            match keys {
                4 => whole += 1,
                0 => gone += 1,
                _ => panic!("{keys} of 4 keys of session {session}"),
            }
        }
        assert!(whole > 500 && gone > 3000, "{whole} {gone}");
        assert!((0..4).all(|key| exists(&space, &name(0, key), NOW)));
        assert!((0..4).all(|key| exists(&space, &name(5999, key), NOW)));
        assert!(used(&space) < (1 << 20) + 4096);
    }
}

#[test]
fn a_session_that_begins_anew_does_not_wake_the_keys_of_the_one_before() {
    let space = space(None);
    for key in ["sess:1:a", "sess:1:b", "sess:1:c"] {
        set(&space, key, NOW, Lifetime::Default);
    }
    set(&space, "sess:1:a", NOW + IDLE_MS, Lifetime::Default);
    assert!(get(&space, "sess:1:a", NOW + IDLE_MS));
    assert!(!exists(&space, "sess:1:b", NOW + IDLE_MS));
    set(&space, "sess:1:b", NOW + IDLE_MS, Lifetime::Default);
    let late = NOW + 2 * IDLE_MS - 1;
    assert!(get(&space, "sess:1:b", late) && get(&space, "sess:1:a", late));
    space.expire_cycle(late, usize::MAX);
    assert_eq!(space.keys(1), 2);
}

#[test]
fn l6_the_policy_changes_to_and_fro_with_no_key_lost() {
    let space = space(None);
    (0..100).for_each(|i| set(&space, &format!("{{s}}{i}"), NOW, Lifetime::Default));
    for (round, policy) in
        [EvictionPolicy::Lru, EvictionPolicy::Session, EvictionPolicy::WTinyLfu].iter().enumerate()
    {
        space.set_stores(&policies(*policy, None));
        let now = NOW + round as u64;
        assert!((0..100).all(|i| get(&space, &format!("{{s}}{i}"), now)));
    }
    space.set_stores(&policies(EvictionPolicy::Session, None));
    (0..50).for_each(|i| set(&space, &format!("{{s}}{i}"), NOW + 900, Lifetime::Default));
    // Those that were written since are a session; the others live by their own lifetime.
    let there = |now: u64| (0..100).filter(|i| exists(&space, &format!("{{s}}{i}"), now)).count();
    assert_eq!((there(NOW + 999), there(NOW + 1000), there(NOW + 1900)), (100, 50, 0));
    assert_eq!(used(&space), 0);
}

#[test]
fn l10_records_of_sessions_go_with_their_keys() {
    let space = space(None);
    let sessions = |space: &Keyspace| {
        space.registry.load().get(1).map_or(0, |store| store.counters.sessions.len())
    };
    let fill = || {
        for i in 0..3000 {
            set(&space, &format!("{{s{}}}{i}", i / 3), NOW, Lifetime::Default);
        }
        assert_eq!(sessions(&space), 1000);
    };
    let empty = || assert_eq!((sessions(&space), used(&space), space.keys(1)), (0, 0, 0));
    fill();
    for i in 0..3000 {
        let key = format!("{{s{}}}{i}", i / 3);
        space.with_key(1, key.as_bytes(), NOW, false, |key| key.remove()).unwrap();
    }
    empty();
    fill();
    space.flush(1);
    empty();
    fill();
    (0..SLOTS).for_each(|slot| space.clear_slot(slot));
    empty();
    fill();
    assert_eq!(space.expire_cycle(NOW + IDLE_MS, usize::MAX), 3000);
    empty();
}
