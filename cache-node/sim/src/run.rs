//! A member under a seed's commands, faults and crashes.

use crate::choice::{Choice, Dice};
use crate::disk::{Disk, Faults};
use crate::member::{Content, Done, Member, Start};
use crate::model::Model;
use hypercache_core::log::directory::{Directory, Folder};
use hypercache_core::log::{Ticket, catalog};
use hypercache_core::store::{Durability, Fsync, Mode, StoreNumber, StorePolicy};

/// The stores of a simulated member.
pub const STORES: [StoreNumber; 3] = [0, 1, 2];
const START_MS: u64 = 1_700_000_000_000;
const KEYS: usize = 6;

/// What a run is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How often the member is started.
    pub lives: usize,
    /// The most steps of a life.
    pub steps: usize,
    /// Whether the disk fails.
    pub faults: bool,
    /// Whether what is done is printed.
    pub prints: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Commands that were done.
    pub writes: u64,
    /// Crashes that were recovered from.
    pub crashes: u64,
    /// Crashes while what a crash left was read.
    pub crashes_in_recovery: u64,
    /// Snapshots that came to a good end.
    pub snapshots: u64,
    /// Times at which something of the log was lost to a disk that failed.
    pub losses: u64,
    /// The same for the same steps with the same ends.
    pub digest: u64,
}

struct Running {
    dice: Dice,
    model: Model,
    ran: Ran,
    policies: Vec<StorePolicy>,
    now_ms: u64,
    /// The latest that it ever was.
    latest_ms: u64,
    /// Makes values different from each other.
    value: u64,
    prints: bool,
    /// The last life ended while the log lacked something that was in no snapshots yet.
    lacks: bool,
}

/// Prints what is done, if that is asked for.
macro_rules! say {
    ($running:expr, $($what:tt)*) => {
        if $running.prints {
            println!($($what)*);
        }
    };
}

/// Does what a seed says.
///
/// # Errors
/// What was found that must not be.
pub fn run(seed: u64, options: Options) -> Result<Ran, String> {
    let mut running = Running {
        dice: Dice::new(seed),
        model: Model::default(),
        ran: Ran::default(),
        policies: Vec::new(),
        now_ms: START_MS,
        latest_ms: START_MS,
        value: 0,
        prints: options.prints,
        lacks: false,
    };
    running.policies = STORES.map(|store| running.policy(store)).to_vec();
    let mut disk = Disk::new(seed);
    for life in 0..options.lives {
        say!(running, "--- life {life}");
        let lived = running.live(disk, seed, options);
        disk = lived.map_err(|wrong| format!("seed {seed}, life {life}: {wrong}"))?;
    }
    Ok(running.ran)
}

impl Running {
    fn policy(&mut self, store: StoreNumber) -> StorePolicy {
        let modes = [Mode::Aof, Mode::AofSnapshot, Mode::Aof, Mode::Snapshot, Mode::Disabled];
        let fsyncs = [Fsync::Always, Fsync::Periodic, Fsync::Never];
        let mut durability = Durability::of(modes[self.dice.pick(modes.len())]);
        durability.fsync = fsyncs[self.dice.pick(fsyncs.len())];
        durability.compression = self.dice.one(3);
        durability.batch_size = [1, 3, 1000][self.dice.pick(3)];
        let name = if store == 0 { "default".to_owned() } else { format!("store{store}") };
        StorePolicy { durability, ..StorePolicy::new(name, store) }
    }

    /// From a start to a crash; the disk after it.
    fn live(&mut self, disk: Disk, seed: u64, options: Options) -> Result<Disk, String> {
        let member = self.start(disk, seed)?;
        for store in STORES {
            say!(self, "store {store}: {:?} {:?}", member.mode(store), shown(&member, store));
        }
        say!(self, "{:?}", member.report);
        say!(self, "{}", listed(&member.disk));
        self.latest_ms = self.latest_ms.max(self.now_ms);
        self.model.check(&member, &STORES, self.lacks, self.latest_ms)?;
        let kept = |store: &StoreNumber| member.mode(*store) != Mode::Disabled;
        STORES.into_iter().filter(|it| !kept(it)).for_each(|it| self.model.begins_anew(it));
        if self.dice.one(4) {
            self.again(&member, seed)?;
        }
        if self.dice.one(2) {
            member.disk.die_after(self.dice.pick(options.steps) as u64);
        }
        let steps = self.dice.pick(options.steps);
        for _ in 0..steps {
            self.step(&member, options);
            self.look(&member);
            if member.disk.is_dead() {
                break;
            }
        }
        member.disk.die();
        self.lacks = member.standing.to_regain().is_some();
        self.ran.losses += member.standing.lost.load(std::sync::atomic::Ordering::Relaxed);
        self.ran.digest = self.ran.digest.rotate_left(9) ^ member.disk.digest();
        self.ran.crashes += 1;
        let next = self.dice.next_u64();
        Ok(member.disk.after_crash(&mut self.dice, next))
    }

    /// Starts a member, which may die before it has begun.
    fn start(&mut self, mut disk: Disk, seed: u64) -> Result<Member, String> {
        self.now_ms += self.dice.pick(3) as u64 * 400;
        if self.dice.one(8) {
            // Somebody set the clock.
            self.now_ms -= 3_600_000;
        }
        loop {
            if self.dice.one(4) {
                disk.die_after(self.dice.pick(12) as u64);
            }
            let start = Start {
                policies: self.policies.clone(),
                seed,
                now_ms: self.now_ms,
                segment_bytes: [300, 2_000, 1 << 20][self.dice.pick(3)],
                serves: true,
            };
            match Member::start(disk.clone(), &start) {
                Ok(member) if !disk.is_dead() => {
                    disk.die_after(u64::MAX);
                    return Ok(member);
                }
                Err(wrong) if !disk.is_dead() => {
                    let content = disk.content(wrong.folder, &wrong.name).unwrap_or_default();
                    say!(self, "{}", content.escape_ascii());
                    return Err(wrong.to_string());
                }
                _ => {}
            }
            self.ran.crashes_in_recovery += 1;
            let next = self.dice.next_u64();
            disk = disk.after_crash(&mut self.dice, next);
        }
    }

    /// What was recovered is recovered again as it is.
    fn again(&mut self, member: &Member, seed: u64) -> Result<(), String> {
        let disk = member.disk.copy();
        disk.die();
        let next = self.dice.next_u64();
        let start = Start {
            policies: self.policies.clone(),
            seed,
            now_ms: self.now_ms,
            segment_bytes: 1 << 20,
            serves: true,
        };
        let disk = disk.after_crash(&mut self.dice, next);
        let again = Member::start(disk, &start).map_err(|wrong| wrong.to_string())?;
        for store in STORES.into_iter().filter(|store| member.mode(*store) != Mode::Disabled) {
            if again.contents(store) != member.contents(store) {
                return Err(format!("store {store} is another when it is recovered again"));
            }
        }
        Ok(())
    }

    /// What is known to be on the disk by now.
    fn look(&mut self, member: &Member) {
        if !member.disk.is_dead() {
            self.model.durable(|ticket| member.journal().is_durable(ticket));
        }
    }

    fn step(&mut self, member: &Member, options: Options) {
        match self.dice.pick(40) {
            0..20 => self.write(member),
            20..28 => self.cycle(member),
            28 => {
                member.sync();
                say!(self, "sync: lost {:?}", member.standing);
            }
            29 => {
                self.now_ms += [1, 100, 1_000][self.dice.pick(3)];
                member.now_ms.set(self.now_ms);
                self.latest_ms = self.latest_ms.max(self.now_ms);
            }
            30 => self.expire(member),
            31 => {
                let store = STORES[self.dice.pick(STORES.len())];
                self.snapshot(member, store);
            }
            33 => {
                let logged = |store: &StoreNumber| member.mode(*store).is_logged();
                for store in STORES.into_iter().filter(logged) {
                    self.snapshot(member, store);
                }
            }
            34 => self.change_policy(member),
            35 if options.faults => {
                let often = [0, 0, 3, 10];
                let faults = Faults {
                    writes: often[self.dice.pick(often.len())],
                    syncs: often[self.dice.pick(often.len())],
                };
                member.disk.set_faults(faults);
                say!(self, "{faults:?}");
            }
            _ => {
                member.follow_again();
                let wanted = member.wanted.borrow().first().copied();
                match wanted {
                    Some(store) => self.snapshot(member, store),
                    None => {
                        let (model, ran) = (&mut self.model, &mut self.ran);
                        member.regain(|member, store| {
                            if !member.disk.is_dead() {
                                ran.snapshots += 1;
                                model.in_snapshot(store, model.index());
                            }
                        });
                    }
                }
            }
        }
    }

    fn snapshot(&mut self, member: &Member, store: StoreNumber) {
        let before = self.model.index();
        // The slots are asked for twice each; a few times something is done meanwhile.
        let mut at: Vec<usize> = (0..self.dice.pick(4)).map(|_| self.dice.pick(40_000)).collect();
        at.sort_unstable();
        let (mut asked, mut next) = (0, at.into_iter().peekable());
        let taken = member.snapshot(store, |member| {
            asked += 1;
            while next.next_if(|at| *at <= asked).is_some() {
                match self.dice.pick(3) {
                    0 => self.cycle(member),
                    _ => self.write(member),
                }
            }
        });
        say!(self, "snapshot of {store}: {taken:?}");
        if taken.is_ok() && !member.disk.is_dead() {
            self.ran.snapshots += 1;
            self.model.in_snapshot(store, before);
        }
    }

    fn change_policy(&mut self, member: &Member) {
        let store = STORES[self.dice.pick(STORES.len())];
        let policy = self.policy(store);
        let mut policies = self.policies.clone();
        let Some(place) = policies.iter_mut().find(|it| it.number == store) else { return };
        let was = std::mem::replace(place, policy.clone()).durability.mode;
        let done = member.set_policies(&policies);
        say!(self, "store {store} was {was:?}, is {:?}: {done:?}", policy.durability);
        self.policies = policies;
        if was != Mode::Disabled && policy.durability.mode != Mode::Disabled {
            return;
        }
        if done.is_ok() {
            return self.model.begins_anew(store);
        }
        // Nobody knows which the disk has: its values may be there or not.
        for key in self.model.present(store) {
            let current = self.model.current(store, &key).cloned();
            self.model.change(store, &key, None, None, None);
            self.model.change(store, &key, current, None, None);
        }
    }

    fn cycle(&mut self, member: &Member) {
        member.cycle();
        let failed = member.journal().failure();
        say!(self, "cycle: {:?} failed {failed:?}", member.standing);
    }

    fn ticket(&self, member: &Member, store: StoreNumber, ticket: Ticket) -> Option<Ticket> {
        member.mode(store).is_logged().then_some(ticket)
    }

    fn expire(&mut self, member: &Member) {
        member.space.expire_cycle(self.now_ms, 1_000_000);
        let ticket = member.journal().ticket();
        for store in STORES {
            let ticket = self.ticket(member, store, ticket);
            for key in self.model.present(store) {
                self.model.expire(store, &key, self.now_ms, ticket);
            }
        }
    }

    fn new_value(&mut self) -> Vec<u8> {
        self.value += 1;
        let mut value = format!("v{}.", self.value).into_bytes();
        let len = [0, 0, 0, 50, 700, 1500][self.dice.pick(6)];
        value.resize(value.len() + len, b'x');
        value
    }

    fn key(&mut self) -> Vec<u8> {
        format!("k{}", self.dice.pick(KEYS)).into_bytes()
    }

    /// One command, and what it changes.
    fn write(&mut self, member: &Member) {
        let store = STORES[self.dice.pick(STORES.len())];
        let what = self.dice.pick(12);
        if (4..7).contains(&what) && member.wanted.borrow().contains(&store) {
            // What changes a value in place says nothing as long as that is in no snapshot.
            return;
        }
        match what {
            0 => self.several(member, store),
            1 => self.transact(member),
            2 if self.dice.one(4) => self.flush(member, store),
            3 => {
                let key = self.key();
                self.one(member, store, &key, &[b"DEL", &key], |_| None);
            }
            4 => {
                let key = self.key();
                let ends = self.now_ms + [100, 2_000, 100_000][self.dice.pick(3)];
                let at = ends.to_string();
                self.one(member, store, &key, &[b"PEXPIREAT", &key, at.as_bytes()], |current| {
                    current.map(|it| Content { expires_at_ms: ends, ..it })
                });
            }
            5 if self.dice.one(2) => {
                let key = [b"l", self.key().as_slice()].concat();
                self.one(member, store, &key, &[b"LPOP", &key], |current| {
                    let list = current?;
                    let mut lines = list.bytes.split(|byte| *byte == b'\n');
                    let (word, _) = (lines.next(), lines.next());
                    let rest: Vec<&[u8]> = word.into_iter().chain(lines).collect();
                    (rest.len() > 1).then(|| Content { bytes: rest.join(&b'\n'), ..list })
                });
            }
            5..7 => {
                let key = [b"l", self.key().as_slice()].concat();
                let value = self.new_value();
                self.one(member, store, &key, &[b"RPUSH", &key, &value], |current| {
                    let none = || Content { bytes: b"list".to_vec(), expires_at_ms: 0 };
                    let mut list = current.unwrap_or_else(none);
                    list.bytes.push(b'\n');
                    list.bytes.extend_from_slice(&value);
                    Some(list)
                });
            }
            _ => {
                let (key, value) = (self.key(), self.new_value());
                let content = Content { bytes: value.clone(), expires_at_ms: 0 };
                self.one(member, store, &key, &[b"SET", &key, &value], |_| Some(content));
            }
        }
    }

    fn one(
        &mut self,
        member: &Member,
        store: StoreNumber,
        key: &[u8],
        words: &[&[u8]],
        changed: impl FnOnce(Option<Content>) -> Option<Content>,
    ) {
        let done = member.run(store, words);
        say!(self, "{store}: {}: {done:?}", spoken(words));
        let Done::Done(ticket) = done else { return };
        self.ran.writes += 1;
        let ticket = self.ticket(member, store, ticket);
        self.model.expire(store, key, self.now_ms, ticket);
        let current = self.model.current(store, key).cloned();
        let content = changed(current.clone());
        if content != current {
            self.model.change(store, key, content, ticket, None);
        }
    }

    /// Several keys of a store as one.
    fn several(&mut self, member: &Member, store: StoreNumber) {
        let mut keys = vec![self.key(), self.key(), self.key()];
        keys.sort_unstable();
        keys.dedup();
        let pairs: Vec<_> = keys.into_iter().map(|key| (key, self.new_value())).collect();
        let mut words: Vec<&[u8]> = vec![b"MSET"];
        words.extend(pairs.iter().flat_map(|(key, value)| [key.as_slice(), value.as_slice()]));
        let done = member.run(store, &words);
        say!(self, "{store}: {}: {done:?}", spoken(&words));
        let Done::Done(ticket) = done else { return };
        self.ran.writes += 1;
        let ticket = self.ticket(member, store, ticket);
        // Of a store without a log that is not promised.
        let batch = ticket.map(|_| self.model.batch());
        for (key, value) in &pairs {
            let content = Content { bytes: value.clone(), expires_at_ms: 0 };
            self.model.expire(store, key, self.now_ms, ticket);
            self.model.change(store, key, Some(content), ticket, batch);
        }
    }

    /// Keys of several stores as one.
    fn transact(&mut self, member: &Member) {
        let mut commands = Vec::new();
        for store in STORES {
            if self.dice.one(2) {
                let words = vec![b"SET".to_vec(), self.key(), self.new_value()];
                commands.push((store, words));
            }
        }
        let done = member.transact(&commands);
        let Done::Done(ticket) = done else { return };
        self.ran.writes += 1;
        let batch = self.model.batch();
        for (store, words) in &commands {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            say!(self, "{store}: {} in batch {batch}: {done:?}", spoken(&words));
        }
        for (store, words) in commands {
            let (key, value) = (&words[1], words[2].clone());
            let of_log = self.ticket(member, store, ticket);
            let content = Content { bytes: value, expires_at_ms: 0 };
            self.model.expire(store, key, self.now_ms, of_log);
            // As above.
            let batch = of_log.map(|_| batch);
            self.model.change(store, key, Some(content), of_log, batch);
        }
    }

    fn flush(&mut self, member: &Member, store: StoreNumber) {
        let done = member.run(store, &[b"FLUSHDB"]);
        say!(self, "{store}: FLUSHDB: {done:?}");
        let Done::Done(ticket) = done else { return };
        self.ran.writes += 1;
        let ticket = self.ticket(member, store, ticket);
        for key in self.model.present(store) {
            self.model.change(store, &key, None, ticket, None);
        }
    }
}

fn spoken(words: &[&[u8]]) -> String {
    let short = words.iter().map(|word| word.get(..word.len().min(12)).unwrap_or_default());
    short.map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn shown(member: &Member, store: StoreNumber) -> Vec<String> {
    let contents = member.contents(store).into_iter();
    contents.map(|(key, it)| format!("{}={}", spoken(&[&key]), spoken(&[&it.bytes]))).collect()
}

/// The names on a disk, and `STORES`.
fn listed(disk: &Disk) -> String {
    let names = Folder::ALL.map(|folder| disk.names(folder).unwrap_or_default().join(" "));
    let stores = disk.content(Folder::Root, catalog::NAME).unwrap_or_default();
    format!("{} {}", names.join(" "), stores.escape_ascii())
}
