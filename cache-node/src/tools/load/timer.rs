//! Waits to the microsecond. The runtime's own timers round up to a millisecond, which would stand in the
//! latencies of an open loop.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

/// A timer of the kernel's.
#[derive(Debug)]
pub struct Timer(AsyncFd<File>);

impl Timer {
    /// A timer that is not set. Within a runtime only.
    ///
    /// # Errors
    /// The process may open no more files.
    pub fn new() -> std::io::Result<Self> {
        // SAFETY: takes no pointers; what it gives is checked.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the descriptor is open, and nobody else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: the file keeps its descriptor, which is never replaced, until it is dropped.
        let registered = unsafe { AsyncFd::register(file) };
        Ok(Self(registered?))
    }

    /// Waits so long. May be dropped while it waits.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn wait(&self, time: Duration) -> std::io::Result<()> {
        // Zero would unset it.
        let time = time.max(Duration::from_nanos(1));
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(time.subsec_nanos().min(999_999_999) as i32),
        };
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: the descriptor is open, the structure lives through the call, and the old value is not asked for.
        let failed = unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut())
        };
        if failed != 0 {
            return Err(std::io::Error::last_os_error());
        }
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|file| file.get_ref().read(&mut count)) {
                Ok(read) => return read.map(|_| ()),
                // What was ready was the time that an earlier call waited for.
                Err(_) => continue,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn it_never_comes_too_early_also_after_a_wait_that_was_given_up() {
        let timer = Timer::new().unwrap();
        let short = Duration::from_micros(200);
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = timer.wait(Duration::from_nanos(1)) => {}
                _ = std::future::ready(()) => {}
            }
            let began = Instant::now();
            timer.wait(short).await.unwrap();
            assert!(began.elapsed() >= short);
        }
        timer.wait(Duration::ZERO).await.unwrap();
    }
}
