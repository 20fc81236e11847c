//! A store's durability, as people write it over HTTP: a mode, or fields by their names.

use super::{Durability, Fsync, Invalid, Mode};
use serde::{Deserialize, Serialize};

/// The field's name over HTTP.
const FIELD: &str = "persistence";

/// What a request says of a store's durability: a mode in one word, or some fields by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "persistence is disabled, snapshot, aof or aof+snapshot, or a mapping of mode, fsync \
                 (always, periodic, never), fsync_interval_ms, batch_size, compression, \
                 snapshot_interval_ms, rewrite_percentage and rewrite_min_bytes"
)]
pub enum DurabilitySetting {
    /// A mode.
    Word(String),
    /// Fields; those that are left out stay.
    Fields(DurabilityFields),
}

/// The fields of a store's durability, as far as they are given or mean something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DurabilityFields {
    /// The word of what is on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The word of when the log is forced to the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsync: Option<String>,
    /// The interval of `periodic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsync_interval_ms: Option<u64>,
    /// The most records of a frame of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u32>,
    /// Whether the log is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<bool>,
    /// The time between two snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_interval_ms: Option<u64>,
    /// How much larger than the snapshot the log gets before it is rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_percentage: Option<u32>,
    /// How large it is then at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite_min_bytes: Option<u64>,
}

impl DurabilitySetting {
    /// The durability that this makes of another one.
    ///
    /// # Errors
    /// A word that is none, a field of a log where there is no log, or fields of a store that keeps
    /// nothing.
    pub fn over(self, base: &Durability) -> Result<Durability, Invalid> {
        match self {
            Self::Word(word) => {
                DurabilityFields { mode: Some(word), ..DurabilityFields::default() }.over(base)
            }
            Self::Fields(fields) => fields.over(base),
        }
    }
}

impl DurabilityFields {
    /// The first field that says something of a log.
    fn of_log(&self) -> Option<&'static str> {
        let given = [
            ("fsync", self.fsync.is_some()),
            ("fsync_interval_ms", self.fsync_interval_ms.is_some()),
            ("batch_size", self.batch_size.is_some()),
            ("rewrite_percentage", self.rewrite_percentage.is_some()),
            ("rewrite_min_bytes", self.rewrite_min_bytes.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(field, _)| field)
    }

    /// The first field beside the mode.
    fn beside_mode(&self) -> Option<&'static str> {
        self.of_log()
            .or(self.compression.map(|_| "compression"))
            .or(self.snapshot_interval_ms.map(|_| "snapshot_interval_ms"))
    }

    fn over(self, base: &Durability) -> Result<Durability, Invalid> {
        let wrong =
            |field: &str, message: String| Invalid::new(&format!("{FIELD}.{field}"), message);
        let mode = match &self.mode {
            None => base.mode,
            Some(word) => Mode::parse(word).ok_or_else(|| {
                let words = Mode::ALL.map(|(word, _)| word).join(", ");
                Invalid::new(
                    FIELD,
                    format!("'{word}' is not a kind of persistence; what works: {words}"),
                )
            })?,
        };
        if let (Mode::Snapshot, Some(field)) = (mode, self.of_log()) {
            let message =
                "there is no log with mode snapshot: leave it out, or ask for aof+snapshot";
            return Err(wrong(field, message.into()));
        }
        // Whoever writes the mode beside it knows that it is off.
        if let (Mode::Disabled, None, Some(field)) = (mode, &self.mode, self.beside_mode()) {
            let message = "the store keeps nothing on disk: ask for a mode as well";
            return Err(wrong(field, message.into()));
        }
        let fsync = match &self.fsync {
            None => base.fsync,
            Some(word) => Fsync::parse(word).ok_or_else(|| {
                let words = Fsync::ALL.map(|(word, _)| word).join(", ");
                wrong("fsync", format!("'{word}' is no choice of fsync; what works: {words}"))
            })?,
        };
        Ok(Durability {
            mode,
            fsync,
            fsync_interval_ms: self.fsync_interval_ms.unwrap_or(base.fsync_interval_ms),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            compression: self.compression.unwrap_or(base.compression),
            snapshot_interval_ms: self.snapshot_interval_ms.unwrap_or(base.snapshot_interval_ms),
            rewrite_percentage: self.rewrite_percentage.unwrap_or(base.rewrite_percentage),
            rewrite_min_bytes: self.rewrite_min_bytes.unwrap_or(base.rewrite_min_bytes),
        })
    }
}

impl From<&Durability> for DurabilityFields {
    /// Every field that means something in the mode, so that it reads back.
    fn from(durability: &Durability) -> Self {
        let log = durability.mode != Mode::Snapshot;
        Self {
            mode: Some(durability.mode.as_str().to_owned()),
            fsync: log.then(|| durability.fsync.as_str().to_owned()),
            fsync_interval_ms: log.then_some(durability.fsync_interval_ms),
            batch_size: log.then_some(durability.batch_size),
            compression: Some(durability.compression),
            snapshot_interval_ms: Some(durability.snapshot_interval_ms),
            rewrite_percentage: log.then_some(durability.rewrite_percentage),
            rewrite_min_bytes: log.then_some(durability.rewrite_min_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(mode: Option<&str>, fsync: Option<&str>) -> DurabilityFields {
        let owned = |word: &str| word.to_owned();
        DurabilityFields {
            mode: mode.map(owned),
            fsync: fsync.map(owned),
            ..DurabilityFields::default()
        }
    }

    #[test]
    fn a_word_changes_the_mode_and_fields_what_they_name() {
        let base = Durability { fsync: Fsync::Always, ..Durability::of(Mode::Aof) };
        let both = DurabilitySetting::Word("aof+snapshot".into()).over(&base).unwrap();
        assert_eq!(both, Durability { mode: Mode::AofSnapshot, ..base.clone() });
        let never = fields(None, Some("never")).over(&base).unwrap();
        assert_eq!(never, Durability { fsync: Fsync::Never, ..base.clone() });
        let shown = DurabilityFields::from(&base);
        assert_eq!(shown.over(&Durability::default()), Ok(base));
    }

    #[test]
    fn what_is_shown_of_a_store_with_snapshots_alone_reads_back() {
        let base = Durability { snapshot_interval_ms: 60_000, ..Durability::of(Mode::Snapshot) };
        let shown = DurabilityFields::from(&base);
        assert_eq!(shown.fsync, None);
        assert_eq!(shown.over(&Durability::default()), Ok(base));
    }

    #[test]
    fn a_field_that_promises_nothing_is_refused_by_name() {
        let (off, snapshot) = (Durability::default(), Durability::of(Mode::Snapshot));
        let compressed = DurabilityFields { compression: Some(true), ..fields(None, None) };
        for (setting, base, field) in [
            (fields(Some("everything"), None), &off, "persistence"),
            (fields(Some("snapshot"), Some("always")), &off, "persistence.fsync"),
            (fields(None, Some("always")), &snapshot, "persistence.fsync"),
            (fields(None, Some("always")), &off, "persistence.fsync"),
            (compressed, &off, "persistence.compression"),
            (fields(Some("aof"), Some("often")), &off, "persistence.fsync"),
        ] {
            assert_eq!(setting.clone().over(base).unwrap_err().field, field, "{setting:?}");
        }
        let off_by_name = fields(Some("disabled"), Some("always"));
        assert_eq!(off_by_name.over(&snapshot).unwrap().mode, Mode::Disabled);
    }
}
