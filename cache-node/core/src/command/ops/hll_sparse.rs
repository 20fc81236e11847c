//! Runs of registers that are the same: how a sketch of few elements is kept. Changes make the same
//! bytes as Redis's.
//!
//! `00llllll`: l+1 zeros. `01llllll llllllll`: l+1 zeros, up to 16384. `1vvvvvll`: l+1 registers of
//! v+1.

use super::hll::{Corrupt, HEAD};

/// A sketch that would be longer becomes dense (Redis's `hll-sparse-max-bytes`).
const MAX_BYTES: usize = 3000;
const MAX_VALUE: u8 = 32;
const MAX_VALUE_LEN: usize = 4;
const MAX_SHORT_ZEROS: usize = 64;
/// So many runs are looked at when neighbours are joined.
const JOINED: usize = 5;

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// What its registers are; 0 for none.
    pub value: u8,
    /// How many registers.
    pub len: usize,
    /// How many bytes it takes.
    pub bytes: usize,
}

/// What became of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raised {
    /// It is higher now.
    Yes,
    /// It was as high.
    No,
    /// The value or the sketch is too large for runs; nothing was changed.
    TooLarge,
}

fn read(bytes: &[u8]) -> Option<Result<Run, Corrupt>> {
    Some(match bytes {
        [] => return None,
        [byte, ..] if byte & 0x80 != 0 => {
            Ok(Run { value: (byte >> 2 & 0x1f) + 1, len: usize::from(byte & 3) + 1, bytes: 1 })
        }
        [byte, ..] if byte & 0x40 == 0 => {
            Ok(Run { value: 0, len: usize::from(byte & 0x3f) + 1, bytes: 1 })
        }
        [high, low, ..] => Ok(Run {
            value: 0,
            len: (usize::from(high & 0x3f) << 8 | usize::from(*low)) + 1,
            bytes: 2,
        }),
        [_] => Err(Corrupt),
    })
}

/// The runs in these bytes.
pub fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupt>> {
    std::iter::from_fn(move || {
        let run = read(bytes)?;
        bytes = match run {
            Ok(run) => bytes.get(run.bytes..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(run)
    })
}

/// A run of zeros.
pub fn zeros(len: usize) -> impl Iterator<Item = u8> {
    let rest = len.wrapping_sub(1);
    let bytes = match len {
        0 => [None, None],
        1..=MAX_SHORT_ZEROS => [Some(rest as u8), None],
        _ => [Some(0x40 | (rest >> 8) as u8), Some(rest as u8)],
    };
    bytes.into_iter().flatten()
}

fn value_run(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

/// A run of any kind; nothing if it is empty.
fn push_run(into: &mut Vec<u8>, value: u8, len: usize) {
    if value == 0 {
        into.extend(zeros(len));
    } else if len > 0 {
        into.push(value_run(value, len));
    }
}

/// Raises a register of a whole sketch.
///
/// # Errors
/// The runs do not reach the register.
pub fn raise(sketch: &mut Vec<u8>, register: usize, value: u8) -> Result<Raised, Corrupt> {
    if value > MAX_VALUE {
        return Ok(Raised::TooLarge);
    }
    let (mut at, mut before, mut first) = (HEAD, HEAD, 0);
    let run = loop {
        let run = read(sketch.get(at..).unwrap_or_default()).ok_or(Corrupt)??;
        if register < first + run.len {
            break run;
        }
        before = at;
        at += run.bytes;
        first += run.len;
    };
    if run.value >= value {
        return Ok(Raised::No);
    }
    let mut new = Vec::with_capacity(5);
    push_run(&mut new, run.value, register - first);
    new.push(value_run(value, 1));
    push_run(&mut new, run.value, first + run.len - 1 - register);
    if new.len() > run.bytes && sketch.len() + new.len() - run.bytes > MAX_BYTES {
        return Ok(Raised::TooLarge);
    }
    sketch.splice(at..at + run.bytes, new);
    join(sketch, before);
    Ok(Raised::Yes)
}

/// Joins neighbours with the same values, from the run at `at` on.
fn join(sketch: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED {
        let Some(Ok(run)) = read(sketch.get(at..).unwrap_or_default()) else { return };
        let next = read(sketch.get(at + run.bytes..).unwrap_or_default());
        match next {
            Some(Ok(next))
                if run.value > 0
                    && next.value == run.value
                    && run.len + next.len <= MAX_VALUE_LEN =>
            {
                sketch[at + 1] = value_run(run.value, run.len + next.len);
                sketch.remove(at);
            }
            _ => at += run.bytes,
        }
    }
}
