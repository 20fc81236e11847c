//! W-TinyLFU: the oldest of the window against the key of the rest that was used least.

use super::Chooser;
use super::newcomers::part;
use super::pool::Candidate;
use super::rank::{Contender, EXPIRED, is_admitted};
use super::usage::{Usage, idle_turns};
use super::window::Place;
use crate::cluster::Slot;
use crate::keyspace::Keyspace;
use crate::keyspace::stores::Store;
use crate::keyspace::values::Value;
use std::sync::atomic::Ordering::Relaxed;

/// So many keys of the window are looked at for one that leaves it.
const WINDOW_TRIES: usize = 16;

impl Keyspace {
    /// Whichever was used less leaves: the oldest of the window, or the best candidate of the rest.
    pub(super) fn evict_by_frequency(
        &self,
        store: &Store,
        chooser: &mut Chooser,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        self.sweep(store, chooser, now_ms);
        let best = chooser.pool.best().copied();
        if let Some(best) = best.filter(|best| best.class == EXPIRED) {
            chooser.pool.pop();
            return self.evict_one(store, best.slot, best.hash, best.touched, true, now_ms);
        }
        let newcomer = self.leave_window(store, chooser.window);
        let (Some(best), Some((place, frequency))) = (best, newcomer) else {
            // Only one side has something to give.
            if let Some((place, frequency)) = newcomer {
                return self.evict_newcomer(store, &place, frequency, now_ms);
            }
            let best = chooser.pool.pop()?;
            return self.evict_settled(store, &best, now_ms);
        };
        let pace = &store.counters.pace;
        let idle = u64::from(idle_turns(best.touched, pace.turn()));
        let newcomer = Contender { frequency, distance: place.distance };
        let incumbent = Contender {
            frequency: best.frequency,
            distance: part(idle, store.counters.keys.load(Relaxed)),
        };
        if is_admitted(newcomer, incumbent, self.random()) {
            chooser.pool.pop();
            self.with_usage(store, place.slot, place.hash, |usage| usage.set_in_window(false));
            return self.evict_settled(store, &best, now_ms);
        }
        self.evict_newcomer(store, &place, frequency, now_ms)
    }

    fn evict_newcomer(
        &self,
        store: &Store,
        place: &Place,
        frequency: u8,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        let gone = self.evict_one(store, place.slot, place.hash, place.touched, false, now_ms)?;
        store.counters.eviction.left(place.hash, frequency, false, &store.counters.pace);
        Some(gone)
    }

    /// A candidate that is not of the window leaves.
    fn evict_settled(
        &self,
        store: &Store,
        candidate: &Candidate,
        now_ms: u64,
    ) -> Option<Option<Value>> {
        let Candidate { slot, hash, touched, frequency, .. } = *candidate;
        let gone = self.evict_one(store, slot, hash, touched, false, now_ms)?;
        store.counters.eviction.left(hash, frequency, true, &store.counters.pace);
        Some(gone)
    }

    /// The key that leaves the window and how often it was used, if the window holds more than
    /// `target`. One that was used since it was put there goes back to where that use belongs.
    fn leave_window(&self, store: &Store, target: usize) -> Option<(Place, u8)> {
        let (counters, pace) = (&store.counters, &store.counters.pace);
        for _ in 0..WINDOW_TRIES {
            let place = counters.eviction.newcomers.lock().window.pop_over(target)?;
            let used = self.with_usage(store, place.slot, place.hash, |usage| {
                if !self.may_remove(place.slot) {
                    // Its primary says who leaves there; it stays, and looks settled if it is that once.
                    usage.set_in_window(false);
                    return None;
                }
                usage.in_window().then(|| (usage.touched(), usage.frequency(pace)))
            });
            let Some((touched, frequency)) = used.flatten() else { continue };
            if touched == place.touched {
                return Some((place, frequency));
            }
            let keys = counters.keys.load(Relaxed);
            counters.eviction.newcomers.lock().put_back(place, touched, pace, keys);
        }
        None
    }

    fn with_usage<R>(
        &self,
        store: &Store,
        slot: Slot,
        hash: u64,
        run: impl FnOnce(&mut Usage) -> R,
    ) -> Option<R> {
        let mut state = self.cell(slot)?.state.lock();
        let table = &mut state.get_mut(store.number)?.table;
        let place = table.find_where(hash, |e| self.hasher.hash(e.key) == hash)?;
        let before = table.get(place)?.usage;
        let mut usage = before;
        let result = run(&mut usage);
        if usage != before {
            table.set_usage(place, usage);
        }
        Some(result)
    }
}
