//! Gossip with a socket and a clock.

use super::{
    addresses::{Addresses, Answer, host_and_port, reachable},
    codec::Dropped,
    identity::{Identity, Rumour},
    swim::{MAX_DATAGRAM_BYTES, Swim},
};
use crate::peer::Secret;
use hypercache_core::cluster::{Liveness, Member};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// How often the join list is looked up again while somebody is missing, and when nobody is.
const SEEK_EVERY: Duration = Duration::from_millis(1000);
const SEEK_RARELY: Duration = Duration::from_secs(15);
const PUBLISH_EVERY_MS: u64 = 50;

/// How gossip is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this member says of itself.
    pub me: Member,
    /// The cluster that it belongs to; 0: none yet.
    pub cluster_id: u64,
    /// Whether it has Raft state.
    pub initialised: bool,
    /// `HOST:PORT` of others; a host may stand for many addresses, this member's among them.
    pub join: Vec<String>,
    /// The cluster's secret.
    pub secret: Secret,
}

/// How many datagrams came, went and were dropped, and why.
#[derive(Debug, Default)]
pub struct Counters {
    /// Received and used.
    pub received: AtomicU64,
    /// Sent.
    pub sent: AtomicU64,
    /// Dropped: not gossip, or not whole.
    pub malformed: AtomicU64,
    /// Dropped: another version of the datagrams.
    pub foreign_version: AtomicU64,
    /// Dropped: whoever sent it does not know the secret.
    pub unauthenticated: AtomicU64,
    /// Dropped: from a member of another cluster.
    pub other_cluster: AtomicU64,
}

/// What the rest of the member wants of gossip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wish {
    cluster_id: u64,
    initialised: bool,
    /// Where members are that should be there.
    seek: Vec<(String, u16)>,
    /// Whether somebody is missing, so that the join list is looked up often.
    missing: bool,
}

/// Tells gossip what to say, and what is said.
#[derive(Clone)]
pub struct Handle {
    rumours: watch::Receiver<Arc<Vec<Rumour>>>,
    wish: watch::Sender<Wish>,
    counters: Arc<Counters>,
}

impl Handle {
    /// What is known of the others, whenever it changes.
    pub fn rumours(&self) -> watch::Receiver<Arc<Vec<Rumour>>> {
        self.rumours.clone()
    }

    /// From now on this member belongs to that cluster, and has Raft state or not.
    pub fn describe(&self, cluster_id: u64, initialised: bool) {
        self.wish.send_if_modified(|wish| {
            let before = (wish.cluster_id, wish.initialised);
            (wish.cluster_id, wish.initialised) = (cluster_id, initialised);
            before != (cluster_id, initialised)
        });
    }

    /// Looks for members at these places, and often as long as somebody is missing (L20, O3).
    pub fn seek(&self, places: Vec<(String, u16)>, missing: bool) {
        self.wish.send_if_modified(|wish| {
            let same = wish.seek == places && wish.missing == missing;
            (wish.seek, wish.missing) = (places, missing);
            !same
        });
    }

    /// What came, went and was dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Gossip, ready to run.
pub struct Gossip {
    swim: Swim,
    socket: UdpSocket,
    join: Vec<(String, u16)>,
    publish: watch::Sender<Arc<Vec<Rumour>>>,
    wish: watch::Receiver<Wish>,
    counters: Arc<Counters>,
    published_ms: u64,
    started: Instant,
    v6: bool,
}

impl Options {
    /// Makes gossip over a bound socket.
    ///
    /// # Errors
    /// A join entry that is not `HOST:PORT`, or no randomness.
    pub fn build(self, socket: UdpSocket) -> io::Result<(Gossip, Handle)> {
        let mut join = Vec::new();
        for entry in &self.join {
            join.push(host_and_port(entry).ok_or_else(|| {
                let message = format!("join: '{entry}' is not HOST:PORT");
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })?);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| io::Error::other(e.to_string()))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let identity = Identity {
            member: self.me,
            cluster_id: self.cluster_id,
            initialised: self.initialised,
            // A later start wins over an earlier one.
            bump: since.as_millis() as u64,
        };
        let missing = !join.is_empty();
        let wish = Wish {
            cluster_id: self.cluster_id,
            initialised: self.initialised,
            missing,
            ..Wish::default()
        };
        let (wish, wished) = watch::channel(wish);
        let (publish, rumours) = watch::channel(Arc::new(Vec::new()));
        let counters = Arc::new(Counters::default());
        let handle = Handle { rumours, wish, counters: counters.clone() };
        let v6 = socket.local_addr()?.is_ipv6();
        let gossip = Gossip {
            v6,
            swim: Swim::new(identity, self.secret, seed),
            socket,
            join,
            publish,
            wish: wished,
            counters,
            published_ms: 0,
            started: Instant::now(),
        };
        Ok((gossip, handle))
    }
}

impl Gossip {
    /// Gossips until `stop` is true or dropped, and says goodbye then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (answers, mut answered) = mpsc::channel(128);
        let mut addresses = Addresses::new(answers, self.v6);
        let mut seek_at = Instant::now();
        let mut buffer = vec![0; 2 * MAX_DATAGRAM_BYTES];
        loop {
            self.send(&mut addresses).await;
            self.publish();
            let due_ms = self.swim.next_due_ms().unwrap_or(u64::MAX).min(self.now_ms() + 250);
            let due = self.started + Duration::from_millis(due_ms);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                got = self.socket.recv_from(&mut buffer) => match got {
                    Ok((bytes, from)) => self.receive(from, &buffer[..bytes]),
                    // An earlier datagram of ours reached nobody, say.
                    Err(error) => tracing::debug!(
                        action = "gossip-socket-failed",
                        %error,
                        "gossip's socket"
                    ),
                },
                () = sleep_until(due) => self.swim.tick(self.now_ms()),
                Some(answer) = answered.recv() => self.found(&mut addresses, &answer),
                () = sleep_until(seek_at) => {
                    let places: Vec<_> =
                        self.join.iter().chain(&self.wish.borrow().seek).cloned().collect();
                    for (host, port) in places {
                        addresses.ask(&host, port, true);
                    }
                    let missing = self.wish.borrow().missing;
                    seek_at = Instant::now() + if missing { SEEK_EVERY } else { SEEK_RARELY };
                },
                Ok(()) = self.wish.changed() => {
                    let wish = self.wish.borrow_and_update().clone();
                    self.swim.describe(wish.cluster_id, wish.initialised, self.now_ms());
                    if wish.missing {
                        seek_at = seek_at.min(Instant::now() + SEEK_EVERY);
                    }
                }
            }
        }
        self.swim.leave(self.now_ms());
        self.send(&mut addresses).await;
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        let now_ms = self.now_ms();
        let counter = match self.swim.receive(from, datagram, now_ms) {
            Ok(()) => &self.counters.received,
            Err(Dropped::Malformed) => &self.counters.malformed,
            Err(Dropped::ForeignVersion) => &self.counters.foreign_version,
            Err(Dropped::Unauthenticated) => &self.counters.unauthenticated,
            Err(Dropped::OtherCluster) => &self.counters.other_cluster,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.swim.tick(now_ms);
    }

    fn found(&mut self, addresses: &mut Addresses, answer: &Answer) {
        addresses.learn(answer);
        if answer.join {
            let now_ms = self.now_ms();
            let found = answer.addresses.iter().filter_map(|a| reachable(*a, self.v6));
            found.for_each(|address| self.swim.announce(address, now_ms));
        }
    }

    async fn send(&mut self, addresses: &mut Addresses) {
        while let Some((to, datagram)) = self.swim.next_datagram() {
            let member = &to.member;
            let named = member.host.parse::<std::net::IpAddr>().is_err();
            // A name is slow to follow a member that moved; where it spoke from is not.
            let heard = if named { self.swim.heard_from(member.id) } else { None };
            let Some(address) = heard.or_else(|| addresses.of(&member.host, member.gossip_port))
            else {
                continue; // being resolved; SWIM says it again
            };
            match self.socket.send_to(&datagram, address).await {
                Ok(_) => drop(self.counters.sent.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    tracing::debug!(
                        action = "gossip-not-sent",
                        %address,
                        %error,
                        "a datagram was not sent"
                    )
                }
            }
        }
    }

    fn publish(&mut self) {
        let now_ms = self.now_ms();
        if now_ms < self.published_ms + PUBLISH_EVERY_MS {
            return;
        }
        self.published_ms = now_ms;
        let rumours = self.swim.rumours();
        self.publish.send_if_modified(|known| {
            let changed = **known != rumours;
            if changed {
                log_changes(known, &rumours);
                *known = Arc::new(rumours);
            }
            changed
        });
    }
}

fn log_changes(before: &[Rumour], after: &[Rumour]) {
    let state = |all: &[Rumour], id| -> Liveness {
        let found = all.iter().find(|rumour| rumour.seen.member.id == id);
        found.map_or(Liveness::Down, |rumour| rumour.seen.liveness)
    };
    for rumour in after {
        let member = &rumour.seen.member;
        let (was, is) = (state(before, member.id), rumour.seen.liveness);
        if was != is {
            tracing::info!(
                action = "member-state-changed",
                member = member.name,
                host = member.host,
                port = member.gossip_port,
                was = was.as_str(),
                is = is.as_str(),
                "gossip: a member changed"
            );
        }
    }
}
