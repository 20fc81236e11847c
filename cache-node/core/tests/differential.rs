//! The same random commands to this core and to a real redis-server: every reply must have the
//! same bytes. Valid and invalid commands of all families, from fixed seeds.

#![allow(clippy::disallowed_methods, reason = "the clock and the child process are the test's")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::disallowed_types, reason = "the socket is the test's")]

mod agree;
mod generate;

use agree::{agree, is_cut_sketch};
use generate::Generator;
use hypercache_core::command::{self, Run, Transacted, lookup};
use hypercache_core::keyspace::{EventClasses, Keyspace, Options, WatchedKey};
use hypercache_core::resp::{Protocol, Reply, Writer};
use hypercache_core::store::{EvictionPolicy, StorePolicy};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// `DIFFERENTIAL_SEED` adds to each: other commands.
const SEEDS: [(u64, Protocol); 4] =
    [(1, Protocol::Resp2), (2, Protocol::Resp3), (3, Protocol::Resp2), (4, Protocol::Resp3)];
/// Four times this many commands are compared; `DIFFERENTIAL_COMMANDS` says another number.
const COMMANDS_A_SEED: usize = 12_500;
/// How far answers about time may differ, because the two sides ask the clock one after the other.
const TOLERANCE_MS: i64 = 5_000;

/// Commands that 7.0 does not have, or that are as Valkey 9.1 has them: other flags or tips.
const NOT_AS_7_0: [&str; 24] = [
    "wait",
    "waitaof",
    "commandlog",
    "commandlog|get",
    "commandlog|help",
    "commandlog|len",
    "commandlog|reset",
    "script|show",
    "stores",
    "multi",
    "watch",
    "msetex",
    "delifeq",
    "hgetdel",
    "client|setinfo",
    "client|no-touch",
    "client|capa",
    "client|no-evict",
    "client|reply",
    "client|getredir",
    "config|rewrite",
    "memory|malloc-stats",
    "memory|purge",
    "latency|reset",
];

/// A redis-server of our own, stopped when it goes out of scope.
struct Redis {
    child: Child,
    port: u16,
    link: Link,
}

/// A connection to it.
struct Link {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Process::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server must be on PATH for this test (Debian: redis-server)");
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                break stream;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("redis-server does not answer on port {port}");
            }
            std::thread::yield_now();
        };
        Self { child, port, link: Link::over(stream) }
    }

    /// Redis 7.0's SORT trips over what an earlier command left in errno; this sets it 0.
    fn clear_errno(&mut self) {
        self.call(&["zadd", "k", "x", "x"].map(|word| word.as_bytes().to_vec()));
    }

    fn call(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        self.link.call(args)
    }

    /// Another connection.
    fn link(&self) -> Link {
        Link::over(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }
}

impl Link {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, input: Vec::new() }
    }

    fn call(&mut self, args: &[Vec<u8>]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.len()).bytes());
            request.extend(arg);
            request.extend(b"\r\n");
        }
        self.stream.write_all(&request).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(len) = hypercache_core::resp::reply_len(&self.input).unwrap() {
                return self.input.drain(..len).collect();
            }
            let mut chunk = [0; 65536];
            let read = self.stream.read(&mut chunk).unwrap();
            assert!(read > 0, "redis-server closed the connection");
            self.input.extend(&chunk[..read]);
        }
    }
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many commands of each seed are compared.
fn commands_a_seed() -> usize {
    asked("DIFFERENTIAL_COMMANDS").map_or(COMMANDS_A_SEED, |n| n as usize)
}

/// What is added to the seeds.
fn more_seed() -> u64 {
    asked("DIFFERENTIAL_SEED").unwrap_or(0)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A keyspace that serves everything and has Redis's sixteen databases.
fn keyspace(seed: u64) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: seed, eviction_seed: seed });
    let stores: Vec<StorePolicy> = (0..16)
        .map(|number| {
            let mut store = match number {
                0 => StorePolicy::new("default", 0),
                n => StorePolicy::new(format!("store{n}"), n),
            };
            store.eviction_policy = EvictionPolicy::NoEviction;
            store
        })
        .collect();
    space.set_stores(&stores);
    (0..16384).for_each(|slot| space.set_serving(slot, true));
    space
}

fn call(space: &Keyspace, protocol: Protocol, database: u16, args: &[Vec<u8>]) -> Vec<u8> {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes, protocol);
    match lookup(&args) {
        Err(error) => out.error(&error),
        Ok(spec) => {
            assert!(!matches!(spec.run, Run::Shell(_)), "{args:?} is not for the keyspace");
            space.execute(spec, database, &args, now_ms(), &mut out).unwrap();
        }
    }
    bytes
}

fn shown(args: &[Vec<u8>]) -> String {
    let words = args.iter().map(|arg| {
        let end = arg.len().min(60);
        format!("\"{}\"", arg[..end].escape_ascii())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The last commands that share an argument with this one that looks like a key.
fn history(before: &[Vec<Vec<u8>>], args: &[Vec<u8>]) -> String {
    let keys: Vec<&Vec<u8>> = args[1..].iter().filter(|arg| arg.len() > 3).take(3).collect();
    let shares = |args: &&Vec<Vec<u8>>| args[1..].iter().any(|arg| keys.contains(&arg));
    let mut lines: Vec<String> =
        before.iter().rev().filter(shares).take(12).map(|args| shown(args)).collect();
    lines.reverse();
    lines.join("\n")
}

/// All keys that a complete SCAN finds.
fn scan(mut call: impl FnMut(&[Vec<u8>]) -> Vec<u8>, options: &[&str]) -> Vec<Vec<u8>> {
    let (mut cursor, mut keys) = (b"0".to_vec(), Vec::new());
    loop {
        let mut args = vec![b"scan".to_vec(), cursor];
        args.extend(options.iter().map(|word| word.as_bytes().to_vec()));
        let reply = call(&args);
        let Some((Reply::Array(parts), _)) = Reply::parse(&reply).unwrap() else {
            panic!("SCAN answered {}", reply.escape_ascii());
        };
        let [Reply::Bulk(next), Reply::Array(found)] = parts.as_slice() else {
            panic!("SCAN answered {parts:?}");
        };
        keys.extend(found.iter().map(|key| match key {
            Reply::Bulk(key) => key.clone(),
            other => panic!("SCAN answered {other:?}"),
        }));
        if next == b"0" {
            break;
        }
        cursor = next.clone();
    }
    keys.sort();
    keys.dedup();
    keys
}

/// What COMMAND INFO says, made comparable: sets in order, and without notes in prose.
fn comparable(reply: Reply) -> Reply {
    let Reply::Array(parts) = reply else { return reply };
    let mut parts: Vec<Reply> = parts.into_iter().map(comparable).collect();
    let is_note = |part: &Reply| *part == Reply::Bulk(b"notes".to_vec());
    if let Some(at) = parts.iter().position(is_note) {
        parts.drain(at..at + 2);
    }
    if parts.iter().all(|part| matches!(part, Reply::Simple(_))) {
        parts.sort_by_key(|part| format!("{part:?}"));
    }
    Reply::Array(parts)
}

#[test]
fn command_info_says_what_redis_says() {
    let mut redis = Redis::start();
    let subcommands = command::all().iter().flat_map(|spec| spec.subcommands);
    for spec in command::all().iter().chain(subcommands) {
        // The filters' commands are those of RedisBloom.
        if NOT_AS_7_0.contains(&spec.name) || spec.name.starts_with("cf.") {
            continue;
        }
        let args = ["command", "info", spec.name].map(|word| word.as_bytes().to_vec());
        let theirs = redis.call(&args);
        let mut ours = Vec::new();
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        command::introspect(&words, &mut Writer::new(&mut ours, Protocol::Resp2));
        // They take WITHSCORE here already, as Redis does from 7.2 on.
        let later = matches!(spec.name, "zrank" | "zrevrank");
        let parse = |bytes: &[u8]| {
            let (reply, _) = Reply::parse(bytes).unwrap().unwrap();
            let Reply::Array(mut rows) = reply else { panic!("{} is no array", spec.name) };
            let Some(Reply::Array(mut row)) = rows.pop() else {
                panic!("{} is unknown", spec.name);
            };
            // Not every subcommand of Redis is here.
            row.truncate(9);
            // READONLY takes MAXSTALE here.
            if later || spec.name == "readonly" {
                row.remove(1);
            }
            comparable(Reply::Array(row))
        };
        assert_eq!(parse(&ours), parse(&theirs), "{}", spec.name);
    }
}

#[test]
fn every_command_answers_as_redis_does() {
    let commands = commands_a_seed();
    let mut redis = Redis::start();
    for (seed, protocol) in SEEDS.map(|(seed, protocol)| (seed + more_seed(), protocol)) {
        let version = if protocol == Protocol::Resp3 { b"3".to_vec() } else { b"2".to_vec() };
        redis.call(&[b"hello".to_vec(), version]);
        redis.call(&[b"flushall".to_vec()]);
        redis.call(&[b"select".to_vec(), b"0".to_vec()]);
        let space = keyspace(seed);
        let mut generator = Generator::new(seed);
        let mut selected = 0;
        let mut before: Vec<Vec<Vec<u8>>> = Vec::new();
        for step in 0..commands {
            let command = generator.command();
            if command.database != selected {
                selected = command.database;
                redis.call(&[b"select".to_vec(), selected.to_string().into_bytes()]);
            }
            if command.name == "dbsize" {
                space.expire_cycle(now_ms(), usize::MAX);
            }
            if command.name.starts_with("sort") {
                redis.clear_errno();
            }
            let theirs = redis.call(&command.args);
            let ours = call(&space, protocol, selected, &command.args);
            assert!(
                agree(&command, &ours, &theirs),
                "seed {seed}, step {step}, database {selected}: {}\n ours:   {}\n theirs: {}\n\
                 before, on these keys:\n{}",
                shown(&command.args),
                ours.escape_ascii(),
                theirs.escape_ascii(),
                history(&before, &command.args),
            );
            before.push(command.args.clone());
            // What is left after a random choice is not the same on both sides.
            if command.name == "spop" || is_cut_sketch(&command, &ours, &theirs) {
                for key in command.args.iter().skip(1) {
                    let args = [b"del".to_vec(), key.clone()];
                    assert_eq!(call(&space, protocol, selected, &args), redis.call(&args));
                }
            }
        }
        for options in [&[][..], &["count", "1000"], &["match", "k*"], &["type", "list"]] {
            let ours = scan(|args| call(&space, protocol, selected, args), options);
            let theirs = scan(|args| redis.call(args), options);
            assert_eq!(ours, theirs, "seed {seed}: SCAN {options:?}");
        }
        let used: u64 = space.stats().iter().map(|store| store.used_memory_bytes).sum();
        let kept: u64 = space.stats().iter().map(|store| store.keys).sum();
        assert!(kept > 0 && used > kept * 64, "seed {seed}: {kept} keys cost {used} bytes");
        call(&space, protocol, 0, &[b"flushall".to_vec()]);
        for store in space.stats() {
            assert_eq!((store.used_memory_bytes, store.keys, store.keys_with_ttl), (0, 0, 0));
        }
    }
}

/// The bulk strings of a reply that is an array of such (and of a number).
fn bulks(reply: &[u8]) -> Vec<Vec<u8>> {
    let Some((Reply::Array(parts), _)) = Reply::parse(reply).unwrap() else {
        panic!("{} is no array", reply.escape_ascii());
    };
    let bulk = |part| match part {
        Reply::Bulk(bytes) => bytes,
        other => format!("{other:?}").into_bytes(),
    };
    parts.into_iter().map(bulk).collect()
}

/// What a command told of keys: the channel and its message, as Redis publishes them by event.
fn told(space: &Keyspace) -> Vec<(String, String)> {
    let waker = std::task::Waker::noop();
    let std::task::Poll::Ready(notices) = space.notices().poll_take(waker) else {
        return Vec::new();
    };
    let by_event = |n: hypercache_core::keyspace::Notice| {
        (format!("__keyevent@{}__:{}", n.store, n.event.name), n.key.escape_ascii().to_string())
    };
    notices.into_iter().map(by_event).collect()
}

#[test]
fn every_command_tells_of_keys_what_redis_tells_and_touches_the_same_watches() {
    let commands = commands_a_seed() / 2;
    let words = |text: &str| -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    };
    let mut redis = Redis::start();
    let (mut hears, mut watches) = (redis.link(), redis.link());
    redis.call(&words("config set notify-keyspace-events AEmn"));
    hears.call(&words("psubscribe __keyevent@*"));
    hears.call(&words("subscribe end"));
    // One of each command is enough to read.
    let mut differences = std::collections::BTreeMap::new();
    for (seed, protocol) in [(5 + more_seed(), Protocol::Resp2), (6 + more_seed(), Protocol::Resp3)]
    {
        redis.call(&words("flushall"));
        redis.call(&words("select 0"));
        let space = keyspace(seed);
        space.notices().set_classes(EventClasses::parse("AEmn").unwrap());
        let mut generator = Generator::new(seed);
        let mut selected = 0;
        let mut before: Vec<Vec<Vec<u8>>> = Vec::new();
        for step in 0..commands {
            let command = generator.command();
            if command.database != selected {
                selected = command.database;
                redis.call(&words(&format!("select {selected}")));
            }
            // The first keys, whatever they are to the command, are watched by others.
            let watched: Vec<Vec<u8>> = command.args[1..].iter().take(3).cloned().collect();
            if watched.is_empty() {
                continue;
            }
            watches.call(&words(&format!("select {selected}")));
            watches.call(&[words("watch"), watched.clone()].concat());
            let tokens: Vec<u64> = watched
                .iter()
                .map(|key| space.watch(selected, key, now_ms()).unwrap().unwrap())
                .collect();
            if command.name.starts_with("sort") {
                redis.clear_errno();
            }
            let their_reply = redis.call(&command.args);
            redis.call(&words("publish end ."));
            watches.call(&words("multi"));
            let their_change = watches.call(&words("exec")) == b"*-1\r\n";
            let mut theirs = Vec::new();
            loop {
                let message = bulks(&hears.reply());
                match message.as_slice() {
                    [_, _, channel, key] => {
                        let channel = String::from_utf8(channel.clone()).unwrap();
                        theirs.push((channel, key.escape_ascii().to_string()));
                    }
                    _ => break,
                }
            }
            let our_reply = call(&space, protocol, selected, &command.args);
            let refused = our_reply.starts_with(b"-");
            let mut ours = told(&space);
            let watched: Vec<WatchedKey<'_>> = watched
                .iter()
                .zip(&tokens)
                .map(|(key, token)| WatchedKey { store: selected, key, token: *token })
                .collect();
            let exec = space
                .transact(&watched, &[], &command::NoScripts, now_ms(), &mut Vec::new())
                .unwrap();
            let our_change = exec == Transacted::Changed;
            // Who finds that a lifetime is over is a matter of the moment.
            let is_expired = |(channel, _): &(String, String)| channel.ends_with(":expired");
            let over = |told: &[(String, String)]| -> std::collections::BTreeSet<String> {
                let keys = told.iter().filter(|told| is_expired(told)).map(|(_, key)| key.clone());
                keys.filter(|key| command.args.iter().any(|arg| arg == key.as_bytes())).collect()
            };
            // One of them still had a key of this command's, whose lifetime was over for the other.
            let at_once = over(&theirs) == over(&ours);
            theirs.retain(|told| !is_expired(told));
            ours.retain(|told| !is_expired(told));
            if command.name == "getex" || command.name.contains("expire") {
                // A lifetime that is over at once is told as `expired`, as Valkey does, not as `del`.
                theirs.retain(|(channel, _)| !channel.ends_with(":del"));
            }
            if refused {
                // Whether the key or the other arguments are looked at first is not the same everywhere.
                theirs.retain(|(channel, _)| !channel.ends_with(":keymiss"));
                ours.retain(|(channel, _)| !channel.ends_with(":keymiss"));
            }
            if command.name.starts_with("sort") {
                // In the order of a set's members, which is nobody's.
                ours.sort();
                theirs.sort();
            }
            // Redis makes the key of a BITFIELD all of whose writes fail, and tells nobody who watches it.
            let made = ours.iter().any(|(channel, _)| channel.ends_with(":new"));
            let their_change = their_change || (command.name == "bitfield" && made);
            let is_cut = is_cut_sketch(&command, &our_reply, &their_reply);
            if !is_cut && at_once && (&ours, our_change) != (&theirs, their_change) {
                let shown = format!(
                    "seed {seed}, step {step}, database {selected}: {}\n \
                     ours:   {ours:?}, {our_change}, {}\n theirs: {theirs:?}, {their_change}, {}\n\
                     before, on these keys:\n{}",
                    shown(&command.args),
                    our_reply.escape_ascii(),
                    their_reply.escape_ascii(),
                    history(&before, &command.args),
                );
                differences.entry(command.name.clone()).or_insert(shown);
            }
            before.push(command.args.clone());
            if command.name == "spop" || is_cut {
                for key in command.args.iter().skip(1) {
                    let del = [b"del".to_vec(), key.clone()];
                    call(&space, protocol, selected, &del);
                    redis.call(&del);
                }
                told(&space);
                // Theirs are heard with the next command's, and passed over.
                redis.call(&words("publish end ."));
                while bulks(&hears.reply()).len() != 3 {}
            }
        }
    }
    let shown: Vec<String> = differences.into_values().collect();
    assert!(shown.is_empty(), "{}", shown.join("\n\n"));
}
