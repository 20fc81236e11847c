use super::*;
use std::collections::BTreeSet;

const EXAMPLE: &str = include_str!("../../config.example.yaml");

/// The readme's two blocks of configuration, with every value as it stands there.
const README: &str = r#"
node:
  id: "node-1"
  data_dir: "./data/node-1"
network:
  resp_port: 8080
  http_port: 9080
  gossip_port: 7946
cache:
  max_memory: 1GB
  default_ttl: 1h
  cleanup_interval: 5m
  eviction_policy: "session"
persistence:
  enabled: true
  aof_enabled: true
  snapshot_enabled: true
  snapshot_interval: 300s
stores:
  user_sessions:
    eviction_policy: "session"
    cuckoo_filter: true
    persistence: "aof+snapshot"
    replication_factor: 3
  page_cache:
    eviction_policy: "lru"
    cuckoo_filter: false
    persistence: "aof_only"
    replication_factor: 2
  temporary_data:
    eviction_policy: "lfu"
    cuckoo_filter: true
    persistence: "disabled"
    replication_factor: 1
"#;

pub fn read(text: &str) -> Result<Config, Error> {
    from_text(text, None, &ServerArgs::default(), &|_| None)
}

pub fn problems(text: &str) -> Vec<(String, u64, u64, String)> {
    let error = read(text).unwrap_err();
    let at = |problem: &Problem| match problem.place {
        Place::File { line, column } => (line, column),
        _ => (0, 0),
    };
    error.problems().iter().map(|p| (p.path.clone(), at(p).0, at(p).1, p.message.clone())).collect()
}

pub fn only_problem(text: &str) -> (String, u64, u64, String) {
    let all = problems(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

#[test]
fn without_a_file_the_documented_defaults_are_in_force() {
    let config = load(&ServerArgs::default(), |_| None).unwrap();
    assert_eq!(config.network.bind.to_string(), "127.0.0.1");
    assert_eq!(config.network.advertise, "127.0.0.1");
    let ports = (config.network.resp_port, config.network.http_port, config.network.gossip_port);
    assert_eq!(ports, (8080, 9080, 7946));
    assert_eq!(config.network.max_connections, 10_000);
    assert_eq!(config.network.request_timeout_ms, 5_000);
    assert_eq!(config.cluster.bootstrap_members, 1);
    assert_eq!(config.node.id, host_name());
    assert_eq!(config.stores, [StorePolicy::new("default", 0)]);
}

#[test]
fn l2_a_connection_may_be_idle_for_ever_unless_configured() {
    assert_eq!(read("").unwrap().network.idle_timeout_ms, 0);
}

#[test]
fn the_example_shows_the_defaults() {
    assert_eq!(read(EXAMPLE).unwrap(), read("").unwrap());
}

/// The example with its commented-out keys switched on.
fn example_switched_on(skip: &[&str]) -> String {
    let switch = |line: &str| {
        let body = line.trim_start();
        let key =
            body.strip_prefix('#').filter(|b| b.starts_with(|c: char| c.is_ascii_lowercase()));
        match key {
            Some(key) if !skip.iter().any(|s| key.starts_with(s)) => {
                format!("{}{key}", &line[..line.len() - body.len()])
            }
            _ => line.to_owned(),
        }
    };
    EXAMPLE.lines().map(switch).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_key_of_the_schema_stands_in_the_example_and_no_other() {
    let tree = tree::parse(&example_switched_on(&[])).unwrap();
    let mut found = BTreeSet::new();
    let tree::Value::Map(sections) = &tree.value else { panic!("no mapping") };
    for section in sections {
        let tree::Value::Map(entries) = &section.node.value else { continue };
        for entry in entries {
            match &entry.node.value {
                tree::Value::Map(keys) => {
                    found.extend(keys.iter().map(|k| format!("{}.*.{}", section.key, k.key)));
                }
                _ => drop(found.insert(format!("{}.{}", section.key, entry.key))),
            }
        }
    }
    let schema: BTreeSet<_> = schema::KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(found, schema);
}

#[test]
fn what_the_example_suggests_works() {
    let config = read(&example_switched_on(&[])).unwrap();
    assert_eq!(config.cluster.join.len(), 3);
    assert_eq!(config.stores[1].name, "page_cache");
    assert_eq!(config.stores[1].max_memory_bytes, Some(512 << 20));
}

#[test]
fn the_example_names_the_variable_and_the_flag_of_every_key() {
    for key in schema::KEYS {
        for word in key.variable.iter().chain(&key.flag) {
            assert!(EXAMPLE.contains(word), "{word} of {}", key.path);
        }
    }
}

#[test]
fn every_key_of_the_schema_is_read() {
    let tree = tree::parse("stores: {x: {}}").unwrap();
    let args = ServerArgs::default();
    let mut source = source::Source::new(&tree, &args, &|_| None);
    read::read(&mut source, "host", 1);
    let asked: BTreeSet<_> =
        source.asked().iter().map(|path| path.replace("stores.x.", "stores.*.")).collect();
    let schema: BTreeSet<_> = schema::KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(asked, schema);
}

#[test]
fn the_readmes_file_works() {
    let config = read(README).unwrap();
    let copies: Vec<_> = config.stores.iter().map(|s| s.replication_factor).collect();
    assert_eq!(copies, [1, 3, 2, 1]);
    assert_eq!(config.stores[0].max_memory_bytes, Some(1 << 30));
    assert_eq!(config.stores[0].default_ttl_ms, Some(3_600_000));
    assert_eq!(config.cleanup_interval_ms, 300_000);
    let names: Vec<_> = config.stores.iter().map(|s| (s.name.as_str(), s.number)).collect();
    let expected = [("default", 0), ("user_sessions", 1), ("page_cache", 2), ("temporary_data", 3)];
    assert_eq!(names, expected);
    let filtered: Vec<_> = config.stores.iter().map(|s| s.filter.is_some()).collect();
    assert_eq!(filtered, [false, true, false, true]);
    let kept: Vec<_> = config.stores.iter().map(|s| s.durability.mode.as_str()).collect();
    assert_eq!(kept, ["aof+snapshot", "aof+snapshot", "aof", "disabled"]);
}

#[test]
fn a_filter_is_a_switch_a_rate_or_a_mapping_of_both() {
    let ppm = |value: &str| {
        let text =
            format!("cache: {{cuckoo_filter: {value}}}\nstores: {{a: {{cuckoo_filter: {value}}}}}");
        let config = read(&text).unwrap();
        assert_eq!(config.stores[0].filter, config.stores[1].filter);
        let shown = config.to_yaml().unwrap();
        assert_eq!(read(&shown).unwrap(), config, "{shown}");
        config.stores[0].filter.map(|rate| rate.ppm())
    };
    assert_eq!(ppm("true"), Some(10_000));
    assert_eq!(ppm("false"), None);
    assert_eq!(ppm("0.001"), Some(1_000));
    assert_eq!(ppm("{}"), Some(10_000));
    assert_eq!(ppm("{false_positive_rate: 0.1}"), Some(100_000));
    assert_eq!(ppm("{enabled: false, false_positive_rate: 0.1}"), None);
    for (text, path, word) in [
        ("cache: {cuckoo_filter: 0.5}", "cache.cuckoo_filter", "0.001 to 0.1"),
        ("cache: {cuckoo_filter: yes}", "cache.cuckoo_filter", "true, false or a rate"),
        (
            "stores: {a: {cuckoo_filter: {rate: 1}}}",
            "stores.a.cuckoo_filter.rate",
            "false_positive_rate",
        ),
        (
            "stores: {a: {cuckoo_filter: {enabled: false, false_positive_rate: 1}}}",
            "stores.a.cuckoo_filter.false_positive_rate",
            "0.001 to 0.1",
        ),
        ("stores: {a: {cuckoo_filter: [1]}}", "stores.a.cuckoo_filter", "a list"),
    ] {
        let problem = only_problem(text);
        assert_eq!(problem.0, path);
        assert!(problem.3.contains(word), "{problem:?}");
    }
    let args = ServerArgs::default();
    let env = |name: &str| (name == "HYPERCACHE_CUCKOO_FILTER").then(|| "0.05".to_owned());
    let text = "cache: {cuckoo_filter: {enabled: false}}";
    let config = from_text(text, None, &args, &env).unwrap();
    assert_eq!(config.stores[0].filter.map(|rate| rate.ppm()), Some(50_000), "it beats the file");
}

#[test]
fn an_unknown_key_names_its_path_line_and_the_key_that_was_meant() {
    let (path, line, column, message) = only_problem("node:\n  id: a\ncache:\n  max_memroy: 1GB\n");
    assert_eq!((path.as_str(), line, column), ("cache.max_memroy", 4, 3));
    assert!(message.contains("did you mean 'max_memory'"), "{message}");
    let (path, _, _, message) = only_problem("netwrok: {}\n");
    assert_eq!(path, "netwrok");
    assert!(message.contains("'network'"), "{message}");
    let (path, line, _, message) = only_problem("stores:\n  a:\n    bind: x\n");
    assert_eq!((path.as_str(), line), ("stores.a.bind", 3));
    assert!(message.contains("network.bind"), "{message}");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "network:\n  resp_port: 99999\n  bind: localhost\ncache:\n  default_ttl: 60\n  max_memory: [1]\nstores: 5\n";
    let paths: Vec<_> = problems(text).into_iter().map(|(path, ..)| path).collect();
    let expected =
        ["network.resp_port", "network.bind", "cache.default_ttl", "cache.max_memory", "stores"];
    assert_eq!(paths, expected);
}

#[test]
fn the_printed_error_begins_with_file_line_and_column() {
    let file = Some(PathBuf::from("demo.yaml"));
    let error = from_text("cache:\n  default_ttl: 60\n", file, &ServerArgs::default(), &|_| None)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "demo.yaml:2:16: cache.default_ttl: '60' has no unit: write 60s or 60ms"
    );
}

#[test]
fn contradictions_between_stores_are_found() {
    let text = "stores:\n  a: {number: 1, key_prefixes: [x]}\n  b: {number: 1, key_prefixes: [y, x]}\n  default: {}\n  Bad: {}\n  c.d: {}\n  e: {key_prefixes: ['']}\n  f: {number: 0}\n  g: {max_memory: 1KB}\n";
    let found: Vec<_> = problems(text).into_iter().map(|(path, line, ..)| (path, line)).collect();
    let expected = [
        ("stores.b.number", 3),
        ("stores.b.key_prefixes", 3),
        ("stores.default", 4),
        ("stores.Bad", 5),
        ("stores.c.d", 6),
        ("stores.e.key_prefixes", 7),
        ("stores.f.number", 8),
        ("stores.g.max_memory", 9),
    ];
    assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
}

#[test]
fn a_store_without_a_number_gets_the_lowest_that_no_store_names() {
    let config = read("stores:\n  c: {}\n  a: {number: 1}\n  b: {}\n").unwrap();
    let numbers: Vec<_> = config.stores.iter().map(|s| (s.name.as_str(), s.number)).collect();
    assert_eq!(numbers, [("default", 0), ("c", 2), ("a", 1), ("b", 3)]);
}

#[test]
fn ports_that_collide_are_a_contradiction_unless_they_are_free_to_be_picked() {
    let (path, line, _, message) = only_problem("network:\n  resp_port: 9080\n");
    assert_eq!((path.as_str(), line), ("network.http_port", 2));
    assert!(message.contains("9080"), "{message}");
    assert!(read("network: {resp_port: 0, http_port: 0, gossip_port: 0}").is_ok());
}

#[test]
fn join_needs_the_number_of_bootstrap_members_and_the_number_needs_join() {
    let (path, line, _, _) = only_problem("cluster:\n  join: [a:7946]\n");
    assert_eq!((path.as_str(), line), ("cluster.bootstrap_members", 2));
    assert_eq!(only_problem("cluster: {bootstrap_members: 3}").0, "cluster.bootstrap_members");
    let config = read("cluster: {join: 'a:7946, b:7946', bootstrap_members: 3}").unwrap();
    assert_eq!(config.cluster.join, ["a:7946", "b:7946"]);
    let (path, line, column, _) =
        only_problem("cluster:\n  bootstrap_members: 2\n  join: ['a:1', 'b']\n");
    assert_eq!((path.as_str(), line, column), ("cluster.join", 3, 17));
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let env = |name: &str| match name {
        "HYPERCACHE_RESP_PORT" => Some("7001".into()),
        "HYPERCACHE_HTTP_PORT" => Some("7002".into()),
        "HYPERCACHE_NODE_ID" => Some(String::new()),
        "HYPERCACHE_PASSWORD" => Some("s3cret".into()),
        _ => None,
    };
    let args = ServerArgs { resp_port: Some("6001".into()), ..ServerArgs::default() };
    let text = "node: {id: from-file}\nnetwork: {resp_port: 1, http_port: 2, gossip_port: 3}\n";
    let config = from_text(text, None, &args, &env).unwrap();
    let ports = (config.network.resp_port, config.network.http_port, config.network.gossip_port);
    assert_eq!(ports, (6001, 7002, 3));
    assert_eq!(config.node.id, "from-file", "an empty variable is not set");
    assert_eq!(config.auth.password.unwrap().expose(), "s3cret");
}

#[test]
fn a_bad_variable_or_flag_is_named_in_the_error() {
    let env = |name: &str| (name == "HYPERCACHE_HTTP_PORT").then(|| "x".to_owned());
    let args = ServerArgs { bind: Some("nowhere".into()), ..ServerArgs::default() };
    let text = from_text("", None, &args, &env).unwrap_err().to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("HYPERCACHE_HTTP_PORT: network.http_port: 'x'"), "{text}");
    assert!(lines[1].starts_with("--bind: network.bind: 'nowhere'"), "{text}");
}

#[test]
fn the_variable_names_the_file_when_no_flag_does() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("demo.yaml");
    std::fs::write(&file, "node: {id: seven}").unwrap();
    let name = file.to_str().unwrap().to_owned();
    let env = |variable: &str| (variable == "HYPERCACHE_CONFIG").then(|| name.clone());
    assert_eq!(load(&ServerArgs::default(), env).unwrap().node.id, "seven");
    let missing = ServerArgs { config: Some(dir.path().join("none")), ..ServerArgs::default() };
    let error = load(&missing, env).unwrap_err();
    assert!(matches!(&error, Error::Unreadable { .. }));
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let text = "node: {id: '007', data_dir: /tmp/x, zone: z, weight: 5}\nnetwork: {bind: '::', idle_timeout: 1h30m}\ncache: {max_memory: 2000000, default_ttl: 1ms}\nstores:\n  a: {number: 9, key_prefixes: ['x: #', 'true', '12']}\n  b: {max_memory: 512MB, eviction_policy: noeviction, default_ttl: 90m}\n";
    let config = read(text).unwrap();
    assert_eq!(config.network.advertise, host_name());
    let shown = config.to_yaml().unwrap();
    assert_eq!(read(&shown).unwrap(), config, "{shown}");
}

#[test]
fn secrets_are_hidden_in_what_is_shown_and_not_taken_for_secrets_when_read_back() {
    let text = "auth: {password: swordfish}\ncluster: {secret: tuna}\n";
    let config = read(text).unwrap();
    let shown = config.to_yaml().unwrap();
    let debug = format!("{config:?}");
    for secret in ["swordfish", "tuna"] {
        assert!(!shown.contains(secret) && !debug.contains(secret));
    }
    let paths: Vec<_> = problems(&shown).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["cluster.secret", "auth.password"]);
}

#[test]
fn no_text_makes_the_reader_panic() {
    for text in [
        "[]",
        "5",
        "a: *b",
        "? [x]\n: y",
        "stores: {a: 5, b: []}",
        "\u{0}",
        "node: {id: {}}",
        "!!binary x",
    ] {
        let _ = read(text);
    }
}

proptest::proptest! {
    #[test]
    fn no_damaged_file_makes_the_reader_panic(at in 0..1000usize, with in ".{0,3}") {
        let cut = README.char_indices().nth(at).map_or(README.len(), |(i, _)| i);
        let _ = read(&format!("{}{with}{}", &README[..cut], README.get(cut + 1..).unwrap_or("")));
    }
}

#[test]
fn where_backups_go_is_read_shown_and_refused_by_key() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let text = format!(
        "backup: {{url: 's3://b/p', recipient: {key}, s3_endpoint: 'http://minio:9000', s3_region: r}}"
    );
    let config = read(&text).unwrap();
    assert_eq!(config.backup.as_ref().unwrap().destination.url, "s3://b/p");
    let shown = config.to_yaml().unwrap();
    assert_eq!(read(&shown).unwrap(), config, "{shown}");
    assert!(read("").unwrap().backup.is_none());
    for (text, path, right) in [
        ("backup: {url: gs://b}", "backup.url", "s3://BUCKET/PREFIX"),
        ("backup: {url: relative/path}", "backup.url", "absolute"),
        ("backup: {url: /b, recipient: age1x}", "backup.recipient", "age-keygen"),
        ("backup: {url: /b, recipient: AGE-SECRET-KEY-1X}", "backup.recipient", "'age1'"),
        ("backup: {url: 's3://b', s3_endpoint: minio}", "backup.s3_endpoint", "https://HOST"),
        ("backup: {url: /b, s3_region: r}", "backup.s3_region", "backup.url"),
        ("backup: {s3_region: r}", "backup.s3_region", "backup.url"),
        ("backup: {key: x}", "backup.key", "unknown"),
    ] {
        let all = problems(text);
        let [(at, _, _, message)] = &all[..] else { panic!("{text}: {all:?}") };
        assert!(at == path && message.contains(right), "{text}: {at}: {message}");
    }
}
