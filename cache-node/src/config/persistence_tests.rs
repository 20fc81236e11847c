use super::super::tests::{only_problem, problems, read};
use super::super::{Config, ServerArgs, from_text};
use super::*;

const DIRECTORY: &str = "node: {data_dir: /tmp/x}\n";

fn with_directory(text: &str) -> Config {
    read(&format!("{DIRECTORY}{text}")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn problem(text: &str) -> (String, String) {
    let (path, _, _, message) = only_problem(&format!("{DIRECTORY}{text}"));
    (path, message)
}

#[test]
fn both_spellings_of_the_section_say_the_same() {
    for (switches, mode) in [
        ("enabled: true, aof_enabled: true, snapshot_enabled: true", Mode::AofSnapshot),
        ("aof_enabled: true", Mode::Aof),
        ("enabled: true, snapshot_enabled: true, aof_enabled: false", Mode::Snapshot),
        ("enabled: false, aof_enabled: true, snapshot_enabled: true", Mode::Disabled),
        ("aof_enabled: false", Mode::Disabled),
    ] {
        let config = with_directory(&format!("persistence: {{{switches}}}"));
        assert_eq!(config.stores[0].durability, Durability::of(mode), "{switches}");
        let both = with_directory(&format!("persistence: {{{switches}, mode: {}}}", mode.as_str()));
        assert_eq!(both, config, "{switches}, and the mode as well");
    }
}

#[test]
fn spellings_that_contradict_each_other_are_an_error_that_names_both() {
    for (keys, other) in [
        ("mode: aof, enabled: false", "persistence.enabled: false"),
        ("mode: snapshot, aof_enabled: true", "persistence.aof_enabled: true"),
        ("mode: aof, snapshot_enabled: true", "persistence.snapshot_enabled: true"),
        ("mode: disabled, enabled: true", "persistence.enabled: true"),
    ] {
        let (path, message) = problem(&format!("persistence: {{{keys}}}"));
        assert_eq!(path, "persistence.mode");
        assert!(message.contains(other), "{keys}: {message}");
    }
    let (path, message) = problem("persistence: {enabled: true}");
    assert_eq!(path, "persistence.enabled");
    assert!(message.contains("persistence.mode"), "{message}");
}

#[test]
fn l6_every_key_of_a_store_s_persistence_is_what_it_runs_and_what_is_shown() {
    let keys = "{mode: aof+snapshot, fsync: always, fsync_interval: 250ms, batch_size: 1, \
                compression: true, snapshot_interval: 60s, rewrite_percentage: 0, rewrite_min_size: 1MB}";
    let config =
        with_directory(&format!("persistence: {keys}\nstores:\n  a:\n    persistence: {keys}\n"));
    let wanted = Durability {
        mode: Mode::AofSnapshot,
        fsync: Fsync::Always,
        fsync_interval_ms: 250,
        batch_size: 1,
        compression: true,
        snapshot_interval_ms: 60_000,
        rewrite_percentage: 0,
        rewrite_min_bytes: 1 << 20,
    };
    for store in &config.stores {
        assert_eq!(store.durability, wanted, "{}", store.name);
    }
    let shown = config.to_yaml().unwrap();
    assert_eq!(read(&shown).unwrap(), config, "{shown}");
}

#[test]
fn a_word_or_a_mapping_is_read_and_what_is_shown_reads_back() {
    for (word, mode) in [
        ("disabled", Mode::Disabled),
        ("snapshot", Mode::Snapshot),
        ("aof", Mode::Aof),
        ("aof_only", Mode::Aof),
        ("'aof+snapshot'", Mode::AofSnapshot),
        ("{mode: aof_only}", Mode::Aof),
        ("{mode: snapshot, snapshot_interval: 1h, compression: true}", Mode::Snapshot),
        ("{}", Mode::Disabled),
    ] {
        let config = with_directory(&format!("stores: {{a: {{persistence: {word}}}}}"));
        assert_eq!(config.stores[1].durability.mode, mode, "{word}");
        let shown = config.to_yaml().unwrap();
        assert_eq!(read(&shown).unwrap(), config, "{shown}");
    }
}

#[test]
fn what_keeps_nothing_of_what_it_asks_for_is_an_error() {
    for (text, path, word) in [
        ("persistence: {mode: snapshot, fsync: always}", "persistence.fsync", "persistence.mode"),
        ("persistence: {fsync: always}", "persistence.fsync", "persistence.mode"),
        ("persistence: {snapshot_interval: 60s}", "persistence.snapshot_interval", "mode"),
        (
            "stores: {a: {persistence: {mode: snapshot, batch_size: 5}}}",
            "stores.a.persistence.batch_size",
            "stores.a.persistence.mode",
        ),
        (
            "stores: {a: {persistence: {fsync: never}}}",
            "stores.a.persistence.fsync",
            "stores.a.persistence.mode",
        ),
    ] {
        let (found, message) = problem(text);
        assert_eq!(found, path);
        assert!(message.contains(word), "{text}: {message}");
    }
}

#[test]
fn what_is_kept_needs_a_directory() {
    for (text, path) in [
        ("persistence: {mode: aof}", "persistence.mode"),
        ("persistence: {aof_enabled: true}", "persistence.aof_enabled"),
        ("stores: {a: {persistence: snapshot}}", "stores.a.persistence"),
        ("stores: {a: {persistence: {mode: aof}}}", "stores.a.persistence.mode"),
    ] {
        let (found, line, _, message) = only_problem(text);
        assert_eq!((found.as_str(), line), (path, 1));
        assert!(message.contains("node.data_dir"), "{message}");
    }
    assert!(read("persistence: {mode: disabled, fsync: always}").is_ok());
}

#[test]
fn wrong_words_ranges_and_keys_say_what_would_be_right() {
    for (keys, key, word) in [
        ("mode: aofonly", "mode", "did you mean 'aof"),
        ("mode: everything", "mode", "aof+snapshot"),
        ("mode: aof, fsync: alwyas", "fsync", "did you mean 'always'"),
        ("mode: aof, fsync_interval: 1ms", "fsync_interval", "10 ms"),
        ("mode: aof, batch_size: 0", "batch_size", "1 to 1000000"),
        ("mode: aof, snapshot_interval: 10ms", "snapshot_interval", "1 s"),
        ("mode: aof, rewrite_percentage: -1", "rewrite_percentage", "0 to 100000"),
        ("mode: aof, rewrite_min_size: 5", "rewrite_min_size", "1MB"),
        ("mode: aof, compression: zstd", "compression", "true"),
        ("mode: aof, fsnyc: always", "fsnyc", "did you mean 'fsync'"),
    ] {
        for section in ["persistence", "stores.a.persistence"] {
            let text = match section {
                "persistence" => format!("persistence: {{{keys}}}"),
                _ => format!("stores: {{a: {{persistence: {{{keys}}}}}}}"),
            };
            let (path, message) = problem(&text);
            assert_eq!(path, format!("{section}.{key}"));
            assert!(message.contains(word), "{keys}: {message}");
        }
    }
}

#[test]
fn a_variable_beats_either_spelling_of_the_file() {
    let with = |text: &str, mode: &str, fsync: &str| {
        let (mode, fsync) = (mode.to_owned(), fsync.to_owned());
        let env = move |name: &str| match name {
            "HYPERCACHE_PERSISTENCE_MODE" => Some(mode.clone()),
            "HYPERCACHE_FSYNC" => Some(fsync.clone()),
            "HYPERCACHE_DATA_DIR" => Some("/tmp/x".into()),
            _ => None,
        };
        from_text(text, None, &ServerArgs::default(), &env).map(|c| c.stores[0].durability.clone())
    };
    let file = "persistence: {enabled: true, aof_enabled: true, fsync: always}";
    assert_eq!(with(file, "disabled", "").unwrap().mode, Mode::Disabled);
    let snapshot = with(file, "snapshot", "").unwrap();
    assert_eq!(snapshot, Durability::of(Mode::Snapshot), "the file's fsync is of another mode");
    assert_eq!(with(file, "", "never").unwrap().fsync, Fsync::Never);
    let error = with("persistence: {mode: snapshot}", "", "always").unwrap_err().to_string();
    assert!(error.starts_with("HYPERCACHE_FSYNC: persistence.fsync: "), "{error}");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = "persistence: {mode: aof, enabled: false, fsync: x, batch_size: 0}";
    let found: Vec<_> = problems(&format!("{DIRECTORY}{text}")).into_iter().map(|p| p.0).collect();
    assert_eq!(found, ["persistence.mode", "persistence.fsync", "persistence.batch_size"]);
}
