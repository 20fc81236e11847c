//! Clients that write for as long as something is done to a cluster. What was acknowledged is
//! noted here, in the test's process, outside the cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use crate::client::Client;
use crate::wait::until;

/// The longest that writers run, whatever becomes of the test.
const MOST_SECONDS: &str = "280";
/// The longest that it may take until more writes are acknowledged.
const MORE_SECONDS: u64 = 60;

/// Six clients, each on a connection through the Service. Every other write is of a new key; the
/// others go round some keys, and read back what they wrote. An error is tried once more after 25 ms (the
/// connections to a process that dies are reset one after the other, and who is asked sooner may pass the request on over
/// one that is not yet): on the same connection, or where that broke on a new one (a connection that does not come
/// about is counted, and tried again). A line a finding:
/// `A key value writer ms` acknowledged, `T key value` not known, `E ms text` an error,
/// `R ms text` one that a retry did not cure, `C ms text` no connection, `W ms text` a wrong answer.
const WRITE: &str = r#"
import sys, threading, time, redis
from redis.backoff import NoBackoff
from redis.retry import Retry
host, db, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
began, stop, lines, lock = time.monotonic(), threading.Event(), [], threading.Lock()
def ms():
    return int((time.monotonic() - began) * 1000)
def note(*words):
    with lock:
        lines.append(" ".join(str(w) for w in words))
def connect():
    while not stop.is_set():
        try:
            c = redis.Connection(host=host, port=8080, db=db, socket_timeout=5, socket_connect_timeout=1,
                                 decode_responses=True, retry=Retry(NoBackoff(), 0))
            c.connect()
            return c
        except Exception as e:
            note("C", ms(), type(e).__name__, e)
            time.sleep(0.05)
    return None
def ask(state, *command):
    for attempt in "ER":
        if state[0] is None:
            state[0] = connect()
            if state[0] is None:
                return None
        try:
            state[0].send_command(*command)
            return state[0].read_response()
        except redis.ResponseError as e:
            note(attempt, ms(), "reply", command[0], command[1], e)
        except Exception as e:
            note(attempt, ms(), type(e).__name__, command[0], command[1], e)
            try:
                state[0].disconnect()
            except Exception:
                pass
            state[0] = None
        time.sleep(0.025)
    return None
def write(writer):
    state, i = [None], 0
    while not stop.is_set():
        i += 1
        key = f"new:{run}:{writer}:{i}" if i % 2 else f"again:{run}:{writer}:{i % 200}"
        note("T", key, i)
        if ask(state, "SET", key, i) == "OK":
            note("A", key, i, writer, ms())
            if not i % 2:
                got = ask(state, "GET", key)
                if got is not None and got != str(i):
                    note("W", ms(), f"{key} is {got} and not {i}")
        time.sleep(0.003)
def tell():
    while True:
        time.sleep(0.02)
        with lock:
            some, lines[:] = list(lines), []
        if some:
            sys.stdout.write("\n".join(some) + "\n")
            sys.stdout.flush()
        if stop.is_set() and not some and not any(w.is_alive() for w in writers):
            return
writers = [threading.Thread(target=write, args=(w,), daemon=True) for w in range(6)]
[w.start() for w in writers]
teller = threading.Thread(target=tell)
teller.start()
sys.stdin.read()
stop.set()
"#;

/// Reads all of it through the Service. A line a key that is lost or too old.
const CHECK: &str = r#"
import itertools, sys, redis
client = redis.Redis(host=sys.argv[1], port=8080, db=int(sys.argv[2]), decode_responses=True, socket_timeout=10)
count = 0
while some := [line.split() for line in itertools.islice(sys.stdin, 1000)]:
    with client.pipeline(transaction=False) as asked:
        for key, _, _ in some:
            asked.get(key)
        for (key, acknowledged, tried), got in zip(some, asked.execute()):
            count += 1
            if got is None or not int(acknowledged) <= int(got) <= int(tried):
                print("wrong", key, "is", got, "of", acknowledged, "to", tried)
print("checked", count)
"#;

/// Writers at work.
#[derive(Debug)]
pub struct Writers {
    child: Child,
    stop: Option<ChildStdin>,
    noted: Arc<Mutex<Noted>>,
    reading: JoinHandle<()>,
}

/// What writers met.
#[derive(Debug, Default, Clone)]
pub struct Noted {
    /// The acknowledged writes.
    pub acknowledged: usize,
    /// Each key: the last value that was acknowledged, and the last that may be there.
    pub keys: BTreeMap<String, (u64, u64)>,
    /// Errors that one retry cured.
    pub errors: Vec<String>,
    /// Errors that one retry did not cure.
    pub uncured: Vec<String>,
    /// Answers that were wrong.
    pub wrong: Vec<String>,
    /// Connections that did not come about.
    pub unconnected: Vec<String>,
    /// When each write was acknowledged, and to which writer.
    times_ms: Vec<(u64, u64)>,
}

impl Noted {
    fn line(&mut self, line: &str) {
        let Some((kind, rest)) = line.split_once(' ') else { return };
        let words: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        match (kind, words.first(), number(1)) {
            ("T", Some(key), Some(value)) => {
                self.keys.entry((*key).to_owned()).or_default().1 = value;
            }
            ("A", Some(key), Some(value)) => {
                self.acknowledged += 1;
                self.keys.entry((*key).to_owned()).or_default().0 = value;
                self.times_ms.extend(number(3).zip(number(2)));
            }
            ("E", ..) => self.errors.push(rest.to_owned()),
            ("R", ..) => self.uncured.push(rest.to_owned()),
            ("W", ..) => self.wrong.push(rest.to_owned()),
            ("C", ..) => self.unconnected.push(rest.to_owned()),
            _ => {}
        }
    }

    /// The longest time in which nobody's write was acknowledged, and that of one writer.
    pub fn gaps_ms(&self) -> (u64, u64) {
        let longest = |mut times: Vec<u64>| {
            times.sort_unstable();
            times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
        };
        let mut writers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (time, writer) in &self.times_ms {
            writers.entry(*writer).or_default().push(*time);
        }
        let anybody = longest(self.times_ms.iter().map(|(time, _)| *time).collect());
        (anybody, writers.into_values().map(longest).max().unwrap_or(0))
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anybody, one) = self.gaps_ms();
        write!(
            f,
            "{} writes acknowledged, longest gap {anybody} ms (of one client {one} ms), {} errors cured by a retry, {} not, {} connections that did not come about",
            self.acknowledged,
            self.errors.len(),
            self.uncured.len(),
            self.unconnected.len(),
        )
    }
}

impl Client {
    /// Starts clients that write to store `db` at `host` until they are stopped. `run` keeps their
    /// keys apart from those of others.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn writers(&self, host: &str, db: u16, run: &str) -> Result<Writers> {
        let db = db.to_string();
        let mut child = Command::new("timeout")
            .args(["--kill-after=5", MOST_SECONDS, "kubectl", "--context", self.kube().context()])
            .args(["-n", self.namespace(), "exec", "-i", "client", "--"])
            .args(["timeout", MOST_SECONDS, "python3", "-c", WRITE, host, &db, run])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl cannot be run")?;
        let stop = child.stdin.take();
        let output = child.stdout.take().context("no output of the writers")?;
        let noted: Arc<Mutex<Noted>> = Arc::default();
        let notes = Arc::clone(&noted);
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                notes.lock().unwrap_or_else(PoisonError::into_inner).line(&line);
            }
        });
        Ok(Writers { child, stop, noted, reading })
    }

    /// Reads what writers noted, by way of `host`: the keys that are lost or too old.
    ///
    /// # Errors
    /// When not all could be read.
    pub fn lost(&self, host: &str, db: u16, noted: &Noted) -> Result<Vec<String>> {
        let acknowledged = noted.keys.iter().filter(|(_, (acknowledged, _))| *acknowledged > 0);
        let lines: Vec<String> =
            acknowledged.map(|(key, (least, most))| format!("{key} {least} {most}\n")).collect();
        let words = ["python3", "-c", CHECK, host, &db.to_string()];
        let printed = self.outcome_with(&words, &lines.concat())?.checked("the check")?;
        let expected = format!("checked {}", lines.len());
        if printed.lines().last() != Some(expected.as_str()) {
            bail!("the check ended with {:?} and not '{expected}'", printed.lines().last());
        }
        Ok(printed.lines().filter(|line| line.starts_with("wrong")).map(str::to_owned).collect())
    }
}

impl Writers {
    fn acknowledged(&self) -> usize {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).acknowledged
    }

    /// Waits until so many more writes are acknowledged.
    ///
    /// # Errors
    /// When they are not within a minute.
    pub fn more(&self, count: usize) -> Result<()> {
        let before = self.acknowledged();
        until(&format!("{count} more writes after {before}"), MORE_SECONDS, || {
            Ok(self.acknowledged() >= before + count)
        })
    }

    /// Ends the writers; what they met.
    ///
    /// # Errors
    /// When they ended before they were told to, or badly.
    pub fn stop(mut self) -> Result<Noted> {
        drop(self.stop.take());
        let status = self.child.wait().context("the writers cannot be waited for")?;
        if self.reading.join().is_err() {
            bail!("the notes of the writers could not be read");
        }
        let mut complaint = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut complaint)?;
        }
        if !status.success() {
            bail!("the writers ended with {status}: {}", complaint.trim());
        }
        Ok(self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_what_is_there_at_least_and_at_most_and_the_gaps() {
        let mut noted = Noted::default();
        for line in [
            "T new:a:0:1 1",
            "A new:a:0:1 1 0 10",
            "T again:a:0:2 2",
            "A again:a:0:2 2 0 40",
            "T again:a:0:2 202",
            "E 50 TimeoutError SET again:a:0:2 timed out",
            "R 60 reply SET again:a:0:2 NOREPLICAS",
            "A new:a:1:1 1 1 20",
            "A new:a:1:3 3 1 45",
            "C 70 TimeoutError no",
        ] {
            noted.line(line);
        }
        assert_eq!(noted.keys["again:a:0:2"], (2, 202));
        assert_eq!(noted.keys["new:a:0:1"], (1, 1));
        assert_eq!((noted.acknowledged, noted.errors.len(), noted.uncured.len()), (4, 1, 1));
        assert_eq!(noted.unconnected.len(), 1);
        assert_eq!(noted.gaps_ms(), (20, 30));
    }
}
