//! What a thread costs, read by another one.

use std::time::Duration;

/// The clock of a thread's CPU time.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock(#[cfg(target_os = "linux")] libc::clockid_t);

#[cfg(target_os = "linux")]
impl CpuClock {
    /// That of this thread.
    pub fn of_this_thread() -> Option<Self> {
        let mut id: libc::clockid_t = 0;
        // SAFETY: the calling thread lives, and the call only writes into `id`.
        let done = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut id) };
        (done == 0).then_some(Self(id))
    }

    /// How long its thread ran so far; `None` once that has ended.
    pub fn read(self) -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call only writes into `time`, and refuses a clock whose thread is gone.
        if unsafe { libc::clock_gettime(self.0, &raw mut time) } != 0 {
            return None;
        }
        Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
    }
}

#[cfg(not(target_os = "linux"))]
impl CpuClock {
    /// None: there is no such clock that another thread may read.
    pub fn of_this_thread() -> Option<Self> {
        None
    }

    /// Never asked.
    pub fn read(self) -> Option<Duration> {
        None
    }
}
