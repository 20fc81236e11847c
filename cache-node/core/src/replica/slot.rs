//! What this member is for a slot, how far its copy is, and where its records go. Written under the slot's lock.

use super::MAX_WAYS;
use super::backlog::{Backlog, Counted};
use super::feed::{Fed, Feed};
use super::incoming::Incoming;
use super::levels::Levels;
use super::link::Link;
use super::mark::Mark;
use super::need::Need;
use super::way::{Owner, Route, Synced, Way};
use crate::cluster::{MemberId, Slot};
use crate::log::record::put_varint;
use crate::mutation::{self, Mutation};
use crate::store::{Acks, MAX_REPLICATION_FACTOR};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// How far a copy of a slot is: two with the same one hold the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The slot's epoch in which its last record was done.
    pub epoch: u64,
    /// How many records of replicated stores were done to the slot.
    pub sequence: u64,
    /// Which stores it has: a number for a set of stores.
    pub coverage: u64,
}

/// What a member is for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Nothing.
    #[default]
    None,
    /// Its primary since this epoch of the slot.
    Primary {
        /// The slot's epoch.
        epoch: u64,
    },
    /// It follows another.
    Replica {
        /// The primary.
        of: MemberId,
        /// The slot's epoch.
        epoch: u64,
    },
}

impl Role {
    /// The slot's epoch that it is of; 0 for none.
    pub fn epoch(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Primary { epoch } | Self::Replica { epoch, .. } => epoch,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct SlotFeed {
    pub(crate) role: Role,
    /// What this member's own copy is.
    pub(crate) position: Position,
    /// How far those are who have all that they get of it.
    pub(crate) levels: Levels,
    /// The epoch of which the position was when the slot's epoch became another one.
    pub(crate) before: Option<Position>,
    /// The highest epoch of the slot that the table or a primary named.
    pub(crate) seen_epoch: u64,
    /// How often this member has lost the slot, or begun to have it.
    pub(crate) tenure: u64,
    /// The last tenure that ended with a hand-over: all that was waited for is there.
    pub(crate) handed_over: Option<u64>,
    pub(crate) ways: SmallVec<[Way; 2]>,
    /// As the slot's primary: it became that with all stores of at least this replication factor, in this epoch.
    pub(crate) held: (u8, u64),
    /// What was written in this epoch while not all of them were attached, if that is all.
    pub(crate) backlog: Option<Box<Backlog>>,
    /// What was written for more than `one`, and is not known to be confirmed.
    pub(crate) pending: SmallVec<[Need; 1]>,
    /// Something was written that is waited for.
    pub(crate) is_new: bool,
    /// What comes from the primary.
    pub(crate) incoming: Option<Box<Incoming>>,
    /// This member's copy was found to be another one than its primary's, and is to be replaced.
    pub(crate) differs: bool,
}

impl SlotFeed {
    /// What this member is for the slot.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far its own copy is.
    pub fn position(&self) -> Position {
        self.position
    }

    /// How the owner at the other end of a link stands; `None`: it is none, or this member is not the
    /// slot's primary.
    pub fn owner(&self, link: &Link) -> Option<Owner> {
        let way = self.ways.iter().find(|way| way.link.index() == link.index())?;
        let is_attached = way.is_attached();
        Some(Owner { synced: way.synced, is_attached, is_whole: is_attached && way.is_whole })
    }

    /// Whether a copy of stores of at least a replication factor may have what was lost when this member became primary,
    /// as it had not all of them.
    pub(crate) fn may_have_more(&self, least_factor: u8, theirs: Position) -> bool {
        let (held, since) = self.held;
        least_factor < held && theirs.epoch < since
    }

    /// Whether a copy of the stores of at least a replication factor has everything: all that goes by that was done up to
    /// where it is, in this epoch or in the one before.
    pub(crate) fn is_at(&self, least_factor: u8, theirs: Position) -> bool {
        let last = self.levels.of(least_factor);
        let before = self.before.filter(|before| last <= before.sequence);
        if mutation::is(Mutation::IgnoredPosition) {
            return theirs.epoch != 0;
        }
        theirs.epoch != 0
            && theirs.sequence == last
            && (theirs.epoch == self.position.epoch
                || before.is_some_and(|before| before.epoch == theirs.epoch))
    }

    /// A record gets its number.
    #[inline]
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.position.sequence += 1;
        self.position.sequence
    }

    /// The way over a link.
    pub(crate) fn way(&mut self, link: &Link) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.link.index() == link.index())
    }

    /// Whether records of a store of this replication factor go to anybody.
    #[inline]
    pub(crate) fn feeds(&self, replication_factor: u8) -> bool {
        self.ways.iter().any(|way| way.least_factor <= replication_factor)
    }

    /// Puts a route in force. Ways that stay keep what is known of them, unless more stores go to them
    /// now: `coverage` tells which, by least replication factor. What is `Perhaps` stays so: who proposed
    /// it says what came of it. True if fewer go to one that is attached: it is to be told.
    pub(crate) fn set_route(&mut self, route: &[Route], coverage: impl Fn(u8) -> u64) -> bool {
        let (mut old, mut has_fewer) = (std::mem::take(&mut self.ways), false);
        for wanted in route.iter().take(MAX_WAYS) {
            let found = old.iter().position(|way| way.link.index() == wanted.link.index());
            let coverage = coverage(wanted.least_factor);
            let mut way = match found {
                Some(index) => old.swap_remove(index),
                None => Way::new(wanted, coverage),
            };
            let before = std::mem::replace(&mut way.least_factor, wanted.least_factor);
            if way.synced != Synced::Perhaps {
                way.synced = wanted.synced;
            }
            if way.coverage != coverage {
                way.coverage = coverage;
                if before > wanted.least_factor {
                    way.detach();
                }
                has_fewer |= way.is_attached();
            }
            self.ways.push(way);
        }
        self.drop_backlog();
        has_fewer
    }

    /// Records were counted while an owner was not attached: they are kept for it, if they follow on what there was when
    /// the epoch began, or on others that are kept.
    #[cold]
    pub(crate) fn keep(
        &mut self,
        records: &[Counted<'_>],
        time_ms: u64,
        all_bytes: &Arc<AtomicUsize>,
    ) {
        let Some((_, first, _)) = records.first() else { return };
        if self.backlog.is_none() {
            let before = self.before.filter(|before| before.epoch != 0);
            let Some(before) = before.filter(|before| before.sequence + 1 == *first) else {
                return;
            };
            let backlog =
                Backlog::new(before, self.levels, self.position.epoch, time_ms, all_bytes);
            self.backlog = Some(Box::new(backlog));
        }
        self.backlog.take_if(|backlog| !backlog.keep(records, time_ms));
    }

    /// The backlog goes when nobody needs it any more.
    pub(crate) fn drop_backlog(&mut self) {
        self.backlog.take_if(|_| self.ways.iter().all(Way::is_attached));
    }

    /// Becomes what the table says. `handed_over`: if this member was its primary, it has given the slot
    /// away, with everything. `chance`: some number. False: it knows of a newer epoch, and stays what it
    /// is.
    pub(crate) fn become_role(
        &mut self,
        slot: Slot,
        role: Role,
        route: &[Route],
        handed_over: bool,
        chance: u64,
        coverage: impl Fn(u8) -> u64,
    ) -> bool {
        if role != Role::None && role.epoch() < self.seen_epoch {
            return false;
        }
        self.seen_epoch = self.seen_epoch.max(role.epoch());
        let was = std::mem::replace(&mut self.role, role);
        let least = self.least_factor();
        match (was, role) {
            (Role::Primary { epoch: old }, Role::Primary { epoch }) => {
                if old != epoch {
                    self.before = Some(self.position);
                    self.position.epoch = epoch;
                }
                let has_fewer = self.set_route(route, &coverage);
                let now = self.least_factor();
                if now < least && coverage(now) != coverage(least) {
                    // Nobody got these, and so they were not counted.
                    let sequence = self.skip();
                    self.levels.skip_below(least, sequence);
                }
                if old != epoch || has_fewer {
                    self.goes_on(slot);
                }
                return true;
            }
            (Role::Primary { .. }, _) => self.lose(handed_over),
            (_, Role::Primary { epoch }) => {
                self.tenure += 1;
                self.before = Some(self.position);
                let is_held = |least: &u8| coverage(*least) == self.position.coverage;
                let held = (1..=MAX_REPLICATION_FACTOR).find(is_held);
                self.held = (held.unwrap_or(u8::MAX), epoch);
                if self.position == Position::default() {
                    // Nobody is where this one is, whatever was counted in an earlier life of it.
                    self.position.sequence = chance >> 32;
                    self.levels = Levels::all(self.position.sequence);
                }
                self.position.epoch = epoch;
                self.comes_no_more();
            }
            (Role::Replica { of: old, .. }, Role::Replica { of, .. }) if old == of => {}
            _ => {
                // Of a slot of which there are not all pieces, nothing counts.
                self.comes_no_more();
            }
        }
        match role {
            Role::Primary { .. } => {
                // What a primary has is all that there is.
                self.position.coverage = coverage(1);
                // What it has may not be with all who are in sync, and nobody reads what may be lost.
                self.pending.push(Need {
                    slot,
                    tenure: self.tenure,
                    acks: Acks::All,
                    replication_factor: u8::MAX,
                    tickets: SmallVec::new(),
                });
                self.set_route(route, coverage);
            }
            Role::Replica { .. } => {}
            Role::None => (self.position, self.differs) = (Position::default(), false),
        }
        true
    }

    /// This member follows another, and is to have the stores of at least a replication factor. As the primary that it was
    /// it has all that there are: where nothing comes yet, it is as far as who never had more. Whether it was; then the
    /// others of its stores have to go, as nobody tells it what is done there.
    pub(crate) fn narrow(&mut self, least_factor: u8, coverage: impl Fn(u8) -> u64) -> bool {
        let (all, fewer) = (coverage(1), coverage(least_factor));
        let follows = matches!(self.role, Role::Replica { .. }) && self.incoming.is_none();
        let Position { epoch, coverage, .. } = self.position;
        if !follows || epoch == 0 || coverage != all || fewer == all {
            return false;
        }
        self.levels.narrow(least_factor);
        let sequence = self.levels.of(least_factor);
        self.position = Position { epoch, sequence, coverage: fewer };
        true
    }

    /// What came so far comes from nobody any more.
    fn comes_no_more(&mut self) {
        if !mutation::is(Mutation::IgnoredEpoch) {
            self.incoming = None;
        }
    }

    /// The least replication factor of stores that go to anybody.
    pub(crate) fn least_factor(&self) -> u8 {
        self.ways.iter().map(|way| way.least_factor).min().unwrap_or(u8::MAX)
    }

    /// Whether owners that get fewer stores than the one at the end of a link, which is to get them anew, are told of
    /// lower numbers, and can be told of another one.
    pub(crate) fn is_uneven_beside(&self, link: &Link) -> bool {
        let is_it = |way: &&Way| way.link.index() == link.index();
        let Some(least) = self.ways.iter().find(is_it).map(|way| way.least_factor) else {
            return false;
        };
        let mut others = self.ways.iter().filter(|way| !is_it(way));
        let last = self.levels.of(least);
        others.clone().all(Way::is_attached)
            && others.any(|way| way.least_factor > least && way.last != last)
    }

    /// Whether an owner was told of a higher number than others who get the same stores, as it had more before, and all
    /// can be told of another one.
    pub(crate) fn is_uneven(&self) -> bool {
        let is_higher = |way: &Way| way.last != self.levels.of(way.least_factor);
        self.ways.iter().all(Way::is_attached) && self.ways.iter().any(is_higher)
    }

    /// Tells all other owners, which are attached, of a number that all are at then: a record of a store that they get,
    /// with nothing to do. Who gets the slot anew from there, and is its primary later, knows by that how far each of
    /// them has to be.
    pub(crate) fn align(&mut self, slot: Slot, store: Fed, time_ms: u64) {
        let sequence = self.next_sequence();
        let gets = |way: &&mut Way| way.least_factor <= store.replication_factor;
        for way in self.ways.iter_mut().filter(gets).filter(|way| way.is_attached()) {
            let write = |out: &mut Vec<u8>| put_varint(out, sequence);
            let (_, is_in) = way.link.append(way.session, store.number, slot, time_ms, write);
            way.last = sequence;
            if !is_in {
                way.detach();
            }
        }
        (self.levels, self.backlog) = (Levels::all(sequence), None);
    }

    /// Records may have been done that were not counted: the next number is one that nobody can have been told.
    fn skip(&mut self) -> u64 {
        self.position.sequence += 1 << 32;
        self.backlog = None;
        self.position.sequence
    }

    /// Other stores are there: `stores` tells which go to a way, by its least replication factor, and `covers` whether
    /// nothing goes by that which did not before, unless it is new.
    pub(crate) fn cover(
        &mut self,
        slot: Slot,
        stores: impl Fn(u8) -> u64,
        covers: impl Fn(u8) -> bool,
    ) {
        match self.role {
            Role::Primary { .. } => self.position.coverage = stores(1),
            // What came was counted by what the stores were.
            _ => self.levels = Levels::all(self.position.sequence),
        }
        self.backlog = None;
        let (mut is_another, mut has_more) = (false, false);
        for way in &mut self.ways {
            let before = std::mem::replace(&mut way.coverage, stores(way.least_factor));
            match (way.is_attached(), covers(way.least_factor)) {
                (true, true) => is_another |= way.coverage != before,
                (false, true) => {}
                // It may have had these stores before they went to nobody for a while, and not have heard of that yet:
                // how far it is says nothing.
                (_, false) => {
                    way.detach();
                    has_more = true;
                }
            }
        }
        if is_another {
            self.goes_on(slot);
        }
        if has_more {
            self.levels = Levels::all(self.skip());
        }
    }

    /// Tells the peers that what comes is of another epoch. One that has yet to take the mark by which it begins anew may
    /// refuse that, and would take this one if it happens to be as far with something else: it is attached anew.
    fn goes_on(&mut self, slot: Slot) {
        let epoch = self.position.epoch;
        for way in self.ways.iter_mut().filter(|way| way.is_attached()) {
            let is_taken = way.attachment == 0 || way.link.has_confirmed(way.mark);
            if !is_taken && !mutation::is(Mutation::HastyMark) {
                way.detach();
                continue;
            }
            let mark = Mark { epoch, sequence: way.last, coverage: way.coverage, attachment: 0 };
            if Feed::append_mark(&way.link, way.session, slot, &mark).is_none() {
                way.detach();
            }
        }
    }

    /// This member is primary no longer.
    pub(crate) fn lose(&mut self, handed_over: bool) {
        if handed_over {
            self.settle();
            // What an owner that is in sync lacks may be lost with the next primary.
            if self.pending.is_empty() {
                self.handed_over = Some(self.tenure);
            }
        }
        self.tenure += 1;
        self.pending.clear();
        self.ways.clear();
        self.backlog = None;
    }
}
