//! The binary `hypercache`.

use std::process::ExitCode;

use clap::Parser;
use hypercache::backup;
use hypercache::config::{self, Cli, Command};
use hypercache::memory::huge_pages;
use hypercache::node;
use hypercache::tools;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts (jemalloc(3), "malloc_conf"). A thread of its own gives
/// memory back to the system when it was not used for five seconds, also while nobody allocates;
/// threads keep few free blocks to themselves; the pages of tables stand in long runs; huge pages
/// are asked for, and `hypercache::memory::huge_pages` says when there are any.
// SAFETY: nothing else has this name; jemalloc declares it as a pointer to a text that ends with
// a zero byte, which a reference to such bytes is.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_OPTIONS: &[u8; 156] = b"background_thread:true,max_background_threads:1,\
dirty_decay_ms:5000,tcache_nslots_small_min:4,tcache_nslots_small_max:16,slab_sizes:4096-4096:28,thp:always\0";

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let done = match Cli::parse().command {
        Command::Server(args) => {
            // Until there is much to keep; a kernel that knows no such switch has them as it likes.
            let _ = huge_pages::allow(false);
            match config::load(&args, env) {
                Ok(config) => node::run(config).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        }
        Command::Config { command } => match config::run_command(&command, env) {
            Ok(text) => {
                print!("{text}");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        },
        Command::Backup { command } => match backup::command::run(&command, env) {
            Ok(text) => {
                print!("{text}");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        },
        Command::Cluster { command } => {
            return ExitCode::from(tools::cluster::run(&command, env));
        }
        Command::Doctor(args) => return ExitCode::from(tools::doctor::run(&args, env)),
        Command::Load(args) => return ExitCode::from(tools::load::run(&args, env)),
        Command::Log { command } => return ExitCode::from(tools::log::run(&command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("hypercache: {text}");
            ExitCode::FAILURE
        }
    }
}
