//! A real `hypercache server` on free loopback ports, and a client that speaks bytes.

#![allow(dead_code, reason = "each test crate uses a part")]

pub mod backups;
pub mod cluster;
pub mod kept;
pub mod otlp;
pub mod redis;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hypercache_core::resp::reply_len;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A port that is free. Below those that the system gives to connections, which could take it before
/// the member does; another one at each call.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 200) as u16 * 100;
    loop {
        let port = base + NEXT.fetch_add(1, Relaxed) % 2000;
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok()
            && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if free {
            return port;
        }
    }
}

/// Waits until `condition` gives something, and says what it waited for if it does not.
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    try_for(condition).unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// As [`wait_for`]; `None` if it does not come.
pub fn try_for<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        if let Some(found) = condition() {
            return Some(found);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    None
}

/// A member that runs as a process of its own, ended with this value. `TEST_HYPERCACHE` names another build.
pub struct Member {
    process: Child,
    pub resp_port: u16,
    pub http_port: u16,
    pub gossip_port: u16,
    directory: tempfile::TempDir,
}

impl Member {
    /// A member alone, without a file; ready when this returns.
    pub fn start(env: &[(&str, &str)]) -> Self {
        Self::start_with("", env)
    }

    /// A member alone, with a configuration file; ready when this returns.
    pub fn start_with(yaml: &str, env: &[(&str, &str)]) -> Self {
        let member = Self::launch(yaml, env, free_port(), free_port(), free_port(), &[]);
        member.wait_ready();
        member
    }

    /// Starts a process and waits for nothing.
    pub fn launch(
        yaml: &str,
        env: &[(&str, &str)],
        resp_port: u16,
        http_port: u16,
        gossip_port: u16,
        flags: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, yaml).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let program = std::env::var("TEST_HYPERCACHE");
        let mut command =
            Command::new(program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_hypercache")));
        command
            .args(["server", "--threads", "2", "--resp-port", &resp_port.to_string()])
            .args([
                "--http-port",
                &http_port.to_string(),
                "--gossip-port",
                &gossip_port.to_string(),
            ])
            .args(flags)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if !yaml.is_empty() {
            command.arg("--config").arg(&file);
        }
        Self { process: command.spawn().unwrap(), resp_port, http_port, gossip_port, directory }
    }

    /// Waits until the member says that it is ready.
    pub fn wait_ready(&self) {
        self.wait_for("ready", || {
            self.http("GET /readyz").starts_with("HTTP/1.1 200").then_some(())
        });
    }

    /// As [`wait_for`], and shows the member's log if it does not come.
    pub fn wait_for<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        let found = try_for(condition);
        found.unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}; its log:\n{}", self.log()))
    }

    /// The reply to a request without a body; empty while nobody listens.
    pub fn http(&self, request: &str) -> String {
        self.http_with(request, "")
    }

    /// What `/metrics` tells in OpenMetrics.
    pub fn open_metrics(&self) -> String {
        let accept = "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
        self.http_with("GET /metrics", accept)
    }

    /// The reply to a request with these headers, each with the end of its line.
    pub fn http_with(&self, request: &str, headers: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.http_port)) else {
            return String::new();
        };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = write!(
            stream,
            "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"
        );
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// What it says of the cluster; null: nothing.
    pub fn status(&self) -> serde_json::Value {
        let reply = self.http("GET /api/admin/cluster");
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or(serde_json::Value::Null)
    }

    /// The reply to a request with a JSON body.
    pub fn http_json(&self, request: &str, body: &str) -> String {
        let head = format!(
            "{request} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json"
        );
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.http_port)) else {
            return String::new();
        };
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// What the member has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A new connection.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.resp_port)
    }

    /// The memory that the process holds.
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Nothing of the process runs until [`Self::resume`].
    pub fn pause(&self) {
        self.signal("STOP");
        // Each thread stops when it is its turn, and answers until then.
        let tasks = format!("/proc/{}/task", self.process.id());
        wait_for("a process that stands still", || {
            let stands = |task: std::io::Result<std::fs::DirEntry>| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
                // The state follows the name, which is in brackets.
                stat.is_ok_and(|stat| stat.rsplit(") ").next().unwrap().starts_with('T'))
            };
            std::fs::read_dir(&tasks).unwrap().all(stands).then_some(())
        });
    }

    /// The process runs again.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Asks the process to end and gives its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        self.wait_end()
    }

    /// Waits for the end of the process and gives its exit code.
    pub fn wait_end(&mut self) -> Option<i32> {
        wait_for("the end of the process", || self.process.try_wait().unwrap()).code()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection that sends and reads bytes.
pub struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Raw {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = wait_for("a connection", || TcpStream::connect(("127.0.0.1", port)).ok());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, input: Vec::new() }
    }

    /// Where the server sees it come from.
    pub fn address(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    /// A command as a frame.
    pub fn encode(args: &[&[u8]]) -> Vec<u8> {
        let mut out = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            out.extend_from_slice(arg);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a command.
    pub fn command(&mut self, args: &[&[u8]]) {
        self.send(&Self::encode(args));
    }

    /// Reads bytes that must be these.
    pub fn expect(&mut self, wanted: &[u8]) {
        while self.input.len() < wanted.len() && self.fill() {}
        let got: Vec<u8> = self.input.drain(..wanted.len().min(self.input.len())).collect();
        assert!(got == wanted, "{} instead of {}", short(&got), short(wanted));
    }

    /// Reads one whole reply.
    pub fn reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(len) = reply_len(&self.input).unwrap() {
                return self.input.drain(..len).collect();
            }
            assert!(self.fill(), "the connection ended within {}", short(&self.input));
        }
    }

    /// One command, one reply.
    pub fn ask(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.command(args);
        self.reply()
    }

    /// Whether the server ends the connection without another byte.
    pub fn ended(&mut self) -> bool {
        self.input.is_empty() && !self.fill()
    }

    /// As [`Self::send`]; false if the connection has ended.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// As [`Self::reply`]; `None` if the connection ended before it was whole.
    pub fn try_reply(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(len) = reply_len(&self.input).unwrap() {
                return Some(self.input.drain(..len).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut part = vec![0; 1 << 16];
        match self.stream.read(&mut part) {
            Ok(n) => {
                self.input.extend_from_slice(&part[..n]);
                n > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            // The machine was stopped for a while, and goes on.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.fill(),
            Err(error) => panic!("{error}, after {}", short(&self.input)),
        }
    }
}

fn short(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(300)].escape_ascii().to_string()
}
