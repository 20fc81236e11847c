//! Copies of slots are compared with their primaries while clients write, and what ends or is evicted meanwhile
//! makes no copy another one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cluster::Cluster;

const YAML: &str = "cluster:\n  check_interval: 1s\ncache:\n  cleanup_interval: 20ms\nstores:\n  \
                    q: {number: 1, replication_factor: 3, acks: quorum, max_memory: 1MB}\n  \
                    a: {number: 2, replication_factor: 2, acks: all, default_ttl: 150ms}\n";
/// So many slots are compared at least: several rounds of all that there are, on two copies each.
const COMPARED: u64 = 100_000;
/// So many keys end, and so many are evicted, meanwhile.
const GONE: u64 = 1000;
const MOST_ROUNDS: u64 = 2000;

/// What a member's metrics say, of all stores together.
fn metric(cluster: &Cluster, i: usize, name: &str) -> u64 {
    let text = cluster.members[i].http("GET /metrics");
    let of = |line: &str| {
        let (metric, value) = line.rsplit_once(' ')?;
        let is_it = metric == name || metric.starts_with(&format!("{name}{{"));
        is_it.then(|| value.parse::<f64>().unwrap() as u64)
    };
    text.lines().filter_map(of).sum()
}

fn sum(cluster: &Cluster, name: &str) -> u64 {
    (0..3).map(|i| metric(cluster, i, name)).sum()
}

#[test]
fn while_keys_come_end_and_are_evicted_no_copy_is_found_to_be_another_one() {
    let cluster = Cluster::start([0, 1, 2], YAML);
    let mut clients = [cluster.selected(0, "1"), cluster.selected(1, "2")];
    let text = "x".repeat(10_000);
    let (mut n, mut refused) = (0u64, 0);
    for _ in 0..MOST_ROUNDS {
        for raw in &mut clients {
            let mut pipeline = Vec::new();
            for _ in 0..50 {
                n += 1;
                let (key, counter) = (format!("k{}", n % 5000), format!("n{}", n % 700));
                let (ms, member) = (format!("{}", 1 + n % 300), format!("m{}", n % 50));
                let (set, zset) = (format!("s{}", n % 90), format!("z{}", n % 70));
                for words in [
                    &["SET", &key, &text][..],
                    &["SET", &counter, "1", "PX", &ms],
                    &["INCR", &counter],
                    &["SADD", &set, &member],
                    &["SPOP", &set],
                    &["ZINCRBY", &zset, "0.1", &member],
                ] {
                    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                    pipeline.extend(common::Raw::encode(&words));
                }
            }
            raw.send(&pipeline);
            for _ in 0..50 * 6 {
                refused += u64::from(raw.reply().starts_with(b"-"));
            }
        }
        if sum(&cluster, "hypercache_replication_slots_checked_total") >= COMPARED
            && sum(&cluster, "hypercache_store_expired_keys_total") > GONE
            && sum(&cluster, "hypercache_store_evicted_keys_total") > GONE
        {
            break;
        }
    }
    let [checked, differing, expired, evicted] = [
        "hypercache_replication_slots_checked_total",
        "hypercache_replication_slots_differing_total",
        "hypercache_store_expired_keys_total",
        "hypercache_store_evicted_keys_total",
    ]
    .map(|name| sum(&cluster, name));
    println!(
        "{n} rounds of commands, {refused} refused: {checked} compared, {expired} ended, {evicted} evicted"
    );
    assert!(checked >= COMPARED, "{checked} slots were compared");
    assert!(expired > GONE && evicted > GONE, "{expired} ended, {evicted} were evicted");
    assert_eq!(differing, 0, "the log of a member:\n{}", cluster.members[0].log());
    assert_eq!(sum(&cluster, "hypercache_replication_slots_unchecked_total"), 0);
}
