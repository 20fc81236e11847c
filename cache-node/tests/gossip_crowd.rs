//! Gossip in large clusters: SWIM with a member's configuration, on a simulated network and clock.
//!
//! `GOSSIP_MEMBERS=10000 cargo test --release -p hypercache --test gossip_crowd -- --nocapture` prints how
//! it does there (also `GOSSIP_LOSS_PERCENT`, `GOSSIP_SEED`). Identities are small, so that ten thousand members that know
//! ten thousand members fit into memory; in datagrams they take as many bytes as real ones with long names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use bytes::{Buf, BufMut};
use foca::{
    AccumulatingRuntime, Foca, Header, Member, Message, NoCustomBroadcast, OwnedNotification,
    State, Timer,
};
use hypercache::gossip::{ENVELOPE_BYTES, config};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What a member's identity takes in a datagram, with names of forty characters in all.
const IDENTITY_BYTES: usize = 41 + 3 + 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    number: u32,
    bump: u16,
}

impl foca::Identity for Id {
    type Addr = u32;

    fn renew(&self) -> Option<Self> {
        Some(Self { bump: self.bump + 1, ..*self })
    }

    fn addr(&self) -> u32 {
        self.number
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.bump > adversary.bump
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no room")]
struct NoRoom;

struct Codec;

fn put(id: Id, buf: &mut impl BufMut) -> Result<(), NoRoom> {
    if buf.remaining_mut() < IDENTITY_BYTES {
        return Err(NoRoom);
    }
    buf.put_u32(id.number);
    buf.put_u16(id.bump);
    buf.put_bytes(0, IDENTITY_BYTES - 6);
    Ok(())
}

fn take(buf: &mut impl Buf) -> Id {
    let id = Id { number: buf.get_u32(), bump: buf.get_u16() };
    buf.advance(IDENTITY_BYTES - 6);
    id
}

impl foca::Codec<Id> for Codec {
    type Error = NoRoom;

    fn encode_header(&mut self, header: &Header<Id>, mut buf: impl BufMut) -> Result<(), NoRoom> {
        put(header.src, &mut buf)?;
        buf.put_u16(header.src_incarnation);
        buf.put_u32(header.dst.number);
        buf.put_u16(header.dst.bump);
        let (tag, number, other) = match &header.message {
            Message::Ping(n) => (0, *n, None),
            Message::Ack(n) => (1, *n, None),
            Message::PingReq { target, probe_number } => (2, *probe_number, Some(*target)),
            Message::IndirectPing { origin, probe_number } => (3, *probe_number, Some(*origin)),
            Message::IndirectAck { target, probe_number } => (4, *probe_number, Some(*target)),
            Message::ForwardedAck { origin, probe_number } => (5, *probe_number, Some(*origin)),
            Message::Announce => (6, 0, None),
            Message::Feed => (7, 0, None),
            Message::Gossip => (8, 0, None),
            Message::Broadcast => (9, 0, None),
            Message::TurnUndead => (10, 0, None),
        };
        buf.put_u8(tag);
        buf.put_u8(number);
        other.map_or(Ok(()), |other| put(other, &mut buf))
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Id>, NoRoom> {
        let src = take(&mut buf);
        let src_incarnation = buf.get_u16();
        let dst = Id { number: buf.get_u32(), bump: buf.get_u16() };
        let (tag, probe_number) = (buf.get_u8(), buf.get_u8());
        let message = match tag {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: take(&mut buf), probe_number },
            3 => Message::IndirectPing { origin: take(&mut buf), probe_number },
            4 => Message::IndirectAck { target: take(&mut buf), probe_number },
            5 => Message::ForwardedAck { origin: take(&mut buf), probe_number },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            _ => Message::TurnUndead,
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(&mut self, member: &Member<Id>, mut buf: impl BufMut) -> Result<(), NoRoom> {
        if buf.remaining_mut() < IDENTITY_BYTES + 3 {
            return Err(NoRoom);
        }
        put(*member.id(), &mut buf)?;
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Id>, NoRoom> {
        let id = take(&mut buf);
        let incarnation = buf.get_u16();
        let state = match buf.get_u8() {
            0 => State::Alive,
            1 => State::Suspect,
            _ => State::Down,
        };
        Ok(Member::new(id, incarnation, state))
    }
}

type Swim = Foca<Id, Codec, StdRng, NoCustomBroadcast>;

enum What {
    Datagram(Vec<u8>),
    Due(Timer<Id>),
}

struct Event {
    at_us: u64,
    number: u64,
    to: u32,
    what: What,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

/// Members that all know each other, a network that loses datagrams, and a clock.
struct Crowd {
    members: Vec<Option<Swim>>,
    runtime: AccumulatingRuntime<Id>,
    events: BinaryHeap<Reverse<Event>>,
    made: u64,
    now_us: u64,
    random: StdRng,
    loss_percent: u32,
    sent_bytes: Vec<u64>,
    /// Of each that died: when the others took it for dead.
    known_us: BTreeMap<u32, Vec<u64>>,
    /// How often one that lives was taken for dead.
    false_deaths: u64,
}

impl Crowd {
    fn new(size: u32, loss_percent: u32, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let id = |number| Id { number, bump: 0 };
        let mut crowd = Self {
            members: Vec::new(),
            runtime: AccumulatingRuntime::new(),
            events: BinaryHeap::new(),
            made: 0,
            now_us: 0,
            random: StdRng::seed_from_u64(random.random()),
            loss_percent,
            sent_bytes: vec![0; size as usize],
            known_us: BTreeMap::new(),
            false_deaths: 0,
        };
        let size_config = config(size.next_power_of_two());
        for number in 0..size {
            // Nobody's timers go at the same moment.
            crowd.now_us = crowd.random.random_range(0..800_000);
            let own = StdRng::seed_from_u64(random.random());
            let mut swim = Foca::new(id(number), size_config.clone(), own, Codec);
            let others = (0..size).filter(|n| *n != number).map(|n| Member::alive(id(n)));
            swim.apply_many(others, false, &mut crowd.runtime).unwrap();
            crowd.members.push(Some(swim));
            crowd.after(number);
        }
        crowd.now_us = 0;
        crowd
    }

    fn after(&mut self, from: u32) {
        while let Some((to, datagram)) = self.runtime.to_send() {
            self.sent_bytes[from as usize] += (datagram.len() + ENVELOPE_BYTES) as u64;
            if self.random.random_range(0..100) >= self.loss_percent {
                let at_us = self.now_us + self.random.random_range(200..5_000);
                self.push(at_us, to.number, What::Datagram(datagram.to_vec()));
            }
        }
        while let Some((delay, timer)) = self.runtime.to_schedule() {
            self.push(self.now_us + delay.as_micros() as u64, from, What::Due(timer));
        }
        while let Some(told) = self.runtime.to_notify() {
            let OwnedNotification::MemberDown(down) = told else { continue };
            match self.members[down.number as usize] {
                Some(_) => self.false_deaths += 1,
                None => self.known_us.entry(down.number).or_default().push(self.now_us),
            }
        }
    }

    fn push(&mut self, at_us: u64, to: u32, what: What) {
        self.made += 1;
        self.events.push(Reverse(Event { at_us, number: self.made, to, what }));
    }

    /// Lets so much time pass.
    fn run(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1000;
        while let Some(Reverse(event)) = self.events.peek()
            && event.at_us <= end_us
        {
            let Some(Reverse(Event { at_us, to, what, .. })) = self.events.pop() else { break };
            self.now_us = at_us;
            let Some(swim) = &mut self.members[to as usize] else { continue };
            // What a late datagram or timer is refused for is nothing of the network's.
            let _refused = match what {
                What::Datagram(bytes) => swim.handle_data(&bytes, &mut self.runtime),
                What::Due(timer) => swim.handle_timer(timer, &mut self.runtime),
            };
            self.after(to);
        }
        self.now_us = end_us;
    }

    /// Bytes that a member sends a second, on average and at most, while so much time passes.
    fn bytes_a_second(&mut self, ms: u64) -> (u64, u64) {
        self.sent_bytes.fill(0);
        self.run(ms);
        let mean = self.sent_bytes.iter().sum::<u64>() / self.sent_bytes.len() as u64;
        let most = self.sent_bytes.iter().max().copied().unwrap_or(0);
        (mean * 1000 / ms, most * 1000 / ms)
    }

    /// How many of those that live are suspected, by one of so many that are asked.
    fn suspected(&self, asked: usize) -> usize {
        let step = (self.members.len() / asked).max(1);
        let views = self.members.iter().step_by(step).flatten();
        let is_wrong = |m: &&Member<Id>| {
            m.state() == State::Suspect && self.members[m.id().number as usize].is_some()
        };
        views.map(|view| view.iter_membership_state().filter(is_wrong).count()).max().unwrap_or(0)
    }
}

fn number_of(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_dead_are_known_to_all_and_the_living_are_not_taken_for_dead_under_loss() {
    let size = number_of("GOSSIP_MEMBERS", 120);
    let loss = number_of("GOSSIP_LOSS_PERCENT", 5);
    let seed = number_of("GOSSIP_SEED", rand::rng().random());
    println!("GOSSIP_SEED={seed}");
    let mut crowd = Crowd::new(size, loss, u64::from(seed));
    crowd.run(4_000);
    let mut suspected = Vec::new();
    let (mut mean, mut most) = (0, 0);
    for _ in 0..8 {
        let (second_mean, second_most) = crowd.bytes_a_second(1_000);
        (mean, most) = (mean + second_mean / 8, most.max(second_most));
        suspected.push(crowd.suspected(20));
    }
    println!(
        "{size} members, {loss} % loss: {mean} bytes a second a member, at most {most} in any second"
    );
    println!("living members suspected at some moments, by one who was asked: {suspected:?}");
    let died_us = crowd.now_us;
    let dead: Vec<u32> = (0..3).map(|n| n * size / 3 + 1).collect();
    for number in &dead {
        crowd.members[*number as usize] = None;
    }
    let living = (size - 3) as usize;
    // Rumours reach nearly all within seconds; who has missed one finds out when it asks the dead itself.
    for _ in 0..600 {
        crowd.run(500);
        if crowd.known_us.len() == 3 && crowd.known_us.values().all(|times| times.len() >= living) {
            break;
        }
    }
    for number in &dead {
        let times = crowd.known_us.get(number).cloned().unwrap_or_default();
        assert_eq!(times.len(), living, "seed {seed}: who knows that {number} is dead");
        let ms = |share: usize| (times[(living - 1) * share / 100] - died_us) / 1000;
        println!(
            "a death is known to the first after {} ms, to half after {}, to all after {}",
            ms(0),
            ms(50),
            ms(100)
        );
    }
    assert_eq!(crowd.false_deaths, 0, "seed {seed}: living members that were taken for dead");
    // Eight gossips and a probe's messages a second would be more, were they always full.
    assert!(mean < 40_000, "seed {seed}: {mean} bytes a second");
}
