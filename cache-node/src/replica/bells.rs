//! Who wakes a link's sender when there is something to send.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Wake, Waker};

use hypercache_core::cluster::MemberId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// One link's. Rung while nobody listens, it is heard by the next who does.
#[derive(Debug, Default)]
pub struct Bell(Notify);

impl Bell {
    /// Waits until it is rung.
    pub async fn rung(&self) {
        self.0.notified().await;
    }

    /// Rings it.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Those of all links.
#[derive(Debug, Default)]
pub struct Bells(Mutex<HashMap<MemberId, Arc<Bell>>>);

impl Bells {
    /// The one for the link to a member.
    pub fn of(&self, member: MemberId) -> Arc<Bell> {
        Arc::clone(self.0.lock().entry(member).or_default())
    }

    /// The same, to be rung by what it is given to.
    pub fn waker(&self, member: MemberId) -> Waker {
        Waker::from(self.of(member))
    }

    /// Rings all.
    pub fn ring_all(&self) {
        self.0.lock().values().for_each(|bell| bell.ring());
    }
}
