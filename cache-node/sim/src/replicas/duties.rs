//! What a primary does until another owner is in sync, and until it has handed a slot over.

use super::SLOTS;
use super::network::{Body, Message};
use super::process::Process;
use super::table::{Version, step};
use hypercache_core::cluster::{Act, Change, MemberId, Protocol, REMOVES_BY_EPOCH, Step};
use hypercache_core::command::apply::LoadedPiece;
use hypercache_core::keyspace::{Attached, Leaving, Piece, Pieces, Unattached};
use hypercache_core::log::Ticket;
use hypercache_core::mutation::{self, Mutation};
use hypercache_core::replica::{Position, SlotFeed, Synced};

/// What is under way with another owner of a slot.
pub enum Duty {
    /// It is asked how far it is, as an owner by a version of the table. With each: its process by the table, read
    /// before that.
    Asks { incarnation: u64, version: usize },
    /// It gets pieces.
    Pieces { incarnation: u64, pieces: Pieces, now: Option<(Piece, Vec<u8>)> },
    /// It has everything, and is not in sync.
    Whole { incarnation: u64 },
    /// It is to be in sync once it has this.
    Waits { incarnation: u64, ticket: Ticket },
    /// It is to be in sync no longer, with others perhaps; `goes`: and an owner no longer.
    Leaves { leaving: Leaving, goes: bool },
    /// The same, by a mistake without a look at those that stay.
    LeavesToo,
    /// A change of the table is proposed; the version in which that ended.
    Proposed { end: Option<usize> },
}

impl Duty {
    /// Whether the table may say another thing of the owner at any moment.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Asks { .. } | Self::Pieces { .. } | Self::Whole { .. })
    }

    /// The version with which what was proposed has ended.
    pub fn ends_with(&self) -> Option<usize> {
        match self {
            Self::Proposed { end } => *end,
            _ => None,
        }
    }
}

/// A slot that is to be handed over.
pub struct Handing {
    pub to: MemberId,
    /// The slot's epoch as it began.
    pub epoch: u64,
    pub ticket: Option<Ticket>,
    pub is_proposed: bool,
}

/// What a step of a duty asks for.
pub enum Wants {
    Nothing,
    Send(Message),
    /// And the duties that wait for it.
    Propose(Change, Vec<(usize, MemberId)>),
}

impl Process {
    /// The next thing to be done for another owner of a slot.
    pub fn attend(&mut self, index: usize, other: MemberId, version: &Version) -> Wants {
        let (slot, _) = SLOTS[index];
        let link = self.link(other);
        let owner = self.space.feed().look(slot, |feed| feed.owner(&link)).flatten();
        let Some(owner) = owner.filter(|_| self.is_primary(index)) else { return Wants::Nothing };
        let Some(incarnation) = version.incarnations.get(&other).copied() else {
            return Wants::Nothing;
        };
        let is_in_sync = version.placements[index].is_in_sync(other);
        match self.duties.remove(&(index, other)) {
            None if link.session() == 0 => Wants::Nothing,
            None if !owner.is_whole => {
                let version = self.version.unwrap_or(0);
                self.asked.insert((index, other), incarnation);
                self.duties.insert((index, other), Duty::Asks { incarnation, version });
                let ask = Body::AskPosition { version };
                Wants::Send(self.message(index, (other, incarnation), ask))
            }
            None if version.kept_out[index].contains(&other) => {
                if is_in_sync {
                    self.drop_owner(index, other, false);
                }
                Wants::Nothing
            }
            None if !is_in_sync => {
                // What was proposed came to nothing.
                if let Some(incarnation) = self.asked.get(&(index, other)).copied() {
                    self.duties.insert((index, other), Duty::Whole { incarnation });
                }
                Wants::Nothing
            }
            None => Wants::Nothing,
            Some(duty @ Duty::Asks { .. }) => {
                self.duties.insert((index, other), duty);
                Wants::Nothing
            }
            Some(Duty::Pieces { .. }) if !owner.is_attached => Wants::Nothing,
            Some(Duty::Pieces { incarnation, .. })
                if owner.is_whole && mutation::is(Mutation::InSyncWithoutPieces) =>
            {
                self.duties.insert((index, other), Duty::Whole { incarnation });
                Wants::Nothing
            }
            Some(Duty::Pieces { incarnation, mut pieces, mut now }) => {
                if now.is_none() {
                    let mut entries = Vec::new();
                    match pieces.next_piece(&mut entries) {
                        Ok(Some(piece)) => now = Some((piece, entries)),
                        Ok(None) | Err(_) => return Wants::Nothing,
                    }
                }
                let session = link.session();
                let sent = now.clone().map(|(piece, entries)| {
                    self.message(
                        index,
                        (other, incarnation),
                        Body::Piece { session, piece, entries },
                    )
                });
                self.duties.insert((index, other), Duty::Pieces { incarnation, pieces, now });
                sent.map_or(Wants::Nothing, Wants::Send)
            }
            Some(Duty::Whole { .. }) if !owner.is_whole || is_in_sync => Wants::Nothing,
            Some(Duty::Whole { incarnation }) => {
                if self.space.set_synced(slot, &link, Synced::Perhaps)
                    && let Some(ticket) = self.space.ticket_of(slot, &link)
                {
                    self.duties.insert((index, other), Duty::Waits { incarnation, ticket });
                }
                Wants::Nothing
            }
            Some(Duty::Waits { .. }) if !owner.is_whole => {
                self.space.set_synced(slot, &link, Synced::No);
                Wants::Nothing
            }
            Some(Duty::Waits { incarnation, ticket }) => {
                if !self.space.has(slot, &link, ticket) {
                    self.duties.insert((index, other), Duty::Waits { incarnation, ticket });
                    return Wants::Nothing;
                }
                let epoch = self.space.feed().role(slot).epoch();
                let primary = self.id;
                self.duties.insert((index, other), Duty::Proposed { end: None });
                let act = Act::InSync { primary, epoch, member: other, incarnation, in_sync: true };
                Wants::Propose(step(index, act), vec![(index, other)])
            }
            Some(Duty::Leaves { mut leaving, goes }) => {
                let ready = leaving.ready(&self.space);
                let Some(members) = ready else {
                    self.duties.insert((index, other), Duty::Leaves { leaving, goes });
                    return Wants::Nothing;
                };
                // Where others have to leave with it, it stays an owner.
                let goes = goes && members == [other];
                self.propose_leaving(index, &members, goes.then_some(version.protocol))
            }
            Some(Duty::LeavesToo) => self.propose_leaving(index, &[other], None),
            Some(duty @ Duty::Proposed { .. }) => {
                self.duties.insert((index, other), duty);
                Wants::Nothing
            }
        }
    }

    fn message(&self, index: usize, to: (MemberId, u64), body: Body) -> Message {
        Message { from: (self.id, self.incarnation), to, index, body }
    }

    /// `goes`: and they are owners no longer, as it is said in that protocol.
    fn propose_leaving(
        &mut self,
        index: usize,
        members: &[MemberId],
        goes: Option<Protocol>,
    ) -> Wants {
        let (slot, _) = SLOTS[index];
        let (primary, epoch) = (self.id, self.space.feed().role(slot).epoch());
        let act = |member: &MemberId| Act::InSync {
            primary,
            epoch,
            member: *member,
            incarnation: 0,
            in_sync: false,
        };
        let removes = goes.into_iter().flat_map(|protocol| {
            members.iter().map(move |member| match protocol >= REMOVES_BY_EPOCH {
                true => Act::RemoveOwnerAt { epoch, member: *member },
                false => Act::RemoveOwner(*member),
            })
        });
        let acts = members.iter().map(act).chain(removes);
        let change = Change::Place(acts.map(|act| Step::new(vec![(slot, slot)], act)).collect());
        let keys: Vec<_> = members.iter().map(|member| (index, *member)).collect();
        for key in &keys {
            self.duties.insert(*key, Duty::Proposed { end: None });
        }
        Wants::Propose(change, keys)
    }

    /// An owner is to be in sync no longer; `goes`: and an owner no longer.
    pub fn drop_owner(&mut self, index: usize, other: MemberId, goes: bool) {
        let (slot, link) = (SLOTS[index].0, self.link(other));
        if let Some(Duty::Leaves { leaving, .. }) = self.duties.get_mut(&(index, other)) {
            leaving.add_late(&self.space);
            return;
        }
        let is_open = |(of, _): &(usize, MemberId), duty: &Duty| *of == index && duty.is_open();
        // One at a time, so that what one leaves to others is not asked of others that leave.
        if self.duties.iter().any(|(key, duty)| is_open(key, duty)) || !self.is_primary(index) {
            return;
        }
        if self.leaves_alone {
            // A mistake.
            if self.space.set_synced(slot, &link, Synced::Perhaps) {
                self.duties.insert((index, other), Duty::LeavesToo);
            }
            return;
        }
        if let Some(leaving) = self.space.begin_leaving(slot, &link) {
            self.duties.insert((index, other), Duty::Leaves { leaving, goes });
        }
    }

    /// Another owner said how far it is, as it was asked by a version of the table.
    pub fn positioned(&mut self, index: usize, other: MemberId, by: usize, theirs: Position) {
        let Some(Duty::Asks { incarnation, version }) = self.duties.get(&(index, other)) else {
            return;
        };
        let (incarnation, version) = (*incarnation, *version);
        // What comes late is the answer to an earlier question.
        if by != version {
            return;
        }
        self.duties.remove(&(index, other));
        // It was no owner for a while since it was asked, and may not know that it is one again.
        if self.removed.get(&other).is_some_and(|removed| *removed > version) {
            return;
        }
        let (slot, link) = (SLOTS[index].0, self.link(other));
        match self.space.attach(slot, &link, theirs, self.now_ms) {
            Ok(Attached::GoesOn) => {
                self.duties.insert((index, other), Duty::Whole { incarnation });
            }
            Ok(Attached::Pieces(pieces)) => {
                let duty = Duty::Pieces { incarnation, pieces, now: None };
                self.duties.insert((index, other), duty);
            }
            Err(Unattached::InSync) => self.drop_owner(index, other, false),
            Err(_) => {}
        }
    }

    /// Another owner said what came of a piece.
    pub fn loaded(&mut self, index: usize, other: MemberId, piece: &Piece, came: LoadedPiece) {
        let (slot, link) = (SLOTS[index].0, self.link(other));
        let Some(Duty::Pieces { incarnation, pieces, now }) = self.duties.get_mut(&(index, other))
        else {
            return;
        };
        if pieces.attachment() != piece.attachment {
            return;
        }
        let incarnation = *incarnation;
        match came {
            LoadedPiece::Taken if now.as_ref().is_some_and(|(at, _)| at == piece) => *now = None,
            LoadedPiece::Whole(_) if piece.is_last => {
                self.duties.remove(&(index, other));
                if self.space.attached(slot, &link, piece.attachment) {
                    self.duties.insert((index, other), Duty::Whole { incarnation });
                }
            }
            LoadedPiece::Void => {
                self.duties.remove(&(index, other));
            }
            _ => {}
        }
    }

    /// Begins to hand a slot over: it is served no more.
    pub fn hand_over(&mut self, index: usize, to: MemberId, epoch: u64) {
        self.space.set_serving(SLOTS[index].0, false);
        let ticket = self.space.ticket_of(SLOTS[index].0, &self.link(to));
        self.handing.insert(index, Handing { to, epoch, ticket, is_proposed: false });
    }

    /// Goes on with that; `gives_up`: it is to be kept.
    pub fn go_on_handing(&mut self, index: usize, gives_up: bool) -> Wants {
        let (slot, _) = SLOTS[index];
        let Some(Handing { to, epoch, ticket, is_proposed }) = self.handing.get(&index) else {
            return Wants::Nothing;
        };
        let (to, epoch) = (*to, *epoch);
        if gives_up {
            return Wants::Propose(step(index, Act::Keep { epoch }), Vec::new());
        }
        let has = ticket.is_some_and(|ticket| self.space.has(slot, &self.link(to), ticket));
        let settled = self.space.feed().look(slot, SlotFeed::is_settled) == Some(true);
        if *is_proposed || !has || !settled {
            return Wants::Nothing;
        }
        if let Some(handing) = self.handing.get_mut(&index) {
            handing.is_proposed = true;
        }
        Wants::Propose(step(index, Act::HandOver { epoch, to }), Vec::new())
    }
}
