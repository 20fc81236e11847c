//! What the allocator (jemalloc) holds, and giving it back to the system.

use std::ptr;

use tikv_jemalloc_ctl::{epoch, stats};

/// What the allocator holds, in bytes; zeros if it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allocator {
    /// In blocks that the program has.
    pub allocated_bytes: u64,
    /// In pages with such blocks.
    pub active_bytes: u64,
    /// In pages that are in memory, with those that are kept for blocks to come.
    pub resident_bytes: u64,
}

/// What it holds now.
pub fn allocator() -> Allocator {
    // Its figures are of the last time that the epoch was advanced.
    let _ = epoch::advance();
    let bytes = |read: tikv_jemalloc_ctl::Result<usize>| read.map_or(0, |bytes| bytes as u64);
    Allocator {
        allocated_bytes: bytes(stats::allocated::read()),
        active_bytes: bytes(stats::active::read()),
        resident_bytes: bytes(stats::resident::read()),
    }
}

/// Gives all pages without blocks back to the system. Takes as long as there are many.
pub fn purge() {
    // All arenas: MALLCTL_ARENAS_ALL of jemalloc(3).
    let name = c"arena.4096.purge";
    // SAFETY: the name ends with a NUL, and this control takes no value and gives none, so that all
    // pointers may be null. It fails, and changes nothing, where the allocator does not have it.
    let _ = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
}
