//! Which connections CLIENT LIST and CLIENT KILL mean: options as Valkey has them, each also with
//! `NOT-` before it. Of an option that stands twice, the last one counts; ids are added up.

use std::sync::atomic::Ordering::Relaxed;

use super::{Context, integer};
use crate::server::resp::clients::{CAPABILITIES, Client, FLAGS};

/// A kind of client, as `TYPE` names it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Normal,
    Subscriber,
    /// Masters and replicas: they are not clients here.
    Nobody,
}

impl Kind {
    fn named(word: &[u8]) -> Result<Self, String> {
        match &word.to_ascii_lowercase()[..] {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Subscriber),
            b"master" | b"primary" | b"replica" | b"slave" => Ok(Self::Nobody),
            _ => Err(format!(
                "ERR Unknown client type '{}'",
                String::from_utf8_lossy(word).escape_debug()
            )),
        }
    }

    fn takes(self, client: &Client) -> bool {
        match self {
            Self::Normal => !client.is_subscriber(),
            Self::Subscriber => client.is_subscriber(),
            Self::Nobody => false,
        }
    }
}

/// What an option asks of a client.
#[derive(Debug)]
enum Wanted {
    Ids(Vec<u64>),
    Kind(Kind),
    Addr(Vec<u8>),
    LocalAddr(Vec<u8>),
    Ip(Vec<u8>),
    MaxAge(u64),
    Idle(u64),
    Flags(String),
    Capabilities(String),
    Name(Vec<u8>),
    LibName(Vec<u8>),
    LibVer(Vec<u8>),
    Store(u16),
    /// There is no user but `default`.
    Anybody,
}

impl Wanted {
    fn takes(&self, client: &Client, now_ms: u64) -> bool {
        let seconds = |since_ms: u64| now_ms.saturating_sub(since_ms) / 1000;
        let has_all = |letters: &str, wanted: &str| wanted.chars().all(|l| letters.contains(l));
        match self {
            Self::Ids(ids) => ids.contains(&client.id),
            Self::Kind(kind) => kind.takes(client),
            Self::Addr(addr) => client.addr.to_string().as_bytes() == addr,
            Self::LocalAddr(addr) => client.laddr.to_string().as_bytes() == addr,
            Self::Ip(ip) => client.addr.ip().to_string().as_bytes() == ip,
            Self::MaxAge(least) => seconds(client.created_ms) >= *least,
            Self::Idle(least) => seconds(client.last_ms.load(Relaxed)) >= *least,
            Self::Flags(wanted) => has_all(&client.flags(), wanted),
            Self::Capabilities(wanted) => has_all(client.capabilities(), wanted),
            Self::Name(name) => client.labels.lock().name == *name,
            Self::LibName(name) => client.labels.lock().lib_name == *name,
            Self::LibVer(version) => client.labels.lock().lib_ver == *version,
            Self::Store(store) => client.store.load(Relaxed) == *store,
            Self::Anybody => true,
        }
    }
}

/// All options of a command.
#[derive(Debug)]
pub(super) struct Filter {
    /// What is asked, by the option's name; and whether it is asked that it is not so.
    wanted: Vec<(Vec<u8>, bool, Wanted)>,
    /// Not the client that asks.
    pub(super) skip_me: bool,
}

const SYNTAX: &str = "ERR syntax error";

fn positive(word: &[u8], name: &str) -> Result<u64, String> {
    match integer(word).map(u64::try_from) {
        None => Err(format!("ERR {name} is not an integer or out of range")),
        Some(Ok(n)) if n > 0 => Ok(n),
        Some(_) => Err(format!("ERR {name} should be greater than 0")),
    }
}

/// Letters that are all among the known ones.
fn letters(word: &[u8], known: &str, what: &str) -> Result<String, String> {
    let word = String::from_utf8_lossy(word).into_owned();
    if word.chars().all(|letter| known.contains(letter)) {
        Ok(word)
    } else {
        let word = word.escape_debug();
        Err(format!("ERR Unknown {what} found in the provided filter: {word}"))
    }
}

impl Filter {
    /// One that takes the client with this address, as CLIENT KILL's old form does.
    pub(super) fn of_addr(addr: &[u8]) -> Self {
        let addr = (b"addr".to_vec(), false, Wanted::Addr(addr.to_vec()));
        Self { wanted: vec![addr], skip_me: false }
    }

    /// Reads the options.
    ///
    /// # Errors
    /// What is wrong with them, in the words of Redis and Valkey.
    pub(super) fn parse(
        context: &Context<'_>,
        mut rest: &[&[u8]],
        skip_me: bool,
    ) -> Result<Self, String> {
        let mut filter = Self { wanted: Vec::new(), skip_me };
        while let Some((option, tail)) = rest.split_first() {
            let option = option.to_ascii_lowercase();
            let (name, negated) = match option.strip_prefix(b"not-") {
                Some(name) => (name, true),
                None => (&option[..], false),
            };
            let Some((value, mut tail)) = tail.split_first() else { return Err(SYNTAX.into()) };
            let wanted = match name {
                b"skipme" if !negated => {
                    filter.skip_me = match &value.to_ascii_lowercase()[..] {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err(SYNTAX.into()),
                    };
                    rest = tail;
                    continue;
                }
                b"id" => {
                    let first = integer(value).ok_or(SYNTAX)?;
                    let mut ids = vec![id(first)?];
                    while let Some(next) = tail.first().and_then(|word| integer(word)) {
                        ids.push(id(next)?);
                        tail = &tail[1..];
                    }
                    Wanted::Ids(ids)
                }
                b"type" => Wanted::Kind(Kind::named(value)?),
                b"addr" => Wanted::Addr(value.to_vec()),
                b"laddr" => Wanted::LocalAddr(value.to_vec()),
                b"ip" => Wanted::Ip(value.to_vec()),
                b"maxage" => Wanted::MaxAge(positive(value, "maxage")?),
                b"idle" => Wanted::Idle(positive(value, "idle")?),
                b"flags" => Wanted::Flags(letters(value, FLAGS, "flags")?),
                b"capa" => Wanted::Capabilities(letters(value, CAPABILITIES, "capa")?),
                b"name" => Wanted::Name(value.to_vec()),
                b"lib-name" => Wanted::LibName(value.to_vec()),
                b"lib-ver" => Wanted::LibVer(value.to_vec()),
                b"db" => Wanted::Store(store(context, value)?),
                b"user" if *value == b"default" => Wanted::Anybody,
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(format!("ERR No such user '{}'", user.escape_debug()));
                }
                _ => return Err(SYNTAX.into()),
            };
            let same = |(other, not, _): &&mut (Vec<u8>, bool, Wanted)| {
                (&other[..], *not) == (name, negated)
            };
            let before = filter.wanted.iter_mut().find(same);
            if let (Some((_, _, Wanted::Ids(ids))), Wanted::Ids(more)) = (before, &wanted) {
                ids.extend(more);
                rest = tail;
                continue;
            }
            filter.wanted.retain(|(other, not, _)| (&other[..], *not) != (name, negated));
            filter.wanted.push((name.to_vec(), negated, wanted));
            rest = tail;
        }
        Ok(filter)
    }

    /// Whether it takes a client; `me` is the one that asks.
    pub(super) fn takes(&self, client: &Client, me: u64, now_ms: u64) -> bool {
        !(self.skip_me && client.id == me)
            && self.wanted.iter().all(|(_, not, wanted)| wanted.takes(client, now_ms) != *not)
    }
}

fn id(number: i64) -> Result<u64, String> {
    let id = u64::try_from(number).ok().filter(|id| *id > 0);
    id.ok_or_else(|| "ERR client-id should be greater than 0".into())
}

fn store(context: &Context<'_>, word: &[u8]) -> Result<u16, String> {
    let number = integer(word).ok_or("ERR DB is not an integer or out of range")?;
    let policies = context.shared.keyspace().policies();
    let most = policies.iter().map(|policy| policy.number).max().unwrap_or(0);
    let store = u16::try_from(number).ok().filter(|number| *number <= most);
    store.ok_or_else(|| format!("ERR DB number should be between 0 and {most}"))
}
