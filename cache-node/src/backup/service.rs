//! Backups on a member that runs: one at a time, to the destination of its configuration.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::oneshot;

use super::create::{Known, Made, Options, create};
use super::destination::Settings;
use super::encryption::Recipient;
use super::manifest::Point;
use super::{Error, http};
use crate::clock::now_ms;
use crate::disk;

/// The section `backup` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Where backups go.
    pub destination: Settings,
    /// The key that they are encrypted to.
    pub recipient: Option<Recipient>,
}

/// What the member tells of its backups.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Status {
    /// Where they go.
    pub url: Option<String>,
    /// Whether they are encrypted.
    pub encrypted: bool,
    /// The one that is being made: when it was begun, in Unix milliseconds.
    pub running_since_ms: Option<u64>,
    /// How many were tried since the member's start.
    pub tried: u64,
    /// How many of them failed.
    pub failed: u64,
    /// The last one that is complete.
    pub last: Option<Done>,
    /// The last error, if the last one that was tried failed.
    pub last_error: Option<String>,
}

/// A backup that is complete.
#[derive(Debug, Clone, Serialize)]
pub struct Done {
    /// Its name.
    pub id: String,
    /// The data set.
    pub data_set: String,
    /// When it was begun, in Unix milliseconds.
    pub created_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The earliest point that it can be restored to.
    pub from: Point,
    /// The latest.
    pub to: Point,
    /// All its bytes, as they are stored.
    pub stored_bytes: u64,
    /// Objects that were sent for it: the others were there.
    pub sent_objects: u64,
    /// Their bytes.
    pub sent_bytes: u64,
}

impl From<Made> for Done {
    fn from(made: Made) -> Self {
        let stored_bytes = made.manifest.stored_bytes();
        let Made { manifest, sent_objects, sent_bytes } = made;
        Self {
            id: manifest.id,
            data_set: manifest.data_set,
            created_ms: manifest.created_ms,
            took_ms: manifest.took_ms,
            from: manifest.from,
            to: manifest.to,
            stored_bytes,
            sent_objects,
            sent_bytes,
        }
    }
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    disk: disk::Handle,
    configured: Option<Configured>,
    member: String,
    cluster: String,
    known: Arc<Known>,
    status: Mutex<Status>,
}

impl Service {
    /// Backups of a member of this name.
    pub fn new(
        disk: disk::Handle,
        configured: Option<Configured>,
        member: String,
        cluster: String,
    ) -> Self {
        let status = Status {
            url: configured.as_ref().map(|of| of.destination.url.clone()),
            encrypted: configured.as_ref().is_some_and(|of| of.recipient.is_some()),
            ..Status::default()
        };
        let (known, status) = (Arc::default(), Mutex::new(status));
        Self(Arc::new(Inner { disk, configured, member, cluster, known, status }))
    }

    /// What is known.
    pub fn status(&self) -> Status {
        self.0.status.lock().clone()
    }

    /// Begins a backup, which goes on also when nobody waits for what this gives: what came of it.
    ///
    /// # Errors
    /// No destination is configured, or one is being made.
    pub fn begin(&self) -> Result<oneshot::Receiver<Result<Done, Error>>, Error> {
        let Some(configured) = self.0.configured.clone() else {
            let reason = "it is not set: no backup can be made. Set it to where backups are to go";
            return Err(Error::Setting { key: "backup.url", reason: reason.into() });
        };
        {
            let mut status = self.0.status.lock();
            if status.running_since_ms.is_some() {
                return Err(Error::Busy);
            }
            status.running_since_ms = Some(now_ms());
            status.tried += 1;
        }
        let (tell, told) = oneshot::channel();
        let running = Running(self.0.clone());
        tokio::spawn(async move {
            let made = running.make(configured).await;
            running.ended(&made);
            drop(running);
            // Nobody may wait any more.
            let _ = tell.send(made);
        });
        Ok(told)
    }
}

/// A backup that is being made; one that was given up is not running any more.
struct Running(Arc<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.status.lock().running_since_ms = None;
    }
}

impl Running {
    async fn make(&self, configured: Configured) -> Result<Done, Error> {
        let of = &self.0;
        let opened = tokio::task::spawn_blocking(move || {
            configured.destination.open(true).map(|destination| (destination, configured.recipient))
        });
        let opened = opened.await.map_err(|_| Error::Member("the member stops".into()))?;
        let (destination, recipient) = opened?;
        let (member, cluster) = (of.member.clone(), of.cluster.clone());
        let options = Options { destination, recipient, member, cluster };
        create(&of.disk, &options, &of.known).await.map(Done::from)
    }

    fn ended(&self, made: &Result<Done, Error>) {
        let mut status = self.0.status.lock();
        match made {
            Ok(done) => {
                tracing::info!(
                    action = "backup-done",
                    backup = done.id,
                    bytes = done.stored_bytes,
                    sent_bytes = done.sent_bytes,
                    took_ms = done.took_ms,
                    "a backup is complete"
                );
                (status.last, status.last_error) = (Some(done.clone()), None);
            }
            Err(error) => {
                let reason = http::chain(error);
                tracing::error!(action = "backup-failed", error = reason, "a backup failed");
                status.failed += 1;
                status.last_error = Some(reason);
            }
        }
    }
}
