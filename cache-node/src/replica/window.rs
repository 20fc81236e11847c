//! What of a session was sent and is not confirmed.
//!
//! A session is a row of messages, numbered from 1, that a peer takes in order and each once. What it has
//! not confirmed is kept, so that it can be sent again over a new connection; that is bounded.

use std::collections::VecDeque;

use bytes::Bytes;

/// See the module.
#[derive(Debug)]
pub struct Window {
    /// Tells the session from all others.
    pub session: u64,
    /// The number of the first message that is kept; if none is, of the next one.
    first: u64,
    kept: VecDeque<Bytes>,
    bytes: usize,
    limit_bytes: usize,
}

/// More is kept than may be: the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes wait to be confirmed")]
pub struct Overflow {
    /// How much is kept.
    pub bytes: usize,
}

impl Window {
    /// A new session. It keeps `limit_bytes` at most, beside one message.
    pub fn new(session: u64, limit_bytes: usize) -> Self {
        Self { session, first: 1, kept: VecDeque::new(), bytes: 0, limit_bytes }
    }

    /// The number of the next message.
    pub fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// Keeps a message; its number.
    ///
    /// # Errors
    /// Too much is kept already; the message is not.
    pub fn push(&mut self, message: Bytes) -> Result<u64, Overflow> {
        if self.bytes > 0 && self.bytes + message.len() > self.limit_bytes {
            return Err(Overflow { bytes: self.bytes + message.len() });
        }
        let number = self.next();
        self.bytes += message.len();
        self.kept.push_back(message);
        Ok(number)
    }

    /// The peer has all messages up to this one.
    pub fn confirmed(&mut self, number: u64) {
        while self.first <= number
            && let Some(message) = self.kept.pop_front()
        {
            self.first += 1;
            self.bytes -= message.len();
        }
    }

    /// What is to be sent again to a peer that has all up to `has`, with the numbers; `None` if it lacks what
    /// is not kept any more, or has what was never sent: it is not of this session.
    pub fn again(&self, has: u64) -> Option<impl Iterator<Item = (u64, Bytes)> + '_> {
        let from = (has + 1).checked_sub(self.first).filter(|_| has < self.next())?;
        let kept = self.kept.iter().skip(usize::try_from(from).ok()?).cloned();
        Some((has + 1..).zip(kept))
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(messages: &[&'static str]) -> Window {
        let mut window = Window::new(7, 10);
        for message in messages {
            window.push(Bytes::from_static(message.as_bytes())).unwrap();
        }
        window
    }

    fn again(window: &Window, has: u64) -> Option<Vec<(u64, Bytes)>> {
        window.again(has).map(Iterator::collect)
    }

    #[test]
    fn what_was_not_confirmed_is_sent_again_from_where_the_peer_is() {
        let mut window = window(&["a", "b", "c"]);
        window.confirmed(1);
        assert_eq!(again(&window, 1).unwrap(), [(2, "b".into()), (3, "c".into())]);
        assert_eq!(again(&window, 2).unwrap(), [(3, "c".into())]);
        assert_eq!(again(&window, 3).unwrap(), []);
        window.confirmed(3);
        assert_eq!((window.len(), window.bytes(), window.next()), (0, 0, 4));
        assert_eq!(again(&window, 3).unwrap(), []);
    }

    #[test]
    fn a_peer_that_cannot_be_of_this_session_is_told_apart() {
        let mut window = window(&["a", "b"]);
        window.confirmed(1);
        assert_eq!(again(&window, 0), None, "the first is not kept");
        assert_eq!(again(&window, 3), None, "the third was never sent");
    }

    #[test]
    fn what_is_kept_is_bounded_and_one_message_always_fits() {
        let mut window = window(&["12345", "1234"]);
        assert_eq!(window.push("12".into()), Err(Overflow { bytes: 11 }));
        assert_eq!(window.push("1".into()), Ok(3));
        window.confirmed(3);
        assert_eq!(window.push(Bytes::from(vec![0; 100])), Ok(4));
    }

    #[test]
    fn a_confirmation_of_what_was_confirmed_changes_nothing() {
        let mut window = window(&["a", "b"]);
        window.confirmed(2);
        window.confirmed(1);
        assert_eq!((window.next(), window.len()), (3, 0));
    }
}
