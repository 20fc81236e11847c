//! Builds that are broken on purpose: each mutation is a mistake that somebody could make, and the
//! simulation has to find it. Without the feature `mutations` none is there.

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutation {
    /// An answer does not wait for other owners.
    EarlyAck,
    /// A read does not wait for what it may have seen.
    DirtyRead,
    /// A link's cycle counts as confirmed once it is sent.
    SentIsConfirmed,
    /// A quorum write is applied although too few owners are in sync.
    NoRefusal,
    /// A replica takes records of an epoch that is over.
    IgnoredEpoch,
    /// A primary that is refused goes on.
    IgnoredRefusal,
    /// An owner may be in sync before it has the slot's pieces.
    InSyncWithoutPieces,
    /// Records that come before the last piece of their slot are lost.
    LostHeld,
    /// An owner goes on from wherever it is.
    IgnoredPosition,
    /// What was attached in a session that is over counts in the next one.
    KeptSession,
    /// A replica removes keys whose lifetime is over by itself.
    ExpiryAtReplica,
    /// A cycle that comes twice is done twice, and its records as well.
    DoneTwice,
    /// An owner is told of another epoch before it is known to have taken the mark by which it begins anew.
    HastyMark,
    /// A majority may be without the owner that holds more stores than others, and is the next primary.
    AnyMajority,
    /// An owner goes on from where it is with whatever stores it has there.
    IgnoredCoverage,
    /// A read does not wait for the disk to have what it may have seen.
    UnforcedRead,
    /// A member that was started again is let in while its primaries count on what it had.
    CountedOut,
    /// A primary that was started again gives way to whoever remembers how far it is, whatever that proves.
    YieldsToFew,
    /// An owner goes on from where a backlog begins, without what is in it.
    LostBacklog,
    /// Who follows a slot does not count what others have to have that get some of its stores only.
    UncountedLevel,
    /// Who follows a slot keeps what it is not to have any more.
    KeptStores,
    /// A replication factor comes into force at once.
    HastyFactor,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::EarlyAck,
        Self::DirtyRead,
        Self::SentIsConfirmed,
        Self::NoRefusal,
        Self::IgnoredEpoch,
        Self::IgnoredRefusal,
        Self::InSyncWithoutPieces,
        Self::LostHeld,
        Self::IgnoredPosition,
        Self::KeptSession,
        Self::ExpiryAtReplica,
        Self::DoneTwice,
        Self::HastyMark,
        Self::AnyMajority,
        Self::IgnoredCoverage,
        Self::UnforcedRead,
        Self::CountedOut,
        Self::YieldsToFew,
        Self::LostBacklog,
        Self::UncountedLevel,
        Self::KeptStores,
        Self::HastyFactor,
    ];
}

#[cfg(feature = "mutations")]
thread_local! {
    static IN_FORCE: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// From now on this thread makes a mistake, or none.
#[cfg(feature = "mutations")]
pub fn set(mutation: Option<Mutation>) {
    IN_FORCE.set(mutation);
}

/// Whether this thread makes a mistake.
#[cfg(feature = "mutations")]
#[inline]
pub fn is(mutation: Mutation) -> bool {
    IN_FORCE.get() == Some(mutation)
}

/// Whether this thread makes a mistake: never.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub fn is(_: Mutation) -> bool {
    false
}
