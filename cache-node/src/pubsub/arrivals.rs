//! What other members published.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hypercache_core::cluster::MemberId;
use tokio::sync::Mutex;

use super::{Registry, Target, wire};
use crate::peer::{Answer, Handler};

/// Deliveries after which others get a turn on the thread.
const TURN: usize = 1000;

/// Delivers what other members published.
pub struct Arrivals {
    registry: Arc<Registry>,
    /// One batch after the other: a member's batches stay in their order.
    order: Arc<Mutex<()>>,
}

impl Arrivals {
    /// Delivers to those who listen on this member.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, order: Arc::default() }
    }
}

impl Handler for Arrivals {
    fn call(&self, _: MemberId, payload: Bytes, _: &mut BytesMut) -> Answer {
        let registry = self.registry.clone();
        if !registry.hears(Target::Channel) && !registry.hears(Target::Shard) {
            return Answer::Now;
        }
        let order = self.order.clone();
        Answer::Later(Box::pin(async move {
            let _turn = order.lock().await;
            let (mut at, mut done) = (0, 0);
            while at < payload.len() {
                let (published, next) =
                    wire::message_at(&payload, at).map_err(|malformed| malformed.to_string())?;
                at = next;
                let receivers =
                    registry.deliver(published.target, published.channel, published.message);
                done += 1 + receivers;
                if done >= TURN {
                    done = 0;
                    tokio::task::yield_now().await;
                }
            }
            Ok(Bytes::new())
        }))
    }
}
