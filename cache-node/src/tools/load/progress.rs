//! What is told while it runs: one line that changes, on a terminal; else a line now and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use super::tally::{Board, Latencies};

/// How often a terminal's line changes.
const ON_TERMINAL: Duration = Duration::from_secs(1);
/// How often a line comes otherwise.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Progress {
    quiet: bool,
    terminal: bool,
    /// What was there when it last looked.
    answered: u64,
    errors: u64,
    at_ns: u64,
}

impl Progress {
    /// Nothing told yet.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: stderr().is_terminal(), answered: 0, errors: 0, at_ns: 0 }
    }

    /// How often to call [`Self::tell`].
    pub fn period(&self) -> Duration {
        if self.terminal { ON_TERMINAL } else { ELSEWHERE }
    }

    /// Tells how it goes.
    pub fn tell(&mut self, board: &Board) {
        let now_ns = board.now_ns();
        let (answered, errors, unsent, recent) = board.look();
        let since = Since {
            seconds: now_ns.saturating_sub(self.at_ns) as f64 / 1e9,
            answered: answered.saturating_sub(self.answered),
            errors: errors.saturating_sub(self.errors),
        };
        (self.answered, self.errors, self.at_ns) = (answered, errors, now_ns);
        if self.quiet {
            return;
        }
        let line = line(now_ns / 1_000_000_000, &since, unsent, &recent);
        // Nobody who cannot read it any more keeps the load from going on.
        let _ = match self.terminal {
            true => write!(stderr(), "\r{line}\x1b[K"),
            false => writeln!(stderr(), "{line}"),
        };
    }

    /// Ends the line.
    pub fn end(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// What came since it was last told.
struct Since {
    seconds: f64,
    answered: u64,
    errors: u64,
}

fn line(seconds: u64, since: &Since, unsent: u64, recent: &Latencies) -> String {
    let rate = if since.seconds > 0.0 { since.answered as f64 / since.seconds } else { 0.0 };
    let share = since.errors as f64 / since.answered.max(since.errors).max(1) as f64 * 100.0;
    let mut line = format!(
        "{seconds:>5} s  {rate:>9.0}/s  errors {share:.2} %  p50 {}  p99 {}",
        time(recent.percentile_us(50.0)),
        time(recent.percentile_us(99.0))
    );
    if unsent > 0 {
        line.push_str(&format!("  not sent {unsent}"));
    }
    line
}

/// A time of so many microseconds.
pub fn time(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_errors_and_latencies() {
        let mut recent = Latencies::new();
        (0..100).for_each(|_| recent.add(412_000));
        let since = Since { seconds: 2.0, answered: 4000, errors: 40 };
        let told = line(12, &since, 0, &recent);
        assert_eq!(told, "   12 s       2000/s  errors 1.00 %  p50 412 µs  p99 412 µs");
        let nothing = Since { seconds: 0.0, answered: 0, errors: 0 };
        assert!(
            line(0, &nothing, 7, &Latencies::new())
                .ends_with("errors 0.00 %  p50 0 µs  p99 0 µs  not sent 7")
        );
    }

    #[test]
    fn times_have_the_unit_that_fits_them() {
        assert_eq!(
            [7, 1500, 25_000, 2_500_000].map(time),
            ["7 µs", "1.50 ms", "25.0 ms", "2.50 s"]
        );
    }
}
