//! Snapshots that are asked for, and what for: to have them, or to rewrite the log with them.

use std::collections::BTreeMap;
use std::time::Instant;

use hypercache_core::store::StoreNumber;
use tokio::sync::oneshot;

use super::shared::Taken;

/// What a snapshot is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purpose {
    /// To have one: asked for, due by its interval, or a store's first.
    pub save: bool,
    /// So that the log before it is not needed any more.
    pub rewrite: bool,
}

impl Purpose {
    /// To have one.
    pub const SAVE: Self = Self { save: true, rewrite: false };
    /// To rewrite the log.
    pub const REWRITE: Self = Self { save: false, rewrite: true };

    /// Both.
    pub fn and(self, other: Self) -> Self {
        Self { save: self.save || other.save, rewrite: self.rewrite || other.rewrite }
    }

    /// Whether it is this as well.
    pub fn has(self, other: Self) -> bool {
        self.save && other.save || self.rewrite && other.rewrite
    }
}

/// One store's snapshot that is asked for.
#[derive(Debug, Default)]
pub struct Asked {
    /// Who waits for it.
    pub who: Vec<oneshot::Sender<Taken>>,
    /// What for.
    pub purpose: Purpose,
}

/// A snapshot that is being taken.
#[derive(Debug, Clone, Copy)]
pub struct Taking {
    pub store: StoreNumber,
    pub purpose: Purpose,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Wanted {
    pub stores: BTreeMap<StoreNumber, Asked>,
    pub running: Option<Taking>,
    /// Since when snapshots of each purpose are taken, one after the other; `None`: none are.
    save_since: Option<Instant>,
    rewrite_since: Option<Instant>,
}

impl Wanted {
    /// Asks for a snapshot of a store. Where nothing is done this is in progress from now on: who asks and
    /// looks finds it so.
    pub fn ask(
        &mut self,
        store: StoreNumber,
        purpose: Purpose,
        who: Option<oneshot::Sender<Taken>>,
    ) {
        let asked = self.stores.entry(store).or_default();
        asked.purpose = asked.purpose.and(purpose);
        asked.who.extend(who);
        if self.in_progress() == Purpose::default() {
            self.note(purpose);
        }
    }

    fn note(&mut self, purpose: Purpose) {
        if purpose.save {
            self.save_since.get_or_insert_with(Instant::now);
        }
        if purpose.rewrite {
            self.rewrite_since.get_or_insert_with(Instant::now);
        }
    }

    fn left(&self) -> Purpose {
        self.stores.values().fold(Purpose::default(), |all, asked| all.and(asked.purpose))
    }

    /// What is being done: what runs and what comes behind it in the same go. A purpose that only waits
    /// behind the other's snapshots is not, and is not where one of these happens to be taken for both.
    pub fn in_progress(&self) -> Purpose {
        Purpose { save: self.save_since.is_some(), rewrite: self.rewrite_since.is_some() }
    }

    /// What is asked for, and not begun.
    pub fn scheduled(&self) -> Purpose {
        let (asked, now) = (self.left(), self.in_progress());
        Purpose { save: asked.save && !now.save, rewrite: asked.rewrite && !now.rewrite }
    }

    /// For how many seconds snapshots of each purpose, saves and rewrites, are being taken.
    pub fn seconds(&self) -> [Option<u64>; 2] {
        [self.save_since, self.rewrite_since].map(|since| since.map(|s| s.elapsed().as_secs()))
    }

    /// Takes what is next, which runs then.
    pub fn begin(&mut self) -> Option<(Taking, Asked)> {
        // What was begun comes to its end first.
        let now = self.in_progress();
        let begun = self.stores.iter().find(|(_, asked)| asked.purpose.has(now));
        let store = begun.or_else(|| self.stores.first_key_value()).map(|(store, _)| *store)?;
        let asked = self.stores.remove(&store)?;
        let taking = Taking { store, purpose: asked.purpose };
        self.running = Some(taking);
        Some((taking, asked))
    }

    /// What ran has ended.
    pub fn end(&mut self) {
        self.running = None;
        let left = self.left();
        if !left.save {
            self.save_since = None;
        }
        if !left.rewrite {
            self.rewrite_since = None;
        }
        if self.in_progress() == Purpose::default() {
            self.note(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_is_no_save_and_waits_behind_one_until_that_is_over() {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.in_progress(), Purpose::default());
        wanted.ask(1, Purpose::SAVE, None);
        wanted.ask(3, Purpose::SAVE, None);
        assert_eq!(wanted.begin().unwrap().0.store, 1);
        wanted.ask(2, Purpose::REWRITE, None);
        assert_eq!(wanted.in_progress(), Purpose::SAVE);
        assert_eq!(wanted.scheduled(), Purpose::REWRITE);
        wanted.end();
        // Between two of its stores a save is still in progress.
        assert_eq!(wanted.in_progress(), Purpose::SAVE);
        assert_eq!(wanted.begin().unwrap().0.store, 3);
        wanted.end();
        assert_eq!(wanted.in_progress(), Purpose::REWRITE);
        assert_eq!(wanted.begin().unwrap().0.store, 2);
        assert_eq!(wanted.in_progress(), Purpose::REWRITE);
        assert_eq!(wanted.scheduled(), Purpose::default());
        wanted.end();
        assert_eq!(wanted.in_progress(), Purpose::default());
        assert!(wanted.begin().is_none());
    }

    #[test]
    fn a_snapshot_that_is_asked_for_both_before_it_begins_is_taken_once_and_in_progress_for_what_was_first()
     {
        let mut wanted = Wanted::default();
        wanted.ask(1, Purpose::REWRITE, None);
        wanted.ask(1, Purpose::SAVE, None);
        assert_eq!(wanted.scheduled(), Purpose::SAVE);
        let (taking, _) = wanted.begin().unwrap();
        assert_eq!(taking.purpose, Purpose { save: true, rewrite: true });
        assert_eq!(wanted.in_progress(), Purpose::REWRITE);
        wanted.end();
        assert_eq!(wanted.in_progress(), Purpose::default());
        assert!(wanted.begin().is_none());
    }
}
