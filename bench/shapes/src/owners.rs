//! Threads that own slots: each has its own keyspace, and asks the others for what they own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::yield_now;

use anyhow::Result;
use hypercache_core::cluster::slot_of;

use crate::load::{BATCH, Engine, Op, Source};
use crate::{Took, timed};

/// Batches that a thread has under way, as of so many connections.
const UNDER_WAY: usize = 25;

/// One engine for each thread.
pub struct Owners {
    engines: Vec<Arc<Engine>>,
}

/// What threads say to each other.
enum Message {
    /// Run these, and answer.
    Ask { from: usize, ops: Vec<Op> },
    /// The replies.
    Answer(Vec<u8>),
    /// The sender asks nothing more.
    Done,
}

impl Owners {
    /// Engines that share the keys by slot.
    pub fn new(threads: usize, keys: u64, value_bytes: usize) -> Result<Self> {
        let engines = (0..threads).map(|own| {
            Engine::new(keys, value_bytes, |key| owner(key, threads) == own).map(Arc::new)
        });
        Ok(Self { engines: engines.collect::<Result<_>>()? })
    }

    /// Every thread runs `batches` batches, its own part here and the others' parts there.
    pub fn run(&self, batches: usize, keys: u64, seed: u64) -> Result<Took> {
        let threads = self.engines.len();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| sync_channel(4 * UNDER_WAY * threads)).unzip();
        let receivers: Vec<_> =
            receivers.into_iter().map(|r| std::sync::Mutex::new(Some(r))).collect();
        timed(threads, |me| {
            let receiver = receivers[me].lock().ok().and_then(|mut held| held.take());
            let mut thread = Thread {
                me,
                engine: Arc::clone(&self.engines[me]),
                senders: senders.clone(),
                under_way: 0,
                done: 0,
                out: Vec::new(),
            };
            move || {
                if let Some(receiver) = receiver {
                    let source = Source::new(seed * 1000 + me as u64, keys);
                    thread.run(&receiver, source, batches);
                }
            }
        })
    }
}

fn owner(key: &[u8], threads: usize) -> usize {
    usize::from(slot_of(key)) % threads
}

struct Thread {
    me: usize,
    engine: Arc<Engine>,
    senders: Vec<SyncSender<Message>>,
    under_way: usize,
    done: usize,
    out: Vec<u8>,
}

impl Thread {
    fn run(&mut self, receiver: &Receiver<Message>, mut source: Source, batches: usize) {
        let threads = self.senders.len();
        let mut parts: Vec<Vec<Op>> = vec![Vec::with_capacity(BATCH); threads];
        for _ in 0..batches {
            for _ in 0..BATCH {
                let op = source.op();
                parts[owner(&op.key, threads)].push(op);
            }
            for (to, part) in parts.iter_mut().enumerate() {
                if part.is_empty() {
                    continue;
                }
                if to == self.me {
                    self.out.clear();
                    self.engine.batch(part, &mut self.out);
                    part.clear();
                } else {
                    let ops = std::mem::replace(part, Vec::with_capacity(BATCH));
                    self.under_way += 1;
                    self.send(to, Message::Ask { from: self.me, ops }, receiver);
                }
            }
            while let Ok(message) = receiver.try_recv() {
                self.hear(message, receiver);
            }
            while self.under_way >= UNDER_WAY {
                self.wait(receiver);
            }
        }
        while self.under_way > 0 {
            self.wait(receiver);
        }
        let me = self.me;
        for to in (0..threads).filter(|to| *to != me) {
            self.send(to, Message::Done, receiver);
        }
        while self.done + 1 < threads {
            self.wait(receiver);
        }
    }

    fn wait(&mut self, receiver: &Receiver<Message>) {
        match receiver.try_recv() {
            Ok(message) => self.hear(message, receiver),
            Err(_) => yield_now(),
        }
    }

    fn hear(&mut self, message: Message, receiver: &Receiver<Message>) {
        match message {
            Message::Ask { from, ops } => {
                let mut out = Vec::with_capacity(ops.len() * 80);
                self.engine.batch(&ops, &mut out);
                self.send(from, Message::Answer(out), receiver);
            }
            Message::Answer(replies) => {
                self.out.clear();
                self.out.extend_from_slice(&replies);
                self.under_way -= 1;
            }
            Message::Done => self.done += 1,
        }
    }

    /// Sends; what comes meanwhile is heard, so that two full channels do not wait for each other.
    fn send(&mut self, to: usize, message: Message, receiver: &Receiver<Message>) {
        let mut message = message;
        loop {
            match self.senders[to].try_send(message) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => {
                    message = back;
                    self.wait(receiver);
                }
            }
        }
    }
}
