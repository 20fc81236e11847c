//! The bytes of gossip: an envelope around SWIM's messages.
//!
//! ```text
//! version:u8 cluster:u64 proof:32 message
//! ```
//! The proof is the HMAC of all else under the cluster's secret.

use super::{VERSION, identity::Identity};
use crate::peer::Secret;
use bytes::{Buf, BufMut};
use foca::{Header, Member as SwimMember, Message, State};
use hypercache_core::cluster::Member;

/// Bytes in front of SWIM's message.
pub const ENVELOPE_BYTES: usize = 1 + 8 + 32;

/// Why a datagram is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    Malformed,
    ForeignVersion,
    Unauthenticated,
    OtherCluster,
}

/// Wraps a message.
pub fn seal(secret: &Secret, cluster_id: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + message.len());
    out.put_u8(VERSION);
    out.put_u64(cluster_id);
    let proof = secret.prove(&[b"gossip", &out, message]);
    out.put_slice(&proof);
    out.put_slice(message);
    out
}

/// Unwraps a message that is meant for us.
pub fn open<'a>(secret: &Secret, ours: u64, datagram: &'a [u8]) -> Result<&'a [u8], Dropped> {
    let Some((envelope, message)) = datagram.split_at_checked(ENVELOPE_BYTES) else {
        return Err(Dropped::Malformed);
    };
    let (head, proof) = envelope.split_at(9);
    if head[0] != VERSION {
        return Err(Dropped::ForeignVersion);
    }
    if !secret.check(&[b"gossip", head, message], proof) {
        return Err(Dropped::Unauthenticated);
    }
    let theirs = (&head[1..]).get_u64();
    if theirs != 0 && ours != 0 && theirs != ours {
        return Err(Dropped::OtherCluster);
    }
    Ok(message)
}

/// A message that is not one.
#[derive(Debug, thiserror::Error)]
#[error("malformed gossip: {0}")]
pub struct Malformed(&'static str);

/// SWIM's messages as bytes. Integers are big-endian; a text has its length in one byte before it.
#[derive(Debug, Clone, Copy)]
pub struct Codec;

type Read<T> = Result<T, Malformed>;

fn need(buf: &impl Buf, bytes: usize) -> Read<()> {
    if buf.remaining() < bytes { Err(Malformed("it ends early")) } else { Ok(()) }
}

fn u8_of(buf: &mut impl Buf) -> Read<u8> {
    need(buf, 1)?;
    Ok(buf.get_u8())
}

fn u16_of(buf: &mut impl Buf) -> Read<u16> {
    need(buf, 2)?;
    Ok(buf.get_u16())
}

fn u64_of(buf: &mut impl Buf) -> Read<u64> {
    need(buf, 8)?;
    Ok(buf.get_u64())
}

fn text_of(buf: &mut impl Buf) -> Read<String> {
    let length = usize::from(u8_of(buf)?);
    need(buf, length)?;
    let mut bytes = vec![0; length];
    buf.copy_to_slice(&mut bytes);
    String::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))
}

fn put_text(text: &str, buf: &mut impl BufMut) -> Read<()> {
    let length = u8::try_from(text.len()).map_err(|_| Malformed("a text is over 255 bytes"))?;
    room(buf, 1 + text.len())?;
    buf.put_u8(length);
    buf.put_slice(text.as_bytes());
    Ok(())
}

fn room(buf: &impl BufMut, bytes: usize) -> Read<()> {
    if buf.remaining_mut() < bytes { Err(Malformed("no room")) } else { Ok(()) }
}

fn put_identity(identity: &Identity, buf: &mut impl BufMut) -> Read<()> {
    let Identity { member, cluster_id, initialised, bump } = identity;
    room(buf, 8 + 8 + 8 + 8 + 1 + 6 + 1)?;
    buf.put_u64(member.id);
    buf.put_u64(*bump);
    buf.put_u64(*cluster_id);
    buf.put_u64(member.incarnation);
    buf.put_u8(u8::from(*initialised));
    buf.put_u16(member.resp_port);
    buf.put_u16(member.http_port);
    buf.put_u16(member.gossip_port);
    buf.put_u8(u8::try_from(member.weight).unwrap_or(u8::MAX));
    put_text(&member.name, buf)?;
    put_text(&member.host, buf)?;
    put_text(member.zone.as_deref().unwrap_or_default(), buf)
}

fn identity_of(buf: &mut impl Buf) -> Read<Identity> {
    let (id, bump, cluster_id) = (u64_of(buf)?, u64_of(buf)?, u64_of(buf)?);
    if id == 0 {
        return Err(Malformed("a member's number is 0"));
    }
    let incarnation = u64_of(buf)?;
    let initialised = u8_of(buf)? & 1 == 1;
    let (resp_port, http_port, gossip_port) = (u16_of(buf)?, u16_of(buf)?, u16_of(buf)?);
    let weight = u32::from(u8_of(buf)?);
    let (name, host, zone) = (text_of(buf)?, text_of(buf)?, text_of(buf)?);
    if name.is_empty() || host.is_empty() || weight == 0 {
        return Err(Malformed("a member has no name, host or weight"));
    }
    let zone = (!zone.is_empty()).then_some(zone);
    let member =
        Member { id, name, host, resp_port, http_port, gossip_port, zone, weight, incarnation };
    Ok(Identity { member, cluster_id, initialised, bump })
}

impl foca::Codec<Identity> for Codec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Identity>, mut buf: impl BufMut) -> Read<()> {
        put_identity(&header.src, &mut buf)?;
        room(&buf, 2 + 8 + 8 + 1 + 1)?;
        buf.put_u16(header.src_incarnation);
        buf.put_u64(header.dst.member.id);
        buf.put_u64(header.dst.bump);
        let mut about = |tag: u8, number: u8, identity: &Identity| {
            buf.put_u8(tag);
            buf.put_u8(number);
            put_identity(identity, &mut buf)
        };
        match &header.message {
            Message::PingReq { target, probe_number } => about(2, *probe_number, target)?,
            Message::IndirectPing { origin, probe_number } => about(3, *probe_number, origin)?,
            Message::IndirectAck { target, probe_number } => about(4, *probe_number, target)?,
            Message::ForwardedAck { origin, probe_number } => about(5, *probe_number, origin)?,
            Message::Ping(number) => buf.put_slice(&[0, *number]),
            Message::Ack(number) => buf.put_slice(&[1, *number]),
            Message::Announce => buf.put_u8(6),
            Message::Feed => buf.put_u8(7),
            Message::Gossip => buf.put_u8(8),
            Message::Broadcast => buf.put_u8(9),
            Message::TurnUndead => buf.put_u8(10),
        }
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Read<Header<Identity>> {
        let src = identity_of(&mut buf)?;
        let src_incarnation = u16_of(&mut buf)?;
        let mut dst = Identity::unknown(String::new(), 0);
        dst.member.id = u64_of(&mut buf)?;
        dst.bump = u64_of(&mut buf)?;
        let message = match u8_of(&mut buf)? {
            0 => Message::Ping(u8_of(&mut buf)?),
            1 => Message::Ack(u8_of(&mut buf)?),
            tag @ 2..=5 => {
                let probe_number = u8_of(&mut buf)?;
                let identity = identity_of(&mut buf)?;
                match tag {
                    2 => Message::PingReq { target: identity, probe_number },
                    3 => Message::IndirectPing { origin: identity, probe_number },
                    4 => Message::IndirectAck { target: identity, probe_number },
                    _ => Message::ForwardedAck { origin: identity, probe_number },
                }
            }
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return Err(Malformed("an unknown message")),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &SwimMember<Identity>, mut buf: impl BufMut) -> Read<()> {
        put_identity(member.id(), &mut buf)?;
        room(&buf, 3)?;
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Read<SwimMember<Identity>> {
        let identity = identity_of(&mut buf)?;
        let incarnation = u16_of(&mut buf)?;
        let state = match u8_of(&mut buf)? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return Err(Malformed("an unknown state")),
        };
        Ok(SwimMember::new(identity, incarnation, state))
    }
}
