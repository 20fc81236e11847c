//! Until when a member may answer for the slots that it serves.
//!
//! What is looked at now and then (the view) lags behind: a process that was paused wakes with the view from
//! before. So whoever answers takes a [`Lease`] before it looks at anything, and asks after it has looked
//! whether that holds still. A lease that was over is not that lease any more, even if there is another one
//! by then: what was seen under it may have been changed elsewhere in between.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::time::Duration;

/// Without a majority's word for so long a leader no longer speaks for the cluster, and without
/// its leader's for so long a follower no longer serves. At least as long as Raft's own lease.
pub const LEASE: Duration = Duration::from_millis(800);
const LEASE_MS: u64 = LEASE.as_millis() as u64;

/// A lease as somebody found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(u64);

/// How long a majority stands behind this member. Times are milliseconds of [`crate::clock::boot_ms`].
#[derive(Debug, Default)]
pub struct Standing {
    /// As leader: until when, at the least; [`u64::MAX`] where it is the only voter. 0: it does not lead.
    leads_until_ms: AtomicU64,
    /// When a leader with a quorum was last heard; 0: never.
    heard_ms: AtomicU64,
    /// As follower: until when, without a break. 0: it follows nobody since the last one.
    follows_until_ms: AtomicU64,
    /// Counts how often this member was found without a majority behind it.
    losses: AtomicU64,
    /// Since when it answers nothing for want of one; 0: it does answer.
    outage_ms: AtomicU64,
}

impl Standing {
    /// A leader with a quorum has an answer that this member gave at that time. A lease that was over before
    /// begins again by [`Self::follow`] only.
    pub fn heard(&self, at_ms: u64) {
        self.heard_ms.fetch_max(at_ms, AcqRel);
        let goes_on = |until_ms: u64| (until_ms > at_ms).then(|| until_ms.max(at_ms + LEASE_MS));
        let _ = self.follows_until_ms.try_update(AcqRel, Acquire, goes_on);
    }

    /// Whether a lease was over since this was asked last. There is none then, until [`Self::follow`] or
    /// [`Self::lead_for`].
    pub fn is_broken(&self, now_ms: u64) -> bool {
        let is_broken = self.until_ms().is_some_and(|until_ms| until_ms > 0 && now_ms >= until_ms);
        if is_broken {
            self.leads_until_ms.store(0, Release);
            self.follows_until_ms.store(0, Release);
        }
        is_broken
    }

    /// As follower: the lease begins, if a leader was heard within its time and there is none. Whether there
    /// is one.
    pub fn follow(&self, now_ms: u64) -> bool {
        let until_ms = self.heard_ms.load(Acquire) + LEASE_MS;
        if until_ms > now_ms {
            let _ = self.follows_until_ms.compare_exchange(0, until_ms, AcqRel, Acquire);
        }
        self.follows(now_ms)
    }

    /// Whether what a leader granted it holds yet.
    pub fn follows(&self, now_ms: u64) -> bool {
        now_ms < self.follows_until_ms.load(Acquire)
    }

    /// For how long a majority stands behind this leader yet; `None`: it does not lead, or nobody does.
    pub fn lead_for(&self, rest: Option<Duration>, now_ms: u64) {
        let until_ms = rest.map_or(0, |rest| {
            u64::try_from(rest.as_millis()).unwrap_or(u64::MAX).saturating_add(now_ms)
        });
        self.leads_until_ms.store(until_ms, Release);
    }

    /// It does not lead any more. What a majority granted it as the leader holds until it is over, as whoever
    /// leads now waits for that: it goes on as a follower, without a break.
    pub fn leads_no_more(&self, now_ms: u64) {
        let until_ms = self.leads_until_ms.load(Acquire);
        if until_ms > now_ms && until_ms != u64::MAX {
            self.follows_until_ms.fetch_max(until_ms, AcqRel);
        }
        // Last, so that there is a lease at each moment.
        self.leads_until_ms.store(0, Release);
    }

    /// It was found without a majority: leases that were taken before do not hold any more.
    pub fn lost(&self) {
        self.losses.fetch_add(1, AcqRel);
    }

    /// It was found able to answer, or not.
    pub fn answers(&self, quorum: bool, now_ms: u64) {
        if quorum {
            self.outage_ms.store(0, Release);
        } else {
            let _ = self.outage_ms.compare_exchange(0, now_ms.max(1), AcqRel, Acquire);
        }
    }

    /// Whether this member answers nothing for no longer than `patience_ms`: mostly, another leader is elected
    /// by then.
    pub fn may_return(&self, patience_ms: u64, now_ms: u64) -> bool {
        let since_ms = match self.outage_ms.load(Acquire) {
            // Nobody has looked since the lease was over.
            0 => self.until_ms().unwrap_or(now_ms),
            since_ms => since_ms,
        };
        now_ms.saturating_sub(since_ms) < patience_ms
    }

    /// How often that was so.
    pub fn losses(&self) -> u64 {
        self.losses.load(Acquire)
    }

    /// The lease, to be taken before anything is looked at.
    #[inline]
    pub fn lease(&self) -> Lease {
        Lease(self.losses.load(Acquire))
    }

    /// Until when it holds; `None`: for ever.
    #[inline]
    pub fn until_ms(&self) -> Option<u64> {
        let until_ms = self.leads_until_ms.load(Acquire).max(self.follows_until_ms.load(Acquire));
        (until_ms != u64::MAX).then_some(until_ms)
    }

    /// Whether a lease that was taken holds: to be asked after all was looked at. `now_ms` is not asked for
    /// where no time matters.
    #[inline]
    pub fn holds(&self, lease: Lease, now_ms: impl FnOnce() -> u64) -> bool {
        let is_in_time = self.until_ms().is_none_or(|until_ms| now_ms() < until_ms);
        is_in_time && self.losses.load(Acquire) == lease.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A follower whose leader has an answer that was given at that time.
    fn following(at_ms: u64) -> Standing {
        let standing = Standing::default();
        standing.heard(at_ms);
        standing.follow(at_ms);
        standing
    }

    #[test]
    fn a_lease_holds_as_long_as_the_leader_is_heard_again_before_it_is_over() {
        let standing = following(1000);
        let lease = standing.lease();
        assert!(standing.holds(lease, || 1799));
        standing.heard(1799);
        assert!(standing.holds(lease, || 1800 + 798));
        assert!(!standing.holds(lease, || 1799 + 800));
    }

    #[test]
    fn a_lease_that_was_over_does_not_come_back_by_a_word_of_the_leader() {
        let standing = following(1000);
        let lease = standing.lease();
        // Paused for two seconds, with nobody who looked.
        standing.heard(3000);
        assert!(!standing.follow(3001));
        assert!(!standing.holds(lease, || 3001));
        assert!(!standing.holds(standing.lease(), || 3001));
        // Only after it was told; and what was taken before is not that lease.
        assert!(standing.is_broken(3001) && !standing.is_broken(3001));
        standing.lost();
        assert!(standing.follow(3001));
        assert!(!standing.holds(lease, || 3002));
        assert!(standing.holds(standing.lease(), || 3002));
    }

    #[test]
    fn an_outage_is_counted_from_its_beginning_until_there_is_a_quorum() {
        let standing = following(1000);
        standing.answers(true, 1000);
        assert!(standing.may_return(500, 1800 + 499), "the lease was over at 1800");
        assert!(!standing.may_return(500, 1800 + 500));
        standing.answers(false, 2000);
        standing.answers(false, 2400);
        assert!(standing.may_return(500, 2499) && !standing.may_return(500, 2500));
        standing.answers(true, 3000);
        standing.answers(false, 4000);
        assert!(standing.may_return(500, 4499));
    }

    #[test]
    fn an_answer_that_comes_late_does_not_make_a_lease_longer() {
        let standing = following(1000);
        standing.heard(1500);
        standing.heard(1200);
        assert_eq!(standing.until_ms(), Some(2300));
    }

    #[test]
    fn the_only_voter_asks_for_no_time_and_a_leader_holds_it_as_long_as_it_was_said() {
        let standing = Standing::default();
        standing.lead_for(Some(Duration::MAX), 5);
        assert!(standing.holds(standing.lease(), || panic!("no time is needed")));
        standing.lead_for(Some(Duration::from_millis(10)), 100);
        let lease = standing.lease();
        assert!(standing.holds(lease, || 109) && !standing.holds(lease, || 110));
        standing.lead_for(None, 105);
        assert!(!standing.holds(lease, || 106));
        assert!(!standing.is_broken(106), "it was given up, and not over");
    }

    #[test]
    fn who_let_another_one_lead_goes_on_with_its_lease_and_by_the_new_leader_s_word() {
        let standing = Standing::default();
        standing.lead_for(Some(Duration::from_millis(700)), 1000);
        let lease = standing.lease();
        standing.leads_no_more(1100);
        assert!(standing.follow(1100));
        assert!(standing.holds(lease, || 1699) && !standing.holds(lease, || 1700));
        standing.heard(1200);
        assert!(standing.holds(lease, || 1999) && !standing.holds(lease, || 2000));
    }

    #[test]
    fn who_led_until_its_lease_was_over_has_none_when_it_hears_that_another_one_leads() {
        let standing = Standing::default();
        standing.lead_for(Some(Duration::from_millis(700)), 1000);
        standing.leads_no_more(1700);
        assert!(!standing.follow(1700));
    }
}
