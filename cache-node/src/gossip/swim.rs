//! SWIM without socket and clock: datagrams and the time go in, datagrams and rumours come out.

use super::{
    codec::{self, Codec, Dropped},
    config::{config, reckoned},
    identity::{Identity, Rumour, liveness},
};
use crate::peer::Secret;
use foca::{AccumulatingRuntime, Foca, Incarnation, NoCustomBroadcast, State, Timer};
use hypercache_core::cluster::{MemberId, Seen};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    net::SocketAddr,
};

/// The most bytes of a datagram: below every usual path's limit.
pub const MAX_DATAGRAM_BYTES: usize = 1400;

/// The most timers and datagrams that are kept: far more than clusters of the largest size use.
const MAX_QUEUED: usize = 65_536;

/// How often it is looked who has been suspected for too long.
const LOOK_MS: u64 = 500;

/// SWIM's state.
pub struct Swim {
    foca: Foca<Identity, Codec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
    timers: BinaryHeap<Reverse<Due>>,
    timers_made: u64,
    secret: Secret,
    /// The size of the cluster that times and counts are for.
    reckoned: u32,
    /// Where valid datagrams of a member came from.
    heard_from: HashMap<MemberId, SocketAddr>,
    suspects: Suspects,
}

/// Who is suspected, in which incarnation, and since when. The library ends a suspicion only where it began: at whoever
/// probed in vain. If that one restarts, or was cut off itself, all others would suspect for ever a member that
/// answers them, and was never told.
#[derive(Default)]
struct Suspects {
    since_ms: HashMap<MemberId, (Incarnation, u64)>,
    look_at_ms: u64,
}

struct Due {
    at_ms: u64,
    number: u64,
    timer: Timer<Identity>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.number) == (other.at_ms, other.number)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Timers of one moment go in the order that foca wants.
        (self.at_ms, &self.timer, self.number).cmp(&(other.at_ms, &other.timer, other.number))
    }
}

impl Swim {
    /// A member that knows nobody yet. The seed decides whom it probes.
    pub fn new(identity: Identity, secret: Secret, seed: [u8; 32]) -> Self {
        let reckoned = reckoned(0);
        Self {
            foca: Foca::new(identity, config(reckoned), StdRng::from_seed(seed), Codec),
            runtime: AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
            timers_made: 0,
            secret,
            reckoned,
            heard_from: HashMap::new(),
            suspects: Suspects::default(),
        }
    }

    /// Says something else of itself from now on.
    pub fn describe(&mut self, cluster_id: u64, initialised: bool, now_ms: u64) {
        let old = self.foca.identity().clone();
        if (old.cluster_id, old.initialised) == (cluster_id, initialised) {
            return;
        }
        let bump = old.bump.wrapping_add(1);
        let new = Identity { cluster_id, initialised, bump, ..old };
        let result = self.foca.change_identity(new, &mut self.runtime);
        note("change of identity", result);
        self.after(now_ms);
    }

    /// Tells whoever is at that address of this member.
    pub fn announce(&mut self, address: SocketAddr, now_ms: u64) {
        let to = Identity::unknown(address.ip().to_string(), address.port());
        let result = self.foca.announce(to, &mut self.runtime);
        note("announcement", result);
        self.after(now_ms);
    }

    /// Tells the others that this member goes.
    pub fn leave(&mut self, now_ms: u64) {
        let result = self.foca.leave_cluster(&mut self.runtime);
        note("leave", result);
        self.after(now_ms);
    }

    /// Takes a datagram in.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn receive(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now_ms: u64,
    ) -> Result<(), Dropped> {
        let ours = self.foca.identity().cluster_id;
        let message = codec::open(&self.secret, ours, datagram)?;
        use foca::Codec as _;
        if let Ok(header) = Codec.decode_header(message)
            && header.src.member.id != self.foca.identity().member.id
        {
            self.heard_from.insert(header.src.member.id, from);
        }
        let result = self.foca.handle_data(message, &mut self.runtime);
        self.after(now_ms);
        match result {
            // Our own announcement came back: we are in our own join list (L25).
            Ok(()) | Err(foca::Error::DataFromOurselves | foca::Error::IndirectForOurselves) => {
                Ok(())
            }
            Err(_) => Err(Dropped::Malformed),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some(Reverse(due)) = self.timers.peek()
            && due.at_ms <= now_ms
        {
            if let Some(Reverse(due)) = self.timers.pop() {
                let result = self.foca.handle_timer(due.timer, &mut self.runtime);
                note("timer", result);
                self.after(now_ms);
            }
        }
        if now_ms >= self.suspects.look_at_ms {
            self.suspects.look_at_ms = now_ms + LOOK_MS;
            self.end_suspicions(now_ms);
        }
    }

    /// Who is suspected for twice as long as it may take to object is told to be down. It hears of that, from
    /// whomever it talks to, and comes back at once if it is not.
    fn end_suspicions(&mut self, now_ms: u64) {
        let patience_ms = 2 * config(self.reckoned).suspect_to_down_after.as_millis() as u64;
        let mut before = std::mem::take(&mut self.suspects.since_ms);
        let mut down = Vec::new();
        for member in self.foca.iter_membership_state().filter(|m| m.state() == State::Suspect) {
            let (id, incarnation) = (member.id().member.id, member.incarnation());
            let known = before.remove(&id).filter(|(known, _)| *known == incarnation);
            let (_, since_ms) = known.unwrap_or((incarnation, now_ms));
            if now_ms.saturating_sub(since_ms) >= patience_ms {
                down.push(foca::Member::new(member.id().clone(), incarnation, State::Down));
            } else {
                self.suspects.since_ms.insert(id, (incarnation, since_ms));
            }
        }
        if !down.is_empty() {
            let result = self.foca.apply_many(down.into_iter(), true, &mut self.runtime);
            note("end of a suspicion", result);
            self.after(now_ms);
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.timers.peek().map(|Reverse(due)| due.at_ms)
    }

    /// The next datagram to send, with whom it is for.
    pub fn next_datagram(&mut self) -> Option<(Identity, Vec<u8>)> {
        let (to, message) = self.runtime.to_send()?;
        Some((to, codec::seal(&self.secret, self.foca.identity().cluster_id, &message)))
    }

    /// Where datagrams of a member came from.
    pub fn heard_from(&self, member: MemberId) -> Option<SocketAddr> {
        self.heard_from.get(&member).copied()
    }

    /// What is known of all others, by number; of members of other clusters nothing.
    pub fn rumours(&self) -> Vec<Rumour> {
        let me = self.foca.identity();
        let mut rumours: Vec<Rumour> = self
            .foca
            .iter_membership_state()
            .filter(|m| m.id().member.id != me.member.id)
            .filter(|m| {
                let theirs = m.id().cluster_id;
                theirs == 0 || me.cluster_id == 0 || theirs == me.cluster_id
            })
            .map(|m| Rumour {
                seen: Seen {
                    member: m.id().member.clone(),
                    cluster_id: m.id().cluster_id,
                    initialised: m.id().initialised,
                    liveness: liveness(m.state()),
                },
                address: self
                    .heard_from(m.id().member.id)
                    .map(|address| address.ip().to_canonical()),
            })
            .collect();
        rumours.sort_by_key(|rumour| rumour.seen.member.id);
        rumours
    }

    /// Suspects a member as if somebody had told so, and tells nobody.
    #[cfg(test)]
    pub fn hear_of_suspicion(&mut self, member: MemberId, now_ms: u64) {
        let of = |m: &&foca::Member<Identity>| m.id().member.id == member;
        let known = self.foca.iter_membership_state().find(of).cloned();
        let suspect =
            known.map(|m| foca::Member::new(m.id().clone(), m.incarnation(), State::Suspect));
        let result = self.foca.apply_many(suspect.into_iter(), false, &mut self.runtime);
        note("suspicion", result);
        self.after(now_ms);
    }

    fn after(&mut self, now_ms: u64) {
        while let Some((delay, timer)) = self.runtime.to_schedule() {
            if self.timers.len() < MAX_QUEUED {
                self.timers_made += 1;
                let at_ms = now_ms.saturating_add(delay.as_millis() as u64);
                self.timers.push(Reverse(Due { at_ms, number: self.timers_made, timer }));
            }
        }
        while self.runtime.to_notify().is_some() {}
        let reckoned = reckoned(self.foca.num_members());
        if reckoned != self.reckoned {
            self.reckoned = reckoned;
            note("change of size", self.foca.set_config(config(reckoned)));
        }
        if self.heard_from.len() > MAX_QUEUED {
            self.heard_from.clear();
        }
    }
}

fn note(what: &str, result: Result<(), foca::Error>) {
    if let Err(error) = result {
        tracing::debug!(action = "gossip-refused", %error, what, "gossip");
    }
}
