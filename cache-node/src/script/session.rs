//! A script at work: the commands that it calls, and what it may.

use hypercache_core::cluster::{Slot, View, slot_of};
use hypercache_core::command::{self, Flags, Run, RunKeys, ShellCommand, Spec};
use hypercache_core::keyspace::Locked;
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::StoreNumber;

use super::current::Host;
use super::header::Header;
use super::{Outside, limits};
use crate::server::stats::{Stats, ticks, watch};

/// Valkey's words; `Err` gets them as a reply.
const EMPTY: &str = "ERR Please specify at least one argument for this call";
const UNKNOWN: &str = "ERR Unknown command called from script";
const WRONG_COUNT: &str = "ERR Wrong number of args calling command from script";
/// The error for a command that no script may call.
pub const NOT_ALLOWED: &str = "ERR This Valkey command is not allowed from script";
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const OTHER_SLOT: &str = "ERR Script attempted to access keys that do not hash to the same slot";
const NOT_LOCAL: &str = "ERR Script attempted to access a non local key in a cluster node";
const NOT_SERVED: &str = "ERR Script attempted to access a slot not served";

/// A script that runs with slots locked.
pub struct Session<'s, 'l> {
    /// The cluster's table, as it was when the script began.
    pub view: &'s View,
    /// The slots of its keys.
    pub locked: &'s mut Locked<'l>,
    /// What its first line says.
    pub header: Header,
    /// The client called it to only read.
    pub read_only: bool,
    /// A store that its keys are in is over its budget.
    pub out_of_memory: bool,
    /// The store that is selected.
    pub store: StoreNumber,
    /// The protocol of replies to it.
    pub protocol: Protocol,
    /// Where its commands are counted.
    pub stats: &'s Stats,
    /// Carries out commands of the server.
    pub outside: Option<&'s dyn Outside>,
    /// When it began, in Unix milliseconds: for it, time stands still.
    pub now_ms: u64,
    /// The number of the client that it runs for; 0: none of this member.
    pub client: u64,
}

impl Host for Session<'_, '_> {
    fn command(&mut self, args: &[&[u8]], reply: &mut Vec<u8>) {
        let protocol = self.protocol;
        let (stats, cell) = (self.stats, self.stats.shared());
        match self.look_up(args) {
            Ok(spec) => {
                watch::count_inner();
                let began = ticks::now();
                self.run(spec, args, reply);
                let took = ticks::now().saturating_sub(began);
                cell.ran(spec, took, stats.watch.keeps_spread());
                if reply.first() == Some(&b'-') {
                    cell.failed(spec, reply);
                } else if spec.is_write() {
                    limits::wrote();
                }
                if stats.watch.is_slow(took) {
                    stats.watch.note_inner(spec, args, took);
                }
            }
            Err(text) => {
                if let Some(spec) = command::find(args) {
                    cell.rejected(spec);
                }
                Writer::new(reply, protocol).error(text);
            }
        }
    }

    fn set_protocol(&mut self, version: u8) {
        self.protocol = if version == 3 { Protocol::Resp3 } else { Protocol::Resp2 };
    }

    fn log(&self, level: u8, text: &str) {
        let text: String = text.chars().take(4096).collect();
        let text = text.escape_debug();
        match level {
            0 => tracing::debug!(target: "hypercache::script", action = "script-log", "{text}"),
            1 | 2 => tracing::info!(target: "hypercache::script", action = "script-log", "{text}"),
            _ => tracing::warn!(target: "hypercache::script", action = "script-log", "{text}"),
        }
    }
}

impl Session<'_, '_> {
    /// The command that the arguments name, if this script may run it.
    fn look_up(&self, args: &[&[u8]]) -> Result<&'static Spec, &'static str> {
        if args.is_empty() {
            return Err(EMPTY);
        }
        let spec = command::lookup(args).map_err(|text| {
            if text.starts_with("ERR wrong number of arguments") { WRONG_COUNT } else { UNKNOWN }
        })?;
        // Those that wait do not wait here, as in Valkey.
        let waits = matches!(spec.run, Run::Keys(RunKeys::Waits(_)));
        if spec.flags.contains(Flags::NOSCRIPT) && !waits {
            return Err(NOT_ALLOWED);
        }
        let publishes =
            matches!(spec.run, Run::Shell(ShellCommand::Publish | ShellCommand::SPublish));
        if (self.read_only || self.header.no_writes) && (spec.is_write() || publishes) {
            return Err(READ_ONLY);
        }
        if self.out_of_memory
            && spec.flags.contains(Flags::DENYOOM)
            && !self.header.allow_oom
            && !limits::has_written()
        {
            return Err(OUT_OF_MEMORY);
        }
        Ok(spec)
    }

    /// Whether this member has all slots, so that keys may be anywhere.
    fn is_alone(&self) -> bool {
        self.view.state.members.len() == 1 && self.view.is_mine(0)
    }

    fn run(&mut self, spec: &'static Spec, args: &[&[u8]], reply: &mut Vec<u8>) {
        let protocol = self.protocol;
        match spec.run {
            Run::Keys(_) => {
                let locked = match spec.run {
                    Run::Keys(RunKeys::One(_)) => self.lock(spec.first_key(args)),
                    _ => self.lock(spec.keys(args)),
                };
                let out = &mut Writer::new(reply, protocol);
                match locked {
                    Ok(()) => self.locked.run(spec, self.store, args, out),
                    Err(text) => out.error(text),
                }
            }
            Run::Keyspace(_) | Run::Walk(_) => self.over_all_keys(spec, args, reply),
            Run::Shell(command) => self.outside(spec, command, args, reply),
            Run::Script(_) => Writer::new(reply, protocol).error(NOT_ALLOWED),
        }
    }

    /// Sees to it that the slots of a command's keys are locked.
    fn lock<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<(), &'static str> {
        let alone = self.is_alone();
        let mut first: Option<Slot> = None;
        for key in keys {
            let slot = slot_of(key);
            if !alone {
                if first.is_some_and(|first| first != slot) {
                    return Err(OTHER_SLOT);
                }
                first = Some(slot);
            }
            if self.locked.holds(slot) {
                continue;
            }
            if !alone {
                if self.view.owner(slot) != Some(self.view.me) {
                    return Err(NOT_LOCAL);
                }
                if self.locked.first_slot().is_some() && !self.header.cross_slot {
                    return Err(OTHER_SLOT);
                }
            }
            self.locked.lock_slot(slot).map_err(|_| NOT_SERVED)?;
        }
        Ok(())
    }

    /// Runs a command over all keys (KEYS, SCAN, FLUSHALL …), for which the locks are given back: as
    /// in a transaction, that cuts the script there.
    fn over_all_keys(&mut self, spec: &'static Spec, args: &[&[u8]], reply: &mut Vec<u8>) {
        let protocol = self.protocol;
        if !self.is_alone() {
            let text = format!(
                "ERR '{}' is over all keys, which several members hold: a script cannot call it",
                spec.name
            );
            return Writer::new(reply, protocol).error(&text);
        }
        let (store, now_ms) = (self.store, self.now_ms);
        let ran = self.locked.unlocked(|space| {
            space.execute(spec, store, args, now_ms, &mut Writer::new(reply, protocol))
        });
        if !matches!(ran, Ok(Ok(()))) {
            reply.clear();
            Writer::new(reply, protocol).error(NOT_SERVED);
        }
        if let Some(outside) = self.outside {
            outside.ran(self.client, spec, args, reply);
        }
    }

    /// Runs a command of the server.
    fn outside(
        &mut self,
        spec: &'static Spec,
        command: ShellCommand,
        args: &[&[u8]],
        reply: &mut Vec<u8>,
    ) {
        let protocol = self.protocol;
        match (command, args) {
            (ShellCommand::Ping, [_]) => Writer::new(reply, protocol).simple("PONG"),
            (ShellCommand::Ping | ShellCommand::Echo, [_, text]) => {
                Writer::new(reply, protocol).bulk(text);
            }
            (ShellCommand::Select, [_, word]) => {
                let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                let out = &mut Writer::new(reply, protocol);
                match number {
                    Some(number) if self.locked.has_store(number) => {
                        self.store = number;
                        out.ok();
                    }
                    _ => out.error("ERR DB index is out of range"),
                }
            }
            (ShellCommand::Time, _) => {
                let out = &mut Writer::new(reply, protocol);
                out.array(2);
                out.bulk((self.now_ms / 1000).to_string().as_bytes());
                out.bulk((self.now_ms % 1000 * 1000).to_string().as_bytes());
            }
            _ => match self.outside {
                Some(outside) => outside.run(spec, command, args, protocol, reply),
                None => Writer::new(reply, protocol).error(NOT_ALLOWED),
            },
        }
    }
}
