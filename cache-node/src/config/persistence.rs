//! How a store is kept on disk: the section `persistence` for the default store, and the key of that
//! name in each other.
//!
//! The section has two spellings: `mode`, and three switches (`enabled`, `aof_enabled`,
//! `snapshot_enabled`). Where both stand and say different things, that is an error that names both,
//! unless `mode` comes from a variable: that beats the file.

use hypercache_core::store::{Durability, Fsync, Mode};

use super::error::{Place, nearest};
use super::source::Source;
use super::tree::Value;
use super::units::parse_duration;
use super::values;

/// The section of the default store.
const SECTION: &str = "persistence";

/// The keys of a store's persistence that is written as a mapping.
const KEYS: [&str; 8] = [
    "mode",
    "fsync",
    "fsync_interval",
    "batch_size",
    "compression",
    "snapshot_interval",
    "rewrite_percentage",
    "rewrite_min_size",
];

/// Those that say something of a log.
const OF_LOGS: [&str; 5] =
    ["fsync", "fsync_interval", "batch_size", "rewrite_percentage", "rewrite_min_size"];

/// What is on disk, by its word.
pub fn mode(text: &str) -> Result<Mode, String> {
    let words: Vec<_> = Mode::ALL.iter().map(|(word, _)| *word).chain(["aof_only"]).collect();
    word(text, "kind of persistence", Mode::parse(text), &words)
}

fn fsync(text: &str) -> Result<Fsync, String> {
    let words = Fsync::ALL.map(|(word, _)| word);
    word(text, "choice of fsync", Fsync::parse(text), &words)
}

fn word<T>(text: &str, what: &str, parsed: Option<T>, words: &[&'static str]) -> Result<T, String> {
    parsed.ok_or_else(|| match nearest(text, words.iter().copied()) {
        Some(near) => format!("'{text}' is not a {what}; did you mean '{near}'?"),
        None => format!("'{text}' is not a {what}; what works: {}", words.join(", ")),
    })
}

/// Reads the section `persistence`, the default store's; problems are reported to `source`.
pub fn read_default(source: &mut Source<'_>) -> Durability {
    let switches = Switches::read(source);
    let path = at(SECTION, "mode");
    let (chosen, place) = (source.optional(&path, mode), source.place(&path));
    let is_wrong = chosen.is_none() && place != Place::Default;
    let switched = switches.mode();
    // A variable beats the file, whichever spelling that has.
    match chosen {
        Some(mode) if in_file(&place) => switches.report_contradictions(source, mode, &place),
        None if !is_wrong => switches.report_nothing_kept(source),
        _ => {}
    }
    let key = match (chosen, switched) {
        (None, Some((key, _))) => key,
        _ => "mode",
    };
    let mode = chosen.or(switched.map(|(_, mode)| mode));
    let durability = read_keys(source, SECTION, mode, is_wrong);
    report_no_directory(source, &at(SECTION, key), &durability);
    durability
}

/// Reads a store's persistence, a word or a mapping; problems are reported to `source`.
pub fn read_store(source: &mut Source<'_>, path: &str) -> Durability {
    let Some(Value::Map(entries)) = source.file_value(path) else {
        let durability = Durability::of(source.get(path, Mode::Disabled, mode));
        report_no_directory(source, path, &durability);
        return durability;
    };
    for entry in entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        source.unknown(path, entry, &KEYS);
    }
    let mode_path = at(path, "mode");
    let chosen = source.optional(&mode_path, mode);
    let is_wrong = chosen.is_none() && source.place(&mode_path) != Place::Default;
    let durability = read_keys(source, path, chosen, is_wrong);
    report_no_directory(source, &mode_path, &durability);
    durability
}

fn at(path: &str, key: &str) -> String {
    format!("{path}.{key}")
}

/// Whether a place is in the file.
fn in_file(place: &Place) -> bool {
    matches!(place, Place::File { .. })
}

/// The section's switches, as far as they are there.
#[derive(Debug, Clone, Copy)]
struct Switches {
    enabled: Option<bool>,
    aof: Option<bool>,
    snapshot: Option<bool>,
}

impl Switches {
    fn read(source: &mut Source<'_>) -> Self {
        let mut switch = |key| source.optional(&at(SECTION, key), values::boolean);
        Self {
            enabled: switch("enabled"),
            aof: switch("aof_enabled"),
            snapshot: switch("snapshot_enabled"),
        }
    }

    /// The mode that they say, and the key that says so; `None` if they say none.
    fn mode(self) -> Option<(&'static str, Mode)> {
        match (self.aof.unwrap_or(false), self.snapshot.unwrap_or(false)) {
            _ if self.enabled == Some(false) => Some(("enabled", Mode::Disabled)),
            (true, true) => Some(("aof_enabled", Mode::AofSnapshot)),
            (true, false) => Some(("aof_enabled", Mode::Aof)),
            (false, true) => Some(("snapshot_enabled", Mode::Snapshot)),
            (false, false) if self.enabled == Some(true) => None,
            (false, false) => self.aof.or(self.snapshot).map(|_| ("aof_enabled", Mode::Disabled)),
        }
    }

    /// Reports `enabled: true` where nothing says what.
    fn report_nothing_kept(self, source: &mut Source<'_>) {
        if self.enabled == Some(true) && self.mode().is_none() {
            let path = at(SECTION, "enabled");
            let place = source.place(&path);
            let message = "does not say what is kept: write 'persistence.mode', or true for 'persistence.aof_enabled', 'persistence.snapshot_enabled' or both";
            source.problem(&path, place, message);
        }
    }

    /// Reports each switch that says something else than the mode does.
    fn report_contradictions(self, source: &mut Source<'_>, mode: Mode, place: &Place) {
        let switches = [
            ("enabled", self.enabled, mode != Mode::Disabled),
            ("aof_enabled", self.aof, mode.is_logged()),
            ("snapshot_enabled", self.snapshot, mode.has_snapshots()),
        ];
        // What is switched off as a whole may say what it would be.
        let is_idle = mode == Mode::Disabled && self.enabled == Some(false);
        for (key, switch, said) in switches.into_iter().filter(|_| !is_idle) {
            if let Some(switch) = switch.filter(|switch| *switch != said) {
                let message = format!(
                    "'{}' contradicts 'persistence.{key}: {switch}': write one of the two",
                    mode.as_str()
                );
                source.problem(&at(SECTION, "mode"), place.clone(), message);
            }
        }
    }
}

/// Reads what is common to both forms. `mode` is what was chosen; `is_wrong` if that was reported.
fn read_keys(
    source: &mut Source<'_>,
    path: &str,
    mode: Option<Mode>,
    is_wrong: bool,
) -> Durability {
    let default = Durability::default();
    let log_keys = OF_LOGS.map(|key| (key, source.place(&at(path, key))));
    let mut read = Durability {
        mode: mode.unwrap_or_default(),
        fsync: source.get(&at(path, "fsync"), default.fsync, fsync),
        fsync_interval_ms: source.get(
            &at(path, "fsync_interval"),
            default.fsync_interval_ms,
            parse_duration,
        ),
        batch_size: source.get(
            &at(path, "batch_size"),
            default.batch_size,
            values::number("a number of records", 1, 1_000_000),
        ),
        compression: source.get(&at(path, "compression"), default.compression, values::boolean),
        snapshot_interval_ms: source.get(
            &at(path, "snapshot_interval"),
            default.snapshot_interval_ms,
            parse_duration,
        ),
        rewrite_percentage: source.get(
            &at(path, "rewrite_percentage"),
            default.rewrite_percentage,
            values::number("a part in percent", 0, 100_000),
        ),
        rewrite_min_bytes: source.get(
            &at(path, "rewrite_min_size"),
            default.rewrite_min_bytes,
            super::units::parse_size,
        ),
    };
    if let Err(invalid) = read.validate() {
        let path = at(path, key_of(&invalid.field));
        let place = source.place(&path);
        source.problem(&path, place, invalid.message);
        read = Durability::of(read.mode);
    }
    match mode {
        None if !is_wrong => {
            let given = KEYS.iter().map(|key| (key, source.place(&at(path, key))));
            if let Some((key, place)) = given.into_iter().find(|(_, at)| *at != Place::Default) {
                let message = format!(
                    "means nothing without '{path}.mode': write snapshot, aof or aof+snapshot there"
                );
                source.problem(&at(path, key), place, message);
            }
        }
        Some(Mode::Snapshot) => {
            let from = source.place(&at(path, "mode"));
            for (key, place) in log_keys {
                // The file may say more than a variable asks for.
                let is_beaten = in_file(&place) && !in_file(&from) && from != Place::Default;
                if place != Place::Default && !is_beaten {
                    let message = format!(
                        "is of a log, and with '{path}.mode: snapshot' there is none: take it out, or write aof+snapshot there"
                    );
                    source.problem(&at(path, key), place, message);
                }
            }
            read = Durability {
                mode: read.mode,
                compression: read.compression,
                snapshot_interval_ms: read.snapshot_interval_ms,
                ..default
            };
        }
        _ => {}
    }
    read
}

/// The configuration's key for a field of [`Durability`], as `validate` names it.
fn key_of(field: &str) -> &str {
    match field.strip_prefix("persistence.").unwrap_or(field) {
        "fsync_interval_ms" => "fsync_interval",
        "snapshot_interval_ms" => "snapshot_interval",
        "rewrite_min_bytes" => "rewrite_min_size",
        other => other,
    }
}

/// What is kept needs a directory to be kept in.
fn report_no_directory(source: &mut Source<'_>, path: &str, durability: &Durability) {
    let is_missing = source.place("node.data_dir") == Place::Default;
    if durability.mode != Mode::Disabled && is_missing {
        let place = source.place(path);
        let message = format!(
            "'{}' needs a place on disk: set 'node.data_dir', or write disabled here",
            durability.mode.as_str()
        );
        source.problem(path, place, message);
    }
}

#[cfg(test)]
#[path = "persistence_tests.rs"]
mod tests;
