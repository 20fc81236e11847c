//! Huge pages behind the process's memory, allowed or not.
//!
//! The allocator asks for them everywhere (its option `thp:always`); whether it gets any is said
//! here, for the whole process and from now on, so that a small member stays small.

#![allow(unsafe_code, reason = "prctl has no safe form")]

use std::io;

/// Lets the kernel use huge pages for this process (where its administrator does), or not, from
/// now on: prctl(2), `PR_SET_THP_DISABLE`. Memory that stands in such pages stays there.
///
/// # Errors
/// The kernel does not know how.
pub fn allow(yes: bool) -> io::Result<()> {
    let (disable, none) = (libc::c_ulong::from(!yes), 0 as libc::c_ulong);
    // SAFETY: this operation takes a number and three zeros, and reads or writes no memory of ours.
    let done = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, none, none, none) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_is_told() {
        let says = |word: &str| {
            let text = std::fs::read_to_string("/proc/self/status").unwrap();
            // Older kernels do not say.
            text.lines().find(|l| l.starts_with("THP_enabled:")).is_none_or(|l| l.ends_with(word))
        };
        super::allow(false).unwrap();
        assert!(says("0"));
        super::allow(true).unwrap();
        assert!(says("1"));
    }
}
