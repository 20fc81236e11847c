//! Lua scripts: EVAL and its kin, and SCRIPT.
//!
//! | file | what it is about |
//! |---|---|
//! | `cache`, `header` | the scripts that this member knows; what a script's first line says |
//! | `session`, `current` | a script at work: the commands that it calls, and what it may |
//! | `limits` | how long a script may run, and what ends it |
//! | `vm/` | the interpreter, its sandbox, values and replies |
//! | `lib/` | Redis's libraries, in Rust |
//!
//! A script runs on the thread that its client's command came to, under the locks of the slots of its
//! keys. [Decision 14](../../docs/decisions/0014-scripts.md) says why.

mod cache;
mod current;
mod header;
mod lib;
pub mod limits;
mod session;
mod vm;

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hypercache_core::cluster::View;
use hypercache_core::command::{self, Flags, Run, ScriptBy, ShellCommand, Spec, Step};
use hypercache_core::keyspace::{Keyspace, Locked};
use hypercache_core::resp::{Protocol, Writer, parse_i64};
use hypercache_core::store::StoreNumber;
use parking_lot::Mutex;

use crate::server::stats::{Cell, Stats};
pub use cache::{Script, Sha, sha_named, sha_of};
pub use header::Header;
pub use limits::Killed;
use limits::Running;
pub use session::NOT_ALLOWED;
use session::Session;
use vm::Vm;
use vm::answer::Answer;

/// The stack of a thread that runs scripts: enough for what their libraries nest. Only what is used
/// of it takes memory.
pub const STACK_BYTES: usize = 16 << 20;

/// Redis's words for a script that nobody knows.
pub const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// Carries out commands of the server for a script.
pub trait Outside: Send + Sync {
    /// Runs a command and appends its reply.
    fn run(
        &self,
        spec: &'static Spec,
        command: ShellCommand,
        args: &[&[u8]],
        protocol: Protocol,
        reply: &mut Vec<u8>,
    );

    /// Hears of a command over all keys that a client's script has run, and of its reply.
    fn ran(&self, client: u64, spec: &'static Spec, args: &[&[u8]], reply: &[u8]);
}

/// What became of a command that runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluated {
    /// The reply is written.
    Done,
    /// A slot is not served here; nothing was done.
    NotServing,
    /// This member does not know a script of that digest; nothing was done.
    Unknown,
}

/// The scripts of one member, and what they may.
pub struct Scripts {
    cache: Mutex<cache::Cache>,
    running: Arc<Running>,
    time_limit_ms: AtomicU64,
    memory_bytes: usize,
    stats: Arc<Stats>,
    outside: OnceLock<Box<dyn Outside>>,
}

impl std::fmt::Debug for Scripts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripts").field("known", &self.cache.lock().len()).finish_non_exhaustive()
    }
}

/// What INFO says of scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// How many scripts are known.
    pub cached: usize,
    /// What they take, in bytes.
    pub bytes: usize,
    /// How many left to make room.
    pub evicted: u64,
}

thread_local! {
    static VM: RefCell<Option<Vm>> = const { RefCell::new(None) };
}

/// A command that runs a script.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The cluster's table.
    pub view: &'a View,
    /// A `Run::Script` command, its arity checked.
    pub spec: &'static Spec,
    /// The store that is selected.
    pub store: StoreNumber,
    /// Its name and arguments.
    pub args: &'a [&'a [u8]],
    /// The time, in Unix milliseconds.
    pub now_ms: u64,
    /// The number of the client that asks; 0: none of this member.
    pub client: u64,
}

/// The same, with its parts.
struct Call<'a> {
    asked: Asked<'a>,
    script: Arc<Script>,
    keys: &'a [&'a [u8]],
    args: &'a [&'a [u8]],
    read_only: bool,
}

impl Scripts {
    /// No scripts yet. Each may run for `time_limit_ms`, and take `memory_bytes`.
    pub fn new(time_limit_ms: u64, memory_bytes: usize, stats: Arc<Stats>) -> Self {
        Self {
            cache: Mutex::default(),
            running: Arc::default(),
            time_limit_ms: AtomicU64::new(time_limit_ms),
            memory_bytes,
            stats,
            outside: OnceLock::new(),
        }
    }

    /// Says who carries out commands of the server for scripts; the first to say so does.
    pub fn set_outside(&self, outside: Box<dyn Outside>) {
        let _ = self.outside.set(outside);
    }

    /// How long a script may run, in milliseconds.
    pub fn time_limit_ms(&self) -> u64 {
        self.time_limit_ms.load(Relaxed)
    }

    /// Changes how long scripts that begin from now on may run.
    pub fn set_time_limit_ms(&self, limit_ms: u64) {
        self.time_limit_ms.store(limit_ms, Relaxed);
    }

    /// Whether a script runs that may keep its slots locked for long.
    #[inline]
    pub fn is_any_long(&self) -> bool {
        self.running.is_long()
    }

    /// SCRIPT KILL on this member.
    pub fn kill(&self) -> Killed {
        self.running.kill()
    }

    /// What there is to know about the cache.
    pub fn facts(&self) -> Facts {
        let cache = self.cache.lock();
        Facts { cached: cache.len(), bytes: cache.bytes(), evicted: cache.evicted }
    }

    /// The script of a digest, if this member knows it.
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.cache.lock().get(sha)
    }

    /// Takes in a script to stay, for SCRIPT LOAD; gives its digest in hex.
    ///
    /// # Errors
    /// Redis's error: it cannot be compiled, or there are too many.
    pub fn load(&self, text: &[u8]) -> Result<String, String> {
        let script = Arc::new(self.new_script(text, sha_of(text))?);
        let hex = script.hex();
        self.with_vm(|vm| vm.check(&text[script.header.len..]))??;
        self.cache.lock().load(script)?;
        Ok(hex)
    }

    /// Takes in a script that another member knows: it may leave again.
    ///
    /// # Errors
    /// Redis's words for what is wrong with it.
    pub fn adopt(&self, text: &[u8]) -> Result<Arc<Script>, String> {
        let script = Arc::new(self.new_script(text, sha_of(text))?);
        Ok(self.cache.lock().evaluated(script))
    }

    /// Forgets all scripts.
    pub fn flush(&self) {
        self.cache.lock().flush();
    }

    fn new_script(&self, text: &[u8], sha: Sha) -> Result<Script, String> {
        if text.len() > self.memory_bytes {
            return Err("ERR the script is larger than script.memory_limit".into());
        }
        Script::new(text, sha)
    }

    /// Lends this thread's interpreter, made when it is first needed.
    fn with_vm<R>(&self, run: impl FnOnce(&mut Vm) -> R) -> Result<R, String> {
        VM.with_borrow_mut(|slot| {
            let vm = match slot.take_if(|vm| vm.memory_bytes() == self.memory_bytes) {
                Some(vm) => slot.insert(vm),
                None => {
                    let made = Vm::new(self.memory_bytes)
                        .map_err(|error| format!("ERR no interpreter can be made: {error}"))?;
                    slot.insert(made)
                }
            };
            Ok(run(vm))
        })
    }

    /// The parts of a command that runs a script; `None` if it names one that is not known here.
    ///
    /// # Errors
    /// Redis's error for what is wrong with it.
    fn call<'a>(&self, vm: &mut Vm, asked: Asked<'a>) -> Result<Option<Call<'a>>, String> {
        let Asked { spec, args, now_ms, .. } = asked;
        let Run::Script(by) = spec.run else {
            return Err("ERR this command runs no script".into());
        };
        let [_, named, count, rest @ ..] = args else {
            return Err(format!("ERR wrong number of arguments for '{}' command", spec.name));
        };
        let Some(count) = parse_i64(count) else {
            return Err("ERR value is not an integer or out of range".into());
        };
        let Ok(count) = usize::try_from(count) else {
            return Err("ERR Number of keys can't be negative".into());
        };
        let Some((keys, rest)) = rest.split_at_checked(count) else {
            return Err("ERR Number of keys can't be greater than number of args".into());
        };
        let sha = match by {
            ScriptBy::Text => Some(sha_of(named)),
            ScriptBy::Sha => sha_named(named),
        };
        let Some(sha) = sha else { return Err(NO_SCRIPT.into()) };
        let script = match vm.known(&sha) {
            Some(script) => script,
            None => {
                let known = self.cache.lock().get(&sha);
                let script = match (known, by) {
                    (Some(script), _) => script,
                    (None, ScriptBy::Text) => Arc::new(self.new_script(named, sha)?),
                    (None, ScriptBy::Sha) => return Ok(None),
                };
                vm.compile(&script)?;
                script.use_at(now_ms);
                self.cache.lock().evaluated(script)
            }
        };
        script.use_at(now_ms);
        let read_only = spec.flags.contains(Flags::READONLY);
        Ok(Some(Call { asked, script, keys, args: rest, read_only }))
    }

    /// Runs a `Run::Script` command whose keys are all here, and appends its reply.
    pub fn evaluate(
        &self,
        keyspace: &Keyspace,
        asked: Asked<'_>,
        out: &mut Writer<'_>,
    ) -> Evaluated {
        let evaluated = self.with_vm(|vm| {
            let call = match self.call(vm, asked) {
                Ok(Some(call)) => call,
                Ok(None) => return Ok(Evaluated::Unknown),
                Err(text) => return Err(text),
            };
            let grows = !call.read_only && !call.script.header.no_writes;
            let Asked { store, now_ms, .. } = asked;
            let ran = keyspace.with_script(store, call.keys, grows, now_ms, |locked| {
                self.begin(vm, &call, locked, out);
            });
            vm.settle();
            Ok(if ran.is_ok() { Evaluated::Done } else { Evaluated::NotServing })
        });
        match evaluated {
            Ok(Ok(evaluated)) => evaluated,
            Ok(Err(text)) | Err(text) => {
                out.error(&text);
                Evaluated::Done
            }
        }
    }

    /// Runs a script, all slots of its keys locked.
    fn begin(&self, vm: &mut Vm, call: &Call<'_>, locked: &mut Locked<'_>, out: &mut Writer<'_>) {
        let Asked { view, store, now_ms, client, .. } = call.asked;
        let header = call.script.header;
        if header.no_cluster && view.state.members.len() > 1 {
            return out.error("ERR Can not run script on cluster, 'no-cluster' flag is set.");
        }
        let first = call.keys.first().copied().unwrap_or_default();
        let out_of_memory = std::iter::once(first)
            .chain(call.keys.iter().skip(1).copied())
            .any(|key| locked.is_over_budget(store, key));
        if out_of_memory && header.present && !header.allow_oom && !header.no_writes {
            return out.error(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > \
                 'maxmemory'",
            );
        }
        if call.read_only && header.present && !header.no_writes {
            return out.error("ERR Can not execute a script with write flag using *_ro command.");
        }
        let mut session = Session {
            view,
            locked,
            header,
            read_only: call.read_only,
            out_of_memory,
            store,
            protocol: Protocol::Resp2,
            stats: &self.stats,
            outside: self.outside.get().map(Box::as_ref),
            now_ms,
            client,
        };
        session.locked.set_for_script(true);
        let limit = Duration::from_millis(self.time_limit_ms());
        let run = limits::begin(&self.running, limit);
        let called = current::within(&mut session, || vm.run(&call.script, call.keys, call.args));
        session.locked.set_for_script(false);
        let spoken = session.protocol;
        match called {
            Ok(called) => Answer::new(out, spoken, self.memory_bytes).write(&call.script, &called),
            Err(text) => out.error(&text),
        }
        if let Some(why) = limits::stopped() {
            tracing::warn!(action = "script-stopped", script = call.script.hex(), "{why}");
        }
        drop(run);
    }

    /// For a transaction of that client's that runs on this member.
    pub fn inside<'a>(&'a self, view: &'a View, client: u64) -> Inside<'a> {
        Inside { scripts: self, view, client }
    }

    /// The counters of what runs outside the I/O loops.
    pub fn cell(&self) -> &Cell {
        self.stats.shared()
    }
}

/// Runs the scripts of transactions.
pub struct Inside<'a> {
    scripts: &'a Scripts,
    view: &'a View,
    client: u64,
}

impl command::Scripts for Inside<'_> {
    fn run_script(&self, step: &Step<'_>, locked: &mut Locked<'_>, out: &mut Vec<u8>) {
        let out = &mut Writer::new(out, step.protocol);
        let asked = Asked {
            view: self.view,
            spec: step.spec,
            store: step.store,
            args: &step.args,
            now_ms: locked.now_ms(),
            client: self.client,
        };
        let ran = self.scripts.with_vm(|vm| {
            match self.scripts.call(vm, asked)? {
                Some(call) => self.scripts.begin(vm, &call, locked, out),
                None => out.error(NO_SCRIPT),
            }
            vm.settle();
            Ok::<_, String>(())
        });
        if let Ok(Err(text)) | Err(text) = ran {
            out.error(&text);
        }
    }
}
