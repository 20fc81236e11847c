//! How commands travel between members: a batch of commands in one request, their replies in
//! one answer.
//!
//! Request, for each command: store (u16), protocol (u8: 2 or 3), target (u8), number of
//! arguments (u32), then each argument's length (u32) and bytes. Answer, for each command:
//! status (u8), the reply's length (u32) and its RESP bytes. An answer that grows long ends before
//! the request's commands do: those left were not run, and are asked again. All integers are
//! little-endian.

use hypercache_core::resp::Protocol;
use hypercache_core::store::StoreNumber;
use smallvec::SmallVec;

/// Arguments of one command.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

/// How a command was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ran; the reply says how.
    Done,
    /// It did not run, because the member does not serve a slot that it needs, or, as the reply says then,
    /// because too few owners of that are in sync. No command after it in the batch ran either, so that
    /// the order of a client's commands holds.
    NotServing,
    /// It did not run, because the member does not know the script that it names by digest. No
    /// command after it ran either.
    UnknownScript,
}

/// A request or an answer that is not in the form above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a malformed batch of forwarded commands, at byte {at}")]
pub struct Malformed {
    /// The offset at which it stops making sense.
    pub at: usize,
}

/// One command of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The store that its client has selected.
    pub store: StoreNumber,
    /// The protocol that its reply is to be in.
    pub protocol: Protocol,
    /// The command's name and arguments.
    pub args: Args<'a>,
}

/// Appends a command to a request.
pub fn put_command(out: &mut Vec<u8>, store: StoreNumber, protocol: Protocol, args: &[&[u8]]) {
    out.reserve(8 + args.iter().map(|a| a.len() + 4).sum::<usize>());
    out.extend_from_slice(&store.to_le_bytes());
    out.push(if protocol == Protocol::Resp3 { 3 } else { 2 });
    out.push(0);
    out.extend_from_slice(&(args.len() as u32).to_le_bytes());
    for arg in args {
        out.extend_from_slice(&(arg.len() as u32).to_le_bytes());
        out.extend_from_slice(arg);
    }
}

/// Appends an answer: `reply` writes the RESP bytes and says how it went.
pub fn put_answer(out: &mut Vec<u8>, reply: impl FnOnce(&mut Vec<u8>) -> Status) -> Status {
    let start = out.len();
    out.extend_from_slice(&[0; 5]);
    let status = reply(out);
    let len = (out.len() - start - 5) as u32;
    out[start] = match status {
        Status::Done => 0,
        Status::NotServing => 1,
        Status::UnknownScript => 2,
    };
    out[start + 1..start + 5].copy_from_slice(&len.to_le_bytes());
    status
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n).ok_or(Malformed { at: self.at })?;
        let part = self.bytes.get(self.at..end).ok_or(Malformed { at: self.at })?;
        self.at = end;
        Ok(part)
    }

    fn u32(&mut self) -> Result<usize, Malformed> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    }
}

/// Reads the command that starts at `at`; gives it and where the next one starts.
///
/// # Errors
/// The bytes are not a command.
pub fn command_at(bytes: &[u8], at: usize) -> Result<(Command<'_>, usize), Malformed> {
    let mut cursor = Cursor { bytes, at };
    let head = cursor.take(4)?;
    let store = u16::from_le_bytes([head[0], head[1]]);
    let protocol = match head[2] {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(Malformed { at: at + 2 }),
    };
    let count = cursor.u32()?;
    if count == 0 {
        return Err(Malformed { at: at + 4 });
    }
    // Every argument takes four bytes at least, so a count cannot make this grow beyond the input.
    let mut args = Args::new();
    for _ in 0..count {
        let len = cursor.u32()?;
        args.push(cursor.take(len)?);
    }
    Ok((Command { store, protocol, args }, cursor.at))
}

/// Reads the answer that starts at `at`; gives its status, its reply and where the next starts.
///
/// # Errors
/// The bytes are not an answer.
pub fn answer_at(bytes: &[u8], at: usize) -> Result<(Status, &[u8], usize), Malformed> {
    let mut cursor = Cursor { bytes, at };
    let status = match cursor.take(1)?[0] {
        0 => Status::Done,
        1 => Status::NotServing,
        2 => Status::UnknownScript,
        _ => return Err(Malformed { at }),
    };
    let len = cursor.u32()?;
    let reply = cursor.take(len)?;
    Ok((status, reply, cursor.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn l23_a_command_arrives_with_its_store_options_and_bytes(
            store in 0u16..1024,
            resp3 in any::<bool>(),
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..12),
        ) {
            let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let mut wire = vec![7; 3];
            put_command(&mut wire, store, protocol, &args);
            let (command, end) = command_at(&wire, 3).unwrap();
            prop_assert_eq!((command.store, command.protocol, end), (store, protocol, wire.len()));
            prop_assert_eq!(command.args.as_slice(), args.as_slice());
        }

        #[test]
        fn s2_random_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = command_at(&bytes, 0);
            let _ = answer_at(&bytes, 0);
        }
    }

    #[test]
    fn an_answer_carries_its_status_and_reply() {
        let mut wire = Vec::new();
        put_answer(&mut wire, |out| {
            out.extend_from_slice(b"+OK\r\n");
            Status::Done
        });
        put_answer(&mut wire, |_| Status::NotServing);
        let (status, reply, next) = answer_at(&wire, 0).unwrap();
        assert_eq!((status, reply), (Status::Done, &b"+OK\r\n"[..]));
        let (status, reply, next) = answer_at(&wire, next).unwrap();
        assert_eq!((status, reply, next), (Status::NotServing, &b""[..], wire.len()));
    }
}
