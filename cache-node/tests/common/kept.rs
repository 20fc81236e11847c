//! A member whose data directory outlives its process; numbers that look random and are told.

use std::path::{Path, PathBuf};

use super::{Member, Raw, free_port};

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// See the module.
pub struct Kept {
    pub member: Member,
    pub yaml: String,
    pub directory: PathBuf,
    env: Vec<(&'static str, &'static str)>,
    ports: [u16; 3],
    _temporary: Option<tempfile::TempDir>,
}

impl Kept {
    /// A member in a directory of its own; ready when this returns.
    pub fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &[])
    }

    /// As [`Self::start`], with variables of its environment.
    pub fn start_with(yaml: &str, env: &[(&'static str, &'static str)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut kept = Self::launched_in(temporary.path(), yaml, env);
        kept.member.wait_ready();
        kept._temporary = Some(temporary);
        kept
    }

    /// A member in a directory; ready when this returns.
    pub fn start_in(directory: &Path, yaml: &str) -> Self {
        let kept = Self::launched_in(directory, yaml, &[]);
        kept.member.wait_ready();
        kept
    }

    fn launched_in(directory: &Path, yaml: &str, env: &[(&'static str, &'static str)]) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let member = launch(yaml, ports, directory, env);
        let (yaml, directory, env) = (yaml.into(), directory.into(), env.into());
        Self { member, yaml, directory, env, ports, _temporary: None }
    }

    /// As [`Self::start_in`]; what it logged if it stops instead.
    pub fn try_start_in(directory: &Path, yaml: &str) -> Result<Self, String> {
        let kept = Self::launched_in(directory, yaml, &[]);
        let is_ready = kept.member.wait_for("ready, or an end", || {
            let is_ready = kept.member.http("GET /readyz").starts_with("HTTP/1.1 200");
            (is_ready || kept.member.log().contains("the member stops")).then_some(is_ready)
        });
        if is_ready { Ok(kept) } else { Err(kept.member.log()) }
    }

    /// Starts it again on the same directory, and waits for nothing.
    pub fn relaunch(&mut self) {
        self.member = launch(&self.yaml, self.ports, &self.directory, &self.env);
    }

    /// Starts it again on the same directory; ready when this returns.
    pub fn again(&mut self) {
        self.relaunch();
        self.member.wait_ready();
    }

    /// A connection to store 1.
    pub fn connect(&self) -> Raw {
        let mut client = self.member.raw();
        assert_eq!(client.ask(&[b"SELECT", b"1"]), b"+OK\r\n");
        client
    }

    /// The files under a directory of `durable/`, in the order of their names.
    pub fn files(&self, of: &str) -> Vec<PathBuf> {
        let directory = self.directory.join("durable").join(of);
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn launch(yaml: &str, ports: [u16; 3], directory: &Path, env: &[(&str, &str)]) -> Member {
    let flags = ["--data-dir", directory.to_str().unwrap()];
    Member::launch(yaml, env, ports[0], ports[1], ports[2], &flags)
}

/// Numbers from a seed (SplitMix64; Steele et al., OOPSLA 2014).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// From the environment's `HYPERCACHE_SEED`, or the time; printed, for the next time.
    pub fn seeded() -> Self {
        let given = std::env::var("HYPERCACHE_SEED").ok().and_then(|seed| seed.parse().ok());
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = given.unwrap_or_else(|| since.unwrap().as_nanos() as u64);
        eprintln!("HYPERCACHE_SEED={seed}");
        Self(seed)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// Another source of numbers.
    pub fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}
