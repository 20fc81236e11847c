//! Fetches an object into a file: read in parts, decrypted, and compared with its checksum.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Error;
use super::destination::Destination;
use super::encryption::Identities;
use super::manifest::Object;
use super::names::hex;

/// What is read at once.
const PART_BYTES: u64 = 8 << 20;
/// How long a disk may take to take a part.
const DISK_PATIENCE: Duration = Duration::from_secs(120);
/// What is written at once.
const WRITE_BYTES: usize = 256 << 10;

/// How an object of a backup is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'r> {
    /// Where it is.
    pub destination: &'r Destination,
    /// The directory of the data set.
    pub data_set: &'r str,
    /// The keys, if it is encrypted.
    pub identities: Option<&'r Arc<Identities>>,
}

/// Bytes as they come.
struct Coming {
    from: mpsc::Receiver<Bytes>,
    now: Bytes,
}

impl Read for Coming {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.now.is_empty() {
            match self.from.blocking_recv() {
                Some(bytes) => self.now = bytes,
                None => return Ok(0),
            }
        }
        let len = to.len().min(self.now.len());
        self.now.split_to(len).copy_to_slice(to.get_mut(..len).unwrap_or_default());
        Ok(len)
    }
}

impl Reading<'_> {
    /// Writes what an object holds into a file, at its place there.
    ///
    /// # Errors
    /// It is damaged, missing, encrypted to another key, or cannot be read or written.
    pub async fn fetch(&self, object: &Object, to: &File) -> Result<(), Error> {
        let name = format!("{}/{}", self.data_set, object.name);
        let shown = self.destination.shown(&name);
        let stored = self.destination.size(&name).await?;
        if stored != object.stored_bytes {
            let reason = format!("it has {stored} bytes instead of {}", object.stored_bytes);
            return Err(Error::damaged(shown, reason));
        }
        let to = to.try_clone().map_err(|error| Error::local(&shown, error))?;
        let (sender, from) = mpsc::channel(1);
        let sending = async move {
            let mut at = 0;
            while at < stored {
                let end = stored.min(at + PART_BYTES);
                let part = self.destination.read(&name, at..end).await?;
                if part.len() as u64 != end - at {
                    let reason = format!("bytes {at} to {end} were asked for, {} came", part.len());
                    return Err(Error::damaged(self.destination.shown(&name), reason));
                }
                at = end;
                match tokio::time::timeout(DISK_PATIENCE, sender.send(part)).await {
                    Ok(Ok(())) => {}
                    // Who takes it says why not.
                    Ok(Err(_)) => break,
                    Err(_) => return Err(Error::local("the disk", "it does not answer")),
                }
            }
            Ok(())
        };
        let coming = Coming { from, now: Bytes::new() };
        let expected = object.clone();
        let identities = self.identities.cloned();
        let taken = tokio::task::spawn_blocking(move || match identities {
            None => write(&expected, coming, &to),
            Some(identities) => {
                let plain = identities.decrypt(coming).map_err(Wrong::Object)?;
                write(&expected, plain, &to)
            }
        });
        let (sent, written) = tokio::join!(sending, taken);
        sent?;
        let written = written.map_err(|_| Error::Member("it was stopped".into()))?;
        written.map_err(|wrong| match wrong {
            Wrong::Object(reason) => Error::damaged(shown, reason),
            Wrong::File(error) => Error::local("the disk", error),
        })
    }
}

enum Wrong {
    Object(String),
    File(io::Error),
}

/// Writes what comes, if it is what it should be.
fn write(object: &Object, mut from: impl Read, to: &File) -> Result<(), Wrong> {
    let mut buffer = vec![0; WRITE_BYTES];
    let (mut sha, mut written) = (Sha256::new(), 0u64);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Wrong::Object(format!("it cannot be decrypted: {error}"))),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        if written + read as u64 > object.bytes {
            return Err(Wrong::Object(format!("it has more than {} bytes", object.bytes)));
        }
        sha.update(bytes);
        to.write_all_at(bytes, object.from + written).map_err(Wrong::File)?;
        written += read as u64;
    }
    if written != object.bytes {
        return Err(Wrong::Object(format!("it has {written} bytes instead of {}", object.bytes)));
    }
    let sha = hex(&sha.finalize());
    if sha != object.sha256 {
        return Err(Wrong::Object(format!("its SHA-256 is {sha} instead of {}", object.sha256)));
    }
    Ok(())
}
