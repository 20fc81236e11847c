//! How often which kind of error was answered, by the first word of its text.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// So many kinds are told apart. Scripts choose their own words, so there must be an end.
const MOST_KINDS: usize = 128;
/// A first word beyond this is no kind.
const MOST_BYTES: usize = 64;

/// Errors by kind.
#[derive(Debug, Default)]
pub struct Errors(Mutex<BTreeMap<Box<str>, u64>>);

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
    /// Counts an error reply, from its `-` on.
    pub fn add(&self, reply: &[u8]) {
        let kind = kind(reply);
        let mut kinds = self.0.lock();
        if let Some(count) = kinds.get_mut(kind) {
            *count += 1;
        } else if kinds.len() < MOST_KINDS {
            kinds.insert(kind.into(), 1);
        } else {
            *kinds.entry("ERRORSTATS_OVERFLOW".into()).or_default() += 1;
        }
    }

    /// All kinds with their counts.
    pub fn all(&self) -> Vec<(Box<str>, u64)> {
        self.0.lock().iter().map(|(kind, count)| (kind.clone(), *count)).collect()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.0.lock().clear();
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
    fn s1_kinds_have_an_end() {
        let errors = Errors::default();
        (0..1000).for_each(|n| errors.add(format!("-KIND{n} x").as_bytes()));
        assert_eq!(errors.all().len(), MOST_KINDS + 1);
        assert!(errors.all().contains(&("ERRORSTATS_OVERFLOW".into(), 1000 - MOST_KINDS as u64)));
    }
}
