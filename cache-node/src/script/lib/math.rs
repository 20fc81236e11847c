//! `math.random` and `math.randomseed`: Redis's numbers after the same seed. What one script seeds is
//! no matter of the next: each run begins with a seed of its own.
//!
//! Source: the 48-bit linear congruential generator of POSIX (`lrand48`, `srand48`).

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, Table, Value};

use super::PerRun;
use crate::script::vm::callback::{define, one};

const MASK: u64 = (1 << 48) - 1;
const MOST: f64 = i32::MAX as f64;

/// The generator's state.
#[derive(Debug)]
pub struct Dice {
    state: Cell<u64>,
    /// Where the seeds of runs come from.
    runs: Cell<u64>,
}

impl Default for Dice {
    fn default() -> Self {
        let mut seed = [0; 8];
        // Not for secrets: if the system has no randomness, the same numbers come at each start.
        let _ = getrandom::fill(&mut seed);
        let runs = Cell::new(u64::from_le_bytes(seed));
        let dice = Self { state: Cell::new(0), runs };
        dice.start();
        dice
    }
}

impl Dice {
    /// Begins the sequence of a run that has not chosen a seed.
    pub fn start(&self) {
        let run = self.runs.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.runs.set(run);
        self.seed(((run ^ run >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u32);
    }

    /// Begins the sequence of a seed.
    pub fn seed(&self, seed: u32) {
        self.state.set(u64::from(seed) << 16 | 0x330e);
    }

    /// The next 31 bits.
    fn next(&self) -> u32 {
        let state = self.state.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        self.state.set(state);
        (state >> 17) as u32
    }
}

/// Puts the functions into `math`.
pub fn install(lua: &Lua, globals: &Table, per_run: &Rc<PerRun>) -> mlua::Result<()> {
    let math: Table = globals.raw_get("math")?;
    let state = per_run.clone();
    define(lua, &math, "random", move |args| {
        let n = f64::from(state.dice.next() % i32::MAX as u32) / MOST;
        let between = |low: f64, high: f64| (n * (high - low + 1.0)).floor() + low;
        one(Value::Number(match args.len() {
            0 => n,
            1 => {
                let high = args.integer(0)? as f64;
                if high < 1.0 {
                    return Err(args.wrong(0, "interval is empty"));
                }
                between(1.0, high)
            }
            2 => {
                let (low, high) = (args.integer(0)? as f64, args.integer(1)? as f64);
                if low > high {
                    return Err(args.wrong(1, "interval is empty"));
                }
                between(low, high)
            }
            _ => {
                return Err(crate::script::vm::callback::Fail::here("wrong number of arguments"));
            }
        }))
    })?;
    let state = per_run.clone();
    define(lua, &math, "randomseed", move |args| {
        state.dice.seed(args.integer(0)? as u32);
        Ok(mlua::MultiValue::new())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_lrand48() {
        let dice = Dice::default();
        dice.seed(0);
        // What `srand48(0); lrand48()` gives.
        assert_eq!([dice.next(), dice.next(), dice.next()], [366850414, 1610402240, 206956554]);
        dice.next();
        dice.seed(0);
        assert_eq!(dice.next(), 366850414);
        dice.seed(0);
        dice.start();
        let first = dice.next();
        dice.start();
        assert_ne!(dice.next(), first);
    }
}
