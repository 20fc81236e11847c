//! Moments at which the server was slow, by what it did (Redis's latency monitor).

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Moments that an event keeps.
const KEPT: usize = 160;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, in Unix seconds.
    pub at_seconds: u64,
    /// The longest of that second.
    pub took_ms: u64,
}

/// What one event kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The oldest first.
    pub samples: Vec<Sample>,
    /// The longest ever, since the last reset.
    pub most_ms: u64,
    /// How many there were, and how long they were together; with those that are not kept any more.
    pub count: u64,
    /// See `count`.
    pub sum_ms: u64,
}

/// All events by name.
#[derive(Debug, Default)]
pub struct Monitor(Mutex<BTreeMap<&'static str, History>>);

impl Monitor {
    /// Notes that `event` took long. Of one second the longest is kept.
    pub fn add(&self, event: &'static str, at_seconds: u64, took_ms: u64) {
        let mut events = self.0.lock();
        let history = events.entry(event).or_default();
        history.most_ms = history.most_ms.max(took_ms);
        history.count += 1;
        history.sum_ms = history.sum_ms.saturating_add(took_ms);
        match history.samples.last_mut() {
            Some(last) if last.at_seconds == at_seconds => {
                last.took_ms = last.took_ms.max(took_ms);
            }
            _ => {
                if history.samples.len() == KEPT {
                    history.samples.remove(0);
                }
                history.samples.push(Sample { at_seconds, took_ms });
            }
        }
    }

    /// What an event kept.
    pub fn history(&self, event: &str) -> Option<History> {
        self.0.lock().get(event).cloned()
    }

    /// What all events kept.
    pub fn all(&self) -> Vec<(&'static str, History)> {
        self.0.lock().iter().map(|(event, history)| (*event, history.clone())).collect()
    }

    /// Forgets the events that `forgets` names; says how many there were.
    pub fn reset(&self, forgets: impl Fn(&str) -> bool) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|event, _| !forgets(event));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_keeps_its_longest_and_an_event_its_newest() {
        let monitor = Monitor::default();
        for second in 0..200 {
            monitor.add("command", second, 5);
            monitor.add("command", second, second);
        }
        let history = monitor.history("command").unwrap();
        assert_eq!(history.samples.len(), KEPT);
        assert_eq!(history.samples[0], Sample { at_seconds: 40, took_ms: 40 });
        assert_eq!((history.most_ms, history.count), (199, 400));
        assert_eq!(history.sum_ms, 200 * 5 + 199 * 100);
    }

    #[test]
    fn events_are_forgotten_by_name() {
        let monitor = Monitor::default();
        monitor.add("command", 1, 5);
        monitor.add("expire-cycle", 1, 5);
        assert_eq!(monitor.reset(|event| event == "nope"), 0);
        assert_eq!(monitor.reset(|event| event == "command"), 1);
        assert_eq!(monitor.all().len(), 1);
        assert_eq!(monitor.reset(|_| true), 1);
        assert!(monitor.history("expire-cycle").is_none());
    }
}
