//! `STORES`: which stores' data is on the disk, and from which sequence on: a number may be given to
//! another store, or a store be kept for a time only, and what the log has of before is not its data
//! then.

use super::Sequence;
use super::data_set::{checked, with_checksum};
use super::directory::{self, Directory, Folder, Wrong};
use super::snapshot::Header;
use crate::store::{Mode, StoreNumber, StorePolicy};
use std::collections::BTreeMap;

/// The file's name.
pub const NAME: &str = "STORES";
const FORMAT: &str = "hypercache stores 1";

/// One store's row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Records and snapshots up to this sequence are not its.
    pub since: Sequence,
    /// Whether its writes are in the log.
    pub is_logged: bool,
    /// If they are not: they were before, up to this sequence. 0: never.
    pub logged_until: Sequence,
    /// If they are: since this sequence. What it held before is in snapshots only.
    pub logged_since: Sequence,
}

impl Row {
    /// Up to which sequence the log may have something of it.
    pub fn in_log_until(&self) -> Sequence {
        if self.is_logged { Sequence::MAX } else { self.logged_until }
    }
}

/// The file.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    rows: BTreeMap<StoreNumber, Row>,
    /// The log has had a segment; from then on it always has one.
    has_log: bool,
    /// The last try to write it failed: nobody knows what the disk has.
    is_uncertain: bool,
    /// Stores of which a snapshot is needed once it is written.
    begins: Vec<StoreNumber>,
}

impl Catalog {
    /// Reads it; one that is not there has no rows.
    ///
    /// # Errors
    /// It is damaged, of another version, or missing although data is there.
    pub fn open<D: Directory>(directory: &D) -> Result<Self, Wrong> {
        let wrong = |reason: String| Wrong::new(Folder::Root, NAME, reason);
        let found = directory::read_whole(directory, Folder::Root, NAME);
        if let Some(bytes) = found.map_err(|error| wrong(error.to_string()))? {
            let text = std::str::from_utf8(&bytes).unwrap_or_default();
            let (rows, has_log) = read(text).map_err(wrong)?;
            return Ok(Self { rows, has_log, ..Self::default() });
        }
        // It is written before anything else is: without it nobody would know whose data that is.
        for folder in [Folder::Log, Folder::Snapshots] {
            let names = directory.names(folder).map_err(|error| Wrong::new(folder, "", error))?;
            if let Some(name) = names.into_iter().find(|name| !name.ends_with(directory::DRAFT)) {
                let other = Wrong::new(folder, name, "").path();
                return Err(wrong(format!(
                    "it is missing, although {other} is there. Restore it, or move the directory \
                     away to begin with no data"
                )));
            }
        }
        Ok(Self::default())
    }

    /// A store's row.
    pub fn get(&self, number: StoreNumber) -> Option<&Row> {
        self.rows.get(&number)
    }

    /// Whether something of a store may be in the log alone.
    pub fn is_in_log(&self, number: StoreNumber) -> bool {
        self.get(number).is_some_and(|row| row.in_log_until() > 0)
    }

    /// Whether a snapshot would be found at the next start. If not, there is none, whatever its file is.
    pub fn finds(&self, snapshot: &Header) -> bool {
        let row = self.get(snapshot.store).filter(|row| row.name == snapshot.name);
        !self.is_uncertain && row.is_some_and(|row| row.since <= snapshot.first_sequence)
    }

    /// Whether the log was begun: its last segment is never removed, so there is one.
    pub fn has_log(&self) -> bool {
        self.has_log
    }

    /// Notes that the log was begun. To be called when its first segment is on the disk, and again as
    /// often as one likes.
    ///
    /// # Errors
    /// The file could not be written; it says one or the other then, and both are right.
    pub fn log_began<D: Directory>(&mut self, directory: &D) -> Result<(), D::Error> {
        if self.has_log || self.is_uncertain {
            return Ok(());
        }
        let text = write(&self.rows, true);
        directory::write_whole(directory, Folder::Root, NAME, text.as_bytes())?;
        self.has_log = true;
        Ok(())
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = (StoreNumber, &Row)> {
        self.rows.iter().map(|(number, row)| (*number, row))
    }

    /// Brings it to these policies, on the disk as well; a store that was not kept begins after
    /// sequence `last`, the last one that was given. Gives the stores of which a snapshot is needed now,
    /// because the log alone does not say what they hold, or will not be kept for it.
    ///
    /// # Errors
    /// The file could not be written: it is the old one or the new one, and nothing may be called durable
    /// until a later call was well.
    pub fn follow<D: Directory>(
        &mut self,
        directory: &D,
        policies: &[StorePolicy],
        last: Sequence,
    ) -> Result<Vec<StoreNumber>, D::Error> {
        let mut rows = BTreeMap::new();
        let mut begins = Vec::new();
        for policy in policies.iter().filter(|p| p.durability.mode != Mode::Disabled) {
            let is_logged = policy.durability.mode.is_logged();
            let old = self.rows.get(&policy.number).filter(|old| old.name == policy.name);
            if old.is_none_or(|old| old.is_logged != is_logged) {
                begins.push(policy.number);
            }
            let logged_until = match old {
                Some(old) if !is_logged => old.in_log_until().min(last),
                _ => 0,
            };
            let logged_since = match old {
                Some(old) if is_logged && old.is_logged => old.logged_since,
                _ if is_logged => last,
                _ => 0,
            };
            let (name, since) = (policy.name.clone(), old.map_or(last, |old| old.since));
            rows.insert(policy.number, Row { name, since, is_logged, logged_until, logged_since });
        }
        if rows == self.rows && !self.is_uncertain {
            return Ok(begins);
        }
        // The policies come into force whether or not this is well: what follows is told from them.
        (self.rows, self.is_uncertain) = (rows, true);
        self.begins.append(&mut begins);
        directory::write_whole(
            directory,
            Folder::Root,
            NAME,
            write(&self.rows, self.has_log).as_bytes(),
        )?;
        self.is_uncertain = false;
        Ok(std::mem::take(&mut self.begins))
    }
}

/// How the line begins that says that the log was begun.
const LOG: &str = "log";

/// The file with these rows; `has_log`: the log was begun.
pub fn write(rows: &BTreeMap<StoreNumber, Row>, has_log: bool) -> String {
    let mut text = format!("{FORMAT}\n");
    for (number, Row { name, since, is_logged, logged_until, logged_since }) in rows {
        let log = match (is_logged, logged_until) {
            (true, _) if logged_since <= since => "logged".to_owned(),
            (true, _) => format!("logged {logged_since}"),
            (false, 0) => "snapshots".to_owned(),
            (false, until) => format!("snapshots {until}"),
        };
        text.push_str(&format!("{number} {name} {since} {log}\n"));
    }
    if has_log {
        text.push_str(&format!("{LOG}\n"));
    }
    with_checksum(&text)
}

fn read(text: &str) -> Result<(BTreeMap<StoreNumber, Row>, bool), String> {
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
        let (is_logged, logged_until, logged_since) = match (words.next()?, words.next()) {
            ("logged", None) => (true, 0, since),
            ("logged", Some(from)) => (true, 0, from.parse().ok()?),
            ("snapshots", None) => (false, 0, 0),
            ("snapshots", Some(until)) => (false, until.parse().ok()?, 0),
            _ => return None,
        };
        Some((number, Row { name, since, is_logged, logged_until, logged_since }))
    };
    let (log, rows): (Vec<&str>, Vec<&str>) = body.lines().skip(1).partition(|line| *line == LOG);
    let rows = rows.into_iter().map(|line| row(line).ok_or_else(|| format!("'{line}'")));
    Ok((rows.collect::<Result<_, _>>()?, !log.is_empty()))
}
