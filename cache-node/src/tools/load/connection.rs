//! One connection of the load: it asks at its pace, and counts what comes back. A client of a cluster has a
//! socket to each member ([`Lane`]), any other one has a single one.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hypercache_core::cluster::slot_of;
use tokio::sync::watch;

use super::answer::{Answer, Redirect};
use super::generator::{Generator, Request, What};
use super::http::Style;
use super::lane::{Error, Lane, Sent, poll_any};
use super::pace::{Next, Pace};
use super::setup::Setup;
use super::tally::{Board, Tally, row_of};
use super::timer::Timer;
use super::topology::Topology;
use super::wording::frame;

/// A request is sent somewhere else so often at most.
const MOST_HOPS: u8 = 5;
/// How long a connection rests when no server takes it.
const REST_NS: u64 = 100_000_000;
/// How often answers that are late are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub struct Connection {
    setup: Arc<Setup>,
    board: Arc<Board>,
    number: usize,
    filling: bool,
    pace: Pace,
    style: Style,
    lanes: Vec<Lane>,
    answers: Vec<(Sent, Answer)>,
    stop: watch::Receiver<bool>,
    /// Which of the targets is asked next.
    target: usize,
    /// It rests until then.
    rests_until_ns: u64,
    /// As much of the pace's count stands in the tally.
    unsent: u64,
}

/// The sockets of a connection that has not begun.
///
/// # Errors
/// A server cannot be reached, or refuses.
pub async fn open(
    setup: &Setup,
    topology: Option<&Topology>,
    number: usize,
) -> Result<Vec<Lane>, Error> {
    let hello = setup.hello(number);
    let target = &setup.targets[number % setup.targets.len()..][..1];
    let addresses = topology.map_or(target, Topology::addresses);
    let mut lanes = Vec::with_capacity(addresses.len());
    for address in addresses {
        lanes.push(Lane::open(address, &hello, setup.patience).await?);
    }
    Ok(lanes)
}

/// What the first of some servers that answers says of the slots.
///
/// # Errors
/// What the last one said.
pub async fn look_up(setup: &Setup, addresses: &[String]) -> Result<Topology, Error> {
    let mut last = Error::Unreachable("there is nobody to ask".to_owned());
    for address in addresses {
        let asked = async {
            let mut lane = Lane::open(address, &setup.hello(0), setup.patience).await?;
            let reply =
                tokio::time::timeout(setup.patience, lane.ask(&[b"CLUSTER", b"SLOTS"])).await;
            let late =
                |_| Error::Unreachable(format!("{address}: no answer in {:?}", setup.patience));
            Topology::of_slots(&reply.map_err(late)??, address).map_err(Error::Refused)
        };
        match asked.await {
            Ok(topology) => return Ok(topology),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Connection {
    /// A connection with its sockets.
    pub fn new(
        setup: &Arc<Setup>,
        board: &Arc<Board>,
        number: usize,
        filling: bool,
        lanes: Vec<Lane>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let pace = if filling { setup.filling_pace(number) } else { setup.pace(number) };
        Self {
            setup: Arc::clone(setup),
            board: Arc::clone(board),
            number,
            filling,
            pace,
            style: setup.style(number),
            lanes,
            answers: Vec::new(),
            stop,
            target: number,
            rests_until_ns: 0,
            unsent: 0,
        }
    }

    /// Asks until its pace is over, and waits for the answers.
    ///
    /// # Errors
    /// The process may open no more files.
    pub async fn run(mut self) -> std::io::Result<()> {
        let setup = Arc::clone(&self.setup);
        let (number, all) = (self.number as u64, setup.connections as u64);
        let mut generator = match self.filling {
            true => Generator::filling(&setup.mix, setup.seed, number, all),
            false => Generator::new(&setup.mix, setup.seed, number),
        };
        let timer = Timer::new()?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        loop {
            let next = self.ask(&mut generator).await;
            let waiting = self.lanes.iter().any(|lane| !lane.sent.is_empty());
            if next == Next::Over && !waiting {
                self.count_unsent();
                return Ok(());
            }
            let now_ns = self.board.now_ns();
            let due = match next {
                Next::At(then_ns) => Some(Duration::from_nanos(then_ns.saturating_sub(now_ns))),
                _ => None,
            };
            let broken = tokio::select! {
                biased;
                broken = poll_fn(|cx| poll_any(&mut self.lanes, cx, &mut self.answers)) => broken,
                waited = timer.wait(due.unwrap_or_default()), if due.is_some() => {
                    waited?;
                    None
                }
                _ = look.tick() => None,
                _ = stop.changed() => None,
            };
            let again = self.count();
            if let Some((place, _)) = broken {
                let lane = self.lanes.swap_remove(place);
                self.give_up(lane, b"-closed");
            }
            self.lanes.retain(|lane| !(lane.closing && lane.sent.is_empty()));
            self.give_up_late();
            for (sent, redirect) in again {
                self.follow(sent, redirect).await;
            }
        }
    }

    /// Sends what is due; what is next then.
    async fn ask(&mut self, generator: &mut Generator<'_>) -> Next {
        loop {
            let now_ns = self.board.now_ns();
            if *self.stop.borrow() {
                self.pace.stop(now_ns);
            }
            let unanswered = self.lanes.iter().map(|lane| lane.sent.len()).sum();
            let rests = now_ns < self.rests_until_ns;
            let full = self.lanes.iter().any(|lane| !lane.has_room());
            // Time goes on also while nothing can be sent.
            let next = self.pace.next(now_ns, if rests || full { usize::MAX } else { unanswered });
            match next {
                Next::Send { intended_ns } => {
                    let request = Some(generator.next());
                    let sent = Sent { request, intended_ns, sent_ns: now_ns, hops: 0 };
                    self.send(sent, None).await;
                }
                Next::AfterReply if rests => return Next::At(self.rests_until_ns),
                next => {
                    self.count_unsent();
                    return next;
                }
            }
        }
    }

    /// Sends a request to its slot's owner, or where it is told.
    async fn send(&mut self, sent: Sent, redirect: Option<&Redirect>) {
        let Some(request) = sent.request else { return };
        let address = match redirect {
            Some(redirect) => redirect.address.clone(),
            None => self.address(&request),
        };
        let Some(place) = self.lane(&address).await else {
            self.board.errors.add(b"-connect");
            self.board.shard(self.number).lock().rows[row_of(request.what)].unanswered += 1;
            return;
        };
        let lane = &mut self.lanes[place];
        let sent = Sent { sent_ns: self.board.now_ns(), ..sent };
        if redirect.is_some_and(|redirect| redirect.ask) {
            lane.push(Sent { request: None, ..sent }, |out| frame(out, &[b"ASKING"]));
        }
        let (wording, style) = (&self.setup.wording, &self.style);
        lane.push(sent, |out| match self.setup.http {
            true => style.request(&request, wording, out),
            false => wording.frame(&request, out),
        });
        if sent.hops == 0 {
            let mut tally = self.board.shard(self.number).lock();
            tally.sent += 1;
            tally.late.add(sent.sent_ns.saturating_sub(sent.intended_ns));
        }
    }

    fn address(&self, request: &Request) -> String {
        if let Some(topology) = &self.board.topology
            && let Some(owner) = topology.read().owner(slot_of(&self.setup.wording.key(request)))
        {
            return owner.to_owned();
        }
        match self.lanes.first() {
            Some(lane) => lane.address.clone(),
            None => self.setup.targets[self.target % self.setup.targets.len()].clone(),
        }
    }

    /// The place of the socket to a server. If there is none and none can be opened, it rests for a while.
    async fn lane(&mut self, address: &str) -> Option<usize> {
        if let Some(place) = self.lanes.iter().position(|lane| lane.address == address) {
            return Some(place);
        }
        match Lane::open(address, &self.setup.hello(self.number), self.setup.patience).await {
            Ok(lane) => {
                self.board.shard(self.number).lock().reconnected += 1;
                self.lanes.push(lane);
                Some(self.lanes.len() - 1)
            }
            Err(_) => {
                self.target += 1;
                self.rests_until_ns = self.board.now_ns().saturating_add(REST_NS);
                if let Some(topology) = &self.board.topology {
                    let others: Vec<String> = {
                        let known = topology.read();
                        let all = known.addresses().iter().chain(&self.setup.targets);
                        all.filter(|other| *other != address).cloned().collect()
                    };
                    if let Ok(fresh) = look_up(&self.setup, &others).await {
                        *topology.write() = fresh;
                    }
                }
                None
            }
        }
    }

    /// Goes where a server sent a request.
    async fn follow(&mut self, sent: Sent, redirect: Redirect) {
        if let Some(topology) = &self.board.topology
            && !redirect.ask
        {
            topology.write().set(redirect.slot, &redirect.address);
        }
        self.send(Sent { hops: sent.hops + 1, ..sent }, Some(&redirect)).await;
    }

    /// Counts the answers that came; those that go somewhere else are given back.
    fn count(&mut self) -> Vec<(Sent, Redirect)> {
        let mut again = Vec::new();
        if self.answers.is_empty() {
            return again;
        }
        let now_ns = self.board.now_ns();
        let mut tally = self.board.shard(self.number).lock();
        for (sent, answer) in self.answers.drain(..) {
            let Some(request) = sent.request else { continue };
            if let (Answer::Error(text), true) =
                (&answer, self.board.topology.is_some() && sent.hops < MOST_HOPS)
                && let Some(redirect) = Redirect::parse(text, &self.style.host)
            {
                tally.redirected += 1;
                again.push((sent, redirect));
                continue;
            }
            count_one(
                &self.board,
                &mut tally,
                request.what,
                now_ns.saturating_sub(sent.intended_ns),
                &answer,
            );
        }
        again
    }

    /// A connection is over: what it owes is not answered.
    fn give_up(&self, lane: Lane, why: &[u8]) {
        let mut tally = self.board.shard(self.number).lock();
        for request in lane.sent.iter().filter_map(|sent| sent.request) {
            tally.rows[row_of(request.what)].unanswered += 1;
            self.board.errors.add(why);
        }
    }

    /// Ends connections whose next answer is too late: those behind it would be later still.
    fn give_up_late(&mut self) {
        let now_ns = self.board.now_ns();
        let patience_ns = u64::try_from(self.setup.patience.as_nanos()).unwrap_or(u64::MAX);
        let is_late = |lane: &Lane| {
            lane.sent.front().is_some_and(|sent| sent.sent_ns.saturating_add(patience_ns) < now_ns)
        };
        while let Some(place) = self.lanes.iter().position(is_late) {
            let lane = self.lanes.swap_remove(place);
            self.give_up(lane, b"-timeout");
        }
    }

    fn count_unsent(&mut self) {
        let unsent = self.pace.unsent();
        if unsent > self.unsent {
            self.board.shard(self.number).lock().unsent += unsent - self.unsent;
            self.unsent = unsent;
        }
    }
}

fn count_one(board: &Board, tally: &mut Tally, what: What, took_ns: u64, answer: &Answer) {
    tally.recent.add(took_ns);
    let row = &mut tally.rows[row_of(what)];
    row.latencies.add(took_ns);
    match (what, answer) {
        (What::Provoke(_), Answer::Error(text)) => {
            board.provoked.add(text);
        }
        // The server took what it should have refused.
        (What::Provoke(_), _) => row.errors += 1,
        (_, Answer::Error(text)) => {
            row.errors += 1;
            board.errors.add(text);
        }
        (_, Answer::Missing) => row.missing += 1,
        (_, Answer::Fine) => {}
    }
}
