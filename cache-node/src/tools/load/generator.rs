//! What is asked next: a sequence that options and a seed determine. It knows no clock and no socket.

use super::command::Command;
use super::fault::Fault;
use super::keys::Keys;
use super::random::{Chance, Weighted};
use super::sizes::{Range, Sizes};

/// After so many faults about a text, the text is written again: it may have expired or been evicted.
const TEXT_EVERY: u64 = 64;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A command.
    Run(Command),
    /// The SET of the text that faults are about.
    Prepare,
    /// What a server refuses.
    Provoke(Fault),
}

/// A request, in so few words that it can be kept and written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub what: What,
    /// The number of its key.
    pub key: u64,
    /// Which field, member or bytes.
    pub salt: u64,
    /// How large its value is.
    pub value_bytes: u64,
    /// How long that lives.
    pub ttl_ms: Option<u64>,
}

/// What the requests of a load are like.
#[derive(Debug, Clone)]
pub struct Mix {
    /// The commands.
    pub commands: Weighted<Command>,
    /// The keys.
    pub keys: Keys,
    /// The sizes of values.
    pub sizes: Sizes,
    /// The lifetimes of what SET writes.
    pub lifetimes: Option<Range>,
    /// The share of SETs that give one.
    pub lifetime_share: f64,
    /// The share of requests that are wrong on purpose.
    pub fault_share: f64,
    /// How.
    pub faults: Weighted<Fault>,
}

/// The requests of one connection.
#[derive(Debug)]
pub struct Generator<'a> {
    mix: &'a Mix,
    chance: Chance,
    connection: u64,
    about_text: u64,
    /// The next key to be filled in and how far to the one after it, while filling.
    filling: Option<(u64, u64)>,
}

impl<'a> Generator<'a> {
    /// The requests of a connection.
    pub fn new(mix: &'a Mix, seed: u64, connection: u64) -> Self {
        let chance = Chance::new(seed ^ connection.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { mix, chance, connection, about_text: 0, filling: None }
    }

    /// A SET of each key whose turn is this connection's, of so many connections.
    pub fn filling(mix: &'a Mix, seed: u64, connection: u64, connections: u64) -> Self {
        Self { filling: Some((connection, connections)), ..Self::new(mix, seed, connection) }
    }

    /// The next request.
    pub fn next(&mut self) -> Request {
        if let Some((key, step)) = &mut self.filling {
            let number = *key;
            *key = key.saturating_add(*step);
            return self.request(What::Run(Command::Set), number);
        }
        // Chance is not asked where there is no choice: figures stay the same with faults at 0.
        if self.mix.fault_share > 0.0 && self.chance.unit() < self.mix.fault_share {
            let fault = self.mix.faults.draw(&mut self.chance);
            let mut what = What::Provoke(fault);
            if fault.needs_text() {
                let is_due = self.about_text.is_multiple_of(TEXT_EVERY);
                self.about_text += 1;
                if is_due {
                    what = What::Prepare;
                }
            }
            return self.request(what, self.connection);
        }
        let command = self.mix.commands.draw(&mut self.chance);
        let key = self.mix.keys.draw(&mut self.chance);
        self.request(What::Run(command), key)
    }

    fn request(&mut self, what: What, key: u64) -> Request {
        let value_bytes = self.mix.sizes.draw(&mut self.chance);
        let mut ttl_ms = None;
        if let (What::Run(Command::Set), Some(lifetimes)) = (what, self.mix.lifetimes)
            && self.chance.unit() < self.mix.lifetime_share
        {
            ttl_ms = Some(lifetimes.draw(&mut self.chance));
        }
        Request { what, key, salt: self.chance.below(1 << 32), value_bytes, ttl_ms }
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::sizes::parse_sizes;
    use super::*;

    /// A mix of GET and SET over ten keys.
    pub fn mix(fault_share: f64) -> Mix {
        Mix {
            commands: Weighted::new([(Command::Get, 3), (Command::Set, 1)]).unwrap(),
            keys: Keys::new(10, None),
            sizes: parse_sizes("10-20").unwrap(),
            lifetimes: Some(Range { first: 5, last: 6 }),
            lifetime_share: 0.5,
            fault_share,
            faults: Weighted::new([(Fault::WrongType, 1), (Fault::Unknown, 1)]).unwrap(),
        }
    }

    fn draw(mix: &Mix, seed: u64, connection: u64, count: usize) -> Vec<Request> {
        let mut generator = Generator::new(mix, seed, connection);
        (0..count).map(|_| generator.next()).collect()
    }

    #[test]
    fn the_same_seed_asks_the_same_and_connections_differ() {
        let mix = mix(0.1);
        assert_eq!(draw(&mix, 1, 0, 500), draw(&mix, 1, 0, 500));
        assert_ne!(draw(&mix, 1, 0, 500), draw(&mix, 1, 1, 500));
        assert_ne!(draw(&mix, 1, 0, 500), draw(&mix, 2, 0, 500));
    }

    #[test]
    fn commands_and_lifetimes_come_in_their_shares() {
        let drawn = draw(&mix(0.0), 1, 0, 8000);
        let sets: Vec<_> = drawn.iter().filter(|r| r.what == What::Run(Command::Set)).collect();
        assert!((1800..2200).contains(&sets.len()), "{}", sets.len());
        let living = sets.iter().filter(|r| r.ttl_ms.is_some()).count();
        assert!((sets.len() * 2 / 5..sets.len() * 3 / 5).contains(&living), "{living}");
        assert!(sets.iter().all(|r| r.ttl_ms.is_none_or(|ms| (5..=6).contains(&ms))));
        assert!(drawn.iter().all(|r| r.key < 10 && (10..=20).contains(&r.value_bytes)));
    }

    #[test]
    fn faults_come_in_their_share_and_find_the_text_that_they_are_about() {
        let drawn = draw(&mix(0.2), 1, 7, 5000);
        let faults = drawn.iter().filter(|r| !matches!(r.what, What::Run(_))).count();
        assert!((850..1150).contains(&faults), "{faults}");
        let prepared = drawn.iter().position(|r| r.what == What::Prepare).unwrap();
        let about = drawn.iter().position(|r| r.what == What::Provoke(Fault::WrongType)).unwrap();
        assert!(prepared < about);
        assert_eq!(drawn[about].key, 7);
    }

    #[test]
    fn filling_writes_each_key_once() {
        let mix = mix(0.5);
        let mut filled: Vec<u64> = Vec::new();
        for connection in 0..3 {
            let mut generator = Generator::filling(&mix, 1, connection, 3);
            filled.extend((0..2).map(|_| generator.next().key));
        }
        filled.sort_unstable();
        assert_eq!(filled, [0, 1, 2, 3, 4, 5]);
    }
}
