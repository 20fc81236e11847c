//! Answering other members.

use super::{
    Answer, Handler, Identity, Kind, Secret,
    wire::{self, Frame},
};
use crate::loops::Loops;
use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::MemberId;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connections may take to end as this member stops: for what was asked and is not answered yet, and until
/// their other side has heard it.
const GOES_TIMEOUT: Duration = Duration::from_secs(2);
/// How long those may take to hear it that have asked for nothing.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);
/// Connections that may be in their handshake, known or not, at one time (S1).
const MAX_HANDSHAKES: usize = 128;
/// Connections of members at one time.
const MAX_CONNECTIONS: usize = 4096;
/// Requests of one connection that may be answered later; more are not read meanwhile.
const MAX_LATER: usize = 256;
/// Waits of one connection; more are refused.
const MAX_WAITS: usize = 16_384;
const FLUSH_BYTES: usize = 256 << 10;
const READ_BYTES: usize = 64 << 10;

/// Who answers requests, by their kind.
#[derive(Default)]
pub struct Handlers {
    raft: OnceLock<Arc<dyn Handler>>,
    control: OnceLock<Arc<dyn Handler>>,
    forward: OnceLock<Arc<dyn Handler>>,
    publish: OnceLock<Arc<dyn Handler>>,
    wait: OnceLock<Arc<dyn Handler>>,
    replicate: OnceLock<Arc<dyn Handler>>,
}

impl Handlers {
    fn of(&self, kind: Kind) -> &OnceLock<Arc<dyn Handler>> {
        match kind {
            Kind::Raft => &self.raft,
            Kind::Control => &self.control,
            Kind::Forward => &self.forward,
            Kind::Publish => &self.publish,
            Kind::Wait => &self.wait,
            Kind::Replicate => &self.replicate,
        }
    }

    /// Lets `handler` answer from now on; whether nobody did before.
    pub fn set(&self, kind: Kind, handler: Arc<dyn Handler>) -> bool {
        self.of(kind).set(handler).is_ok()
    }
}

/// Answers other members' requests.
pub struct Server {
    listener: TcpListener,
    me: Arc<Identity>,
    secret: Secret,
    handlers: Arc<Handlers>,
    loops: Loops,
}

impl Server {
    /// Listens. Connections that replicate or forward are served on the loops, the others where this runs.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        me: Arc<Identity>,
        secret: Secret,
        handlers: Arc<Handlers>,
        loops: Loops,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, me, secret, handlers, loops })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As the system has it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is true or dropped.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the caller left already.
                    tracing::warn!(
                        action = "peer-not-accepted",
                        %error,
                        "a member's connection was not accepted"
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let permit = handshakes.clone().try_acquire_owned();
            let (Ok(permit), true) = (permit, connections.len() < MAX_CONNECTIONS) else {
                tracing::warn!(
                    action = "peer-refused",
                    source = %from,
                    "too many connections of members"
                );
                continue;
            };
            let (me, secret) = (self.me.clone(), self.secret.clone());
            let (handlers, loops) = (self.handlers.clone(), self.loops.clone());
            let stopping = stop.clone();
            connections.spawn(async move {
                let mut stream = stream;
                let greeted = timeout(HANDSHAKE_TIMEOUT, wire::welcome(&mut stream, &me, &secret));
                let member = match greeted.await {
                    Ok(Ok(member)) => member,
                    Ok(Err(error)) => {
                        tracing::debug!(
                            action = "peer-refused",
                            source = %from,
                            %error,
                            "a caller was refused"
                        );
                        return None;
                    }
                    Err(_) => return None,
                };
                drop(permit);
                place(stream, member, handlers, &loops, stopping).await.unwrap_or_else(|error| {
                    tracing::debug!(
                        action = "peer-disconnected",
                        source = %from,
                        %error,
                        "a member's connection ended"
                    );
                    None
                })
            });
        }
        // Nobody else begins to talk to this member. Who talks to it hears how far it was listened to.
        drop(self.listener);
        let mut idle = Vec::new();
        let ended = async {
            while let Some(ended) = connections.join_next().await {
                idle.extend(ended.ok().flatten());
            }
        };
        if timeout(GOES_TIMEOUT, ended).await.is_err() {
            connections.shutdown().await;
        }
        // Others know by these that the process is there: they end last.
        let end = futures::future::join_all(idle.into_iter().map(take_leave));
        let _ = timeout(LEAVE_TIMEOUT, end).await;
    }
}

/// Ends a connection on which nothing was asked until now.
async fn take_leave(mut stream: TcpStream) -> io::Result<()> {
    let mut out = BytesMut::new();
    wire::put_frame(&mut out, 0, wire::STATUS_GOES, &[]);
    stream.write_all(&out).await?;
    end(stream.split(), out).await
}

/// Ends a connection when its caller does. What comes meanwhile is thrown away: a socket that is closed with something
/// unread in it takes back what was written.
async fn end(
    (mut read, mut write): (ReadHalf<'_>, WriteHalf<'_>),
    mut input: BytesMut,
) -> io::Result<()> {
    write.shutdown().await?;
    input.clear();
    while read.read_buf(&mut input).await? > 0 {
        input.clear();
    }
    Ok(())
}

/// Spreads connections that forward over the loops.
static NEXT_LOOP: AtomicU64 = AtomicU64::new(0);

/// Answers one connection's requests: here, or on an I/O loop, if it replicates or forwards: what it asks for is what
/// clients' connections do there.
///
/// Gives it back if it has asked for nothing until this member stops.
async fn place(
    stream: TcpStream,
    from: MemberId,
    handlers: Arc<Handlers>,
    loops: &Loops,
    mut stop: watch::Receiver<bool>,
) -> io::Result<Option<TcpStream>> {
    super::tune(&stream)?;
    let mut head = [0; wire::FRAME_HEAD_BYTES];
    // Of less than a head nothing is known; it is served here all the same.
    let is_whole = tokio::select! {
        peeked = stream.peek(&mut head) => peeked? == head.len(),
        // It has asked for nothing. Who only holds it hears the end of the process by it: not sooner.
        _ = stop.wait_for(|stop| *stop) => return Ok(Some(stream)),
    };
    let number = match Kind::parse(wire::tag(&head)).filter(|_| is_whole && !loops.is_empty()) {
        Some(Kind::Replicate) => from,
        Some(Kind::Forward | Kind::Publish) => NEXT_LOOP.fetch_add(1, Ordering::Relaxed),
        _ => return serve(stream, from, &handlers, stop).await.map(|()| None),
    };
    let stream = stream.into_std()?;
    // It ends with this one.
    let mut there = JoinSet::new();
    let answers = async move { serve(TcpStream::from_std(stream)?, from, &handlers, stop).await };
    there.spawn_on(answers, &loops.of(number));
    match there.join_next().await {
        Some(ended) => ended.unwrap_or_else(|error| Err(error.into())).map(|()| None),
        None => Ok(None),
    }
}

/// Answers one connection's requests.
async fn serve(
    mut stream: TcpStream,
    from: MemberId,
    handlers: &Handlers,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let (mut read, mut write) = stream.split();
    let mut last = None;
    let (done, mut answered) = mpsc::channel::<Late>(MAX_LATER);
    let mut later = 0usize;
    // They end with the connection: nobody would hear of what they take.
    let mut waits = JoinSet::new();
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut out = BytesMut::with_capacity(READ_BYTES);
    loop {
        while later < MAX_LATER
            && let Some(frame) = wire::take_frame(&mut input)?
        {
            last = Some(frame.number);
            if let Some((number, answer, waits_long)) = dispatch(handlers, from, frame, &mut out)? {
                let done = done.clone();
                let answered = async move {
                    let reply = answer.await;
                    let _ = done.send(Late { number, reply, waits_long }).await;
                };
                if !waits_long {
                    later += 1;
                    tokio::spawn(answered);
                } else if waits.len() < MAX_WAITS {
                    waits.spawn(answered);
                } else {
                    put_reply(&mut out, number, &Err("too many clients wait".to_owned()));
                }
            }
            if out.len() >= FLUSH_BYTES {
                flush(&mut write, &mut out).await?;
            }
        }
        while let Ok(Late { number, reply, waits_long }) = answered.try_recv() {
            later -= usize::from(!waits_long);
            put_reply(&mut out, number, &reply);
            if out.len() >= FLUSH_BYTES {
                flush(&mut write, &mut out).await?;
            }
        }
        flush(&mut write, &mut out).await?;
        if input.capacity() - input.len() < READ_BYTES / 4 {
            input.reserve(READ_BYTES);
        }
        tokio::select! {
            got = read.read_buf(&mut input), if later < MAX_LATER => if got? == 0 {
                break;
            },
            Some(Late { number, reply, waits_long }) = answered.recv() => {
                later -= usize::from(!waits_long);
                put_reply(&mut out, number, &reply);
            }
            _ = stop.wait_for(|stop| *stop) => {
                if let Some(number) = last {
                    wire::put_frame(&mut out, number, wire::STATUS_GOES, &[]);
                }
                break;
            }
        }
        while waits.try_join_next().is_some() {}
    }
    drop(waits);
    flush(&mut write, &mut out).await?;
    // The caller sends no more, but may wait for what it asked.
    while later > 0
        && let Some(Late { number, reply, waits_long }) = answered.recv().await
    {
        later -= usize::from(!waits_long);
        put_reply(&mut out, number, &reply);
        flush(&mut write, &mut out).await?;
    }
    end((read, write), input).await
}

/// A reply that came later.
struct Late {
    number: u32,
    reply: Result<Bytes, String>,
    /// Whether it was one of those that are not counted, because they may take for ever.
    waits_long: bool,
}

type Later = std::pin::Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

fn dispatch(
    handlers: &Handlers,
    from: MemberId,
    frame: Frame,
    out: &mut BytesMut,
) -> io::Result<Option<(u32, Later, bool)>> {
    let Frame { number, tag, payload } = frame;
    let Some(kind) = Kind::parse(tag) else {
        let message = format!("a request of the unknown kind {tag}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    };
    let Some(handler) = handlers.of(kind).get() else {
        put_reply(out, number, &Err("this member is starting".to_owned()));
        return Ok(None);
    };
    let start = wire::begin_frame(out, number);
    let refused = match handler.call(from, payload, out) {
        Answer::Now => match wire::end_frame(out, start) {
            Ok(()) => return Ok(None),
            Err(error) => error.to_string(),
        },
        Answer::Later(answer) => {
            out.truncate(start);
            return Ok(Some((number, answer, kind == Kind::Wait)));
        }
        Answer::Refused(reason) => reason,
    };
    out.truncate(start);
    put_reply(out, number, &Err(refused));
    Ok(None)
}

fn put_reply(out: &mut BytesMut, number: u32, reply: &Result<Bytes, String>) {
    match reply {
        Ok(payload) if payload.len() <= super::MAX_PAYLOAD_BYTES => {
            wire::put_frame(out, number, wire::STATUS_REPLY, payload);
        }
        Ok(payload) => {
            let error = super::Error::TooLarge { bytes: payload.len() };
            wire::put_frame(out, number, wire::STATUS_REFUSED, error.to_string().as_bytes());
        }
        Err(reason) => wire::put_frame(out, number, wire::STATUS_REFUSED, reason.as_bytes()),
    }
}

async fn flush(write: &mut WriteHalf<'_>, out: &mut BytesMut) -> io::Result<()> {
    let mut bytes = &out[..];
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(1 << 20));
        timeout(WRITE_TIMEOUT, write.write_all(piece)).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "it takes no replies any more")
        })??;
        bytes = rest;
    }
    out.clear();
    if out.capacity() > 16 * FLUSH_BYTES {
        *out = BytesMut::with_capacity(READ_BYTES);
    }
    Ok(())
}
