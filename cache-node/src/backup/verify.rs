//! Reads all that a backup consists of, and says what is wrong with it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use hypercache_core::log::segment::Seal;

use super::encryption::Identities;
use super::fetch::Reading;
use super::manifest::{Manifest, Segment, Snapshot, Store};
use super::names::unhex;
use super::{Destination, Error, check, scratch};
use crate::disk::OnDisk;

/// What was looked at.
#[derive(Debug, Default)]
pub struct Checked {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes, as they are stored.
    pub stored_bytes: u64,
    /// What is wrong: each object, and in what way.
    pub wrong: Vec<String>,
}

/// The keys that a backup is read with.
///
/// # Errors
/// It is encrypted, and there are none.
pub fn keys<'i>(
    manifest: &Manifest,
    identities: Option<&'i Arc<Identities>>,
) -> Result<Option<&'i Arc<Identities>>, Error> {
    match (&manifest.recipient, identities) {
        (None, _) => Ok(None),
        (Some(_), Some(identities)) => Ok(Some(identities)),
        (Some(recipient), None) => Err(Error::Encrypted(format!(
            "backup {} is encrypted to {recipient}: give the file of its secret key by --identity",
            manifest.id
        ))),
    }
}

/// Reads a backup through. Files are put together in `directory`, one at a time, and are gone afterwards.
///
/// # Errors
/// It could not be looked at: the destination does not answer, or the keys are missing.
pub async fn verify(
    destination: &Destination,
    manifest: &Manifest,
    identities: Option<&Arc<Identities>>,
    directory: &Path,
) -> Result<Checked, Error> {
    let identities = keys(manifest, identities)?;
    let reading = Reading { destination, data_set: &manifest.data_set, identities };
    let mut checked = Checked::default();
    for snapshot in &manifest.snapshots {
        let done = of_snapshot(&reading, manifest, snapshot, directory).await;
        checked.note(done)?;
    }
    for segment in &manifest.segments {
        let done = of_segment(&reading, manifest, segment, directory).await;
        checked.note(done)?;
    }
    for object in manifest.objects() {
        checked.objects += 1;
        checked.stored_bytes += object.stored_bytes;
    }
    Ok(checked)
}

impl Checked {
    fn note(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(error @ Error::Damaged { .. }) => self.wrong.push(error.to_string()),
            done => return done,
        }
        Ok(())
    }
}

async fn of_snapshot(
    reading: &Reading<'_>,
    manifest: &Manifest,
    snapshot: &Snapshot,
    directory: &Path,
) -> Result<(), Error> {
    let file = scratch::file(directory)?;
    reading.fetch(&snapshot.object, &file).await?;
    let opened = open_snapshot(manifest, snapshot, &file);
    let checked = opened.and_then(|(file, found)| check::blocks(&file, &found));
    let shown =
        || reading.destination.shown(&format!("{}/{}", manifest.data_set, snapshot.object.name));
    checked.map_err(|reason| Error::damaged(shown(), reason))
}

/// Opens a fetched snapshot, if it is what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn open_snapshot(
    manifest: &Manifest,
    snapshot: &Snapshot,
    file: &File,
) -> Result<(OnDisk, hypercache_core::log::snapshot::Snapshot), String> {
    let data_set = unhex::<16>(&manifest.data_set).ok_or("the manifest's data set is none")?;
    let of_store = |store: &&Store| store.number == snapshot.store;
    let store =
        manifest.stores.iter().find(of_store).ok_or("it is of a store that is not listed")?;
    let file = file.try_clone().and_then(OnDisk::of).map_err(|error| error.to_string())?;
    let found = check::snapshot(&file, &data_set, store.number, &store.name)?;
    let told = (snapshot.first_sequence, snapshot.last_sequence, snapshot.ended_ms);
    if told != (found.header.first_sequence, found.last_sequence, found.ended_ms) {
        return Err("it is another snapshot than the manifest says".into());
    }
    Ok((file, found))
}

/// Puts a segment together in a file.
///
/// # Errors
/// An object of it is damaged or cannot be read.
pub async fn fetch_segment(
    reading: &Reading<'_>,
    segment: &Segment,
    file: &File,
) -> Result<(), Error> {
    for object in &segment.objects {
        reading.fetch(object, file).await?;
    }
    Ok(())
}

async fn of_segment(
    reading: &Reading<'_>,
    manifest: &Manifest,
    segment: &Segment,
    directory: &Path,
) -> Result<(), Error> {
    let file = scratch::file(directory)?;
    fetch_segment(reading, segment, &file).await?;
    let checked = open_segment(manifest, segment, &file)
        .and_then(|(file, seal)| check::frames(&file, seal, 0, |_| Ok(())));
    let shown = || format!("segment {} of backup {}", segment.number, manifest.id);
    checked.map_err(|reason| Error::damaged(shown(), reason))
}

/// Opens a segment that was put together, if it is what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn open_segment(
    manifest: &Manifest,
    segment: &Segment,
    file: &File,
) -> Result<(OnDisk, Seal), String> {
    let data_set = unhex::<16>(&manifest.data_set).ok_or("the manifest's data set is none")?;
    let seal = Seal { data_set, number: segment.number };
    let file = file.try_clone().and_then(OnDisk::of).map_err(|error| error.to_string())?;
    let header = check::header(&file, seal)?;
    if header.first_sequence > segment.first_sequence {
        return Err("it is another segment than the manifest says".into());
    }
    Ok((file, seal))
}
