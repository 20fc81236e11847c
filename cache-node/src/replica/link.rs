//! A link's connection: its sessions, its cycles on their way, and what the peer says of them.
//!
//! Requests of a link reach the peer in the order in which they are sent, as long as the connection holds.
//! After that the peer is asked how far it is; what it has not done is sent again, or a session begins.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::*;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hypercache_core::cluster::Member;
use hypercache_core::replica::{Cycle, Link, Refused};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::attach::Attaching;
use super::handle::{LinkState, count};
use super::wire::{self, Head, Refusal, Said};
use super::{Bell, Context};
use crate::peer::{self, Kind};

/// How long a peer may take to say how far it is.
const HELLO: Duration = Duration::from_secs(2);
/// Between two attempts to reach it.
const BACKOFF: Duration = Duration::from_millis(100);
/// How often it is looked for what no bell tells of.
const TICK: Duration = Duration::from_millis(50);
/// A peer is asked so often whether it is there, and knows the session: it may have been started again between
/// two cycles.
const PING: Duration = Duration::from_millis(300);
/// So many cycles are on their way at once.
const MOST_CYCLES: usize = 4;
/// While one is on its way, what comes goes together with the next, which waits for its answer, but not for longer
/// than this: a peer that is near answers sooner, and takes few cycles with much in them; one that is far does not
/// make writers wait for two ways.
const GATHER: Duration = Duration::from_millis(1);

/// What was asked.
pub(super) enum Asked {
    Cycle { session: u64, number: u64 },
    Positions,
    Piece { slot: u16, attachment: u64, is_last: bool, bytes: usize },
    Ping,
}

type Answer = (Asked, Result<Bytes, peer::Error>);

/// What is on its way.
#[derive(Default)]
pub(super) struct OnTheWay {
    answers: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    cycles: usize,
    pings: usize,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Peer(#[from] peer::Error),
    #[error("an answer that makes no sense")]
    Nonsense,
    #[error("{0}")]
    Encoding(#[from] postcard::Error),
    #[error("the session is over")]
    Session,
    #[error("no randomness")]
    Randomness,
    #[error("it is not in the cluster's table")]
    Unknown,
    #[error("the member stops")]
    Stopped,
}

/// One link, as its sender has it.
pub(super) struct Sender {
    pub context: Arc<Context>,
    pub link: Arc<Link>,
    pub state: Arc<LinkState>,
    pub on_the_way: OnTheWay,
    pub to: Member,
    pub session: u64,
    /// The last cycle that was sent over this connection, or before it.
    pub sent: u64,
    /// When.
    pub sent_at: Instant,
}

/// Serves a link until the member stops.
pub(super) async fn drive(context: Arc<Context>, link: Arc<Link>, bell: Arc<Bell>) {
    let state = context.handle.state_of(link.member());
    let mut stop = context.stop.clone();
    loop {
        let ended = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            ended = connected(&context, &link, &state, &bell) => ended,
        };
        if state.is_up.swap(false, AcqRel) {
            let name = context.name_of(link.member());
            tracing::info!(
                action = "replica-link-broke",
                member = name,
                reason = %ended,
                "the link to a replica broke"
            );
        }
        let is_gone = matches!(&ended, Broken::Peer(peer::Error::Unreachable { sent, reason, .. })
            if !sent && reason.contains("refused") || reason == peer::STOPS);
        state.is_gone.store(is_gone, Release);
        state.attend.notify_one();
        if is_gone {
            // Whoever waits for it need not wait any longer.
            tracing::debug!(
                action = "replica-not-there",
                member = context.name_of(link.member()),
                "nobody listens at a replica's address"
            );
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(BACKOFF) => {}
        }
    }
}

async fn connected(
    context: &Arc<Context>,
    link: &Arc<Link>,
    state: &Arc<LinkState>,
    bell: &Bell,
) -> Broken {
    let Some(to) = context.reach(link.member()) else { return Broken::Unknown };
    let mut sender = Sender {
        context: context.clone(),
        link: link.clone(),
        state: state.clone(),
        on_the_way: OnTheWay::default(),
        to,
        session: 0,
        sent: 0,
        sent_at: Instant::now(),
    };
    match sender.greet().await {
        Ok(()) => match sender.run(bell).await {
            Ok(()) => Broken::Stopped,
            Err(broken) => broken,
        },
        Err(broken) => broken,
    }
}

impl Sender {
    async fn call(&mut self, head: &Head) -> Result<Said, Broken> {
        let request = wire::request(head, |_| {})?;
        let deadline = Instant::now() + HELLO;
        let reply = self.context.peers.call(&self.to, Kind::Replicate, request, deadline).await?;
        wire::said(&reply).ok_or(Broken::Nonsense)
    }

    /// Goes on with the session, or begins one.
    async fn greet(&mut self) -> Result<(), Broken> {
        let session = self.link.session();
        let mut begins = session == 0;
        if !begins {
            match self.call(&Head::Hello { session }).await? {
                Said::Known { incarnation, number, refused } => {
                    self.state.incarnation.store(incarnation, Release);
                    self.session = session;
                    self.refused(refused);
                    self.sent = number;
                    if number > 0 {
                        self.link.confirm(session, number);
                    }
                    count(&self.state.counters.resumed, 1);
                    for cycle in self.link.unconfirmed_after(number) {
                        count(&self.state.counters.resent, 1);
                        self.send_cycle(&cycle)?;
                    }
                }
                Said::Unknown { .. } => begins = true,
                _ => return Err(Broken::Nonsense),
            }
        }
        if begins {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(|_| Broken::Randomness)?;
            let session = u64::from_le_bytes(bytes).max(1);
            // What was said to be there before is not, until the session has begun.
            self.link.open(0);
            match self.call(&Head::Begin { session }).await? {
                Said::Known { incarnation, .. } => {
                    self.state.incarnation.store(incarnation, Release);
                }
                _ => return Err(Broken::Nonsense),
            }
            self.link.open(session);
            count(&self.state.counters.sessions, 1);
            self.session = session;
        }
        self.state.is_well();
        self.state.is_gone.store(false, Release);
        if !self.state.is_up.swap(true, AcqRel) {
            tracing::info!(
                action = "replica-link-stands",
                member = self.to.name,
                begins,
                session = format_args!("{:016x}", self.session),
                "the link to a replica stands"
            );
        }
        Ok(())
    }

    async fn run(&mut self, bell: &Bell) -> Result<(), Broken> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut attaching = Attaching::default();
        let (mut pinged, mut looked) = (Instant::now(), Instant::now() - TICK);
        let mut epoch = 0;
        let mut gathered = pin!(sleep_until(Instant::now()));
        let mut paused = pin!(sleep_until(Instant::now()));
        loop {
            self.pump()?;
            // A table that changed rings the bell. What a new primary has to attach keeps writers waiting.
            let table = self.context.serving.epoch();
            if looked.elapsed() >= TICK || table != epoch || attaching.is_more() {
                (looked, epoch) = (Instant::now(), table);
                attaching.look(self)?;
            }
            let goes_on = attaching.go_on(self)?;
            if self.on_the_way.answers.is_empty() {
                self.state.is_well();
            }
            if pinged.elapsed() >= PING && self.on_the_way.pings == 0 {
                pinged = Instant::now();
                self.on_the_way.pings += 1;
                self.send(Asked::Ping, &Head::Hello { session: self.session }, |_| {})?;
            }
            // Else what was appended goes with the answer that is expected.
            let sends = self.may_send();
            let gathers = !sends && self.on_the_way.cycles < MOST_CYCLES;
            if gathers {
                gathered.as_mut().reset(self.sent_at + GATHER);
            }
            let pauses = attaching.pauses_until();
            if let Some(until) = pauses.filter(|until| *until != paused.deadline()) {
                paused.as_mut().reset(until);
            }
            tokio::select! {
                Some((asked, reply)) = self.on_the_way.answers.next() => {
                    self.answered(asked, reply, &mut attaching)?;
                    // All that came is looked at before anything is sent. (A timeout of nothing would wait for
                    // the timer's next millisecond.)
                    while let Some(Some((asked, reply))) =
                        self.on_the_way.answers.next().now_or_never()
                    {
                        self.answered(asked, reply, &mut attaching)?;
                    }
                }
                () = bell.rung(), if sends => {}
                () = gathered.as_mut(), if gathers => {}
                () = paused.as_mut(), if pauses.is_some() => {}
                _ = tick.tick() => {}
                () = std::future::ready(()), if goes_on => tokio::task::yield_now().await,
            }
        }
    }

    /// Sends what waits.
    pub(super) fn pump(&mut self) -> Result<(), Broken> {
        if self.link.session() != self.session {
            return Err(Broken::Session);
        }
        while self.may_send()
            && let Some(cycle) = self.link.take()
        {
            if cycle.session != self.session {
                return Err(Broken::Session);
            }
            self.send_cycle(&cycle)?;
        }
        Ok(())
    }

    fn may_send(&self) -> bool {
        let cycles = self.on_the_way.cycles;
        let is_due = || self.sent_at.elapsed() >= GATHER || self.link.pending().1;
        cycles == 0 || cycles < MOST_CYCLES && is_due()
    }

    fn send_cycle(&mut self, cycle: &Cycle) -> Result<(), Broken> {
        let Cycle { session, number, frames, .. } = cycle;
        let (session, number) = (*session, *number);
        let lens = frames.iter().map(|frame| u32::try_from(frame.len()).unwrap_or(u32::MAX));
        let head = Head::Cycle { session, number, frames: lens.collect() };
        self.on_the_way.cycles += 1;
        (self.sent, self.sent_at) = (number, Instant::now());
        count(&self.state.counters.cycles, 1);
        count(&self.state.counters.sent_bytes, cycle.bytes() as u64);
        self.send(Asked::Cycle { session, number }, &head, |out| {
            out.reserve(cycle.bytes());
            frames.iter().for_each(|frame| out.extend_from_slice(frame));
        })
    }

    pub(super) fn send(
        &mut self,
        asked: Asked,
        head: &Head,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Broken> {
        let request = wire::request(head, body)?;
        let pending = self.context.peers.send(&self.to, Kind::Replicate, 0, request)?;
        self.on_the_way.answers.push(Box::pin(async move { (asked, pending.await) }));
        Ok(())
    }

    fn answered(
        &mut self,
        asked: Asked,
        reply: Result<Bytes, peer::Error>,
        attaching: &mut Attaching,
    ) -> Result<(), Broken> {
        let said = wire::said(&reply?).ok_or(Broken::Nonsense)?;
        self.state.is_well();
        match (asked, said) {
            (Asked::Cycle { session, number }, Said::Done { refused }) => {
                self.on_the_way.cycles = self.on_the_way.cycles.saturating_sub(1);
                self.refused(refused);
                self.link.confirm(session, number);
                self.state.counters.confirmed.store(number, Relaxed);
                Ok(())
            }
            (Asked::Cycle { .. }, Said::Unknown { .. }) => Err(Broken::Session),
            (Asked::Ping, Said::Known { .. }) => {
                self.on_the_way.pings = 0;
                Ok(())
            }
            // Another process than that with which the session began, which has nothing of it.
            (Asked::Ping, Said::Unknown { .. }) => Err(Broken::Session),
            (Asked::Positions, Said::Positions(positions)) => {
                attaching.positions(self, &positions);
                Ok(())
            }
            (Asked::Piece { slot, attachment, is_last, bytes }, Said::Piece(came)) => {
                attaching.came(self, slot, attachment, is_last, bytes, came);
                Ok(())
            }
            _ => Err(Broken::Nonsense),
        }
    }

    /// The peer did not take records of slots.
    fn refused(&self, refused: Vec<Refusal>) {
        count(&self.state.counters.refused, refused.len() as u64);
        for (slot, why) in refused.into_iter().map(wire::refusal) {
            if why == Refused::Differs {
                tracing::warn!(
                    action = "replica-differs",
                    slot,
                    member = self.to.name,
                    "a replica's copy of a slot is not what this member holds: it gets the slot anew"
                );
            }
            if self.context.keyspace.refused(slot, &self.link, self.session, why) {
                self.context.handle.deposed();
                tracing::warn!(
                    action = "slot-given-up",
                    slot,
                    member = self.to.name,
                    "a replica knows a newer primary of a slot: it is not served any more"
                );
            }
        }
    }
}
