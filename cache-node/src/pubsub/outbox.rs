//! What one subscriber has still to be told, bounded in bytes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::now_ms;
use crate::server::resp::clients::Client;
use crate::server::stats::{Count, Stats};

/// A subscriber for whom more than this waits is closed (Redis's `client-output-buffer-limit`).
pub const HARD_BYTES: usize = 32 << 20;
/// A subscriber for whom more than this waits for [`SOFT_MS`] is closed.
pub const SOFT_BYTES: usize = 8 << 20;
/// How long more than [`SOFT_BYTES`] may wait, in milliseconds.
pub const SOFT_MS: u64 = 60_000;
/// Also where no limit is asked for, this is one.
const MOST_BYTES: u64 = 1 << 30;

/// The bounds in force; CONFIG SET changes them while subscribers listen.
#[derive(Debug)]
pub struct Limits {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_ms: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hard_bytes: AtomicU64::new(HARD_BYTES as u64),
            soft_bytes: AtomicU64::new(SOFT_BYTES as u64),
            soft_ms: AtomicU64::new(SOFT_MS),
        }
    }
}

impl Limits {
    /// Bytes at once, bytes for a time, that time in seconds; as they were set.
    pub fn in_force(&self) -> [u64; 3] {
        [
            self.hard_bytes.load(Relaxed),
            self.soft_bytes.load(Relaxed),
            self.soft_ms.load(Relaxed) / 1000,
        ]
    }

    /// Puts bounds in force; 0 bytes is no bound but for the one that always holds.
    pub fn set(&self, [hard_bytes, soft_bytes, soft_seconds]: [u64; 3]) {
        self.hard_bytes.store(hard_bytes, Relaxed);
        self.soft_bytes.store(soft_bytes, Relaxed);
        self.soft_ms.store(soft_seconds.saturating_mul(1000), Relaxed);
    }

    fn bytes(limit: &AtomicU64) -> usize {
        match limit.load(Relaxed) {
            0 => MOST_BYTES as usize,
            bytes => bytes.min(MOST_BYTES) as usize,
        }
    }

    fn hard_bytes(&self) -> usize {
        Self::bytes(&self.hard_bytes)
    }

    fn soft_bytes(&self) -> usize {
        Self::bytes(&self.soft_bytes)
    }

    fn soft_ms(&self) -> u64 {
        self.soft_ms.load(Relaxed)
    }
}

/// How often it is looked whether a client that takes nothing is over the soft bound too long.
const LOOK: Duration = Duration::from_secs(1);

/// Messages on their way from any thread to one connection.
#[derive(Debug)]
pub struct Outbox {
    /// Whose messages they are.
    client: Arc<Client>,
    stats: Arc<Stats>,
    limits: Arc<Limits>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Messages that the connection has not taken.
    waiting: Vec<u8>,
    /// Bytes that it has taken and not written yet.
    taken_bytes: usize,
    /// Since when more than the soft bound is unsent, in Unix milliseconds.
    over_since_ms: Option<u64>,
    closed: bool,
    waker: Option<Waker>,
}

impl State {
    fn unsent_bytes(&self) -> usize {
        self.waiting.len() + self.taken_bytes
    }

    fn take(&mut self, out: &mut Vec<u8>) {
        self.taken_bytes += self.waiting.len();
        if out.is_empty() {
            *out = std::mem::take(&mut self.waiting);
        } else {
            out.append(&mut self.waiting);
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It waits to be written.
    Waits,
    /// It is one too many: the client must be closed, by [`Outbox::close`].
    TooMuch,
    /// The client is being closed already.
    Closed,
}

impl Outbox {
    /// An empty one.
    pub fn new(client: Arc<Client>, stats: Arc<Stats>, limits: Arc<Limits>) -> Self {
        Self { client, stats, limits, state: Mutex::default() }
    }

    /// The number of the client whose messages these are.
    pub fn client_id(&self) -> u64 {
        self.client.id
    }

    /// Adds a message that is written as a push of RESP3. Wakes the connection and never waits for
    /// it.
    pub fn push(&self, frame: &[u8]) -> Pushed {
        self.push_at(frame, now_ms)
    }

    fn push_at(&self, frame: &[u8], now_ms: impl FnOnce() -> u64) -> Pushed {
        let waker = {
            let mut state = self.state.lock();
            if state.closed {
                return Pushed::Closed;
            }
            let unsent = state.unsent_bytes() + frame.len();
            let mut too_much = unsent > self.limits.hard_bytes();
            if unsent <= self.limits.soft_bytes() {
                state.over_since_ms = None;
            } else {
                let now_ms = now_ms();
                let since_ms = *state.over_since_ms.get_or_insert(now_ms);
                too_much |= now_ms.saturating_sub(since_ms) > self.limits.soft_ms();
            }
            if too_much {
                state.closed = true;
                state.waiting = Vec::new();
                return Pushed::TooMuch;
            }
            let at = state.waiting.len();
            state.waiting.extend_from_slice(frame);
            // RESP2 has no pushes: they are arrays there, and nothing else differs.
            if self.client.protocol.load(Relaxed) != 3
                && let Some(kind) = state.waiting.get_mut(at)
            {
                *kind = b'*';
            }
            self.client.output_bytes.store(unsent as u64, Relaxed);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Pushed::Waits
    }

    /// Ends the connection of a subscriber that reads too slowly.
    pub fn close(&self) {
        self.count_close();
        self.client.kill();
    }

    fn count_close(&self) {
        self.stats.shared().add(Count::SlowSubscribersClosed, 1);
        let unsent_bytes = self.client.output_bytes.load(Relaxed);
        tracing::warn!(
            action = "subscriber-closed",
            client = self.client.id,
            source = %self.client.addr,
            unsent_bytes,
            "a subscriber reads too slowly: connection closed"
        );
    }

    /// Moves what waits behind `out`.
    pub fn drain(&self, out: &mut Vec<u8>) {
        let mut state = self.state.lock();
        if !state.waiting.is_empty() {
            state.take(out);
        }
    }

    /// Moves what waits to the offset `at` of `out`.
    pub fn drain_at(&self, at: usize, out: &mut Vec<u8>) {
        let mut waiting = Vec::new();
        self.drain(&mut waiting);
        if !waiting.is_empty() {
            out.splice(at..at, waiting);
        }
    }

    /// Waits for `write`, which writes all that was taken.
    ///
    /// # Errors
    /// Those of `write`, and that the client was over the soft bound for too long.
    pub async fn written(&self, write: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let mut write = pin!(write);
        loop {
            if let Ok(written) = tokio::time::timeout(LOOK, write.as_mut()).await {
                self.sent();
                return written;
            }
            if self.is_overdue(now_ms()) {
                self.count_close();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it reads too slowly"));
            }
        }
    }

    fn is_overdue(&self, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        let is_over = |since_ms| now_ms.saturating_sub(since_ms) > self.limits.soft_ms();
        let overdue = !state.closed && state.over_since_ms.is_some_and(is_over);
        state.closed |= overdue;
        overdue
    }

    fn sent(&self) {
        let mut state = self.state.lock();
        if state.taken_bytes > 0 {
            state.taken_bytes = 0;
            if state.waiting.len() <= self.limits.soft_bytes() {
                state.over_since_ms = None;
            }
            self.client.output_bytes.store(state.waiting.len() as u64, Relaxed);
        }
    }

    /// Waits for `read` or for messages, whichever comes first; `read` first when both are there,
    /// so that a flood of messages does not keep a client from being heard.
    ///
    /// # Errors
    /// The messages, not an error as such.
    pub async fn or_messages<T>(&self, read: impl Future<Output = T>) -> Result<T, Vec<u8>> {
        let mut read = pin!(read);
        std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(Ok(read)),
            Poll::Pending => self.poll_take(cx).map(Err),
        })
        .await
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut out = Vec::new();
        state.take(&mut out);
        Poll::Ready(out)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.client.output_bytes.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::resp::clients::Clients;
    use futures::future::{pending, ready};

    fn outbox(protocol: u8) -> Outbox {
        let addr = ([127, 0, 0, 1], 1).into();
        let client = Clients::default().enter(addr, addr, 0, true);
        client.protocol.store(protocol, Relaxed);
        Outbox::new(client, Arc::new(Stats::new(1)), Arc::default())
    }

    #[test]
    fn messages_come_out_in_order_in_the_clients_protocol() {
        for (protocol, wanted) in [(2, b"*1*2"), (3, b">1>2")] {
            let outbox = outbox(protocol);
            assert_eq!(outbox.push(b">1"), Pushed::Waits);
            assert_eq!(outbox.push(b">2"), Pushed::Waits);
            let mut out = b"+OK".to_vec();
            outbox.drain(&mut out);
            assert_eq!(&out[3..], wanted);
        }
    }

    #[test]
    fn what_is_taken_counts_until_it_is_written() {
        let outbox = outbox(3);
        let frame = vec![b'>'; HARD_BYTES / 2];
        outbox.push(&frame);
        outbox.drain(&mut Vec::new());
        assert_eq!(outbox.client.output_bytes.load(Relaxed), frame.len() as u64);
        outbox.sent();
        assert_eq!(outbox.client.output_bytes.load(Relaxed), 0);
        outbox.push(&frame);
        outbox.drain(&mut Vec::new());
        outbox.push(&frame);
        assert_eq!(outbox.push(b">"), Pushed::TooMuch);
        assert_eq!(outbox.push(b">"), Pushed::Closed);
        assert_eq!(outbox.state.lock().waiting.capacity(), 0, "the memory goes at once");
    }

    #[test]
    fn the_soft_bound_holds_only_for_those_that_stay_over_it() {
        let frame = vec![b'>'; SOFT_BYTES];
        let slow = outbox(3);
        let quick = outbox(3);
        for outbox in [&slow, &quick] {
            outbox.push_at(&frame, || 1000);
            assert_eq!(outbox.push_at(b">", || 1000), Pushed::Waits);
            assert_eq!(outbox.push_at(b">", || 1000 + SOFT_MS), Pushed::Waits);
        }
        quick.drain(&mut Vec::new());
        quick.sent();
        assert_eq!(quick.push_at(b">", || 1001 + SOFT_MS), Pushed::Waits);
        let stuck = outbox(3);
        stuck.push_at(&frame, || 1000);
        stuck.push_at(b">", || 1000);
        assert!(!stuck.is_overdue(1000 + SOFT_MS));
        assert!(stuck.is_overdue(1001 + SOFT_MS), "also when nothing more is published");
        assert_eq!(stuck.push(b">"), Pushed::Closed);
        assert_eq!(slow.push_at(b">", || 1001 + SOFT_MS), Pushed::TooMuch);
    }

    #[test]
    fn bounds_change_while_a_subscriber_listens_and_never_go_away() {
        let outbox = outbox(3);
        outbox.limits.set([100, 0, 0]);
        outbox.push(&[b'>'; 60]);
        outbox.limits.set([50, 10, 5]);
        assert_eq!(outbox.limits.in_force(), [50, 10, 5]);
        assert_eq!(outbox.push(b">"), Pushed::TooMuch);
        outbox.limits.set([0, 0, 0]);
        assert_eq!(outbox.limits.hard_bytes() as u64, MOST_BYTES);
    }

    #[tokio::test]
    async fn a_connection_hears_its_client_first_and_then_its_messages() {
        let outbox = Arc::new(outbox(3));
        outbox.push(b">1");
        assert_eq!(outbox.or_messages(ready(7)).await, Ok(7));
        assert_eq!(outbox.or_messages(pending::<u8>()).await, Err(b">1".to_vec()));
        let later = outbox.clone();
        let hears = tokio::spawn(async move { later.or_messages(pending::<u8>()).await });
        tokio::task::yield_now().await;
        outbox.push(b">2");
        assert_eq!(hears.await.unwrap(), Err(b">2".to_vec()));
    }
}
