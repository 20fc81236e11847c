//! A cluster of member processes that can be killed, paused, cut off, filled up and scaled.

use super::world::{self, Net, shell};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long the cluster may take to be whole after the last fault.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where a member is reached.
#[derive(Debug, Clone)]
pub struct At {
    pub host: String,
    pub resp: u16,
    pub http: u16,
    pub gossip: u16,
}

/// Members as processes; ended with this value.
pub struct Nodes {
    net: Net,
    pub at: Vec<At>,
    processes: Vec<Option<Child>>,
    /// Whose process is started again if it ends by itself.
    kept: BTreeSet<usize>,
    data: tempfile::TempDir,
    join: String,
    founders: usize,
    generation: u64,
    /// Who was told to leave, and is not asked.
    leaving: Vec<usize>,
}

impl Nodes {
    /// Room for `places` members, of which the first `founders` are started and make the cluster.
    /// `yaml` is each member's configuration.
    pub fn start(net: Net, places: usize, founders: usize, yaml: &str) -> Self {
        let at: Vec<At> = (0..places).map(|i| place(net, i)).collect();
        if net == Net::Namespaces {
            world::wire(places);
        }
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("config.yaml"), yaml).unwrap();
        let join = at[..founders].iter().map(|at| format!("{}:{}", at.host, at.gossip));
        let join = join.collect::<Vec<_>>().join(",");
        let processes = (0..places).map(|_| None).collect();
        let mut nodes = Self {
            net,
            at,
            processes,
            kept: BTreeSet::new(),
            data,
            join,
            founders,
            generation: 1,
            leaving: Vec::new(),
        };
        for i in 0..places {
            nodes.make_disk(i);
        }
        (0..founders).for_each(|i| nodes.launch(i));
        nodes.wait("a cluster", |status| {
            let alive = members(status).filter(|member| member["state"] == "alive").count();
            alive == founders && status["fully_replicated"] == true
        });
        nodes
    }

    /// Its disk is a small one, where we may have one.
    fn make_disk(&self, i: usize) {
        let directory = self.directory(i);
        std::fs::create_dir_all(&directory).unwrap();
        if self.net == Net::Namespaces {
            shell(&format!("mount -t tmpfs -o size=96m none {}", directory.display()));
        }
    }

    fn directory(&self, i: usize) -> PathBuf {
        self.data.path().join(format!("m{i}"))
    }

    /// How members reach each other.
    pub fn net(&self) -> Net {
        self.net
    }

    /// Starts member `i`, which must not run, and waits for nothing.
    pub fn launch(&mut self, i: usize) {
        assert!(self.processes[i].is_none(), "m-{i} runs");
        let at = &self.at[i];
        let mut command = match self.net {
            Net::Namespaces => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/m{i}")).arg(program());
                command
            }
            Net::Loopback => Command::new(program()),
        };
        let founders = if i < self.founders { self.founders } else { 0 };
        command
            .args(["server", "--threads", "1", "--bind", &at.host])
            .args(["--node-id", &format!("m-{i}"), "--join", &self.join])
            .args(["--resp-port", &at.resp.to_string(), "--http-port", &at.http.to_string()])
            .args(["--gossip-port", &at.gossip.to_string()])
            .args(["--bootstrap-members", &founders.to_string()])
            .arg("--config")
            .arg(self.data.path().join("config.yaml"))
            .arg("--data-dir")
            .arg(self.directory(i).join("data"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path(i));
        let log = log.unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes[i] = Some(command.spawn().unwrap());
        self.kept.insert(i);
    }

    fn log_path(&self, i: usize) -> PathBuf {
        self.data.path().join(format!("m{i}.log"))
    }

    /// Ends the process of `i` at once, if it runs.
    pub fn kill(&mut self, i: usize) {
        self.kept.remove(&i);
        if let Some(mut process) = self.processes[i].take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Whether the process of `i` runs; one that ended by itself is let go.
    pub fn runs(&mut self, i: usize) -> bool {
        let ended = self.processes[i].as_mut().is_none_or(|p| p.try_wait().unwrap().is_some());
        if ended {
            self.processes[i] = None;
        }
        !ended
    }

    /// Who runs.
    pub fn running(&mut self) -> Vec<usize> {
        (0..self.at.len()).filter(|i| self.runs(*i)).collect()
    }

    /// Starts again who ended by itself, as whatever runs members would.
    fn start_ended(&mut self) {
        for i in self.kept.clone() {
            if !self.runs(i) {
                println!("  m-{i} ended by itself, and is started again");
                self.launch(i);
            }
        }
    }

    /// Who runs and is to stay.
    fn asked(&mut self) -> Vec<usize> {
        let leaving = self.leaving.clone();
        self.running().into_iter().filter(|i| !leaving.contains(i)).collect()
    }

    /// Forgets what `i`, which must not run, had on its disk.
    pub fn wipe(&mut self, i: usize) {
        assert!(!self.runs(i), "m-{i} runs");
        let _ = std::fs::remove_dir_all(self.directory(i).join("data"));
    }

    /// Stops the process of `i` where it is, or lets it go on.
    pub fn pause(&self, i: usize, stop: bool) {
        let Some(process) = &self.processes[i] else { return };
        let signal = if stop { "-STOP" } else { "-CONT" };
        let done = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    /// Leaves no room on the disk of `i`, or gives it back.
    pub fn fill_disk(&self, i: usize, full: bool) {
        if self.net == Net::Loopback {
            return;
        }
        let filler = self.directory(i).join("filler");
        if !full {
            let _ = std::fs::remove_file(filler);
            return;
        }
        let mut file = std::fs::File::create(filler).unwrap();
        for size in [1 << 20, 1 << 12] {
            while file.write(&vec![0; size]).is_ok_and(|n| n == size) {}
        }
    }

    /// What member `i` says of the cluster.
    pub fn status(&self, i: usize) -> Option<Value> {
        serde_json::from_str(&self.http(i, "GET", "/api/admin/cluster", "")?).ok()
    }

    /// The body of an answer of 200, within two seconds.
    pub fn http(&self, i: usize, method: &str, path: &str, body: &str) -> Option<String> {
        let at = &self.at[i];
        let limit = Duration::from_secs(2);
        let address = format!("{}:{}", at.host, at.http).parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
        stream.set_read_timeout(Some(limit)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// Waits until all who run and belong to the cluster say so of it; panics with what they said last.
    pub fn wait(&mut self, what: &str, holds: impl Fn(&Value) -> bool) {
        self.wait_for(what, PATIENCE, holds).unwrap_or_else(|said| panic!("{said}"));
    }

    /// As [`Self::wait`]; an error that says what the members said.
    pub fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            self.start_ended();
            let said: Vec<_> = self.asked().into_iter().map(|i| (i, self.status(i))).collect();
            let whole = |status: &Option<Value>| {
                status.as_ref().is_some_and(|status| status["quorum"] == true && holds(status))
            };
            if !said.is_empty() && said.iter().all(|(_, status)| whole(status)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let said = said.iter().map(|(i, status)| format!("m-{i}: {}\n", brief(status)));
                let said: String = said.collect();
                return Err(format!("not within {patience:?}: {what}\n{said}{}", self.logs(60)));
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Every member has what it should, and nothing is on its way.
    pub fn settled(status: &Value) -> bool {
        status["fully_replicated"] == true
            && members(status).all(|member| member["state"] == "alive")
    }

    /// Wants these members and no others.
    pub fn desire(&mut self, wanted: &[usize]) -> Result<(), String> {
        let generation = self.generation;
        self.generation += 1;
        self.leaving = (0..self.at.len()).filter(|i| !wanted.contains(i)).collect();
        let names: Vec<String> = wanted.iter().map(|i| format!("m-{i}")).collect();
        let body = serde_json::json!({"generation": generation, "members": names, "stores": []});
        self.tell("PUT", "/api/admin/desired", &body.to_string())
    }

    /// Tells the cluster something, through any member that takes it.
    pub fn tell(&mut self, method: &str, path: &str, body: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for i in self.running() {
                if self.http(i, method, path, body).is_some() {
                    return Ok(());
                }
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Err(format!("nobody took {body} at {path}"))
    }

    /// The last lines of every member's log.
    pub fn logs(&self, lines: usize) -> String {
        let mut all = String::new();
        for i in 0..self.at.len() {
            let text = std::fs::read_to_string(self.log_path(i)).unwrap_or_default();
            let from = text.lines().count().saturating_sub(lines);
            all += &format!("---- the log of m-{i}\n");
            text.lines().skip(from).for_each(|line| all += &format!("{line}\n"));
        }
        all
    }

    /// Copies the logs to a directory that stays.
    pub fn keep_logs(&self, directory: &Path) {
        for i in 0..self.at.len() {
            let _ = std::fs::copy(self.log_path(i), directory.join(format!("m{i}.log")));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        (0..self.at.len()).for_each(|i| self.kill(i));
        if self.net == Net::Namespaces {
            for i in 0..self.at.len() {
                shell(&format!("umount {}", self.directory(i).display()));
            }
            world::unwire(self.at.len());
        }
    }
}

/// The members that a status lists.
pub fn members(status: &Value) -> impl Iterator<Item = &Value> {
    status["members"].as_array().into_iter().flatten()
}

fn program() -> String {
    std::env::var("HISTORY_HYPERCACHE").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hypercache").into())
}

fn place(net: Net, i: usize) -> At {
    if net == Net::Namespaces {
        return At { host: world::address(i), resp: 8080, http: 9080, gossip: 7946 };
    }
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = || loop {
        let base = 10_000 + (std::process::id() % 200) as u16 * 100;
        let port = base + NEXT.fetch_add(1, Relaxed) % 2000;
        let here = ("127.0.0.1", port);
        if std::net::TcpListener::bind(here).is_ok() && std::net::UdpSocket::bind(here).is_ok() {
            return port;
        }
    };
    At { host: "127.0.0.1".into(), resp: free(), http: free(), gossip: free() }
}

/// A status in one line.
fn brief(status: &Option<Value>) -> String {
    let Some(status) = status else { return "no answer".into() };
    let members = members(status).map(|m| {
        format!("{} {} {} {}", m["name"], m["role"], m["state"], m["slots"]).replace('"', "")
    });
    let members: Vec<String> = members.collect();
    format!(
        "epoch {} quorum {} leader {} fully_replicated {} ring {} members {members:?} problems {}",
        status["epoch"],
        status["quorum"],
        status["leader"],
        status["fully_replicated"],
        status["ring"],
        status["problems"]
    )
}
