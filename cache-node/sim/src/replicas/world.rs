//! Members, network, table and clients together, step by step.

use super::history::History;
use super::leases::Leases;
use super::network::Network;
use super::process::Process;
use super::stores::holds;
use super::table::Table;
use super::{Broken, SLOTS, Shape, Stores};
use crate::choice::{Choice, Dice};
use crate::disk::Disk;
use hypercache_core::cluster::{Change, MemberId, PROTOCOLS};
use hypercache_core::mutation;
use hypercache_core::replica::quorum_links;
use hypercache_core::store::StorePolicy;
use std::collections::BTreeMap;

/// What a run is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Steps before everything heals.
    pub steps: usize,
    /// Whether what is done is printed.
    pub prints: bool,
    /// What the world has; `None`: what the seed says.
    pub shape: Option<Shape>,
    /// A mistake that it makes.
    pub broken: Option<Broken>,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Answers that were given.
    pub acked: u64,
    /// Commands whose end nobody knows.
    pub unknown: u64,
    /// Writes that were refused.
    pub refused: u64,
    /// Members that were killed.
    pub kills: u64,
    /// Slots that got another primary because theirs could not serve.
    pub promoted: u64,
    /// Versions of the table.
    pub versions: u64,
    /// Owners that were added to slots, and owners that went.
    pub moves: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Copies that were found not to be what their primaries hold.
    pub differing: u64,
    /// The same for the same steps with the same ends.
    pub digest: u64,
}

impl Ran {
    /// Both runs together. Of their steps nothing is told.
    pub fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.refused += other.refused;
        self.kills += other.kills;
        self.promoted += other.promoted;
        self.versions += other.versions;
        self.moves += other.moves;
        self.connections += other.connections;
        self.differing += other.differing;
    }
}

/// A change of the table that is on its way.
pub struct Proposal {
    pub by: (MemberId, u64),
    pub change: Change,
    /// It says who is in sync.
    pub is_of_sync: bool,
    /// The duties that wait for it.
    pub duties: Vec<(usize, MemberId)>,
}

/// See the module.
pub struct World {
    pub dice: Dice,
    pub seed: u64,
    pub options: Options,
    pub shape: Shape,
    pub table: Table,
    pub network: Network,
    pub processes: BTreeMap<MemberId, Process>,
    pub proposals: Vec<Proposal>,
    pub history: History,
    pub ran: Ran,
    /// A copy of each slot was lost, and those that are left may not be equal: another loss is more than a
    /// majority stands.
    pub weak: [bool; SLOTS.len()],
    /// Some copy of a slot was made another one.
    pub damaged: [bool; SLOTS.len()],
    /// It hears nothing of the table.
    pub late: Option<MemberId>,
    pub leases: Leases,
    /// Of members that do not run.
    pub disks: BTreeMap<MemberId, Disk>,
    /// Nothing goes wrong any more.
    pub is_healing: bool,
    pub sessions: u64,
    pub incarnations: u64,
}

/// Does what a seed says.
///
/// # Errors
/// What was found that must not be.
pub fn run(seed: u64, options: Options) -> Result<Ran, String> {
    mutation::set(match options.broken {
        Some(Broken::Core(mutation)) => Some(mutation),
        _ => None,
    });
    let mut world = World::new(seed, options);
    let ended = world.live().and_then(|()| world.settle());
    mutation::set(None);
    ended.map_err(|wrong| format!("seed {seed}: {wrong}"))?;
    let History { acked, unknown, refused, .. } = world.history;
    let versions = world.table.versions.len() as u64;
    Ok(Ran { acked, unknown, refused, versions, ..world.ran })
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let leaves_alone = options.broken == Some(Broken::LeavesAlone);
        let shape = options.shape.unwrap_or_else(|| Shape::of(seed));
        let protocol = if shape.upgrades { *PROTOCOLS.start() } else { *PROTOCOLS.end() };
        let mut world = Self {
            dice: Dice::new(seed),
            seed,
            options,
            shape,
            table: Table::new(shape.ids(), shape.policies(), protocol),
            network: Network::default(),
            processes: BTreeMap::new(),
            proposals: Vec::new(),
            history: History::default(),
            ran: Ran::default(),
            weak: [false; SLOTS.len()],
            damaged: [false; SLOTS.len()],
            late: None,
            leases: Leases::new(shape.clocks, shape.ids(), seed),
            disks: BTreeMap::new(),
            is_healing: false,
            sessions: 0,
            incarnations: 100,
        };
        for id in shape.ids() {
            if let Some(process) = world.new_process(*id, *id) {
                world.processes.insert(*id, Process { leaves_alone, ..process });
            }
        }
        world
    }

    pub fn say(&mut self, what: &str) {
        for byte in what.bytes() {
            let digest = self.ran.digest ^ u64::from(byte);
            self.ran.digest = digest.wrapping_mul(0x0100_0000_01b3);
        }
        if self.options.prints {
            println!("{what}");
        }
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..self.options.steps {
            self.tick();
            if self.shape.upgrades && self.dice.one(600) {
                // The leader heard from the last member that it knows more.
                self.table.commit(&Change::RaiseProtocol(*PROTOCOLS.end()));
            }
            if self.shape.stores == Stores::Changing && self.dice.one(150) {
                self.change_store();
            }
            match self.dice.pick(100) {
                0..=19 => self.command()?,
                20..=21 => self.fault(),
                // Whoever may be killed at any moment is not killed in each.
                22 if self.shape.disks && !self.dice.one(4) => self.start_again(),
                22 => self.sudden()?,
                23..=26 => self.leader(),
                27..=29 => self.lease()?,
                30..=31 => self.hand_over(),
                32 => self.clock(),
                n if n >= 33 && n < 33 + self.shape.moves => self.move_slot(),
                _ => self.progress()?,
            }
            self.check_serving()?;
        }
        Ok(())
    }

    /// Something that brings the members on, and never harms.
    pub fn progress(&mut self) -> Result<(), String> {
        // Disks are slow.
        let what = self.dice.pick(if self.shape.disks { 10 } else { 9 });
        for _ in 0..=self.dice.pick(10) {
            match what {
                0 => self.connect(),
                1 => self.send(),
                2 | 3 => self.deliver_forward()?,
                4 => self.deliver_back(),
                5 => self.deliver_message(),
                6 => self.attend(),
                7 => {
                    self.commit();
                    self.see()?;
                }
                8 => return self.answer(),
                _ => self.force(),
            }
        }
        Ok(())
    }

    pub fn member(&mut self) -> MemberId {
        let ids = self.shape.ids();
        ids[self.dice.pick(ids.len())]
    }

    pub fn pair(&mut self) -> (MemberId, MemberId) {
        let ids = self.shape.ids();
        let from = self.dice.pick(ids.len());
        let to = (from + 1 + self.dice.pick(ids.len() - 1)) % ids.len();
        (ids[from], ids[to])
    }

    fn command(&mut self) -> Result<(), String> {
        let id = self.member();
        self.command_at(id)
    }

    pub fn command_at(&mut self, id: MemberId) -> Result<(), String> {
        let index = self.dice.pick(SLOTS.len());
        let Some(process) = self.processes.get(&id).filter(|it| it.serves(index)) else {
            return Ok(());
        };
        // As the primary itself knows it, or better.
        let slot = SLOTS[index].0;
        let placement = &self.table.latest().placements[index];
        let has_quorum = |store: &StorePolicy| {
            let factor = store.replication_factor;
            let holds = |id: &&MemberId| holds(placement, **id, store);
            let in_sync = placement.in_sync.iter().filter(holds).count();
            let knows = process.space.feed().look(slot, |feed| feed.in_sync(factor)).unwrap_or(1);
            in_sync.max(knows) > usize::from(quorum_links(factor))
        };
        let (mut said, tag) = (Vec::new(), SLOTS[index].1);
        let mut dice = self.dice.clone();
        let ran =
            self.history.run(&mut dice, process, tag, &has_quorum, &mut |what| said.push(what));
        self.dice = dice;
        said.iter().for_each(|what| self.say(what));
        ran
    }

    pub fn answer(&mut self) -> Result<(), String> {
        let (processes, broken) = (&self.processes, self.options.broken);
        let find = |(id, incarnation): (MemberId, u64)| {
            let process = processes.get(&id).filter(|it| it.incarnation == incarnation)?;
            let may = process.lease || broken == Some(Broken::ServesWithoutLease);
            Some(Some(process).filter(|_| may))
        };
        let mut said = Vec::new();
        let waits = broken != Some(Broken::UnforcedAnswer);
        let answered = self.history.answer(find, waits, &mut |what| said.push(what));
        said.iter().for_each(|what| self.say(what));
        answered
    }

    fn clock(&mut self) {
        let id = self.member();
        let ms = self.dice.pick(60) as u64;
        self.set_clock(id);
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.now_ms += ms;
        process.space.expire_cycle(process.now_ms, 1000);
        if self.shape.damage {
            process.check_copies();
        }
    }

    /// Two members never serve one slot.
    fn check_serving(&self) -> Result<(), String> {
        for index in 0..SLOTS.len() {
            let serving = self.processes.values().filter(|process| process.serves(index));
            let serving: Vec<_> = serving.map(|process| process.id).collect();
            if serving.len() > 1 {
                return Err(format!("slot {index} is served by {serving:?}"));
            }
        }
        Ok(())
    }
}
