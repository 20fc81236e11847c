//! `log export`: the data as commands that redis-server replays: one `SET`, `RPUSH`, … a key, large
//! collections in pieces. A member may run meanwhile; each slot is as of a moment then.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use hypercache_core::keyspace::Value;
use hypercache_core::log::Sequence;
use hypercache_core::log::record::{commands, put_command};
use hypercache_core::store::StoreNumber;

use super::args::{ExportArgs, Format};
use super::parts::{Part, visit};
use super::source::Source;
use super::state::{AsOf, State, put_entry};
use super::{Ended, Error, raw, text};
use crate::clock::now_ms;
use crate::disk::catalog::Row;
use crate::disk::layout::sync_parent;

/// Writes what was asked for.
pub fn run(args: &ExportArgs, stdout: &mut dyn Write) -> Result<Ended, Error> {
    let source = args.from.open()?;
    let stores = stores(&source, args)?;
    let databases = databases(&source, &stores, args)?;
    let Some(path) = &args.output else {
        return write(args, &source, stores, Sink::new(stdout, args.format, databases));
    };
    if path.exists() {
        return Err(Error::Refused(format!("{}: it is there already", path.display())));
    }
    // Under its name it is whole.
    let mut draft = path.clone().into_os_string();
    draft.push(".tmp");
    let draft = Path::new(&draft);
    let written = (|| {
        let file = OpenOptions::new().write(true).create_new(true).open(draft);
        let file = file.map_err(|error| Error::file(draft, error))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let ended = write(args, &source, stores, Sink::new(&mut file, args.format, databases))?;
        let file: File = file.into_inner().map_err(|error| Error::Output(error.into_error()))?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        sync_parent(path)?;
        Ok(ended)
    })();
    if written.is_err() {
        let _ = fs::remove_file(draft);
    }
    written
}

/// The stores that are meant, as `STORES` or the snapshots that were given have them.
fn stores(source: &Source, args: &ExportArgs) -> Result<BTreeMap<StoreNumber, Row>, Error> {
    let mut stores = source.stores.clone();
    if source.root.is_none() {
        if !source.segments.is_empty() && !args.raw {
            return Err(Error::Refused(
                "segments alone are a history and no data: give the data directory, or --raw"
                    .into(),
            ));
        }
        // Files that were given have the last word.
        stores.retain(|_, _| args.raw);
        for file in &source.snapshots {
            let Some((_, Ok(snapshot))) = file.open(None)? else { continue };
            let header = snapshot.header;
            let row = Row { name: header.name, ..Row::default() };
            stores.insert(header.store, row);
        }
    }
    if args.store.is_empty() {
        return Ok(stores);
    }
    let mut wanted = BTreeSet::new();
    for asked in &args.store {
        wanted.insert(source.store_number(asked)?);
    }
    stores.retain(|number, _| wanted.contains(number));
    Ok(stores)
}

/// Into which database each store goes.
fn databases(
    source: &Source,
    stores: &BTreeMap<StoreNumber, Row>,
    args: &ExportArgs,
) -> Result<BTreeMap<StoreNumber, u16>, Error> {
    let mut databases: BTreeMap<_, _> = stores.keys().map(|number| (*number, *number)).collect();
    for map in &args.map {
        let parts = map.rsplit_once('=').and_then(|(store, n)| Some((store, n.parse().ok()?)));
        let (store, database) = parts.ok_or_else(|| {
            Error::Refused(format!("--map {map}: it is no store, '=' and a database's number"))
        })?;
        databases.insert(source.store_number(store)?, database);
    }
    let mut taken = BTreeMap::new();
    for (store, database) in databases.iter().filter(|(store, _)| stores.contains_key(store)) {
        let name = source.store_name(*store);
        if *database >= args.databases {
            return Err(Error::Refused(format!(
                "store '{name}' would go to database {database}, and the redis-server has {}: give \
                 --map {name}=N, or --databases as its configuration has it",
                args.databases
            )));
        }
        if let Some(other) = taken.insert(*database, name.clone()) {
            return Err(Error::Refused(format!(
                "stores '{other}' and '{name}' would both go to database {database}: give --map"
            )));
        }
    }
    Ok(databases)
}

/// The last sequence before the first record that is later than this time.
fn sequence_at(source: &Source, time_ms: u64) -> Result<Sequence, Error> {
    let mut first_after = Sequence::MAX;
    for segment in &source.segments {
        let Some((file, _)) = segment.open()? else { continue };
        visit(
            segment,
            &file,
            |_| true,
            |part| {
                if let Part::Frame(frame) = part {
                    let later = frame.records().into_iter().filter(|r| r.time_ms > time_ms);
                    first_after = later.fold(first_after, |first, r| first.min(r.sequence));
                }
                Ok(())
            },
        )?;
    }
    Ok(first_after.saturating_sub(u64::from(first_after < Sequence::MAX)))
}

fn write(
    args: &ExportArgs,
    source: &Source,
    stores: BTreeMap<StoreNumber, Row>,
    mut sink: Sink<'_>,
) -> Result<Ended, Error> {
    let at_time = args.to_time.map(|time_ms| sequence_at(source, time_ms)).transpose()?;
    let as_of = AsOf {
        last: at_time.or(args.to_sequence).unwrap_or(Sequence::MAX),
        time_ms: args.to_time.unwrap_or(u64::MAX),
        now_ms: match args.to_sequence {
            Some(_) => 0,
            None => args.to_time.unwrap_or_else(now_ms),
        },
    };
    let damages = if args.raw {
        raw::write(source, &stores, as_of.last, &mut sink)?
    } else {
        let mut state = State::open(source, stores, as_of)?;
        let mut bytes = Vec::new();
        state.visit(as_of.now_ms, |store, entry| {
            if matches!(entry.value.object(), Some(Value::Cuckoo(_))) {
                sink.leave_out(entry.key);
                return Ok(());
            }
            bytes.clear();
            put_entry(&mut bytes, entry);
            sink.keys += 1;
            sink.put(store, &bytes)
        })?;
        state.damages
    };
    sink.out.flush()?;
    sink.tell();
    for damage in &damages {
        eprintln!("hypercache: damaged: {damage}");
    }
    Ok(if damages.is_empty() { Ended::Well } else { Ended::Damaged })
}

/// Where commands go.
pub struct Sink<'o> {
    out: &'o mut dyn Write,
    format: Format,
    databases: BTreeMap<StoreNumber, u16>,
    selected: Option<u16>,
    keys: u64,
    filters: u64,
    a_filter: Option<String>,
}

impl<'o> Sink<'o> {
    fn new(out: &'o mut dyn Write, format: Format, databases: BTreeMap<StoreNumber, u16>) -> Self {
        Self { out, format, databases, selected: None, keys: 0, filters: 0, a_filter: None }
    }

    /// Writes commands of a store, in RESP.
    pub fn put(&mut self, store: StoreNumber, resp: &[u8]) -> Result<(), Error> {
        let database = self.databases.get(&store).copied().unwrap_or(store);
        if self.selected != Some(database) {
            self.selected = Some(database);
            let mut select = Vec::new();
            put_command(&mut select, &[b"SELECT", database.to_string().as_bytes()]);
            self.write(&select)?;
        }
        self.write(resp)
    }

    /// Writes commands of no store.
    pub fn write(&mut self, resp: &[u8]) -> Result<(), Error> {
        match self.format {
            Format::Aof => self.out.write_all(resp)?,
            Format::Commands => {
                for words in commands(resp).flatten() {
                    writeln!(self.out, "{}", text::line(&words))?;
                }
            }
        }
        Ok(())
    }

    /// Notes a filter that is left out.
    pub fn leave_out(&mut self, key: &[u8]) {
        self.filters += 1;
        self.a_filter.get_or_insert_with(|| key.escape_ascii().to_string());
    }

    fn tell(&self) {
        if let Some(key) = &self.a_filter {
            eprintln!(
                "hypercache: {} cuckoo filters (or commands about them) were left out, '{key}' first: \
                 redis-server has none",
                self.filters
            );
        }
    }
}
