//! What stores with a log acknowledged is there after all pods were gone at once.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{Client, Cluster, in_space, until};
use serde_json::{Value, json};

const MEMBERS: usize = 3;
/// The stores that keep a log: `always` by its number, and `periodic`.
const STORES: [&str; 2] = ["1", "2"];

/// Writes until a time, to both stores and as fast as they answer; notes each key that was answered OK.
const WRITE: &str = r#"
import sys, threading, time, redis
host, seconds = sys.argv[1], float(sys.argv[2])
until, acknowledged = time.monotonic() + seconds, []
def write(store, writer):
    i = 0
    while time.monotonic() < until:
        try:
            client = redis.Redis(host=host, port=8080, db=store, socket_timeout=3, socket_connect_timeout=3)
            while time.monotonic() < until:
                i += 1
                key, value = f"{writer}:{i}", f"value-{store}-{writer}-{i}"
                if client.set(key, value, ex=86400):
                    acknowledged.append((store, key, value, time.time()))
        except redis.RedisError:
            time.sleep(0.1)
writers = [threading.Thread(target=write, args=(store, writer)) for store in (1, 2) for writer in range(3)]
[w.start() for w in writers]
[w.join() for w in writers]
with open("/tmp/acknowledged", "w") as f:
    f.writelines(f"{store} {key} {value} {at}\n" for store, key, value, at in acknowledged)
print(len(acknowledged))
"#;

/// Reads all of them. How many were acknowledged, how many are wrong or gone in each store.
const CHECK: &str = r#"
import itertools, json, sys, redis
host, clients, count, wrong = sys.argv[1], {}, 0, {"1": 0, "2": 0}
lines = open("/tmp/acknowledged")
while some := [line.split() for line in itertools.islice(lines, 1000)]:
    for of in wrong:
        client = clients.setdefault(of, redis.Redis(host=host, port=8080, db=int(of), decode_responses=True))
        with client.pipeline(transaction=False) as asked:
            values = [value for store, key, value, at in some if store == of and asked.get(key) and asked.ttl(key)]
            answers = asked.execute()
        wrong[of] += sum(got != value or not 0 < ttl <= 86400 for value, got, ttl in zip(values, answers[::2], answers[1::2]))
    count += len(some)
print(json.dumps({"count": count, "wrong": wrong}))
"#;

fn check(client: &Client, host: &str) -> Result<Value> {
    let printed = client.run(&["python3", "-c", CHECK, host])?;
    serde_json::from_str(&printed).with_context(|| format!("it printed '{printed}'"))
}

/// All members at once, with so long from SIGTERM to SIGKILL.
fn delete_all(cluster: &Cluster, grace_seconds: u32) -> Result<()> {
    cluster.delete_pods(None, grace_seconds)?;
    // The set's status may be of the pods before.
    until("new pods", 120, || Ok(cluster.pods()?.len() == MEMBERS))?;
    cluster.wait_members(MEMBERS)?;
    cluster.wait_ready()
}

#[test]
fn l13_what_was_acknowledged_survives_the_deletion_of_all_pods_at_once() -> Result<()> {
    in_space("durability", |space| {
        let client = space.client()?;
        let stores = json!([
            {"name": "critical", "number": 1, "persistence": {"mode": "aof", "fsync": "always"}},
            {"name": "sessions", "number": 2, "persistence": {"mode": "aof+snapshot"}},
            {"name": "plain", "number": 3},
        ]);
        let cluster = space.cluster("kept", &json!({"members": MEMBERS, "stores": stores}))?;
        client.reaches(cluster.name())?;
        ensure!(client.redis(cluster.name(), &["-n", "3", "SET", "gone", "1"])? == "OK");

        // Under writers.
        std::thread::scope(|scope| -> Result<()> {
            let writer =
                scope.spawn(|| client.run(&["python3", "-c", WRITE, cluster.name(), "25"]));
            until("some is written", 30, || {
                let size = client.redis(cluster.name(), &["-n", "1", "DBSIZE"])?;
                Ok(size.parse::<u64>().is_ok_and(|keys| keys > 1_000))
            })?;
            delete_all(&cluster, 1)?;
            let written = writer.join().ok().context("the writer broke")??;
            ensure!(written.parse::<u64>()? > 1_000, "only {written} writes were acknowledged");
            Ok(())
        })?;
        client.reaches(cluster.name())?;
        let seen = check(&client, cluster.name())?;
        for store in STORES {
            ensure!(seen["wrong"][store] == 0, "store {store} lost acknowledged writes: {seen}");
        }
        let gone = client.redis(cluster.name(), &["-n", "3", "EXISTS", "gone"])?;
        ensure!(gone == "0", "a store without persistence kept something");

        // Once more, at rest.
        delete_all(&cluster, 30)?;
        client.reaches(cluster.name())?;
        ensure!(check(&client, cluster.name())? == seen, "what was there is not");
        Ok(())
    })
}
