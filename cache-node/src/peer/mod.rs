//! The member-to-member protocol: framed, versioned, pipelined, over TCP on the gossip port.
//!
//! A connection begins with a handshake (see `wire`) in which both sides name their cluster and
//! their number and prove that they know the cluster's secret. Then requests go one way and
//! replies the other, matched by a number, in any order. [`Client`] keeps few connections to each
//! member and fails what it cannot deliver at once; [`Server`] hands each request to the
//! [`Handler`] of its [`Kind`].

mod client;
mod connection;
mod hold;
mod secret;
mod server;
mod wire;

pub use client::{Client, Pending};
pub use hold::Held;
pub use secret::Secret;
pub use server::{Handlers, Server};

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::{MemberId, PROTOCOLS, Protocol};
use std::{
    future::Future,
    io,
    ops::RangeInclusive,
    pin::Pin,
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

/// The most bytes of one request or reply.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 30;

/// The reason of [`Error::Unreachable`] when the member has said that it takes no more requests.
pub const STOPS: &str = "it stops";

/// What a request is for, and so who handles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Raft's own messages.
    Raft = 1,
    /// Fences, counts, proposals: what keeps the cluster together.
    Control = 2,
    /// Commands for slots that the asked member owns.
    Forward = 3,
    /// Messages that clients of the asking member published.
    Publish = 4,
    /// Commands that wait for keys that the asked member owns: answered when they end, and given up
    /// when the connection ends.
    Wait = 5,
    /// What a primary did to slots that the asked member keeps as well.
    Replicate = 6,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        const ALL: [Kind; 6] =
            [Kind::Raft, Kind::Control, Kind::Forward, Kind::Publish, Kind::Wait, Kind::Replicate];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Who this member is towards the others; the cluster's number is learnt later.
#[derive(Debug)]
pub struct Identity {
    /// This member's number.
    pub member: MemberId,
    cluster: AtomicU64,
    /// The version that all members of the cluster know.
    common: AtomicU16,
    /// The newest that this member speaks while the cluster asks for no newer one.
    newest: Protocol,
}

impl Identity {
    /// A member that belongs to no cluster yet when `cluster` is 0.
    pub fn new(member: MemberId, cluster: u64) -> Self {
        Self {
            member,
            cluster: AtomicU64::new(cluster),
            common: AtomicU16::new(*PROTOCOLS.start()),
            newest: *PROTOCOLS.end(),
        }
    }

    /// The same, with no version newer than that.
    pub fn up_to(self, newest: Protocol) -> Self {
        Self { newest: newest.clamp(*PROTOCOLS.start(), *PROTOCOLS.end()), ..self }
    }

    /// All members of the cluster know that version: no older one is spoken any more.
    pub fn set_common(&self, protocol: Protocol) {
        self.common.fetch_max(protocol, Ordering::AcqRel);
    }

    /// The versions that this member speaks now.
    pub fn protocols(&self) -> RangeInclusive<Protocol> {
        let common = self.common.load(Ordering::Acquire);
        common..=self.newest.max(common)
    }

    /// The cluster's number, 0 while there is none.
    pub fn cluster(&self) -> u64 {
        self.cluster.load(Ordering::Acquire)
    }

    /// From now on this member belongs to that cluster.
    pub fn set_cluster(&self, cluster: u64) {
        self.cluster.store(cluster, Ordering::Release);
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// As many requests to that member wait as may.
    #[error("too many requests to {member} wait for a reply")]
    Busy {
        /// The member's name.
        member: String,
    },
    /// The member could not be reached, or the connection broke.
    #[error("{member} is not reachable: {reason}")]
    Unreachable {
        /// The member's name.
        member: String,
        /// What happened.
        reason: String,
        /// Whether the request may have reached it all the same.
        sent: bool,
    },
    /// No reply came in time.
    #[error("{member} did not answer in time")]
    Deadline {
        /// The member's name.
        member: String,
    },
    /// A request or reply over [`MAX_PAYLOAD_BYTES`].
    #[error("{bytes} bytes are over the {MAX_PAYLOAD_BYTES} of a message between members")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// The member's handler refused.
    #[error("{0}")]
    Refused(String),
}

/// What a handler makes of a request.
pub enum Answer {
    /// The reply was appended to `out`.
    Now,
    /// The reply comes later. `out` must be as it was.
    Later(Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>),
    /// The request is refused for this reason.
    Refused(String),
}

/// Handles the requests of one [`Kind`].
pub trait Handler: Send + Sync + 'static {
    /// Answers a request of a member. It must not block: what waits goes into [`Answer::Later`].
    /// Requests of one connection are handed over one after the other, in the order they came.
    fn call(&self, from: MemberId, payload: Bytes, out: &mut BytesMut) -> Answer;
}

/// How long what was sent may stay without the other machine's acknowledgement, or it without room
/// for more: longer than requests usually may take.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(8);

/// A machine that vanished (no power, no network) sends no farewell: find out all the same.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

#[cfg(test)]
mod tests;
