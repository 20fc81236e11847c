//! Keyspace events: what happens to keys of this member's slots, published as Redis publishes it, to
//! the subscribers of all members.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;

use hypercache_core::cluster::View;
use hypercache_core::keyspace::{EventClasses, Keyspace, Notice};

use super::{PubSub, Target};
use crate::raft;

/// Notices after which others get a turn on the thread.
const TURN: usize = 256;

/// Publishes what happens to the keys of a member's slots.
pub struct Events {
    keyspace: Arc<Keyspace>,
    cluster: raft::Handle,
    pubsub: Arc<PubSub>,
}

impl Events {
    /// Nothing is published before [`Self::run`].
    pub fn new(keyspace: Arc<Keyspace>, cluster: raft::Handle, pubsub: Arc<PubSub>) -> Self {
        Self { keyspace, cluster, pubsub }
    }

    /// Publishes for ever, one notice after the other, so that those of a slot keep their order.
    pub async fn run(self) {
        let mut dropped = 0;
        loop {
            let notices = self.keyspace.notices();
            let waiting: VecDeque<Notice> = poll_fn(|cx| notices.poll_take(cx.waker())).await;
            let now_dropped = notices.dropped();
            if now_dropped > dropped {
                tracing::warn!(
                    action = "keyspace-events-dropped",
                    events = now_dropped - dropped,
                    "more happens to keys than can be published: some keyspace events are dropped"
                );
                dropped = now_dropped;
            }
            let (view, classes) = (self.cluster.view(), notices.classes());
            for (at, notice) in waiting.iter().enumerate() {
                self.publish(&view, classes, notice);
                if at % TURN == TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn publish(&self, view: &View, classes: EventClasses, notice: &Notice) {
        let Notice { event, store, key } = notice;
        if classes.contains(EventClasses::KEYSPACE) {
            let mut channel = format!("__keyspace@{store}__:").into_bytes();
            channel.extend_from_slice(key);
            self.pubsub.publish(view, Target::Channel, &channel, event.name.as_bytes());
        }
        if classes.contains(EventClasses::KEYEVENT) {
            let channel = format!("__keyevent@{store}__:{}", event.name);
            self.pubsub.publish(view, Target::Channel, channel.as_bytes(), key);
        }
    }
}
