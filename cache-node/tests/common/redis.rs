//! A real redis-server, stopped when it goes out of scope.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Raw, free_port, wait_for};

/// See the module.
pub struct Redis {
    process: Child,
    pub port: u16,
}

impl Redis {
    /// One that begins with what an append-only file says; ready when this returns.
    pub fn from_aof(aof: &Path) -> Self {
        let directory = aof.parent().unwrap();
        let name = aof.file_name().unwrap().to_str().unwrap();
        Self::start(directory, &["--appendonly", "yes", "--appendfilename", name])
    }

    /// One in a directory; ready when this returns.
    pub fn start(directory: &Path, flags: &[&str]) -> Self {
        let port = free_port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", directory.to_str().unwrap(), "--daemonize", "no"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be on PATH for this test (Debian: redis-server)");
        let redis = Self { process, port };
        wait_for("redis-server has loaded", || {
            (redis.connect().ask(&[b"PING"]) == b"+PONG\r\n").then_some(())
        });
        redis
    }

    /// A connection to database 0.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
