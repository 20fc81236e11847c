//! Publishing and subscribing, over the whole cluster.
//!
//! Subscriptions live on the member that the client is connected to, in a [`Registry`]. A message
//! is delivered there by its own member, and told to all others by a [`Relay`], as in Redis
//! Cluster: at most once, in the order of its publisher's connection. The number that PUBLISH
//! answers counts this member's receivers. Shard channels go the same way, so that it does not
//! matter which member a client is connected to; they only have names of their own.

mod arrivals;
mod events;
mod outbox;
mod registry;
mod relay;
mod subscriber;
mod wire;

use std::sync::Arc;

use hypercache_core::cluster::View;

pub use arrivals::Arrivals;
pub use events::Events;
pub use outbox::{Limits, Outbox};
pub use registry::Registry;
pub use relay::Relay;
pub use subscriber::Subscriber;

/// What a client listens to by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A channel: SUBSCRIBE.
    Channel,
    /// All channels whose names match: PSUBSCRIBE.
    Pattern,
    /// A shard channel: SSUBSCRIBE.
    Shard,
}

impl Topic {
    /// All of them, in the order of their indexes.
    pub const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// A number below 3.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// To a channel and the patterns that match it: PUBLISH.
    Channel,
    /// To a shard channel: SPUBLISH.
    Shard,
}

/// One member's part in publishing and subscribing.
#[derive(Debug)]
pub struct PubSub {
    registry: Arc<Registry>,
    relay: Relay,
}

impl PubSub {
    /// Delivers to what `registry` holds, and tells the others by `relay`.
    pub fn new(registry: Arc<Registry>, relay: Relay) -> Self {
        Self { registry, relay }
    }

    /// Who listens on this member.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// What may wait for a subscriber.
    pub fn limits(&self) -> &Limits {
        self.registry.limits()
    }

    /// Sends a message to the subscribers of all members; how many receive it on this one. Never
    /// waits.
    pub fn publish(&self, view: &View, target: Target, channel: &[u8], message: &[u8]) -> usize {
        self.relay.tell(view, target, channel, message);
        self.registry.deliver(target, channel, message)
    }
}
