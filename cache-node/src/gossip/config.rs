//! SWIM's times and counts, for a cluster of some size.

use super::{codec::ENVELOPE_BYTES, swim::MAX_DATAGRAM_BYTES};
use foca::{Config, PeriodicParams};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// The least size that is reckoned with: smaller clusters have its times.
const LEAST_MEMBERS: u32 = 64;
/// How long a suspect has to object, in a cluster of [`LEAST_MEMBERS`].
const SUSPICION_MS: f64 = 2500.0;

/// The size that a cluster of so many is reckoned to have: the next power of two, so that it seldom changes.
pub fn reckoned(members: usize) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX / 2).min(u32::MAX / 2);
    members.next_power_of_two().max(LEAST_MEMBERS)
}

/// SWIM's configuration for a cluster of about so many members. What is told often enough to reach
/// everybody, and how long a suspect has to hear of it and object, grow with the logarithm of the size (Das,
/// Gupta, Motivala 2002, 4 and 5); how much each member sends does not.
pub fn config(members: u32) -> Config {
    let few = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    let members = NonZeroU32::new(members.max(LEAST_MEMBERS)).unwrap_or(NonZeroU32::MIN);
    let growth = f64::from(members.get()).ln() / f64::from(LEAST_MEMBERS).ln();
    Config {
        probe_period: Duration::from_millis(800),
        probe_rtt: Duration::from_millis(350),
        suspect_to_down_after: Duration::from_millis((SUSPICION_MS * growth) as u64),
        remove_down_after: Some(Duration::from_secs(600)),
        max_packet_size: few(MAX_DATAGRAM_BYTES - ENVELOPE_BYTES),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: Duration::from_secs(15),
            num_members: few(1),
        }),
        periodic_announce_to_down_members: Some(PeriodicParams {
            frequency: Duration::from_secs(4),
            num_members: few(2),
        }),
        periodic_gossip: Some(PeriodicParams {
            frequency: Duration::from_millis(200),
            num_members: few(3),
        }),
        ..Config::new_lan(members)
    }
}
