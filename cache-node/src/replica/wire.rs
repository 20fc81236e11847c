//! What a primary and a replica say to each other ([`crate::peer::Kind::Replicate`]).
//!
//! A request is the length of its head (u32, little-endian), the head in postcard, and its body: the frames
//! of a cycle one after the other, or the entries of a piece. A reply is in postcard.

use bytes::Bytes;
use hypercache_core::cluster::Slot;
use hypercache_core::command::apply::LoadedPiece;
use hypercache_core::keyspace::Piece;
use hypercache_core::replica::{Position, Refused};
use hypercache_core::store::StoreNumber;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Head {
    /// Whether it knows a session, and how far it is with it.
    Hello { session: u64 },
    /// A session begins; an earlier one of this sender has ended.
    Begin { session: u64 },
    /// A cycle of a session, whose frames are so long.
    Cycle { session: u64, number: u64, frames: Vec<u32> },
    /// How far it is with runs of slots, of which it is an owner by the table of that epoch.
    Positions { runs: Vec<(Slot, Slot)>, epoch: u64 },
    /// A piece of a slot, in a session.
    Piece {
        session: u64,
        slot: Slot,
        attachment: u64,
        number: u32,
        store: StoreNumber,
        is_last: bool,
    },
    /// Of a primary: how many others have all that was written there by now, at least so many or after so
    /// many milliseconds.
    Wait { replicas: u32, timeout_ms: u64 },
    /// Of a primary: what it has sent to the member that asks.
    Fresh,
    /// Of a replica: to say so once all that it has done by now is on its disk, within so many milliseconds.
    OnDisk { timeout_ms: u64 },
    /// Of a primary: how many others have what was written there by now, in these slots and stores, or in any slot of
    /// `stores`; at least so many, or after so many milliseconds.
    Copies {
        places: Vec<(Slot, StoreNumber)>,
        stores: Vec<StoreNumber>,
        replicas: u32,
        timeout_ms: u64,
    },
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// It knows the session: the last cycle that was done, and what was refused. This process's number.
    Known { incarnation: u64, number: u64, refused: Vec<Refusal> },
    /// It does not know the session, or lacks a cycle before.
    Unknown { incarnation: u64 },
    /// The cycle is done, and all before it.
    Done { refused: Vec<Refusal> },
    /// By slot, in order; `None` where what is on its disk is not read yet, or its table is an older one.
    Positions(Vec<Option<(u64, u64, u64)>>),
    /// What came of a piece.
    Piece(Came),
    /// So many have it.
    Have(u32),
    /// All that was done in these slots by now is sent in a session up to a cycle.
    Fresh { session: u64, number: u64, runs: Vec<(Slot, Slot)> },
    /// Whether it is on the disk; not where nothing is kept on it.
    OnDisk(bool),
}

/// A slot whose records were refused, and the newer epoch that is known of it, 0 for none; or [`DIFFERS`].
pub type Refusal = (Slot, u64);

/// In the place of an epoch: the copy is another one than its primary's.
const DIFFERS: u64 = u64::MAX;

/// What came of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Came {
    /// It is there.
    Taken,
    /// It was the last.
    Whole,
    /// The slot has to be attached anew.
    Void,
}

impl From<LoadedPiece> for Came {
    fn from(loaded: LoadedPiece) -> Self {
        match loaded {
            LoadedPiece::Taken => Self::Taken,
            LoadedPiece::Whole(_) => Self::Whole,
            LoadedPiece::NotYet | LoadedPiece::Void => Self::Void,
        }
    }
}

/// A refusal as it travels.
pub fn put_refusal((slot, why): &(Slot, Refused)) -> Refusal {
    match why {
        Refused::Unattached => (*slot, 0),
        Refused::Newer { epoch } => (*slot, *epoch),
        Refused::Differs => (*slot, DIFFERS),
    }
}

/// The refusal that travelled.
pub fn refusal((slot, epoch): Refusal) -> (Slot, Refused) {
    match epoch {
        0 => (slot, Refused::Unattached),
        DIFFERS => (slot, Refused::Differs),
        epoch => (slot, Refused::Newer { epoch }),
    }
}

/// A position as it travels.
pub fn put_position(position: Position) -> (u64, u64, u64) {
    (position.epoch, position.sequence, position.coverage)
}

/// The position that travelled.
pub fn position((epoch, sequence, coverage): (u64, u64, u64)) -> Position {
    Position { epoch, sequence, coverage }
}

/// The head of a piece.
pub fn piece_head(session: u64, piece: &Piece) -> Head {
    let Piece { slot, attachment, number, store, is_last } = *piece;
    Head::Piece { session, slot, attachment, number, store, is_last }
}

/// A request. `body` appends what belongs to it.
pub fn request(head: &Head, body: impl FnOnce(&mut Vec<u8>)) -> Result<Bytes, postcard::Error> {
    let mut out = vec![0; 4];
    out = postcard::to_extend(head, out)?;
    let len = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.first_chunk_mut::<4>() {
        *place = len.to_le_bytes();
    }
    body(&mut out);
    Ok(out.into())
}

/// A request's head and body; `None` if it makes no sense.
pub fn read(request: &[u8]) -> Option<(Head, &[u8])> {
    let (len, rest) = request.split_first_chunk::<4>()?;
    let (head, body) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((postcard::from_bytes(head).ok()?, body))
}

/// A reply; `None` if it makes no sense.
pub fn said<T: DeserializeOwned>(reply: &[u8]) -> Option<T> {
    postcard::from_bytes(reply).ok()
}

/// A reply as it travels.
pub fn put_said(said: &Said) -> Result<Vec<u8>, String> {
    postcard::to_stdvec(said).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written_and_cut_ones_are_not() {
        let head = Head::Cycle { session: 7, number: 1 << 40, frames: vec![3, 2] };
        let sent = request(&head, |out| out.extend_from_slice(b"hello")).unwrap();
        assert_eq!(read(&sent), Some((head, &b"hello"[..])));
        for end in 0..sent.len() - 5 {
            assert_eq!(read(&sent[..end]), None, "{end}");
        }
        assert_eq!(read(&[0xff; 40]), None);
    }

    #[test]
    fn refusals_travel() {
        let all = [Refused::Unattached, Refused::Newer { epoch: 9 }, Refused::Differs];
        for why in all.map(|why| (3, why)) {
            assert_eq!(refusal(put_refusal(&why)), why);
        }
    }
}
