//! The fuzz targets' bodies over the corpus that `cache-node/fuzz` keeps, and over thousands of
//! mutations of it that are the same in every run. What libFuzzer finds goes into that corpus, and
//! so is tried here for ever. `FUZZ_ROUNDS` says how many mutations of each file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_methods, reason = "reads the corpus and how much is asked of it")]

#[path = "fuzz/bodies.rs"]
mod bodies;
#[path = "fuzz/mutate.rs"]
mod mutate;

use mutate::try_all;

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
