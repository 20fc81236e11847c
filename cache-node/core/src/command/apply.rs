//! What the primary of a slot did, done again at a replica: cycles of its link, and pieces of slots beside
//! them.

use super::replay::{Error, replay_in};
use crate::cluster::{MemberId, Slot};
use crate::keyspace::{Applying, Keyspace, Piece};
use crate::log::frame::{Damage, HEADER_BYTES};
use crate::log::record::take_varint;
use crate::log::{FrameHeader, Record, Ticket};
use crate::mutation::{self, Mutation};
use crate::replica::{CHECK, Check, Held, MARK, Mark, Refused};
use crate::store::StoreNumber;

/// The most things that went wrong that are told of a frame.
const MOST_ERRORS: usize = 10;

/// What came of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Slots of which records were refused, each once, and why. The sender has to be told before the cycle
    /// is confirmed.
    pub refused: Vec<(Slot, Refused)>,
    /// Slots whose primary this member was until now. It does not serve them any more.
    pub deposed: Vec<Slot>,
    /// Slots that began anew or went on by a mark.
    pub attached: Vec<Slot>,
    /// Slots of which this member's copy is another one than its primary's, and a store in which it is.
    pub differing: Vec<(Slot, StoreNumber)>,
    /// What has to be on this member's disk before the cycle is confirmed.
    pub ticket: Option<Ticket>,
    /// Records that were done.
    pub records: u64,
    /// What went wrong with records that should have made sense: their slots are among the refused.
    pub errors: Vec<String>,
}

impl Applied {
    /// Takes what came of another frame of the cycle.
    pub fn merge(&mut self, other: Self) {
        other.refused.into_iter().for_each(|(slot, why)| self.refuse(slot, why));
        self.deposed.extend(other.deposed);
        self.attached.extend(other.attached);
        self.differing.extend(other.differing);
        self.ticket = self.ticket.max(other.ticket);
        self.records += other.records;
        let room = MOST_ERRORS.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.into_iter().take(room));
    }

    fn refuse(&mut self, slot: Slot, why: Refused) {
        if !self.refused.iter().any(|(known, _)| *known == slot) {
            self.refused.push((slot, why));
        }
    }

    fn tell(&mut self, error: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }
}

/// What came of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadedPiece {
    /// It is there; others are to come.
    Taken,
    /// It was the last: the slot is whole, with the records that waited for it. The ticket, if that has to
    /// be on the disk before it is said.
    Whole(Option<Ticket>),
    /// The mark that it belongs to, or a piece before it, has not come yet: it is to be sent again.
    NotYet,
    /// Nothing waits for it any more: the slot has to be attached anew.
    Void,
}

/// A record of a link, with its number in its slot.
struct Incoming<'b> {
    record: Record<'b>,
    sequence: u64,
    commands: &'b [u8],
}

impl<'b> Incoming<'b> {
    fn read(record: Record<'b>) -> Option<Self> {
        let mut commands = record.commands;
        let sequence = match record.store {
            MARK | CHECK => 0,
            _ => take_varint(&mut commands)?,
        };
        Some(Self { record, sequence, commands })
    }
}

impl Keyspace {
    /// Does what a frame of a link's cycle says, which came from a member in a session of its link. The
    /// frames of a cycle are to be done in their order, and cycles in theirs.
    ///
    /// # Errors
    /// It is damaged; nothing of it was done.
    pub fn apply(
        &self,
        from: MemberId,
        session: u64,
        frame: &[u8],
        now_ms: u64,
    ) -> Result<Applied, Damage> {
        let header = FrameHeader::read(frame)?;
        let raw = header.open(frame.get(HEADER_BYTES..).unwrap_or_default())?;
        let mut records = Vec::new();
        for record in header.records(&raw) {
            let record = record.and_then(Incoming::read).ok_or(Damage::Content)?;
            records.push(record);
        }
        let mut applied = Applied::default();
        let mut rest = &records[..];
        while let Some(first) = rest.first() {
            // All of one batch, and what follows it in the same slot, while that is short.
            let slot = first.record.slot;
            let is_end = |record: &Incoming<'_>| !record.record.continues;
            let end = rest.iter().position(is_end).map_or(rest.len(), |end| end + 1);
            let (batch, after) = rest.split_at(end);
            rest = after;
            let done = self.with_applying(slot, now_ms, |applying| {
                let done = take_batch(applying, from, session, batch, &mut applied);
                applied.ticket = applied.ticket.max(applying.ticket);
                done
            });
            if let Some(Err(why)) = done {
                applied.refuse(slot, why);
            }
        }
        Ok(applied)
    }

    /// Adds a piece of a slot, which came from a member in a session of its link.
    pub fn load_piece(
        &self,
        from: MemberId,
        session: u64,
        piece: &Piece,
        entries: &[u8],
        now_ms: u64,
    ) -> LoadedPiece {
        let loaded = self.with_applying(piece.slot, now_ms, |applying| {
            let turn = applying.feed(|feed| {
                let Ok(incoming) = feed.admit(from, session) else { return LoadedPiece::NotYet };
                match &mut incoming.joining {
                    _ if incoming.whole == piece.attachment => LoadedPiece::Whole(None),
                    Some(joining) if joining.attachment == piece.attachment => match piece.number {
                        number if number == joining.next_piece => LoadedPiece::Taken,
                        number if number > joining.next_piece => LoadedPiece::NotYet,
                        _ => LoadedPiece::Void,
                    },
                    Some(joining) if joining.attachment > piece.attachment => LoadedPiece::Void,
                    _ if incoming.whole > piece.attachment => LoadedPiece::Void,
                    _ => LoadedPiece::NotYet,
                }
            });
            match turn {
                Some(LoadedPiece::Taken) => take_piece(applying, from, session, piece, entries),
                // What came before is there already.
                Some(LoadedPiece::Void) => {
                    let again = applying.feed(|feed| {
                        let incoming = feed.admit(from, session).ok();
                        let joining = incoming.and_then(|incoming| incoming.joining.as_ref());
                        joining.is_some_and(|joining| joining.attachment == piece.attachment)
                    });
                    if again == Some(true) { LoadedPiece::Taken } else { LoadedPiece::Void }
                }
                Some(other) => other,
                None => LoadedPiece::Void,
            }
        });
        loaded.unwrap_or(LoadedPiece::Void)
    }
}

/// Takes a batch of a slot: does it, or keeps it until the slot is whole.
fn take_batch(
    applying: &mut Applying<'_>,
    from: MemberId,
    session: u64,
    batch: &[Incoming<'_>],
    applied: &mut Applied,
) -> Result<(), Refused> {
    if let [Incoming { record: Record { store: MARK, slot, .. }, commands, .. }] = batch {
        let mark = Mark::read(commands).ok_or(Refused::Unattached)?;
        applying.take_mark(from, session, &mark, || applied.deposed.push(*slot))?;
        applied.attached.push(*slot);
        return Ok(());
    }
    if let [Incoming { record: Record { store: CHECK, slot, .. }, commands, .. }] = batch {
        let check = Check::read(commands).ok_or(Refused::Unattached)?;
        let joins = applying.feed(|feed| Ok(feed.admit(from, session)?.joining.is_some()));
        if joins.unwrap_or(Err(Refused::Unattached))? {
            return Ok(());
        }
        let Some(store) = applying.differing(&check) else { return Ok(()) };
        applied.differing.push((*slot, store));
        return Err(Refused::Differs);
    }
    let waits = applying.feed(|feed| {
        let incoming = feed.admit(from, session)?;
        let last = incoming.sequence;
        let Some(joining) = &mut incoming.joining else { return Ok(None) };
        if mutation::is(Mutation::LostHeld) {
            incoming.sequence = batch.last().map_or(last, |each| each.sequence);
            return Ok(Some(()));
        }
        for each in batch.iter().filter(|each| each.sequence > last) {
            let fits = joining.hold(Held {
                store: each.record.store,
                time_ms: each.record.time_ms,
                sequence: each.sequence,
                continues: each.record.continues,
                commands: each.commands.into(),
            });
            if !fits {
                feed.give_up();
                return Err(Refused::Unattached);
            }
            incoming.sequence = each.sequence;
        }
        Ok(Some(()))
    });
    if waits.unwrap_or(Err(Refused::Unattached))?.is_some() {
        return Ok(());
    }
    for each in batch {
        do_record(applying, each.record.store, each.record.time_ms, each.sequence, each.commands)
            .map_err(|error| {
            if let Some(error) = error {
                applied.tell(error.to_string());
            }
            applying.append();
            applying.feed(|feed| feed.give_up());
            Refused::Unattached
        })?;
        applied.records += 1;
    }
    applying.append();
    Ok(())
}

/// Does a record, unless it was done before. `Err(None)`: there is no such store.
fn do_record(
    applying: &mut Applying<'_>,
    store: StoreNumber,
    time_ms: u64,
    sequence: u64,
    commands: &[u8],
) -> Result<(), Option<Error>> {
    let is_new = applying.feed(|feed| feed.position().sequence < sequence);
    if is_new != Some(true) && !mutation::is(Mutation::DoneTwice) {
        return Ok(());
    }
    if commands.is_empty() {
        // It says a number that all owners are at.
        applying.feed(|feed| feed.did(u8::MAX, sequence));
        return Ok(());
    }
    match applying.replaying(store, time_ms, |slot| replay_in(slot, sequence, commands)) {
        Some(done) => done.map_err(Some)?,
        None if applying.was_dropped(store) => {}
        None => return Err(None),
    }
    applying.log(store, |out| out.extend_from_slice(commands));
    applying.feed(|feed| feed.did(applying.factor_of(store), sequence));
    Ok(())
}

/// Loads a piece whose turn it is; after the last, what waited for it is done.
fn take_piece(
    applying: &mut Applying<'_>,
    from: MemberId,
    session: u64,
    piece: &Piece,
    entries: &[u8],
) -> LoadedPiece {
    if !applying.load(piece.store, entries) {
        applying.feed(|feed| feed.give_up());
        return LoadedPiece::Void;
    }
    let held = applying.feed(|feed| {
        let incoming = feed.admit(from, session).ok()?;
        let joining = incoming.joining.as_mut()?;
        joining.next_piece += 1;
        if !piece.is_last {
            return None;
        }
        let (held, since) = (std::mem::take(&mut joining.held), joining.since);
        (incoming.joining, incoming.whole) = (None, piece.attachment);
        feed.came_whole(since);
        Some(held)
    });
    let Some(held) = held.flatten() else { return LoadedPiece::Taken };
    for record in held {
        let Held { store, time_ms, sequence, continues, commands } = record;
        if do_record(applying, store, time_ms, sequence, &commands).is_err() {
            applying.append();
            applying.feed(|feed| feed.give_up());
            return LoadedPiece::Void;
        }
        if !continues {
            applying.append();
        }
    }
    applying.append();
    // The stores may have become others while the pieces came.
    applying.clear_unheld();
    applying.is_replaced();
    LoadedPiece::Whole(applying.ticket)
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
