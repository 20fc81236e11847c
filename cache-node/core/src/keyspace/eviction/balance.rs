//! How large the window of W-TinyLFU should be, learnt from the keys that come back.
//!
//! A key that comes back soon after it left would have been found, had its part of the store
//! been a little larger. So, as with the ghosts of ARC (Megiddo, Modha 2003) and the shadow queues
//! of Cliffhanger (Cidon, Eisenman, Alizadeh, Katti 2016), each such return moves the border by some
//! keys; at rest, a place more would win as much on either side. Only what comes back *soon* counts:
//! a loop over more than fits comes back too, but no larger window would have held it.

use super::ghosts::Return;

/// The window's share of a store's keys at first.
const FIRST_SHARE: f64 = 0.1;
/// Its bounds.
const SHARES: std::ops::RangeInclusive<f64> = 0.005..=0.9;
/// A key came back soon if this part more of the store would have held it.
const SOON: f64 = 0.03;
/// So many keys the border moves for one of them.
const STEP: f64 = 2.0;
/// One leaving key's weight in the mean of how many leave the main part.
const MEMORY: f64 = 0.001;

/// Where the border stands.
#[derive(Debug)]
pub struct Balance {
    share: f64,
    /// The part of all leaving keys that leaves the main part: its own clock goes by these.
    main: f64,
}

impl Default for Balance {
    fn default() -> Self {
        Self { share: FIRST_SHARE, main: 0.0 }
    }
}

impl Balance {
    /// How many of so many keys belong in the window.
    pub fn target(&self, keys: u64) -> usize {
        ((keys as f64 * self.share) as usize).max(1)
    }

    /// A key leaves.
    pub fn left(&mut self, from_main: bool) {
        self.main += MEMORY * (f64::from(u8::from(from_main)) - self.main);
    }

    /// A key comes back to a store of so many keys, after so many others came in.
    pub fn came_back(&mut self, back: &Return, away_keys: u64, keys: u64) {
        let keys = keys.max(1) as f64;
        // The window's queue moves with every key that comes in, the rest with those that it
        // gives up.
        let moved = away_keys as f64 * if back.from_main { self.main } else { 1.0 };
        if moved <= SOON * keys {
            let step = STEP / keys;
            let step = if back.from_main { -step } else { step };
            self.share = (self.share + step).clamp(*SHARES.start(), *SHARES.end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came_back(balance: &mut Balance, from_main: bool, away: u64) {
        let back = Return { frequency: 1, from_main, away_turns: away };
        (0..2000).for_each(|_| balance.came_back(&back, away, 1000));
    }

    #[test]
    fn the_part_whose_keys_come_back_soon_grows() {
        let mut balance = Balance::default();
        assert_eq!(balance.target(1000), 100);
        came_back(&mut balance, false, 30);
        assert_eq!(balance.target(1000), 900);
        came_back(&mut balance, true, 0);
        assert_eq!(balance.target(1000), 5);
        assert_eq!(balance.target(0), 1);
    }

    #[test]
    fn what_comes_back_late_moves_nothing() {
        let mut balance = Balance::default();
        came_back(&mut balance, false, 31);
        assert_eq!(balance.target(1000), 100);
        // All keys leave the main part, so its clock is that of the window; then one in ten.
        (0..10_000).for_each(|_| balance.left(true));
        came_back(&mut balance, true, 200);
        assert_eq!(balance.target(1000), 100);
        (0..100_000).for_each(|i| balance.left(i % 10 == 0));
        came_back(&mut balance, true, 200);
        assert_eq!(balance.target(1000), 5);
    }
}
