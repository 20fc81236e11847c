//! Members, network, table and clients together, step by step.

use super::duties::Wants;
use super::history::History;
use super::network::{Body, Confirmed, Connection, Message, Network};
use super::process::Process;
use super::table::{Table, step};
use super::{MEMBERS, OWNERS, SLOTS};
use crate::choice::{Choice, Dice};
use hypercache_core::cluster::{Act, Change, MemberId, Slot};
use hypercache_core::command::apply::Applied;
use hypercache_core::mutation::{self, Mutation};
use hypercache_core::replica::{Receive, Received, quorum_links};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A mistake that a run makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// One of the core's.
    Core(Mutation),
    /// A primary serves although its lease is over.
    ServesWithoutLease,
    /// The leader promotes any owner that is in sync, not the one that is furthest.
    AnyOwner,
    /// A process that starts serves before the table knows it.
    ServesUnknown,
    /// An owner leaves the in-sync set whatever those have that stay.
    LeavesAlone,
    /// A copy says how far it is although its table is older than the one by which it is asked.
    OlderTable,
}

impl Broken {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let shell = [Self::ServesWithoutLease, Self::AnyOwner, Self::ServesUnknown];
        let more = [Self::LeavesAlone, Self::OlderTable];
        Mutation::ALL.into_iter().map(Self::Core).chain(shell).chain(more)
    }
}

/// What a run is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Steps before everything heals.
    pub steps: usize,
    /// Whether what is done is printed.
    pub prints: bool,
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

/// A change of the table that is on its way.
pub struct Proposal {
    pub by: (MemberId, u64),
    change: Change,
    /// It says who is in sync.
    pub is_of_sync: bool,
    /// The duties that wait for it.
    duties: Vec<(usize, MemberId)>,
}

/// See the module.
pub struct World {
    pub dice: Dice,
    pub seed: u64,
    pub options: Options,
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
    sessions: u64,
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
        let start = |id| Process { leaves_alone, ..Process::start(id, id, seed) };
        let processes = MEMBERS.map(|id| (id, start(id)));
        Self {
            dice: Dice::new(seed),
            seed,
            options,
            table: Table::new(|id| id),
            network: Network::default(),
            processes: processes.into(),
            proposals: Vec::new(),
            history: History::default(),
            ran: Ran::default(),
            weak: [false; SLOTS.len()],
            damaged: [false; SLOTS.len()],
            late: None,
            sessions: 0,
            incarnations: 100,
        }
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
            match self.dice.pick(100) {
                0..=19 => self.command()?,
                20..=21 => self.fault(),
                22 => self.sudden()?,
                23..=26 => self.leader(),
                27..=29 => self.lease(),
                30..=31 => self.hand_over(),
                32 => self.clock(),
                33..=34 => self.move_slot(),
                _ => self.progress()?,
            }
            self.check_serving()?;
        }
        Ok(())
    }

    /// Something that brings the members on, and never harms.
    pub fn progress(&mut self) -> Result<(), String> {
        let what = self.dice.pick(9);
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
                    self.see();
                }
                _ => return self.answer(),
            }
        }
        Ok(())
    }

    pub fn member(&mut self) -> MemberId {
        MEMBERS[self.dice.pick(MEMBERS.len())]
    }

    pub fn pair(&mut self) -> (MemberId, MemberId) {
        let from = self.dice.pick(MEMBERS.len());
        let to = (from + 1 + self.dice.pick(MEMBERS.len() - 1)) % MEMBERS.len();
        (MEMBERS[from], MEMBERS[to])
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
        let in_sync = self.table.latest().placements[index].in_sync.len();
        let knows = process.space.feed().look(slot, |feed| feed.in_sync(3)).unwrap_or(1);
        let has_quorum = in_sync.max(knows) > usize::from(quorum_links(3));
        let (mut said, tag) = (Vec::new(), SLOTS[index].1);
        let mut dice = self.dice.clone();
        let ran =
            self.history.run(&mut dice, process, tag, has_quorum, &mut |what| said.push(what));
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
        let answered = self.history.answer(find, &mut |what| said.push(what));
        said.iter().for_each(|what| self.say(what));
        answered
    }

    /// Leases end for who is isolated, and begin again for who is not.
    fn lease(&mut self) {
        let id = self.member();
        let is_isolated = self.network.isolated == Some(id);
        let Some(process) = self.processes.get_mut(&id) else { return };
        let lease = !is_isolated;
        if process.lease != lease {
            process.lease = lease;
            if !lease && self.options.broken == Some(Broken::ServesWithoutLease) {
                return;
            }
            if lease {
                // Whoever gives it says of which table it is.
                let last = self.table.versions.len() - 1;
                process.see_up_to(last, &self.table.versions);
            }
            process.serve();
            self.say(&format!("{id}: lease {lease}"));
        }
    }

    /// The leader promotes where a primary cannot serve.
    pub fn leader(&mut self) {
        let index = self.dice.pick(SLOTS.len());
        let latest = self.table.latest();
        let placement = latest.placements[index].clone();
        let Some(primary) = placement.primary() else { return };
        let is_itself = |id: MemberId| {
            let process = self.processes.get(&id)?;
            (Some(&process.incarnation) == latest.incarnations.get(&id)).then_some(process)
        };
        if is_itself(primary).is_some_and(|process| process.lease) {
            return;
        }
        let heard = placement.in_sync.iter().copied().filter(|id| *id != primary);
        let heard = heard.filter(|id| self.network.isolated != Some(*id));
        let candidates: Vec<_> = heard
            .filter_map(|id| {
                let position = is_itself(id)?.space.feed().position(SLOTS[index].0);
                (position.epoch != 0).then_some((position, id))
            })
            .collect();
        // Who was not heard may have confirmed no quorum with each other.
        let unheard = placement.in_sync.len() - candidates.len();
        if unheard > usize::from(quorum_links(3)) {
            return;
        }
        let furthest = match self.options.broken {
            Some(Broken::AnyOwner) => candidates.first(),
            _ => candidates.iter().max(),
        };
        let Some((_, to)) = furthest.copied() else { return };
        self.say(&format!("slot {index}: {to} is promoted in the place of {primary}"));
        self.table.commit(&step(index, Act::Promote { epoch: placement.epoch, to }));
        self.ran.promoted += 1;
    }

    fn hand_over(&mut self) {
        let (id, index) = (self.member(), self.dice.pick(SLOTS.len()));
        let other = self.member();
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(version) = process.version.and_then(|at| self.table.versions.get(at)) else {
            return;
        };
        let placement = &version.placements[index];
        if process.serves(index) && placement.is_in_sync(other) && other != id {
            process.hand_over(index, other, placement.epoch);
            self.say(&format!("slot {index}: {id} hands it over to {other}"));
        }
    }

    /// The leader brings a slot to another owner, and lets one go that is too many.
    fn move_slot(&mut self) {
        let (id, index) = (self.member(), self.dice.pick(SLOTS.len()));
        let placement = self.table.latest().placements[index].clone();
        let Some(primary) = placement.primary().filter(|primary| *primary != id) else { return };
        let is_more = placement.owners.len() > OWNERS;
        let act = match (placement.owns(id), placement.is_in_sync(id)) {
            (false, _) if !is_more && self.processes.contains_key(&id) => Act::AddOwner(id),
            (true, false) if is_more => Act::RemoveOwner(id),
            (true, true) if placement.in_sync.len() > OWNERS => {
                // Its primary lets it go.
                if let Some(process) = self.processes.get_mut(&primary) {
                    process.drop_owner(index, id, true);
                }
                return;
            }
            _ => return,
        };
        self.say(&format!("slot {index}: {act:?}"));
        self.table.commit(&step(index, act));
        self.ran.moves += 1;
        if matches!(act, Act::RemoveOwner(_)) && self.dice.one(3) {
            // It is wanted again, before anybody may have heard that it was not.
            self.table.commit(&step(index, Act::AddOwner(id)));
            self.ran.moves += 1;
        }
    }

    fn clock(&mut self) {
        let id = self.member();
        let ms = self.dice.pick(60) as u64;
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.now_ms += ms;
        process.space.expire_cycle(process.now_ms, 1000);
        process.check_copies();
    }

    fn connect(&mut self) {
        let (from, to) = self.pair();
        if !self.network.reaches(from, to) || self.network.connections.contains_key(&(from, to)) {
            return;
        }
        if !self.processes.contains_key(&from) || !self.processes.contains_key(&to) {
            return;
        }
        self.ran.connections += 1;
        let Some(sender) = self.processes.get(&from) else { return };
        let link = sender.link(to);
        let session = link.session();
        let known = self.processes.get(&to).and_then(|it| it.received.get(&from));
        let known = known.filter(|it| it.session() == session && session != 0).cloned();
        let mut connection = Connection::default();
        match known {
            Some(received) => {
                for (slot, why) in received.refused() {
                    sender.space.refused(*slot, &link, session, *why);
                }
                link.confirm(session, received.number());
                connection.forward.extend(link.unconfirmed_after(received.number()));
                self.say(&format!("{from} to {to}: goes on"));
            }
            None => {
                self.sessions += 1;
                link.open(self.sessions);
                let received = Received::new(self.sessions);
                if let Some(peer) = self.processes.get_mut(&to) {
                    peer.received.insert(from, received);
                }
                self.say(&format!("{from} to {to}: session {}", self.sessions));
            }
        }
        self.network.connections.insert((from, to), connection);
    }

    fn send(&mut self) {
        let (from, to) = self.pair();
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return };
        let Some(process) = self.processes.get(&from) else { return };
        if let Some(cycle) = process.link(to).take() {
            connection.forward.push_back(Arc::clone(&cycle));
            // Sometimes it comes twice.
            if self.dice.one(20) {
                connection.forward.push_back(cycle);
            }
        }
    }

    fn deliver_forward(&mut self) -> Result<(), String> {
        let (from, to) = self.pair();
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return Ok(()) };
        let Some(cycle) = connection.forward.pop_front() else { return Ok(()) };
        let Some(peer) = self.processes.get_mut(&to) else { return Ok(()) };
        let mut received = peer.received.get(&from).cloned().unwrap_or_default();
        let mut refused = Vec::new();
        match received.receive(cycle.session, cycle.number) {
            Receive::Again if mutation::is(Mutation::DoneTwice) => {
                for frame in &cycle.frames {
                    let done = peer.space.apply(from, cycle.session, frame, peer.now_ms);
                    done.map_err(|damage| damage.to_string())?;
                }
            }
            Receive::Unknown => return Ok(()),
            Receive::Again => refused = received.refused().to_vec(),
            Receive::Next => {
                let mut applied = Applied::default();
                for frame in &cycle.frames {
                    let done = peer.space.apply(from, cycle.session, frame, peer.now_ms);
                    applied.merge(done.map_err(|damage| damage.to_string())?);
                }
                if let Some(error) = applied.errors.first() {
                    return Err(format!("{to} could not do what {from} did: {error}"));
                }
                self.ran.differing += applied.differing.len() as u64;
                let is_sound = |slot: &Slot| {
                    let index = SLOTS.iter().position(|(used, _)| used == slot);
                    index.is_some_and(|index| !self.damaged[index])
                };
                if let Some((slot, store)) =
                    applied.differing.iter().find(|(slot, _)| is_sound(slot))
                {
                    return Err(format!("{to} has not what {from} has of {slot}, store {store}"));
                }
                received.done(cycle.number, &applied.refused, &applied.attached);
                refused = applied.refused;
            }
        }
        peer.received.insert(from, received);
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return Ok(()) };
        let (session, number) = (cycle.session, cycle.number);
        connection.back.push_back(Confirmed { session, number, refused });
        Ok(())
    }

    fn deliver_back(&mut self) {
        let (from, to) = self.pair();
        let Some(connection) = self.network.connections.get_mut(&(from, to)) else { return };
        let Some(confirmed) = connection.back.pop_front() else { return };
        let Some(process) = self.processes.get(&from) else { return };
        let link = process.link(to);
        let Confirmed { session, number, refused } = confirmed;
        for (slot, why) in refused {
            process.space.refused(slot, &link, session, why);
        }
        link.confirm(session, number);
    }

    /// Sends a request or an answer.
    fn post(&mut self, message: Message) {
        if !self.network.reaches(message.from.0, message.to.0) || self.dice.one(20) {
            return;
        }
        if self.dice.one(20) {
            self.network.messages.push(message.clone());
        }
        self.network.messages.push(message);
    }

    fn deliver_message(&mut self) {
        if self.network.messages.is_empty() {
            return;
        }
        let at = self.dice.pick(self.network.messages.len());
        let Message { from, to, index, body } = self.network.messages.swap_remove(at);
        let Some(process) = self.processes.get_mut(&to.0) else { return };
        // Whoever asks says which process he means.
        if process.incarnation != to.1 {
            return;
        }
        let mut answer = None;
        match body {
            // An older table that is still to come may tell it that it is no owner, and it would drop what it was
            // given.
            Body::AskPosition { version } => {
                let knows = process.version >= Some(version);
                if knows || self.options.broken == Some(Broken::OlderTable) {
                    let position = process.space.feed().position(SLOTS[index].0);
                    answer = Some(Body::Position(position));
                }
            }
            Body::Piece { session, piece, entries } => {
                let now_ms = process.now_ms;
                let loaded = process.space.load_piece(from.0, session, &piece, &entries, now_ms);
                answer = Some(Body::Loaded(piece, loaded));
            }
            Body::Position(position) => process.positioned(index, from.0, position),
            Body::Loaded(piece, loaded) => process.loaded(index, from.0, &piece, loaded),
        }
        if let Some(body) = answer {
            self.post(Message { from: to, to: from, index, body });
        }
    }

    fn want(&mut self, by: (MemberId, u64), wants: Wants) {
        match wants {
            Wants::Nothing => {}
            Wants::Send(message) => self.post(message),
            Wants::Propose(change, duties) => {
                let says = |act: &Act| matches!(act, Act::InSync { .. });
                let is_of_sync = match &change {
                    Change::Place(steps) => steps.iter().any(|step| says(&step.act)),
                    _ => false,
                };
                self.proposals.push(Proposal { by, change, is_of_sync, duties });
            }
        }
    }

    /// A member does what is to be done for another owner of a slot, or for a hand-over.
    fn attend(&mut self) {
        let ((id, other), index) = (self.pair(), self.dice.pick(SLOTS.len()));
        let slow = self.dice.one(40);
        let (gives_up, repeats) = (self.dice.one(10), self.dice.one(8));
        let is_connected = self.network.connections.contains_key(&(id, other));
        let Some(process) = self.processes.get_mut(&id) else { return };
        let by = (id, process.incarnation);
        if !process.is_known {
            // What the table says of its slots has to be settled first: who is furthest is not known to
            // it alone.
            let leads = |placement: &hypercache_core::cluster::Placement| {
                placement.primary() == Some(id) && placement.in_sync.len() > 1
            };
            let latest = self.table.latest();
            let asks = self.proposals.iter().any(|proposal| proposal.by == by);
            if !asks && !latest.placements.iter().any(leads) {
                let change = Change::Restarted { member: id, incarnation: process.incarnation };
                self.proposals.push(Proposal { by, change, is_of_sync: false, duties: Vec::new() });
            }
            return;
        }
        let Some(version) = process.version.and_then(|at| self.table.versions.get(at)) else {
            return;
        };
        // An answer that was lost is asked for again.
        if repeats
            && matches!(process.duties.get(&(index, other)), Some(super::duties::Duty::Asks { .. }))
        {
            process.duties.remove(&(index, other));
        }
        let wants = match process.handing.contains_key(&index) {
            true if self.dice.one(2) => process.go_on_handing(index, gives_up),
            _ if slow || !is_connected && gives_up => {
                process.drop_owner(index, other, false);
                Wants::Nothing
            }
            _ => process.attend(index, other, version),
        };
        self.want(by, wants);
    }

    /// Hand-overs that cannot come to their end are given up.
    pub fn keep(&mut self) {
        let id = self.member();
        let Some(process) = self.processes.get_mut(&id) else { return };
        let Some(index) = process.handing.keys().next().copied() else { return };
        let (by, wants) = ((id, process.incarnation), process.go_on_handing(index, true));
        self.want(by, wants);
    }

    /// A proposal comes to its end.
    fn commit(&mut self) {
        if self.proposals.is_empty() {
            return;
        }
        let at = self.dice.pick(self.proposals.len());
        if self.network.isolated == Some(self.proposals[at].by.0) {
            return;
        }
        let Proposal { by, change, duties, .. } = self.proposals.swap_remove(at);
        self.say(&format!("{} proposed {change:?}", by.0));
        self.table.commit(&change);
        let last = self.table.versions.len() - 1;
        let process = self.processes.get_mut(&by.0).filter(|it| it.incarnation == by.1);
        let Some(process) = process else { return };
        for key in duties {
            if let Some(super::duties::Duty::Proposed { end }) = process.duties.get_mut(&key) {
                *end = Some(last);
            }
        }
    }

    /// A member sees another version of the table.
    fn see(&mut self) {
        let id = self.member();
        let last = self.table.versions.len() - 1;
        if self.network.isolated == Some(id) || self.late == Some(id) {
            return;
        }
        let Some(process) = self.processes.get_mut(&id) else { return };
        let next = process.version.map_or(0, |version| (version + 1).min(last));
        let next = next + self.dice.pick(last - next + 1);
        process.see_up_to(next, &self.table.versions);
        if self.options.broken == Some(Broken::ServesUnknown) {
            process.pretend(&self.table.versions[next]);
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
