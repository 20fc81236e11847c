//! What durability costs in one process, without sockets: the rows of the readme that this project
//! began from. Writing to the log, the log's throughput until all is on the disk, and what a handful
//! of keys takes to be read back and to be put into a snapshot.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hypercache::disk::{self, Which};
use hypercache::raft::Slots as _;
use hypercache_core::cluster::SLOTS;
use hypercache_core::command::lookup;
use hypercache_core::keyspace::{Keyspace, Options};
use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::{Durability, Mode, StorePolicy};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cost of the log and of snapshots.
#[derive(Debug, Parser)]
#[command(name = "durable", about)]
struct Args {
    /// Writes that are timed.
    #[arg(long, default_value_t = 2_000_000)]
    writes: u64,
    /// Different keys among them.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// A member's data without the rest of it.
struct Engine {
    keyspace: Arc<Keyspace>,
    handle: disk::Handle,
    running: disk::Running,
    /// From the directory's opening until it was read.
    read: Duration,
}

impl Engine {
    /// Opens a directory whose store has this mode, and waits until it is read.
    fn open(directory: &Path, mode: Mode) -> Result<Self> {
        let keyspace = Arc::new(Keyspace::new(Options { hash_seed: 1, eviction_seed: 1 }));
        let mut policy = StorePolicy::new("default", 0);
        policy.durability = Durability { mode, ..Durability::default() };
        let options = disk::Options {
            data_dir: Some(directory.to_owned()),
            keyspace: keyspace.clone(),
            stores: vec![policy],
        };
        let began = Instant::now();
        let disk = options.open()?;
        let gate = disk.gate();
        (0..SLOTS).for_each(|slot| gate.set_serving(slot, true));
        let (handle, running) = disk.start()?;
        let until = Instant::now() + PATIENCE;
        while handle.is_loading() {
            if Instant::now() > until {
                bail!("the data is not read after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_micros(5));
        }
        Ok(Self { keyspace, handle, running, read: began.elapsed() })
    }

    /// Ends it; the directory can be opened again then.
    fn stop(self) {
        let Self { keyspace, handle, running, .. } = self;
        running.stop();
        drop((keyspace, handle));
    }

    fn write(&self, writes: u64, keys: u64, value: &[u8]) -> Result<()> {
        let spec = lookup(&[b"set", b"k", b"v"]).map_err(anyhow::Error::msg)?;
        let journal = self.keyspace.journal();
        let (mut out, mut state) = (Vec::new(), 1u64);
        for number in 0..writes {
            // As long as the log is ahead of the disk.
            while !journal.has_room() {
                std::thread::yield_now();
            }
            // xorshift64 (Marsaglia, 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let number = if writes == keys { number } else { state % keys };
            let key = format!("key:{number:012}");
            out.clear();
            let words: [&[u8]; 3] = [b"SET", key.as_bytes(), value];
            let out = &mut Writer::new(&mut out, Protocol::Resp2);
            let ran = self.keyspace.execute(spec, 0, &words, 1_700_000_000_000, out);
            ran.ok().context("a slot is not served")?;
        }
        Ok(())
    }

    /// Waits until all that was written is on the disk.
    fn flush(&self) -> Result<()> {
        let journal = self.keyspace.journal();
        if !journal.is_on() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let durable = journal.until_durable(journal.ticket());
        let waited = runtime.block_on(async { tokio::time::timeout(PATIENCE, durable).await });
        waited.context("the log is not on the disk")?.context("the log failed")?;
        Ok(())
    }
}

/// How long all threads of this process were on a processor, in seconds.
fn cpu_seconds() -> Result<f64> {
    let mut total = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        total += text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0) / 1e9;
    }
    Ok(total)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Processor time of a write, in microseconds, and writes a second until all is on the disk.
fn writes(args: &Args, mode: Mode) -> Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(directory.path(), mode)?;
    let value = vec![b'v'; args.value_bytes];
    engine.write(args.keys, args.keys, &value)?;
    engine.flush()?;
    let (cpu, began) = (cpu_seconds()?, Instant::now());
    engine.write(args.writes, args.keys, &value)?;
    engine.flush()?;
    let writes = args.writes as f64;
    let took = ((cpu_seconds()? - cpu) / writes * 1e6, writes / began.elapsed().as_secs_f64());
    engine.stop();
    Ok(took)
}

/// Microseconds until a directory with 10 entries in its log is read, from its opening on.
fn recovery() -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(directory.path(), Mode::Aof)?;
    engine.write(10, 10, b"some value")?;
    engine.flush()?;
    engine.stop();
    let engine = Engine::open(directory.path(), Mode::Aof)?;
    let took = engine.read;
    if engine.keyspace.keys(0) != 10 {
        bail!("{} of 10 entries were read", engine.keyspace.keys(0));
    }
    engine.stop();
    Ok(took.as_secs_f64() * 1e6)
}

/// Milliseconds of a snapshot of 7 entries, until it is on the disk.
fn snapshot() -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(directory.path(), Mode::AofSnapshot)?;
    engine.write(7, 7, b"some value")?;
    engine.flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // The directory's first one also waits for what the start left to be done.
    runtime.block_on(engine.handle.snapshot(Which::All))?;
    engine.write(7, 7, b"another value")?;
    engine.flush()?;
    let began = Instant::now();
    let taken = runtime.block_on(engine.handle.snapshot(Which::All))?;
    let took = began.elapsed();
    let keys: u64 = taken.iter().map(|(_, stats)| stats.keys).sum();
    if keys != 7 {
        bail!("{keys} of 7 entries are in the snapshot");
    }
    engine.stop();
    Ok(took.as_secs_f64() * 1e3)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let repeats = args.repeats.max(1);
    let (mut plain, mut logged, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut recoveries, mut snapshots) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        plain.push(writes(&args, Mode::Disabled)?.0);
        let (cpu, rate) = writes(&args, Mode::Aof)?;
        logged.push(cpu);
        rates.push(rate);
        recoveries.push(recovery()?);
        snapshots.push(snapshot()?);
    }
    let (plain, logged) = (median(plain), median(logged));
    println!("| what | here | readme |");
    println!("| --- | ---: | ---: |");
    println!("| logging a write, µs | {:.2} | 2.7 |", logged - plain);
    println!("| a write with its log, µs | {logged:.2} | |");
    println!("| writes a second through the log, one thread | {:.0} | 370,000 |", median(rates));
    println!("| reading 10 entries back, µs | {:.0} | 160 |", median(recoveries));
    println!("| snapshot of 7 entries, ms | {:.2} | 3.7 |", median(snapshots));
    Ok(())
}
