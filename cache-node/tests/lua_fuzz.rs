//! S3: the fuzz target `lua` over the corpus that `cache-node/fuzz` keeps, and over mutations of it that
//! are the same in every run. `FUZZ_ROUNDS` says how many of each file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]

#[path = "lua/body.rs"]
mod body;
#[path = "../core/tests/fuzz/mutate.rs"]
mod mutate;

#[test]
fn s3_any_script_answers_resp_and_leaves_nothing_behind() {
    mutate::try_all("lua", 40, body::lua);
}
