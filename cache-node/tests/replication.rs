//! Three members that keep each key more than once: what was acknowledged outlives a member.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::cluster::{Cluster, launch};
use common::{Raw, free_port, try_for, wait_for};
use hypercache_core::cluster::slot_of;
use hypercache_core::resp::Reply;

/// A store with three copies in three members, confirmed by a majority; one with two, by all.
const STORES: &str = "stores:\n  q: {number: 1, replication_factor: 3, acks: quorum}\n  \
                      a: {number: 2, replication_factor: 2, acks: all}\n";

/// One cluster at a time: members that get no turn for long are taken for dead.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ok(reply: &[u8]) -> bool {
    reply == b"+OK\r\n"
}

fn value(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// Waits until every slot's owners are in sync, as each member says.
fn wait_in_sync(cluster: &Cluster) {
    for member in &cluster.members {
        // Members that come back get their slots again, some at a time.
        let whole = (0..4).any(|_| {
            try_for(|| {
                let status = member.http("GET /api/admin/cluster");
                status.contains("\"fully_replicated\":true").then_some(())
            })
            .is_some()
        });
        assert!(whole, "not all is in sync; the log of a member:\n{}", member.log());
    }
}

/// Writes until each of so many keys was acknowledged, by a client that tries again.
fn write(cluster: &Cluster, through: usize, store: &str, keys: usize, round: usize) {
    let mut raw = cluster.selected(through, store);
    for n in 0..keys {
        let (key, text) = (format!("k{n}"), format!("v{round}:{n}"));
        wait_for("an acknowledged write", || {
            ok(&raw.ask(&[b"SET", key.as_bytes(), text.as_bytes()])).then_some(())
        });
    }
}

fn read(cluster: &Cluster, through: usize, store: &str, keys: usize, round: usize) {
    let mut raw = cluster.selected(through, store);
    for n in 0..keys {
        let (key, text) = (format!("k{n}"), format!("v{round}:{n}"));
        let got = wait_for("an answer", || {
            let reply = raw.ask(&[b"GET", key.as_bytes()]);
            (!reply.starts_with(b"-")).then_some(reply)
        });
        assert_eq!(got, value(&text), "{key} of store {store} through {through}");
    }
}

#[test]
fn what_was_acknowledged_outlives_the_death_of_any_member() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_sync(&cluster);
    for store in ["1", "2"] {
        write(&cluster, 0, store, 200, 0);
    }
    for dies in 0..3 {
        let other = (dies + 1) % 3;
        cluster.members[dies].kill();
        for store in ["1", "2"] {
            read(&cluster, other, store, 200, dies);
            write(&cluster, other, store, 200, dies + 1);
        }
        cluster.members[dies] = launch(STORES, cluster.ports[dies], &cluster.flags[dies]);
        cluster.wait_whole();
        wait_in_sync(&cluster);
        for store in ["1", "2"] {
            (0..3).for_each(|through| read(&cluster, through, store, 200, dies + 1));
        }
    }
}

#[test]
fn who_asks_another_member_waits_for_the_fail_over_and_is_told_no_error() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_sync(&cluster);
    write(&cluster, 0, "1", 100, 0);
    let mut raw = cluster.selected(0, "1");
    cluster.members[1].kill();
    for n in 0..100 {
        let got = raw.ask(&[b"GET", format!("k{n}").as_bytes()]);
        assert_eq!(got, value(&format!("v0:{n}")), "k{n}: {}", got.escape_ascii());
    }
}

#[test]
fn l28_what_was_deleted_while_a_member_was_away_stays_deleted_when_it_serves_again() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_sync(&cluster);
    write(&cluster, 1, "1", 100, 0);
    cluster.members[0].kill();
    let mut raw = cluster.selected(1, "1");
    for n in 0..100 {
        let key = format!("k{n}");
        // A try that ended with an error may have deleted it.
        let mut tries = Vec::new();
        let deleted = wait_for("an acknowledged delete", || {
            tries.push(raw.ask(&[b"DEL", key.as_bytes()]));
            tries.last().filter(|reply| !reply.starts_with(b"-")).cloned()
        });
        let is_first = tries.len() == 1;
        assert!(
            deleted == b":1\r\n" || !is_first && deleted == b":0\r\n",
            "{key}: {:?}",
            tries.iter().map(|reply| reply.escape_ascii().to_string()).collect::<Vec<_>>()
        );
    }
    cluster.members[0] = launch(STORES, cluster.ports[0], &cluster.flags[0]);
    cluster.wait_whole();
    wait_in_sync(&cluster);
    // Each of the others in turn leaves the one that was away to answer.
    for dies in [1, 2] {
        cluster.members[dies].kill();
        let mut raw = cluster.selected(0, "1");
        for n in 0..100 {
            let key = format!("k{n}");
            let got = wait_for("an answer", || {
                let reply = raw.ask(&[b"GET", key.as_bytes()]);
                (!reply.starts_with(b"-")).then_some(reply)
            });
            assert_eq!(got, b"$-1\r\n", "{key}");
        }
        cluster.members[dies] = launch(STORES, cluster.ports[dies], &cluster.flags[dies]);
        cluster.wait_whole();
        wait_in_sync(&cluster);
    }
}

#[test]
fn a_member_that_is_told_to_stop_hands_its_slots_over_and_loses_no_write() {
    let _alone = alone();
    let mut cluster = Cluster::start([1, 0, 2], STORES);
    wait_in_sync(&cluster);
    write(&cluster, 2, "1", 100, 0);
    assert_eq!(cluster.members[0].terminate(), Some(0));
    let log = cluster.members[0].log();
    assert!(log.contains("slots were handed over"), "{log}");
    read(&cluster, 1, "1", 100, 0);
    write(&cluster, 1, "1", 100, 1);
    read(&cluster, 2, "1", 100, 1);
    let reply = cluster.raw(1).ask(&[b"INFO", b"replication"]);
    assert!(
        String::from_utf8_lossy(&reply).contains("connected_slaves:1"),
        "{}",
        reply.escape_ascii()
    );
    let mut raw = cluster.selected(1, "1");
    let reply = raw.ask(&[b"WAIT", b"1", b"5000"]);
    assert_eq!(reply, b":1\r\n");
}

/// The ports of a key's owners, its primary's first.
fn owners(slots: &Reply, key: &str) -> Vec<i64> {
    let list = |reply: &Reply| match reply {
        Reply::Array(list) => list.clone(),
        other => panic!("{other:?}"),
    };
    let number = |reply: &Reply| match reply {
        Reply::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    let slot = i64::from(slot_of(key.as_bytes()));
    let mut runs = list(slots).into_iter().map(|run| list(&run));
    let run = runs.find(|run| (number(&run[0])..=number(&run[1])).contains(&slot)).unwrap();
    run[2..].iter().map(|node| number(&list(node)[1])).collect()
}

#[test]
fn wait_counts_who_has_what_was_written_and_nobody_who_holds_nothing_of_it() {
    let _alone = alone();
    let yaml = "stores:\n  o: {number: 1, replication_factor: 2, acks: one}\n";
    let cluster = Cluster::start([0, 1, 2], yaml);
    wait_in_sync(&cluster);
    let told = cluster.raw(0).ask(&[b"CLUSTER", b"SLOTS"]);
    let (slots, _) = Reply::parse(&told).unwrap().unwrap();
    let port = |i: usize| i64::from(cluster.ports[i].0);
    let key = |primary, copy| {
        let is_it = |key: &String| owners(&slots, key) == [port(primary), port(copy)];
        (0..).map(|n| format!("k{n}")).find(is_it).unwrap()
    };
    // Of member 0 with a copy at 1, or at 2; and of another member than that which is asked.
    let (there, away, elsewhere) = (key(0, 1), key(0, 2), key(1, 2));
    cluster.members[2].pause();
    let written = |keys: &[&String]| {
        let mut raw = cluster.selected(0, "1");
        for key in keys {
            wait_for("a write", || ok(&raw.ask(&[b"SET", key.as_bytes(), b"1"])).then_some(()));
        }
        raw
    };
    assert_eq!(written(&[&there]).ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n");
    let mut waiting =
        [&[&away][..], &[&elsewhere], &[&there, &away], &[&elsewhere, &there]].map(written);
    for raw in &mut waiting {
        assert_eq!(raw.ask(&[b"WAIT", b"1", b"200"]), b":0\r\n");
    }
    cluster.members[2].resume();
    for raw in &mut waiting {
        assert_eq!(raw.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n");
    }
    // More than are remembered one by one; then what is known already, and more of it than there are.
    let many: Vec<String> = (0..100).map(|n| format!("many{n}")).collect();
    let mut raw = written(&many.iter().collect::<Vec<_>>());
    assert_eq!(raw.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n");
    assert_eq!(raw.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n");
    assert_eq!(raw.ask(&[b"WAIT", b"2", b"100"]), b":1\r\n");
    // A store without copies has none.
    let mut raw = cluster.raw(0);
    assert!(ok(&raw.ask(&[b"SET", b"alone", b"1"])));
    assert_eq!(raw.ask(&[b"WAIT", b"1", b"100"]), b":0\r\n");
}

#[test]
fn wait_counts_nobody_for_what_a_primary_that_died_may_have_had_alone() {
    let _alone = alone();
    let yaml = "stores:\n  o: {number: 1, replication_factor: 3, acks: one}\n  \
                q: {number: 2, replication_factor: 3, acks: quorum}\n";
    let mut cluster = Cluster::start([0, 1, 2], yaml);
    wait_in_sync(&cluster);
    let told = cluster.raw(0).ask(&[b"CLUSTER", b"SLOTS"]);
    let (slots, _) = Reply::parse(&told).unwrap().unwrap();
    let key = |primary: usize| {
        let port = i64::from(cluster.ports[primary].0);
        (0..).map(|n| format!("k{n}")).find(|key| owners(&slots, key)[0] == port).unwrap()
    };
    let (dies, stays) = (key(1), key(0));
    let mut raws: Vec<Raw> = [("1", &dies), ("2", &dies), ("1", &stays), ("1", &dies)]
        .map(|(store, key)| {
            let mut raw = cluster.selected(0, store);
            assert!(ok(&raw.ask(&[b"SET", key.as_bytes(), b"1"])));
            raw
        })
        .into();
    cluster.members[1].kill();
    let served = |raw: &mut Raw| {
        wait_for("an answer", || {
            (!raw.ask(&[b"GET", dies.as_bytes()]).starts_with(b"-")).then_some(())
        });
    };
    served(&mut raws[0]);
    let [one, quorum, other, on_disk] = &mut raws[..] else { panic!("four") };
    assert_eq!(one.ask(&[b"WAIT", b"1", b"20000"]), b":0\r\n", "it may be gone");
    assert_eq!(quorum.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n", "a majority had it");
    assert_eq!(other.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n", "its primary lives");
    let nobody = b"*2\r\n:0\r\n:0\r\n";
    assert_eq!(on_disk.ask(&[b"WAITAOF", b"0", b"1", b"0"]), nobody, "as well, at once");
    assert!(ok(&one.ask(&[b"SET", dies.as_bytes(), b"2"])));
    assert_eq!(one.ask(&[b"WAIT", b"1", b"20000"]), b":1\r\n", "it was written again");
}

#[test]
fn a_member_that_is_told_to_stop_answers_every_request_that_it_does() {
    let _alone = alone();
    let mut cluster = Cluster::start([2, 0, 1], STORES);
    wait_in_sync(&cluster);
    let mut blocked = cluster.selected(0, "1");
    blocked.command(&[b"BLPOP", b"nothing", b"0"]);
    let clients: Vec<_> = (0..8)
        .map(|n| {
            let mut raw = cluster.selected(0, "1");
            let key = format!("c{n}");
            let mut answered = 0;
            while answered < 20 {
                answered += u64::from(raw.ask(&[b"INCR", key.as_bytes()]).starts_with(b":"));
            }
            std::thread::spawn(move || {
                let incr = Raw::encode(&[b"INCR", key.as_bytes()]);
                while raw.try_send(&incr)
                    && let Some(reply) = raw.try_reply()
                {
                    assert!(reply.starts_with(b":"), "{}", reply.escape_ascii());
                    answered += 1;
                }
                (key, answered)
            })
        })
        .collect();
    assert_eq!(cluster.members[0].terminate(), Some(0));
    assert!(blocked.ended(), "who waits is told nothing: nothing was taken");
    let mut raw = cluster.selected(1, "1");
    for client in clients {
        let (key, answered) = client.join().unwrap();
        assert_eq!(raw.ask(&[b"GET", key.as_bytes()]), value(&answered.to_string()), "{key}");
    }
}

#[test]
fn a_request_waits_for_a_new_leader_and_primary_so_that_one_retry_at_once_is_enough() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 2, 1], STORES);
    wait_in_sync(&cluster);
    write(&cluster, 0, "1", 60, 0);
    let leads = |i: &usize| {
        let status = cluster.members[*i].http("GET /api/admin/cluster");
        status.contains(&format!("\"leader\":\"m-{i}\""))
    };
    let leader = wait_for("a leader", || (0..3).find(leads));
    let other = (leader + 1) % 3;
    let mut raw = cluster.selected(other, "1");
    cluster.members[leader].kill();
    for n in 0..60 {
        let (key, text) = (format!("k{n}"), format!("v1:{n}"));
        let mut replies = Vec::new();
        for _try in 0..2 {
            let reply = raw.ask(&[b"SET", key.as_bytes(), text.as_bytes()]);
            let is_done = ok(&reply);
            replies.push(String::from_utf8_lossy(&reply).into_owned());
            if is_done {
                break;
            }
        }
        assert_eq!(replies.last().unwrap(), "+OK\r\n", "{key}: {replies:?}");
    }
    read(&cluster, other, "1", 60, 1);
}

#[test]
fn a_replica_that_was_started_again_is_in_sync_again_though_nobody_writes() {
    let _alone = alone();
    let mut cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_sync(&cluster);
    for dies in [0, 1, 2, 0, 1] {
        cluster.members[dies].kill();
        cluster.members[dies] = launch(STORES, cluster.ports[dies], &cluster.flags[dies]);
        cluster.wait_whole();
        wait_in_sync(&cluster);
    }
}

#[test]
fn l22_a_minority_never_answers_ok_to_a_quorum_write() {
    let _alone = alone();
    let mut cluster = Cluster::start([2, 1, 0], STORES);
    wait_in_sync(&cluster);
    let mut raw = cluster.selected(0, "1");
    cluster.members[1].kill();
    cluster.members[2].kill();
    for n in 0..50 {
        let key = format!("k{n}");
        let reply = raw.ask(&[b"SET", key.as_bytes(), b"v"]);
        assert!(reply.starts_with(b"-"), "{}", reply.escape_ascii());
    }
}

#[test]
fn l21_concurrent_writes_through_different_members_leave_one_value_everywhere() {
    let _alone = alone();
    let cluster = Cluster::start([0, 1, 2], STORES);
    wait_in_sync(&cluster);
    std::thread::scope(|scope| {
        for i in 0..3 {
            let mut raw = cluster.selected(i, "1");
            scope.spawn(move || {
                for n in 0..300 {
                    let text = format!("{i}:{n}");
                    let key = format!("k{}", n % 10);
                    wait_for("an acknowledged write", || {
                        ok(&raw.ask(&[b"SET", key.as_bytes(), text.as_bytes()])).then_some(())
                    });
                }
            });
        }
    });
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for i in 0..3 {
        let mut raw = cluster.selected(i, "1");
        for n in 0..10 {
            let key = format!("k{n}");
            let got = raw.ask(&[b"GET", key.as_bytes()]);
            assert_eq!(*seen.entry(key).or_insert_with(|| got.clone()), got);
        }
    }
}

#[test]
fn slots_move_with_their_keys_to_members_that_join_and_back_while_clients_write() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port(), free_port())).collect();
    let flags = |i: usize| -> Vec<String> {
        let directory = data.path().join(format!("m{i}")).display().to_string();
        let join = format!("127.0.0.1:{}", ports[0].2);
        let mut flags = vec!["--node-id".into(), format!("m-{i}"), "--data-dir".into(), directory];
        if i > 0 {
            flags.extend(["--join".into(), join, "--bootstrap-members".into(), "0".into()]);
        }
        flags
    };
    let first = launch("", ports[0], &flags(0));
    first.wait_ready();
    let mut raw = first.raw();
    for n in 0..500 {
        assert!(ok(&raw.ask(&[b"SET", format!("k{n}").as_bytes(), b"0"])));
    }
    let others: Vec<_> = (1..3).map(|i| launch("", ports[i], &flags(i))).collect();
    let mut counts = vec![0u64; 500];
    let balanced = (0..4 * 600).any(|round| {
        // Each key counts up, whoever has it by now.
        for (n, count) in counts.iter_mut().enumerate().skip(round % 25 * 20).take(20) {
            *count += 1;
            let wanted = format!(":{count}\r\n");
            let got = raw.ask(&[b"INCR", format!("k{n}").as_bytes()]);
            assert_eq!(got, wanted.as_bytes(), "k{n}: {}", got.escape_ascii());
        }
        let status = first.http("GET /api/admin/cluster");
        status.matches("\"state\":\"alive\"").count() == 3
            && status.contains("\"balanced\":true")
            && status.contains("\"fully_replicated\":true")
    });
    assert!(balanced, "{}\n{}", first.log(), others[0].log());
    for member in [&first, &others[0], &others[1]] {
        let mut raw = member.raw();
        for (n, count) in counts.iter().enumerate() {
            let got = raw.ask(&[b"GET", format!("k{n}").as_bytes()]);
            assert_eq!(got, value(&count.to_string()), "k{n}");
        }
        assert_eq!(raw.ask(&[b"DBSIZE"]), b":500\r\n");
    }
    // And back: who leaves gives everything away first.
    let desired = r#"{"generation": 1, "members": ["m-0"], "stores": []}"#;
    let told = first.http_json("PUT /api/admin/desired", desired);
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    first.wait_for("one member", || {
        for (n, count) in counts.iter_mut().enumerate().take(20) {
            *count += 1;
            let got = raw.ask(&[b"INCR", format!("k{n}").as_bytes()]);
            assert_eq!(got, format!(":{count}\r\n").as_bytes(), "{}", got.escape_ascii());
        }
        let members = first.http("GET /api/cluster/members");
        (members.matches("\"name\":").count() == 1).then_some(())
    });
    for (n, count) in counts.iter().enumerate() {
        assert_eq!(raw.ask(&[b"GET", format!("k{n}").as_bytes()]), value(&count.to_string()));
    }
}
