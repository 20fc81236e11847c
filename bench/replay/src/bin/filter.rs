//! What a store's cuckoo filter costs and saves: GETs of absent and present keys and SETs with and
//! without it, bytes a key, and its measured rate of false positives. Prints Markdown.

use clap::Parser;
use hypercache_core::cluster::SLOTS;
use hypercache_core::keyspace::{Keyspace, Lifetime, Options, Value};
use hypercache_core::store::{DEFAULT_STORE, FilterRate, StorePolicy};
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

/// Measures a store's cuckoo filter.
#[derive(Debug, Parser)]
struct Args {
    /// Keys in the store.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Look-ups a measurement.
    #[arg(long, default_value_t = 1_000_000)]
    asks: u64,
    /// Measurements of each kind; the median is printed.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// The configured rate of false positives.
    #[arg(long, default_value_t = 0.01)]
    rate: f64,
}

const NOW_MS: u64 = 1_700_000_000_000;

fn space(rate: Option<FilterRate>) -> Keyspace {
    let space = Keyspace::new(Options { hash_seed: 1, eviction_seed: 2 });
    (0..SLOTS).for_each(|slot| space.set_serving(slot, true));
    let mut policy = StorePolicy::new(DEFAULT_STORE, 0);
    policy.filter = rate;
    space.set_stores(&[policy]);
    space
}

/// SplitMix64's finalizer, for keys in no order.
fn spread(i: u64) -> u64 {
    let z = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The nanoseconds that this thread ran; where the system does not tell, those that went by.
fn ran_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = told.and_then(|text| text.split(' ').next()?.parse().ok());
    ran.unwrap_or_else(|| START.elapsed().as_nanos() as u64)
}

/// Nanoseconds an operation over keys with this prefix.
fn measure(args: &Args, prefix: &str, run: impl Fn(&[u8])) -> f64 {
    let names: Vec<String> =
        (0..args.asks).map(|i| format!("{prefix}{}", spread(i + 1) % args.keys)).collect();
    let start = ran_ns();
    names.iter().for_each(|name| run(name.as_bytes()));
    (ran_ns() - start) as f64 / args.asks as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    anyhow::ensure!(args.keys > 0 && args.asks > 0, "keys and asks are at least 1");
    let rate = FilterRate::new(args.rate)?;
    let spaces = [space(Some(rate)), space(None)];
    let mut fill = [0.0; 2];
    for (space, fill) in spaces.iter().zip(&mut fill) {
        let start = ran_ns();
        for i in 0..args.keys {
            let key = format!("key:{i}");
            space.with_key(0, key.as_bytes(), NOW_MS, false, |key| {
                key.set(Value::plain(b"value"), Lifetime::At(0));
            })?;
        }
        *fill = (ran_ns() - start) as f64 / args.keys as f64;
    }
    let get = |space: &Keyspace, key: &[u8]| {
        black_box(space.with_key(0, key, NOW_MS, false, |key| key.read().is_some())).ok();
    };
    let set = |space: &Keyspace, key: &[u8]| {
        let write = space.with_key(0, key, NOW_MS, false, |key| {
            key.set(Value::plain(b"other"), Lifetime::At(0));
        });
        black_box(write).ok();
    };
    let mut figures: [[Vec<f64>; 3]; 2] = Default::default();
    for repeat in 0..args.repeats {
        for turn in 0..2 {
            let which = (repeat + turn) % 2;
            let space = &spaces[which];
            figures[which][0].push(measure(&args, "no:", |key| get(space, key)));
            figures[which][1].push(measure(&args, "key:", |key| get(space, key)));
            figures[which][2].push(measure(&args, "key:", |key| set(space, key)));
        }
    }
    println!("{} keys, rate {}; nanoseconds of CPU an operation, medians", args.keys, args.rate);
    println!();
    println!("| | with the filter | without |");
    println!("| --- | ---: | ---: |");
    let [with, without] = figures;
    let names = ["GET of an absent key", "GET of a present key", "SET of a present key"];
    for ((name, with), without) in names.into_iter().zip(with).zip(without) {
        println!("| {name} | {:.0} | {:.0} |", median(with), median(without));
    }
    println!("| SET of a new key (one run) | {:.0} | {:.0} |", fill[0], fill[1]);
    if let Some(stats) = spaces[0].filter_stats(0) {
        println!();
        println!(
            "{:.2} bytes a key; {} checks, {} negatives, measured rate {:.4}",
            stats.bytes as f64 / args.keys as f64,
            stats.checks,
            stats.negatives,
            stats.measured_rate().unwrap_or(f64::NAN)
        );
    }
    Ok(())
}
