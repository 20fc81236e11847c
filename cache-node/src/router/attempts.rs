//! Attempts at what its member cannot do yet, and what is waited for between two of them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Router;

/// How long the first wait is, for what no table shows: a member that is handed a slot, and has not heard of it yet, has
/// done so soon. Each is a quarter longer than the one before, so that what is there is found not much later,
const SHORTEST: Duration = Duration::from_millis(1);
/// and none longer than this.
pub(super) const LONGEST: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Attempts {
    /// How long all may take, as the client is told.
    timeout: Duration,
    deadline: Instant,
    next: Duration,
    changed: watch::Receiver<u64>,
}

impl Router {
    /// Attempts from now on, within the time that a request may take.
    pub(super) fn attempts(&self) -> Attempts {
        self.attempts_until(self.deadline())
    }

    /// Attempts from now on, until a deadline.
    pub(super) fn attempts_until(&self, deadline: Instant) -> Attempts {
        let (timeout, changed) = (self.0.request_timeout, self.0.cluster.changed());
        Attempts { timeout, deadline, next: SHORTEST, changed }
    }
}

impl Attempts {
    /// Until when there are any.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The epoch of the table, and when it changes.
    pub fn changed(&mut self) -> &mut watch::Receiver<u64> {
        &mut self.changed
    }

    /// What was waited for came, and went: from now on there are others, until a deadline.
    pub fn renew(&mut self, deadline: Instant) {
        (self.deadline, self.next) = (deadline, SHORTEST);
    }

    /// Waits for a table that changes, or a moment.
    ///
    /// # Errors
    /// There is no time for another attempt: a reply for the client, which says what was waited for.
    pub async fn pause(&mut self, waits_for: &str) -> Result<(), String> {
        let until = Instant::now() + self.next;
        if until >= self.deadline {
            let timeout = self.timeout;
            return Err(format!(
                "CLUSTERDOWN Hash slot not served within {timeout:?}: {waits_for}"
            ));
        }
        self.next = (self.next * 5 / 4).min(LONGEST);
        let _ = timeout_at(until, self.changed.changed()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(timeout: Duration) -> (watch::Sender<u64>, Attempts) {
        let (table, changed) = watch::channel(1);
        let deadline = Instant::now() + timeout;
        (table, Attempts { timeout, deadline, next: SHORTEST, changed })
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_from_one_to_twenty_milliseconds_until_there_is_no_time_left() {
        let (_table, mut attempts) = attempts(Duration::from_millis(200));
        let (began, mut waits) = (Instant::now(), vec![]);
        let text = loop {
            let before = Instant::now();
            match attempts.pause("it moves").await {
                Ok(()) => waits.push(Instant::now() - before),
                Err(text) => break text,
            }
        };
        assert!(waits[0] < Duration::from_millis(3), "{waits:?}");
        assert!(waits.is_sorted() && *waits.last().unwrap() >= LONGEST, "{waits:?}");
        assert!(began.elapsed() < Duration::from_millis(200));
        assert_eq!(text, "CLUSTERDOWN Hash slot not served within 200ms: it moves");
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_changed_before_or_meanwhile_ends_a_wait() {
        let (table, mut attempts) = attempts(Duration::from_secs(1));
        table.send_replace(2);
        let began = Instant::now();
        attempts.pause("it moves").await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        attempts.next = LONGEST;
        let (waited, ()) = tokio::join!(attempts.pause("it moves"), async {
            tokio::time::sleep(Duration::from_millis(3)).await;
            table.send_replace(3);
        });
        waited.unwrap();
        assert_eq!(began.elapsed(), Duration::from_millis(3));
    }
}
