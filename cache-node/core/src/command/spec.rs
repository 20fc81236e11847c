//! What stands in the table for one command.

use super::ops::walk::Walk;
use crate::keyspace::{Access, Keyspace, Locked, Needs, NotServing, Value};
use crate::resp::{Writer, parse_i64};
use crate::store::StoreNumber;
use bitflags::bitflags;
use smallvec::SmallVec;

bitflags! {
    /// The command flags that `COMMAND INFO` prints.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Flags: u32 {
        /// May change data.
        const WRITE = 1;
        /// Only reads data.
        const READONLY = 1 << 1;
        /// Refused when memory is over its bound and nothing can be evicted.
        const DENYOOM = 1 << 2;
        /// An administrator's command.
        const ADMIN = 1 << 3;
        /// Publishes or subscribes.
        const PUBSUB = 1 << 20;
        /// Not for scripts.
        const NOSCRIPT = 1 << 4;
        /// May wait for its keys.
        const BLOCKING = 1 << 21;
        /// Allowed while data is loaded.
        const LOADING = 1 << 5;
        /// Allowed while data is stale.
        const STALE = 1 << 6;
        /// Not shown to MONITOR.
        const SKIP_MONITOR = 1 << 7;
        /// Constant or logarithmic time.
        const FAST = 1 << 8;
        /// Allowed before AUTH.
        const NO_AUTH = 1 << 9;
        /// Its key positions depend on its arguments.
        const MOVABLEKEYS = 1 << 10;
        /// Allowed while a script is over its time.
        const ALLOW_BUSY = 1 << 11;
        /// Not inside MULTI.
        const NO_MULTI = 1 << 12;
        /// Accepts having no key although its key positions say one.
        const NO_MANDATORY_KEYS = 1 << 13;
        /// Not kept in the slow log.
        const SKIP_SLOWLOG = 1 << 14;
        /// Refused while data is loaded in the background.
        const NO_ASYNC_LOADING = 1 << 15;
        /// Sentinel has it as well.
        const SENTINEL = 1 << 16;
    }
}

bitflags! {
    /// The ACL categories that `COMMAND INFO` prints; those that follow from flags are added by
    /// [`Spec::acl_categories`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Acl: u32 {
        /// Keys whatever their type.
        const KEYSPACE = 1;
        /// Reads data.
        const READ = 1 << 1;
        /// Changes data.
        const WRITE = 1 << 2;
        /// Lists.
        const LIST = 1 << 3;
        /// Strings.
        const STRING = 1 << 4;
        /// Publishes or subscribes.
        const PUBSUB = 1 << 20;
        /// For administrators.
        const ADMIN = 1 << 5;
        /// Constant or logarithmic time.
        const FAST = 1 << 6;
        /// Not fast.
        const SLOW = 1 << 7;
        /// May wait for keys.
        const BLOCKING = 1 << 21;
        /// Can do harm.
        const DANGEROUS = 1 << 8;
        /// About connections.
        const CONNECTION = 1 << 9;
        /// Sets.
        const SET = 1 << 10;
        /// Sorted sets.
        const SORTEDSET = 1 << 11;
        /// Hashes.
        const HASH = 1 << 12;
        /// Bits of strings.
        const BITMAP = 1 << 13;
        /// Estimates of how many there are.
        const HYPERLOGLOG = 1 << 14;
        /// Several commands as one.
        const TRANSACTION = 1 << 15;
        /// Scripts.
        const SCRIPTING = 1 << 22;
        /// Cuckoo filters.
        const CUCKOO = 1 << 16;
    }
}

impl Flags {
    /// The flags' names, as Redis prints them.
    pub fn names(self) -> impl Iterator<Item = String> {
        self.iter_names().map(|(name, _)| name.to_ascii_lowercase())
    }
}

/// How the answers of several slots or members become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spread {
    /// Its keys are in one slot, or the command is refused as cross-slot.
    OneSlot,
    /// The sum of the integers answered for each key.
    SumByKeys,
    /// An array with one element a key.
    ArrayByKeys,
    /// `OK` when every `key value` pair is set.
    OkByKeys,
    /// The sum of what every member answers.
    SumMembers,
    /// `OK` when every member answered so.
    OkMembers,
    /// The arrays of all members, one after the other.
    ConcatMembers,
    /// The cursor names the slot, and so the member.
    Cursor,
    /// The answer of any member that has one.
    AnyMember,
    /// Any member answers by itself.
    Here,
}

/// A command's family, as `COMMAND DOCS` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Keys whatever their type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Bits of strings.
    Bitmap,
    /// Estimates of how many there are.
    HyperLogLog,
    /// Cuckoo filters.
    Cuckoo,
    /// Publishing and subscribing.
    PubSub,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
    /// Several commands as one.
    Transactions,
    /// Scripts.
    Scripting,
}

impl Group {
    /// All of them, in their order.
    pub const ALL: [Self; 15] = [
        Self::Generic,
        Self::String,
        Self::List,
        Self::Hash,
        Self::Set,
        Self::SortedSet,
        Self::Bitmap,
        Self::HyperLogLog,
        Self::Cuckoo,
        Self::PubSub,
        Self::Connection,
        Self::Server,
        Self::Cluster,
        Self::Transactions,
        Self::Scripting,
    ];

    /// The word for the family.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Cuckoo => "cf",
            Self::PubSub => "pubsub",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
        }
    }
}

/// Where keys stand in a command's arguments: one key specification of `COMMAND INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The first key's index; the command's name is 0.
    pub first: usize,
    /// The last key's index, counted from `first`; negative: from the end (−1 is the last argument).
    pub last: i32,
    /// From one key to the next.
    pub step: usize,
    /// What the command does to the keys, as Redis words it: `RO access`, `RW access update`, …
    pub flags: &'static [&'static str],
    /// What there is to know about these keys.
    pub notes: Option<&'static str>,
    /// How they are found.
    pub find: Find,
}

/// Which arguments are fields of a hash, or members of a set: what is asked for ahead. Options in
/// front of them are not considered, so these are a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Members {
    /// The index of the first.
    pub first: usize,
    /// From one to the next.
    pub step: usize,
}

/// How the keys of a [`KeySpec`] are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// From `first` to `last`.
    Range,
    /// `first` says how many there are; they follow it.
    Count,
    /// Behind SORT's word STORE, the last one counting; Redis calls it unknown.
    SortStore,
    /// Nowhere in the arguments; Redis calls it unknown.
    Unknown,
}

/// One argument in `COMMAND DOCS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// `key`, `string`, `integer`, `double`, `pattern`, `unix-time`, `pure-token`, `oneof`, `block`.
    pub kind: &'static str,
    /// The index in `COMMAND INFO`'s key specifications that a `key` belongs to.
    pub key_spec: Option<u8>,
    /// The word before it, or the word that it is.
    pub token: Option<&'static str>,
    /// The Redis version that brought it, where later than the command.
    pub since: Option<&'static str>,
    /// `optional`, `multiple`, `multiple_token`.
    pub flags: &'static [&'static str],
    /// What a `oneof` or `block` consists of.
    pub arguments: &'static [Arg],
}

/// A command of the connection, the server or the cluster: the server carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is named as its command")]
pub enum ShellCommand {
    Ping,
    Echo,
    Hello,
    Auth,
    Select,
    Quit,
    Reset,
    ClientId,
    ClientGetName,
    ClientSetName,
    ClientSetInfo,
    ClientList,
    ClientKill,
    ClientUnblock,
    ClientInfo,
    ClientPause,
    ClientUnpause,
    ClientNoEvict,
    ClientNoTouch,
    ClientTrackingInfo,
    ClientReply,
    ClientGetRedir,
    ClientCapa,
    Info,
    Time,
    /// COMMAND and all its subcommands: [`super::introspect`] answers.
    Command,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
    ConfigRewrite,
    MemoryDoctor,
    MemoryMallocStats,
    MemoryPurge,
    MemoryStats,
    SlowlogGet,
    SlowlogLen,
    SlowlogReset,
    CommandlogGet,
    CommandlogLen,
    CommandlogReset,
    LatencyDoctor,
    LatencyGraph,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    ClusterShards,
    ClusterSlots,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterKeySlot,
    ClusterCountKeysInSlot,
    Stores,
    Save,
    BgSave,
    LastSave,
    BgRewriteAof,
    WaitAof,
    Wait,
    Role,
    ReadOnly,
    ReadWrite,
    Asking,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Subscribe,
    PSubscribe,
    SSubscribe,
    Unsubscribe,
    PUnsubscribe,
    SUnsubscribe,
    Publish,
    SPublish,
    PubSubChannels,
    PubSubNumSub,
    PubSubNumPat,
    PubSubShardChannels,
    PubSubShardNumSub,
    ScriptLoad,
    ScriptExists,
    ScriptFlush,
    ScriptKill,
    ScriptShow,
    ScriptDebug,
    /// Any command's HELP: [`super::introspect`] answers.
    Help,
    /// A command that only has subcommands: arity and lookup refuse it before it runs.
    Container,
}

/// A command over the whole keyspace of a member. Its error is the slot where a SCAN would go on
/// but that is not served here.
pub type RunKeyspace = fn(
    space: &Keyspace,
    store: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    out: &mut Writer<'_>,
) -> Result<(), NotServing>;

/// A command over the whole keyspace of a member, in steps that take less than a millisecond; true
/// once its reply is written. No step sees all keys at one time.
pub type RunWalk = fn(
    space: &Keyspace,
    store: StoreNumber,
    args: &[&[u8]],
    now_ms: u64,
    walk: &mut Walk,
    out: &mut Writer<'_>,
) -> bool;

/// A command over the keys it names; their slots are locked.
#[derive(Debug, Clone, Copy)]
pub enum RunKeys {
    /// Over one key.
    One(fn(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>)),
    /// Over several keys.
    Many(fn(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>)),
    /// Over several keys, waiting for them where nobody else waits for it.
    Waits(Blocking),
}

/// One attempt of a command that waits: it answers and gives true, or changes and writes nothing and
/// gives false.
pub type RunOrWait = fn(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool;

/// How a command waits.
#[derive(Clone, Copy)]
pub struct Blocking {
    /// One attempt.
    pub run: RunOrWait,
    /// Whether a value is of the type that it waits for.
    pub wants: fn(&Value) -> bool,
    /// Where its timeout stands.
    pub timeout_at: TimeoutAt,
    /// Whether it waits for its first key and needs all, rather than for any one of them.
    pub needs_all_keys: bool,
    /// What it answers where it may not wait (in transactions and scripts) and finds nothing.
    pub nothing: fn(&mut Writer<'_>),
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocking").field("timeout_at", &self.timeout_at).finish_non_exhaustive()
    }
}

impl Blocking {
    /// Runs it where it may not wait.
    pub fn run_at_once(&self, keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
        if !(self.run)(keys, args, out) {
            (self.nothing)(out);
        }
    }
}

/// Where the timeout of a command that waits stands among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutAt {
    /// Before the others.
    First,
    /// Behind the others.
    Last,
}

/// How a command names the script that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScriptBy {
    /// By its text.
    Text,
    /// By the SHA-1 of its text, in hex.
    Sha,
}

/// Who carries a command out.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Works on the keys it names.
    Keys(RunKeys),
    /// Works on every slot this member serves.
    Keyspace(RunKeyspace),
    /// Works on every slot this member serves, step by step.
    Walk(RunWalk),
    /// Runs a script over the keys it names; the shell has the interpreter.
    Script(ScriptBy),
    /// Done by the server.
    Shell(ShellCommand),
}

/// One command or subcommand.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Lower case; a subcommand has its container's name in it: `client|id`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The Redis version that brought it.
    pub since: &'static str,
    /// Its family.
    pub group: Group,
    /// Its cost.
    pub complexity: &'static str,
    /// How many arguments, the name counted; negative: at least that many.
    pub arity: i32,
    /// What it does and where it may be used.
    pub flags: Flags,
    /// ACL categories that do not follow from the flags.
    pub acl: Acl,
    /// Command tips, as `COMMAND INFO` prints them.
    pub tips: &'static [&'static str],
    /// Where its keys stand.
    pub key_specs: &'static [KeySpec],
    /// Where the members of its first key's value stand that it looks up, mostly.
    pub members: Option<Members>,
    /// How it works over several slots and members.
    pub spread: Spread,
    /// Its subcommands, if it is a container.
    pub subcommands: &'static [Spec],
    /// Its arguments, for `COMMAND DOCS`.
    pub arguments: &'static [Arg],
    /// Who carries it out.
    pub run: Run,
    /// A number below [`super::COUNT`], without gaps over commands and subcommands: for counters
    /// per command.
    pub index: u16,
}

impl Spec {
    /// A command without flags and keys, done by nobody yet: the start of a row of the table.
    pub(super) const fn new(
        name: &'static str,
        arity: i32,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            name,
            summary,
            since,
            group,
            complexity,
            arity,
            flags: Flags::empty(),
            acl: Acl::empty(),
            tips: &[],
            key_specs: &[],
            members: None,
            spread: Spread::Here,
            subcommands: &[],
            arguments: &[],
            run: Run::Shell(ShellCommand::Container),
            index: 0,
        }
    }

    pub(super) const fn flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    pub(super) const fn acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    pub(super) const fn keyed(mut self, key_specs: &'static [KeySpec]) -> Self {
        self.key_specs = key_specs;
        self
    }

    pub(super) const fn members(mut self, first: usize, step: usize) -> Self {
        self.members = Some(Members { first, step });
        self
    }

    pub(super) const fn args(mut self, arguments: &'static [Arg]) -> Self {
        self.arguments = arguments;
        self
    }

    pub(super) const fn spread(mut self, spread: Spread) -> Self {
        self.spread = spread;
        self
    }

    pub(super) const fn run(mut self, run: Run) -> Self {
        self.run = run;
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// All ACL categories, those that follow from the flags included, with their `@`.
    pub fn acl_categories(&self) -> SmallVec<[String; 4]> {
        let flags = self.flags;
        let mut acl = self.acl;
        acl.set(Acl::WRITE, flags.contains(Flags::WRITE));
        // What a script reads is its own commands' matter.
        acl.set(Acl::READ, flags.contains(Flags::READONLY) && !acl.contains(Acl::SCRIPTING));
        // LASTSAVE is of that category without the flag.
        acl.set(Acl::ADMIN, acl.contains(Acl::ADMIN) || flags.contains(Flags::ADMIN));
        acl.set(Acl::PUBSUB, flags.contains(Flags::PUBSUB));
        acl.set(Acl::BLOCKING, flags.contains(Flags::BLOCKING));
        acl.set(Acl::FAST, flags.contains(Flags::FAST));
        acl.set(Acl::SLOW, !flags.contains(Flags::FAST));
        acl |= if flags.contains(Flags::ADMIN) { Acl::DANGEROUS } else { Acl::empty() };
        acl.iter_names().map(|(name, _)| format!("@{}", name.to_ascii_lowercase())).collect()
    }

    /// The legacy key positions of `COMMAND INFO`: first, last (negative: from the end), step.
    pub fn legacy_positions(&self) -> (usize, i32, usize) {
        let Some(first) = self.key_specs.first() else { return (0, 0, 0) };
        if first.find != Find::Range {
            return (0, 0, 0);
        }
        let ranges = self.key_specs.iter().filter(|spec| spec.find == Find::Range);
        let mut last = ranges
            .map(|spec| if spec.last < 0 { spec.last } else { spec.first as i32 + spec.last });
        (first.first, last.next_back().unwrap_or(0), first.step)
    }

    /// The first key among a command's arguments.
    #[inline]
    pub fn first_key<'a>(&self, args: &[&'a [u8]]) -> Option<&'a [u8]> {
        args.get(self.key_specs.first()?.first).copied()
    }

    /// The keys among a command's arguments (the name is `args[0]`).
    #[inline]
    pub fn keys<'a>(&self, args: &[&'a [u8]]) -> SmallVec<[&'a [u8]; 4]> {
        let mut keys = SmallVec::new();
        for spec in self.key_specs {
            for index in spec.positions(args) {
                keys.push(args[index]);
            }
        }
        keys
    }

    /// Whether it may change data; a script is not counted.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether it, or the script that it runs, may change data.
    #[inline]
    pub fn may_write(&self) -> bool {
        self.is_write() || (self.is_script() && !self.flags.contains(Flags::READONLY))
    }

    /// What it asks for before it may begin.
    #[inline]
    pub fn needs(&self) -> Needs {
        Needs { room: self.flags.contains(Flags::DENYOOM), log: self.is_write() }
    }

    /// Whether it runs a script.
    #[inline]
    pub fn is_script(&self) -> bool {
        matches!(self.run, Run::Script(_))
    }
}

impl KeySpec {
    pub(super) const fn at(first: usize, flags: &'static [&'static str]) -> Self {
        Self { first, last: 0, step: 1, flags, notes: None, find: Find::Range }
    }

    pub(super) const fn found(mut self, find: Find) -> Self {
        self.find = find;
        self
    }

    pub(super) const fn to(mut self, last: i32, step: usize) -> Self {
        self.last = last;
        self.step = step;
        self
    }

    pub(super) const fn notes(mut self, notes: &'static str) -> Self {
        self.notes = Some(notes);
        self
    }

    /// Whether the arguments say that there are more keys than there can be.
    pub fn is_short(&self, args: &[&[u8]]) -> bool {
        let counted = self.find == Find::Count;
        let keys = args.get(self.first).and_then(|arg| parse_i64(arg)).unwrap_or(0);
        let left = args.len().saturating_sub(self.first + 1) / self.step.max(1);
        counted && usize::try_from(keys).is_ok_and(|keys| keys > left)
    }

    /// The indexes of the keys among a command's arguments.
    #[inline]
    pub fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let count = args.len();
        let (first, end, step) = match self.find {
            Find::Range if self.last >= 0 => {
                (self.first, self.first.saturating_add(self.last as usize + 1), self.step)
            }
            Find::Range => {
                let left = count.saturating_sub(self.last.unsigned_abs() as usize);
                (self.first, left.saturating_add(1), self.step)
            }
            Find::Count => {
                let keys = args.get(self.first).and_then(|arg| parse_i64(arg)).unwrap_or(0);
                let words = usize::try_from(keys).unwrap_or(0).saturating_mul(self.step);
                (self.first + 1, (self.first + 1).saturating_add(words), self.step)
            }
            Find::SortStore => match sort_store(args) {
                Some(at) => (at, at + 1, 1),
                None => (0, 0, 1),
            },
            Find::Unknown => (0, 0, 1),
        };
        (first..end.min(count)).step_by(step.max(1))
    }
}

/// Where the key stands that SORT stores to.
fn sort_store(args: &[&[u8]]) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(word) = args.get(at) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"STORE") && at + 1 < args.len() {
            found = Some(at + 1);
        }
        at += match () {
            () if is(b"LIMIT") => 3,
            () if is(b"GET") || is(b"BY") || is(b"STORE") => 2,
            () => 1,
        };
    }
    found
}

impl Arg {
    pub(super) const fn new(name: &'static str, kind: &'static str) -> Self {
        Self { name, kind, key_spec: None, token: None, since: None, flags: &[], arguments: &[] }
    }

    pub(super) const fn key(name: &'static str, key_spec: u8) -> Self {
        let mut arg = Self::new(name, "key");
        arg.key_spec = Some(key_spec);
        arg
    }

    pub(super) const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(name, "pure-token").token(token)
    }

    pub(super) const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    pub(super) const fn since(mut self, since: &'static str) -> Self {
        self.since = Some(since);
        self
    }

    pub(super) const fn optional(mut self) -> Self {
        self.flags = &["optional"];
        self
    }

    pub(super) const fn multiple(mut self) -> Self {
        self.flags = if self.flags.is_empty() { &["multiple"] } else { &["optional", "multiple"] };
        self
    }

    /// Its token is repeated with it.
    pub(super) const fn multiple_token(mut self) -> Self {
        self.flags = &["optional", "multiple", "multiple_token"];
        self
    }

    pub(super) const fn of(mut self, arguments: &'static [Arg]) -> Self {
        self.arguments = arguments;
        self
    }
}
