//! The HTTP API of a real member, and that it and RESP see the same bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, wait_for};
use hypercache::server::http::routes::{Method as RouteMethod, ROUTES};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// A member and a client of its HTTP port.
struct Api {
    member: Member,
    client: reqwest::Client,
}

impl Api {
    fn start() -> Self {
        Self::with("", &[])
    }

    fn with(yaml: &str, env: &[(&str, &str)]) -> Self {
        Self { member: Member::start_with(yaml, env), client: reqwest::Client::new() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://127.0.0.1:{}{path}", self.member.http_port);
        self.client.request(method, url).timeout(common::DEADLINE)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.request(method, path).json(&body).send().await.unwrap()).await
    }

    async fn put_bytes(&self, path: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let request = self.request(Method::PUT, path);
        let request = request.header("content-type", "application/octet-stream");
        answer(request.body(bytes.to_vec()).send().await.unwrap()).await
    }

    async fn get_bytes(&self, path: &str) -> Vec<u8> {
        let request = self.request(Method::GET, path).header("accept", "application/octet-stream");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        response.bytes().await.unwrap().to_vec()
    }
}

/// Every answer is JSON and carries an ID.
async fn answer(response: Response) -> (StatusCode, Value) {
    assert!(response.headers().contains_key("x-correlation-id"));
    let status = response.status();
    let bytes = response.bytes().await.unwrap();
    let json = serde_json::from_slice(&bytes)
        .unwrap_or_else(|e| panic!("{status}: {e}: {}", String::from_utf8_lossy(&bytes)));
    (status, json)
}

fn ttl_ms(resp: &mut common::Raw, key: &[u8]) -> i64 {
    let reply = String::from_utf8(resp.ask(&[b"PTTL", key])).unwrap();
    reply.trim_start_matches(':').trim().parse().unwrap()
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Values that break what treats them as text, lines or C strings.
fn awkward() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        b"a\r\nb|c\0d".to_vec(),
        vec![0xff, 0xfe, 0x00, 0x80],
        (0..=255).collect(),
        "\u{1f980} é".as_bytes().to_vec(),
        b"\"quoted\" {\"value\": 1}".to_vec(),
        (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
    ]
}

fn encode(key: &[u8]) -> String {
    key.iter().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn l4_bytes_put_over_http_are_the_bytes_that_resp_reads() {
    let api = Api::start();
    let mut resp = api.member.raw();
    for value in awkward() {
        let (status, body) = api.put_bytes("/api/cache/k%00%ff/x", &value).await;
        assert_eq!((status, &body["stored"]), (StatusCode::OK, &json!(true)), "{body}");
        resp.command(&[b"GET", b"k\0\xff/x"]);
        resp.expect(&bulk(&value));
    }
}

#[tokio::test]
async fn l4_bytes_written_over_resp_are_the_bytes_that_http_reads() {
    let api = Api::start();
    let mut resp = api.member.raw();
    for value in awkward() {
        for key in [&b"plain"[..], b"a/b?c#d%e+f g", b"\0\r\n\xff"] {
            assert_eq!(resp.ask(&[b"SET", key, &value]), b"+OK\r\n");
            let path = format!("/api/cache/{}", encode(key));
            assert!(api.get_bytes(&path).await == value);
        }
    }
    resp.ask(&[b"SET", b"raw", b"\xff\x00"]);
    let (_, body) = api.get("/api/cache/raw").await;
    assert_eq!(
        body,
        json!({"key": "raw", "store": "default", "value_base64": "/wA=", "ttl_seconds": null})
    );
}

#[tokio::test]
async fn l5_a_lifetime_and_json_values_read_back_over_resp() {
    let api = Api::start();
    let mut resp = api.member.raw();
    let put = |body: Value| api.send(Method::PUT, "/api/cache/testkey", body);
    assert_eq!(put(json!({"value": "test value", "ttl_hours": 1})).await.0, 200);
    resp.command(&[b"GET", b"testkey"]);
    resp.expect(&bulk(b"test value"));
    let ttl = ttl_ms(&mut resp, b"testkey");
    assert!((3_500_000..=3_600_000).contains(&ttl), "{ttl}");
    let (_, body) = api.get("/api/cache/testkey").await;
    assert_eq!(body["value"], "test value");
    assert!(body["ttl_seconds"].as_f64().unwrap() > 3_500.0);
    for (value, text) in [
        (json!(42), &b"42"[..]),
        (json!(1.5), b"1.5"),
        (json!({"user_id": 123, "role": "admin"}), b"{\"role\":\"admin\",\"user_id\":123}"),
        (json!(null), b"null"),
    ] {
        put(json!({ "value": value })).await;
        resp.command(&[b"GET", b"testkey"]);
        resp.expect(&bulk(text));
    }
    assert_eq!(
        resp.ask(&[b"TTL", b"testkey"]),
        b":-1\r\n",
        "a new value without a lifetime has none"
    );
    assert_eq!(resp.ask(&[b"INCR", b"counter"]), b":1\r\n");
    assert_eq!(api.get("/api/cache/counter").await.1["value"], "1");
}

#[tokio::test]
async fn what_the_readme_sends_with_plain_curl_works() {
    let api = Api::start();
    let curl = |path, body: &'static str| {
        let request = api.request(Method::PUT, path);
        request.header("content-type", "application/x-www-form-urlencoded").body(body).send()
    };
    let session = r#"{"value":"{\"user_id\":123,\"role\":\"admin\"}", "ttl_hours":2}"#;
    assert_eq!(curl("/api/cache/user:123:session", session).await.unwrap().status(), 200);
    let (status, body) = api.get("/api/cache/user:123:session").await;
    assert_eq!(status, 200);
    assert_eq!(body["value"], r#"{"user_id":123,"role":"admin"}"#);
    assert!(body["ttl_seconds"].as_f64().unwrap() > 7_000.0);
    let (status, _) = api.send(Method::DELETE, "/api/cache/user:123:session", json!(null)).await;
    assert_eq!(status, 200);
    assert_eq!(api.get("/api/cache/user:123:session").await.0, 404);
}

#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let api = Api::start();
    api.put_bytes("/api/cache/k", b"12345").await;
    let request =
        api.request(Method::HEAD, "/api/cache/k").header("accept", "application/octet-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "5");
    assert!(response.bytes().await.unwrap().is_empty());
    let missing = api.request(Method::HEAD, "/api/cache/none").send().await.unwrap();
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn every_error_is_json_with_a_code_and_a_message() {
    let api = Api::start();
    api.member.raw().ask(&[b"LPUSH", b"list", b"x"]);
    let text = |path: &str, body: &'static str| {
        api.request(Method::PUT, path).header("content-type", "application/json").body(body)
    };
    let plain = api.request(Method::POST, "/api/stores").header("content-type", "text/plain");
    let cases = [
        (api.request(Method::GET, "/nowhere"), 404, "unknown_route"),
        (api.request(Method::GET, "/api/nowhere"), 404, "unknown_route"),
        (api.request(Method::GET, "/api/cache/none"), 404, "not_found"),
        (api.request(Method::DELETE, "/api/cache/none"), 404, "not_found"),
        (api.request(Method::GET, "/api/cache/k?store=nope"), 404, "unknown_store"),
        (api.request(Method::GET, "/api/cache/k?stoer=default"), 400, "invalid_query"),
        (api.request(Method::GET, "/api/cache/%zz"), 400, "invalid_path"),
        (api.request(Method::GET, "/api/cache/list"), 409, "wrong_type"),
        (api.request(Method::POST, "/api/cache/k"), 405, "method_not_allowed"),
        (api.request(Method::PUT, "/health"), 405, "method_not_allowed"),
        (text("/api/cache/k", "{"), 400, "invalid_json"),
        (text("/api/cache/k", r#"{"value":1,"ttl_seconds":-5}"#), 400, "invalid_ttl"),
        (api.request(Method::PUT, "/api/cache/k?ttl_seconds=0").body("x"), 400, "invalid_ttl"),
        (api.request(Method::GET, "/api/stores/nope"), 404, "unknown_store"),
        (api.request(Method::GET, "/api/stores/%ff"), 404, "unknown_store"),
        (api.request(Method::GET, "/api/stores/default/keys?count=0"), 400, "invalid_query"),
        (plain.body("{}"), 415, "unsupported_media_type"),
        (api.request(Method::PUT, "/api/admin/desired").json(&json!({})), 400, "invalid_json"),
    ];
    for (request, status, code) in cases {
        let request = request.build().unwrap();
        let what = format!("{} {}", request.method(), request.url().path());
        let response = api.client.execute(request).await.unwrap();
        if status == 405 {
            assert!(response.headers().contains_key("allow"), "{what}");
        }
        let (found, body) = answer(response).await;
        assert_eq!(
            (found.as_u16(), body["error"]["code"].as_str()),
            (status, Some(code)),
            "{what}: {body}"
        );
        assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{what}");
    }
    let (_, body) = api.get("/api/cache/k?store=nope").await;
    assert_eq!(body["error"]["stores"], json!(["default"]));
}

#[tokio::test]
async fn a_body_that_announces_more_than_a_value_may_have_is_refused_at_once() {
    let api = Api::start();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", api.member.http_port)).unwrap();
    stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
    use std::io::{Read, Write};
    write!(stream, "PUT /api/cache/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 536870913\r\n\r\n").unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("\"too_large\""), "{reply}");
}

#[tokio::test]
async fn the_correlation_id_comes_back_and_stands_in_the_log() {
    let api = Api::with("", &[("HYPERCACHE_LOG", "debug")]);
    let request =
        api.request(Method::GET, "/api/cache/none").header("x-correlation-id", "order-17/2");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["x-correlation-id"], "order-17/2");
    let line = wait_for("the line of the request", || {
        let log = api.member.log();
        let line = log.lines().find(|line| line.contains("order-17/2"))?.to_owned();
        serde_json::from_str::<Value>(&line).ok()
    });
    assert_eq!(line["http.request.id"], "order-17/2");
    assert_eq!(line["hypercache.route"], "/api/cache/{key}");
    for field in ["@timestamp", "log.level", "log.logger", "message", "service.node.name"] {
        assert!(line[field].is_string(), "{field}: {line}");
    }
}

#[tokio::test]
async fn with_a_password_all_of_api_asks_for_it_and_probes_stay_open() {
    let api = Api::with("", &[("HYPERCACHE_PASSWORD", "s3cret")]);
    for route in ROUTES {
        let path = route.path.replace("{key}", "k").replace("{name}", "default");
        let method: Method = route.method.as_str().parse().unwrap();
        let status = api.request(method, &path).send().await.unwrap().status();
        assert_eq!(status == 401, path.starts_with("/api/"), "{path}: {status}");
    }
    assert_eq!(api.get("/api/nowhere").await.0, 401);
    let (status, body) = api.get("/api/cache/k").await;
    assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (401, Some("unauthorized")));
    for (user, password, status) in
        [("", "s3cret", 404), ("any", "s3cret", 404), ("any", "wrong", 401)]
    {
        let request = api.request(Method::GET, "/api/cache/k");
        let request = match user {
            "" => request.bearer_auth(password),
            user => request.basic_auth(user, Some(password)),
        };
        assert_eq!(request.send().await.unwrap().status(), status, "{user}:{password}");
    }
}

#[tokio::test]
async fn what_a_store_keeps_on_disk_is_shown_and_changed_while_it_runs() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().display().to_string();
    let api = Api::with("", &[("HYPERCACHE_DATA_DIR", dir.as_str())]);
    let default = api.get("/api/stores/default").await.1["persistence"].clone();
    assert_eq!((&default["mode"], &default["fsync"]), (&json!("disabled"), &json!("periodic")));
    let (status, body) = api
        .send(Method::POST, "/api/stores", json!({"name": "a", "persistence": "aof_only"}))
        .await;
    assert_eq!((status.as_u16(), &body["persistence"]["mode"]), (201, &json!("aof")), "{body}");

    // PATCH keeps what it does not name; PUT takes what it does not name from a new store.
    let patch = json!({"persistence": {"fsync": "always", "batch_size": 7}});
    let (status, body) = api.send(Method::PATCH, "/api/stores/a", patch).await;
    assert_eq!(status, 200, "{body}");
    let shown = &body["persistence"];
    assert_eq!((&shown["mode"], &shown["fsync"]), (&json!("aof"), &json!("always")));
    let (_, again) = api.send(Method::PUT, "/api/stores/a", json!({"persistence": shown})).await;
    assert_eq!(again["persistence"], *shown, "what is shown reads back");
    let put = json!({"persistence": {"mode": "snapshot", "snapshot_interval_ms": 60_000}});
    let (_, body) = api.send(Method::PUT, "/api/stores/a", put).await;
    let snapshot =
        json!({"mode": "snapshot", "compression": false, "snapshot_interval_ms": 60_000});
    assert_eq!(body["persistence"], snapshot, "nothing of a log");

    for (wrong, field) in [
        (json!("always"), "persistence"),
        (json!({"fsync": "always"}), "persistence.fsync"),
        (json!({"mode": "snapshot", "fsync": "always"}), "persistence.fsync"),
        (json!({"mode": "aof", "fsync_interval_ms": 1}), "persistence.fsync_interval_ms"),
    ] {
        let patch = json!({"persistence": wrong});
        let (status, body) = api.send(Method::PATCH, "/api/stores/a", patch).await;
        assert_eq!((status.as_u16(), &body["error"]["field"]), (400, &json!(field)), "{body}");
    }
    let (_, body) = api.send(Method::PATCH, "/api/stores/a", json!({"persistence": null})).await;
    assert_eq!(body["persistence"]["mode"], "disabled");

    let node = api.get("/api/cluster/members").await.1["members"][0]["name"].clone();
    let desired = |persistence: Value| {
        let store = json!({"name": "told", "number": 9, "persistence": persistence});
        json!({"generation": 1, "members": [node], "stores": [store]})
    };
    let (status, body) =
        api.send(Method::PUT, "/api/admin/desired", desired(json!({"mode": "aof+snapshot"}))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(api.get("/api/stores/told").await.1["persistence"]["mode"], "aof+snapshot");
    let (_, body) =
        api.send(Method::PUT, "/api/admin/desired", desired(json!({"mode": "x"}))).await;
    assert_eq!(body["error"]["field"], "stores[0].persistence", "{body}");
}

#[tokio::test]
async fn a_member_without_a_directory_promises_no_durability() {
    let api = Api::start();
    let patch = json!({"persistence": "aof"});
    let (status, body) = api.send(Method::PATCH, "/api/stores/default", patch).await;
    assert_eq!((status.as_u16(), &body["error"]["field"]), (400, &json!("persistence")), "{body}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("node.data_dir"), "{message}");
}

#[tokio::test]
async fn l7_a_store_created_at_run_time_outlives_its_request_and_is_changed_and_dropped() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().display().to_string();
    let env = [("HYPERCACHE_DATA_DIR", dir.as_str()), ("HYPERCACHE_NODE_ID", "m")];
    let mut api = Api::with("", &env);
    let wanted =
        json!({"name": "sessions", "max_memory_bytes": 2_097_152, "default_ttl_ms": 60_000});
    let (status, body) = api.send(Method::POST, "/api/stores", wanted.clone()).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(
        (body["number"].as_u64(), body["max_memory_bytes"].as_u64()),
        (Some(1), Some(2_097_152))
    );
    let mut resp = api.member.raw();
    assert_eq!(resp.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
    assert_eq!(resp.ask(&[b"SET", b"k", b"v"]), b"+OK\r\n");
    let ttl = ttl_ms(&mut resp, b"k");
    assert!((50_000..=60_000).contains(&ttl), "the store's lifetime is not in force: {ttl}");
    assert_eq!(api.get("/api/cache/k?store=sessions").await.1["value"], "v");
    assert_eq!(api.get("/api/stores/sessions/keys/k").await.1["value"], "v");
    assert_eq!(api.get("/api/cache/k").await.0, 404, "another store");

    let (status, body) = api.send(Method::POST, "/api/stores", wanted).await;
    assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (409, Some("store_exists")));
    let bad = json!({"name": "Bad Name"});
    let (status, body) = api.send(Method::POST, "/api/stores", bad).await;
    assert_eq!((status.as_u16(), body["error"]["field"].as_str()), (400, Some("name")), "{body}");
    let bad = json!({"eviction_policy": "mru"});
    let (status, body) = api.send(Method::PATCH, "/api/stores/sessions", bad).await;
    assert_eq!((status.as_u16(), body["error"]["field"].as_str()), (400, Some("eviction_policy")));

    let patch = json!({"max_memory_bytes": null, "eviction_policy": "noeviction"});
    let (status, body) = api.send(Method::PATCH, "/api/stores/sessions", patch).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (&body["max_memory_bytes"], &body["default_ttl_ms"]),
        (&Value::Null, &json!(60_000))
    );
    assert_eq!(body["eviction_policy"], "noeviction");

    // The table is on the disk: the store is there after a crash.
    api.member.kill();
    api = Api::with("", &env);
    let (status, body) = api.get("/api/stores/sessions").await;
    assert_eq!((status.as_u16(), &body["eviction_policy"]), (200, &json!("noeviction")), "{body}");

    let (status, _) = api.send(Method::DELETE, "/api/stores/sessions", json!(null)).await;
    assert_eq!(status, 200);
    assert_eq!(api.get("/api/stores/sessions").await.0, 404);
    let (status, _) = api.send(Method::DELETE, "/api/stores/default", json!(null)).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_scan_over_http_tells_every_key() {
    let api = Api::start();
    let mut resp = api.member.raw();
    for i in 0..300 {
        resp.command(&[b"SET", format!("k:{i}").as_bytes(), b"v"]);
    }
    (0..300).for_each(|_| resp.expect(b"+OK\r\n"));
    resp.ask(&[b"SET", b"other", b"v"]);
    let mut cursor = 0;
    let mut found = std::collections::BTreeSet::new();
    loop {
        let path = format!("/api/stores/default/keys?pattern=k:*&count=1000&cursor={cursor}");
        let (status, body) = api.get(&path).await;
        assert_eq!(status, 200, "{body}");
        found.extend(
            body["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()),
        );
        cursor = body["cursor"].as_u64().unwrap();
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found.len(), 300);
}

#[tokio::test]
async fn a_store_at_its_budget_says_507_when_it_may_not_evict() {
    let api = Api::with("cache: {max_memory: 1MB, eviction_policy: noeviction}", &[]);
    let value = vec![7; 100_000];
    let mut last = (StatusCode::OK, Value::Null);
    for i in 0..20 {
        last = api.put_bytes(&format!("/api/cache/k{i}"), &value).await;
    }
    assert_eq!((last.0.as_u16(), last.1["error"]["code"].as_str()), (507, Some("out_of_memory")));
}

#[tokio::test]
async fn without_a_quorum_data_answers_503_and_says_so() {
    // It waits for two others that never come.
    let yaml = "cluster: {join: ['127.0.0.1:1', '127.0.0.1:2'], bootstrap_members: 3}";
    let ports = [common::free_port(), common::free_port(), common::free_port()];
    let member = Member::launch(yaml, &[], ports[0], ports[1], ports[2], &[]);
    wait_for("its HTTP port", || {
        member.http("GET /livez").starts_with("HTTP/1.1 200").then_some(())
    });
    let api = Api { member, client: reqwest::Client::new() };
    let (status, body) = api.get("/api/cache/k").await;
    assert_eq!(
        (status.as_u16(), body["error"]["code"].as_str()),
        (503, Some("no_quorum")),
        "{body}"
    );
    let (status, body) = api.get("/readyz").await;
    assert_eq!((status.as_u16(), &body["ready"]), (503, &json!(false)));
    assert!(!body["reasons"].as_array().unwrap().is_empty());
    let (status, body) = api.get("/health").await;
    assert_eq!((status.as_u16(), body["status"].as_str()), (503, Some("unavailable")));
    let (status, body) = api.get("/api/admin/cluster").await;
    assert_eq!((status.as_u16(), &body["quorum"]), (200, &json!(false)));
    let desired = json!({"generation": 1, "members": ["a"], "stores": []});
    let (status, body) = api.send(Method::PUT, "/api/admin/desired", desired).await;
    assert_eq!(
        (status.as_u16(), body["error"]["code"].as_str()),
        (503, Some("no_quorum")),
        "{body}"
    );
}

#[tokio::test]
async fn an_operators_desired_state_makes_stores_and_errors_name_the_field() {
    let api = Api::with("", &[("HYPERCACHE_NODE_ID", "demo-0")]);
    let store = |number| {
        json!({"name": "page_cache", "number": number, "max_memory_bytes": 1_048_576,
        "default_ttl_ms": null, "eviction_policy": "lru", "key_prefixes": ["page:"]})
    };
    let desired = |stores: Value| json!({"generation": 3, "members": ["demo-0"], "stores": stores});
    let put = |stores| api.send(Method::PUT, "/api/admin/desired", desired(stores));
    let (status, body) = put(json!([store(2)])).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["desired_generation"], 3);
    let made =
        body["stores"].as_array().unwrap().iter().find(|s| s["name"] == "page_cache").unwrap();
    assert_eq!((&made["number"], &made["managed"]), (&json!(2), &json!(true)));
    let epoch = body["epoch"].clone();
    let (_, body) = put(json!([store(2)])).await;
    assert_eq!(body["epoch"], epoch, "an unchanged body changes nothing");
    for (stores, field) in [
        (json!([store(2), {"name": "x", "number": 2}]), "stores[1].number"),
        (
            json!([store(2), {"name": "x", "number": 3, "eviction_policy": "mru"}]),
            "stores[1].eviction_policy",
        ),
        (json!([{"name": "X", "number": 3}]), "stores[0].name"),
    ] {
        let (status, body) = put(stores).await;
        let error = &body["error"];
        assert_eq!(
            (status.as_u16(), error["code"].as_str(), error["field"].as_str()),
            (400, Some("invalid_store"), Some(field)),
            "{body}"
        );
    }
    let patch = json!({"max_memory_bytes": null});
    let (status, body) = api.send(Method::PATCH, "/api/stores/page_cache", patch).await;
    assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (409, Some("managed_store")));
    api.member.raw().ask(&[b"SET", b"page:1", b"x"]);
    assert_eq!(api.get("/api/stores/page_cache/keys/page:1").await.1["value"], "x");
}

#[tokio::test]
async fn health_members_and_figures_are_told() {
    let api = Api::with("", &[("HYPERCACHE_NODE_ID", "demo-0")]);
    api.member.raw().ask(&[b"SET", b"k", b"v"]);
    let (status, body) = api.get("/health").await;
    assert_eq!(
        (status.as_u16(), &body["status"], &body["healthy"]),
        (200, &json!("ok"), &json!(true))
    );
    let (_, body) = api.get("/api/cluster/members").await;
    assert_eq!(body["members"][0]["name"], "demo-0");
    assert_eq!(body["members"][0]["http_port"], api.member.http_port);
    assert_eq!(body["members"][0]["slots"], 16384);
    let (_, body) = api.get("/api/cache/stats").await;
    assert_eq!((&body["keys"], &body["stores"][0]["name"]), (&json!(1), &json!("default")));
    assert!(body["used_memory_bytes"].as_u64().unwrap() > 0);
    let (_, body) = api.get("/stats").await;
    assert_eq!(body["calls_by_command"]["set"], 1, "{body}");
    let text = api.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "hypercache_cluster_quorum 1",
        "hypercache_store_keys{store=\"default\"} 1",
        "hypercache_commands_total{command=\"set\"} 1",
    ] {
        assert!(text.lines().any(|l| l.trim_end_matches(".0") == line), "{line} in\n{text}");
    }
    assert!(
        text.contains(
            "hypercache_http_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 1"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn the_openapi_document_and_the_router_say_the_same() {
    let api = Api::start();
    let (status, document) = api.get("/openapi.json").await;
    assert_eq!((status.as_u16(), document["openapi"].as_str()), (200, Some("3.1.0")));
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths {
        let concrete = path.replace("{key}", "openapi-test").replace("{name}", "openapi-test");
        for method in [
            RouteMethod::Get,
            RouteMethod::Put,
            RouteMethod::Post,
            RouteMethod::Patch,
            RouteMethod::Delete,
        ] {
            let described = operations.get(method.as_str().to_lowercase()).is_some();
            let response =
                api.request(method.as_str().parse().unwrap(), &concrete).send().await.unwrap();
            let status = response.status().as_u16();
            assert_eq!(status != 405, described, "{} {path}: {status}", method.as_str());
            let operation = &operations[method.as_str().to_lowercase()];
            if described {
                let known = operation["responses"].get(status.to_string()).is_some();
                assert!(
                    known,
                    "{} {path} answered {status}, which the document does not have",
                    method.as_str()
                );
            }
        }
    }
    assert_eq!(
        paths.values().map(|p| p.as_object().unwrap().len()).sum::<usize>(),
        ROUTES.len() + 3
    );
}

#[tokio::test]
async fn s1_a_half_open_request_holds_nothing_up_and_the_member_ends_all_the_same() {
    use std::io::Write;
    let mut api = Api::start();
    let mut half = std::net::TcpStream::connect(("127.0.0.1", api.member.http_port)).unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhos").unwrap();
    assert_eq!(api.get("/livez").await.0, 200);
    assert_eq!(api.member.terminate(), Some(0));
}

/// Three members that make one cluster.
fn three_members(data: &std::path::Path) -> Vec<Api> {
    let free = || (common::free_port(), common::free_port(), common::free_port());
    let ports = [free(), free(), free()];
    let join: Vec<_> = ports.iter().map(|p| format!("127.0.0.1:{}", p.2)).collect();
    let join = join.join(",");
    let launch = |(i, port): (usize, &(u16, u16, u16))| {
        let directory = data.join(format!("m{i}")).display().to_string();
        let name = format!("m-{i}");
        let flags = ["--node-id", &name, "--data-dir", &directory, "--join", &join];
        let flags = [&flags[..], &["--bootstrap-members", "3"]].concat();
        let member = Member::launch("", &[], port.0, port.1, port.2, &flags);
        Api { member, client: reqwest::Client::new() }
    };
    let members: Vec<Api> = ports.iter().enumerate().map(launch).collect();
    members.iter().for_each(|api| api.member.wait_ready());
    members
}

/// What `/health` says, its head and body.
fn health(api: &Api) -> String {
    api.member.http("GET /health")
}

#[tokio::test]
async fn l20_health_is_not_well_while_a_member_is_away_and_l23_any_member_takes_a_value() {
    let data = tempfile::tempdir().unwrap();
    let mut members = three_members(data.path());
    for api in &members {
        wait_for("a healthy cluster", || health(api).contains("\"status\":\"ok\"").then_some(()));
    }
    for i in 0..30 {
        let (key, body) = (format!("/api/cache/k{i}"), json!({"value": i, "ttl_hours": 1}));
        let (status, body) = members[i % 3].send(Method::PUT, &key, body).await;
        assert_eq!(status, 200, "{body}");
        let (status, body) = members[(i + 1) % 3].get(&key).await;
        assert_eq!(
            (status.as_u16(), body["value"].as_str()),
            (200, Some(&*i.to_string())),
            "{body}"
        );
        assert!(body["ttl_seconds"].as_f64().unwrap() > 3_000.0, "{body}");
    }
    let (status, body) = members[1].send(Method::POST, "/api/stores", json!({"name": "a"})).await;
    assert_eq!(status, 201, "{body}");
    assert_eq!(body["keys"], 0);
    let (_, body) = members[2].get("/api/cluster/members").await;
    let names: Vec<_> =
        body["members"].as_array().unwrap().iter().map(|m| m["name"].clone()).collect();
    assert_eq!(names, ["m-0", "m-1", "m-2"]);

    members[2].member.kill();
    for api in &members[..2] {
        let told = wait_for("a degraded cluster", || {
            Some(health(api)).filter(|text| text.contains("\"status\":\"degraded\""))
        });
        assert!(told.contains("member m-2 is ") && told.contains("\"healthy\":false"), "{told}");
    }

    // What the lost member held is asked for at once: an answer or an error, never a hang. Its slots
    // were a plain cache's, so that another member begins them anew as soon as it is known to be gone.
    let paths: Vec<_> = (0..30).map(|i| format!("/api/cache/k{i}")).collect();
    let asked = futures::future::join_all(paths.iter().map(|path| members[0].get(path))).await;
    for (status, body) in &asked {
        let code = body["error"]["code"].as_str();
        let known = matches!(code, None | Some("deadline_exceeded" | "no_quorum" | "not_found"));
        assert!(known && matches!(status.as_u16(), 200 | 404 | 503 | 504), "{status}: {body}");
    }
    assert!(asked.iter().any(|(status, _)| status.as_u16() == 200));
    assert!(asked.iter().any(|(status, _)| status.as_u16() != 200));
}
