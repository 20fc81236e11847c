//! A slot's records and pieces on their way in, at a replica.

use super::levels::Levels;
use super::mark::Mark;
use super::slot::{Position, Role, SlotFeed};
use crate::cluster::MemberId;
use crate::mutation::{self, Mutation};
use crate::store::StoreNumber;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes of records that wait for the last piece of their slot, in all slots.
const MOST_HELD_BYTES: usize = 256 << 20;
/// What a record costs that waits, beside its commands: roughly.
const HELD_BYTES: usize = 64;

/// Why a replica does not take records of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is not attached, or lacks what comes before: it has to be attached anew.
    Unattached,
    /// It knows a newer epoch of the slot: the sender is not its primary any more.
    Newer {
        /// That epoch.
        epoch: u64,
    },
    /// It does not hold what its primary does: it has to be attached anew, with all that the slot holds.
    Differs,
}

/// A record that waits for the last piece of its slot.
#[derive(Debug)]
pub(crate) struct Held {
    pub store: StoreNumber,
    pub time_ms: u64,
    pub sequence: u64,
    /// The next one is of the same batch.
    pub continues: bool,
    pub commands: Box<[u8]>,
}

/// A slot whose pieces are not all there.
#[derive(Debug)]
pub(crate) struct Joining {
    pub attachment: u64,
    /// The number at which the pieces were taken.
    pub since: u64,
    pub next_piece: u32,
    pub held: Vec<Held>,
    bytes: usize,
    all_bytes: Arc<AtomicUsize>,
}

impl Joining {
    /// Keeps a record; `false`: too many wait.
    pub fn hold(&mut self, record: Held) -> bool {
        let bytes = HELD_BYTES + record.commands.len();
        let before = self.all_bytes.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
        self.held.push(record);
        before + bytes <= MOST_HELD_BYTES
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// What comes of a slot over a link.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) from: MemberId,
    /// The session of the primary's link.
    pub(crate) session: u64,
    /// What the last mark said.
    pub(crate) epoch: u64,
    pub(crate) coverage: u64,
    /// The last record that came, whether it was done or waits.
    pub(crate) sequence: u64,
    /// The attachment by which it has everything, if it was by pieces.
    pub(crate) whole: u64,
    pub(crate) joining: Option<Joining>,
}

/// What a mark asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marked {
    /// What the slot holds goes: pieces of it come.
    pub begins_anew: bool,
    /// This member was the slot's primary until now.
    pub deposed: bool,
    /// It is taken for what it says of the epoch only: this copy is not where it goes on from.
    pub lacks: bool,
}

impl SlotFeed {
    /// Why a sender's records of the slot are refused. Who is the primary in the newer epoch as well loses nothing,
    /// and comes to know of it by the table.
    fn refusal(&self, from: MemberId, epoch: u64) -> Refused {
        let known = self.role.epoch().max(self.seen_epoch);
        let is_ours = matches!(self.role, Role::Replica { of, .. } if of == from);
        if known > epoch && !is_ours {
            Refused::Newer { epoch: known }
        } else {
            Refused::Unattached
        }
    }

    /// A mark came over a session of a member's link.
    pub(crate) fn take_mark(
        &mut self,
        from: MemberId,
        session: u64,
        mark: &Mark,
        all_bytes: &Arc<AtomicUsize>,
    ) -> Result<Marked, Refused> {
        let mut known = self.role.epoch().max(self.seen_epoch);
        if mutation::is(Mutation::IgnoredEpoch) {
            known = known.min(mark.epoch.saturating_sub(1));
        }
        let is_known =
            mark.epoch == known && matches!(self.role, Role::Replica { of, .. } if of == from);
        if mark.epoch < known || mark.epoch == known && !is_known {
            self.goes_by(from, session, mark);
            return Err(self.refusal(from, mark.epoch));
        }
        let deposed = matches!(self.role, Role::Primary { .. });
        if deposed {
            self.lose(false);
        }
        if !is_known {
            (self.role, self.seen_epoch) =
                (Role::Replica { of: from, epoch: mark.epoch }, mark.epoch);
        }
        let begins_anew = mark.attachment != 0;
        if begins_anew {
            self.position = Position::default();
            self.incoming = Some(Box::new(Incoming {
                from,
                session,
                epoch: mark.epoch,
                coverage: mark.coverage,
                sequence: mark.sequence,
                whole: 0,
                joining: Some(Joining {
                    attachment: mark.attachment,
                    since: mark.sequence,
                    next_piece: 0,
                    held: Vec::new(),
                    bytes: 0,
                    all_bytes: Arc::clone(all_bytes),
                }),
            }));
            return Ok(Marked { begins_anew, deposed, lacks: false });
        }
        let same = self.incoming.take().filter(|it| (it.from, it.session) == (from, session));
        // Other stores come over a stream that is there already, and over no other: a mark before this one, by which they
        // were to begin, may have been refused.
        let has_stores = same.is_some()
            || self.position.coverage == mark.coverage
            || mutation::is(Mutation::IgnoredCoverage);
        let incoming = same.unwrap_or_else(|| {
            Box::new(Incoming {
                from,
                session,
                epoch: mark.epoch,
                coverage: mark.coverage,
                // Of a slot of which this member has nothing that counts, no mark says this.
                sequence: match self.position.epoch {
                    0 => u64::MAX,
                    _ => self.position.sequence,
                },
                whole: 0,
                joining: None,
            })
        });
        if incoming.sequence != mark.sequence || !has_stores {
            return Ok(Marked { begins_anew, deposed, lacks: true });
        }
        let incoming = Incoming { epoch: mark.epoch, coverage: mark.coverage, ..*incoming };
        if incoming.joining.is_none() {
            let Incoming { epoch, sequence, coverage, .. } = incoming;
            self.position = Position { epoch, sequence, coverage };
        }
        self.incoming = Some(Box::new(incoming));
        Ok(Marked { begins_anew, deposed, lacks: false })
    }

    /// A mark is refused. The records behind it go on from what it says, and not from what came before it, unless that
    /// is the same: without this, those that the mark stands for would be missing, and nothing would show it.
    fn goes_by(&mut self, from: MemberId, session: u64, mark: &Mark) {
        self.incoming.take_if(|it| {
            let is_same = (mark.sequence, mark.coverage) == (it.sequence, it.coverage);
            let goes_on = mark.attachment == 0 && is_same;
            (it.from, it.session) == (from, session) && !goes_on
        });
    }

    /// What comes from a member in a session of its link, if it is to be taken.
    pub(crate) fn admit(&mut self, from: MemberId, session: u64) -> Result<&mut Incoming, Refused> {
        // Of its own primary, what is of an epoch before is taken as well: it comes before the mark that
        // says the new one.
        let is_ours = matches!(self.role, Role::Replica { of, .. } if of == from);
        let known = self.role.epoch();
        let epoch = self.incoming.as_ref().map_or(0, |incoming| incoming.epoch);
        let refusal = self.refusal(from, epoch);
        match &mut self.incoming {
            Some(it) if (it.from, it.session) == (from, session) => {
                let is_over = it.epoch < known && !mutation::is(Mutation::IgnoredEpoch);
                if is_ours || !is_over { Ok(it) } else { Err(refusal) }
            }
            // It may have begun in another session.
            _ if is_ours => Err(Refused::Unattached),
            _ => Err(refusal),
        }
    }

    /// Which stores come whole from a member in a session of its link, in an epoch: as a number. `None`: none
    /// do.
    pub(crate) fn comes_from(&self, from: MemberId, session: u64, epoch: u64) -> Option<u64> {
        let it = self.incoming.as_ref()?;
        let is_it = (it.from, it.session, it.epoch) == (from, session, epoch);
        (is_it && it.joining.is_none()).then_some(it.coverage)
    }

    /// A record of a store of this replication factor was done.
    pub(crate) fn did(&mut self, replication_factor: u8, sequence: u64) {
        self.levels.take(replication_factor, sequence);
        self.done(sequence);
    }

    /// All pieces are there, as of this number.
    pub(crate) fn came_whole(&mut self, sequence: u64) {
        self.levels = Levels::all(sequence);
        self.done(sequence);
    }

    /// What came so far is done, up to here.
    fn done(&mut self, sequence: u64) {
        if let Some(incoming) = &mut self.incoming {
            incoming.sequence = sequence;
            self.position =
                Position { epoch: incoming.epoch, sequence, coverage: incoming.coverage };
        }
    }

    /// What comes lacks something, or makes no sense: the copy does not count any more.
    pub(crate) fn give_up(&mut self) {
        self.incoming = None;
        self.position = Position::default();
    }
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
