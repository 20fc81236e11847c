//! Who listens to what on this member.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hypercache_core::command::matches;
use hypercache_core::resp::{Protocol, Writer};
use parking_lot::RwLock;

use super::outbox::Pushed;
use super::{Limits, Outbox, Target, Topic};
use crate::server::stats::Stats;

/// The name of a channel, pattern or shard channel.
pub type Name = Arc<[u8]>;

/// A name's subscribers by their clients' numbers, so that many come and go cheaply.
type Listeners = BTreeMap<u64, Arc<Outbox>>;

#[derive(Debug, Default)]
struct Names {
    listeners: RwLock<HashMap<Name, Listeners>>,
    /// How many there are, for those who only want to know whether any is.
    count: AtomicUsize,
}

/// Who listens to what on this member.
#[derive(Debug)]
pub struct Registry {
    names: [Names; 3],
    clients: AtomicUsize,
    stats: Arc<Stats>,
    limits: Arc<Limits>,
}

impl Registry {
    /// Nobody listens.
    pub fn new(stats: Arc<Stats>) -> Self {
        Self {
            names: Default::default(),
            clients: AtomicUsize::new(0),
            stats,
            limits: Arc::default(),
        }
    }

    /// What may wait for a subscriber.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Where closed subscribers are counted.
    pub(super) fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// From now on a client hears of this.
    pub(super) fn enter(&self, topic: Topic, name: &Name, outbox: &Arc<Outbox>) {
        let names = &self.names[topic.index()];
        let mut listeners = names.listeners.write();
        listeners.entry(name.clone()).or_default().insert(outbox.client_id(), outbox.clone());
        names.count.store(listeners.len(), Relaxed);
    }

    /// From now on a client hears of this no longer.
    pub(super) fn leave(&self, topic: Topic, name: &[u8], client_id: u64) {
        let names = &self.names[topic.index()];
        let mut listeners = names.listeners.write();
        if let Some(of_name) = listeners.get_mut(name) {
            of_name.remove(&client_id);
            if of_name.is_empty() {
                listeners.remove(name);
                if listeners.is_empty() {
                    *listeners = HashMap::new();
                }
            }
        }
        names.count.store(listeners.len(), Relaxed);
    }

    pub(super) fn count_client(&self, comes: bool) {
        if comes {
            self.clients.fetch_add(1, Relaxed);
        } else {
            self.clients.fetch_sub(1, Relaxed);
        }
    }

    /// How many clients listen to anything.
    pub fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// How many different names of a kind are listened to.
    pub fn count(&self, topic: Topic) -> usize {
        self.names[topic.index()].count.load(Relaxed)
    }

    /// How many clients listen to a name.
    pub fn listeners(&self, topic: Topic, name: &[u8]) -> usize {
        self.names[topic.index()].listeners.read().get(name).map_or(0, BTreeMap::len)
    }

    /// The names of a kind that are listened to, those that match a pattern if one is given.
    pub fn names(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Name> {
        // Matching may take long: not under the lock.
        let mut names: Vec<Name> =
            self.names[topic.index()].listeners.read().keys().cloned().collect();
        names.retain(|name| pattern.is_none_or(|pattern| matches(pattern, name)));
        names
    }

    /// Whether a message to this target could reach anybody.
    pub fn hears(&self, target: Target) -> bool {
        match target {
            Target::Channel => self.count(Topic::Channel) > 0 || self.count(Topic::Pattern) > 0,
            Target::Shard => self.count(Topic::Shard) > 0,
        }
    }

    /// Gives a message to all who listen on this member; how many they are. A client counts once
    /// for the channel and once for each pattern. Never waits for any of them.
    pub fn deliver(&self, target: Target, channel: &[u8], message: &[u8]) -> usize {
        if !self.hears(target) {
            return 0;
        }
        let mut delivery = Delivery::default();
        let (topic, word) = match target {
            Target::Channel => (Topic::Channel, &b"message"[..]),
            Target::Shard => (Topic::Shard, &b"smessage"[..]),
        };
        if self.count(topic) > 0
            && let Some(listeners) = self.names[topic.index()].listeners.read().get(channel)
        {
            delivery.give(&[word, channel, message], listeners);
        }
        if target == Target::Channel && self.count(Topic::Pattern) > 0 {
            for (pattern, listeners) in &*self.names[Topic::Pattern.index()].listeners.read() {
                if matches(pattern, channel) {
                    delivery.give(&[b"pmessage", pattern, channel, message], listeners);
                }
            }
        }
        delivery.too_slow.iter().for_each(|outbox| outbox.close());
        delivery.receivers
    }
}

/// One message on its way to many.
#[derive(Default)]
struct Delivery {
    frame: Vec<u8>,
    receivers: usize,
    /// Closed once no lock is held.
    too_slow: Vec<Arc<Outbox>>,
}

impl Delivery {
    fn give(&mut self, words: &[&[u8]], listeners: &Listeners) {
        self.frame.clear();
        let mut writer = Writer::new(&mut self.frame, Protocol::Resp3);
        writer.push(words.len());
        words.iter().for_each(|word| writer.bulk(word));
        for outbox in listeners.values() {
            if outbox.push(&self.frame) == Pushed::TooMuch {
                self.too_slow.push(outbox.clone());
            }
        }
        self.receivers += listeners.len();
    }
}
