//! All slots that this member is the primary of, compared with their copies once in a round, one after the other and
//! slowly: so that a copy that became another one is found before it is needed.

use std::sync::Arc;
use std::time::Duration;

use hypercache_core::cluster::SLOTS;
use tokio::time::{Instant, sleep};

use super::Context;
use crate::clock::now_ms;

/// Between two looks, at least.
const TICK: Duration = Duration::from_millis(10);
/// Nothing more is read at once after so long,
const MOST_AT_ONCE: Duration = Duration::from_millis(2);
/// and so many times as long nothing is.
const RESTS: u32 = 9;

/// Compares slots until the member stops.
pub(super) async fn keep(context: Arc<Context>, round: Duration) {
    let mut stop = context.stop.clone();
    let tick = (round / u32::from(SLOTS)).max(TICK);
    let at_once = (u128::from(SLOTS) * tick.as_millis()).div_ceil(round.as_millis().max(1));
    // Not from the first one on each time: a member that is started again often would come to no other.
    let mut next = (now_ms() % u64::from(SLOTS)) as u16;
    loop {
        let began = Instant::now();
        let mut done = 0;
        while done < at_once && began.elapsed() < MOST_AT_ONCE {
            context.keyspace.check_copies(next, now_ms());
            next = (next + 1) % SLOTS;
            done += 1;
        }
        let pause = tick.max(began.elapsed() * RESTS);
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = sleep(pause) => {}
        }
    }
}
