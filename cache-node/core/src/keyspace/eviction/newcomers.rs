//! What W-TinyLFU knows beyond what keys carry: who came in of late, and who left.

use super::balance::Balance;
use super::ghosts::Ghosts;
use super::pace::{Pace, keys_a_turn};
use super::usage::{Usage, added, idle_turns};
use super::window::{Place, Window};
use crate::cluster::Slot;

/// Never used before, as far as anybody knows.
pub const NEVER: u16 = u16::MAX;

/// What part of the keys of a store so many turns stand for, in 256ths.
pub fn part(turns: u64, keys: u64) -> u16 {
    let part = turns.saturating_mul(keys_a_turn(keys)).saturating_mul(256) / keys.max(1);
    u16::try_from(part).unwrap_or(NEVER).min(NEVER - 1)
}

/// The window, those who left, and the border that they move.
#[derive(Debug, Default)]
pub struct Newcomers {
    pub window: Window,
    pub ghosts: Ghosts,
    pub balance: Balance,
}

impl Newcomers {
    /// A key comes in to so many: what is known of its use becomes its own again.
    pub fn came_in(&mut self, slot: Slot, hash: u64, usage: &mut Usage, pace: &Pace, keys: u64) {
        let mut distance = NEVER;
        if let Some(back) = self.ghosts.take(hash, pace) {
            usage.set_frequency(added(usage.frequency(pace), back.frequency));
            let away_keys = back.away_turns.saturating_mul(keys_a_turn(keys));
            self.balance.came_back(&back, away_keys, keys);
            // Before it left it was here unused for about the time that keys are.
            let here = if back.from_main { keys } else { self.balance.target(keys) as u64 };
            distance =
                part(back.away_turns, keys).saturating_add(part(here / keys_a_turn(keys), keys));
        }
        usage.set_in_window(true);
        let touched = usage.touched();
        self.window.push(Place { hash, touched, slot, distance }, pace.full(touched));
    }

    /// A key of the window was used since it was put there, last in the turn `touched`.
    pub fn put_back(&mut self, place: Place, touched: u32, pace: &Pace, keys: u64) {
        let turn = pace.full(touched);
        let since = part(u64::from(idle_turns(place.touched, turn)), keys);
        let distance = place.distance.min(since);
        self.window.push(Place { touched, distance, ..place }, turn);
    }

    /// A key leaves that was used so often.
    pub fn left(&mut self, hash: u64, frequency: u8, from_main: bool, pace: &Pace) {
        self.ghosts.remember(hash, frequency, from_main, pace);
        self.balance.left(from_main);
    }

    /// What it costs.
    pub fn heap_bytes(&self) -> usize {
        self.window.heap_bytes() + self.ghosts.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_back_has_its_count_again_and_its_distance_is_known() {
        let (mut newcomers, pace) = (Newcomers::default(), Pace::default());
        newcomers.ghosts.fit(1000);
        newcomers.left(7, 5, false, &pace);
        (0..150).for_each(|_| _ = pace.next_turn());
        for (hash, frequency, distance) in [(7, 6, part(250, 1000)), (8, 1, NEVER)] {
            let mut usage = Usage::new(pace.turn());
            newcomers.came_in(3, hash, &mut usage, &pace, 1000);
            assert!(usage.in_window());
            assert_eq!(usage.frequency(&pace), frequency);
            let place = newcomers.window.pop_over(0).unwrap();
            assert!(place.distance.abs_diff(distance) <= 2, "{place:?}");
            // It was used again soon, and then late.
            (0..4).for_each(|_| _ = pace.next_turn());
            newcomers.put_back(place, pace.turn() as u32, &pace, 1000);
            let place = newcomers.window.pop_over(0).unwrap();
            assert_eq!(place.distance, 1);
            (0..400).for_each(|_| _ = pace.next_turn());
            newcomers.put_back(place, pace.turn() as u32, &pace, 1000);
            assert_eq!(newcomers.window.pop_over(0).unwrap().distance, 1);
        }
    }

    #[test]
    fn parts_of_a_store_are_told_whatever_its_size() {
        assert_eq!(part(1000, 1000), 256);
        assert_eq!(part(1, 1), 256);
        assert_eq!(part(0, 0), 0);
        assert_eq!(part(u64::MAX, 3), NEVER - 1);
        let many = 1 << 30;
        assert_eq!(part(many / keys_a_turn(many), many).abs_diff(256), 1);
    }
}
