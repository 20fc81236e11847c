//! The first way through everything: a resource becomes pods, and a Redis client in another pod
//! reads and writes through the Service.

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{OPERATOR_NAMESPACE, in_space, until};
use serde_json::{Value, json};

#[test]
fn redis_cli_and_http_read_and_write_through_the_service() -> Result<()> {
    in_space("first-way", |space| {
        let spec = json!({
            "members": 3,
            "stores": [
                {"name": "user_sessions", "number": 1, "maxMemory": "64Mi", "defaultTtl": "30m"},
                {"name": "page_cache", "number": 2, "maxMemory": "64Mi", "keyPrefixes": ["page:"]},
                {"name": "temporary_data", "number": 3, "maxMemory": "32Mi", "defaultTtl": "5m"},
            ],
        });
        let client = space.client()?;
        let cluster = space.cluster("first", &spec)?;
        client.reaches(cluster.name())?;
        let service = cluster.name();
        let redis = |words: &[&str]| client.redis(service, words);

        // strings, numbers, lists, lifetimes
        ensure!(redis(&["SET", "greeting", "hello"])? == "OK");
        ensure!(redis(&["GET", "greeting"])? == "hello");
        ensure!(redis(&["INCR", "visits"])? == "1");
        ensure!(redis(&["INCR", "visits"])? == "2");
        ensure!(redis(&["LPUSH", "queue", "a", "b", "c"])? == "3");
        ensure!(redis(&["LRANGE", "queue", "0", "-1"])? == "c\nb\na");
        ensure!(redis(&["EXPIRE", "greeting", "100"])? == "1");
        let ttl: i64 = redis(&["TTL", "greeting"])?.parse()?;
        ensure!((1..=100).contains(&ttl), "TTL is {ttl}");

        // stores: by number, with their lifetime, and by prefix
        ensure!(redis(&["-n", "1", "SET", "session", "x"])? == "OK");
        let ttl: i64 = redis(&["-n", "1", "TTL", "session"])?.parse()?;
        ensure!((1..=1800).contains(&ttl), "the store's default lifetime is not there: TTL {ttl}");
        ensure!(redis(&["EXISTS", "session"])? == "0", "a key of store 1 is seen in store 0");
        ensure!(redis(&["SET", "page:/home", "<p>"])? == "OK");
        ensure!(
            redis(&["-n", "2", "GET", "page:/home"])? == "<p>",
            "a prefix does not route to its store"
        );
        ensure!(redis(&["SELECT", "7"]).is_err(), "a store that is not there can be selected");

        // the same bytes over HTTP, both ways
        let (status, body) = client.http(
            "PUT",
            service,
            "/api/cache/over-http",
            Some(r#"{"value": "text", "ttl_seconds": 60}"#),
        )?;
        ensure!((200..300).contains(&status), "PUT: {status} {body}");
        ensure!(redis(&["GET", "over-http"])? == "text");
        let (status, body) = client.http("GET", service, "/api/cache/over-http", None)?;
        ensure!(status == 200 && body.contains("text"), "GET: {status} {body}");
        let (status, body) = client.http("GET", service, "/health", None)?;
        ensure!(status == 200, "/health: {status} {body}");

        // logs are lines of JSON, the members' and the operator's
        let members = (space.namespace(), "statefulset/first", "hypercache");
        let operator =
            (OPERATOR_NAMESPACE, "deployment/hypercache-operator", "hypercache-operator");
        for (namespace, what, service) in [members, operator] {
            let text = space.kube().run(&["-n", namespace, "logs", what, "--tail=200"])?;
            ensure!(!text.is_empty(), "{what} logs nothing");
            for line in text.lines() {
                let entry: Value =
                    serde_json::from_str(line).with_context(|| format!("{what} logged: {line}"))?;
                for key in ["@timestamp", "log.level", "log.logger", "message", "event.dataset"] {
                    ensure!(entry.get(key).is_some(), "{what} logged no {key}: {line}");
                }
                ensure!(entry["service.name"] == service, "{what} logged: {line}");
            }
        }

        // deleting the resource deletes what was made from it
        cluster.kubectl(&["delete", "hypercachecluster", service, "--timeout=60s"])?;
        until("members gone", 90, || Ok(cluster.pods()?.is_empty()))
    })
}
