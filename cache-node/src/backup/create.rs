//! Makes a backup of a member that runs.
//!
//! The files that are needed are held; those that the destination has are left out; the others are sent;
//! the manifest is written last. Where something on the member's disk is damaged, snapshots of all stores
//! are taken, so that what is damaged is not needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use hypercache_core::log::segment::Seal;
use hypercache_core::store::StoreNumber;
use parking_lot::Mutex;

use super::destination::Destination;
use super::encryption::Recipient;
use super::manifest::{self, FORMAT, Manifest, Object, Point};
use super::names::{self, Sha, hex};
use super::send::{Part, read_part, send};
use super::{Error, check, time};
use crate::clock::now_ms;
use crate::disk::{Handle, Held, HeldSegment, HeldSnapshot, OnDisk};

/// What a backup is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it goes.
    pub destination: Destination,
    /// The key that it is encrypted to.
    pub recipient: Option<Recipient>,
    /// The member's name.
    pub member: String,
    /// The cluster's name.
    pub cluster: String,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Made {
    /// The backup.
    pub manifest: Manifest,
    /// Objects that were sent, without the manifest.
    pub sent_objects: u64,
    /// Their bytes, as they are stored.
    pub sent_bytes: u64,
}

/// Pieces of segments whose checksums this process has compared: segments only grow.
#[derive(Debug, Default)]
pub struct Known(Mutex<BTreeSet<String>>);

/// The most names that are remembered.
const MOST_KNOWN: usize = 100_000;

impl Known {
    fn has(&self, name: &str) -> bool {
        self.0.lock().contains(name)
    }

    fn add(&self, name: &str) {
        let mut known = self.0.lock();
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned());
    }
}

/// Makes a backup; it is complete when this returns.
///
/// # Errors
/// The disk is failing or still being read, or the destination failed. There is no backup then, and what
/// was sent is of use for the next one.
pub async fn create(disk: &Handle, options: &Options, known: &Arc<Known>) -> Result<Made, Error> {
    let created_ms = now_ms();
    let first = attempt(disk, options, known, created_ms, false).await;
    match first {
        Err(Error::Local { file, reason }) => {
            tracing::warn!(
                action = "backup-begun-anew",
                file,
                reason,
                "a backup is made from new snapshots of all stores"
            );
            attempt(disk, options, known, created_ms, true).await
        }
        done => done,
    }
}

async fn attempt(
    disk: &Handle,
    options: &Options,
    known: &Arc<Known>,
    created_ms: u64,
    renews: bool,
) -> Result<Made, Error> {
    let held = disk.hold(renews).await?;
    let directory = names::data_set(&held.data_set);
    let there = |kind: &str| {
        let under = format!("{directory}/{kind}");
        async move { options.destination.objects(&under).await }
    };
    let there = There {
        snapshots: there("snapshots").await?.into_iter().collect(),
        segments: there("segments").await?,
    };
    let mut sender = Sender {
        options,
        known,
        directory: &directory,
        there,
        key: options.recipient.as_ref().map(Recipient::fingerprint),
        sent_objects: 0,
        sent_bytes: 0,
    };
    let snapshots = sender.snapshots(&held, renews).await?;
    let segments = sender.segments(&held, &snapshots).await?;
    let is_logged = |store: StoreNumber| {
        held.stores.iter().any(|(row, policy)| policy.number == store && row.is_logged)
    };
    let stores = held.stores.iter().map(|(row, policy)| manifest::Store {
        number: policy.number,
        name: row.name.clone(),
        since: row.since,
        is_logged: row.is_logged,
        mode: policy.durability.mode.as_str().to_owned(),
    });
    let to = Point { sequence: held.last_sequence, time_ms: held.as_of_ms };
    // From where on each store's oldest snapshot is of use; those of no log are as they are.
    let mut oldest = BTreeMap::<StoreNumber, Point>::new();
    for snapshot in snapshots.iter().filter(|snapshot| is_logged(snapshot.store)) {
        let point = Point { sequence: snapshot.last_sequence, time_ms: snapshot.ended_ms };
        let known = oldest.entry(snapshot.store).or_insert(point);
        if point.sequence < known.sequence {
            *known = point;
        }
    }
    let from = oldest.values().copied().reduce(|a, b| Point {
        sequence: a.sequence.max(b.sequence),
        time_ms: a.time_ms.max(b.time_ms),
    });
    let mut made = Manifest {
        format: FORMAT,
        id: format!("{}-{:020}", time::for_name(created_ms), to.sequence),
        member: options.member.clone(),
        cluster: options.cluster.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data_set: directory.clone(),
        recipient: options.recipient.as_ref().map(|key| key.as_str().to_owned()),
        created_ms,
        took_ms: now_ms().saturating_sub(created_ms),
        from: from.unwrap_or(to),
        to,
        stores: stores.collect(),
        snapshots,
        segments,
    };
    // A clock that was set back.
    made.from.time_ms = made.from.time_ms.min(made.to.time_ms);
    let name = format!("{directory}/backups/{}.json", made.id);
    let bytes = made.write().map_err(|error| Error::damaged(&name, error))?;
    options.destination.write(&name, Bytes::from(bytes)).await?;
    Ok(Made { manifest: made, sent_objects: sender.sent_objects, sent_bytes: sender.sent_bytes })
}

/// What the destination has.
struct There {
    snapshots: BTreeMap<String, u64>,
    segments: Vec<(String, u64)>,
}

struct Sender<'s> {
    options: &'s Options,
    known: &'s Arc<Known>,
    directory: &'s str,
    there: There,
    key: Option<String>,
    sent_objects: u64,
    sent_bytes: u64,
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Error::Member("the member stops".into()))?
}

impl Sender<'_> {
    async fn send(&mut self, name: &str, part: Part, sha: Sha) -> Result<Object, Error> {
        let (from, bytes) = (part.from, part.bytes);
        let at = format!("{}/{name}", self.directory);
        let Options { destination, recipient, .. } = self.options;
        let stored_bytes = send(destination, &at, part, sha, recipient.as_ref()).await?;
        self.sent_objects += 1;
        self.sent_bytes += stored_bytes;
        Ok(Object { name: name.to_owned(), from, bytes, stored_bytes, sha256: hex(&sha) })
    }

    /// Sends the stores' snapshots; with `newest_only`, one of each.
    async fn snapshots(
        &mut self,
        held: &Held,
        newest_only: bool,
    ) -> Result<Vec<manifest::Snapshot>, Error> {
        let mut all = Vec::new();
        for (row, policy) in &held.stores {
            let of_store = held.snapshots.iter().filter(|of| of.store == policy.number);
            let mut found = Vec::new();
            let mut wrong = None;
            // The newest first.
            for snapshot in of_store.rev() {
                match self.snapshot(held, snapshot, &row.name).await {
                    Ok(sent) => found.push(sent),
                    Err(error @ Error::Local { .. }) => {
                        tracing::warn!(
                            action = "backup-snapshot-left-out",
                            %error,
                            "a snapshot is left out of the backup"
                        );
                        wrong = Some(error);
                    }
                    Err(error) => return Err(error),
                }
                if newest_only && !found.is_empty() {
                    break;
                }
            }
            if found.is_empty() {
                let none = || Error::local(&row.name, "the store has no snapshot");
                return Err(wrong.unwrap_or_else(none));
            }
            all.extend(found.into_iter().rev());
        }
        Ok(all)
    }

    async fn snapshot(
        &mut self,
        held: &Held,
        snapshot: &HeldSnapshot,
        store_name: &str,
    ) -> Result<manifest::Snapshot, Error> {
        let local = |error| Error::local(&snapshot.name, error);
        let file = snapshot.file.try_clone().map_err(|e| local(e.to_string()))?;
        let bytes = file.metadata().map_err(|e| local(e.to_string()))?.len();
        let part = Part { file, name: snapshot.name.clone(), from: 0, bytes };
        let (part, sha) = hashed(part).await?;
        let (store, sequence) = (snapshot.store, snapshot.sequence);
        let name = names::snapshot(store, sequence, bytes, &sha, self.key.as_deref());
        let stored = self.there.snapshots.get(&name).copied();
        let reader = snapshot.reader().map_err(|e| local(e.to_string()))?;
        let (data_set, of, file_name) = (held.data_set, store_name.to_owned(), part.name.clone());
        let found = blocking(move || {
            let wrong = |reason| Error::local(&file_name, reason);
            let found = check::snapshot(&reader, &data_set, store, &of).map_err(wrong)?;
            if stored.is_none() {
                check::blocks(&reader, &found).map_err(wrong)?;
            }
            Ok(found)
        })
        .await?;
        let name = format!("snapshots/{name}");
        let object = match stored {
            Some(stored_bytes) => Object { name, from: 0, bytes, stored_bytes, sha256: hex(&sha) },
            None => self.send(&name, part, sha).await?,
        };
        Ok(manifest::Snapshot {
            store,
            first_sequence: sequence,
            last_sequence: found.last_sequence,
            ended_ms: found.ended_ms,
            keys: found.keys,
            object,
        })
    }

    /// Sends what is needed of the log behind these snapshots.
    async fn segments(
        &mut self,
        held: &Held,
        snapshots: &[manifest::Snapshot],
    ) -> Result<Vec<manifest::Segment>, Error> {
        let logged = held.stores.iter().filter(|(row, _)| row.is_logged);
        let floor = logged.filter_map(|(_, policy)| {
            let of_store = snapshots.iter().filter(|of| of.store == policy.number);
            of_store.map(|snapshot| snapshot.first_sequence).min()
        });
        let Some(floor) = floor.min() else { return Ok(Vec::new()) };
        let needed = |next: &HeldSegment| next.first_sequence > floor + 1;
        let pairs = held.segments.windows(2);
        let gone = pairs.take_while(|pair| pair.last().is_some_and(|next| !needed(next))).count();
        let segments = held.segments.get(gone..).unwrap_or_default();
        if let Some(first) = segments.first().filter(|first| first.first_sequence > floor + 1) {
            let name = first.path.display().to_string();
            return Err(Error::local(name, "segments before it are missing"));
        }
        let mut all: Vec<manifest::Segment> = Vec::new();
        for segment in segments {
            if let Some(before) = all.last() {
                nothing_between(segment, before.number)?;
            }
            let objects = self.segment(held, segment).await?;
            let (number, first_sequence) = (segment.number, segment.first_sequence);
            all.push(manifest::Segment { number, first_sequence, objects });
        }
        Ok(all)
    }

    /// Sends what the destination lacks of a segment.
    async fn segment(&mut self, held: &Held, segment: &HeldSegment) -> Result<Vec<Object>, Error> {
        let shown = segment.path.display().to_string();
        let local = |error: std::io::Error| Error::local(&shown, error);
        let file = File::open(&segment.path).map_err(local)?;
        let mut objects = Vec::new();
        let mut at = 0;
        while at < segment.bytes {
            let part = |bytes| {
                let file = file.try_clone().map_err(local)?;
                Ok::<_, Error>(Part { file, name: shown.clone(), from: at, bytes })
            };
            let prefix = names::pieces_from(segment.number, at);
            let begin = self.there.segments.partition_point(|(name, _)| *name < prefix);
            let found = self.there.segments.iter().skip(begin);
            let found = found.take_while(|(name, _)| name.starts_with(&prefix));
            let mut pieces: Vec<_> = found
                .filter_map(|(name, size)| {
                    let piece = names::parse_piece(name, self.key.as_deref())?;
                    let fits = piece.bytes > 0 && piece.bytes <= segment.bytes - at;
                    fits.then(|| (name.clone(), piece, *size))
                })
                .collect();
            // The longest first.
            pieces.sort_by_key(|(_, piece, _)| std::cmp::Reverse(piece.bytes));
            let mut taken = None;
            for (name, piece, stored_bytes) in pieces {
                let is_same =
                    self.known.has(&name) || hashed(part(piece.bytes)?).await?.1 == piece.sha;
                if is_same {
                    self.known.add(&name);
                    let (name, bytes) = (format!("segments/{name}"), piece.bytes);
                    let sha256 = hex(&piece.sha);
                    taken = Some(Object { name, from: at, bytes, stored_bytes, sha256 });
                    break;
                }
            }
            let object = match taken {
                Some(object) => object,
                None => {
                    let bytes = segment.bytes - at;
                    check_part(part(bytes)?, held, segment.number).await?;
                    let (part, sha) = hashed(part(bytes)?).await?;
                    let key = self.key.as_deref();
                    let name = names::piece(segment.number, at, bytes, &sha, key);
                    let object = self.send(&format!("segments/{name}"), part, sha).await?;
                    self.known.add(&name);
                    object
                }
            };
            at += object.bytes;
            objects.push(object);
        }
        Ok(objects)
    }
}

/// A part with its checksum.
async fn hashed(part: Part) -> Result<(Part, Sha), Error> {
    blocking(move || {
        let sha = read_part(&part, |_| Ok(())).map_err(|error| Error::local(&part.name, error))?;
        Ok((part, sha))
    })
    .await
}

/// Whether all frames of a part that ends with its segment are whole.
async fn check_part(part: Part, held: &Held, number: u64) -> Result<(), Error> {
    let seal = Seal { data_set: held.data_set, number };
    blocking(move || {
        let wrong = |reason| Error::local(&part.name, reason);
        let file = OnDisk::of(part.file).map_err(|error| wrong(error.to_string()))?;
        let file = file.up_to(part.from + part.bytes);
        if part.from == 0 {
            check::header(&file, seal).map_err(wrong)?;
        }
        check::frames(&file, seal, part.from, |_| Ok(())).map_err(wrong)
    })
    .await
}

/// Numbers of which the log has no segment: there are files, with nothing in them but a header.
fn nothing_between(segment: &HeldSegment, before: u64) -> Result<(), Error> {
    use hypercache_core::log::segment::{HEADER_BYTES, file_name};
    for number in before + 1..segment.number {
        let path = segment.path.with_file_name(file_name(number));
        let len = std::fs::metadata(&path).map(|of| of.len());
        if !len.is_ok_and(|len| len <= HEADER_BYTES as u64) {
            return Err(Error::local(path.display().to_string(), "it is missing"));
        }
    }
    Ok(())
}
