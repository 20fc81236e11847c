use super::*;
use crate::command::lookup;
use crate::resp::{Protocol, Reply, Writer};
use crate::store::EvictionPolicy;

const NOW: u64 = 1_700_000_000_000;

fn space() -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    space
}

fn run_at(space: &Keyspace, store: StoreNumber, now_ms: u64, args: &[&[u8]]) -> Reply {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, Protocol::Resp2);
    space.execute(lookup(args).unwrap(), store, args, now_ms, &mut out).unwrap();
    let (reply, len) = Reply::parse(&bytes).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    reply
}

fn run(space: &Keyspace, words: &str) -> Reply {
    let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    run_at(space, 0, NOW, &args)
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.into())
}

fn stats(space: &Keyspace, number: StoreNumber) -> StoreStats {
    space.stats().into_iter().find(|store| store.number == number).unwrap()
}

fn bounded(eviction_policy: EvictionPolicy) -> StorePolicy {
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.max_memory_bytes = Some(1024 * 1024);
    policy.eviction_policy = eviction_policy;
    policy
}

#[test]
fn l4_keys_and_values_are_bytes_of_any_kind_and_length() {
    let space = space();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![b'|'; 5 << 20];
    for bytes in [&b""[..], b"\n", b"a|b", b"\0", b"\xff\xfe", b"\r\n$3\r\n", &all, &large] {
        assert_eq!(run_at(&space, 0, NOW, &[b"SET", bytes, bytes]), ok());
        assert_eq!(run_at(&space, 0, NOW, &[b"GET", bytes]), Reply::Bulk(bytes.to_vec()));
        let list = [bytes, b"list"].concat();
        assert_eq!(run_at(&space, 0, NOW, &[b"RPUSH", &list, bytes]), Reply::Integer(1));
        assert_eq!(run_at(&space, 0, NOW, &[b"LINDEX", &list, b"0"]), Reply::Bulk(bytes.to_vec()));
    }
}

#[test]
fn while_expiry_is_paused_nobody_finds_what_is_over_and_nothing_of_it_goes() {
    let space = space();
    for key in ["a", "b", "c"] {
        run(&space, &format!("SET {key} v PX 10"));
    }
    let later = NOW + 20;
    let at = |now_ms, words: &str| {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        run_at(&space, 0, now_ms, &args)
    };
    space.pause_expiry(later + 100);
    assert_eq!(at(later, "MGET a b c"), Reply::Array(vec![Reply::Null, Reply::Null, Reply::Null]));
    assert_eq!(
        (at(later, "EXISTS a b"), at(later, "DEL a")),
        (Reply::Integer(0), Reply::Integer(0))
    );
    assert_eq!((space.expire_cycle(later, usize::MAX), stats(&space, 0).keys), (0, 3));
    assert_eq!(stats(&space, 0).expired_keys, 0);
    // What is written takes the place of what was over.
    assert_eq!(at(later, "APPEND b x"), Reply::Integer(1));
    assert_eq!((stats(&space, 0).keys, stats(&space, 0).expired_keys), (3, 1));
    space.pause_expiry(0);
    assert_eq!(at(later, "GET a"), Reply::Null);
    assert_eq!(space.expire_cycle(later, usize::MAX), 1);
    assert_eq!((stats(&space, 0).keys, stats(&space, 0).expired_keys), (1, 3));
}

#[test]
fn l9_at_its_limit_a_store_evicts_and_accepts() {
    let space = space();
    space.set_stores(&[bounded(EvictionPolicy::Lru)]);
    for i in 0..20_000 {
        assert_eq!(run(&space, &format!("SET key:{i} {}", "x".repeat(100))), ok());
    }
    let stats = stats(&space, 0);
    assert!(stats.evicted_keys > 10_000, "{stats:?}");
    assert_eq!(stats.evicted_keys + stats.keys, 20_000);
    // One write may go over the bound; the next one makes room first.
    assert!(stats.used_memory_bytes < 1024 * 1024 + 4096, "{stats:?}");
    assert!(stats.keys > 2_000, "{stats:?}");
}

#[test]
fn the_least_recently_used_keys_leave_first() {
    let space = space();
    space.set_stores(&[bounded(EvictionPolicy::Lru)]);
    let value = "x".repeat(100);
    let mut now = NOW;
    let mut at = |words: String| {
        now += 100;
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        run_at(&space, 0, now, &args)
    };
    for i in 0..300 {
        at(format!("SET hot:{i} {value}"));
    }
    for i in 0..6_000 {
        at(format!("SET cold:{i} {value}"));
        at(format!("GET hot:{}", i % 300));
    }
    let kept = (0..300).filter(|i| at(format!("EXISTS hot:{i}")) == Reply::Integer(1)).count();
    assert!(kept > 285, "{kept} of 300 keys in use were kept");
}

#[test]
fn a_store_behind_one_hash_tag_evicts_too() {
    let space = space();
    space.set_stores(&[bounded(EvictionPolicy::Lru)]);
    for i in 0..20_000 {
        assert_eq!(run(&space, &format!("SET {{tag}}:{i} {}", "x".repeat(100))), ok());
    }
    assert!(stats(&space, 0).used_memory_bytes < 1024 * 1024 + 200 * 1024);
}

#[test]
fn a_store_that_may_not_evict_refuses_writes_in_the_words_of_redis() {
    let space = space();
    space.set_stores(&[bounded(EvictionPolicy::NoEviction)]);
    let refused = Reply::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    let mut written = 0;
    while run(&space, &format!("SET key:{written} {}", "x".repeat(1000))) == ok() {
        written += 1;
        assert!(written < 2000);
    }
    assert!(written > 300, "only {written} keys fit");
    assert_eq!(run(&space, "SET other value"), refused);
    assert_eq!(run(&space, "MSET a 1 b 2"), refused);
    assert!(matches!(run(&space, "GET key:0"), Reply::Bulk(_)));
    assert_eq!(run(&space, "DEL key:0 key:1"), Reply::Integer(2));
    assert_eq!(run(&space, "SET other value"), ok());
    assert!(stats(&space, 0).oom_errors >= 3);
    assert_eq!(stats(&space, 0).evicted_keys, 0);
}

#[test]
fn l10_deletes_expiry_and_flush_give_all_counted_memory_back() {
    let space = space();
    let fill = || {
        for i in 0..2000 {
            run(&space, &format!("SET string:{i} {}", "x".repeat(i % 300)));
            run(&space, &format!("RPUSH list:{} {}", i % 50, "y".repeat(i % 90)));
            run(&space, &format!("APPEND {{t}}raw:{} {}", i % 70, "z".repeat(i % 30)));
            run(&space, &format!("PEXPIRE string:{} 5000", i / 2));
        }
        let stats = stats(&space, 0);
        assert!(stats.used_memory_bytes > 400_000, "{stats:?}");
        assert!(stats.keys_with_ttl > 500);
    };
    let empty = || {
        let stats = stats(&space, 0);
        (stats.used_memory_bytes, stats.keys, stats.keys_with_ttl)
    };
    fill();
    let Reply::Array(keys) = run(&space, "KEYS *") else { panic!("KEYS gives no array") };
    for key in keys {
        let Reply::Bulk(key) = key else { panic!("a key is no bulk string") };
        run_at(&space, 0, NOW, &[b"DEL", &key]);
    }
    assert_eq!(empty(), (0, 0, 0));
    fill();
    run(&space, "FLUSHALL");
    assert_eq!(empty(), (0, 0, 0));
    fill();
    (0..SLOTS).for_each(|slot| space.clear_slot(slot));
    assert_eq!(empty(), (0, 0, 0));
    fill();
    let Reply::Array(keys) = run(&space, "KEYS *") else { panic!("KEYS gives no array") };
    for key in &keys {
        let Reply::Bulk(key) = key else { panic!("a key is no bulk string") };
        run_at(&space, 0, NOW, &[b"PEXPIRE", key, b"1000"]);
    }
    let expired = stats(&space, 0).expired_keys;
    assert_eq!(space.expire_cycle(NOW + 1000, usize::MAX), keys.len());
    assert_eq!(empty(), (0, 0, 0));
    assert_eq!(stats(&space, 0).expired_keys - expired, keys.len() as u64);
}

#[test]
fn the_expiry_cycle_works_in_bounded_steps_and_leaves_what_lives() {
    let space = space();
    for i in 0..5000 {
        run(&space, &format!("SET short:{i} v PX 1000"));
        run(&space, &format!("SET {{one}}:{i} v PX 2000"));
        run(&space, &format!("SET long:{i} v PX 100000"));
    }
    assert_eq!(space.expire_cycle(NOW + 999, 100_000), 0);
    let (mut left, mut rounds) = (0, 0);
    loop {
        let removed = space.expire_cycle(NOW + 1000, 100);
        left += removed;
        rounds += 1;
        if removed == 0 {
            break;
        }
        assert!(removed <= 200, "{removed} keys left in one step");
    }
    assert_eq!(left, 5000);
    assert!(rounds > 20);
    while space.expire_cycle(NOW + 2000, 3000) > 0 {}
    assert_eq!(run(&space, "DBSIZE"), Reply::Integer(5000));
    assert_eq!(space.expire_cycle(NOW + 2001, 1), 0);
}

#[test]
fn a_store_s_default_lifetime_is_given_to_keys_without_one() {
    let space = space();
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.default_ttl_ms = Some(5000);
    space.set_stores(&[policy]);
    run(&space, "SET a 1");
    run(&space, "SET b 1 PX 100");
    run(&space, "RPUSH c 1");
    run(&space, "INCR a");
    assert_eq!(run(&space, "PTTL a"), Reply::Integer(5000));
    assert_eq!(run(&space, "PTTL b"), Reply::Integer(100));
    assert_eq!(run(&space, "PTTL c"), Reply::Integer(5000));
    run(&space, "PERSIST a");
    run(&space, "RENAME a d");
    run(&space, "APPEND d 1");
    assert_eq!(run(&space, "PTTL d"), Reply::Integer(-1));
    assert_eq!(run_at(&space, 0, NOW + 5000, &[b"EXISTS", b"c"]), Reply::Integer(0));
}

#[test]
fn keys_of_database_0_go_to_the_store_with_the_longest_prefix() {
    let space = space();
    let store = |name: &str, number, prefixes: &[&str]| {
        let mut policy = StorePolicy::new(name, number);
        policy.key_prefixes = prefixes.iter().map(|p| (*p).to_owned()).collect();
        policy
    };
    space.set_stores(&[
        StorePolicy::new(DEFAULT_STORE, 0),
        store("sessions", 1, &["s:"]),
        store("admins", 2, &["s:admin:"]),
    ]);
    run(&space, "SET s:1 session");
    run(&space, "MSET s:admin:1 admin other 1");
    let get = |number, key: &str| run_at(&space, number, NOW, &[b"GET", key.as_bytes()]);
    assert_eq!(get(0, "s:1"), bulk("session"));
    assert_eq!(get(1, "s:1"), bulk("session"));
    assert_eq!(get(2, "s:admin:1"), bulk("admin"));
    assert_eq!(get(1, "s:admin:1"), Reply::Null);
    assert_eq!((space.keys(0), space.keys(1), space.keys(2)), (1, 1, 1));
    run(&space, "RENAME s:1 moved");
    assert_eq!((space.keys(0), space.keys(1)), (2, 0));
    assert_eq!(get(0, "moved"), bulk("session"));
}

#[test]
fn policies_change_with_data_in_place_and_a_dropped_store_goes_with_its_data() {
    let space = space();
    let (default, first) = (StorePolicy::new(DEFAULT_STORE, 0), StorePolicy::new("first", 1));
    space.set_stores(&[default.clone(), first.clone()]);
    let call = |args: &[&[u8]]| run_at(&space, 1, NOW, args);
    call(&[b"SET", b"a", b"1"]);
    let mut changed = first.clone();
    changed.default_ttl_ms = Some(1000);
    space.set_stores(&[default.clone(), changed]);
    assert_eq!(call(&[b"GET", b"a"]), bulk("1"));
    space.set_stores(std::slice::from_ref(&default));
    assert!(!space.has_store(1));
    assert_eq!(
        call(&[b"GET", b"a"]),
        Reply::Error("ERR the selected store does not exist any more".into())
    );
    space.set_stores(&[default.clone(), first]);
    assert_eq!(call(&[b"GET", b"a"]), Reply::Null);
    call(&[b"SET", b"a", b"1"]);
    // The same number under another name is another store.
    space.set_stores(&[default, StorePolicy::new("second", 1)]);
    assert_eq!(call(&[b"GET", b"a"]), Reply::Null);
    // The default store stays even if nobody lists it.
    run(&space, "SET kept 1");
    space.set_stores(&[]);
    assert_eq!(run(&space, "GET kept"), bulk("1"));
}

#[test]
fn a_slot_that_is_not_served_is_refused_before_anything_changes() {
    let space = space();
    let call = |words: &str| {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes, Protocol::Resp2);
        let result = space.execute(lookup(&args).unwrap(), 0, &args, NOW, &mut out);
        (result, bytes.len())
    };
    space.set_serving(slot_of(b"b"), false);
    let refused = (Err(NotServing { slot: slot_of(b"b") }), 0);
    assert_eq!(call("MSET a 1 b 2"), refused);
    assert_eq!(call("GET b"), refused);
    assert_eq!(run(&space, "GET a"), Reply::Null);
}

#[test]
fn a_slot_is_fenced_only_when_nothing_lives_in_it() {
    let space = space();
    let slot = slot_of(b"a");
    run(&space, "SET a 1 PX 100");
    assert!(!space.fence_if_empty(slot, NOW + 99));
    assert!(space.is_serving(slot));
    assert!(space.fence_if_empty(slot, NOW + 100));
    assert!(!space.is_serving(slot));
    assert!(!space.is_serving(SLOTS));
}

#[test]
fn a_scan_sees_every_key_that_stays_while_others_come_and_go() {
    let space = space();
    for i in 0..3000 {
        run(&space, &format!("SET stay:{i} 1"));
        run(&space, &format!("SET {{tag}}stay:{i} 1"));
    }
    let mut seen = std::collections::HashSet::new();
    let (mut cursor, mut round) = (0u64, 0);
    loop {
        let mut count = 0;
        cursor = space.scan(0, cursor, 50, NOW, |entry| {
            count += 1;
            seen.insert(entry.key.to_vec());
        });
        assert!(cursor < 1 << 53);
        assert!(count < 60, "{count} keys in one step");
        for i in 0..20 {
            run(&space, &format!("SET {{tag}}new:{round}:{i} 1"));
            run(&space, &format!("SET new:{round}:{i} 1"));
            run(&space, &format!("DEL new:{}:{i}", round - 1));
        }
        round += 1;
        if cursor == 0 {
            break;
        }
    }
    for i in 0..3000 {
        assert!(seen.contains(format!("stay:{i}").as_bytes()));
        assert!(seen.contains(format!("{{tag}}stay:{i}").as_bytes()));
    }
}

#[test]
fn a_scan_stops_before_the_first_slot_of_another_member() {
    let space = space();
    run(&space, "MSET a 1 b 2 foo 3");
    let mut slots = [slot_of(b"a"), slot_of(b"b"), slot_of(b"foo")];
    slots.sort_unstable();
    space.set_serving(slots[1], false);
    let cursor = space.scan(0, 0, 100, NOW, |_| {});
    assert_eq!(scan_slot(cursor), slots[1]);
    assert_eq!(cursor, scan_cursor(u32::from(slots[1])));
    let args: [&[u8]; 2] = [b"SCAN", &cursor.to_string().into_bytes()];
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, Protocol::Resp2);
    let result = space.execute(lookup(&args).unwrap(), 0, &args, NOW, &mut out);
    assert_eq!(result, Err(NotServing { slot: slots[1] }));
    let mut rest = 0;
    let end = space.scan(0, scan_cursor(u32::from(slots[1]) + 1), 100, NOW, |_| rest += 1);
    assert_eq!((end, rest), (0, 1));
}

#[test]
fn s5_arguments_at_their_limits_neither_wrap_nor_allocate() {
    let space = space();
    let max = i64::MAX;
    run(&space, "SET s abc");
    run(&space, "RPUSH l a b c");
    let too_long =
        Reply::Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into());
    assert_eq!(run(&space, &format!("SETRANGE s {max} x")), too_long);
    assert_eq!(run(&space, "SETRANGE s 536870912 x"), too_long);
    assert_eq!(run(&space, &format!("GETRANGE s {} {max}", i64::MIN)), bulk("abc"));
    assert_eq!(run(&space, &format!("GETRANGE s {max} {max}")), bulk(""));
    assert_eq!(run(&space, &format!("LINDEX l {}", i64::MIN)), Reply::Null);
    assert!(matches!(
        run(&space, &format!("LPOS l c RANK {}", i64::MIN)),
        Reply::Error(text) if text.starts_with("ERR value is out of range")
    ));
    assert_eq!(run(&space, &format!("LPOS l c COUNT {max} MAXLEN {max}")), {
        Reply::Array(vec![Reply::Integer(2)])
    });
    assert_eq!(run(&space, &format!("LREM l {} x", i64::MIN)), Reply::Integer(0));
    assert_eq!(run(&space, &format!("EXPIRE s {max}")), {
        Reply::Error("ERR invalid expire time in 'expire' command".into())
    });
    assert_eq!(run(&space, &format!("PEXPIREAT s {max}")), Reply::Integer(1));
    assert_eq!(run(&space, &format!("SCAN 0 COUNT {max}")), {
        let Reply::Array(parts) = run(&space, "SCAN 0 COUNT 1000") else { panic!("no array") };
        Reply::Array(parts)
    });
    assert_eq!(run(&space, &format!("SCAN {max}")), {
        Reply::Array(vec![bulk("0"), Reply::Array(vec![])])
    });
    assert!(stats(&space, 0).used_memory_bytes < 4096);
    let popped = run(&space, &format!("LPOP l {max}"));
    assert_eq!(popped, Reply::Array(vec![bulk("a"), bulk("b"), bulk("c")]));
}

#[test]
fn commands_over_several_keys_are_atomic_under_threads() {
    let space = space();
    run(&space, "MSET a 500 b 500");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let space = &space;
            scope.spawn(move || {
                for i in 0..500 {
                    let value = thread * 1000 + i;
                    let words = if thread % 2 == 0 {
                        format!("MSET a {value} b {value} c {value}")
                    } else {
                        format!("MSET c {value} b {value} a {value}")
                    };
                    run(space, &words);
                    let Reply::Array(values) = run(space, "MGET a b") else {
                        panic!("MGET gives no array")
                    };
                    assert_eq!(values[0], values[1]);
                    run(space, "RENAME c d");
                    run(space, "INCR counter");
                }
            });
        }
    });
    assert_eq!(run(&space, "GET counter"), bulk("2000"));
    run(&space, "FLUSHALL");
    assert_eq!(stats(&space, 0).used_memory_bytes, 0);
}
