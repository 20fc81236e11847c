//! Which members cannot serve any more. That a process is gone is told by its connection, which
//! ends, and by its address, which refuses another one. Silence says less: a member that is not
//! heard may serve until its lease is over.

use super::{observer::LEASE, shared::Shared};
use hypercache_core::cluster::{Member, MemberId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

const TICK: Duration = Duration::from_millis(250);
/// How long a member may still serve after its lease is over, until it notices.
const MARGIN: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member that was not seen yet is taken for one that starts.
const TIME_TO_START: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(100);

/// Members whose processes are gone.
pub struct Deaths {
    gone: watch::Sender<BTreeSet<MemberId>>,
    /// Since when this member leads, and in which term.
    led_since: Mutex<Option<(u64, Instant)>>,
}

impl Default for Deaths {
    fn default() -> Self {
        Self { gone: watch::Sender::new(BTreeSet::new()), led_since: Mutex::new(None) }
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

    /// Members of the table that cannot serve any more, as the leader knows it: also those whose
    /// leases are over.
    pub fn dead(&self, shared: &Shared) -> BTreeSet<MemberId> {
        let mut dead = self.gone.borrow().clone();
        let metrics = shared.metrics();
        let mut led_since = self.led_since.lock();
        let now = Instant::now();
        let since = match *led_since {
            Some((term, since)) if term == metrics.current_term => since,
            _ => now,
        };
        *led_since = Some((metrics.current_term, since));
        let state = shared.table.borrow().clone();
        for id in state.members.keys().filter(|id| **id != shared.me.id) {
            // Who was not heard since may have a lease of the leader before, which may itself have
            // served for a lease's time after the election.
            let over = match shared.links.replied(*id) {
                Some(at) if at > since => at + LEASE + MARGIN,
                _ => since + 2 * LEASE + MARGIN,
            };
            if now > over {
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
    loop {
        let connected = shared.links.peers.hold(&member, CONNECT_TIMEOUT).await;
        match connected {
            Ok(held) => {
                was_there = true;
                shared.deaths.set(member.id, false);
                held.ended().await;
                continue; // at once: is it gone, or was it only the connection?
            }
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && (was_there || began.elapsed() > TIME_TO_START) =>
            {
                if !shared.deaths.gone.borrow().contains(&member.id) {
                    tracing::info!(name = member.name, "the process of a member is gone");
                }
                shared.deaths.set(member.id, true);
            }
            Err(_) => {}
        }
        sleep(AGAIN).await;
    }
}
