//! Lines that others can provoke are few: so many at once, and so many a second after that. The next
//! line says how many were left out.

/// How many lines of a kind there may be: a bucket that fills as time goes by.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    at_once: u32,
    per_second: u32,
    /// Lines that may be written, in thousandths.
    left: u64,
    since_ms: u64,
    left_out: u64,
}

impl Limit {
    /// A full bucket.
    pub const fn new(at_once: u32, per_second: u32) -> Self {
        Self { at_once, per_second, left: at_once as u64 * 1000, since_ms: 0, left_out: 0 }
    }

    /// Whether a line may be written now; then, how many were not since the last one.
    pub fn take(&mut self, now_ms: u64) -> Option<u64> {
        // A clock that was set back gives nothing.
        let passed_ms = now_ms.saturating_sub(self.since_ms);
        self.since_ms = now_ms;
        let filled = passed_ms.saturating_mul(u64::from(self.per_second));
        self.left = self.left.saturating_add(filled).min(u64::from(self.at_once) * 1000);
        if self.left < 1000 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1000;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_then_so_many_a_second_and_the_next_tells_how_many_were_left_out() {
        let mut limit = Limit::new(2, 1);
        assert_eq!([limit.take(5_000), limit.take(5_000)], [Some(0), Some(0)]);
        assert_eq!([limit.take(5_100), limit.take(5_200), limit.take(5_900)], [None; 3]);
        assert_eq!(limit.take(6_100), Some(3));
        assert_eq!(limit.take(6_200), None);
        // Never more at once than at the beginning.
        assert_eq!([limit.take(99_000), limit.take(99_000)], [Some(1), Some(0)]);
        assert_eq!(limit.take(99_000), None);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_fills_the_bucket_nor_stops_it() {
        let mut limit = Limit::new(1, 1);
        assert_eq!(limit.take(10_000), Some(0));
        assert_eq!(limit.take(1_000), None);
        assert_eq!(limit.take(2_000), Some(1));
    }
}
