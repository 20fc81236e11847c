//! Which shape of the server does more per core: threads that run any command under its slot's
//! short lock, or threads that own slots and pass each other the commands of the others' slots.
//!
//! Both run the real keyspace. The owners' one is at its best here: nobody sleeps, so nobody is
//! woken, and the messages are passed in batches over bounded channels. See
//! `docs/decisions/0016-locks-or-owners.md`.

mod load;
mod owners;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use load::{BATCH, Engine, Source};

/// Threads that lock slots, against threads that own them.
#[derive(Debug, Parser)]
#[command(name = "shapes", about)]
struct Args {
    /// Numbers of threads.
    #[arg(long, default_value = "1,2", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Keys.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    /// Batches that each thread runs.
    #[arg(long, default_value_t = 200_000)]
    batches: usize,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// The time of all threads on a processor, in seconds.
    cpu: f64,
    /// From the first to the last, in seconds.
    wall: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    println!("| threads | shape | CPU ns per command | commands per second |");
    println!("| ---: | --- | ---: | ---: |");
    for &threads in &args.threads {
        let threads = threads.max(1);
        let shared = Arc::new(Engine::new(args.keys, args.value_bytes, |_| true)?);
        let locks = |seed| locks(&shared, threads, &args, seed);
        print(threads, "locks", &args, locks)?;
        drop(shared);
        let owned = owners::Owners::new(threads, args.keys, args.value_bytes)?;
        print(threads, "owners", &args, |seed| owned.run(args.batches, args.keys, seed))?;
    }
    Ok(())
}

fn print(
    threads: usize,
    shape: &str,
    args: &Args,
    run: impl Fn(u64) -> Result<Took>,
) -> Result<()> {
    let mut all = Vec::new();
    for seed in 0..args.repeats.max(1) as u64 {
        all.push(run(seed + 1)?);
    }
    let commands = (threads * args.batches * BATCH) as f64;
    let median = |of: fn(&Took) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (cpu, wall) = (median(|took| took.cpu), median(|took| took.wall));
    println!("| {threads} | {shape} | {:.0} | {:.0} |", cpu / commands * 1e9, commands / wall);
    Ok(())
}

fn locks(engine: &Arc<Engine>, threads: usize, args: &Args, seed: u64) -> Result<Took> {
    let (batches, keys) = (args.batches, args.keys);
    timed(threads, |thread| {
        let engine = Arc::clone(engine);
        move || {
            let mut source = Source::new(seed * 1000 + thread as u64, keys);
            let mut out = Vec::new();
            for _ in 0..batches {
                let ops: [_; BATCH] = std::array::from_fn(|_| source.op());
                out.clear();
                engine.batch(&ops, &mut out);
            }
        }
    })
}

/// Runs one body on each of several threads.
pub fn timed<F: FnOnce() + Send + 'static>(
    threads: usize,
    body: impl Fn(usize) -> F,
) -> Result<Took> {
    let started = Instant::now();
    let running: Vec<_> = (0..threads)
        .map(|thread| {
            let body = body(thread);
            std::thread::spawn(move || {
                let before = thread_seconds();
                body();
                thread_seconds() - before
            })
        })
        .collect();
    let mut cpu = 0.0;
    for thread in running {
        cpu += thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    }
    Ok(Took { cpu, wall: started.elapsed().as_secs_f64() })
}

/// How long this thread was on a processor.
fn thread_seconds() -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}
