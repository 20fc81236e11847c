//! How large values are, and how long they live.

use super::random::{Chance, Weighted};
use crate::config::units::{parse_duration, parse_size};

/// The largest value that is written.
pub const MOST_VALUE_BYTES: u64 = 16 << 20;

/// The least and the most bytes, and their weight among others.
type Part = ((u64, u64), u64);

/// Sizes by name.
const MIXES: [(&str, &[Part]); 4] = [
    // Counters, flags, identifiers.
    ("small", &[((8, 32), 60), ((33, 128), 35), ((129, 512), 5)]),
    // Sessions and profiles as JSON.
    ("sessions", &[((256, 1024), 70), ((1025, 4096), 27), ((4097, 16384), 3)]),
    // Rendered pages and fragments.
    ("pages", &[((1024, 8192), 60), ((8193, 65536), 37), ((65537, 262_144), 3)]),
    // A bit of everything, with a long tail.
    ("wide", &[((8, 64), 40), ((65, 1024), 40), ((1025, 16384), 18), ((16385, 524_288), 2)]),
];

/// A range with both its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub first: u64,
    /// The most.
    pub last: u64,
}

impl Range {
    /// One of them.
    pub fn draw(self, chance: &mut Chance) -> u64 {
        chance.between(self.first, self.last)
    }

    /// `A` or `A-B`, each as `read` reads it.
    fn parse(text: &str, read: impl Fn(&str) -> Result<u64, String>) -> Result<Self, String> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (read(first)?, read(last)?),
            None => (read(text)?, read(text)?),
        };
        match first <= last {
            true => Ok(Self { first, last }),
            false => Err(format!("'{text}' ends before it begins: write the smaller one first")),
        }
    }
}

/// The sizes of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    ranges: Weighted<(u64, u64)>,
}

impl Sizes {
    /// The size of a value.
    pub fn draw(&self, chance: &mut Chance) -> u64 {
        let (first, last) = self.ranges.draw(chance);
        chance.between(first, last)
    }

    /// The largest that can come.
    pub fn most_bytes(&self) -> u64 {
        self.ranges.items().map(|((_, last), _)| *last).max().unwrap_or(0)
    }
}

/// Reads `64`, `1KB-4KB` or the name of a mix.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_sizes(text: &str) -> Result<Sizes, String> {
    let ranges = match MIXES.iter().find(|(name, _)| *name == text) {
        Some((_, ranges)) => Weighted::new(ranges.iter().copied()),
        None if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let range = Range::parse(text, parse_size)?;
            Weighted::new([((range.first, range.last), 1)])
        }
        None => None,
    };
    let names = || MIXES.map(|(name, _)| name).join(", ");
    let wrong = || format!("'{text}' is not a size: write 64, 1KB-4KB, or one of {}", names());
    let sizes = Sizes { ranges: ranges.ok_or_else(wrong)? };
    match sizes.most_bytes() {
        0..=MOST_VALUE_BYTES => Ok(sizes),
        most => {
            Err(format!("{most} bytes are more than a value may have here: {MOST_VALUE_BYTES}"))
        }
    }
}

/// Reads `30s` or `10s-5m`, in milliseconds.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_lifetimes(text: &str) -> Result<Range, String> {
    let range = Range::parse(text, parse_duration)?;
    match range.first {
        0 => Err(format!("'{text}' begins with nothing: keys live a millisecond (1ms) at least")),
        _ => Ok(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_ranges_and_names() {
        let mut chance = Chance::new(1);
        assert_eq!(parse_sizes("64").unwrap().draw(&mut chance), 64);
        let sizes = parse_sizes("1KB-4KB").unwrap();
        assert!((0..1000).all(|_| (1024..=4096).contains(&sizes.draw(&mut chance))));
        for (name, _) in MIXES {
            let sizes = parse_sizes(name).unwrap();
            assert!((0..1000).all(|_| sizes.draw(&mut chance) <= sizes.most_bytes()));
        }
    }

    #[test]
    fn a_size_that_is_none_says_what_would_be_one() {
        assert!(parse_sizes("huge").unwrap_err().contains("small, sessions, pages, wide"));
        assert!(parse_sizes("4KB-1KB").unwrap_err().contains("the smaller one first"));
        assert!(parse_sizes("1GB").unwrap_err().contains("more than a value may have"));
        assert!(parse_sizes("12XB").unwrap_err().contains("is not a size"));
    }

    #[test]
    fn lifetimes_have_units_and_are_not_nothing() {
        assert_eq!(parse_lifetimes("10s-5m"), Ok(Range { first: 10_000, last: 300_000 }));
        assert!(parse_lifetimes("10").unwrap_err().contains("has no unit"));
        assert!(parse_lifetimes("0").unwrap_err().contains("1ms"));
    }
}
