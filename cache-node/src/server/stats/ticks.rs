//! A clock for the time of single commands: the processor's own counter, where it has one that
//! costs a few nanoseconds to read.
//!
//! A tick has no unit until [`ns`] turns a difference into nanoseconds. Counters of two cores may
//! be a little apart; a difference that would be negative is none.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the two clocks are compared at the least.
const COMPARED: Duration = Duration::from_millis(2);

/// The counter now.
#[inline]
pub fn now() -> u64 {
    read()
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; it only reads the time-stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "aarch64")]
#[inline]
fn read() -> u64 {
    let ticks: u64;
    // SAFETY: reads the virtual counter, which Linux lets every program read, and nothing else.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack));
    }
    ticks
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
fn read() -> u64 {
    let (started, _) = start();
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// One moment on both clocks.
fn start() -> (Instant, u64) {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    *START.get_or_init(|| {
        let ticks =
            if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { read() } else { 0 };
        (Instant::now(), ticks)
    })
}

/// Nanoseconds in a tick. The longer the process runs, the more precise.
pub fn ns_per_tick() -> f64 {
    let (started, ticks) = start();
    loop {
        let elapsed = started.elapsed();
        if elapsed >= COMPARED {
            let passed = read().saturating_sub(ticks).max(1);
            return elapsed.as_nanos() as f64 / passed as f64;
        }
        std::hint::spin_loop();
    }
}

/// Begins to compare the clocks, so that nobody has to wait for it later.
pub fn begin() {
    start();
}

/// A difference of two readings in nanoseconds.
pub fn ns(ticks: u64) -> u64 {
    (ticks as f64 * ns_per_tick()) as u64
}

/// So many ticks go by in this time; `u64::MAX` for more than there are.
pub fn from_ns(ns: u64) -> u64 {
    (ns as f64 / ns_per_tick()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_measure_time() {
        let (instant, before) = (Instant::now(), now());
        while instant.elapsed() < Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let measured_ns = ns(now() - before);
        assert!(measured_ns >= 4_000_000, "{measured_ns}");
        let there_and_back = ns(from_ns(1_000_000_000)) as i64 - 1_000_000_000;
        assert!(there_and_back.abs() < 100_000_000, "{there_and_back}");
    }
}
