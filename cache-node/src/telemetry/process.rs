//! What this process costs: memory and CPU time, as the system and the allocator count them.

use std::fs;

use crate::memory::allocator::allocator;

/// Bytes that the program has allocated; 0 if the allocator does not say.
pub fn allocated_bytes() -> u64 {
    allocator().allocated_bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_what_it_costs() {
        assert!(resident_bytes() > 1024 * 1024);
        assert!(open_fds() >= 3);
        let (user, system) = cpu_seconds();
        assert!(user + system > 0.0);
    }
}
