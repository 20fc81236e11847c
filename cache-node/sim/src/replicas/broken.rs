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
    /// A process that starts goes by the number of the one before it, which had what it has not.
    KeptNumber,
    /// A lease holds for as long as the leader is heard, whether or not the leader hears the member.
    LeaseByHearing,
    /// A lease is over by a clock that is set to other times.
    LeaseByWallClock,
    /// The leader takes a lease for over when it would be by a clock that goes as its own.
    WaitsNoLonger,
    /// An answer does not wait for the disk.
    UnforcedAnswer,
    /// An owner confirms what is not on its disk yet.
    UnforcedConfirmed,
    /// An owner says how far it is by what is not on its disk yet.
    UnforcedPosition,
    /// A primary that is given the table whole goes on with owners that may have been none meanwhile.
    KeptOverSnapshot,
}

impl Broken {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let shell = [Self::ServesWithoutLease, Self::AnyOwner, Self::ServesUnknown];
        let more = [Self::LeavesAlone, Self::OlderTable, Self::RemovedQuietly];
        let wiped = [Self::KeptNumber, Self::KeptOverSnapshot];
        let disks = [Self::UnforcedAnswer, Self::UnforcedConfirmed, Self::UnforcedPosition];
        let clocks = [Self::LeaseByHearing, Self::LeaseByWallClock, Self::WaitsNoLonger];
        Mutation::ALL
            .into_iter()
            .map(Self::Core)
            .chain(shell)
            .chain(more)
            .chain(clocks)
            .chain(wiped)
            .chain(disks)
    }

    /// The worlds in which it is looked for, by their names.
    pub fn worlds(self) -> &'static [&'static str] {
        match self {
            // Where slots move, who has not everything is replaced before it is missed.
            Self::LeavesAlone => &["impatient"],
            // Where each member owns all slots there is nobody to be removed.
            Self::OlderTable | Self::RemovedQuietly => &["wide", "restless"],
            Self::Core(Mutation::IgnoredEpoch) => &["impatient", "wide"],
            Self::Core(Mutation::HastyMark) => &["wide"],
            // Only there some owners hold other stores than others.
            Self::Core(Mutation::AnyMajority) => &["mixed"],
            Self::Core(Mutation::IgnoredCoverage | Mutation::HastyFactor) => &["changing"],
            Self::Core(Mutation::UncountedLevel) => &["mixed"],
            Self::Core(Mutation::KeptStores) => &["single"],
            // Only by time is a lease another thing than the leader takes it for.
            Self::KeptOverSnapshot => &["snapshots"],
            Self::LeaseByHearing => &["one-way"],
            Self::LeaseByWallClock | Self::WaitsNoLonger => &["clocks"],
            // Only there may most be killed at once.
            Self::Core(Mutation::UnforcedRead | Mutation::CountedOut | Mutation::YieldsToFew)
            | Self::UnforcedAnswer
            | Self::UnforcedConfirmed
            | Self::UnforcedPosition => &["disks"],
            _ => &["narrow", "wide"],
        }
    }
}
