//! One life of a member: from a start to a kill. What is on its disk outlives it.

use super::duties::{Duty, Handing};
use super::network::Message;
use super::table::Version;
use super::{OWNERS, SLOTS, START_MS};
use crate::disk::Disk;
use crate::member::{Member, Start};
use hypercache_core::cluster::{MemberId, not_lowered};
use hypercache_core::command::{NoScripts, Step, lookup};
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::log::record::put_command;
use hypercache_core::log::{Record, Ticket};
use hypercache_core::replica::{Awaited, Link, Received, Role, Route, Synced, awaits};
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::{StoreNumber, StorePolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

/// A segment of a log that is as large is followed by another.
const SEGMENT_BYTES: u64 = 4096;

/// See the module.
pub struct Process {
    pub id: MemberId,
    pub incarnation: u64,
    pub space: Arc<Keyspace>,
    /// The version of the table that it has seen; `None` before the first.
    pub version: Option<usize>,
    /// The table knows this process, as far as it has seen.
    pub is_known: bool,
    /// A majority stands behind it.
    pub lease: bool,
    pub received: BTreeMap<MemberId, Received>,
    pub duties: BTreeMap<(usize, MemberId), Duty>,
    /// The process that another owner was by the table before it was asked how far it is.
    pub asked: BTreeMap<(usize, MemberId), u64>,
    pub handing: BTreeMap<usize, Handing>,
    /// The last version by which a member ceased to own a slot of which this one is the primary.
    pub removed: BTreeMap<MemberId, usize>,
    pub now_ms: u64,
    /// By how much its clock on the wall was set to another time.
    pub set_ms: i64,
    /// A mistake: an owner leaves whatever those have that stay.
    pub leaves_alone: bool,
    /// Its disk, and what brings its data there; `None`: all is in memory.
    pub kept: Option<Member>,
    /// What it says once something is on its disk.
    pub unsaid: Vec<(Ticket, Message)>,
}

/// What a command came to.
pub struct Called {
    pub reply: Vec<u8>,
    pub awaited: Awaited,
}

/// The least replication factor of the stores that go to the owner that is the first, the second …
fn least_factor(rank: u8) -> u8 {
    // One more than the stores ask for is on its way to take another one's place, and gets all.
    if usize::from(rank) > OWNERS { 1 } else { rank }
}

impl Process {
    /// Starts with what is on a disk, or with nothing.
    ///
    /// # Errors
    /// What is on the disk cannot be read.
    pub fn start(
        id: MemberId,
        incarnation: u64,
        seed: u64,
        policies: &[StorePolicy],
        disk: Option<Disk>,
    ) -> Result<Self, String> {
        let seed = seed ^ incarnation.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id;
        let (policies, now_ms) = (policies.to_vec(), START_MS);
        let start = Start { policies, seed, now_ms, segment_bytes: SEGMENT_BYTES, serves: false };
        let kept = disk.map(|disk| Member::start(disk, &start)).transpose();
        let kept = kept.map_err(|wrong| wrong.to_string())?;
        let space = kept.as_ref().map(|kept| Arc::clone(&kept.space)).unwrap_or_else(|| {
            let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed });
            space.set_stores(&start.policies);
            Arc::new(space)
        });
        Ok(Self {
            id,
            incarnation,
            space,
            version: None,
            is_known: false,
            lease: true,
            received: BTreeMap::new(),
            duties: BTreeMap::new(),
            asked: BTreeMap::new(),
            handing: BTreeMap::new(),
            removed: BTreeMap::new(),
            now_ms: START_MS,
            set_ms: 0,
            leaves_alone: false,
            kept,
            unsaid: Vec::new(),
        })
    }

    /// The link to another member.
    pub fn link(&self, to: MemberId) -> Arc<Link> {
        self.space.feed().link_to(to, || Waker::noop().clone())
    }

    /// Whether it is the primary of a slot, as far as it knows.
    pub fn is_primary(&self, index: usize) -> bool {
        matches!(self.space.feed().role(SLOTS[index].0), Role::Primary { .. })
    }

    /// Whether it takes another owner of a slot for one that has everything.
    pub fn takes_for_whole(&self, index: usize, other: MemberId) -> bool {
        let link = self.link(other);
        let owner = self.space.feed().look(SLOTS[index].0, |feed| feed.owner(&link));
        owner.flatten().is_some_and(|owner| owner.is_whole)
    }

    /// Whether it serves a slot.
    pub fn serves(&self, index: usize) -> bool {
        self.space.is_serving(SLOTS[index].0)
    }

    /// Sees all versions of the table up to one, in their order.
    ///
    /// # Errors
    /// It dropped what the latest table has it in sync with.
    pub fn see_up_to(&mut self, last: usize, versions: &[Version]) -> Result<(), String> {
        let next = self.version.map_or(0, |seen| seen + 1);
        (next..=last).try_for_each(|number| self.see_one(number, number.checked_sub(1), versions))
    }

    /// Sees a version of the table, and none of those between: it was given a snapshot. Another owner may have ceased to be
    /// one meanwhile, and have dropped what it had; `keeps`: by a mistake it is not asked again how far it is.
    ///
    /// # Errors
    /// As [`Self::see_up_to`].
    pub fn jump(&mut self, to: usize, versions: &[Version], keeps: bool) -> Result<(), String> {
        if !keeps {
            for link in self.space.feed().links().iter() {
                self.removed.insert(link.member(), to);
                link.close(link.session());
            }
        }
        self.see_one(to, self.version, versions)
    }

    fn see_one(
        &mut self,
        number: usize,
        before: Option<usize>,
        versions: &[Version],
    ) -> Result<(), String> {
        let id = self.id;
        let before = before.and_then(|before| versions.get(before));
        let Some(version) = versions.get(number) else { return Ok(()) };
        let dropped = self.see(number, version, before);
        let counts_on_it = |index: &usize| {
            versions.last().is_some_and(|latest| {
                latest.incarnations.get(&id) == Some(&self.incarnation)
                    && latest.placements[*index].is_in_sync(id)
            })
        };
        match dropped.into_iter().find(counts_on_it) {
            Some(index) => Err(format!("{id} drops slot {index}, in which it is in sync")),
            None => Ok(()),
        }
    }

    /// Sees a version of the table, and what was before. The slots of which it drops what it holds.
    fn see(&mut self, number: usize, version: &Version, before: Option<&Version>) -> Vec<usize> {
        let mut dropped = Vec::new();
        self.version = Some(number);
        self.is_known = version.incarnations.get(&self.id) == Some(&self.incarnation);
        if !self.is_known {
            // It may have been once: an earlier process's word came late.
            self.serve();
            return dropped;
        }
        let stores = not_lowered(&self.space.policies(), &version.stores);
        if *self.space.policies() != stores {
            self.space.set_stores(&stores);
        }
        for (index, placement) in version.placements.iter().enumerate() {
            let (slot, _) = SLOTS[index];
            let epoch = placement.epoch;
            let role = match placement.primary() {
                Some(primary) if primary == self.id => Role::Primary { epoch },
                Some(of) if placement.owns(self.id) => Role::Replica { of, epoch },
                _ => Role::None,
            };
            let is_primary = matches!(role, Role::Primary { .. });
            let old = before.and_then(|before| before.placements.get(index));
            if let Some(old) = old.filter(|_| is_primary) {
                let gone = old.owners.iter().filter(|owner| !placement.owns(**owner));
                self.removed.extend(gone.map(|owner| (*owner, number)));
            }
            let handed_over = self.handing.get(&index).is_some_and(|handing| {
                placement.primary() == Some(handing.to) && placement.is_in_sync(self.id)
            });
            if !is_primary {
                // First, and then the rest: nothing is served by what is not primary.
                self.space.set_serving(slot, false);
                self.duties.retain(|(of, _), _| *of != index);
                self.asked.retain(|(of, _), _| *of != index);
                self.handing.remove(&index);
            }
            if self.handing.get(&index).is_some_and(|handing| handing.epoch < epoch) {
                self.handing.remove(&index);
            }
            // They were to leave with one that is no owner any more.
            let (mut route, mut stayed) = (Vec::new(), Vec::new());
            if is_primary {
                // With who owns it no more there is nothing to do but to see how what was proposed ends.
                self.duties.retain(|(of, other), duty| {
                    let is_proposed = matches!(duty, Duty::Proposed { .. });
                    let stays = *of != index || placement.owns(*other) || is_proposed;
                    if let Duty::Leaves { leaving, .. } = duty
                        && !stays
                    {
                        stayed.extend(leaving.links().iter().cloned());
                    }
                    stays
                });
                for (rank, other) in (2..).zip(placement.replicas()) {
                    let open = self.duties.get(&(index, *other)).is_some_and(Duty::is_open);
                    let synced = match placement.is_in_sync(*other) {
                        _ if open => Synced::Perhaps,
                        true => Synced::Yes,
                        false => Synced::No,
                    };
                    let least_factor = least_factor(rank);
                    route.push(Route { link: self.link(*other), synced, least_factor });
                }
            }
            self.space.place(slot, role, &route, handed_over);
            if let (Role::Replica { .. }, Some(place)) =
                (role, placement.owners.iter().position(|id| *id == self.id))
            {
                let rank = u8::try_from(place + 1).unwrap_or(u8::MAX);
                self.space.narrow(slot, least_factor(rank));
            }
            for link in stayed {
                let is = placement.is_in_sync(link.member());
                self.space.set_synced(slot, &link, if is { Synced::Yes } else { Synced::No });
            }
            if old.is_some_and(|old| old.owns(self.id)) && !placement.owns(self.id) {
                self.space.clear_slot(slot);
                dropped.push(index);
            }
        }
        if stores != version.stores {
            self.space.set_stores(&version.stores);
        }
        // What was proposed has come to its end, whatever that is.
        let resolved: Vec<_> = self
            .duties
            .iter()
            .filter(|(_, duty)| duty.ends_with().is_some_and(|end| end <= number))
            .map(|(key, _)| *key)
            .collect();
        for (index, other) in resolved {
            self.duties.remove(&(index, other));
            let is = version.placements[index].is_in_sync(other);
            let synced = if is { Synced::Yes } else { Synced::No };
            self.space.set_synced(SLOTS[index].0, &self.link(other), synced);
        }
        self.serve();
        dropped
    }

    /// By a mistake, takes the table's word for what it is although it means an earlier process.
    pub fn pretend(&mut self, version: &Version) {
        if !self.is_known {
            let mut version = version.clone();
            version.incarnations.insert(self.id, self.incarnation);
            self.see(self.version.unwrap_or(0), &version, None);
            self.is_known = false;
            for (index, (slot, _)) in SLOTS.iter().enumerate() {
                self.space.set_serving(*slot, self.lease && self.is_primary(index));
            }
        }
    }

    /// Serves what it may.
    pub fn serve(&mut self) {
        for (index, (slot, _)) in SLOTS.iter().enumerate() {
            let serves = self.is_known
                && self.lease
                && self.is_primary(index)
                && !self.handing.contains_key(&index);
            if self.space.is_serving(*slot) != serves {
                self.space.set_serving(*slot, serves);
            }
        }
    }

    /// Asks the other owners of its slots whether they hold the same.
    pub fn check_copies(&self) {
        for (slot, _) in SLOTS {
            self.space.check_copies(slot, self.now_ms);
        }
    }

    /// Its copy of a slot becomes another one than its primary's; false if it has none that counts.
    pub fn damage(&self, index: usize) -> bool {
        let (slot, tag) = SLOTS[index];
        let is_copy = matches!(self.space.feed().role(slot), Role::Replica { .. });
        if !is_copy || self.space.feed().position(slot).epoch == 0 {
            return false;
        }
        let (key, value) = (format!("{{{tag}}}damaged"), self.now_ms.to_string());
        let mut commands = Vec::new();
        put_command(&mut commands, &[b"SET", key.as_bytes(), value.as_bytes()]);
        let (time_ms, commands) = (self.now_ms, &commands[..]);
        let record = Record { sequence: 1, time_ms, store: 0, slot, continues: false, commands };
        self.space.replay(&record).is_ok()
    }

    /// Runs a command; `None` if its slot is not served here.
    pub fn call(&self, store: StoreNumber, words: &[&[u8]]) -> Option<Called> {
        let spec = lookup(words).ok()?;
        let mut reply = Vec::new();
        let to = &mut Writer::new(&mut reply, Protocol::Resp2);
        awaits::take();
        self.space.execute(spec, store, words, self.now_ms, to).ok()?;
        Some(Called { reply, awaited: awaits::take().unwrap_or_default() })
    }

    /// Runs commands as one.
    pub fn transact(&self, store: StoreNumber, commands: &[Vec<&[u8]>]) -> Option<Called> {
        let mut steps = Vec::new();
        for words in commands {
            let spec = lookup(words).ok()?;
            let args = words.iter().copied().collect();
            steps.push(Step { spec, store, protocol: Protocol::Resp2, args });
        }
        let mut reply = Vec::new();
        awaits::take();
        let ran = self.space.transact(&[], &steps, &NoScripts, self.now_ms, &mut reply).ok()?;
        if ran != hypercache_core::command::Transacted::Done {
            reply = b"-".to_vec();
        }
        Some(Called { reply, awaited: awaits::take().unwrap_or_default() })
    }
}
