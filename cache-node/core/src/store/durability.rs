//! What a store promises of its data after the power was gone.

use super::Invalid;

/// What of a store is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Nothing: it starts empty.
    #[default]
    Disabled,
    /// A snapshot now and then; what was written since the last one is lost.
    Snapshot,
    /// Every write, in the log.
    Aof,
    /// Every write, in the log, and snapshots at an interval, which shorten recovery.
    AofSnapshot,
}

impl Mode {
    /// Every mode, by the word that configuration, HTTP and custom resources use. `aof_only` is read
    /// as well, for `aof`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("disabled", Self::Disabled),
        ("snapshot", Self::Snapshot),
        ("aof", Self::Aof),
        ("aof+snapshot", Self::AofSnapshot),
    ];

    /// The word for this mode.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, mode)| *mode == self).map_or("disabled", |(word, _)| word)
    }

    /// The mode that a word names, if there is one.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "aof_only" { "aof" } else { word };
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode)
    }

    /// Whether writes go to the log.
    pub fn is_logged(self) -> bool {
        matches!(self, Self::Aof | Self::AofSnapshot)
    }

    /// Whether snapshots are taken at an interval.
    pub fn has_snapshots(self) -> bool {
        matches!(self, Self::Snapshot | Self::AofSnapshot)
    }
}

/// When what was written to the log is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fsync {
    /// Before a write is answered.
    Always,
    /// At an interval.
    #[default]
    Periodic,
    /// When the system does.
    Never,
}

impl Fsync {
    /// Every choice, by its word.
    pub const ALL: [(&'static str, Self); 3] =
        [("always", Self::Always), ("periodic", Self::Periodic), ("never", Self::Never)];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, fsync)| *fsync == self).map_or("periodic", |(word, _)| word)
    }

    /// What a word names, if anything.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, fsync)| *fsync)
    }
}

/// How a store is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Durability {
    /// What is on disk.
    pub mode: Mode,
    /// When the log is forced to it.
    pub fsync: Fsync,
    /// The interval of [`Fsync::Periodic`] in milliseconds.
    pub fsync_interval_ms: u64,
    /// The most records of one frame of the log: what a damaged frame costs.
    pub batch_size: u32,
    /// Whether the log's frames are compressed.
    pub compression: bool,
    /// The time between two snapshots in milliseconds, in the modes that have them.
    pub snapshot_interval_ms: u64,
    /// The log is rewritten once it is larger than this part of the store's snapshot, in percent;
    /// 0 for never.
    pub rewrite_percentage: u32,
    /// … and at least as large as this, in bytes.
    pub rewrite_min_bytes: u64,
}

impl Default for Durability {
    fn default() -> Self {
        Self {
            mode: Mode::Disabled,
            fsync: Fsync::Periodic,
            fsync_interval_ms: 1_000,
            batch_size: 1_000,
            compression: false,
            snapshot_interval_ms: 300_000,
            rewrite_percentage: 100,
            rewrite_min_bytes: 64 << 20,
        }
    }
}

impl Durability {
    /// Nothing but this mode chosen.
    pub fn of(mode: Mode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Whether a write is answered only once it is on the disk.
    pub fn awaits_disk(&self) -> bool {
        self.mode.is_logged() && self.fsync == Fsync::Always
    }

    /// Checks what one policy alone can get wrong.
    ///
    /// # Errors
    /// The field and what would be right.
    pub fn validate(&self) -> Result<(), Invalid> {
        let wrong = |field: &str, message: &str| Err(Invalid::new(field, message.into()));
        if !(10..=3_600_000).contains(&self.fsync_interval_ms) {
            return wrong("persistence.fsync_interval_ms", "an interval is 10 ms to 1 h");
        }
        if !(1..=1_000_000).contains(&self.batch_size) {
            return wrong("persistence.batch_size", "a batch is of 1 to 1000000 records");
        }
        if !(1_000..=7 * 86_400_000).contains(&self.snapshot_interval_ms) {
            return wrong("persistence.snapshot_interval_ms", "an interval is 1 s to 7 d");
        }
        if self.rewrite_percentage > 100_000 {
            return wrong("persistence.rewrite_percentage", "at most 100000 percent; 0 for never");
        }
        if self.rewrite_min_bytes < 1 << 20 {
            return wrong("persistence.rewrite_min_bytes", "at least 1048576 bytes (1MB)");
        }
        Ok(())
    }
}
