//! Who was let in and who was not, over RESP and HTTP: a line of the audit each, as long as there are not
//! too many of them.

use std::fmt::Display;

use hypercache_log::{AUDIT, Limit};
use parking_lot::Mutex;

use crate::clock::now_ms;

/// Lines at once, and in a second after that.
const LINES: Limit = Limit::new(20, 5);
/// So much of a user's name is told.
const MAX_USER_CHARS: usize = 64;

/// Tells of logins. Those that fail do not take the place of those that do not.
#[derive(Debug)]
pub struct Logins {
    done: Mutex<Limit>,
    denied: Mutex<Limit>,
}

impl Default for Logins {
    fn default() -> Self {
        Self { done: Mutex::new(LINES), denied: Mutex::new(LINES) }
    }
}

/// A user's name as it is told: it is whatever the client says.
pub fn shown_user(user: &[u8]) -> String {
    String::from_utf8_lossy(user).chars().take(MAX_USER_CHARS).collect()
}

impl Logins {
    /// Writes a line about a login by a `command`, if there is room for it.
    pub fn tell(&self, command: &str, user: &str, source: impl Display, is_let_in: bool) {
        let limit = if is_let_in { &self.done } else { &self.denied };
        let Some(left_out) = limit.lock().take(now_ms()) else { return };
        let (outcome, result) = match is_let_in {
            true => ("success", "done"),
            false => ("failure", "denied"),
        };
        tracing::info!(
            target: AUDIT,
            action = "login",
            user,
            %source,
            command,
            outcome,
            result,
            suppressed = (left_out > 0).then_some(left_out),
            "a login"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_of_a_user_is_cut_and_bytes_that_are_no_text_are_shown() {
        assert_eq!(shown_user(&[b'x'; 999]).len(), 64);
        assert_eq!(shown_user(b"an\xffa"), "an\u{fffd}a");
    }
}
