#![no_main]

#[path = "../../tests/lua/body.rs"]
#[allow(dead_code)]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::lua(data));
