//! What goes over connections, and beside them.

use super::network::{Body, Confirmed, Connection, Message};
use super::world::World;
use super::{Broken, SLOTS};
use crate::choice::Choice;
use hypercache_core::cluster::Slot;
use hypercache_core::command::apply::{Applied, LoadedPiece};
use hypercache_core::mutation::{self, Mutation};
use hypercache_core::replica::Receive;
use std::sync::Arc;

impl World {
    pub fn connect(&mut self) {
        let (from, to) = self.pair();
        let is_open = self.network.reaches(from, to) && self.network.reaches(to, from);
        if !is_open || self.network.connections.contains_key(&(from, to)) {
            return;
        }
        if !self.processes.contains_key(&from) || !self.processes.contains_key(&to) {
            return;
        }
        self.ran.connections += 1;
        let Some(sender) = self.processes.get(&from) else { return };
        let link = sender.link(to);
        let session = link.session();
        let peer = self.processes.get(&to);
        let before = peer.and_then(|it| it.received.get(&from)).cloned().unwrap_or_default();
        let known = Some(before.clone()).filter(|it| it.session() == session && session != 0);
        let mut connection = Connection::default();
        match known {
            Some(mut received) => {
                for (slot, why) in received.refused() {
                    sender.space.refused(*slot, &link, session, *why);
                }
                let is_durable = |ticket| peer.is_some_and(|it| it.is_on_disk(Some(ticket)));
                let number = received.confirmed(is_durable);
                link.confirm(session, number);
                connection.forward.extend(link.unconfirmed_after(number));
                self.say(&format!("{from} to {to}: goes on"));
            }
            None => {
                self.sessions += 1;
                link.open(self.sessions);
                let received = before.follow(self.sessions);
                if let Some(peer) = self.processes.get_mut(&to) {
                    peer.received.insert(from, received);
                }
                self.say(&format!("{from} to {to}: session {}", self.sessions));
            }
        }
        self.network.connections.insert((from, to), connection);
    }

    pub fn send(&mut self) {
        let (from, to) = self.pair();
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return };
        let Some(process) = self.processes.get(&from) else { return };
        if let Some(cycle) = process.link(to).take() {
            connection.forward.push_back(Arc::clone(&cycle));
            // Sometimes it comes twice.
            if self.dice.one(20) {
                connection.forward.push_back(cycle);
            }
        }
    }

    pub fn deliver_forward(&mut self) -> Result<(), String> {
        let (from, to) = self.pair();
        if !self.network.reaches(from, to) {
            return Ok(());
        }
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return Ok(()) };
        let Some(cycle) = connection.forward.pop_front() else { return Ok(()) };
        let Some(peer) = self.processes.get_mut(&to) else { return Ok(()) };
        let mut received = peer.received.get(&from).cloned().unwrap_or_default();
        let mut refused = Vec::new();
        match received.receive(cycle.session, cycle.number) {
            Receive::Again if mutation::is(Mutation::DoneTwice) => {
                for frame in &cycle.frames {
                    let done = peer.space.apply(from, cycle.session, frame, peer.now_ms);
                    done.map_err(|damage| damage.to_string())?;
                }
            }
            Receive::Unknown => return Ok(()),
            Receive::Again => refused = received.refused().to_vec(),
            Receive::Next => {
                let mut applied = Applied::default();
                for frame in &cycle.frames {
                    let done = peer.space.apply(from, cycle.session, frame, peer.now_ms);
                    applied.merge(done.map_err(|damage| damage.to_string())?);
                }
                if let Some(error) = applied.errors.first() {
                    return Err(format!("{to} could not do what {from} did: {error}"));
                }
                self.ran.differing += applied.differing.len() as u64;
                let is_sound = |slot: &Slot| {
                    let index = SLOTS.iter().position(|(used, _)| used == slot);
                    index.is_some_and(|index| !self.damaged[index])
                };
                if let Some((slot, store)) =
                    applied.differing.iter().find(|(slot, _)| is_sound(slot))
                {
                    return Err(format!("{to} has not what {from} has of {slot}, store {store}"));
                }
                let is_durable = |ticket| peer.is_on_disk(Some(ticket));
                let Applied { refused: now, attached, ticket, .. } = applied;
                received.done(cycle.number, &now, &attached, ticket, is_durable);
                refused = now;
            }
        }
        let ticket = received.ticket();
        peer.received.insert(from, received);
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return Ok(()) };
        let (session, number) = (cycle.session, cycle.number);
        connection.back.push_back(Confirmed { session, number, ticket, refused });
        Ok(())
    }

    pub fn deliver_back(&mut self) {
        let (from, to) = self.pair();
        if !self.network.reaches(to, from) {
            return;
        }
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return };
        let waits = self.options.broken != Some(Broken::UnforcedConfirmed);
        let peer = self.processes.get(&to);
        let is_said =
            |said: &mut Confirmed| !waits || peer.is_some_and(|peer| peer.is_on_disk(said.ticket));
        let Some(confirmed) = connection.back.pop_front_if(is_said) else { return };
        let Some(process) = self.processes.get(&from) else { return };
        let link = process.link(to);
        let Confirmed { session, number, refused, .. } = confirmed;
        for (slot, why) in refused {
            process.space.refused(slot, &link, session, why);
        }
        link.confirm(session, number);
    }

    /// Sends a request or an answer.
    pub fn post(&mut self, message: Message) {
        if !self.network.reaches(message.from.0, message.to.0) || self.dice.one(20) {
            return;
        }
        if self.dice.one(20) {
            self.network.messages.push(message.clone());
        }
        self.network.messages.push(message);
    }

    pub fn deliver_message(&mut self) {
        if self.network.messages.is_empty() {
            return;
        }
        let at = self.dice.pick(self.network.messages.len());
        let Message { from, to, index, body } = self.network.messages.swap_remove(at);
        let Some(process) = self.processes.get_mut(&to.0) else { return };
        // Whoever asks says which process he means.
        if process.incarnation != to.1 {
            return;
        }
        let (mut answer, mut ticket) = (None, None);
        match body {
            // An older table that is still to come may tell it that it is no owner, and it would drop what it was
            // given.
            Body::AskPosition { version } => {
                let knows = process.version >= Some(version);
                if knows || self.options.broken == Some(Broken::OlderTable) {
                    let position = process.space.feed().position(SLOTS[index].0);
                    answer = Some(Body::Position { version, position });
                    ticket = process.unforced();
                }
            }
            Body::Piece { session, piece, entries } => {
                let now_ms = process.now_ms;
                let loaded = process.space.load_piece(from.0, session, &piece, &entries, now_ms);
                if let LoadedPiece::Whole(needed) = loaded {
                    ticket = needed;
                }
                answer = Some(Body::Loaded(piece, loaded));
            }
            Body::Position { version, position } => {
                process.positioned(index, from.0, version, position);
            }
            Body::Loaded(piece, loaded) => process.loaded(index, from.0, &piece, loaded),
        }
        if let Some(body) = answer {
            let message = Message { from: to, to: from, index, body };
            self.say_on_disk(to.0, ticket, message);
        }
    }
}
