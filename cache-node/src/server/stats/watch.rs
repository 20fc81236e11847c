//! What took long: the slow log and the latency monitor, and from when on "long" is.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use hypercache_core::command::{Flags, Spec};

use super::latency::Monitor;
use super::slowlog::{Entry, SlowLog, shortened};
use super::ticks;
use crate::clock::now_ms;

/// From when on something took long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Commands that take at least this go to the slow log; `None`: none does.
    pub slowlog_us: Option<u64>,
    /// How many the slow log keeps.
    pub slowlog_entries: usize,
    /// Commands that have at least so many bytes as RESP go to the log of large requests; `None`:
    /// none does.
    pub request_bytes: Option<u64>,
    /// How many that keeps.
    pub request_entries: usize,
    /// Commands whose replies have at least so many bytes go to the log of large replies; `None`:
    /// none does.
    pub reply_bytes: Option<u64>,
    /// How many that keeps.
    pub reply_entries: usize,
    /// What takes at least this goes to the latency monitor; 0: nothing does.
    pub latency_ms: u64,
    /// Whether the times of commands are kept by how they are spread.
    pub spread: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            slowlog_us: Some(10_000),
            slowlog_entries: 128,
            request_bytes: Some(1 << 20),
            request_entries: 128,
            reply_bytes: Some(1 << 20),
            reply_entries: 128,
            latency_ms: 0,
            spread: true,
        }
    }
}

/// A log of commands that stand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// By their time.
    Slow,
    /// By their own size.
    LargeRequest,
    /// By the size of their replies.
    LargeReply,
}

/// The slow log, those of what is large, the latency monitor, and their thresholds.
#[derive(Debug)]
pub struct Watch {
    /// A command that took so many ticks is worth a look: the lower one of the thresholds.
    slow_ticks: AtomicU64,
    spread: AtomicBool,
    slowlog_us: AtomicU64,
    slowlog_entries: AtomicU64,
    latency_ms: AtomicU64,
    /// Commands that took long.
    pub slowlog: SlowLog,
    large_requests: Large,
    large_replies: Large,
    /// Moments that took long.
    pub latency: Monitor,
}

const NEVER: u64 = u64::MAX;

/// A log of what is large, and from which size on that is.
#[derive(Debug, Default)]
struct Large {
    from_bytes: AtomicU64,
    entries: AtomicU64,
    log: SlowLog,
}

impl Large {
    fn set(&self, from_bytes: Option<u64>, entries: usize) {
        self.from_bytes.store(from_bytes.unwrap_or(NEVER), Relaxed);
        self.entries.store(entries as u64, Relaxed);
        self.log.keep(entries);
    }

    #[inline]
    fn takes(&self, bytes: u64) -> bool {
        bytes >= self.from_bytes.load(Relaxed)
    }

    fn add(&self, entry: Entry) {
        self.log.add(entry, self.entries.load(Relaxed) as usize);
    }
}

impl Default for Watch {
    fn default() -> Self {
        let watch = Self {
            slow_ticks: AtomicU64::new(NEVER),
            spread: AtomicBool::new(true),
            slowlog_us: AtomicU64::new(NEVER),
            slowlog_entries: AtomicU64::new(0),
            latency_ms: AtomicU64::new(0),
            slowlog: SlowLog::default(),
            large_requests: Large::default(),
            large_replies: Large::default(),
            latency: Monitor::default(),
        };
        watch.set(Thresholds::default());
        watch
    }
}

/// A script's commands that took long, more of them than this, are not kept until it ends.
const MOST_INNER: usize = 128;

/// A script's command that took long, until it is known whose script it is.
struct Inner {
    at_seconds: u64,
    took_us: u64,
    args: Vec<Vec<u8>>,
}

thread_local! {
    /// How many commands the scripts on this thread called since somebody asked.
    static INNER_CALLS: Cell<u64> = const { Cell::new(0) };
    /// Those of them that took long, the oldest first.
    static INNER: RefCell<VecDeque<Inner>> = const { RefCell::new(VecDeque::new()) };
}

/// Counts a command that a script on this thread calls.
#[inline]
pub fn count_inner() {
    INNER_CALLS.set(INNER_CALLS.get() + 1);
}

/// How many commands scripts on this thread called since this was asked before.
pub fn take_inner_calls() -> u64 {
    INNER_CALLS.take()
}

/// Forgets what scripts on this thread called: they are not of a client of this member.
pub fn forget_inner() {
    INNER_CALLS.set(0);
    INNER.take();
}

/// Whose command it was.
#[derive(Debug, Clone)]
pub struct Whose {
    /// The client's address.
    pub addr: String,
    /// The client's name.
    pub name: Vec<u8>,
}

impl Watch {
    /// Puts thresholds in force.
    pub fn set(&self, thresholds: Thresholds) {
        let slowlog_us = thresholds.slowlog_us.unwrap_or(NEVER);
        let latency_ms = thresholds.latency_ms;
        self.slowlog_us.store(slowlog_us, Relaxed);
        self.slowlog_entries.store(thresholds.slowlog_entries as u64, Relaxed);
        self.latency_ms.store(latency_ms, Relaxed);
        self.spread.store(thresholds.spread, Relaxed);
        self.slowlog.keep(thresholds.slowlog_entries);
        self.large_requests.set(thresholds.request_bytes, thresholds.request_entries);
        self.large_replies.set(thresholds.reply_bytes, thresholds.reply_entries);
        let latency_us = if latency_ms == 0 { NEVER } else { latency_ms.saturating_mul(1000) };
        let slow_us = slowlog_us.min(latency_us);
        let slow_ticks = match slow_us {
            NEVER => NEVER,
            // A little earlier: the exact comparison is made in microseconds.
            us => ticks::from_ns(us.saturating_mul(1000)) / 64 * 63,
        };
        self.slow_ticks.store(slow_ticks, Relaxed);
    }

    /// Whether a command that took so long is worth a look.
    #[inline]
    pub fn is_slow(&self, ticks: u64) -> bool {
        ticks >= self.slow_ticks.load(Relaxed)
    }

    /// Whether a command, whose arguments mostly stand in one frame, or its reply may be large.
    #[inline]
    pub fn may_be_large(&self, args: &[&[u8]], reply_len: usize) -> bool {
        let frame = match (args.first(), args.last()) {
            (Some(first), Some(last)) => {
                let end = (last.as_ptr() as usize).wrapping_add(last.len());
                // More than what stands around the arguments.
                end.wrapping_sub(first.as_ptr() as usize).saturating_add(64)
            }
            _ => 0,
        };
        self.large_requests.takes(frame as u64) || self.large_replies.takes(reply_len as u64)
    }

    /// Takes note of a command that [`Self::may_be_large`], if it is.
    #[cold]
    pub fn note_large(
        &self,
        spec: &Spec,
        args: &[&[u8]],
        reply_len: usize,
        whose: impl FnOnce() -> Whose,
    ) {
        let sizes =
            [(&self.large_requests, request_bytes(args)), (&self.large_replies, reply_len as u64)];
        let mut large = sizes.iter().filter(|(log, bytes)| log.takes(*bytes)).peekable();
        if large.peek().is_none() {
            return;
        }
        let Whose { addr, name } = whose();
        let at_seconds = now_ms() / 1000;
        let entry = Entry {
            id: 0,
            at_seconds,
            value: 0,
            args: shortened(&discreet(spec, args)),
            addr,
            name,
        };
        large.for_each(|(log, bytes)| log.add(Entry { value: *bytes, ..entry.clone() }));
    }

    /// A log of commands.
    pub fn log(&self, log: Log) -> &SlowLog {
        match log {
            Log::Slow => &self.slowlog,
            Log::LargeRequest => &self.large_requests.log,
            Log::LargeReply => &self.large_replies.log,
        }
    }

    /// Whether the times of commands are kept by how they are spread.
    #[inline]
    pub fn keeps_spread(&self) -> bool {
        self.spread.load(Relaxed)
    }

    /// Takes note of a command that [`Self::is_slow`].
    #[cold]
    pub fn note(&self, spec: &Spec, args: &[&[u8]], ticks: u64, whose: impl FnOnce() -> Whose) {
        let took_us = ticks::ns(ticks) / 1000;
        // EXEC too: its commands hold their slots' locks together, so their time is one.
        if took_us >= self.slowlog_us.load(Relaxed) {
            let Whose { addr, name } = whose();
            let most = usize::try_from(self.slowlog_entries.load(Relaxed)).unwrap_or(usize::MAX);
            // A script is at least as slow as each of its commands, so those come here with it.
            if spec.is_script() || spec.name == "exec" {
                for Inner { at_seconds, took_us, args } in INNER.take() {
                    let (addr, name) = (addr.clone(), name.clone());
                    self.slowlog
                        .add(Entry { id: 0, at_seconds, value: took_us, args, addr, name }, most);
                }
            }
            let at_seconds = now_ms() / 1000;
            let args = shortened(&discreet(spec, args));
            self.slowlog.add(Entry { id: 0, at_seconds, value: took_us, args, addr, name }, most);
        }
        self.moment_of(spec, took_us);
    }

    /// Takes note of a script's command that [`Self::is_slow`]; it reaches the slow log with the
    /// script, whose client is known then.
    #[cold]
    pub fn note_inner(&self, spec: &Spec, args: &[&[u8]], ticks: u64) {
        let took_us = ticks::ns(ticks) / 1000;
        if took_us >= self.slowlog_us.load(Relaxed) {
            let args = shortened(&discreet(spec, args));
            INNER.with_borrow_mut(|inner| {
                if inner.len() == MOST_INNER {
                    inner.pop_front();
                }
                inner.push_back(Inner { at_seconds: now_ms() / 1000, took_us, args });
            });
        }
        self.moment_of(spec, took_us);
    }

    fn moment_of(&self, spec: &Spec, took_us: u64) {
        let fast = spec.flags.contains(Flags::FAST);
        self.moment(if fast { "fast-command" } else { "command" }, took_us / 1000);
    }

    /// Takes note of what took so long, if that is long.
    pub fn moment(&self, event: &'static str, took_ms: u64) {
        let latency_ms = self.latency_ms.load(Relaxed);
        if latency_ms > 0 && took_ms >= latency_ms {
            self.latency.add(event, now_ms() / 1000, took_ms);
        }
    }

    /// From when on the latency monitor takes note, in milliseconds; 0: it does not.
    pub fn latency_ms(&self) -> u64 {
        self.latency_ms.load(Relaxed)
    }
}

/// How many bytes a command has as RESP.
fn request_bytes(args: &[&[u8]]) -> u64 {
    let digits = |n: usize| n.checked_ilog10().unwrap_or(0) as usize + 1;
    let line = |n: usize| digits(n) + 3;
    let args_bytes: usize = args.iter().map(|arg| line(arg.len()) + arg.len() + 2).sum();
    (line(args.len()) + args_bytes) as u64
}

const HIDDEN: &[u8] = b"(redacted)";

/// A command's arguments without what is secret.
fn discreet<'a>(spec: &Spec, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut shown = args.to_vec();
    let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
    match spec.name {
        "auth" => shown.iter_mut().skip(1).for_each(|arg| *arg = HIDDEN),
        "hello" => {
            if let Some(at) = args.iter().position(|arg| is(arg, "AUTH")) {
                shown.iter_mut().skip(at + 1).take(2).for_each(|arg| *arg = HIDDEN);
            }
        }
        "config|set" => {
            for pair in shown[2..].chunks_exact_mut(2) {
                if is(pair[0], "requirepass") {
                    pair[1] = HIDDEN;
                }
            }
        }
        _ => {}
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::command::lookup;

    fn note(watch: &Watch, words: &str, ms: u64) {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let spec = lookup(&args).unwrap();
        let ticks = ticks::from_ns(ms * 1_000_000);
        if watch.is_slow(ticks) {
            watch.note(spec, &args, ticks, || Whose { addr: "a".into(), name: Vec::new() });
        }
    }

    #[test]
    fn what_takes_long_is_noted_where_it_is_asked_for() {
        let watch = Watch::default();
        note(&watch, "keys *", 5);
        assert!(watch.slowlog.is_empty());
        note(&watch, "keys *", 50);
        note(&watch, "exec", 50);
        assert_eq!((watch.slowlog.len(), watch.latency.all().len()), (2, 0));
        watch.set(Thresholds { slowlog_us: None, latency_ms: 20, ..Thresholds::default() });
        note(&watch, "keys *", 50);
        note(&watch, "get a", 50);
        assert_eq!(watch.slowlog.len(), 2);
        let events: Vec<_> = watch.latency.all().iter().map(|(event, _)| *event).collect();
        assert_eq!(events, ["command", "fast-command"]);
        watch.set(Thresholds { slowlog_us: None, ..Thresholds::default() });
        assert!(!watch.is_slow(u64::MAX - 1));
    }

    #[test]
    fn a_scripts_slow_commands_come_with_it_and_with_its_client() {
        let watch = Watch::default();
        let inner: [&[u8]; 2] = [b"keys", b"*"];
        let ticks = ticks::from_ns(50_000_000);
        for _ in 0..MOST_INNER + 5 {
            watch.note_inner(lookup(&inner).unwrap(), &inner, ticks);
        }
        note(&watch, "keys *", 50);
        assert_eq!(watch.slowlog.len(), 1, "whose script it is, is not known");
        note(&watch, "eval x 0", 60);
        let kept = watch.slowlog.newest(3);
        assert_eq!((&kept[0].args[0][..], &kept[1].args[0][..]), (&b"eval"[..], &b"keys"[..]));
        assert!(kept.iter().all(|entry| entry.addr == "a"));
        assert_eq!(watch.slowlog.len(), 128);
        watch.slowlog.reset();
        watch.note_inner(lookup(&inner).unwrap(), &inner, ticks);
        forget_inner();
        note(&watch, "eval x 0", 60);
        assert_eq!(watch.slowlog.len(), 1);
    }

    #[test]
    fn what_is_large_is_noted_by_its_size_as_resp() {
        let watch = Watch::default();
        let frame = b"*2\r\n$4\r\nECHO\r\n$4\r\ntext\r\n";
        let args: [&[u8]; 2] = [&frame[8..12], &frame[18..22]];
        assert_eq!(request_bytes(&args), frame.len() as u64);
        let spec = lookup(&args).unwrap();
        let note = |request, reply| {
            let thresholds =
                Thresholds { request_bytes: request, reply_bytes: reply, ..Thresholds::default() };
            watch.set(thresholds);
            if watch.may_be_large(&args, 10) {
                watch.note_large(spec, &args, 10, || Whose { addr: "a".into(), name: vec![] });
            }
            [Log::LargeRequest, Log::LargeReply].map(|log| watch.log(log).len())
        };
        assert_eq!(note(Some(25), Some(11)), [0, 0]);
        assert_eq!(note(Some(24), Some(11)), [1, 0]);
        assert_eq!(note(None, Some(10)), [1, 1]);
        assert_eq!(note(Some(0), Some(0)), [2, 2]);
        assert_eq!(note(None, None), [2, 2]);
        let sizes =
            [Log::LargeRequest, Log::LargeReply].map(|log| watch.log(log).newest(1)[0].value);
        assert_eq!(sizes, [24, 10]);
    }

    #[test]
    fn secrets_do_not_reach_the_slow_log() {
        let watch = Watch::default();
        for words in [
            "auth secret",
            "auth user secret",
            "hello 3 auth user secret",
            "config set timeout 1 requirepass secret",
        ] {
            note(&watch, words, 50);
        }
        for entry in watch.slowlog.newest(10) {
            assert!(!entry.args.contains(&b"secret".to_vec()), "{entry:?}");
        }
        assert_eq!(watch.slowlog.newest(1)[0].args[5], HIDDEN);
    }
}
