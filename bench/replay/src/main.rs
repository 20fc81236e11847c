//! Replays traces through the cache's own eviction code and prints hit ratios as Markdown, beside
//! exact policies and Belady's bound at the same number of keys.

mod real;
mod reference;
mod trace;

use anyhow::{Context as _, bail};
use clap::Parser;
use hypercache_core::store::EvictionPolicy;
use trace::Trace;

/// Hit ratios of the cache's eviction policies.
#[derive(Debug, Parser)]
#[command(name = "replay", about)]
struct Args {
    /// Traces: files with a key a line, or zipf[:ALPHA], scan, loop, mix[:ALPHA], shift[:ALPHA].
    #[arg(required = true)]
    traces: Vec<String>,
    /// Cache sizes: numbers of keys, or parts of the trace's keys such as 5%.
    #[arg(long, default_value = "1%,5%,10%,25%", value_delimiter = ',')]
    sizes: Vec<String>,
    /// Policies of the cache, by their configuration words.
    #[arg(long, default_value = "wtinylfu,lru,lfu", value_delimiter = ',')]
    policies: Vec<String>,
    /// Bytes of each value.
    #[arg(long, default_value_t = 512)]
    value_bytes: usize,
    /// Keys of generated traces.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Accesses of generated traces, and the most that are read from a file.
    #[arg(long, default_value_t = 2_000_000)]
    accesses: usize,
    /// Determines generated traces, hashing and sampling.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leaves the exact policies out.
    #[arg(long)]
    no_reference: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let policies = args
        .policies
        .iter()
        .map(|word| {
            let policy = EvictionPolicy::parse(word)
                .with_context(|| format!("'{word}' is not an eviction policy"))?;
            Ok((word.as_str(), policy))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let references = if args.no_reference { &[][..] } else { &reference::ALL };
    let names = policies.iter().map(|(word, _)| format!("`{word}`"));
    let names: Vec<String> =
        names.chain(references.iter().map(|(name, _)| format!("exact {name}"))).collect();
    println!("| trace | keys kept | {} |", names.join(" | "));
    println!("| --- | ---: |{}", " ---: |".repeat(names.len()));
    for word in &args.traces {
        let trace = if std::path::Path::new(word).exists() {
            Trace::read(word, args.accesses)?
        } else {
            Trace::generate(word, args.keys, args.accesses, args.seed)?
        };
        if trace.accesses.is_empty() {
            bail!("'{word}' has no accesses");
        }
        for size in &args.sizes {
            row(&args, &trace, keys_of(size, trace.keys.len())?, &policies, references)?;
        }
    }
    Ok(())
}

fn keys_of(size: &str, keys: usize) -> anyhow::Result<usize> {
    let wrong = || format!("'{size}' is neither a number of keys nor a part such as 5%");
    let size = match size.strip_suffix('%') {
        Some(part) => {
            let part: f64 = part.parse().with_context(wrong)?;
            (keys as f64 * part / 100.0) as usize
        }
        None => size.parse().with_context(wrong)?,
    };
    Ok(size.max(1))
}

fn row(
    args: &Args,
    trace: &Trace,
    keys: usize,
    policies: &[(&str, EvictionPolicy)],
    references: &[(&str, reference::Policy)],
) -> anyhow::Result<()> {
    let budget = real::budget(keys, args.value_bytes);
    let percent = |hits: u64| hits as f64 * 100.0 / trace.accesses.len() as f64;
    let (mut columns, mut kept, mut over_bytes) = (Vec::new(), None, 0);
    for (_, policy) in policies {
        let found = real::run(trace, *policy, budget, args.value_bytes, args.seed)?;
        // All others get the room that the first had.
        kept = kept.or(Some(found.resident));
        over_bytes = over_bytes.max(found.over_bytes);
        columns.push(format!("{:.2}", percent(found.hits)));
    }
    let kept = kept.unwrap_or(keys);
    for (_, policy) in references {
        columns.push(format!("{:.2}", percent(policy(&trace.accesses, trace.keys.len(), kept))));
    }
    println!("| {} | {kept} | {} |", trace.name, columns.join(" | "));
    if over_bytes * 100 > budget {
        eprintln!("{}: up to {over_bytes} bytes over a budget of {budget}", trace.name);
    }
    Ok(())
}
