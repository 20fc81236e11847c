//! The commands that took long, or were large: the newest ones, shortened, within bounds.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Arguments that an entry keeps; the last place says how many more there were.
const MOST_ARGS: usize = 32;
/// What of an argument is kept.
const MOST_BYTES: usize = 128;
/// All entries together keep no more than this, however many they may be.
const MOST_TOTAL_BYTES: usize = 64 << 20;

/// A command that took long or was large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique since the start of the process, growing.
    pub id: u64,
    /// When it ended, in Unix seconds.
    pub at_seconds: u64,
    /// How long it took in microseconds, or how many bytes it had.
    pub value: u64,
    /// Its name and arguments, shortened.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub addr: String,
    /// The client's name.
    pub name: Vec<u8>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let args = self.args.iter().map(|arg| arg.len() + size_of::<Vec<u8>>()).sum::<usize>();
        args + self.addr.len() + self.name.len() + size_of::<Self>()
    }
}

#[derive(Debug, Default)]
struct Kept {
    next_id: u64,
    bytes: usize,
    /// The oldest first.
    entries: VecDeque<Entry>,
}

/// The newest commands that took long, or were large.
#[derive(Debug, Default)]
pub struct SlowLog(Mutex<Kept>);

/// A command as the log keeps it: at most 32 arguments of at most 128 bytes, with a word on what is
/// left out (as Redis words it).
pub fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let shown = if args.len() > MOST_ARGS { MOST_ARGS - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args[..shown]
        .iter()
        .map(|arg| match arg.len().checked_sub(MOST_BYTES) {
            None | Some(0) => arg.to_vec(),
            Some(more) => {
                let mut kept = arg[..MOST_BYTES].to_vec();
                kept.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                kept
            }
        })
        .collect();
    if shown < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - shown).into_bytes());
    }
    kept
}

impl SlowLog {
    /// Adds a command with [`shortened`] arguments, and forgets the oldest beyond `most`. Its id is
    /// given by the log.
    pub fn add(&self, mut entry: Entry, most: usize) {
        let mut kept = self.0.lock();
        entry.id = kept.next_id;
        kept.next_id += 1;
        kept.bytes += entry.bytes();
        kept.entries.push_back(entry);
        kept.shrink(most);
    }

    /// Forgets the oldest beyond `most`.
    pub fn keep(&self, most: usize) {
        self.0.lock().shrink(most);
    }

    /// The newest `count`, the newest first.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.0.lock().entries.iter().rev().take(count).cloned().collect()
    }

    /// How many it keeps.
    pub fn len(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.keep(0);
    }
}

impl Kept {
    fn shrink(&mut self, most: usize) {
        while self.entries.len() > most || self.bytes > MOST_TOTAL_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(arg: &[u8]) -> Entry {
        Entry {
            id: 0,
            at_seconds: 1,
            value: 2,
            args: shortened(&[arg]),
            addr: "127.0.0.1:1".into(),
            name: Vec::new(),
        }
    }

    #[test]
    fn the_newest_stay_with_growing_ids() {
        let log = SlowLog::default();
        (0..20).for_each(|_| log.add(entry(b"x"), 10));
        assert_eq!(log.len(), 10);
        let ids: Vec<u64> = log.newest(3).iter().map(|e| e.id).collect();
        assert_eq!(ids, [19, 18, 17]);
        log.reset();
        log.add(entry(b"x"), 10);
        assert_eq!(log.newest(10)[0].id, 20);
        log.add(entry(b"x"), 0);
        assert!(log.is_empty());
    }

    #[test]
    fn long_commands_are_shortened_as_redis_does() {
        let many: Vec<&[u8]> = vec![b"a"; 33];
        let kept = shortened(&many);
        assert_eq!((kept.len(), &kept[31][..]), (32, &b"... (2 more arguments)"[..]));
        let long = [b'A'; 129];
        let kept = shortened(&[&long]);
        assert!(kept[0].ends_with(b"A... (1 more bytes)") && kept[0].len() == 146);
        assert_eq!(shortened(&[&long[..128]])[0].len(), 128);
        assert_eq!(shortened(&many[..32]).len(), 32);
    }

    #[test]
    fn its_memory_is_bounded_whatever_its_length() {
        let log = SlowLog::default();
        let long = [b'x'; 4096];
        let args: Vec<&[u8]> = vec![&long; 40];
        for _ in 0..20_000 {
            let mut entry = entry(b"");
            entry.args = shortened(&args);
            log.add(entry, usize::MAX);
        }
        let kept = log.0.lock();
        let counted: usize = kept.entries.iter().map(Entry::bytes).sum();
        assert_eq!(kept.bytes, counted);
        assert!(counted <= MOST_TOTAL_BYTES);
    }
}
