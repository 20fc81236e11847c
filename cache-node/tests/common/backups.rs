//! Backups of a member, by the command line as people use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::kept::Kept;

/// What the command printed, or its error.
pub fn command(args: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercache"));
    command.arg("backup").args(args).envs(env.iter().copied()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Makes a backup of a member; what it tells of it.
pub fn create(kept: &Kept) -> serde_json::Value {
    let url = format!("http://127.0.0.1:{}", kept.member.http_port);
    let made = command(&["create", "--member", &url, "--json"], &[]);
    let made = made.unwrap_or_else(|error| panic!("{error}; {}", kept.member.log()));
    serde_json::from_str(&made).unwrap()
}

/// All files below a directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// A member on what was restored.
pub fn member_on(directory: &Path) -> Kept {
    let yaml = "stores:\n  s: {number: 1, persistence: {mode: aof, fsync: always}}\n";
    Kept::start_in(directory, yaml)
}
