//! Notices of what happened to keys: Redis's keyspace events.
//!
//! A command says what it did to a key while the key's slot is locked, so that the notices of a slot
//! stand in the order of its changes. They wait in a bounded queue for the shell, which publishes them:
//! no command waits for that. While nobody wants them, a change costs one relaxed load.

use crate::store::StoreNumber;
use bitflags::bitflags;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Poll, Waker};

/// What may wait for the shell.
const MAX_BYTES: usize = 32 << 20;
/// What a notice costs beside its key.
const NOTICE_BYTES: usize = size_of::<Notice>();

bitflags! {
    /// Kinds of events, and the two ways to hear of them, in the letters of `notify-keyspace-events`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct EventClasses: u32 {
        /// `K`: by key, on `__keyspace@N__:key`.
        const KEYSPACE = 1;
        /// `E`: by event, on `__keyevent@N__:event`.
        const KEYEVENT = 1 << 1;
        /// `g`: of keys whatever their type.
        const GENERIC = 1 << 2;
        /// `$`: of strings.
        const STRING = 1 << 3;
        /// `l`: of lists.
        const LIST = 1 << 4;
        /// `s`: of sets.
        const SET = 1 << 5;
        /// `h`: of hashes.
        const HASH = 1 << 6;
        /// `z`: of sorted sets.
        const SORTED_SET = 1 << 7;
        /// `x`: a lifetime is over.
        const EXPIRED = 1 << 8;
        /// `e`: a key left for room.
        const EVICTED = 1 << 9;
        /// `t`: of streams.
        const STREAM = 1 << 10;
        /// `m`: a key that is read is not there.
        const KEY_MISS = 1 << 11;
        /// `d`: of modules' types.
        const MODULE = 1 << 12;
        /// `n`: a key is new.
        const NEW = 1 << 13;
        /// `A`: all but `m` and `n`.
        const ALL = Self::GENERIC.bits() | Self::STRING.bits() | Self::LIST.bits()
            | Self::SET.bits() | Self::HASH.bits() | Self::SORTED_SET.bits()
            | Self::EXPIRED.bits() | Self::EVICTED.bits() | Self::STREAM.bits()
            | Self::MODULE.bits();
    }
}

/// The letters of the kinds, in the order in which Redis shows them.
const LETTERS: [(char, EventClasses); 10] = [
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::SORTED_SET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
];
/// Those that `A` does not stand for.
const MORE_LETTERS: [(char, EventClasses); 4] = [
    ('K', EventClasses::KEYSPACE),
    ('E', EventClasses::KEYEVENT),
    ('m', EventClasses::KEY_MISS),
    ('n', EventClasses::NEW),
];

impl EventClasses {
    /// Reads letters; `None` if one of them means nothing.
    pub fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::empty(), |classes, letter| {
            let mut known = LETTERS.iter().chain(&MORE_LETTERS);
            let class = match letter {
                'A' => Self::ALL,
                _ => known.find(|(l, _)| *l == letter)?.1,
            };
            Some(classes | class)
        })
    }

    /// The letters, as Redis shows them.
    pub fn letters(self) -> String {
        let shown = |letters: &[(char, Self)]| -> String {
            letters.iter().filter(|(_, class)| self.contains(*class)).map(|(l, _)| l).collect()
        };
        let kinds = if self.contains(Self::ALL) { "A".to_owned() } else { shown(&LETTERS) };
        kinds + &shown(&MORE_LETTERS)
    }

    /// Whether anything is ever told: what happened, in one way or the other.
    fn tells(self) -> bool {
        self.intersects(Self::KEYSPACE | Self::KEYEVENT)
            && self.intersects(Self::ALL | Self::KEY_MISS | Self::NEW)
    }
}

/// Something that can happen to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its kind: one letter.
    pub class: EventClasses,
    /// Its name, as Redis has it.
    pub name: &'static str,
}

impl Event {
    /// An event of keys whatever their type.
    pub const fn generic(name: &'static str) -> Self {
        Self { class: EventClasses::GENERIC, name }
    }

    /// An event of strings.
    pub const fn string(name: &'static str) -> Self {
        Self { class: EventClasses::STRING, name }
    }

    /// An event of lists.
    pub const fn list(name: &'static str) -> Self {
        Self { class: EventClasses::LIST, name }
    }

    /// An event of sets.
    pub const fn set(name: &'static str) -> Self {
        Self { class: EventClasses::SET, name }
    }

    /// An event of hashes.
    pub const fn hash(name: &'static str) -> Self {
        Self { class: EventClasses::HASH, name }
    }

    /// An event of sorted sets.
    pub const fn sorted_set(name: &'static str) -> Self {
        Self { class: EventClasses::SORTED_SET, name }
    }

    /// A key was removed.
    pub const DEL: Self = Self::generic("del");
    /// A key is new.
    pub const NEW: Self = Self { class: EventClasses::NEW, name: "new" };
    /// A key that is read is not there.
    pub const KEY_MISS: Self = Self { class: EventClasses::KEY_MISS, name: "keymiss" };
    /// A key's lifetime was over.
    pub const EXPIRED: Self = Self { class: EventClasses::EXPIRED, name: "expired" };
    /// A key left for room.
    pub const EVICTED: Self = Self { class: EventClasses::EVICTED, name: "evicted" };
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub event: Event,
    /// The number of the key's store.
    pub store: StoreNumber,
    /// The key.
    pub key: Box<[u8]>,
}

#[derive(Default)]
struct Queue {
    notices: VecDeque<Notice>,
    bytes: usize,
    waker: Option<Waker>,
}

/// Notices on their way to the shell.
#[derive(Default)]
pub struct Notices {
    /// What is wanted; empty if it would tell nobody.
    wanted: AtomicU32,
    /// What was asked for.
    classes: AtomicU32,
    dropped: AtomicU64,
    queue: Mutex<Queue>,
}

impl Notices {
    /// Whether anybody wants to hear of such events.
    #[inline]
    pub(super) fn wants(&self, class: EventClasses) -> bool {
        self.wanted.load(Relaxed) & class.bits() != 0
    }

    /// Notes what happened to a key, whose slot is locked, if it is wanted.
    #[inline]
    pub(super) fn note(&self, event: Event, store: StoreNumber, key: &[u8]) {
        if self.wants(event.class) {
            self.push(event, store, key);
        }
    }

    #[cold]
    fn push(&self, event: Event, store: StoreNumber, key: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.bytes + key.len() + NOTICE_BYTES > MAX_BYTES {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        queue.bytes += key.len() + NOTICE_BYTES;
        queue.notices.push_back(Notice { event, store, key: key.into() });
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wants to hear of these from now on.
    pub fn set_classes(&self, classes: EventClasses) {
        self.classes.store(classes.bits(), Relaxed);
        let wanted = if classes.tells() { classes } else { EventClasses::empty() };
        self.wanted.store(wanted.bits(), Relaxed);
    }

    /// What is to be heard of.
    pub fn classes(&self) -> EventClasses {
        EventClasses::from_bits_truncate(self.classes.load(Relaxed))
    }

    /// Notices that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// All that wait, in order; or `waker` is woken when there are some.
    pub fn poll_take(&self, waker: &Waker) -> Poll<VecDeque<Notice>> {
        let mut queue = self.queue.lock();
        if queue.notices.is_empty() {
            queue.waker = Some(waker.clone());
            return Poll::Pending;
        }
        queue.bytes = 0;
        Poll::Ready(std::mem::take(&mut queue.notices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_read_back_as_redis_shows_them() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Ex", "xE"),
            ("mnKE$glshzxetd", "AKEmn"),
            ("Elg", "glE"),
            ("nm", "mn"),
        ] {
            assert_eq!(EventClasses::parse(given).unwrap().letters(), shown);
        }
        assert_eq!(EventClasses::parse("KEq"), None);
    }

    #[test]
    fn notices_wait_in_order_and_are_bounded() {
        let notices = Notices::default();
        let waker = Waker::noop();
        notices.note(Event::DEL, 0, b"k");
        notices.set_classes(EventClasses::ALL);
        notices.note(Event::DEL, 0, b"k");
        assert!(notices.poll_take(waker).is_pending(), "nobody could hear of it");
        notices.set_classes(EventClasses::ALL | EventClasses::KEYEVENT);
        notices.note(Event::NEW, 0, b"k");
        notices.note(Event::DEL, 3, b"k");
        notices.note(Event::EXPIRED, 0, b"l");
        let Poll::Ready(taken) = notices.poll_take(waker) else { panic!("some wait") };
        let seen: Vec<_> = taken.iter().map(|n| (n.event.name, n.store, &n.key[..])).collect();
        assert_eq!(seen, [("del", 3, &b"k"[..]), ("expired", 0, b"l")]);
        let large = vec![0; MAX_BYTES / 2];
        (0..5).for_each(|_| notices.note(Event::DEL, 0, &large));
        let Poll::Ready(taken) = notices.poll_take(waker) else { panic!("some wait") };
        assert_eq!((taken.len(), notices.dropped()), (1, 4));
    }
}
