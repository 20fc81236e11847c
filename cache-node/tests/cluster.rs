//! Three members as processes of their own: any member answers for any key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::{Cluster, launch};
use common::{Member, Raw, wait_for};

#[test]
fn l26_what_one_member_wrote_every_other_reads() {
    let cluster = Cluster::start([2, 0, 1], "");
    let mut writers: Vec<Raw> = (0..3).map(|i| cluster.raw(i)).collect();
    for n in 0..500usize {
        let (key, value) = (format!("key:{n}"), format!("value:{n}"));
        let writer = &mut writers[n % 3];
        assert_eq!(writer.ask(&[b"SET", key.as_bytes(), value.as_bytes()]), b"+OK\r\n");
        let wanted = format!("${}\r\n{value}\r\n", value.len());
        let reader = &mut writers[(n + 1) % 3];
        assert_eq!(reader.ask(&[b"GET", key.as_bytes()]), wanted.as_bytes(), "{key}");
    }
    for raw in &mut writers {
        assert_eq!(raw.ask(&[b"DBSIZE"]), b":500\r\n");
    }
    // A pipeline over keys of all members is answered in its order.
    let pipeline: Vec<u8> =
        (0..500).flat_map(|n| Raw::encode(&[b"GET", format!("key:{n}").as_bytes()])).collect();
    let wanted: Vec<u8> = (0..500)
        .map(|n| format!("value:{n}"))
        .flat_map(|v| format!("${}\r\n{v}\r\n", v.len()).into_bytes())
        .collect();
    writers[0].send(&pipeline);
    writers[0].expect(&wanted);
}

#[test]
fn l23_l24_a_forwarded_write_keeps_its_ttl_options_store_and_bytes() {
    let cluster = Cluster::start([0, 1, 2], "stores: {page_cache: {number: 2}}\n");
    let value = b"\0\r\n|\xff binary";
    for (i, key) in [&b"a"[..], b"b", b"c", b"\xff\0key"].iter().enumerate() {
        let mut writer = cluster.raw(i % 3);
        writer.ask(&[b"SELECT", b"2"]);
        assert_eq!(writer.ask(&[b"SET", key, value, b"EX", b"1000", b"NX"]), b"+OK\r\n");
        assert_eq!(writer.ask(&[b"SET", key, b"other", b"NX"]), b"$-1\r\n");
        for reader in 0..3 {
            let mut reader = cluster.raw(reader);
            assert_eq!(reader.ask(&[b"GET", key]), b"$-1\r\n", "store 0 has nothing");
            reader.ask(&[b"SELECT", b"page_cache"]);
            let mut wanted = format!("${}\r\n", value.len()).into_bytes();
            wanted.extend_from_slice(value);
            wanted.extend_from_slice(b"\r\n");
            assert_eq!(reader.ask(&[b"GET", key]), wanted);
            let ttl = String::from_utf8(reader.ask(&[b"TTL", key])).unwrap();
            let seconds: i64 = ttl.trim_start_matches(':').trim().parse().unwrap();
            assert!((900..=1000).contains(&seconds), "{ttl}");
        }
    }
}

#[test]
fn commands_over_many_keys_and_over_all_keys_see_all_members() {
    let cluster = Cluster::start([0, 2, 1], "");
    let mut raw = cluster.raw(1);
    assert_eq!(raw.ask(&[b"MSET", b"a", b"1", b"b", b"2", b"c", b"3", b"foo", b"4"]), b"+OK\r\n");
    let mut other = cluster.raw(2);
    let wanted = b"*5\r\n$1\r\n4\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n$1\r\n3\r\n";
    assert_eq!(other.ask(&[b"MGET", b"foo", b"a", b"none", b"b", b"c"]), wanted);
    assert_eq!(other.ask(&[b"EXISTS", b"a", b"b", b"c", b"foo", b"none"]), b":4\r\n");
    assert_eq!(other.ask(&[b"TOUCH", b"a", b"foo"]), b":2\r\n");
    assert_eq!(
        other.ask(&[b"RENAME", b"a", b"b"]),
        b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    );
    let keys = String::from_utf8(other.ask(&[b"KEYS", b"*"])).unwrap();
    assert!(keys.starts_with("*4\r\n"), "{keys}");
    // SCAN walks every member's slots by its cursor alone, whichever member is asked.
    let (mut cursor, mut seen) = (b"0".to_vec(), Vec::new());
    for step in 0.. {
        assert!(step < 10_000, "SCAN does not end");
        let reply = cluster.raw(step % 3).ask(&[b"SCAN", &cursor, b"COUNT", b"100"]);
        let text = String::from_utf8(reply).unwrap();
        let words: Vec<&str> = text.split("\r\n").collect();
        cursor = words[2].as_bytes().to_vec();
        seen.extend(words[4..].chunks(2).filter(|w| w.len() == 2).map(|w| w[1].to_owned()));
        if cursor == b"0" {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["a", "b", "c", "foo"]);
    assert!(other.ask(&[b"RANDOMKEY"]).starts_with(b"$"));
    assert_eq!(other.ask(&[b"DEL", b"a", b"b", b"none"]), b":2\r\n");
    assert_eq!(raw.ask(&[b"FLUSHALL"]), b"+OK\r\n");
    assert_eq!(other.ask(&[b"DBSIZE"]), b":0\r\n");
}

#[test]
fn a_member_without_a_majority_says_clusterdown_and_is_not_ready() {
    let mut cluster = Cluster::start([1, 2, 0], "");
    let mut raw = cluster.raw(0);
    assert_eq!(raw.ask(&[b"SET", b"k", b"v"]), b"+OK\r\n");
    cluster.members[1].kill();
    cluster.members[2].kill();
    wait_for("CLUSTERDOWN", || {
        let reply = cluster.raw(0).ask(&[b"GET", b"k"]);
        reply.starts_with(b"-CLUSTERDOWN").then_some(())
    });
    wait_for("not ready", || {
        cluster.members[0].http("GET /readyz").starts_with("HTTP/1.1 503").then_some(())
    });
    // A transaction is refused as a whole, also where its commands would run one by one.
    for command in [&[&b"DBSIZE"[..]][..], &[b"GET", b"k"]] {
        assert_eq!(raw.ask(&[b"MULTI"]), b"+OK\r\n");
        assert_eq!(raw.ask(command), b"+QUEUED\r\n");
        let reply = raw.ask(&[b"EXEC"]);
        assert!(reply.starts_with(b"-CLUSTERDOWN "), "{}", reply.escape_ascii());
    }
    // L25: they come back, find each other, and go on.
    for i in 1..3 {
        cluster.members[i] = launch("", cluster.ports[i], &cluster.flags[i]);
    }
    cluster.wait_whole();
    for key in [&b"a"[..], b"b", b"k"] {
        assert_eq!(cluster.raw(1).ask(&[b"SET", key, b"w"]), b"+OK\r\n");
        assert_eq!(cluster.raw(2).ask(&[b"GET", key]), b"$1\r\nw\r\n");
    }
}

#[test]
fn s1_large_replies_of_a_forwarded_pipeline_come_in_parts_and_leave_no_memory_behind() {
    let cluster = Cluster::start([0, 1, 2], "");
    let used = |i: usize| -> u64 {
        let info = String::from_utf8(cluster.raw(i).ask(&[b"INFO", b"memory"])).unwrap();
        let line = info.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap();
        line.trim().parse().unwrap()
    };
    let before: Vec<u64> = (0..3).map(used).collect();
    let value = vec![b'v'; 1 << 20];
    let bulk = format!("${}\r\n", value.len()).into_bytes();
    let bulk = [&bulk[..], &value, b"\r\n"].concat();
    let mut raw = cluster.raw(0);
    assert_eq!(raw.ask(&[b"SET", b"a", &value]), b"+OK\r\n");
    assert_eq!(raw.ask(&[b"SET", b"b", &value]), b"+OK\r\n");
    let (mut pipeline, mut wanted) = (Vec::new(), Vec::new());
    for n in 1..=60 {
        for key in [b"a", b"b"] {
            pipeline.extend(Raw::encode(&[b"GET", key]));
            wanted.extend_from_slice(&bulk);
        }
        pipeline.extend(Raw::encode(&[b"INCR", b"{a}n"]));
        wanted.extend(format!(":{n}\r\n").into_bytes());
    }
    // At least one of the members has to ask for both keys.
    for i in 0..3 {
        let mut raw = cluster.raw(i);
        raw.send(&pipeline);
        raw.expect(&wanted);
        raw.ask(&[b"DEL", b"{a}n"]);
    }
    raw.ask(&[b"DEL", b"a", b"b"]);
    for (i, before) in before.iter().enumerate() {
        wait_for("the memory to come back", || (used(i) < before + (12 << 20)).then_some(()));
    }
}

#[test]
fn an_unreachable_owner_is_waited_for_or_an_error_until_another_one_owns_its_slots() {
    let mut cluster = Cluster::start([0, 1, 2], "network: {request_timeout: 1s}\n");
    cluster.members[2].kill();
    let mut raw = cluster.raw(0);
    wait_for("all slots to be served again", || {
        let well = (0..30).all(|n| {
            let reply = raw.ask(&[b"SET", format!("k{n}").as_bytes(), b"v"]);
            let told = reply == b"+OK\r\n" || reply.starts_with(b"-CLUSTERDOWN");
            assert!(told, "{}", reply.escape_ascii());
            reply == b"+OK\r\n"
        });
        well.then_some(())
    });
}

#[test]
fn cluster_clients_are_told_the_owners() {
    let cluster = Cluster::start([0, 1, 2], "");
    let nodes = cluster.ports.iter().map(|p| format!("redis://127.0.0.1:{}/", p.0));
    let client = redis::cluster::ClusterClient::new(nodes.collect::<Vec<_>>()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let forwarded = || -> f64 {
        let count = |m: &Member| {
            let metrics = m.http("GET /metrics");
            let line = metrics
                .lines()
                .find(|l| l.starts_with("hypercache_forwarded_requests_total"))
                .unwrap()
                .to_owned();
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
        };
        cluster.members.iter().map(count).sum()
    };
    let before = forwarded();
    for n in 0..300 {
        redis::cmd("SET").arg(format!("key{n}")).arg(n).exec(&mut connection).unwrap();
        let got: i64 = redis::cmd("GET").arg(format!("key{n}")).query(&mut connection).unwrap();
        assert_eq!(got, n);
    }
    assert_eq!(forwarded(), before, "a cluster-mode client needs no hop");
}

#[test]
fn a_member_that_has_left_goes_on_forwarding_until_it_stops() {
    let cluster = Cluster::start([0, 1, 2], "");
    let desired = r#"{"generation": 1, "members": ["m-0", "m-1"], "stores": []}"#;
    let reply = cluster.members[0].http_json("PUT /api/admin/desired", desired);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let left = &cluster.members[2];
    left.wait_for("out of the table", || {
        left.http("GET /readyz").contains("not in the cluster's table").then_some(())
    });
    let mut raw = cluster.raw(2);
    for n in 0..100 {
        let key = format!("key:{n}");
        // Owners that get no turn for long lose their lease for a moment, and say so.
        wait_for("a forwarded write", || {
            (raw.ask(&[b"SET", key.as_bytes(), b"v"]) == b"+OK\r\n").then_some(())
        });
    }
    assert_eq!(raw.ask(&[b"DBSIZE"]), b":100\r\n");
    assert_eq!(cluster.raw(0).ask(&[b"DBSIZE"]), b":100\r\n");
}

#[test]
fn errors_and_large_replies_of_forwarded_commands_count_where_the_client_is() {
    let cluster = Cluster::start([0, 1, 2], "slowlog: {reply_larger_than_bytes: 1000}\n");
    let mut raw = cluster.raw(0);
    let value = "x".repeat(1000);
    for n in 0..60 {
        raw.ask(&[b"SET", format!("key:{n}").as_bytes(), value.as_bytes()]);
    }
    // In one pipeline, so that most are gathered for the other members.
    let commands: Vec<u8> = (0..60)
        .flat_map(|n| {
            let key = format!("key:{n}");
            let (incr, get) = ([b"INCR", key.as_bytes()], [b"GET", key.as_bytes()]);
            [Raw::encode(&incr), Raw::encode(&get)].concat()
        })
        .collect();
    raw.send(&commands);
    for _ in 0..60 {
        assert!(raw.reply().starts_with(b"-ERR value is not an integer"));
        assert!(raw.reply().starts_with(b"$1000\r\n"));
    }
    let info =
        |raw: &mut Raw, section: &[u8]| String::from_utf8(raw.ask(&[b"INFO", section])).unwrap();
    let stats = info(&mut raw, b"commandstats");
    let incr = stats.lines().find(|line| line.starts_with("cmdstat_incr:calls=60,")).unwrap();
    assert!(incr.ends_with("failed_calls=60"), "{incr}");
    assert!(info(&mut raw, b"errorstats").contains("errorstat_ERR:count=60\r\n"));
    assert!(info(&mut raw, b"stats").contains("total_error_replies:60\r\n"));
    assert_eq!(raw.ask(&[b"COMMANDLOG", b"LEN", b"large-reply"]), b":60\r\n");
}
