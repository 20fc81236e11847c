//! When a connection's next request is due. A decision: time comes in as an argument.
//!
//! In the open loop requests have intended times, which do not move when the server is slow: what waits is
//! measured from when it should have been sent. A generator that waits for a reply before it asks again (the
//! closed loop) sends less just then when the server is slow, and so leaves out what users would have suffered
//! ("coordinated omission").

/// Nanoseconds of a second.
const SECOND_NS: u128 = 1_000_000_000;

/// What a connection does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It sends a request, whose time counts from then.
    Send {
        /// When it should have been sent.
        intended_ns: u64,
    },
    /// Nothing is due before then.
    At(u64),
    /// It has asked enough until there is a reply.
    AfterReply,
    /// No more is sent.
    Over,
}

/// A rate that all connections share, and the place of one of them.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Requests a second, of all connections together; at least 1.
    pub rate: u64,
    /// Which one this is.
    pub connection: u64,
    /// How many there are; at least 1.
    pub connections: u64,
    /// So many may be late on this connection; what is beyond is never sent.
    pub most_late: u64,
}

impl Share {
    /// When its request of that number is due.
    fn due_ns(&self, number: u64) -> u64 {
        let of_all =
            u128::from(number) * u128::from(self.connections) + u128::from(self.connection);
        u64::try_from(of_all * SECOND_NS / u128::from(self.rate)).unwrap_or(u64::MAX)
    }

    /// How many of its requests were due by then (at that time included).
    fn due_by(&self, now_ns: u64) -> u64 {
        // The largest number of all with n * 1e9 / rate <= now.
        let last = ((u128::from(now_ns) + 1) * u128::from(self.rate)).div_ceil(SECOND_NS);
        let before = last.saturating_sub(u128::from(self.connection));
        u64::try_from(before.div_ceil(u128::from(self.connections))).unwrap_or(u64::MAX)
    }
}

/// The pace of one connection.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The open loop's share; `None` in the closed loop.
    pub share: Option<Share>,
    /// So many requests may be without a reply.
    pub window: usize,
    /// So many requests are sent at most.
    pub most: u64,
    /// Nothing is sent from then on.
    pub until_ns: u64,
    /// Requests that were sent, or given up.
    taken: u64,
    /// Requests that could not be sent in time.
    unsent: u64,
}

impl Pace {
    /// A pace at its beginning.
    pub fn new(share: Option<Share>, window: usize, most: u64, until_ns: u64) -> Self {
        Self { share, window, most, until_ns, taken: 0, unsent: 0 }
    }

    /// What is next.
    pub fn next(&mut self, now_ns: u64, unanswered: usize) -> Next {
        let Some(share) = self.share else { return self.next_closed(now_ns, unanswered) };
        let over = now_ns >= self.until_ns;
        // What is due at the end itself belongs to the time after it.
        let by_ns = if over { self.until_ns.saturating_sub(1) } else { now_ns };
        let due = if self.until_ns == 0 { 0 } else { share.due_by(by_ns).min(self.most) };
        let late = due.saturating_sub(self.taken);
        let given_up = if over { late } else { late.saturating_sub(share.most_late) };
        self.taken += given_up;
        self.unsent += given_up;
        let intended_ns = share.due_ns(self.taken);
        if over || self.taken >= self.most || intended_ns >= self.until_ns {
            Next::Over
        } else if intended_ns > now_ns {
            Next::At(intended_ns)
        } else if unanswered >= self.window {
            Next::AfterReply
        } else {
            self.taken += 1;
            Next::Send { intended_ns }
        }
    }

    fn next_closed(&mut self, now_ns: u64, unanswered: usize) -> Next {
        if now_ns >= self.until_ns || self.taken >= self.most {
            Next::Over
        } else if unanswered >= self.window {
            Next::AfterReply
        } else {
            self.taken += 1;
            Next::Send { intended_ns: now_ns }
        }
    }

    /// Ends it at that time, if it would not end before.
    pub fn stop(&mut self, now_ns: u64) {
        self.until_ns = self.until_ns.min(now_ns);
    }

    /// Requests that were due and could not be sent in time.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn open(rate: u64, connection: u64, connections: u64, most_late: u64) -> Pace {
        let share = Share { rate, connection, connections, most_late };
        Pace::new(Some(share), 4, u64::MAX, 1000 * MS)
    }

    #[test]
    fn connections_share_a_rate_in_turn() {
        let mut due = Vec::new();
        for connection in 0..3 {
            let mut pace = open(3000, connection, 3, 100);
            let mut now = 0;
            while now < 10 * MS {
                match pace.next(now, 0) {
                    Next::Send { intended_ns } => due.push(intended_ns),
                    Next::At(then) => now = then,
                    other => panic!("{other:?}"),
                }
            }
        }
        due.sort_unstable();
        let wanted: Vec<u64> = (0..30).map(|n| n * 1_000_000_000 / 3000).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn a_request_that_waits_keeps_its_intended_time() {
        let mut pace = open(1000, 0, 1, 100);
        assert_eq!(pace.next(0, 0), Next::Send { intended_ns: 0 });
        assert_eq!(pace.next(5 * MS, 4), Next::AfterReply, "the window is full");
        assert_eq!(pace.next(9 * MS, 3), Next::Send { intended_ns: MS });
        assert_eq!(pace.next(9 * MS, 3), Next::Send { intended_ns: 2 * MS });
    }

    #[test]
    fn what_is_too_late_is_given_up_and_counted() {
        let mut pace = open(1000, 0, 1, 10);
        assert_eq!(pace.next(500 * MS, 0), Next::Send { intended_ns: 491 * MS });
        assert_eq!(pace.unsent(), 491);
    }

    #[test]
    fn all_that_was_due_is_sent_or_counted_at_the_end() {
        for connections in [1, 3] {
            let (mut sent, mut unsent) = (0, 0);
            for connection in 0..connections {
                let mut pace = open(777, connection, connections, 5);
                let mut now = 0;
                loop {
                    match pace.next(now, 0) {
                        Next::Send { .. } => sent += 1,
                        Next::At(then) => now = then + 33 * MS,
                        Next::AfterReply => now += MS,
                        Next::Over => break,
                    }
                }
                unsent += pace.unsent();
            }
            assert_eq!(sent + unsent, 777, "{connections} connections");
            assert!(unsent > 0);
        }
    }

    #[test]
    fn the_closed_loop_asks_again_only_after_replies() {
        let mut pace = Pace::new(None, 2, 3, u64::MAX);
        assert_eq!(pace.next(1, 0), Next::Send { intended_ns: 1 });
        assert_eq!(pace.next(1, 1), Next::Send { intended_ns: 1 });
        assert_eq!(pace.next(2, 2), Next::AfterReply);
        assert_eq!(pace.next(7, 1), Next::Send { intended_ns: 7 });
        assert_eq!(pace.next(8, 0), Next::Over, "three were asked for");
    }

    #[test]
    fn nothing_is_sent_once_it_was_stopped() {
        let mut pace = open(1000, 0, 1, 100);
        assert_eq!(pace.next(0, 0), Next::Send { intended_ns: 0 });
        pace.stop(3 * MS);
        assert_eq!(pace.next(3 * MS, 0), Next::Over);
        assert_eq!(pace.unsent(), 2, "those of 1 and 2 ms");
        let mut pace = Pace::new(None, 1, u64::MAX, u64::MAX);
        pace.stop(5);
        assert_eq!(pace.next(5, 0), Next::Over);
    }

    #[test]
    fn rates_have_no_end_of_numbers() {
        let mut pace = open(u64::MAX, 3, 10_000, 5);
        assert!(matches!(pace.next(999 * MS, 0), Next::Send { .. }));
    }
}
