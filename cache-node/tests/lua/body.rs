//! What the fuzz target `lua` does with bytes: it panics when something is wrong, and for nothing
//! else. `cache-node/fuzz` runs it under libFuzzer; `tests/lua_fuzz.rs` over the kept corpus.

#[path = "programs.rs"]
mod programs;

use hypercache::script::{Asked, Evaluated, STACK_BYTES, Scripts};
use hypercache::server::stats::Stats;
use hypercache_core::cluster::{Assignment, Change, ClusterState, Member, View};
use hypercache_core::command::lookup;
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::resp::{Protocol, Reply, Writer};
use hypercache_core::store::StorePolicy;
use programs::{Choose, script};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Builder;

const NOW_MS: u64 = 1_700_000_000_000;
const TIME_LIMIT_MS: u64 = 20;
const MEMORY_BYTES: usize = 4 << 20;

/// The bytes of an input, one choice each; the first one behind its end.
struct Bytes<'a>(&'a [u8]);

impl Choose for Bytes<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        let mut chosen = usize::from(*first);
        if sides > 256
            && let Some((second, rest)) = self.0.split_first()
        {
            self.0 = rest;
            chosen |= usize::from(*second) << 8;
        }
        chosen % sides
    }
}

/// A member's scripts and data, and the cluster that consists of it alone.
struct Node {
    keyspace: Keyspace,
    scripts: Scripts,
    view: View,
    /// What [`LOOK`] gave before any other script ran.
    well: Reply,
}

/// Looks at what a script sees.
const LOOK: &[u8] = b"local n, m = 0, 0 for _ in pairs(_G) do n = n + 1 end \
    for _ in pairs(string) do m = m + 1 end \
    return {#KEYS, ARGV[1], n, m, type(string.rep), cjson.encode({1}), redis.call('ping')}";

impl Node {
    fn new() -> Self {
        let keyspace = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
        let store = StorePolicy::new("default", 0);
        keyspace.set_stores(std::slice::from_ref(&store));
        (0..16384).for_each(|slot| keyspace.set_serving(slot, true));
        let me = Member {
            id: 1,
            name: "one".into(),
            host: "localhost".into(),
            resp_port: 1,
            http_port: 2,
            gossip_port: 3,
            zone: None,
            weight: 1,
            incarnation: 0,
        };
        let owners = (0..16384).map(|_| [1].into_iter().collect());
        let mut state = ClusterState::default();
        let init = Change::Init {
            cluster_id: 1,
            members: vec![me],
            assignment: Assignment::from_lists(0, owners),
            stores: vec![store],
        };
        state.apply(&init).expect("a cluster of one member");
        let view = View { me: 1, state: Arc::new(state), quorum: true, ..View::default() };
        let scripts = Scripts::new(TIME_LIMIT_MS, MEMORY_BYTES, Arc::new(Stats::new(1)));
        let mut node = Self { keyspace, scripts, view, well: Reply::Null };
        node.well = node.eval(LOOK, Protocol::Resp2);
        assert!(matches!(&node.well, Reply::Array(parts) if parts.len() == 7), "{:?}", node.well);
        node
    }

    fn eval(&self, text: &[u8], protocol: Protocol) -> Reply {
        let args: [&[u8]; 5] = [b"eval", text, b"1", b"k", b"v"];
        let spec = lookup(&args).expect("EVAL");
        let asked =
            Asked { view: &self.view, spec, store: 0, args: &args, now_ms: NOW_MS, client: 0 };
        let mut out = Vec::new();
        let ran =
            self.scripts.evaluate(&self.keyspace, asked, &mut Writer::new(&mut out, protocol));
        assert_eq!(ran, Evaluated::Done);
        assert!(out.len() < MEMORY_BYTES + (1 << 20), "a reply of {} bytes", out.len());
        let parsed = Reply::parse(&out).expect("a reply is RESP");
        let (reply, len) = parsed.expect("a reply is whole");
        assert_eq!(len, out.len(), "one reply");
        reply
    }

    fn run(&self, text: &[u8], protocol: Protocol) {
        self.eval(text, protocol);
        // Nothing is left behind for the next: no global, no broken library, no lock.
        let well = self.eval(LOOK, Protocol::Resp2);
        assert_eq!(well, self.well, "after {}", text.escape_ascii());
        let flush: [&[u8]; 1] = [b"flushall"];
        let spec = lookup(&flush).expect("FLUSHALL");
        let mut out = Vec::new();
        let writer = &mut Writer::new(&mut out, Protocol::Resp2);
        self.keyspace.execute(spec, 0, &flush, NOW_MS, writer).expect("all slots are served");
        for store in self.keyspace.stats() {
            assert_eq!((store.keys, store.used_memory_bytes), (0, 0), "{}", text.escape_ascii());
        }
    }
}

/// Runs a script, made of the bytes or simply the bytes, and looks at what it leaves.
pub fn lua(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let protocol = if first & 1 == 0 { Protocol::Resp2 } else { Protocol::Resp3 };
    let text = if first & 2 == 0 { rest.to_vec() } else { script(&mut Bytes(rest)).into_bytes() };
    let worker = worker().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (inputs, done) = &*worker;
    let ran = inputs.send((text.clone(), protocol)).is_ok() && done.recv().is_ok();
    assert!(ran, "after the script {}", text.escape_ascii());
}

type Worker = (SyncSender<(Vec<u8>, Protocol)>, Receiver<()>);

/// A thread whose stack is as large as scripts need it.
fn worker() -> &'static Mutex<Worker> {
    static WORKER: OnceLock<Mutex<Worker>> = OnceLock::new();
    WORKER.get_or_init(|| {
        let (inputs, scripts) = sync_channel::<(Vec<u8>, Protocol)>(0);
        let (ran, done) = sync_channel(0);
        let work = move || {
            let node = Node::new();
            for (text, protocol) in scripts {
                node.run(&text, protocol);
                if ran.send(()).is_err() {
                    return;
                }
            }
        };
        Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread");
        Mutex::new((inputs, done))
    })
}
