//! Which members cannot serve any more. That a process is gone is told by its connection, which
//! ends, and by its address, which refuses another one. Silence says less: a member that is not
//! heard may serve until its lease is over.

use super::{build::RAFT_LEASE, lease::LEASE, shared::Shared};
use hypercache_core::cluster::{Member, MemberId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

/// Looked at less often than so, this process itself was not running.
const PAUSE: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(250);
/// How long a member may still serve after its lease is over, until it notices.
const MARGIN: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member that was not seen yet is taken for one that starts.
const TIME_TO_START: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(100);
/// A process that has just ended takes connections for a moment yet, and drops them: it is tried again sooner, and each
/// time after twice as long.
const AGAIN_SOON: Duration = Duration::from_millis(5);

/// Members whose processes are gone.
pub struct Deaths {
    gone: watch::Sender<BTreeSet<MemberId>>,
    reign: Mutex<Option<Reign>>,
}

/// How this member came to lead.
#[derive(Debug, Clone, Copy)]
struct Reign {
    term: u64,
    since: Instant,
    /// For how long after that the leader before may have served, and let others serve. The
    /// majority that elected this one had not answered that one for [`RAFT_LEASE`], unless it was
    /// asked to.
    before: Duration,
    /// Who led before.
    follows: Option<MemberId>,
    /// When this was looked at last; and since when it is looked at again and again, without a pause
    /// of this process in which all others seem to be silent.
    looked: Instant,
    awake: Instant,
}

impl Default for Deaths {
    fn default() -> Self {
        Self { gone: watch::Sender::new(BTreeSet::new()), reign: Mutex::new(None) }
    }
}

impl Deaths {
    /// Members whose processes are surely gone.
    pub fn gone(&self) -> watch::Receiver<BTreeSet<MemberId>> {
        self.gone.subscribe()
    }

    fn set(&self, id: MemberId, is_gone: bool) {
        self.gone.send_if_modified(|gone| match is_gone {
            true => gone.insert(id),
            false => gone.remove(&id),
        });
    }

    fn reign(&self, shared: &Shared) -> Reign {
        let term = shared.metrics().current_term;
        let now = Instant::now();
        let mut kept = self.reign.lock();
        let mut reign = match *kept {
            Some(reign) if reign.term == term => reign,
            _ => {
                let asked = shared.links.transferred.load(Ordering::Acquire) == term;
                let before = if asked { LEASE } else { LEASE.saturating_sub(RAFT_LEASE) };
                let follows = *shared.last_leader.lock();
                let follows = follows.filter(|(_, led)| led + 1 == term).map(|(id, _)| id);
                Reign { term, since: now, before, follows, looked: now, awake: now }
            }
        };
        if now.saturating_duration_since(reign.looked) > PAUSE {
            reign.awake = now;
        }
        reign.looked = now;
        *kept = Some(reign);
        reign
    }

    /// Members of the table that cannot serve any more, as the leader knows it: also those whose
    /// leases are over.
    pub fn dead(&self, shared: &Shared) -> BTreeSet<MemberId> {
        let mut dead = self.gone.borrow().clone();
        let state = shared.table.borrow().clone();
        let reign = self.reign(shared);
        let now = Instant::now();
        for id in state.members.keys().filter(|id| **id != shared.me.id) {
            let over = match shared.links.replied(*id) {
                // It began to be looked at only now: what came meanwhile may have yet to be read.
                Some(at) if at > reign.since => at.max(reign.awake) + LEASE,
                _ if reign.follows == Some(*id) => reign.since.max(reign.awake) + reign.before,
                _ => reign.since.max(reign.awake) + reign.before + LEASE,
            };
            if now > over + MARGIN {
                dead.insert(*id);
            }
        }
        dead.retain(|id| state.members.contains_key(id));
        dead
    }
}

/// Watches the other members of the table until this one stops.
pub async fn watch_all(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut table = shared.table.clone();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched: HashMap<MemberId, (Member, JoinHandle<()>)> = HashMap::new();
    loop {
        let state = table.borrow_and_update().clone();
        let members: HashMap<MemberId, Member> = state
            .members
            .values()
            .filter(|member| member.id != shared.me.id)
            .map(|member| (member.id, shared.reach(member)))
            .collect();
        watched.retain(|id, (known, task)| {
            let same = members
                .get(id)
                .is_some_and(|m| (&m.host, m.gossip_port) == (&known.host, known.gossip_port));
            if !same {
                task.abort();
                shared.deaths.set(*id, false);
            }
            same
        });
        for (id, member) in members {
            watched.entry(id).or_insert_with(|| {
                let task = tokio::spawn(watch_one(shared.clone(), member.clone()));
                (member, task)
            });
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Ok(()) = table.changed() => {}
            _ = tick.tick() => {}
        }
    }
    watched.into_values().for_each(|(_, task)| task.abort());
}

async fn watch_one(shared: Arc<Shared>, member: Member) {
    // One that was never there since this member looks may be starting, as all others after a
    // restart of everything: it is given time to come.
    let began = Instant::now();
    let mut was_there = false;
    let mut again = AGAIN;
    loop {
        let connected = shared.links.peers.hold(&member, CONNECT_TIMEOUT).await;
        match connected {
            Ok(held) => {
                was_there = true;
                shared.deaths.set(member.id, false);
                held.ended().await;
                again = AGAIN_SOON;
                continue; // at once: is it gone, or was it only the connection?
            }
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && (was_there || began.elapsed() > TIME_TO_START) =>
            {
                if !shared.deaths.gone.borrow().contains(&member.id) {
                    tracing::info!(
                        action = "member-process-gone",
                        member = member.name,
                        "the process of a member is gone"
                    );
                }
                shared.deaths.set(member.id, true);
            }
            Err(_) => {}
        }
        sleep(again).await;
        again = AGAIN.min(2 * again);
    }
}
