//! Sends a part of a file as an object: read, encrypted and written in parts, with few of them in memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::Error;
use super::destination::{Destination, Upload};
use super::encryption::Recipient;
use super::names::Sha;

/// What is sent at once, at least. S3 takes parts of 5 MiB and more, and 10,000 of them.
const PART_BYTES: u64 = 8 << 20;
const MOST_PARTS: u64 = 9_000;
/// What is read at once.
const READ_BYTES: usize = 256 << 10;
/// How long a disk may take to give a part.
const DISK_PATIENCE: Duration = Duration::from_secs(120);

/// A part of a file.
#[derive(Debug)]
pub struct Part {
    /// The file.
    pub file: File,
    /// As it is shown.
    pub name: String,
    /// Where it begins.
    pub from: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// Gives the bytes of a part of a file to `to`, and their checksum. Blocks.
///
/// # Errors
/// They cannot be read, or `to` fails.
pub fn read_part(part: &Part, mut to: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Sha> {
    let mut sha = Sha256::new();
    let (mut at, end) = (part.from, part.from.saturating_add(part.bytes));
    let mut buffer = vec![0; READ_BYTES];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(READ_BYTES);
        let bytes = buffer.get_mut(..wanted).unwrap_or_default();
        part.file.read_exact_at(bytes, at)?;
        sha.update(&*bytes);
        to(bytes)?;
        at += wanted as u64;
    }
    Ok(sha.finalize().into())
}

/// Bytes that go to who sends them once there are enough.
struct Gathered {
    to: mpsc::Sender<Step>,
    bytes: Vec<u8>,
    part_bytes: usize,
    sent: u64,
}

enum Step {
    Part(Bytes),
    End(io::Result<()>),
}

impl Gathered {
    fn pass_on(&mut self) -> io::Result<()> {
        self.sent += self.bytes.len() as u64;
        let part = Bytes::from(std::mem::take(&mut self.bytes));
        let gone = |_| io::Error::other("it is not wanted any more");
        self.to.blocking_send(Step::Part(part)).map_err(gone)
    }
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.part_bytes - self.bytes.len().min(self.part_bytes);
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        if self.bytes.len() >= self.part_bytes {
            self.pass_on()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a part of a file whose checksum is known; how many bytes the object has. It is there whole or
/// not at all.
///
/// # Errors
/// It cannot be read or written, or its checksum is another.
pub async fn send(
    destination: &Destination,
    name: &str,
    part: Part,
    expected: Sha,
    recipient: Option<&Recipient>,
) -> Result<u64, Error> {
    let part_bytes = PART_BYTES.max(part.bytes / MOST_PARTS);
    let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
    let (to, mut steps) = mpsc::channel(1);
    let (local, recipient) = (part.name.clone(), recipient.cloned());
    let reading = tokio::task::spawn_blocking(move || {
        let gathered = Gathered { to, bytes: Vec::new(), part_bytes, sent: 0 };
        pass_on(&part, expected, recipient.as_ref(), gathered)
    });
    let sent = receive(destination, name, &local, &mut steps).await;
    // Whoever reads has ended, or is told so by this.
    drop(steps);
    sent?;
    let ended = tokio::time::timeout(DISK_PATIENCE, reading).await;
    let sent = ended.map_err(|_| Error::local(&local, "the disk does not answer"))?;
    sent.map_err(|_| Error::Member("the member stops".into()))
}

/// Reads and encrypts; how many bytes that were.
fn pass_on(part: &Part, expected: Sha, key: Option<&Recipient>, mut gathered: Gathered) -> u64 {
    let read = (|| {
        let sha = match key {
            Some(key) => {
                let mut writer = key.encrypt(&mut gathered)?;
                let sha = read_part(part, |bytes| writer.write_all(bytes))?;
                writer.finish()?;
                sha
            }
            None => read_part(part, |bytes| gathered.write_all(bytes))?,
        };
        if sha != expected {
            return Err(io::Error::other("it has changed while it was sent"));
        }
        if !gathered.bytes.is_empty() {
            gathered.pass_on()?;
        }
        Ok(())
    })();
    // Nobody waits for it if it was given up.
    let _ = gathered.to.blocking_send(Step::End(read));
    gathered.sent
}

async fn receive(
    destination: &Destination,
    name: &str,
    local: &str,
    steps: &mut mpsc::Receiver<Step>,
) -> Result<(), Error> {
    let mut first = None;
    let mut upload: Option<Upload> = None;
    let done = loop {
        let step = tokio::time::timeout(DISK_PATIENCE, steps.recv()).await;
        let part = match step {
            Err(_) => break Err(Error::local(local, "the disk does not answer")),
            Ok(None) => break Err(Error::Member("the member stops".into())),
            Ok(Some(Step::End(Err(error)))) => break Err(Error::local(local, error)),
            Ok(Some(Step::End(Ok(())))) => break Ok(()),
            Ok(Some(Step::Part(part))) => part,
        };
        if let Some(upload) = &mut upload {
            if let Err(error) = upload.part(part).await {
                break Err(error);
            }
            continue;
        }
        let Some(before) = first.replace(part) else { continue };
        // More than one part: it is sent in parts.
        match destination.begin(name).await {
            Ok(begun) => {
                let begun = upload.insert(begun);
                let next = first.take().unwrap_or_default();
                let both = async {
                    begun.part(before).await?;
                    begun.part(next).await
                };
                if let Err(error) = both.await {
                    break Err(error);
                }
            }
            Err(error) => break Err(error),
        }
    };
    match (done, upload) {
        (Ok(()), Some(upload)) => upload.complete().await,
        (Ok(()), None) => destination.write(name, first.unwrap_or_default()).await,
        (Err(error), Some(upload)) => {
            upload.abort().await;
            Err(error)
        }
        (Err(error), None) => Err(error),
    }
}
