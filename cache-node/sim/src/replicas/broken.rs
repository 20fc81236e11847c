//! Mistakes that a run makes, each of which has to be found.

use hypercache_core::mutation::Mutation;

/// A mistake that a run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// One of the core's.
    Core(Mutation),
    /// A primary serves although its lease is over.
    ServesWithoutLease,
    /// The leader promotes any owner that is in sync, not the one that is furthest.
    AnyOwner,
    /// A process that starts serves before the table knows it.
    ServesUnknown,
    /// An owner leaves the in-sync set whatever those have that stay.
    LeavesAlone,
    /// A copy says how far it is although its table is older than the one by which it is asked.
    OlderTable,
    /// An owner that was removed, and added again, is in sync by a word from before.
    RemovedQuietly,
}

impl Broken {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let shell = [Self::ServesWithoutLease, Self::AnyOwner, Self::ServesUnknown];
        let more = [Self::LeavesAlone, Self::OlderTable, Self::RemovedQuietly];
        Mutation::ALL.into_iter().map(Self::Core).chain(shell).chain(more)
    }

    /// The worlds in which it is looked for, by their names.
    pub fn worlds(self) -> &'static [&'static str] {
        match self {
            // Where slots move, who has not everything is replaced before it is missed.
            Self::LeavesAlone => &["impatient"],
            // Where each member owns all slots there is nobody to be removed.
            Self::OlderTable | Self::RemovedQuietly => &["wide", "restless"],
            Self::Core(Mutation::IgnoredEpoch | Mutation::OutlivedMark) => &["impatient", "wide"],
            _ => &["narrow", "wide"],
        }
    }
}
