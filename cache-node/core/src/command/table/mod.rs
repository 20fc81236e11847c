//! Every command, one file a family. A row here, and a function for it, is all a command needs.

mod bitmap;
mod blocking;
mod cluster;
mod connection;
mod cuckoo;
mod differs;
mod generic;
mod hash;
mod hyperloglog;
mod list;
mod observe;
mod persistence;
mod pubsub;
mod replication;
mod scripting;
mod server;
mod set;
mod set_combine;
mod sort;
mod sorted_set;
mod sorted_set_combine;
mod sorted_set_range;
mod sorted_set_remove;
mod string;
mod transactions;

use super::spec::Spec;

pub use differs::{DIFFERS, IN_GENERAL, NOT_HERE};

/// What the families' files are written with.
mod prelude {
    pub use super::super::ops::*;
    pub use super::super::spec::RunKeys::{Many, One, Waits};
    pub use super::super::spec::ShellCommand::*;
    pub use super::super::spec::{
        Acl, Arg, Blocking, Find, Flags as F, Group, KeySpec as Key, Run, RunOrWait, ScriptBy,
        Spec, Spread, TimeoutAt,
    };
    pub use super::numbered;
}

// Subcommands are numbered first, one container after the other, then the commands.
const OBJECT_FIRST: usize = 0;
const CLIENT_FIRST: usize = OBJECT_FIRST + generic::OBJECT_LIST.len();
const COMMAND_FIRST: usize = CLIENT_FIRST + connection::CLIENT_LIST.len();
const CONFIG_FIRST: usize = COMMAND_FIRST + server::COMMAND_LIST.len();
const CLUSTER_FIRST: usize = CONFIG_FIRST + server::CONFIG_LIST.len();
const PUBSUB_FIRST: usize = CLUSTER_FIRST + cluster::CLUSTER_LIST.len();
const MEMORY_FIRST: usize = PUBSUB_FIRST + pubsub::PUBSUB_LIST.len();
const SLOWLOG_FIRST: usize = MEMORY_FIRST + observe::MEMORY_LIST.len();
const COMMANDLOG_FIRST: usize = SLOWLOG_FIRST + observe::SLOWLOG_LIST.len();
const LATENCY_FIRST: usize = COMMANDLOG_FIRST + observe::COMMANDLOG_LIST.len();
const SCRIPT_FIRST: usize = LATENCY_FIRST + observe::LATENCY_LIST.len();
const TOP_FIRST: usize = SCRIPT_FIRST + scripting::SCRIPT_LIST.len();

const TOP: usize = generic::LIST.len()
    + string::LIST.len()
    + list::LIST.len()
    + blocking::LIST.len()
    + hash::LIST.len()
    + bitmap::LIST.len()
    + hyperloglog::LIST.len()
    + cuckoo::LIST.len()
    + set::LIST.len()
    + sort::LIST.len()
    + set_combine::LIST.len()
    + sorted_set::LIST.len()
    + sorted_set_range::LIST.len()
    + sorted_set_remove::LIST.len()
    + sorted_set_combine::LIST.len()
    + pubsub::LIST.len()
    + scripting::LIST.len()
    + connection::LIST.len()
    + server::LIST.len()
    + observe::LIST.len()
    + persistence::LIST.len()
    + replication::LIST.len()
    + cluster::LIST.len()
    + transactions::LIST.len();

/// How many commands and subcommands there are; [`Spec::index`] is below it.
pub const COUNT: usize = TOP_FIRST + TOP;

/// The commands, their subcommands inside them.
pub static TABLE: [Spec; TOP] = numbered(all(), TOP_FIRST);

const fn all() -> [Spec; TOP] {
    let families: [&[Spec]; 24] = [
        &generic::LIST,
        &string::LIST,
        &list::LIST,
        &blocking::LIST,
        &hash::LIST,
        &bitmap::LIST,
        &hyperloglog::LIST,
        &cuckoo::LIST,
        &set::LIST,
        &sort::LIST,
        &set_combine::LIST,
        &sorted_set::LIST,
        &sorted_set_range::LIST,
        &sorted_set_remove::LIST,
        &sorted_set_combine::LIST,
        &pubsub::LIST,
        &scripting::LIST,
        &connection::LIST,
        &server::LIST,
        &observe::LIST,
        &persistence::LIST,
        &replication::LIST,
        &cluster::LIST,
        &transactions::LIST,
    ];
    let mut table = [generic::LIST[0]; TOP];
    let (mut family, mut next) = (0, 0);
    while family < families.len() {
        let mut i = 0;
        while i < families[family].len() {
            table[next] = families[family][i];
            next += 1;
            i += 1;
        }
        family += 1;
    }
    table
}

/// Gives each row its number.
pub const fn numbered<const N: usize>(mut specs: [Spec; N], first: usize) -> [Spec; N] {
    let mut i = 0;
    while i < N {
        specs[i].index = (first + i) as u16;
        i += 1;
    }
    specs
}

/// Places in the hash index; a power of two, four times the commands or more.
const PLACES: usize = 2048;
const _: () = assert!(TOP * 4 <= PLACES);
const EMPTY: u16 = u16::MAX;

/// Name to index in [`TABLE`], by open addressing; made when this is compiled.
static INDEX: [u16; PLACES] = {
    let mut index = [EMPTY; PLACES];
    let mut i = 0;
    while i < TOP {
        let mut place = hash(all_names()[i].as_bytes());
        while index[place] != EMPTY {
            place = (place + 1) % PLACES;
        }
        index[place] = i as u16;
        i += 1;
    }
    index
};

const fn all_names() -> [&'static str; TOP] {
    let table = all();
    let mut names = [""; TOP];
    let mut i = 0;
    while i < TOP {
        names[i] = table[i].name;
        i += 1;
    }
    names
}

/// FNV-1a over the letters, whatever their case.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5u32;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ (name[i] | 0x20) as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (hash ^ (hash >> 16)) as usize % PLACES
}

/// The longest name of a command; longer words are not looked up.
const LONGEST: usize = 32;

/// The command of that name, whatever its case.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    if name.len() > LONGEST {
        return None;
    }
    let mut place = hash(name);
    loop {
        let spec = TABLE.get(usize::from(INDEX[place]))?;
        if spec.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(spec);
        }
        place = (place + 1) % PLACES;
    }
}

/// The subcommand of that name, whatever its case.
pub fn find_subcommand(container: &'static Spec, name: &[u8]) -> Option<&'static Spec> {
    container.subcommands.iter().find(|spec| {
        let own = spec.name.rsplit('|').next().unwrap_or(spec.name);
        own.as_bytes().eq_ignore_ascii_case(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_in_any_case_and_nothing_else_is() {
        for spec in &TABLE {
            for name in [spec.name.to_owned(), spec.name.to_ascii_uppercase()] {
                assert_eq!(find(name.as_bytes()).map(|found| found.name), Some(spec.name));
            }
        }
        for name in [&b""[..], b"gett", b"ge", b"client|id", &[b'a'; 1000]] {
            assert!(find(name).is_none());
        }
    }

    #[test]
    fn numbers_have_no_gaps() {
        let subcommands = TABLE.iter().flat_map(|spec| spec.subcommands);
        let mut numbers: Vec<u16> = TABLE.iter().chain(subcommands).map(|s| s.index).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..COUNT as u16).collect::<Vec<_>>());
    }
}
