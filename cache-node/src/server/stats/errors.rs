//! How often which kind of error was answered, by the first word of its text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// So many kinds are told apart. Scripts choose their own words, so there must be an end.
const MOST_KINDS: usize = 128;
/// A first word beyond this is no kind.
const MOST_BYTES: usize = 64;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What was asked cannot be done, and never could.
    Client,
    /// It could be done, if the cluster were well or had room.
    Server,
    /// Nobody's: the client is told to ask elsewhere, or once more.
    Nobody,
}

impl Fault {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Nobody];

    /// Its word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Nobody => "nobody",
        }
    }
}

/// The kinds that are told apart in metrics; all others, which scripts choose, are [`OTHER`].
pub const KINDS: [(&str, Fault); 24] = [
    ("ERR", Fault::Client),
    ("WRONGTYPE", Fault::Client),
    ("NOAUTH", Fault::Client),
    ("WRONGPASS", Fault::Client),
    ("NOPERM", Fault::Client),
    ("NOPROTO", Fault::Client),
    ("NOSCRIPT", Fault::Client),
    ("EXECABORT", Fault::Client),
    ("CROSSSLOT", Fault::Client),
    ("BUSYKEY", Fault::Client),
    ("UNKILLABLE", Fault::Client),
    ("NOTBUSY", Fault::Client),
    ("UNBLOCKED", Fault::Client),
    ("OOM", Fault::Server),
    ("CLUSTERDOWN", Fault::Server),
    ("NOREPLICAS", Fault::Server),
    ("UNKNOWN", Fault::Server),
    ("MISCONF", Fault::Server),
    ("LOADING", Fault::Server),
    ("BUSY", Fault::Server),
    ("TRYAGAIN", Fault::Nobody),
    ("MOVED", Fault::Nobody),
    ("ASK", Fault::Nobody),
    (OTHER, Fault::Client),
];

/// The kind of what is not in [`KINDS`], as metrics have it.
const OTHER: &str = "other";

/// Errors by kind.
#[derive(Debug, Default)]
pub struct Errors {
    /// Since the last reset, in the words that they had.
    kinds: Mutex<BTreeMap<Box<str>, u64>>,
    /// Since the start, by [`KINDS`].
    ever: [AtomicU64; KINDS.len()],
}

/// The kind of an error reply: its first word, whatever cannot stand in INFO left out. `ERR` for what
/// has no word of its own.
pub fn kind(reply: &[u8]) -> &str {
    let text = reply.strip_prefix(b"-").unwrap_or(reply);
    let end = text.iter().position(|b| matches!(b, b' ' | b'\r')).unwrap_or(text.len());
    match std::str::from_utf8(&text[..end]) {
        Ok(word)
            if !word.is_empty()
                && end <= MOST_BYTES
                && word.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b',') =>
        {
            word
        }
        _ => "ERR",
    }
}

impl Errors {
    /// Counts an error reply, from its `-` on; whose fault it is.
    pub fn add(&self, reply: &[u8]) -> Fault {
        let kind = kind(reply);
        {
            let mut kinds = self.kinds.lock();
            if let Some(count) = kinds.get_mut(kind) {
                *count += 1;
            } else if kinds.len() < MOST_KINDS {
                kinds.insert(kind.into(), 1);
            } else {
                *kinds.entry("ERRORSTATS_OVERFLOW".into()).or_default() += 1;
            }
        }
        self.count_ever(kind)
    }

    /// As [`Self::add`], of what did not come over RESP: for the metrics alone.
    pub fn add_quietly(&self, reply: &[u8]) -> Fault {
        self.count_ever(kind(reply))
    }

    fn count_ever(&self, kind: &str) -> Fault {
        let known = KINDS.iter().zip(&self.ever).find(|((word, _), _)| *word == kind);
        let other = KINDS.last().zip(self.ever.last());
        let Some(((_, fault), count)) = known.or(other) else { return Fault::Client };
        count.fetch_add(1, Relaxed);
        *fault
    }

    /// How many of each kind of [`KINDS`] there were since the start.
    pub fn ever(&self) -> [u64; KINDS.len()] {
        self.ever.each_ref().map(|count| count.load(Relaxed))
    }

    /// All kinds with their counts.
    pub fn all(&self) -> Vec<(Box<str>, u64)> {
        self.kinds.lock().iter().map(|(kind, count)| (kind.clone(), *count)).collect()
    }

    /// Forgets all, but for the metrics.
    pub fn reset(&self) {
        self.kinds.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_counts_by_its_first_word() {
        let errors = Errors::default();
        for reply in
            [&b"-ERR syntax error\r\n"[..], b"-WRONGTYPE x\r\n", b"-ERR\r\n", b"-a:b c\r\n", b"-"]
        {
            errors.add(reply);
        }
        assert_eq!(errors.all(), [("ERR".into(), 4), ("WRONGTYPE".into(), 1)]);
    }

    #[test]
    fn metrics_tell_a_clients_mistakes_from_what_the_cluster_cannot_do() {
        let errors = Errors::default();
        assert_eq!(errors.add(b"-WRONGTYPE x\r\n"), Fault::Client);
        assert_eq!(errors.add(b"-CLUSTERDOWN x\r\n"), Fault::Server);
        assert_eq!(errors.add(b"-MOVED 1 a:1\r\n"), Fault::Nobody);
        assert_eq!(errors.add_quietly(b"-MINE x\r\n"), Fault::Client);
        errors.reset();
        let ever: Vec<_> = KINDS.iter().zip(errors.ever()).filter(|(_, n)| *n > 0).collect();
        let words: Vec<_> = ever.iter().map(|((word, _), _)| *word).collect();
        assert_eq!(words, ["WRONGTYPE", "CLUSTERDOWN", "MOVED", OTHER]);
        assert!(errors.all().is_empty());
    }

    #[test]
    fn faults_stand_where_their_numbers_say() {
        assert!(Fault::ALL.iter().enumerate().all(|(index, fault)| *fault as usize == index));
    }

    #[test]
    fn s1_kinds_have_an_end() {
        let errors = Errors::default();
        (0..1000).for_each(|n| _ = errors.add(format!("-KIND{n} x").as_bytes()));
        assert_eq!(errors.all().len(), MOST_KINDS + 1);
        assert!(errors.all().contains(&("ERRORSTATS_OVERFLOW".into(), 1000 - MOST_KINDS as u64)));
    }
}
