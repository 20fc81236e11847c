//! Which seeds a test runs, as the environment says.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `SIM_SEED`: the one that is to be replayed and printed.
pub fn replayed() -> Option<u64> {
    from_environment("SIM_SEED")
}

/// That one; else `SIM_SEEDS` of them, or `usual`, from `SIM_FROM` on.
pub fn seeds(usual: u64) -> Range<u64> {
    if let Some(seed) = replayed() {
        return seed..seed + 1;
    }
    let from = from_environment("SIM_FROM").unwrap_or(1);
    from..from + from_environment("SIM_SEEDS").unwrap_or(usual)
}

/// Whether the environment asks for a number of seeds.
pub fn is_long() -> bool {
    from_environment("SIM_SEEDS").is_some()
}

/// So many that nobody has run before, but for chance.
pub fn fresh_seeds(count: u64) -> Range<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let from = now.as_millis() as u64;
    from..from + count
}
