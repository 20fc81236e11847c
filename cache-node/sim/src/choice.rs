//! What happens next, of several things that may.

/// Chooses.
pub trait Choice {
    /// One of `count` things, from 0; 0 if there is none.
    fn pick(&mut self, count: usize) -> usize;
}

/// As a seed says: SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Some number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether something happens that does once in `in_times`; 0: never.
    pub fn one(&mut self, in_times: usize) -> bool {
        in_times > 0 && self.pick(in_times) == 0
    }
}

impl Choice for Dice {
    fn pick(&mut self, count: usize) -> usize {
        (self.next_u64() % count.max(1) as u64) as usize
    }
}

/// All ways to choose, one after the other.
#[derive(Debug, Clone, Default)]
pub struct Every {
    /// What is chosen, and of how many.
    chosen: Vec<(usize, usize)>,
    at: usize,
}

impl Every {
    /// Goes on to the next way; `false` if there is none.
    pub fn next_way(&mut self) -> bool {
        self.chosen.truncate(self.at);
        self.at = 0;
        while let Some((chosen, count)) = self.chosen.pop() {
            if chosen + 1 < count {
                self.chosen.push((chosen + 1, count));
                return true;
            }
        }
        false
    }
}

impl Choice for Every {
    fn pick(&mut self, count: usize) -> usize {
        if self.at == self.chosen.len() {
            self.chosen.push((0, count.max(1)));
        }
        let chosen = self.chosen.get(self.at).map_or(0, |(chosen, _)| *chosen);
        self.at += 1;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_chosen_once() {
        let mut every = Every::default();
        let mut ways = Vec::new();
        loop {
            let first = every.pick(2);
            let more = if first == 0 { every.pick(3) } else { 9 };
            ways.push((first, more));
            if !every.next_way() {
                break;
            }
        }
        assert_eq!(ways, [(0, 0), (0, 1), (0, 2), (1, 9)]);
    }

    #[test]
    fn a_seed_says_the_same_again() {
        let some = |seed| (0..9).map(|_| Dice::new(seed).next_u64()).collect::<Vec<_>>();
        assert_eq!(some(5), some(5));
        assert_ne!(some(5), some(6));
    }
}
