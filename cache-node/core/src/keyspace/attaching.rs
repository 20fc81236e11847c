//! How another owner comes to have a slot: it goes on from where it is, if that is where this member is or was when it
//! became primary, or gets all of it in pieces, as of a mark in the stream of its records.

use super::Keyspace;
use super::snapshot::Taking;
use crate::cluster::Slot;
use crate::log::Ticket;
use crate::mutation::{self, Mutation};
use crate::replica::{Feed, Link, Mark, Position, Refused, Role, SlotFeed, Synced};
use crate::store::StoreNumber;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What another owner needs before it has a slot.
#[derive(Debug)]
pub enum Attached {
    /// Nothing but the records that come.
    GoesOn,
    /// All that the slot holds.
    Pieces(Pieces),
}

/// Why another owner cannot be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unattached {
    /// This member is not the slot's primary.
    #[error("this member is not the slot's primary")]
    NotPrimary,
    /// The link's member is not among the slot's other owners.
    #[error("the link's member does not own the slot")]
    NoOwner,
    /// The link has no session.
    #[error("the link has no session")]
    NoSession,
    /// It needs all of the slot, and the table has it in sync: it would lose what it has while others
    /// count on it. It has to leave the in-sync set first.
    #[error("the link's member is in sync by the table, and has not what it should")]
    InSync,
}

/// A piece of a slot: some entries of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The slot.
    pub slot: Slot,
    /// Of which attachment it is a piece.
    pub attachment: u64,
    /// Its number, from 0 on.
    pub number: u32,
    /// The store of the entries.
    pub store: StoreNumber,
    /// Whether it is the last of the slot.
    pub is_last: bool,
}

/// The attachment came to nothing: it has to be begun anew, if it is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the slot has to be attached anew")]
pub struct Void;

/// What a slot holds, piece by piece, as of the moment at which it was attached.
#[derive(Debug)]
pub struct Pieces {
    space: Arc<Keyspace>,
    link: Arc<Link>,
    slot: Slot,
    attachment: u64,
    number: u32,
    is_done: bool,
    keys: u32,
    /// The last one is the next.
    takings: Vec<Taking>,
}

impl Pieces {
    /// The number of the attachment, for [`Keyspace::attached`].
    pub fn attachment(&self) -> u64 {
        self.attachment
    }

    /// How many keys the piece has that was given last.
    pub fn keys(&self) -> u32 {
        self.keys
    }

    /// Puts the next piece's entries in the place of what is in `out`; `None` after the last.
    ///
    /// # Errors
    /// The attachment came to nothing meanwhile.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> Result<Option<Piece>, Void> {
        out.clear();
        if self.is_done {
            return Ok(None);
        }
        let (link, attachment) = (&self.link, self.attachment);
        let is_on = self.space.feed.change_known(self.slot, |feed| {
            let way = feed.way(link);
            way.is_some_and(|way| way.attachment == attachment && way.is_attached())
        });
        if is_on != Some(true) {
            return Err(Void);
        }
        let mut store = 0;
        self.keys = 0;
        if let Some(taking) = self.takings.last_mut() {
            store = taking.store();
            let (keys, is_last) = taking.next(&self.space, out).map_err(|_| Void)?;
            self.keys = keys;
            if is_last {
                self.takings.pop();
            }
        }
        let number = self.number;
        self.number += 1;
        self.is_done = self.takings.is_empty();
        Ok(Some(Piece { slot: self.slot, attachment, number, store, is_last: self.is_done }))
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.takings.iter_mut().for_each(|taking| taking.end(&self.space));
    }
}

impl Keyspace {
    /// Attaches a slot's other owner over a link's session: from now on the slot's records go to it, and a
    /// mark before them says what they go on from. `theirs` is how far its copy is; what it lacks of what was written
    /// since this member became primary goes to it first, where that is kept. Gives what it needs beside the records;
    /// after the last piece that it loaded, [`Self::attached`] has to be told.
    ///
    /// # Errors
    /// Why it cannot be attached; nothing was changed then.
    pub fn attach(
        self: &Arc<Self>,
        slot: Slot,
        link: &Arc<Link>,
        theirs: Position,
        now_ms: u64,
    ) -> Result<Attached, Unattached> {
        let cell = self.cell(slot).ok_or(Unattached::NotPrimary)?;
        // Stores do not change meanwhile.
        let _changing = self.changing.lock();
        let registry = self.registry.load();
        let mut state = cell.state.lock();
        let session = link.session();
        let attached = self.feed.change_known(slot, |feed| {
            if !matches!(feed.role, Role::Primary { .. }) {
                return Err(Unattached::NotPrimary);
            }
            let found = feed.ways.iter().position(|way| way.link.index() == link.index());
            let found = found.ok_or(Unattached::NoOwner)?;
            let (least_factor, differs) = (feed.ways[found].least_factor, feed.ways[found].differs);
            let coverage = registry.coverage(least_factor);
            let covers = theirs.coverage == coverage || mutation::is(Mutation::IgnoredCoverage);
            let is_copy = covers && !differs && !feed.may_have_more(least_factor, theirs);
            let is_at = is_copy && feed.is_at(least_factor, theirs);
            let backlog = feed.backlog.as_ref().filter(|_| is_copy && !is_at);
            let is_behind = backlog.is_some_and(|it| it.follows(least_factor, theirs));
            let goes_on = is_at || is_behind;
            if !goes_on && feed.ways[found].synced != Synced::No {
                return Err(Unattached::InSync);
            }
            if !goes_on && feed.is_uneven_beside(link) {
                registry.align(feed, slot, now_ms);
            }
            let (epoch, levels) = (feed.position.epoch, feed.levels);
            let SlotFeed { ways, backlog, .. } = &mut *feed;
            let (way, backlog) = (&mut ways[found], backlog.as_ref().filter(|_| is_behind));
            let attachment = if goes_on { 0 } else { self.feed.next_attachment() };
            let sequence = if is_behind { theirs.sequence } else { levels.of(least_factor) };
            let mark = Mark { epoch, sequence, coverage, attachment };
            let mark = Feed::append_mark(link, session, slot, &mark);
            let mut told = (mark.ok_or(Unattached::NoSession)?, None);
            if let Some(backlog) = backlog {
                let sent = backlog.send(slot, link, session, least_factor, told.0);
                told = sent.ok_or(Unattached::NoSession)?;
            }
            (way.mark, way.session, way.last) = (told.0, session, told.1.unwrap_or(sequence));
            let is_whole = goes_on || mutation::is(Mutation::InSyncWithoutPieces);
            (way.coverage, way.attachment, way.is_whole) = (coverage, attachment, is_whole);
            way.differs = false;
            feed.drop_backlog();
            Ok((attachment, least_factor))
        });
        let (attachment, least_factor) = attached.unwrap_or(Err(Unattached::NotPrimary))?;
        if attachment == 0 {
            drop(state);
            self.feed.changed_over(link);
            return Ok(Attached::GoesOn);
        }
        let stores = registry.stores.iter().filter(|s| s.replication_factor >= least_factor);
        let takings = stores
            .filter_map(|store| Taking::begin(self, &mut state, store.number, slot, now_ms))
            .collect();
        Ok(Attached::Pieces(Pieces {
            space: Arc::clone(self),
            link: Arc::clone(link),
            slot,
            attachment,
            number: 0,
            is_done: false,
            keys: 0,
            takings,
        }))
    }

    /// A link's peer has loaded all pieces of an attachment: from now on it has the slot, as far as it
    /// confirms records. False if the attachment is over.
    pub fn attached(&self, slot: Slot, link: &Link, attachment: u64) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        let state = cell.state.lock();
        let is_whole = self.feed.change_known(slot, |feed| {
            let way = feed.way(link).filter(|way| way.attachment == attachment);
            let way = way.filter(|way| way.is_attached())?;
            way.is_whole = true;
            Some(())
        });
        drop(state);
        self.feed.changed_over(link);
        is_whole.flatten().is_some()
    }

    /// A link's peer did not take records of a slot that were sent in a session. To be told before the
    /// cycle is confirmed in which they were. True if this member is not the slot's primary any more: it
    /// has stopped serving it, and whoever waits is told that the end is not known.
    pub fn refused(&self, slot: Slot, link: &Link, session: u64, why: Refused) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        let mut state = cell.state.lock();
        let is_lost = self.feed.change_known(slot, |feed| {
            let Role::Primary { epoch: mine } = feed.role else { return false };
            if mutation::is(Mutation::IgnoredRefusal) {
                return false;
            }
            match why {
                Refused::Newer { epoch } if epoch > mine => {
                    feed.lose(false);
                    feed.role = Role::None;
                    true
                }
                _ => {
                    if let Some(way) = feed.way(link).filter(|way| way.session == session) {
                        way.differs |= why == Refused::Differs;
                        way.detach();
                    }
                    false
                }
            }
        });
        if is_lost == Some(true) {
            cell.fed.set(super::slot::NOT_FED);
            cell.serving.store(false, Relaxed);
            self.served.set(slot, false);
            state.end_waits();
            cell.waited.store(false, Relaxed);
        }
        drop(state);
        // A slot that is lost has no owners here any more.
        match is_lost {
            Some(true) => self.feed.changed(),
            _ => self.feed.changed_over(link),
        }
        is_lost == Some(true)
    }

    /// Notes what the table says of an owner, or is asked to say ([`Synced`]): `Perhaps` before a change
    /// is proposed, in either direction, and what came of it after that. An owner that has not everything
    /// that was there when it was attached is refused `Perhaps` from `No`. False if it was refused, or is
    /// no owner.
    pub fn set_synced(&self, slot: Slot, link: &Link, synced: Synced) -> bool {
        let Some(cell) = self.cell(slot) else { return false };
        let state = cell.state.lock();
        let is_set = self.feed.change_known(slot, |feed| {
            let Some(way) = feed.way(link) else { return false };
            let may_not = way.synced == Synced::No && synced == Synced::Perhaps;
            let may_not = may_not && !mutation::is(Mutation::InSyncWithoutPieces);
            if may_not && !(way.is_whole && way.is_attached()) {
                return false;
            }
            way.synced = synced;
            true
        });
        drop(state);
        self.feed.changed_over(link);
        is_set == Some(true)
    }

    /// The cycle in which all of a slot is that was appended to a link so far. To be asked for after
    /// [`Self::set_synced`] with `Perhaps`, before the change is proposed, and after the slot is not served
    /// any more, before it is handed over; then [`Self::has`] tells when the peer has everything.
    pub fn ticket_of(&self, slot: Slot, link: &Link) -> Option<Ticket> {
        let _state = self.cell(slot)?.state.lock();
        Some(link.ticket())
    }

    /// Whether a link's peer has everything of a slot up to a cycle.
    pub fn has(&self, slot: Slot, link: &Link, ticket: Ticket) -> bool {
        let has =
            self.feed.change_known(slot, |feed| feed.way(link).is_some_and(|w| w.has(ticket)));
        has == Some(true)
    }
}
