//! How transactions and watches travel between members: as one command of a batch ([`super::wire`])
//! whose name no client can send, because no command of the table has it.
//!
//! Arguments: name, version, watched keys, commands. A watched key is its store (u16), its token (u64),
//! the key's length (u32) and its bytes; the commands are a batch of their own. The reply is a byte
//! that says what became of it, and what belongs to that. A member that does not know the name or the
//! version answers an error, and nothing ran. All integers are little-endian.

use hypercache_core::command::{self, NO_REPLICAS, Run, Scripts, Step, Transacted};
use hypercache_core::keyspace::{Keyspace, Refusal, WatchedKey};
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::StoreNumber;

use super::wire::{self, Args, Malformed, Status};

/// Commands to run as one.
pub(super) const TRANSACTION: &[u8] = b"\0transaction";
/// Keys to watch; the answer has their tokens.
const WATCH: &[u8] = b"\0watch";
/// Keys to watch no more.
const UNWATCH: &[u8] = b"\0unwatch";
/// What this version understands.
const VERSION: &[u8] = b"1";

const DONE: u8 = 0;
const CHANGED: u8 = 1;
const OUT_OF_MEMORY: u8 = 2;
const REFUSED: u8 = 3;
const NOT_DURABLE: u8 = 4;

/// A key that a client watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The store that the client had selected.
    pub store: StoreNumber,
    /// The key.
    pub key: Box<[u8]>,
    /// What its owner gave.
    pub token: u64,
}

impl Watched {
    /// The same, borrowed.
    pub fn borrowed(&self) -> WatchedKey<'_> {
        WatchedKey { store: self.store, key: &self.key, token: self.token }
    }
}

fn put_watched<'a>(out: &mut Vec<u8>, watched: impl IntoIterator<Item = &'a Watched>) {
    for Watched { store, key, token } in watched {
        out.extend_from_slice(&store.to_le_bytes());
        out.extend_from_slice(&token.to_le_bytes());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
    }
}

fn watched_in(mut bytes: &[u8]) -> Option<Vec<WatchedKey<'_>>> {
    let mut watched = Vec::new();
    while !bytes.is_empty() {
        let (store, rest) = bytes.split_first_chunk::<2>()?;
        let (token, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        watched.push(WatchedKey {
            store: StoreNumber::from_le_bytes(*store),
            key,
            token: u64::from_le_bytes(*token),
        });
        bytes = rest;
    }
    Some(watched)
}

/// A request that runs commands as one.
pub fn transaction(watched: &[Watched], steps: &[Step<'_>]) -> Vec<u8> {
    let (mut keys, mut commands) = (Vec::new(), Vec::new());
    put_watched(&mut keys, watched);
    for step in steps {
        wire::put_command(&mut commands, step.store, step.protocol, &step.args);
    }
    let mut request = Vec::new();
    let args: [&[u8]; 4] = [TRANSACTION, VERSION, &keys, &commands];
    wire::put_command(&mut request, 0, Protocol::Resp3, &args);
    request
}

/// A request that watches keys.
pub fn watch<'a>(store: StoreNumber, keys: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut args: Args<'a> = Args::from_slice(&[WATCH, VERSION]);
    args.extend(keys);
    let mut request = Vec::new();
    wire::put_command(&mut request, store, Protocol::Resp3, &args);
    request
}

/// A request that ends watches.
pub fn unwatch<'a>(watched: impl IntoIterator<Item = &'a Watched>) -> Vec<u8> {
    let mut keys = Vec::new();
    put_watched(&mut keys, watched);
    let mut request = Vec::new();
    let args: [&[u8]; 3] = [UNWATCH, VERSION, &keys];
    wire::put_command(&mut request, 0, Protocol::Resp3, &args);
    request
}

/// What the owner answered to [`transaction`]: what became of it, and the replies; of one that could not
/// be made durable the reason.
///
/// # Errors
/// What the owner said why nothing ran.
pub fn transacted(reply: &[u8]) -> Result<(Transacted, &[u8]), String> {
    match reply.split_first() {
        Some((&DONE, replies)) => Ok((Transacted::Done, replies)),
        Some((&CHANGED, _)) => Ok((Transacted::Changed, &[])),
        Some((&OUT_OF_MEMORY, _)) => Ok((Transacted::OutOfMemory, &[])),
        Some((&NOT_DURABLE, reason)) => Ok((Transacted::NotDurable, reason)),
        _ => Err(refused(reply)),
    }
}

/// The tokens that the owner answered to [`watch`].
///
/// # Errors
/// What the owner said why nothing is watched.
pub fn tokens(reply: &[u8]) -> Result<Vec<u64>, String> {
    match reply.split_first() {
        Some((&DONE, tokens)) => {
            let (tokens, rest) = tokens.as_chunks::<8>();
            let whole = rest.is_empty();
            whole
                .then(|| tokens.iter().map(|token| u64::from_le_bytes(*token)).collect())
                .ok_or_else(|| "ERR a member answered a watch with half a token".to_owned())
        }
        _ => Err(refused(reply)),
    }
}

fn refused(reply: &[u8]) -> String {
    match reply.split_first() {
        Some((&REFUSED, text)) => String::from_utf8_lossy(text).into_owned(),
        // Members of one cluster may differ in version while it is upgraded.
        _ => "ERR the slot's member does not know transactions of this version".to_owned(),
    }
}

/// The owner's side: carries out a command of this module; `None` if it is another one.
pub fn answer(
    keyspace: &Keyspace,
    scripts: &dyn Scripts,
    command: &wire::Command<'_>,
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Option<Status> {
    let [name, version, rest @ ..] = command.args.as_slice() else { return None };
    if ![TRANSACTION, WATCH, UNWATCH].contains(name) {
        return None;
    }
    let status = match (*name, rest) {
        _ if *version != VERSION => refuse(out, "ERR a transaction of an unknown version"),
        (TRANSACTION, [watched, commands]) => match (watched_in(watched), steps_in(commands)) {
            (Some(watched), Ok(steps)) => run(keyspace, scripts, &watched, &steps, now_ms, out),
            (_, Err(text)) => refuse(out, &text),
            (None, _) => refuse(out, MALFORMED),
        },
        (WATCH, keys) => begin_watch(keyspace, command.store, keys, now_ms, out),
        (UNWATCH, [watched]) => {
            for watch in watched_in(watched).unwrap_or_default() {
                keyspace.unwatch(&watch, now_ms);
            }
            out.push(DONE);
            Status::Done
        }
        _ => refuse(out, MALFORMED),
    };
    Some(status)
}

const MALFORMED: &str = "ERR a malformed transaction came from another member";

pub(super) fn refuse(out: &mut Vec<u8>, text: &str) -> Status {
    out.push(REFUSED);
    out.extend_from_slice(text.as_bytes());
    Status::Done
}

/// The commands of a batch, each of them one over keys.
fn steps_in(commands: &[u8]) -> Result<Vec<Step<'_>>, String> {
    let (mut steps, mut at) = (Vec::new(), 0);
    while at < commands.len() {
        let (command, next) =
            wire::command_at(commands, at).map_err(|Malformed { .. }| MALFORMED.to_owned())?;
        at = next;
        let wire::Command { store, protocol, args } = command;
        let spec = command::lookup(&args)?;
        if matches!(spec.run, Run::Shell(_)) {
            return Err(format!("ERR '{}' does not travel between members", spec.name));
        }
        steps.push(Step { spec, store, protocol, args });
    }
    Ok(steps)
}

fn run(
    keyspace: &Keyspace,
    scripts: &dyn Scripts,
    watched: &[WatchedKey<'_>],
    steps: &[Step<'_>],
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Status {
    let at = out.len();
    out.push(DONE);
    match keyspace.transact(watched, steps, scripts, now_ms, out) {
        Ok(Transacted::Done) => {}
        Ok(Transacted::Changed) => out[at] = CHANGED,
        Ok(Transacted::OutOfMemory) => out[at] = OUT_OF_MEMORY,
        Ok(Transacted::NotDurable) => {
            out[at] = NOT_DURABLE;
            out.extend_from_slice(keyspace.misconf().as_bytes());
        }
        // It may be asked again: nothing ran, and its keys are watched still.
        Ok(Transacted::NotReplicated) => {
            out[at] = NOT_DURABLE;
            out.extend_from_slice(NO_REPLICAS.as_bytes());
            return Status::NotServing;
        }
        Err(_) => {
            out.truncate(at);
            return Status::NotServing;
        }
    }
    Status::Done
}

fn begin_watch(
    keyspace: &Keyspace,
    store: StoreNumber,
    keys: &[&[u8]],
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Status {
    let at = out.len();
    out.push(DONE);
    for (index, key) in keys.iter().enumerate() {
        match watch_here(keyspace, store, key, now_ms) {
            Ok(Some(token)) => out.extend_from_slice(&token.to_le_bytes()),
            failed => {
                // All or none.
                let tokens = tokens(&out[at..]).unwrap_or_default();
                for (key, token) in keys[..index].iter().zip(tokens) {
                    keyspace.unwatch(&WatchedKey { store, key, token }, now_ms);
                }
                out.truncate(at);
                return match failed {
                    Err(text) => refuse(out, &text),
                    Ok(_) => Status::NotServing,
                };
            }
        }
    }
    Status::Done
}

/// Watches a key on this member: its token, or `None` while its slot is not served here.
///
/// # Errors
/// Why it cannot be watched.
pub fn watch_here(
    keyspace: &Keyspace,
    store: StoreNumber,
    key: &[u8],
    now_ms: u64,
) -> Result<Option<u64>, String> {
    match keyspace.watch(store, key, now_ms) {
        Ok(Some(token)) => Ok(Some(token)),
        Ok(None) => Err("ERR too many keys are watched on this key's member".into()),
        Err(Refusal::NotServing(_)) => Ok(None),
        Err(_) => Err("ERR the selected store does not exist any more".into()),
    }
}

/// Writes what became of a transaction that did not run: null, or Redis's error. `reason`: why it could
/// not be made durable, in the words that a single command is answered with.
pub fn put_undone(transacted: Transacted, reason: &[u8], out: &mut Writer<'_>) {
    match transacted {
        Transacted::Done => {}
        Transacted::Changed => out.null_array(),
        Transacted::OutOfMemory => out.error(
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > \
             'maxmemory'.",
        ),
        Transacted::NotDurable | Transacted::NotReplicated => out.error(&format!(
            "EXECABORT Transaction discarded because of: {}",
            String::from_utf8_lossy(reason)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::keyspace::Options;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000_000;

    fn keyspace() -> Keyspace {
        let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
        (0..16384).for_each(|slot| space.set_serving(slot, true));
        space
    }

    fn ask(space: &Keyspace, request: &[u8]) -> (Status, Vec<u8>) {
        let (command, end) = wire::command_at(request, 0).unwrap();
        assert_eq!(end, request.len());
        let mut out = Vec::new();
        let status = answer(space, &command::NoScripts, &command, NOW, &mut out).unwrap();
        (status, out)
    }

    fn step<'a>(words: &[&'a str]) -> Step<'a> {
        let args: Args<'a> = words.iter().map(|word| word.as_bytes()).collect();
        let spec = command::lookup(&args).unwrap();
        Step { spec, store: 0, protocol: Protocol::Resp2, args }
    }

    #[test]
    fn a_transaction_travels_whole_with_its_watched_keys() {
        let space = keyspace();
        let (status, reply) = ask(&space, &watch(0, [&b"k"[..], b"{k}2"].into_iter()));
        let given = tokens(&reply).unwrap();
        assert_eq!((status, given.len()), (Status::Done, 2));
        let watched: Vec<Watched> = [&b"k"[..], b"{k}2"]
            .iter()
            .zip(given)
            .map(|(key, token)| Watched { store: 0, key: (*key).into(), token })
            .collect();
        let steps = [step(&["SET", "k", "v"]), step(&["LPUSH", "k", "x"]), step(&["GET", "k"])];
        let request = transaction(&watched, &steps);
        let (status, reply) = ask(&space, &request);
        assert_eq!(status, Status::Done);
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
        let wanted = format!("+OK\r\n{wrong}$1\r\nv\r\n");
        assert_eq!(transacted(&reply), Ok((Transacted::Done, wanted.as_bytes())));
        // The watch is over, so the same tokens are unknown now: refused, never a false OK.
        let (_, reply) = ask(&space, &request);
        assert_eq!(transacted(&reply), Ok((Transacted::Changed, &[][..])));
    }

    #[test]
    fn an_owner_that_does_not_serve_the_slot_runs_nothing() {
        let space = keyspace();
        let steps = [step(&["SET", "{k}1", "v"]), step(&["SET", "{k}2", "v"])];
        let slot = hypercache_core::cluster::slot_of(b"k");
        space.set_serving(slot, false);
        assert_eq!(ask(&space, &transaction(&[], &steps)), (Status::NotServing, Vec::new()));
        assert_eq!(ask(&space, &watch(0, [&b"k"[..]].into_iter())).0, Status::NotServing);
        assert_eq!(space.keys(0), 0);
    }

    #[test]
    fn an_unknown_version_is_refused_in_words() {
        let mut request = Vec::new();
        let args: [&[u8]; 4] = [TRANSACTION, b"2", b"", b""];
        wire::put_command(&mut request, 0, Protocol::Resp2, &args);
        let (_, reply) = ask(&keyspace(), &request);
        assert_eq!(transacted(&reply), Err("ERR a transaction of an unknown version".into()));
        assert!(transacted(b"-ERR unknown command").is_err());
        assert!(tokens(b"").is_err());
    }

    proptest! {
        #[test]
        fn s2_random_bytes_are_refused_without_a_panic(
            name in 0usize..3,
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let name = [TRANSACTION, WATCH, UNWATCH][name];
            let mut all: Vec<&[u8]> = vec![name, VERSION];
            all.extend(args.iter().map(Vec::as_slice));
            let mut request = Vec::new();
            wire::put_command(&mut request, 0, Protocol::Resp2, &all);
            let (_, reply) = ask(&keyspace(), &request);
            let _ = (tokens(&reply), transacted(&reply));
        }
    }

    #[test]
    fn a_transaction_that_cannot_be_made_durable_says_why_as_a_single_command_does() {
        let space = keyspace();
        let mut policy = hypercache_core::store::StorePolicy::new("default", 0);
        let durability = hypercache_core::store::Durability::of(hypercache_core::store::Mode::Aof);
        policy.durability = durability;
        space.set_stores(&[policy]);
        space.journal().fail(hypercache_core::log::Failed("No space left on device".into()));
        let args: Args<'_> = Args::from_slice(&[b"SET", b"a", b"1"]);
        let spec = command::lookup(&args).unwrap();
        let steps = [Step { spec, store: 0, protocol: Protocol::Resp2, args }];
        let (status, reply) = ask(&space, &transaction(&[], &steps));
        assert_eq!(status, Status::Done);
        let (undone, reason) = transacted(&reply).unwrap();
        let mut out = Vec::new();
        put_undone(undone, reason, &mut Writer::new(&mut out, Protocol::Resp2));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "-EXECABORT Transaction discarded because of: MISCONF Errors writing to the AOF file: No \
             space left on device\r\n"
        );
    }
}
