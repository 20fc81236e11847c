//! What is replayed: keys from a file, or generated ones.

use anyhow::{Context as _, bail};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};

/// A sequence of accesses to keys, which are numbered in the order of their first access.
pub struct Trace {
    /// What to call it.
    pub name: String,
    /// The key of each number.
    pub keys: Vec<Box<[u8]>>,
    /// The accesses.
    pub accesses: Vec<u32>,
}

/// SplitMix64: a sequence that a seed determines.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Numbers below a bound, of which the first are the most frequent: number i (from 1) has a share
/// that goes with 1 / i^alpha.
struct Zipf {
    cumulated: Vec<f64>,
}

impl Zipf {
    fn new(keys: u64, alpha: f64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=keys)
            .map(|i| {
                sum += (i as f64).powf(-alpha);
                sum
            })
            .collect();
        Self { cumulated }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let total = self.cumulated.last().copied().unwrap_or(0.0);
        let at = random.unit() * total;
        self.cumulated.partition_point(|sum| *sum <= at) as u64
    }
}

impl Trace {
    /// A trace of names.
    fn of(name: &str, names: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<Self> {
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut keys = Vec::new();
        let mut accesses = Vec::new();
        for name in names {
            let new = u32::try_from(keys.len()).context("more than 2^32 keys")?;
            let number = *numbers.entry(name).or_insert_with_key(|name| {
                keys.push(name.as_slice().into());
                new
            });
            accesses.push(number);
        }
        Ok(Self { name: name.into(), keys, accesses })
    }

    /// A file with a key on each line; empty lines are skipped. At most `limit` accesses.
    pub fn read(path: &str, limit: usize) -> anyhow::Result<Self> {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open '{path}'"))?;
        let mut lines = Vec::new();
        for line in BufReader::new(file).split(b'\n') {
            let line = line.with_context(|| format!("cannot read '{path}'"))?;
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if !line.is_empty() {
                lines.push(line.to_vec());
            }
            if lines.len() == limit {
                break;
            }
        }
        let name =
            std::path::Path::new(path).file_stem().map_or(path.into(), |s| s.to_string_lossy());
        Self::of(&name, lines.into_iter())
    }

    /// A generated trace: `zipf:ALPHA`, `scan`, `loop`, `mix:ALPHA` (Zipf with scans in between) or
    /// `shift:ALPHA` (Zipf whose frequent keys change), over so many keys.
    pub fn generate(word: &str, keys: u64, accesses: usize, seed: u64) -> anyhow::Result<Self> {
        let (kind, alpha) = word.split_once(':').unwrap_or((word, "0.9"));
        let alpha: f64 = alpha.parse().with_context(|| format!("'{alpha}' is not a number"))?;
        if keys == 0 || !(0.0..=5.0).contains(&alpha) {
            bail!("a generated trace has keys, and an exponent from 0 to 5");
        }
        let mut random = Random::new(seed);
        let zipf = Zipf::new(if matches!(kind, "scan" | "loop") { 1 } else { keys }, alpha);
        let mut scanned = keys;
        let mut numbers: Vec<u64> = Vec::with_capacity(accesses);
        for at in 0..accesses as u64 {
            numbers.push(match kind {
                "zipf" => zipf.draw(&mut random),
                "scan" => at,
                // Round and round, over half of the keys.
                "loop" => at % (keys / 2).max(1),
                // Of every 50,000 accesses the last 20,000 are a scan of keys that never return.
                "mix" if at % 50_000 >= 30_000 => {
                    scanned += 1;
                    scanned
                }
                "mix" => zipf.draw(&mut random),
                // Ten times, the most frequent keys are others.
                "shift" => {
                    let moved = at * 10 / accesses as u64 * (keys / 10);
                    (zipf.draw(&mut random) + moved) % keys
                }
                _ => bail!("'{kind}' is not zipf, scan, loop, mix or shift"),
            });
        }
        Self::of(word, numbers.into_iter().map(|number| format!("key:{number}").into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_trace_again() {
        let one = Trace::generate("mix:1", 1000, 60_000, 7).unwrap();
        let other = Trace::generate("mix:1", 1000, 60_000, 7).unwrap();
        assert_eq!(one.accesses, other.accesses);
        assert_ne!(one.accesses, Trace::generate("mix:1", 1000, 60_000, 8).unwrap().accesses);
    }

    #[test]
    fn the_first_keys_of_zipf_are_the_most_frequent() {
        let trace = Trace::generate("zipf:1", 1000, 100_000, 1).unwrap();
        let count = |key: &[u8]| {
            let number = trace.keys.iter().position(|k| &**k == key).unwrap() as u32;
            trace.accesses.iter().filter(|a| **a == number).count()
        };
        let (first, tenth) = (count(b"key:0"), count(b"key:9"));
        assert!((8 * tenth..12 * tenth).contains(&first), "{first} {tenth}");
    }

    #[test]
    fn words_that_are_none_are_refused() {
        assert!(Trace::generate("zip", 10, 10, 1).is_err());
        assert!(Trace::generate("zipf:x", 10, 10, 1).is_err());
        assert!(Trace::generate("zipf", 0, 10, 1).is_err());
        assert!(Trace::read("/does/not/exist", 10).is_err());
    }
}
