//! A corpus and its mutations.

use std::path::{Path, PathBuf};

/// xorshift64*: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            2 => bytes.insert(at, dice.below(256) as u8),
            3 => drop(bytes.drain(at..(at + dice.below(8)).min(bytes.len()))),
            4 => {
                let from = dice.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = (at + dice.below(32)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes.truncate(4096);
}

/// Calls `body` with every file of a corpus, and with `rounds` mutations of each.
pub fn try_all(target: &str, rounds: usize, body: impl Fn(&[u8])) {
    let folder = folder_of(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    corpus.iter().for_each(|bytes| body(bytes));
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(rounds);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for bytes in &corpus {
        let mut mutated = bytes.clone();
        for round in 0..rounds {
            // Mutations add up for a while.
            if round % 8 == 0 {
                mutated.clone_from(bytes);
            }
            let other = &corpus[dice.below(corpus.len())];
            mutate(&mut mutated, other, &mut dice);
            body(&mutated);
        }
    }
}

/// A target's corpus; the packages whose tests these are stand in one another.
fn folder_of(target: &str) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let near = package.join("fuzz/corpus");
    let all = if near.is_dir() { near } else { package.join("../fuzz/corpus") };
    all.join(target)
}
