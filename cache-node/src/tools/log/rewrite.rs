//! A segment written anew without what is cut out: under another name until it is whole and on the disk.
//! Frames are sealed for their place, and so each gets the seal of its new one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use hypercache_core::log::read_at::read_up_to;
use hypercache_core::log::segment::{HEADER_BYTES, Header};

use super::Error;
use super::source::{SegmentFile, failed};
use crate::disk::layout::{OnDisk, sync_parent};

/// A segment that is being written.
pub struct Draft<'s> {
    segment: &'s SegmentFile,
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
}

impl<'s> Draft<'s> {
    /// Begins one in the place of a segment.
    pub fn begin(segment: &'s SegmentFile, header: &Header) -> Result<Self, Error> {
        let path = segment.path.with_extension("tmp");
        let begun = File::create(&path).and_then(|file| {
            let mut file = BufWriter::with_capacity(1 << 20, file);
            file.write_all(&header.write()).map(|()| file)
        });
        let file = begun.map_err(failed(&path))?;
        Ok(Self { segment, path, file, at: HEADER_BYTES as u64 })
    }

    /// A frame as it is.
    pub fn copy(&mut self, from: &OnDisk, range: Range<u64>) -> Result<(), Error> {
        let len = range.end - range.start;
        let mut bytes = read_up_to(from, range.start, len).map_err(failed(&self.segment.path))?;
        // Opened with the seal of its old place.
        self.segment.seal.apply(&mut bytes, range.start);
        self.put(bytes)
    }

    /// A frame, which is not sealed yet.
    pub fn put(&mut self, mut frame: Vec<u8>) -> Result<(), Error> {
        self.segment.seal.apply(&mut frame, self.at);
        self.at += frame.len() as u64;
        self.file.write_all(&frame).map_err(failed(&self.path))
    }

    /// Puts it in the segment's place.
    pub fn finish(self) -> Result<(), Error> {
        let Self { segment, path, file, .. } = self;
        let finished = (|| {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::rename(&path, &segment.path)?;
            sync_parent(&segment.path)
        })();
        finished.map_err(failed(&path))
    }
}

/// A name beside a file for what was taken out of it: one that is free.
pub fn aside(path: &Path, why: &str, offset: u64) -> PathBuf {
    let named = |more: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{why}-{offset}{more}"));
        PathBuf::from(name)
    };
    let first = named("");
    let free = || (2u32..).map(|n| named(&format!(".{n}"))).find(|path| !path.exists());
    if first.exists() { free().unwrap_or(first) } else { first }
}

/// Writes bytes of a file beside it, and onto the disk.
pub fn set_aside(from: &OnDisk, path: &Path, range: Range<u64>, to: &Path) -> Result<(), Error> {
    const STEP: u64 = 1 << 20;
    let written = (|| {
        let mut file = File::create_new(to)?;
        let mut at = range.start;
        while at < range.end {
            let bytes = read_up_to(from, at, STEP.min(range.end - at))?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(&bytes)?;
            at += bytes.len() as u64;
        }
        file.sync_all()?;
        sync_parent(path)
    })();
    written.map_err(failed(to))
}

/// Gives a file a second name beside it, so that it stays when something else gets the first.
pub fn keep_whole(path: &Path, why: &str, offset: u64) -> Result<PathBuf, Error> {
    let to = aside(path, why, offset);
    fs::hard_link(path, &to).and_then(|()| sync_parent(path)).map_err(failed(&to))?;
    Ok(to)
}
