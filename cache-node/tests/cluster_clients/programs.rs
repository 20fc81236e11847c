//! The programs of `e2e/clients`, made ready here and run as processes of their own.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a program may take for what it was asked.
const PATIENCE: Duration = Duration::from_secs(240);
/// How many workers each program has.
const WORKERS: &str = "3";

/// How a client library is run, or why it cannot be here.
pub type Ready = Result<Vec<String>, String>;

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/clients").join(name)
}

/// Where what is installed stays for the next run.
fn installed(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// What a program tells of itself beside its answers; its library's log.
fn said_by(name: &str) -> PathBuf {
    installed("logs").join(name.replace(' ', "-"))
}

/// Whether a runtime is here; else why not.
fn has(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Runs what installs; it must succeed.
fn install(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Installs unless what is there was made from the same list.
fn once(directory: &Path, list: &Path, install: impl FnOnce()) {
    let (done, wanted) = (directory.join("installed-from"), std::fs::read(list).unwrap());
    if std::fs::read(&done).is_ok_and(|made_from| made_from == wanted) {
        return;
    }
    install();
    std::fs::write(done, wanted).unwrap();
}

/// redis-py, in an environment of its own.
pub fn python() -> Ready {
    has("python3", &["-c", "import venv, ensurepip"])?;
    let (directory, sources) = (installed("python"), sources("python"));
    let list = sources.join("requirements.txt");
    once(&directory, &list, || {
        install(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory));
        let mut pip = Command::new(directory.join("bin/python"));
        install(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(&list));
    });
    let program = [directory.join("bin/python"), sources.join("hc-python")];
    Ok(program.map(|path| path.display().to_string()).to_vec())
}

/// go-redis, built.
pub fn go() -> Ready {
    has("go", &["version"])?;
    let program = installed("go").join("hc-go");
    let mut build = Command::new("go");
    build.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&program).arg(".");
    install(build.current_dir(sources("go")).env("CGO_ENABLED", "0"));
    Ok(vec![program.display().to_string()])
}

/// ioredis, installed beside a copy of the program.
pub fn node() -> Ready {
    let is_new_enough = "process.exit(process.versions.node.split('.')[0] >= 18 ? 0 : 1)";
    has("node", &["--eval", is_new_enough])?;
    has("npm", &["--version"])?;
    let (directory, sources) = (installed("node"), sources("node"));
    for name in ["hc-node.js", "package.json", "package-lock.json"] {
        std::fs::copy(sources.join(name), directory.join(name)).unwrap();
    }
    once(&directory, &sources.join("package-lock.json"), || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"]);
        install(npm.current_dir(&directory));
    });
    Ok(vec!["node".into(), directory.join("hc-node.js").display().to_string()])
}

/// What a program tells of the time since it was asked before.
#[derive(Debug, Default, Deserialize)]
pub struct Phase {
    pub written: u64,
    /// What the library gave its user as an error, and how often.
    pub errors: BTreeMap<String, u64>,
    /// From the first error to the last.
    pub errors_ms: u64,
    /// How often a counter went up by more than it was asked to.
    pub twice: u64,
    /// What took longest.
    pub longest_ms: u64,
    /// Whether all workers got through all their keys again.
    pub clean: bool,
}

/// What a program tells at its end.
#[derive(Debug, Deserialize)]
pub struct End {
    pub client: String,
    pub version: String,
    /// Writes that were acknowledged.
    pub count: u64,
    /// Of these, how many were not there, and values that nobody wrote.
    pub wrong: u64,
    #[serde(default)]
    pub first: String,
}

/// A program that works.
pub struct Program {
    pub name: &'static str,
    process: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
}

impl Program {
    /// Begins to work, at this port. `mode` is `plain` or `cluster`.
    pub fn start(name: &'static str, command: &[String], mode: &str, port: u16) -> Self {
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .args([mode, "work", &format!("127.0.0.1:{port}"), WORKERS, name])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(said_by(name)).unwrap())
            .spawn()
            .unwrap();
        let (sender, output) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { name, input: process.stdin.take(), process, output }
    }

    /// Asks what happened since the last question; the answer comes when all goes well again, or after
    /// so many seconds.
    pub fn ask(&mut self, seconds: u32) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{seconds}").and_then(|()| input.flush()).unwrap();
    }

    fn line(&self) -> String {
        self.output.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let said = std::fs::read_to_string(said_by(self.name)).unwrap_or_default();
            let from = said.lines().count().saturating_sub(20);
            let said: Vec<&str> = said.lines().skip(from).collect();
            panic!("{}: nothing within {PATIENCE:?}: {error}\n{}", self.name, said.join("\n"))
        })
    }

    /// The answer to the question.
    pub fn answer(&self) -> Phase {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }

    /// Ends its work and lets it look at all it was promised.
    pub fn end(mut self) -> End {
        drop(self.input.take());
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
