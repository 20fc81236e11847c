//! Which seeds a test runs, as the environment says.

use std::ops::Range;

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
