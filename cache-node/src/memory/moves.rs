//! Has keys' blocks moved together when the allocator's runs are much used in part only.
//!
//! `core::keyspace` moves blocks; here is when, how fast, and what the allocator must do for it.
//! A pass copies every block once: some tenths of a second of one core for each gigabyte.

use std::time::{Duration, Instant};

use hypercache_core::keyspace::{Keyspace, MoveCursor};

use crate::telemetry::process::{self, Allocator};

/// So much of runs may be free, or a tenth of what is in use.
const KEPT_BYTES: u64 = 16 << 20;
/// A step lasts so long and no longer; with ten a second a pass takes a fifth of one core.
const STEP: Duration = Duration::from_millis(20);
/// So many bytes are copied between two looks at the clock.
const STRIDE_BYTES: usize = 256 << 10;
/// A pass is followed by a pause of its own length, and no less than this.
const PAUSE: Duration = Duration::from_secs(2);

/// What is free in runs that are used in part.
fn waste(held: Allocator) -> u64 {
    held.active.saturating_sub(held.allocated)
}

/// When passes begin.
#[derive(Debug, Default)]
struct Plan {
    /// A pass that gained little is not repeated before so much more is wasted.
    not_below: u64,
}

impl Plan {
    /// Whether a pass is worth while.
    fn begins(&mut self, held: Allocator) -> bool {
        let waste = waste(held);
        let much = waste > KEPT_BYTES.max(held.allocated / 10);
        if !much {
            self.not_below = 0;
        }
        much && waste >= self.not_below
    }

    /// A pass is done that began with `before` of waste.
    fn ended(&mut self, before: u64, held: Allocator) {
        let after = waste(held);
        self.not_below = if after > before - before / 4 { after + after / 4 } else { 0 };
    }
}

struct Pass {
    cursor: MoveCursor,
    waste: u64,
    began: Instant,
}

/// Moves blocks, a step at a time, on a thread that does little else.
pub struct Mover {
    plan: Plan,
    pass: Option<Pass>,
    not_before: Instant,
}

impl Mover {
    /// For the thread that calls it: from now on the allocator keeps no free blocks for it. It
    /// would get back as new what it has just let go, and nothing would have moved.
    pub fn new() -> Self {
        process::keep_no_free_blocks();
        Self { plan: Plan::default(), pass: None, not_before: Instant::now() }
    }

    /// Whether a pass is under way.
    pub fn is_moving(&self) -> bool {
        self.pass.is_some()
    }

    /// Begins a pass if that is worth while.
    pub fn look(&mut self, held: Allocator) {
        if self.pass.is_none() && Instant::now() >= self.not_before && self.plan.begins(held) {
            let (cursor, waste, began) = (MoveCursor::default(), waste(held), Instant::now());
            self.pass = Some(Pass { cursor, waste, began });
        }
    }

    /// Goes on with the pass that is under way; true when that has come to its end, and free pages
    /// can go back.
    pub fn step(&mut self, keyspace: &Keyspace) -> bool {
        let Some(pass) = &mut self.pass else { return false };
        let end = Instant::now() + STEP;
        // Blocks stay with the arena that they are of: what they leave can be filled there only.
        let mut arena = process::Arena::of_this_thread();
        let mut before = |block: *const u8| arena.follow(block);
        while Instant::now() < end {
            match keyspace.move_blocks(pass.cursor, STRIDE_BYTES, &mut before) {
                Some(cursor) => pass.cursor = cursor,
                None => {
                    self.plan.ended(pass.waste, process::allocator());
                    let pause = PAUSE.max(pass.began.elapsed());
                    self.not_before = Instant::now() + pause;
                    self.pass = None;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(allocated_mib: u64, active_mib: u64) -> Allocator {
        let (allocated, active) = (allocated_mib << 20, active_mib << 20);
        Allocator { allocated, active, resident: active }
    }

    #[test]
    fn a_pass_begins_where_a_tenth_is_free_and_is_not_repeated_for_nothing() {
        let mut plan = Plan::default();
        assert!(!plan.begins(held(10, 25)) && !plan.begins(held(1000, 1090)));
        assert!(plan.begins(held(10, 30)) && plan.begins(held(1000, 1110)));
        plan.ended(110 << 20, held(1000, 1100));
        assert!(!plan.begins(held(1000, 1120)) && plan.begins(held(1000, 1130)));
        plan.ended(130 << 20, held(1000, 1020));
        assert!(!plan.begins(held(1000, 1020)) && plan.begins(held(1000, 1110)));
        plan.ended(110 << 20, held(1000, 1105));
        assert!(!plan.begins(held(1000, 1120)));
        // It went by itself; what comes then is looked at anew.
        assert!(!plan.begins(held(1000, 1001)) && plan.begins(held(1000, 1120)));
    }
}
