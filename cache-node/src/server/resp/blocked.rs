//! A connection whose command waits: for its keys, or for the disk.
//!
//! Meanwhile its client can go away, be told what was published, be unblocked by another client, and send
//! more: that is kept, within a bound, and run afterwards. Its loop goes on with the other connections.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use hypercache_core::command::{Run, ShellCommand, Spec};
use hypercache_core::resp::Writer;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::sync::oneshot;

use super::Loop;
use super::accounting::{Served, account};
use super::clients::Client;
use super::commands::replication::Waited;
use super::commands::{persistence, replication};
use super::connection::{Connection, INPUT};
use crate::clock::now_ms;
use crate::replica::Written;
use crate::router::{STOPPED, Unblock, wire};
use crate::server::stats::ticks;

/// What a client may send behind a command that waits; more stays with the kernel.
const MAX_KEPT_BYTES: usize = 1 << 20;
/// How often it is looked whether a client that has sent as much is still there.
const LOOK: Duration = Duration::from_secs(1);

/// A client that waits, as others see it.
struct Blocks<'a> {
    shared: &'a Loop,
    client: &'a Client,
}

impl<'a> Blocks<'a> {
    fn begin(shared: &'a Loop, client: &'a Client) -> Self {
        client.waits.store(true, Relaxed);
        // The command counts when it ends.
        client.add_commands(1u64.wrapping_neg());
        shared.clients.count_blocked(true);
        Self { shared, client }
    }
}

impl Drop for Blocks<'_> {
    fn drop(&mut self) {
        self.client.waits.store(false, Relaxed);
        self.client.add_commands(1);
        self.client.take_unblock();
        self.shared.clients.count_blocked(false);
    }
}

impl Connection {
    /// Runs a command that may wait for its keys or the disk, the first of the input and `len` bytes of it, and
    /// appends its reply to `out`. What `out` has already is sent before it waits.
    ///
    /// # Errors
    /// The client has left.
    pub(super) async fn block(
        &mut self,
        spec: &'static Spec,
        len: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let rest = self.input.split_off(len);
        let frame = std::mem::replace(&mut self.input, rest);
        // Out of `self`, with the arguments that it found.
        let mut parser = std::mem::take(&mut self.parser);
        let args: wire::Args<'_> = parser.args(&frame);
        let (router, client) = (self.shared.router.clone(), self.session.client.clone());
        let shared = self.shared.clone();
        let (unblock, unblocked) = oneshot::channel();
        let unblocked = async {
            match unblocked.await {
                Ok(unblock) => unblock,
                Err(_) => std::future::pending().await,
            }
        };
        let (mut reply, began) = (Vec::new(), self.since);
        let took;
        let caller = self.session.caller();
        let asks = matches!(spec.run, Run::Shell(ShellCommand::Wait | ShellCommand::WaitAof));
        let written = if asks { self.session.written.clone() } else { Written::default() };
        let waited = Cell::new(Waited::TooFew);
        {
            let protocol = self.session.protocol;
            let mut waits = pin!(async {
                match spec.run {
                    Run::Shell(ShellCommand::WaitAof) => {
                        let writer = &mut Writer::new(&mut reply, protocol);
                        let on_disk =
                            persistence::wait_aof(&shared, &written, &args, unblocked, writer);
                        waited.set(on_disk.await);
                    }
                    Run::Shell(ShellCommand::Wait) => {
                        let writer = &mut Writer::new(&mut reply, protocol);
                        let wait = replication::wait(&shared, &written, &args, unblocked, writer);
                        waited.set(wait.await);
                    }
                    _ => router.block(spec, caller, &args, unblocked, &mut reply).await,
                }
            });
            let tried = waits.as_mut().now_or_never();
            took = ticks::now().saturating_sub(began);
            if tried.is_none() {
                client.set_unblock(unblock);
                let _blocks = Blocks::begin(&shared, &client);
                // What was answered before is the client's whatever comes now.
                self.send(out).await?;
                self.wait_for(waits, &client).await?;
            }
        }
        match waited.get() {
            Waited::Enough(have) => self.session.written.settle(have),
            Waited::TooFew => {}
            // It was told. What is written from now on is another thing.
            Waited::Lost => self.session.written = Written::default(),
        }
        // Nothing was taken, and as for Redis's clients a connection that ends is no news.
        if reply.get(1..).is_some_and(|text| text.starts_with(STOPPED.as_bytes())) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        client.last_ms.store(now_ms(), Relaxed);
        // To wait is no work.
        let span = shared.router.traces().current();
        let request = Served { spec, store: caller.store, args: &args, took, span: span.as_ref() };
        account(&shared, &client, request, &reply);
        let at = out.len();
        out.append(&mut reply);
        self.session.mute(at, out);
        drop(args);
        parser.reset();
        self.parser = parser;
        Ok(())
    }

    /// Waits for a reply while the client is there, and tells it what is published meanwhile.
    async fn wait_for(
        &mut self,
        mut waits: Pin<&mut impl Future<Output = ()>>,
        client: &Arc<Client>,
    ) -> io::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            let outbox = self.session.subscriber.as_ref().map(|s| s.outbox().clone());
            let step = poll_fn(|cx| match waits.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(())),
                Poll::Pending => self.poll_left(cx, client, &mut look).map(Err),
            });
            let mut messages = match outbox {
                None => return step.await,
                Some(outbox) => match outbox.or_messages(step).await {
                    Ok(ended) => return ended,
                    Err(messages) => messages,
                },
            };
            self.send(&mut messages).await?;
        }
    }

    /// Ready when the client has left; keeps what it sends until then.
    fn poll_left(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
        look: &mut tokio::time::Interval,
    ) -> Poll<io::Error> {
        let left = || io::Error::new(io::ErrorKind::ConnectionAborted, "it left while it waited");
        while self.input.len() < MAX_KEPT_BYTES {
            let read = INPUT.with_borrow_mut(|shared| {
                let mut buf = ReadBuf::new(shared);
                match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) => {
                        self.input.extend_from_slice(buf.filled());
                        Poll::Ready(Ok(buf.filled().len()))
                    }
                }
            });
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Ready(Ok(0)) => return Poll::Ready(left()),
                Poll::Ready(Ok(bytes)) => {
                    self.received(bytes);
                    client.input_bytes.store(self.input.len() as u64, Relaxed);
                }
            }
        }
        while look.poll_tick(cx).is_ready() {
            let ready = self.stream.ready(Interest::READABLE).now_or_never();
            if ready.is_some_and(|ready| ready.is_ok_and(|ready| ready.is_read_closed())) {
                return Poll::Ready(left());
            }
        }
        Poll::Pending
    }
}

/// Lets a client's wait end, if it waits; whether it does.
pub fn unblock(client: &Client, how: Unblock) -> bool {
    client.take_unblock().is_some_and(|unblock| unblock.send(how).is_ok())
}
