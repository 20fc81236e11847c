//! What this process costs: memory and CPU time, as the system and the allocator count them.

use std::fs;

use tikv_jemalloc_ctl::{epoch, raw, stats};

/// Bytes that the program has allocated; 0 if the allocator does not say.
pub fn allocated_bytes() -> u64 {
    // Its figures are of the last time that the epoch was advanced.
    let _ = epoch::advance();
    stats::allocated::read().map_or(0, |bytes| bytes as u64)
}

/// What the allocator says of itself, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allocator {
    /// What the program has allocated.
    pub allocated: u64,
    /// The pages that this stands in.
    pub active: u64,
    /// All pages that it holds, its own data and what it has not given back yet included.
    pub resident: u64,
}

/// What the allocator says of itself; zeros if it does not.
pub fn allocator() -> Allocator {
    let _ = epoch::advance();
    let bytes = |read: tikv_jemalloc_ctl::Result<usize>| read.map_or(0, |bytes| bytes as u64);
    Allocator {
        allocated: bytes(stats::allocated::read()),
        active: bytes(stats::active::read()),
        resident: bytes(stats::resident::read()),
    }
}

/// The allocator's own statistics, as a text for people.
pub fn allocator_report() -> Vec<u8> {
    let mut text = Vec::new();
    let options = tikv_jemalloc_ctl::stats_print::Options::default();
    // Writing to memory does not fail.
    let _ = tikv_jemalloc_ctl::stats_print::stats_print(&mut text, options);
    text
}

/// Has the allocator give pages back to the system that it does not need; false if it cannot.
pub fn purge() -> bool {
    // 4096 stands for all arenas (`MALLCTL_ARENAS_ALL`).
    let name = c"arena.4096.purge";
    let (none, nothing) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the name ends with a NUL; this control neither reads nor writes through the pointers.
    let result = unsafe {
        tikv_jemalloc_sys::mallctl(name.as_ptr(), none, std::ptr::null_mut(), nothing, 0)
    };
    result == 0
}

/// Has the allocator keep no free blocks for this thread; false if it cannot.
pub fn keep_no_free_blocks() -> bool {
    // SAFETY: the name ends with a NUL; this control is a bool.
    unsafe { raw::write(b"thread.tcache.enabled\0", false) }.is_ok()
}

/// The name of the control that says which arena a thread's blocks come from.
const THREAD_ARENA: &[u8] = b"thread.arena\0";

/// The arena that the allocator gives this thread's blocks from; back to the first when dropped.
#[derive(Debug)]
pub struct Arena {
    first: Option<u32>,
    now: Option<u32>,
}

impl Arena {
    /// The one that it has now.
    pub fn of_this_thread() -> Self {
        // SAFETY: the name ends with a NUL; this control is an unsigned int.
        let first = unsafe { raw::read::<u32>(THREAD_ARENA) }.ok();
        Self { first, now: first }
    }

    /// From now on blocks come from the arena that a block in use is of.
    pub fn follow(&mut self, block: *const u8) {
        let mut block = block;
        let mut arena = 0u32;
        let mut len = size_of::<u32>();
        // SAFETY: the name ends with a NUL; this control reads one pointer and writes one unsigned
        // int and its length. It looks the address up among the allocator's own and reads nothing
        // there.
        let result = unsafe {
            tikv_jemalloc_sys::mallctl(
                c"arenas.lookup".as_ptr(),
                (&raw mut arena).cast(),
                &raw mut len,
                (&raw mut block).cast(),
                size_of::<*const u8>(),
            )
        };
        if result == 0 {
            self.take(arena);
        }
    }

    fn take(&mut self, arena: u32) {
        if self.now == Some(arena) {
            return;
        }
        // SAFETY: the name ends with a NUL; this control is an unsigned int.
        if unsafe { raw::write(THREAD_ARENA, arena) }.is_ok() {
            self.now = Some(arena);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(first) = self.first {
            self.take(first);
        }
    }
}

/// Memory of this machine, or the limit of this process's control group if that is lower; 0 where the
/// system does not say.
pub fn memory_limit_bytes() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kb| kb.trim().parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024);
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    match group.trim().parse::<u64>() {
        Ok(limit) if total == 0 || limit < total => limit,
        _ => total,
    }
}

/// Bytes of memory that the process holds; 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        statm.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    // SAFETY: sysconf only reads a constant of the system.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * u64::try_from(page_bytes).unwrap_or(4096)
}

/// CPU time since the start of the process, in seconds: in its own code, and in the system's.
pub fn cpu_seconds() -> (f64, f64) {
    // SAFETY: an all-zero rusage is a valid one, and getrusage only writes into it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// Open file descriptors; 0 where the system does not say.
pub fn open_fds() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// How many of them there may be; 0 where the system does not say.
pub fn max_fds() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit only writes into the struct.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => limit.rlim_cur,
        _ => 0,
    }
}

/// Threads of the process; 0 where the system does not say.
pub fn threads() -> u64 {
    fs::read_dir("/proc/self/task").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_what_it_costs() {
        assert!(resident_bytes() > 1024 * 1024);
        assert!(open_fds() >= 3 && open_fds() <= max_fds());
        assert!(threads() >= 1);
        assert!(memory_limit_bytes() > 1024 * 1024);
        let (user, system) = cpu_seconds();
        assert!(user + system > 0.0);
    }
}
