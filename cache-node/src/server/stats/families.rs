//! Requests by family of commands and by store, for the metrics: how long they took, and how many were errors.
//!
//! As in all of a loop's cell its own thread alone counts here, without a lock, and nothing is made for a
//! store until it is asked for something.

use std::array::from_fn;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use hypercache_core::command::Group;
use hypercache_core::store::{MAX_STORE_NUMBER, StoreNumber};

use opentelemetry::trace::TraceId;

use super::errors::Fault;
use super::exemplars::{Exemplar, Exemplars};
use super::ticks;
use super::work::add;

/// How many buckets a time falls into.
pub const BOUNDS: usize = 13;
/// The longest time of each bucket, in nanoseconds; the last one takes all that is longer.
const BOUNDS_NS: [u64; BOUNDS - 1] = [
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    50_000_000,
    250_000_000,
    1_000_000_000,
];

/// The longest time of each bucket, in seconds.
pub fn bounds_seconds() -> impl Iterator<Item = f64> {
    BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9).chain([f64::INFINITY])
}

/// How ticks are told as time. Fixed at the start, or what was counted would change with it.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    bounds_ticks: [u64; BOUNDS - 1],
    seconds_per_tick: f64,
}

impl Scale {
    /// As well as it is known by now.
    pub fn now() -> Self {
        let ns_per_tick = ticks::ns_per_tick();
        Self {
            bounds_ticks: BOUNDS_NS.map(|ns| (ns as f64 / ns_per_tick) as u64),
            seconds_per_tick: ns_per_tick / 1e9,
        }
    }

    #[inline]
    fn bucket(&self, ticks: u64) -> usize {
        // Most requests are in the first one or two.
        self.bounds_ticks.iter().position(|bound| ticks <= *bound).unwrap_or(BOUNDS - 1)
    }
}

/// Requests of one family to one store, on one loop.
#[derive(Debug, Default)]
struct Family {
    counts: [AtomicU64; BOUNDS],
    ticks: AtomicU64,
    errors: [AtomicU64; Fault::ALL.len()],
    exemplars: OnceLock<Box<Exemplars>>,
}

type Store = OnceLock<Box<[Family; Group::ALL.len()]>>;

/// All requests on one loop.
#[derive(Debug)]
pub struct Families {
    scale: Scale,
    stores: Box<[Store]>,
}

impl Families {
    /// None yet.
    pub fn new(scale: Scale) -> Self {
        let stores = (0..=MAX_STORE_NUMBER).map(|_| Store::default()).collect();
        Self { scale, stores }
    }

    #[inline]
    fn of(&self, group: Group, store: StoreNumber) -> Option<&Family> {
        let store = self.stores.get(usize::from(store))?;
        store.get_or_init(|| Box::new(from_fn(|_| Family::default()))).get(group as usize)
    }

    /// Counts a request that took so many ticks until its reply stood.
    #[inline]
    pub fn served(&self, group: Group, store: StoreNumber, ticks: u64, alone: bool) {
        if let Some(family) = self.of(group, store) {
            add(&family.counts[self.scale.bucket(ticks)], 1, alone);
            add(&family.ticks, ticks, alone);
        }
    }

    /// Remembers the trace of such a request, as that of the last one of its bucket.
    #[cold]
    pub fn remember(&self, group: Group, store: StoreNumber, ticks: u64, trace: TraceId) {
        let Some(family) = self.of(group, store) else { return };
        let seconds = ticks as f64 * self.scale.seconds_per_tick;
        let exemplar = Exemplar { trace, seconds, at: SystemTime::now() };
        family.exemplars.get_or_init(Box::default).set(self.scale.bucket(ticks), exemplar);
    }

    /// Counts an error reply.
    #[cold]
    pub fn failed(&self, group: Group, store: StoreNumber, fault: Fault) {
        if let Some(family) = self.of(group, store) {
            family.errors[fault as usize].fetch_add(1, Relaxed);
        }
    }

    /// Adds what was counted here to a sum.
    pub fn add_to(&self, sums: &mut Vec<Requests>) {
        for (store, families) in (0..).zip(&self.stores) {
            let Some(families) = families.get() else { continue };
            for (group, family) in Group::ALL.into_iter().zip(families.iter()) {
                let counts = family.counts.each_ref().map(|count| count.load(Relaxed));
                if counts.iter().all(|count| *count == 0) {
                    continue;
                }
                let known = sums.iter().position(|sum| (sum.store, sum.group) == (store, group));
                let index = known.unwrap_or_else(|| {
                    sums.push(Requests::new(group, store));
                    sums.len() - 1
                });
                let sum = &mut sums[index];
                sum.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                sum.seconds += family.ticks.load(Relaxed) as f64 * self.scale.seconds_per_tick;
                let errors = family.errors.iter().map(|count| count.load(Relaxed));
                sum.errors.iter_mut().zip(errors).for_each(|(sum, count)| *sum += count);
                if let Some(exemplars) = family.exemplars.get() {
                    exemplars.add_to(&mut sum.exemplars);
                }
            }
        }
    }
}

/// Requests of one family to one store.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    /// The store.
    pub store: StoreNumber,
    /// The family.
    pub group: Group,
    /// How many took how long, by [`bounds_seconds`].
    pub counts: [u64; BOUNDS],
    /// How long all of them took.
    pub seconds: f64,
    /// How many were errors, by whose fault, in the order of [`Fault::ALL`].
    pub errors: [u64; Fault::ALL.len()],
    /// The last request that has spans, of those that took so long.
    pub exemplars: [Option<Exemplar>; BOUNDS],
}

impl Requests {
    fn new(group: Group, store: StoreNumber) -> Self {
        Self {
            store,
            group,
            counts: [0; BOUNDS],
            seconds: 0.0,
            errors: [0; Fault::ALL.len()],
            exemplars: [None; BOUNDS],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(families: &Families) -> Vec<Requests> {
        let mut sums = Vec::new();
        families.add_to(&mut sums);
        sums
    }

    #[test]
    fn groups_stand_where_their_numbers_say() {
        for (index, group) in Group::ALL.into_iter().enumerate() {
            assert_eq!(group as usize, index, "{group:?}");
        }
    }

    #[test]
    fn a_request_counts_for_its_family_its_store_and_its_time() {
        let families = Families::new(Scale::now());
        assert!(sums(&families).is_empty());
        let us = |us: u64| ticks::from_ns(us * 1_000);
        families.served(Group::String, 3, us(20), true);
        families.served(Group::String, 3, us(700), false);
        families.served(Group::List, 0, us(5_000_000), true);
        families.failed(Group::String, 3, Fault::Server);
        families.served(Group::String, MAX_STORE_NUMBER + 1, 1, true);
        let sums = sums(&families);
        assert_eq!(sums.len(), 2);
        let list = sums.iter().find(|sum| sum.group == Group::List).unwrap();
        assert_eq!((list.store, list.counts[BOUNDS - 1]), (0, 1));
        let string = sums.iter().find(|sum| sum.group == Group::String).unwrap();
        assert_eq!((string.counts[1], string.counts[5]), (1, 1));
        assert!((0.000_6..0.000_9).contains(&string.seconds), "{}", string.seconds);
        assert_eq!(string.errors[Fault::Server as usize], 1);
    }

    #[test]
    fn a_bucket_remembers_the_last_request_that_has_spans_of_all_loops() {
        let loops = [Families::new(Scale::now()), Families::new(Scale::now())];
        let us = |us: u64| ticks::from_ns(us * 1_000);
        for (at, took_us, trace) in [(0, 20, 1), (1, 30, 2), (1, 700, 3), (0, 21, 4)] {
            loops[at].served(Group::String, 3, us(took_us), true);
            loops[at].remember(Group::String, 3, us(took_us), TraceId::from(trace));
        }
        loops[1].served(Group::String, 3, us(40), true);
        let mut sums = Vec::new();
        loops.iter().for_each(|families| families.add_to(&mut sums));
        let told = sums[0].exemplars;
        assert_eq!(told.map(|told| told.is_some()).into_iter().filter(|told| *told).count(), 2);
        let [in_first, in_later] = [1, 5].map(|bucket: usize| told[bucket].unwrap());
        assert_eq!((in_first.trace, in_later.trace), (TraceId::from(4), TraceId::from(3)));
        assert!((0.000_6..0.000_9).contains(&in_later.seconds), "{in_later:?}");
    }

    #[test]
    fn buckets_end_where_they_say() {
        let scale = Scale { bounds_ticks: BOUNDS_NS, seconds_per_tick: 1e-9 };
        let of = |ns| scale.bucket(ns);
        assert_eq!([of(0), of(10_000), of(10_001), of(u64::MAX)], [0, 0, 1, BOUNDS - 1]);
        assert_eq!(bounds_seconds().count(), BOUNDS);
    }
}
