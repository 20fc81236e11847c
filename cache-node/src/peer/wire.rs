//! The bytes of the member-to-member protocol.
//!
//! Handshake, integers big-endian:
//! ```text
//! caller → called   "HCPR" version:u16 cluster:u64 member:u64 wanted:u64 nonce:16
//! called → caller   "HCPR" version:u16 status:u8 cluster:u64 member:u64 nonce:16 proof:32
//! caller → called   proof:32
//! ```
//! A proof is the HMAC of a word for the side and of everything that was said before it. A cluster
//! or wanted member of 0 fits any. The connection speaks the version that the caller asks for, its newest at first;
//! where the called side does not speak it, its answer says which it does speak, and the caller calls again with
//! that one. Then frames, `length` counting what stands behind it:
//! ```text
//! request  length:u32 number:u32 kind:u8   payload
//! reply    length:u32 number:u32 status:u8 payload       status 0: the reply, 1: refused (text)
//! goes     length:u32 number:u32 status:u8               status 2
//! ```
//! The last one is no reply: the called side takes no requests after this number. Those up to it are answered
//! yet; the others were not looked at.

use super::{Error, Identity, Kind, MAX_PAYLOAD_BYTES, Secret, secret::PROOF_BYTES};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hypercache_core::cluster::{MemberId, Protocol};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MAGIC: [u8; 4] = *b"HCPR";
const HELLO_BYTES: usize = 4 + 2 + 8 + 8 + 8 + 16;
const WELCOME_BYTES: usize = 4 + 2 + 1 + 8 + 8 + 16;
/// The bytes before a frame's payload: length, number, kind.
pub const FRAME_HEAD_BYTES: usize = 4 + 4 + 1;
/// The most that room is made for ahead of what arrives: a length alone costs nothing (S1).
const READ_AHEAD_BYTES: usize = 1 << 20;

const WELCOME: u8 = 0;
const OTHER_VERSION: u8 = 1;
const OTHER_CLUSTER: u8 = 2;
const OTHER_MEMBER: u8 = 3;

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

fn nonce() -> io::Result<[u8; 16]> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(nonce)
}

/// How the called side takes a greeting.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeted {
    /// The connection stands.
    Welcome,
    /// It speaks that version, and not the one that was asked for.
    Speaks(Protocol),
}

/// Begins a connection as the one that calls, in that version.
pub async fn greet(
    stream: &mut TcpStream,
    me: &Identity,
    secret: &Secret,
    wanted: MemberId,
    protocol: Protocol,
) -> io::Result<Greeted> {
    let mut hello = Vec::with_capacity(HELLO_BYTES);
    hello.put_slice(&MAGIC);
    hello.put_u16(protocol);
    hello.put_u64(me.cluster());
    hello.put_u64(me.member);
    hello.put_u64(wanted);
    hello.put_slice(&nonce()?);
    stream.write_all(&hello).await?;

    let mut answer = [0; WELCOME_BYTES + PROOF_BYTES];
    stream.read_exact(&mut answer).await?;
    let (welcome, proof) = answer.split_at(WELCOME_BYTES);
    let mut fields = welcome;
    if fields.copy_to_bytes(4)[..] != MAGIC {
        return Err(invalid("something else than a member listens there"));
    }
    let version = fields.get_u16();
    match fields.get_u8() {
        WELCOME => {}
        OTHER_VERSION if secret.check(&[b"called", &hello, welcome], proof) => {
            return Ok(Greeted::Speaks(version));
        }
        OTHER_VERSION => return Err(invalid("it has another cluster secret")),
        OTHER_CLUSTER => return Err(invalid("it belongs to another cluster")),
        OTHER_MEMBER => return Err(invalid("another member answers at its address")),
        status => return Err(invalid(format!("it refused with the unknown status {status}"))),
    }
    if !secret.check(&[b"called", &hello, welcome], proof) {
        return Err(invalid("it has another cluster secret"));
    }
    stream.write_all(&secret.prove(&[b"caller", &hello, welcome])).await?;
    Ok(Greeted::Welcome)
}

/// Begins a connection as the one that is called; the caller's number.
pub async fn welcome(
    stream: &mut TcpStream,
    me: &Identity,
    secret: &Secret,
) -> io::Result<MemberId> {
    let mut hello = [0; HELLO_BYTES];
    stream.read_exact(&mut hello).await?;
    let mut fields = &hello[..];
    if fields.copy_to_bytes(4)[..] != MAGIC {
        return Err(invalid("not a member's greeting"));
    }
    let version = fields.get_u16();
    let (cluster, member, wanted) = (fields.get_u64(), fields.get_u64(), fields.get_u64());
    let (ours, spoken) = (me.cluster(), me.protocols());
    let status = if !spoken.contains(&version) {
        OTHER_VERSION
    } else if cluster != 0 && ours != 0 && cluster != ours {
        OTHER_CLUSTER
    } else if wanted != 0 && wanted != me.member {
        OTHER_MEMBER
    } else {
        WELCOME
    };
    let mut welcome = Vec::with_capacity(WELCOME_BYTES + PROOF_BYTES);
    welcome.put_slice(&MAGIC);
    welcome.put_u16(if status == OTHER_VERSION { *spoken.end() } else { version });
    welcome.put_u8(status);
    welcome.put_u64(ours);
    welcome.put_u64(me.member);
    welcome.put_slice(&nonce()?);
    let proof = secret.prove(&[b"called", &hello, &welcome]);
    let said = welcome.clone();
    welcome.put_slice(&proof);
    stream.write_all(&welcome).await?;
    if status != WELCOME {
        return Err(invalid(match status {
            OTHER_VERSION => format!(
                "protocol {version} was asked for; this member speaks {} to {}",
                spoken.start(),
                spoken.end()
            ),
            OTHER_CLUSTER => format!("cluster {cluster:016x} is not {ours:016x}"),
            _ => format!("member {wanted:016x} was wanted"),
        }));
    }
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    if !secret.check(&[b"caller", &hello, &said], &proof) {
        return Err(invalid("another cluster secret"));
    }
    Ok(member)
}

/// A whole frame.
#[derive(Debug)]
pub struct Frame {
    pub number: u32,
    /// The request's kind or the reply's status.
    pub tag: u8,
    pub payload: Bytes,
}

/// Takes the first frame out of `input`, if it is whole; makes room for what is known to come.
pub fn take_frame(input: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some(head) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*head) as usize;
    if !(FRAME_HEAD_BYTES - 4..=MAX_PAYLOAD_BYTES + FRAME_HEAD_BYTES).contains(&length) {
        return Err(invalid(format!("a frame of {length} bytes")));
    }
    let missing = (length + 4).saturating_sub(input.len());
    if missing > 0 {
        input.reserve(missing.min(READ_AHEAD_BYTES));
        return Ok(None);
    }
    let mut frame = input.split_to(length + 4);
    if length > READ_AHEAD_BYTES {
        // The frame takes its memory with it, instead of leaving it to a connection that idles.
        *input = BytesMut::from(&input[..]);
    }
    frame.advance(4);
    let (number, tag) = (frame.get_u32(), frame.get_u8());
    Ok(Some(Frame { number, tag, payload: frame.freeze() }))
}

/// What a frame is, as its head says.
pub fn tag(head: &[u8; FRAME_HEAD_BYTES]) -> u8 {
    head[FRAME_HEAD_BYTES - 1]
}

/// Appends a frame.
pub fn put_frame(out: &mut BytesMut, number: u32, tag: u8, payload: &[u8]) {
    out.reserve(FRAME_HEAD_BYTES + payload.len());
    out.put_u32((payload.len() + FRAME_HEAD_BYTES - 4) as u32);
    out.put_u32(number);
    out.put_u8(tag);
    out.put_slice(payload);
}

/// Begins a reply whose payload is appended next; where it begins is for [`end_frame`].
pub fn begin_frame(out: &mut BytesMut, number: u32) -> usize {
    let start = out.len();
    put_frame(out, number, STATUS_REPLY, &[]);
    start
}

/// Writes the length of what was appended since [`begin_frame`].
///
/// # Errors
/// [`Error::TooLarge`]; what was appended is gone then.
pub fn end_frame(out: &mut BytesMut, start: usize) -> Result<(), Error> {
    let bytes = out.len() - start - FRAME_HEAD_BYTES;
    if bytes > MAX_PAYLOAD_BYTES {
        out.truncate(start);
        return Err(Error::TooLarge { bytes });
    }
    let length = ((bytes + FRAME_HEAD_BYTES - 4) as u32).to_be_bytes();
    out[start..start + 4].copy_from_slice(&length);
    Ok(())
}

/// The status of a reply.
pub const STATUS_REPLY: u8 = 0;
/// The status of a refusal; the payload says why.
pub const STATUS_REFUSED: u8 = 1;
/// The status of what is no reply: no request after this one is taken.
pub const STATUS_GOES: u8 = 2;

/// The head of a request frame, for a payload that is written by itself.
pub fn request_head(number: u32, kind: Kind, payload_bytes: usize) -> [u8; FRAME_HEAD_BYTES] {
    let mut head = [0; FRAME_HEAD_BYTES];
    head[..4].copy_from_slice(&((payload_bytes + FRAME_HEAD_BYTES - 4) as u32).to_be_bytes());
    head[4..8].copy_from_slice(&number.to_be_bytes());
    head[8] = kind as u8;
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_only_when_it_is_whole() {
        let mut whole = BytesMut::new();
        put_frame(&mut whole, 7, Kind::Forward as u8, b"hello");
        put_frame(&mut whole, 8, Kind::Raft as u8, b"");
        let mut input = BytesMut::new();
        let mut frames = Vec::new();
        for byte in whole {
            input.put_u8(byte);
            frames.extend(take_frame(&mut input).unwrap());
        }
        assert_eq!(frames.len(), 2);
        assert_eq!(
            (frames[0].number, frames[0].tag, &frames[0].payload[..]),
            (7, 3, &b"hello"[..])
        );
        assert_eq!((frames[1].number, frames[1].tag, frames[1].payload.len()), (8, 1, 0));
    }

    #[test]
    fn s1_a_declared_length_alone_takes_no_memory() {
        let mut input = BytesMut::new();
        input.put_u32(MAX_PAYLOAD_BYTES as u32);
        assert!(take_frame(&mut input).unwrap().is_none());
        assert!(input.capacity() <= 2 * READ_AHEAD_BYTES);
    }

    #[test]
    fn l10_a_connection_keeps_no_memory_of_a_large_frame() {
        let mut input = BytesMut::new();
        put_frame(&mut input, 1, STATUS_REPLY, &vec![1; 8 * READ_AHEAD_BYTES]);
        put_frame(&mut input, 2, STATUS_REPLY, b"next");
        assert_eq!(take_frame(&mut input).unwrap().unwrap().payload.len(), 8 * READ_AHEAD_BYTES);
        assert_eq!(&take_frame(&mut input).unwrap().unwrap().payload[..], b"next");
        input.reserve(READ_AHEAD_BYTES);
        assert!(input.capacity() <= 2 * READ_AHEAD_BYTES, "{}", input.capacity());
    }

    #[test]
    fn s2_lengths_that_cannot_be_are_errors() {
        for length in [0, 4, u32::MAX] {
            let mut input = BytesMut::new();
            input.put_u32(length);
            assert!(take_frame(&mut input).is_err(), "{length}");
        }
    }

    #[test]
    fn a_reply_written_in_place_is_the_same_as_one_that_is_copied() {
        let (mut in_place, mut copied) = (BytesMut::new(), BytesMut::new());
        let start = begin_frame(&mut in_place, 3);
        in_place.put_slice(b"value");
        end_frame(&mut in_place, start).unwrap();
        put_frame(&mut copied, 3, STATUS_REPLY, b"value");
        assert_eq!(in_place, copied);
    }
}
