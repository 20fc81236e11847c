//! Which requests have spans: so many of all, by chance.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

thread_local! {
    /// How many requests of this thread pass until the next one that has spans, and that one; 0 before the
    /// first was asked for.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// The part of requests that have spans, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

// It is a number.
impl Eq for Ratio {}

impl Default for Ratio {
    /// One in a hundred.
    fn default() -> Self {
        Self(0.01)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
        part.map(Self).ok_or_else(|| {
            format!("'{text}' is not a part of all requests: write a number from 0 to 1")
        })
    }
}

impl Ratio {
    /// The part, 0 to 1.
    pub fn part(self) -> f64 {
        self.0
    }

    /// Whether the next request of this thread has spans. A process asks for one ratio only: threads count
    /// down to the next that has some, and look at nothing else.
    #[inline]
    pub fn takes_next(self) -> bool {
        let left = LEFT.get();
        if left > 1 {
            LEFT.set(left - 1);
            return false;
        }
        self.begin_anew(left == 0)
    }

    /// Draws how many pass.
    #[cold]
    fn begin_anew(self, is_first: bool) -> bool {
        let mut random = [0; 8];
        // Without randomness each of them is as good as another.
        let _ = getrandom::fill(&mut random);
        LEFT.set(self.gap(u64::from_le_bytes(random)).saturating_add(1));
        !is_first || self.takes_next()
    }

    /// How many requests pass, of such that have spans by chance, each independently of the others.
    fn gap(self, random: u64) -> u64 {
        if self.0 <= 0.0 {
            return u64::MAX;
        }
        if self.0 >= 1.0 {
            return 0;
        }
        // In (0, 1].
        let chance = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        // What does not fit is as good as the largest.
        (chance.ln() / (-self.0).ln_1p()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `all` are taken, by a thread of its own.
    fn taken(ratio: &str, all: usize) -> usize {
        let ratio: Ratio = ratio.parse().unwrap();
        let count = move || (0..all).filter(|_| ratio.takes_next()).count();
        std::thread::spawn(count).join().unwrap()
    }

    #[test]
    fn all_none_or_about_as_many_as_asked_for_are_taken() {
        assert_eq!(taken("1", 1_000), 1_000);
        assert_eq!(taken("0", 100_000), 0);
        let some = taken("0.01", 1_000_000);
        assert!((9_000..11_000).contains(&some), "{some}");
        let half = taken("0.5", 100_000);
        assert!((48_000..52_000).contains(&half), "{half}");
    }

    #[test]
    fn a_gap_is_drawn_from_any_number() {
        let ratio: Ratio = "0.25".parse().unwrap();
        assert_eq!(ratio.gap(u64::MAX), 0);
        assert!(ratio.gap(0) > 100);
        let least: Ratio = f64::MIN_POSITIVE.to_string().parse().unwrap();
        assert_eq!(least.gap(0), u64::MAX);
    }

    #[test]
    fn what_is_no_part_is_refused_and_what_is_one_is_shown_as_it_is_read() {
        for bad in ["", "-0.1", "1.1", "NaN", "inf", "1%", "a"] {
            assert!(bad.parse::<Ratio>().is_err(), "{bad}");
        }
        for good in ["0", "0.01", "1", "0.5"] {
            assert_eq!(good.parse::<Ratio>().unwrap().to_string(), good);
        }
        assert_eq!(Ratio::default().to_string(), "0.01");
    }
}
