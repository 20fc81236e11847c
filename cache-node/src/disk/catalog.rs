//! Which stores' data is on the disk, and from which sequence on: a number may be given to another
//! store, or a store be kept for a time only, and what the log has of before is not its data then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hypercache_core::log::Sequence;
use hypercache_core::store::{Mode, StoreNumber, StorePolicy};

use super::Error;
use super::layout::{checked, with_checksum, write_whole, wrong};

const FORMAT: &str = "hypercache stores 1";

/// One store's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Records and snapshots up to this sequence are not its.
    pub since: Sequence,
    /// Whether its writes are in the log.
    pub is_logged: bool,
    /// If so: since this sequence. What came before is in snapshots only.
    pub logged_since: Sequence,
}

/// The file `STORES`.
#[derive(Debug)]
pub struct Catalog {
    path: PathBuf,
    rows: BTreeMap<StoreNumber, Row>,
}

impl Catalog {
    /// Reads it; one that is not there has no rows.
    ///
    /// # Errors
    /// It is damaged, or of another version.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let path = root.join("STORES");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, rows: BTreeMap::new() });
            }
            Err(error) => return Err(wrong(&path, error)),
        };
        let rows = read(&text).map_err(|reason| wrong(&path, reason))?;
        Ok(Self { path, rows })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A store's row.
    pub fn get(&self, number: StoreNumber) -> Option<&Row> {
        self.rows.get(&number)
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = (StoreNumber, &Row)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }

    /// Brings it to these policies, on the disk as well; a store that was not kept begins after
    /// sequence `last`. Gives the stores of which a snapshot is needed now, because the log alone does
    /// not say what they hold.
    ///
    /// # Errors
    /// The file could not be written; it is as it was then, here as well.
    pub fn follow(
        &mut self,
        policies: &[StorePolicy],
        last: Sequence,
    ) -> io::Result<Vec<StoreNumber>> {
        let mut rows = BTreeMap::new();
        let mut begins = Vec::new();
        for policy in policies.iter().filter(|p| p.durability.mode != Mode::Disabled) {
            let is_logged = policy.durability.mode.is_logged();
            let old = self.rows.get(&policy.number).filter(|old| old.name == policy.name);
            if old.is_none_or(|old| is_logged && !old.is_logged) {
                begins.push(policy.number);
            }
            let since = old.map_or(last, |old| old.since);
            let was_logged = old.filter(|old| old.is_logged);
            let logged_since = was_logged.map_or(last, |old| old.logged_since);
            let name = policy.name.clone();
            rows.insert(policy.number, Row { name, since, is_logged, logged_since });
        }
        if rows == self.rows {
            return Ok(begins);
        }
        write_whole(&self.path, write(&rows).as_bytes())?;
        self.rows = rows;
        Ok(begins)
    }
}

/// Writes the file `STORES` of a directory that has none yet.
///
/// # Errors
/// It could not be written.
pub(crate) fn write_rows(root: &Path, rows: &BTreeMap<StoreNumber, Row>) -> Result<(), Error> {
    let path = root.join("STORES");
    write_whole(&path, write(rows).as_bytes()).map_err(|error| wrong(&path, error))
}

fn write(rows: &BTreeMap<StoreNumber, Row>) -> String {
    let mut text = format!("{FORMAT}\n");
    for (number, Row { name, since, is_logged, logged_since }) in rows {
        text.push_str(&match is_logged {
            true => format!("{number} {name} {since} logged {logged_since}\n"),
            false => format!("{number} {name} {since} snapshots\n"),
        });
    }
    with_checksum(&text)
}

fn read(text: &str) -> Result<BTreeMap<StoreNumber, Row>, String> {
    let format = text.lines().next().unwrap_or_default();
    if format != FORMAT {
        return Err(format!("it begins with '{format}', and this version reads '{FORMAT}'"));
    }
    let body = checked(text).ok_or("it is damaged: its checksum is wrong")?;
    let row = |line: &str| {
        let mut words = line.split(' ');
        let number = words.next()?.parse().ok()?;
        let name = words.next()?.to_owned();
        let since = words.next()?.parse().ok()?;
        let is_logged = words.next()? == "logged";
        let logged_since = words.next().map_or(Some(since), |word| word.parse().ok())?;
        Some((number, Row { name, since, is_logged, logged_since }))
    };
    let rows = body.lines().skip(1).map(|line| row(line).ok_or_else(|| format!("'{line}'")));
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::store::Durability;

    fn policy(name: &str, number: StoreNumber, mode: Mode) -> StorePolicy {
        StorePolicy { durability: Durability::of(mode), ..StorePolicy::new(name, number) }
    }

    #[test]
    fn a_number_that_another_store_gets_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
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
        // What came before is not in the log.
        assert_eq!(Catalog::open(directory.path()).unwrap().get(5).unwrap().logged_since, 40);
        catalog.follow(&[policy("c", 5, Mode::AofAndSnapshot)], 45).unwrap();
        assert_eq!(catalog.get(5).unwrap().logged_since, 40);
        assert!(catalog.follow(&[], 50).unwrap().is_empty());
        assert!(Catalog::open(directory.path()).unwrap().get(5).is_none());
    }

    #[test]
    fn s6_a_damaged_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::open(directory.path()).unwrap();
        catalog.follow(&[policy("a", 5, Mode::Aof)], 10).unwrap();
        let path = directory.path().join("STORES");
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(Catalog::open(directory.path()).is_err(), "byte {at}");
        }
    }
}
