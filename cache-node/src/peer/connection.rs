//! One connection to a member: made when it is needed, made again when it broke.

use super::{
    Error, Identity, STOPS, Secret,
    client::{Load, Request, Waiting},
    wire::{self, Frame, Greeted},
};
use bytes::{BufMut, BytesMut};
use hypercache_core::cluster::{MemberId, Protocol};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{self, UnboundedReceiver},
    time::{Instant, timeout},
};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
const LINGER: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const BATCH: usize = 512;
/// Payloads from this size on are written from where they are instead of being copied.
const COPY_BELOW_BYTES: usize = 16 << 10;
const READ_BYTES: usize = 64 << 10;

/// Whom a connection is to.
pub(super) struct Target {
    pub id: MemberId,
    pub host: String,
    pub port: u16,
    /// The address that gossip from it came from, if any did.
    pub hint: Box<dyn Fn() -> Option<IpAddr> + Send + Sync>,
    /// To be told which version it was reached in.
    pub agreed: Box<dyn Fn(Protocol) + Send + Sync>,
    pub me: Arc<Identity>,
    pub secret: Secret,
}

/// Numbers are hashed by themselves: they are made here, one after the other.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = (self.0 << 8) | u64::from(*byte));
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Waiters = Arc<Mutex<HashMap<u32, Waiting, BuildHasherDefault<NumberHasher>>>>;

/// Serves a lane until its queue is closed.
pub(super) async fn drive(target: Target, load: Arc<Load>, mut queue: UnboundedReceiver<Request>) {
    let mut backoff = BACKOFF_MIN;
    let mut refuse: Option<(Instant, String)> = None;
    while let Some(first) = queue.recv().await {
        if let Some((until, reason)) = &refuse
            && Instant::now() < *until
        {
            first.waiting.fail(reason, false);
            continue;
        }
        match timeout(CONNECT_TIMEOUT, connect(&target)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 1.5 s"))
        }) {
            Ok(stream) => {
                refuse = None;
                backoff = BACKOFF_MIN;
                serve(stream, first, &load, &mut queue).await;
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::debug!(
                    action = "peer-not-connected",
                    member = load.member,
                    reason,
                    "no connection to a member"
                );
                first.waiting.fail(&reason, false);
                while let Ok(request) = queue.try_recv() {
                    request.waiting.fail(&reason, false);
                }
                refuse = Some((Instant::now() + backoff, reason));
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Host names are resolved anew each time: members come back with other addresses (O3).
pub(super) async fn connect(target: &Target) -> io::Result<TcpStream> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    if target.host.parse::<IpAddr>().is_err() {
        addresses.extend((target.hint)().map(|ip| SocketAddr::new(ip, target.port)));
    }
    let resolved = tokio::net::lookup_host((target.host.as_str(), target.port));
    match timeout(CONNECT_TIMEOUT / 2, resolved).await {
        Ok(Ok(found)) => addresses.extend(found),
        Ok(Err(error)) if addresses.is_empty() => {
            let reason = format!("the name {} does not resolve: {error}", target.host);
            return Err(io::Error::new(error.kind(), reason));
        }
        _ => {}
    }
    let mut failure = None;
    for address in addresses {
        match attempt(target, address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let reason = format!("{address}: {error}");
                failure = Some(io::Error::new(error.kind(), reason));
            }
        }
    }
    Err(failure.unwrap_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", target.host))
    }))
}

async fn attempt(target: &Target, address: SocketAddr) -> io::Result<TcpStream> {
    let spoken = target.me.protocols();
    let mut protocol = *spoken.end();
    loop {
        let mut stream = TcpStream::connect(address).await?;
        super::tune(&stream)?;
        let greeted =
            wire::greet(&mut stream, &target.me, &target.secret, target.id, protocol).await?;
        match greeted {
            Greeted::Welcome => {
                (target.agreed)(protocol);
                return Ok(stream);
            }
            // Each time an older one: it ends.
            Greeted::Speaks(older) if older < protocol && spoken.contains(&older) => {
                protocol = older;
            }
            Greeted::Speaks(other) => {
                let (first, last) = spoken.into_inner();
                let reason = format!("it speaks protocol {other}, this member {first} to {last}");
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
        }
    }
}

/// Writes requests in batches until the connection breaks; fails what waits then.
async fn serve(
    stream: TcpStream,
    first: Request,
    load: &Arc<Load>,
    queue: &mut UnboundedReceiver<Request>,
) {
    let (read, mut write) = stream.into_split();
    let waiters = Waiters::default();
    load.heard();
    let (tell, mut goes) = mpsc::channel(1);
    let mut reader = tokio::spawn(read_replies(read, waiters.clone(), load.clone(), tell));
    let mut batch = vec![first];
    let mut number = 0u32;
    let mut out = BytesMut::with_capacity(READ_BYTES);
    let reason = loop {
        if let Err(error) =
            write_batch(&mut write, &mut out, &mut batch, &mut number, &waiters).await
        {
            break error.to_string();
        }
        tokio::select! {
            biased;
            Some(last) = goes.recv() => {
                // It takes nothing more. What it has taken is answered while others go elsewhere.
                fail_after(&waiters, last);
                tokio::spawn(async move {
                    let _ = timeout(LINGER, &mut reader).await;
                    reader.abort();
                    drop(write);
                    fail_all(&waiters, STOPS);
                });
                return;
            }
            ended = &mut reader => break match ended {
                Ok(Err(error)) => error.to_string(),
                _ => "the connection was closed".to_owned(),
            },
            () = load.reset.notified() => break "nothing was heard of it".to_owned(),
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 {
                // Given up: what is on its way may still be answered.
                let _ = write.shutdown().await;
                let _ = timeout(LINGER, &mut reader).await;
                break "the connection was given up".to_owned();
            },
        }
    };
    reader.abort();
    if let Ok(last) = goes.try_recv() {
        fail_after(&waiters, last);
    }
    tracing::debug!(
        action = "peer-disconnected",
        member = load.member,
        reason,
        "the connection to a member ended"
    );
    batch.into_iter().for_each(|request| request.waiting.fail(&reason, false));
    fail_all(&waiters, &reason);
}

/// Fails what was asked for after a request, which was not looked at.
fn fail_after(waiters: &Waiters, last: u32) {
    let is_after = |number: &u32, _: &mut Waiting| number.wrapping_sub(last) as i32 > 0;
    let after: Vec<(u32, Waiting)> = waiters.lock().extract_if(is_after).collect();
    after.into_iter().for_each(|(_, waiting)| waiting.fail(STOPS, false));
}

/// Fails what may have been done.
fn fail_all(waiters: &Waiters, reason: &str) {
    let left = std::mem::take(&mut *waiters.lock());
    left.into_values().for_each(|waiting| waiting.fail(reason, true));
}

async fn write_batch(
    write: &mut OwnedWriteHalf,
    out: &mut BytesMut,
    batch: &mut Vec<Request>,
    number: &mut u32,
    waiters: &Waiters,
) -> io::Result<()> {
    for Request { kind, payload, waiting } in batch.drain(..) {
        if waiting.is_given_up() {
            continue; // it was not sent in time: late, it would only do harm
        }
        *number = number.wrapping_add(1);
        out.put_slice(&wire::request_head(*number, kind, payload.len()));
        waiters.lock().insert(*number, waiting);
        if payload.len() < COPY_BELOW_BYTES {
            out.put_slice(&payload);
        } else {
            write_all(write, out).await?;
            out.clear();
            write_all(write, &payload).await?;
        }
    }
    write_all(write, out).await?;
    out.clear();
    Ok(())
}

/// Writes in pieces, each with a deadline: a member that takes nothing is given up, one that is
/// slow with much is not.
async fn write_all(write: &mut OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(1 << 20));
        timeout(WRITE_TIMEOUT, write.write_all(piece))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it takes nothing any more"))??;
        bytes = rest;
    }
    Ok(())
}

async fn read_replies(
    mut read: OwnedReadHalf,
    waiters: Waiters,
    load: Arc<Load>,
    goes: mpsc::Sender<u32>,
) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    loop {
        if read.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        load.heard();
        while let Some(Frame { number, tag, payload }) = wire::take_frame(&mut input)? {
            if tag == wire::STATUS_GOES {
                let _ = goes.try_send(number); // who writes may have ended already
                continue;
            }
            let waiting = waiters.lock().remove(&number);
            let Some(waiting) = waiting else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply to no request"));
            };
            waiting.answer(match tag {
                wire::STATUS_REPLY => Ok(payload),
                _ => Err(Error::Refused(String::from_utf8_lossy(&payload).into_owned())),
            });
        }
        if input.capacity() - input.len() < READ_BYTES / 4 {
            input.reserve(READ_BYTES);
        }
    }
}
