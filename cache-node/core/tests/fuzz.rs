//! The fuzz targets' bodies over the corpus that `cache-node/fuzz` keeps, and over thousands of
//! mutations of it that are the same in every run. What libFuzzer finds goes into that corpus, and
//! so is tried here for ever. `FUZZ_ROUNDS` says how many mutations of each file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "reads the corpus and how much is asked of it")]

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

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

fn try_all(target: &str, rounds: usize, body: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
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

#[test]
fn s2_bytes_split_anywhere_are_the_same_commands() {
    try_all("resp_parser", 2000, bodies::resp_parser);
}

#[test]
fn s5_any_arguments_leave_a_keyspace_whose_accounts_are_right() {
    try_all("commands", 400, bodies::commands);
}

#[test]
fn s6_any_chunks_are_an_error_or_a_filter() {
    try_all("loadchunk", 600, bodies::loadchunk);
}
