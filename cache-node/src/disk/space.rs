//! How much of the file system of the data directory is free.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file system's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// What it has in all.
    pub total_bytes: u64,
    /// What this process may still take.
    pub free_bytes: u64,
}

impl Space {
    /// Of the file system that a path is on; `None` if the system does not say.
    fn of(path: &Path) -> Option<Self> {
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: an all-zero statvfs is a valid one; the path ends with a NUL, and the call only writes
        // into the struct.
        let seen = unsafe {
            let mut seen: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(path.as_ptr(), &raw mut seen) == 0).then_some(seen)
        }?;
        Some(Self {
            total_bytes: seen.f_blocks.saturating_mul(seen.f_frsize),
            free_bytes: seen.f_bavail.saturating_mul(seen.f_frsize),
        })
    }
}

/// What was seen last. Whoever asks never waits for the disk.
#[derive(Debug, Default)]
pub struct SpaceSeen {
    total_bytes: AtomicU64,
    free_bytes: AtomicU64,
}

impl SpaceSeen {
    /// Looks; on a thread that may wait for the disk.
    pub fn look(&self, path: &Path) {
        if let Some(space) = Space::of(path) {
            self.free_bytes.store(space.free_bytes, Relaxed);
            self.total_bytes.store(space.total_bytes, Relaxed);
        }
    }

    /// What was seen; `None` before the first look.
    pub fn now(&self) -> Option<Space> {
        let (total_bytes, free_bytes) =
            (self.total_bytes.load(Relaxed), self.free_bytes.load(Relaxed));
        (total_bytes > 0).then_some(Space { total_bytes, free_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_a_size_and_some_of_it_is_free() {
        let (directory, seen) = (tempfile::tempdir().unwrap(), SpaceSeen::default());
        assert_eq!(seen.now(), None);
        seen.look(&directory.path().join("nothing is here"));
        assert_eq!(seen.now(), None);
        seen.look(directory.path());
        let space = seen.now().unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
    }
}
