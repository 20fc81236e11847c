//! The connections that are open, as `CLIENT LIST` shows them and `CLIENT KILL` ends them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::Relaxed,
};
use std::sync::{Arc, OnceLock};

use hypercache_core::command::{self, Spec};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::transaction::NOT_IN_MULTI;
use crate::router::Unblock;
use crate::server::stats::Whose;

/// The letters of flags that Redis and Valkey know.
pub const FLAGS: &str = "NSMPxbtcUEurIDBROTe";
/// The letters of what clients may be able to do.
pub const CAPABILITIES: &str = "r";

/// What other connections may see of one. The connection's own loop writes it; relaxed atomics
/// suffice, as a reader wants a recent picture and no more.
#[derive(Debug)]
pub struct Client {
    /// Unique since the start of the process, growing.
    pub id: u64,
    /// The client's address.
    pub addr: SocketAddr,
    /// The address that it connected to.
    pub laddr: SocketAddr,
    /// When it connected, in Unix milliseconds.
    pub created_ms: u64,
    /// When it last sent something, in Unix milliseconds.
    pub last_ms: AtomicU64,
    /// The number of the store it has selected.
    pub store: AtomicU16,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// The index of its last command.
    pub command: AtomicU16,
    /// Bytes of a command that is not whole yet.
    pub input_bytes: AtomicU64,
    /// Commands since MULTI; -1 outside of it.
    pub multi: AtomicI32,
    /// What they take.
    pub multi_bytes: AtomicU64,
    /// Bytes of published messages that it has not been sent yet.
    pub output_bytes: AtomicU64,
    /// How many channels, patterns and shard channels it listens to, by `Topic::index`.
    pub subscriptions: [AtomicU32; 3],
    /// Ends its wait for keys.
    unblock: Mutex<Option<oneshot::Sender<Unblock>>>,
    /// Whether it has authenticated, or need not.
    pub authenticated: AtomicBool,
    /// CLIENT CAPA REDIRECT: it could be told to go elsewhere.
    pub can_redirect: AtomicBool,
    /// READONLY: it would read from a replica.
    pub reads_replicas: AtomicBool,
    /// How many keys it watches.
    pub watched: AtomicU32,
    /// Bytes that it has sent, and was sent.
    pub net_bytes: [AtomicU64; 2],
    /// Commands that it has run.
    pub commands: AtomicU64,
    /// CLIENT NO-EVICT: it stays when connections are closed for their memory.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH: its commands are no use of their keys.
    pub no_touch: AtomicBool,
    /// It waits for something: for keys, or the end of CLIENT PAUSE.
    pub waits: AtomicBool,
    /// Nothing of it is under way: its connection waits for the next request.
    pub idle: AtomicBool,
    /// What it says of itself.
    pub labels: Mutex<Labels>,
    /// The I/O loop that it is on, and the way to end its task.
    task: OnceLock<(usize, AbortHandle)>,
}

/// What a client says of itself.
#[derive(Debug, Default, Clone)]
pub struct Labels {
    /// `CLIENT SETNAME`.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO LIB-NAME`.
    pub lib_name: Vec<u8>,
    /// `CLIENT SETINFO LIB-VER`.
    pub lib_ver: Vec<u8>,
}

impl Client {
    /// Ends the connection at its next wait, with what it still had to say unsaid.
    pub fn kill(&self) {
        if let Some((_, abort)) = self.task.get() {
            abort.abort();
        }
    }

    /// Ends the connection if it is on that loop, of whose thread this has to be called, and nothing of it is
    /// under way; false if something is, so that it has to end by itself.
    pub fn end_if_idle(&self, io_loop: usize) -> bool {
        let is_there = self.task.get().is_some_and(|(at, _)| *at == io_loop);
        let ends = is_there && self.idle.load(Relaxed);
        if ends {
            self.kill();
        }
        ends || !is_there
    }

    /// Hands over where the connection's task is, and the way to end it.
    pub fn set_task(&self, io_loop: usize, abort: AbortHandle) {
        let _ = self.task.set((io_loop, abort));
    }

    /// Hands over the way to end its wait.
    pub fn set_unblock(&self, unblock: oneshot::Sender<Unblock>) {
        *self.unblock.lock() = Some(unblock);
    }

    /// The way to end its wait, for whoever asks first; `None` if it does not wait.
    pub fn take_unblock(&self) -> Option<oneshot::Sender<Unblock>> {
        self.unblock.lock().take()
    }

    /// Whether it listens to anything: a client of type `pubsub`.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Relaxed) > 0)
    }

    /// What the connection takes.
    pub fn memory_bytes(&self) -> u64 {
        [&self.input_bytes, &self.multi_bytes, &self.output_bytes]
            .iter()
            .map(|bytes| bytes.load(Relaxed))
            .sum::<u64>()
            + size_of::<Self>() as u64
    }

    /// Whose commands its commands are, for the slow log.
    pub fn whose(&self) -> Whose {
        Whose { addr: self.addr.to_string(), name: self.labels.lock().name.clone() }
    }

    /// The letters of what it is able to do, as Valkey has them.
    pub fn capabilities(&self) -> &'static str {
        if self.can_redirect.load(Relaxed) { "r" } else { "" }
    }

    /// The letters of its flags, as Redis has them.
    pub fn flags(&self) -> String {
        let multi = self.multi.load(Relaxed);
        let letters = [
            (self.is_subscriber(), 'P'),
            (multi != NOT_IN_MULTI, 'x'),
            (self.waits.load(Relaxed), 'b'),
            (self.reads_replicas.load(Relaxed), 'r'),
            (self.no_evict.load(Relaxed), 'e'),
            (self.no_touch.load(Relaxed), 'T'),
        ];
        let flags: String =
            letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
        if flags.is_empty() { "N".into() } else { flags }
    }

    /// One line of `CLIENT LIST`, in the fields and order of Redis 7.
    pub fn line(&self, now_ms: u64) -> Vec<u8> {
        let labels = self.labels.lock().clone();
        let index = self.command.load(Relaxed);
        let multi = self.multi.load(Relaxed);
        let multi_bytes = self.multi_bytes.load(Relaxed);
        let output_bytes = self.output_bytes.load(Relaxed);
        let [channels, patterns, shards] = self.subscriptions.each_ref().map(|n| n.load(Relaxed));
        let seconds = |since: u64| now_ms.saturating_sub(since) / 1000;
        let mut head = String::new();
        let _ = write!(head, "id={} addr={} laddr={} fd=-1 name=", self.id, self.addr, self.laddr);
        let mut line = head.into_bytes();
        line.extend_from_slice(&labels.name);
        let mut rest = String::new();
        let _ = write!(
            rest,
            " age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} multi={} watch={} qbuf={} qbuf-free=0 argv-mem=0 \
             multi-mem={} rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={} user=default redir=-1 resp={}",
            seconds(self.created_ms),
            seconds(self.last_ms.load(Relaxed)),
            self.flags(),
            self.capabilities(),
            self.store.load(Relaxed),
            channels,
            patterns,
            shards,
            multi,
            self.watched.load(Relaxed),
            self.input_bytes.load(Relaxed),
            multi_bytes,
            output_bytes,
            self.memory_bytes(),
            command_name(index),
            self.protocol.load(Relaxed),
        );
        line.extend_from_slice(rest.as_bytes());
        line.extend_from_slice(b" lib-name=");
        line.extend_from_slice(&labels.lib_name);
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(&labels.lib_ver);
        let [sent, received] = self.net_bytes.each_ref().map(|n| n.load(Relaxed));
        let mut rest = String::new();
        let commands = self.commands.load(Relaxed);
        let _ = write!(rest, " tot-net-in={sent} tot-net-out={received} tot-cmds={commands}");
        line.extend_from_slice(rest.as_bytes());
        line.push(b'\n');
        line
    }

    /// Notes that the client runs a command now.
    #[inline]
    pub fn runs(&self, spec: &Spec) {
        self.command.store(spec.index, Relaxed);
        self.add_commands(1);
    }

    /// Counts commands that it has run. Its own loop alone does.
    #[inline]
    pub fn add_commands(&self, n: u64) {
        self.commands.store(self.commands.load(Relaxed).wrapping_add(n), Relaxed);
    }
}

fn command_name(index: u16) -> &'static str {
    let mut all = command::all().iter().flat_map(crate::server::stats::with_subcommands);
    all.find(|spec| spec.index == index).map_or("NULL", |spec| spec.name)
}

impl Client {
    /// A client that says nothing yet.
    pub fn new(
        id: u64,
        addr: SocketAddr,
        laddr: SocketAddr,
        now_ms: u64,
        authenticated: bool,
    ) -> Self {
        Self {
            id,
            addr,
            laddr,
            created_ms: now_ms,
            last_ms: AtomicU64::new(now_ms),
            store: AtomicU16::new(0),
            protocol: AtomicU8::new(2),
            command: AtomicU16::new(u16::MAX),
            input_bytes: AtomicU64::new(0),
            multi: AtomicI32::new(NOT_IN_MULTI),
            multi_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            subscriptions: Default::default(),
            unblock: Mutex::default(),
            authenticated: AtomicBool::new(authenticated),
            can_redirect: AtomicBool::new(false),
            reads_replicas: AtomicBool::new(false),
            watched: AtomicU32::new(0),
            net_bytes: Default::default(),
            commands: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            labels: Mutex::default(),
            task: OnceLock::new(),
        }
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub struct Clients {
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    blocked: AtomicUsize,
}

impl Clients {
    /// Enters a new connection.
    pub fn enter(
        &self,
        addr: SocketAddr,
        laddr: SocketAddr,
        now_ms: u64,
        authenticated: bool,
    ) -> Arc<Client> {
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let client = Arc::new(Client::new(id, addr, laddr, now_ms, authenticated));
        self.open.lock().insert(client.id, client.clone());
        client
    }

    /// Removes a connection that ended.
    pub fn leave(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection of a number.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.open.lock().get(&id).cloned()
    }

    /// Notes that a client's command begins or ends to wait for keys.
    pub(super) fn count_blocked(&self, begins: bool) {
        if begins {
            self.blocked.fetch_add(1, Relaxed);
        } else {
            self.blocked.fetch_sub(1, Relaxed);
        }
    }

    /// How many clients' commands wait for keys.
    pub fn blocked(&self) -> usize {
        self.blocked.load(Relaxed)
    }

    /// All connections, oldest first.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().cloned().collect()
    }
}
