//! The script that runs on this thread, for functions that Lua calls without one.

#![allow(unsafe_code, reason = "a borrow is handed through C, which knows no lifetimes")]

use std::cell::Cell;
use std::ptr::NonNull;

/// Runs commands for a script.
pub trait Host {
    /// Runs one command and appends its reply.
    fn command(&mut self, args: &[&[u8]], reply: &mut Vec<u8>);

    /// Chooses the protocol of replies: 2 or 3.
    fn set_protocol(&mut self, version: u8);

    /// Writes a line to the log, at a level of Redis's: 0 (debug) to 3 (warning).
    fn log(&self, level: u8, text: &str);
}

thread_local! {
    static HOST: Cell<Option<NonNull<dyn Host>>> = const { Cell::new(None) };
}

/// Puts back what was there, however `within` ends.
struct Restore(Option<NonNull<dyn Host>>);

impl Drop for Restore {
    fn drop(&mut self) {
        HOST.set(self.0);
    }
}

/// Makes `host` the one that [`with`] gives, for the length of `run`.
pub fn within<R>(host: &mut (dyn Host + '_), run: impl FnOnce() -> R) -> R {
    let host = NonNull::from(host);
    // SAFETY: only the lifetime changes. The pointer is taken out again before `within` returns
    // (`Restore`), so nobody can use it after the borrow ends.
    let host: NonNull<dyn Host> = unsafe { std::mem::transmute(host) };
    let _restore = Restore(HOST.replace(Some(host)));
    run()
}

/// Calls `run` with the script's host; `None` outside of a script, or within such a call.
pub fn with<R>(run: impl FnOnce(&mut dyn Host) -> R) -> Option<R> {
    // Taken out meanwhile, so that there are never two references.
    let mut host = HOST.take()?;
    let _restore = Restore(Some(host));
    // SAFETY: `within` put it there and has not returned; it is the only reference, see above.
    Some(run(unsafe { host.as_mut() }))
}

/// Runs a command for the script and appends its reply.
pub fn command(args: &[&[u8]], reply: &mut Vec<u8>) {
    if with(|host| host.command(args, reply)).is_none() {
        reply.extend_from_slice(b"-ERR no script runs\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(usize);

    impl Host for Echo {
        fn command(&mut self, args: &[&[u8]], reply: &mut Vec<u8>) {
            self.0 += 1;
            reply.extend_from_slice(args[0]);
            // It is in use, so there is none.
            assert!(with(|_| ()).is_none());
        }
        fn set_protocol(&mut self, _: u8) {}
        fn log(&self, _: u8, _: &str) {}
    }

    #[test]
    fn a_host_is_there_only_while_it_is_lent() {
        let mut reply = Vec::new();
        command(&[b"a"], &mut reply);
        assert!(reply.starts_with(b"-ERR"));
        reply.clear();
        let mut host = Echo(0);
        within(&mut host, || {
            command(&[b"a"], &mut reply);
            command(&[b"b"], &mut reply);
        });
        assert_eq!((host.0, &reply[..]), (2, &b"ab"[..]));
        assert!(with(|_| ()).is_none());
    }
}
