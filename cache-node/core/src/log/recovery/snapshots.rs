//! Which snapshots can be used.

use super::{Plan, Source, Store};
use crate::cluster::Slot;
use crate::log::catalog::Catalog;
use crate::log::directory::{Directory, File, Folder, Wrong};
use crate::log::retention;
use crate::log::segment::{DataSet, HeaderError};
use crate::log::snapshot::{self, OpenError, Snapshot};
use std::collections::BTreeMap;

impl<F: File> Plan<F> {
    pub(super) fn find_snapshots<D>(
        &mut self,
        directory: &D,
        data_set: DataSet,
        catalog: &Catalog,
    ) -> Result<(), Wrong>
    where
        D: Directory<File = F>,
    {
        for (number, row) in catalog.rows() {
            self.last_sequence = self.last_sequence.max(row.since);
            self.stores.insert(number, Store { since: row.since, sources: Vec::new() });
        }
        let there = retention::snapshots(directory)?.into_iter();
        let there = there.flat_map(|(store, all)| all.into_iter().map(move |one| (store, one)));
        for (number, sequence) in there {
            let name = snapshot::file_name(number, sequence);
            let wrong = |reason: String| Wrong::new(Folder::Snapshots, name.as_str(), reason);
            // Also of those that are nobody's: a store that begins now begins after them.
            self.last_sequence = self.last_sequence.max(sequence.saturating_add(1));
            let Some(row) = catalog.get(number) else { continue };
            let opened = directory.open(Folder::Snapshots, &name);
            let Some(file) = opened.map_err(|error| wrong(error.to_string()))? else { continue };
            let snapshot = match Snapshot::open(&file) {
                Ok(snapshot) => snapshot,
                Err(OpenError::Header(error @ HeaderError::Version(_))) => {
                    return Err(wrong(error.to_string()));
                }
                Err(error) => {
                    self.report.damaged_snapshots += 1;
                    self.report.damage(wrong(error.to_string()).to_string());
                    continue;
                }
            };
            let header = &snapshot.header;
            if header.data_set != data_set {
                return Err(wrong("it is of another data set than DATASET says".into()));
            }
            if header.name != row.name || header.first_sequence < row.since {
                continue;
            }
            if snapshot.has_damaged_header {
                let text = wrong("its header; nothing is lost by that".into()).to_string();
                self.report.damage(text);
            }
            self.last_sequence = self.last_sequence.max(snapshot.last_sequence);
            let sequences = snapshot.sequences();
            let mut by_slot = BTreeMap::<Slot, Vec<usize>>::new();
            for (index, entry) in snapshot.entries.iter().enumerate() {
                by_slot.entry(entry.block.slot).or_default().push(index);
            }
            let (bytes, name) = (file.byte_len(), wrong(String::new()).path());
            if let Some(store) = self.stores.get_mut(&number) {
                let source = Source { file, name, snapshot, bytes, sequences, by_slot };
                store.sources.insert(0, source);
            }
        }
        for store in self.stores.values() {
            self.total_bytes += store.sources.first().map_or(0, |source| source.bytes);
        }
        Ok(())
    }
}
