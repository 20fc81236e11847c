//! Which stores' data is on the disk: `STORES`, in its directory.

use std::io;
use std::path::{Path, PathBuf};

use hypercache_core::log::directory::Folder;
use hypercache_core::log::{Sequence, catalog};
use hypercache_core::store::{StoreNumber, StorePolicy};

use super::Error;
use super::layout::Files;

pub use hypercache_core::log::catalog::Row;

/// The file `STORES`.
#[derive(Debug)]
pub struct Catalog {
    files: Files,
    path: PathBuf,
    rows: catalog::Catalog,
    /// What could not be followed.
    behind: Option<Vec<StorePolicy>>,
}

impl Catalog {
    /// Reads it; one that is not there has no rows.
    ///
    /// # Errors
    /// It is damaged, of another version, or missing although data is there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let files = Files::of(root);
        let path = files.path(Folder::Root, catalog::NAME);
        let rows = catalog::Catalog::open(&files).map_err(|error| files.wrong(error))?;
        Ok(Self { files, path, rows, behind: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    pub fn content(&self) -> &catalog::Catalog {
        &self.rows
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = (StoreNumber, &Row)> {
        self.rows.rows()
    }

    /// A store's row.
    pub fn get(&self, number: StoreNumber) -> Option<&Row> {
        self.rows.get(number)
    }

    /// As [`catalog::Catalog::follow`].
    ///
    /// # Errors
    /// The file could not be written: [`Self::again`] is to be called until it is.
    pub fn follow(
        &mut self,
        policies: &[StorePolicy],
        last: Sequence,
    ) -> io::Result<Vec<StoreNumber>> {
        let followed = self.rows.follow(&self.files, policies, last);
        self.behind = followed.is_err().then(|| policies.to_vec());
        followed
    }

    /// As [`catalog::Catalog::log_began`].
    ///
    /// # Errors
    /// The file could not be written: it is to be called again.
    pub fn log_began(&mut self) -> io::Result<()> {
        self.rows.log_began(&self.files)
    }

    /// Tries again what failed; `None`: nothing did.
    pub fn again(&mut self, last: Sequence) -> Option<io::Result<Vec<StoreNumber>>> {
        let behind = self.behind.take()?;
        Some(self.follow(&behind, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::store::{Durability, Mode};
    use std::fs;

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for folder in Folder::ALL {
            fs::create_dir_all(directory.path().join(folder.path())).unwrap();
        }
        directory
    }

    fn policy(name: &str, number: StoreNumber, mode: Mode) -> StorePolicy {
        StorePolicy { durability: Durability::of(mode), ..StorePolicy::new(name, number) }
    }

    #[test]
    fn a_number_that_another_store_gets_begins_anew() {
        let directory = directory();
        let mut catalog = Catalog::open(directory.path()).unwrap();
        let first = [policy("a", 5, Mode::Aof), policy("b", 6, Mode::Disabled)];
        assert_eq!(catalog.follow(&first, 10).unwrap(), [5]);
        assert_eq!(catalog.follow(&first, 20).unwrap(), [0u16; 0]);
        let mut catalog = Catalog::open(directory.path()).unwrap();
        assert_eq!(catalog.get(5).unwrap().since, 10);
        assert_eq!(catalog.follow(&[policy("c", 5, Mode::Snapshot)], 30).unwrap(), [5]);
        assert_eq!(catalog.get(5).unwrap().since, 30);
        // From snapshots to the log: what is there needs a snapshot, and stays its own.
        assert_eq!(catalog.follow(&[policy("c", 5, Mode::Aof)], 40).unwrap(), [5]);
        assert_eq!(catalog.get(5).unwrap().since, 30);
        // What came before is not in the log, whatever follows.
        for mode in [Mode::Aof, Mode::AofSnapshot] {
            catalog.follow(&[policy("c", 5, mode)], 42).unwrap();
            assert_eq!(Catalog::open(directory.path()).unwrap().get(5).unwrap().logged_since, 40);
        }
        // And back: the log is needed until snapshots have what is in it.
        assert_eq!(catalog.follow(&[policy("c", 5, Mode::Snapshot)], 45).unwrap(), [5]);
        let again = Catalog::open(directory.path()).unwrap();
        assert_eq!((again.get(5), again.get(5).unwrap().logged_until), (catalog.get(5), 45));
        assert!(catalog.follow(&[], 50).unwrap().is_empty());
        assert!(Catalog::open(directory.path()).unwrap().get(5).is_none());
    }

    #[test]
    fn s6_a_damaged_file_is_refused() {
        let directory = directory();
        let mut catalog = Catalog::open(directory.path()).unwrap();
        catalog.follow(&[policy("a", 5, Mode::Aof)], 10).unwrap();
        let path = directory.path().join("STORES");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                fs::write(&path, &bytes).unwrap();
                assert!(Catalog::open(directory.path()).is_err(), "byte {at}");
                bytes[at] ^= 1 << bit;
            }
            fs::write(&path, &bytes[..at]).unwrap();
            assert!(Catalog::open(directory.path()).is_err(), "cut at byte {at}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Catalog::open(directory.path()).is_ok(), "nothing is there yet");
        fs::write(directory.path().join("log/log-00000000000000000001.hclg"), "x").unwrap();
        let refused = Catalog::open(directory.path()).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("STORES: it is missing, although log/log-"), "{refused}");
    }
}
