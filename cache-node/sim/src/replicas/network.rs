//! Connections, in which everything comes in order until they break, and requests beside them, which come
//! in any order, twice, or not at all.

use hypercache_core::cluster::{MemberId, Slot};
use hypercache_core::command::apply::LoadedPiece;
use hypercache_core::keyspace::Piece;
use hypercache_core::log::Ticket;
use hypercache_core::replica::{Cycle, Position, Refused};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a peer says of what it did: of a session, up to a cycle.
#[derive(Debug, Clone)]
pub struct Confirmed {
    pub session: u64,
    pub number: u64,
    /// What has to be on its disk before it says so.
    pub ticket: Option<Ticket>,
    pub refused: Vec<(Slot, Refused)>,
}

/// A connection from a link's sender to its peer.
#[derive(Debug, Default)]
pub struct Connection {
    pub forward: VecDeque<Arc<Cycle>>,
    pub back: VecDeque<Confirmed>,
}

/// A request, or the answer to one.
#[derive(Debug, Clone)]
pub enum Body {
    /// How far it is, as an owner by that version of the table.
    AskPosition {
        version: usize,
    },
    /// The answer to that.
    Position {
        version: usize,
        position: Position,
    },
    Piece {
        session: u64,
        piece: Piece,
        entries: Vec<u8>,
    },
    Loaded(Piece, LoadedPiece),
}

/// A request or answer between two processes.
#[derive(Debug, Clone)]
pub struct Message {
    pub from: (MemberId, u64),
    pub to: (MemberId, u64),
    /// The place of the slot among those that are used.
    pub index: usize,
    pub body: Body,
}

/// See the module.
#[derive(Default)]
pub struct Network {
    pub connections: BTreeMap<(MemberId, MemberId), Connection>,
    pub messages: Vec<Message>,
    /// Nothing goes to it or comes from it.
    pub isolated: Option<MemberId>,
    /// Nothing goes to it.
    pub deaf: Option<MemberId>,
    /// Nothing comes from it.
    pub mute: Option<MemberId>,
    /// Nothing goes from the first to the second.
    pub one_way: Option<(MemberId, MemberId)>,
}

impl Network {
    /// Whether anything goes from one to another.
    pub fn reaches(&self, from: MemberId, to: MemberId) -> bool {
        self.is_heard(from) && self.hears(to) && self.one_way != Some((from, to))
    }

    /// Whether anything comes to it from most others.
    pub fn hears(&self, id: MemberId) -> bool {
        self.isolated != Some(id) && self.deaf != Some(id)
    }

    /// Whether anything comes from it to most others.
    pub fn is_heard(&self, id: MemberId) -> bool {
        self.isolated != Some(id) && self.mute != Some(id)
    }

    /// Whether it and most others hear each other.
    pub fn is_connected(&self, id: MemberId) -> bool {
        self.hears(id) && self.is_heard(id)
    }

    /// Whether anybody is cut off.
    pub fn is_whole(&self) -> bool {
        (self.isolated, self.deaf, self.mute) == (None, None, None)
    }

    /// All hear each other; who did not before.
    pub fn heal(&mut self) -> Option<MemberId> {
        self.one_way = None;
        let cut = [self.isolated.take(), self.deaf.take(), self.mute.take()];
        cut.into_iter().flatten().next()
    }

    /// Everything between a member and the others is lost.
    pub fn cut(&mut self, member: MemberId) {
        self.connections.retain(|(a, b), _| *a != member && *b != member);
        self.messages.retain(|message| message.from.0 != member && message.to.0 != member);
    }
}
