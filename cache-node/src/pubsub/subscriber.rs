//! One connection's subscriptions; they end with it (S7).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::registry::Name;
use super::{Outbox, Registry, Topic};
use crate::server::resp::clients::Client;

/// What one client listens to. When this is dropped, however its connection ends, nothing of it is
/// left in the registry.
#[derive(Debug)]
pub struct Subscriber {
    registry: Arc<Registry>,
    client: Arc<Client>,
    outbox: Arc<Outbox>,
    names: [BTreeSet<Name>; 3],
    /// Whether it has unsubscribed from anything since [`Self::settle`].
    left: bool,
}

impl Subscriber {
    /// A client that listens to nothing yet.
    pub fn new(registry: Arc<Registry>, client: Arc<Client>) -> Self {
        registry.count_client(true);
        let (stats, limits) = (registry.stats().clone(), registry.limits().clone());
        let outbox = Arc::new(Outbox::new(client.clone(), stats, limits));
        Self { registry, client, outbox, names: Default::default(), left: false }
    }

    /// Where its messages wait.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Listens to a name; again is no different from once.
    pub fn subscribe(&mut self, topic: Topic, name: &[u8]) {
        if !self.names[topic.index()].contains(name) {
            let name = Name::from(name);
            self.registry.enter(topic, &name, &self.outbox);
            self.names[topic.index()].insert(name);
            self.show(topic);
        }
    }

    /// Listens to a name no longer. [`Self::settle`] must follow.
    pub fn unsubscribe(&mut self, topic: Topic, name: &[u8]) {
        if self.names[topic.index()].remove(name) {
            self.registry.leave(topic, name, self.outbox.client_id());
            self.show(topic);
        }
        self.left = true;
    }

    /// After a command whose reply begins at `at` of `out`: what was published before it
    /// unsubscribed goes before that reply, because behind it nothing of it may come. Whether it
    /// still listens to anything.
    pub fn settle(&mut self, at: usize, out: &mut Vec<u8>) -> bool {
        if std::mem::take(&mut self.left) {
            self.outbox.drain_at(at, out);
            return !self.is_empty();
        }
        true
    }

    /// The names of a kind that it listens to.
    pub fn names(&self, topic: Topic) -> Vec<Name> {
        self.names[topic.index()].iter().cloned().collect()
    }

    /// The number that its client is told: of channels and patterns together, or of shard channels.
    pub fn count(&self, topic: Topic) -> usize {
        let of = |topic: Topic| self.names[topic.index()].len();
        match topic {
            Topic::Channel | Topic::Pattern => of(Topic::Channel) + of(Topic::Pattern),
            Topic::Shard => of(Topic::Shard),
        }
    }

    /// Whether it listens to nothing.
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    fn show(&self, topic: Topic) {
        let count = self.names[topic.index()].len() as u32;
        self.client.subscriptions[topic.index()].store(count, Relaxed);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        for topic in Topic::ALL {
            for name in std::mem::take(&mut self.names[topic.index()]) {
                self.registry.leave(topic, &name, self.outbox.client_id());
            }
            self.show(topic);
        }
        self.registry.count_client(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::Target;
    use crate::server::resp::clients::Clients;
    use crate::server::stats::Stats;

    fn setting() -> (Arc<Registry>, Clients) {
        (Arc::new(Registry::new(Arc::new(Stats::new(1)))), Clients::default())
    }

    fn subscriber(registry: &Arc<Registry>, clients: &Clients) -> Subscriber {
        let addr = ([127, 0, 0, 1], 1).into();
        let client = clients.enter(addr, addr, 0, true);
        client.protocol.store(3, Relaxed);
        Subscriber::new(registry.clone(), client)
    }

    #[test]
    fn a_message_reaches_the_channel_and_each_pattern_that_matches() {
        let (registry, clients) = setting();
        let mut one = subscriber(&registry, &clients);
        let mut other = subscriber(&registry, &clients);
        one.subscribe(Topic::Channel, b"news");
        one.subscribe(Topic::Pattern, b"n*");
        other.subscribe(Topic::Pattern, b"x*");
        other.subscribe(Topic::Shard, b"news");
        assert_eq!(registry.deliver(Target::Channel, b"news", b"hi"), 2);
        let mut out = Vec::new();
        one.outbox().drain(&mut out);
        let wanted = ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n\
                      >4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(registry.deliver(Target::Shard, b"news", b"hi"), 1);
        let mut out = Vec::new();
        other.outbox().drain(&mut out);
        assert_eq!(out, b">3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    }

    #[test]
    fn s7_a_subscriber_that_ends_leaves_nothing_behind() {
        let (registry, clients) = setting();
        let mut one = subscriber(&registry, &clients);
        let mut other = subscriber(&registry, &clients);
        for topic in Topic::ALL {
            one.subscribe(topic, b"a");
            one.subscribe(topic, b"b");
            one.subscribe(topic, b"b");
            other.subscribe(topic, b"b");
        }
        assert_eq!((one.count(Topic::Channel), one.count(Topic::Shard)), (4, 2));
        assert_eq!(registry.clients(), 2);
        let client = one.client.clone();
        drop(one);
        assert!(client.subscriptions.iter().all(|count| count.load(Relaxed) == 0));
        for topic in Topic::ALL {
            assert_eq!(registry.count(topic), 1);
            assert_eq!(registry.listeners(topic, b"b"), 1);
            other.unsubscribe(topic, b"b");
            assert!(registry.names(topic, None).is_empty());
        }
        assert!(other.is_empty());
        drop(other);
        assert_eq!(registry.clients(), 0);
        assert_eq!(registry.deliver(Target::Channel, b"b", b"hi"), 0);
    }

    #[test]
    fn what_came_before_an_unsubscribe_goes_before_its_reply() {
        let (registry, clients) = setting();
        let mut one = subscriber(&registry, &clients);
        one.subscribe(Topic::Channel, b"a");
        registry.deliver(Target::Channel, b"a", b"m");
        let mut out = b"+OK\r\n+REPLY\r\n".to_vec();
        assert!(one.settle(5, &mut out), "nothing was unsubscribed: nothing moves");
        assert_eq!(out, b"+OK\r\n+REPLY\r\n");
        one.unsubscribe(Topic::Channel, b"a");
        assert!(!one.settle(5, &mut out));
        assert_eq!(out, b"+OK\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n+REPLY\r\n");
    }

    #[test]
    fn names_are_listed_by_pattern() {
        let (registry, clients) = setting();
        let mut one = subscriber(&registry, &clients);
        one.subscribe(Topic::Channel, b"news");
        one.subscribe(Topic::Channel, b"other");
        assert_eq!(registry.names(Topic::Channel, Some(b"n*")), [Name::from(&b"news"[..])]);
        assert_eq!(registry.names(Topic::Channel, None).len(), 2);
    }
}
