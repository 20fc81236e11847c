//! What has to be there after a crash, and what must not: each key's values since the last one that is on
//! the disk for sure. What is found has to be one of them.

use crate::member::{Content, Member};
use hypercache_core::log::Ticket;
use hypercache_core::store::StoreNumber;
use std::collections::{BTreeMap, BTreeSet};

/// A key's value from one change to the next.
#[derive(Debug, Clone)]
struct Version {
    /// Grows with every change.
    index: u64,
    /// `None`: the key is not there.
    content: Option<Content>,
    /// It is on the disk once this is.
    ticket: Option<Ticket>,
    /// Those with the same number are there together or not at all.
    batch: Option<u64>,
}

impl Version {
    fn fits(&self, found: Option<&Content>, now_ms: u64) -> bool {
        match (&self.content, found) {
            // One whose lifetime is over may be left out, or be found and not shown.
            (Some(content), None) => content.expires_at_ms > 0 && content.expires_at_ms <= now_ms,
            (content, found) => content.as_ref() == found,
        }
    }
}

type Key = (StoreNumber, Vec<u8>);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// At least one version of each: the first is on the disk for sure, or nothing is.
    keys: BTreeMap<Key, Vec<Version>>,
    index: u64,
    batches: u64,
}

impl Model {
    /// How many changes there were.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// A batch's number.
    pub fn batch(&mut self) -> u64 {
        self.batches += 1;
        self.batches
    }

    fn versions(&mut self, store: StoreNumber, key: &[u8]) -> &mut Vec<Version> {
        let none = || vec![Version { index: 0, content: None, ticket: None, batch: None }];
        self.keys.entry((store, key.to_vec())).or_insert_with(none)
    }

    /// A key's value by now.
    pub fn current(&self, store: StoreNumber, key: &[u8]) -> Option<&Content> {
        self.keys.get(&(store, key.to_vec()))?.last()?.content.as_ref()
    }

    /// The keys of a store that are there by now.
    pub fn present(&self, store: StoreNumber) -> Vec<Vec<u8>> {
        let there = self.keys.iter().filter(|((number, _), versions)| {
            *number == store && versions.last().is_some_and(|version| version.content.is_some())
        });
        there.map(|((_, key), _)| key.clone()).collect()
    }

    /// A key changed; it is on the disk once the ticket is, if there is one.
    pub fn change(
        &mut self,
        store: StoreNumber,
        key: &[u8],
        content: Option<Content>,
        ticket: Option<Ticket>,
        batch: Option<u64>,
    ) {
        self.index += 1;
        let index = self.index;
        self.versions(store, key).push(Version { index, content, ticket, batch });
    }

    /// The lifetimes of these keys that are over by now are noticed.
    pub fn expire(&mut self, store: StoreNumber, key: &[u8], now_ms: u64, ticket: Option<Ticket>) {
        let ends = self.current(store, key).map_or(0, |content| content.expires_at_ms);
        if ends > 0 && ends <= now_ms {
            self.change(store, key, None, ticket, None);
        }
    }

    /// All whose tickets are durable is on the disk.
    pub fn durable(&mut self, is_durable: impl Fn(Ticket) -> bool) {
        for versions in self.keys.values_mut().filter(|versions| versions.len() > 1) {
            let last = versions.iter().rposition(|it| it.ticket.is_some_and(&is_durable));
            versions.drain(..last.unwrap_or(0));
        }
    }

    /// All of a store up to this change is in a snapshot.
    pub fn in_snapshot(&mut self, store: StoreNumber, index: u64) {
        for (_, versions) in self.keys.iter_mut().filter(|((number, _), _)| *number == store) {
            let last = versions.iter().rposition(|version| version.index <= index);
            versions.drain(..last.unwrap_or(0));
        }
    }

    /// Nothing of a store is kept any more, or is kept only from now on: what it holds may be lost, and
    /// nothing of before may come back.
    pub fn begins_anew(&mut self, store: StoreNumber) {
        for (_, versions) in self.keys.iter_mut().filter(|((number, _), _)| *number == store) {
            let last = versions.pop();
            versions.clear();
            versions.push(Version { index: 0, content: None, ticket: None, batch: None });
            versions.extend(last.map(|last| Version { ticket: None, batch: None, ..last }));
        }
    }

    /// Whether what a member found fits; it is what is on the disk then. `lacks`: the log lacked something
    /// that was in no snapshots yet: then what was not durable may be there in part.
    /// `latest_ms` is the latest time that there ever was.
    ///
    /// # Errors
    /// What does not.
    pub fn check(
        &mut self,
        member: &Member,
        stores: &[StoreNumber],
        lacks: bool,
        latest_ms: u64,
    ) -> Result<(), String> {
        let mut found = BTreeMap::<Key, Content>::new();
        for store in stores {
            let contents = member.contents(*store).into_iter();
            found.extend(contents.map(|(key, content)| ((*store, key), content)));
        }
        let unknown = found.keys().find(|key| !self.keys.contains_key(*key));
        if let Some((store, key)) = unknown {
            return Err(format!("store {store}, {}: nobody wrote it", key.escape_ascii()));
        }
        // Of each batch: whose keys show that it was done, and whose that it was not.
        let mut batches = BTreeMap::<u64, (BTreeSet<&Key>, BTreeSet<&Key>)>::new();
        for (key, versions) in &self.keys {
            let found = found.get(key);
            let fits = versions.iter().filter(|version| version.fits(found, latest_ms));
            let fits: Vec<u64> = fits.map(|version| version.index).collect();
            if fits.is_empty() && !(lacks && may_be_part(found, versions)) {
                return Err(told(key, found, versions));
            }
            for version in versions {
                let Some(batch) = version.batch else { continue };
                let (done, not_done) = batches.entry(batch).or_default();
                if fits.iter().all(|index| *index == version.index) {
                    done.insert(key);
                }
                if fits.iter().all(|index| *index < version.index) {
                    not_done.insert(key);
                }
            }
        }
        for (batch, (done, not_done)) in batches.into_iter().filter(|_| !lacks) {
            if let (Some(done), Some(not_done)) = (done.first(), not_done.first()) {
                return Err(format!(
                    "batch {batch} is half there: {} of store {} has it, {} of store {} has not",
                    done.1.escape_ascii(),
                    done.0,
                    not_done.1.escape_ascii(),
                    not_done.0
                ));
            }
        }
        let index = self.index;
        for (key, versions) in &mut self.keys {
            let content = found.get(key).cloned();
            *versions = vec![Version { index, content, ticket: None, batch: None }];
        }
        Ok(())
    }
}

/// Whether changes that were not durable make this, some of them left out: no value that nobody wrote, and
/// of a list all that is on the disk for sure.
fn may_be_part(found: Option<&Content>, versions: &[Version]) -> bool {
    let Some(found) = found else { return versions.iter().any(|it| it.content.is_none()) };
    let lines = |content: &Content| -> BTreeSet<Vec<u8>> {
        content.bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    let contents = || versions.iter().filter_map(|version| version.content.as_ref());
    let written: BTreeSet<Vec<u8>> = contents().flat_map(&lines).collect();
    lines(found).is_subset(&written)
}

fn told(key: &Key, found: Option<&Content>, versions: &[Version]) -> String {
    let show = |content: Option<&Content>| match content {
        None => "nothing".to_owned(),
        Some(content) => {
            let bytes = content.bytes.get(..content.bytes.len().min(60)).unwrap_or_default();
            format!("'{}' until {}", bytes.escape_ascii(), content.expires_at_ms)
        }
    };
    let may: Vec<String> = versions.iter().map(|version| show(version.content.as_ref())).collect();
    format!(
        "store {}, {}: {} is there, and it may be: {}",
        key.0,
        key.1.escape_ascii(),
        show(found),
        may.join(", ")
    )
}
