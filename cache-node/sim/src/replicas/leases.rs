//! Leases by clocks that go at different rates, and are set to other times.
//!
//! A member answers what the leader sends with the time by its own steady clock; it has the lease from that time on,
//! once it knows that the leader has the answer. The leader counts from when the answer came, by its own clock, and
//! waits a little longer. In worlds without that, a lease is over when the dice say so, and the leader knows it.

use super::Broken;
use super::process::Process;
use super::world::World;
use crate::choice::{Choice, Dice};
use hypercache_core::cluster::MemberId;
use std::collections::BTreeMap;

/// For so long a member serves after an answer that the leader has.
const LEASE_US: u64 = 800_000;
/// So much longer the leader waits.
const MARGIN_US: u64 = 200_000;
/// How long a step takes, at the most.
const STEP_US: usize = 10_000;
/// By so much of a million a clock is too fast or too slow, at the most: with two of them that differ as much the
/// margin is enough.
const MOST_PPM: usize = 100_000;
/// What all clocks say at first.
const START_US: u64 = 1_000_000_000_000;
/// A clock on the wall is set to another time, by so much at the most.
const MOST_JUMP_MS: usize = 20_000;

/// How a world's clocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    /// Leases are what the dice say.
    None,
    /// All clocks go at one rate.
    Even,
    /// Each goes at a rate of its own, and clocks on the wall are set to other times.
    Uneven,
}

/// What is known of leases.
pub struct Leases {
    clocks: Clocks,
    /// Since the start of the world.
    now_us: u64,
    /// By how much of a million each clock is slower than one that is as fast as may be; the leader's is that of 0.
    slower_ppm: BTreeMap<MemberId, u64>,
    /// When each member's last answer came, by the leader's clock; and what time it named.
    answered: BTreeMap<MemberId, (u64, u64)>,
    /// Until when each has the lease, by its own clock.
    until: BTreeMap<MemberId, u64>,
}

impl Leases {
    pub fn new(clocks: Clocks, ids: &[MemberId], seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x636c_6f63_6b73);
        let mut rate = || match clocks {
            Clocks::Uneven => dice.pick(MOST_PPM) as u64,
            _ => 0,
        };
        Self {
            clocks,
            now_us: 0,
            slower_ppm: [0].iter().chain(ids).map(|id| (*id, rate())).collect(),
            answered: ids.iter().map(|id| (*id, (START_US, START_US))).collect(),
            until: ids.iter().map(|id| (*id, START_US + LEASE_US)).collect(),
        }
    }

    fn are_on(&self) -> bool {
        self.clocks != Clocks::None
    }

    /// A member's steady clock.
    fn clock_us(&self, id: MemberId) -> u64 {
        let slower = self.slower_ppm.get(&id).copied().unwrap_or(0);
        START_US + self.now_us - self.now_us * slower / 1_000_000
    }

    /// The clock by which a process has leases.
    fn clock_of(&self, process: &Process, broken: Option<Broken>) -> u64 {
        let steady = self.clock_us(process.id);
        match broken {
            Some(Broken::LeaseByWallClock) => steady.saturating_add_signed(process.set_ms * 1000),
            _ => steady,
        }
    }

    /// A process is another one than before: it has no lease.
    pub fn starts(&mut self, id: MemberId) -> bool {
        self.until.remove(&id);
        !self.are_on()
    }

    /// Whether the leader may take a member's lease for over.
    pub fn is_over(&self, id: MemberId, waits_longer: bool) -> bool {
        let (answered, _) = self.answered.get(&id).copied().unwrap_or_default();
        let margin = if waits_longer { MARGIN_US } else { 0 };
        self.clock_us(0) > answered + LEASE_US + margin
    }
}

impl World {
    /// Whether leases are a matter of clocks.
    pub fn has_clocks(&self) -> bool {
        self.leases.are_on()
    }

    /// Some time goes by, and with it leases.
    pub fn tick(&mut self) {
        if !self.has_clocks() {
            return;
        }
        self.leases.now_us += self.dice.pick(STEP_US) as u64;
        for (id, process) in &self.processes {
            let now = self.leases.clock_of(process, self.options.broken);
            let rest = self.leases.until.get(id).map_or(0, |until| until.saturating_sub(now));
            // Nobody who is connected is without an answer for so long: that would be another loss.
            if self.network.is_connected(*id) && process.lease && rest > 0 && rest < LEASE_US / 2 {
                self.leases.answered.insert(*id, (self.leases.clock_us(0), now));
                self.leases.until.insert(*id, now + LEASE_US);
            }
        }
        let mut over = Vec::new();
        for (id, process) in self.processes.iter_mut().filter(|(_, process)| process.lease) {
            let now = self.leases.clock_of(process, self.options.broken);
            if self.leases.until.get(id).is_none_or(|until| now >= *until) {
                process.lease = false;
                process.serve();
                over.push(*id);
            }
        }
        over.into_iter().for_each(|id| self.say(&format!("{id}: the lease is over")));
    }

    /// The leader and a member hear of each other, as far as the network lets them.
    pub fn renew(&mut self, id: MemberId) -> Result<(), String> {
        let (hears, is_heard) = (self.network.hears(id), self.network.is_heard(id));
        let Some(process) = self.processes.get_mut(&id) else { return Ok(()) };
        let now = self.leases.clock_of(process, self.options.broken);
        if is_heard && self.dice.one(2) {
            let by_leader = self.leases.clock_us(0);
            self.leases.answered.insert(id, (by_leader, now));
        }
        if !hears || self.dice.one(4) {
            return Ok(());
        }
        let answered = self.leases.answered.get(&id).map_or(0, |(_, named)| *named);
        let since = match self.options.broken {
            Some(Broken::LeaseByHearing) => now,
            _ => answered,
        };
        if since + LEASE_US <= now {
            return Ok(());
        }
        if !process.lease {
            // Whoever gives it says of which table it is.
            let last = self.table.versions.len() - 1;
            process.see_up_to(last, &self.table.versions)?;
            process.lease = true;
            process.serve();
            self.say(&format!("{id}: a lease begins"));
        }
        self.leases.until.insert(id, since + LEASE_US);
        Ok(())
    }

    /// A clock on the wall is set to another time.
    pub fn set_clock(&mut self, id: MemberId) {
        if self.shape.clocks != Clocks::Uneven {
            return;
        }
        let by_ms = self.dice.pick(2 * MOST_JUMP_MS) as i64 - MOST_JUMP_MS as i64;
        if let Some(process) = self.processes.get_mut(&id) {
            process.set_ms += by_ms;
            process.now_ms = process.now_ms.saturating_add_signed(by_ms);
        }
        self.say(&format!("{id}: its clock is set by {by_ms} ms"));
    }
}
