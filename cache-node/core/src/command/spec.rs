//! What stands in the table for one command.

use super::RunKeys;
use crate::keyspace::Keyspace;
use crate::resp::Writer;
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
        /// Not for scripts.
        const NOSCRIPT = 1 << 4;
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
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The word for the family.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// Where keys stand in a command's arguments: one key specification of `COMMAND INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The first key's index; the command's name is 0.
    pub first: usize,
    /// The last key's index counted from `first`; negative: from the end (−1 is the last argument).
    pub last: i32,
    /// From one key to the next.
    pub step: usize,
    /// What the command does to the keys, as Redis words it: `RO access`, `RW access update`, …
    pub flags: &'static [&'static str],
    /// What there is to know about these keys.
    pub notes: Option<&'static str>,
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
    ClientInfo,
    Info,
    Time,
    /// COMMAND and all its subcommands: [`super::introspect`] answers.
    Command,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
    ClusterShards,
    ClusterSlots,
    ClusterNodes,
    ClusterInfo,
    ClusterMyId,
    ClusterKeySlot,
    ClusterCountKeysInSlot,
    Stores,
    ReadOnly,
    ReadWrite,
    /// Any command's HELP: [`super::introspect`] answers.
    Help,
    /// A command that only has subcommands: arity and lookup refuse it before it runs.
    Container,
}

/// A command over the whole keyspace of a member.
pub type RunKeyspace =
    fn(space: &Keyspace, store: StoreNumber, args: &[&[u8]], now_ms: u64, out: &mut Writer<'_>);

/// Who carries a command out.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// Works on the keys it names.
    Keys(RunKeys),
    /// Works on every slot this member serves.
    Keyspace(RunKeyspace),
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
    /// ACL categories, `@` included.
    pub acl_categories: &'static [&'static str],
    /// Where its keys stand.
    pub key_specs: &'static [KeySpec],
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
    /// The keys among a command's arguments (the name is `args[0]`).
    #[inline]
    pub fn keys<'a>(&self, args: &[&'a [u8]]) -> SmallVec<[&'a [u8]; 4]> {
        let mut keys = SmallVec::new();
        for spec in self.key_specs {
            for index in spec.positions(args.len()) {
                keys.push(args[index]);
            }
        }
        keys
    }

    /// Whether it may change data.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }
}

impl KeySpec {
    /// The indexes of the keys among `count` arguments.
    #[inline]
    pub fn positions(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last >= 0 {
            self.first.saturating_add(self.last as usize)
        } else {
            count.saturating_sub(self.last.unsigned_abs() as usize)
        };
        (self.first..=last).step_by(self.step.max(1)).take_while(move |index| *index < count)
    }
}
