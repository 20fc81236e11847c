//! The binary `hypercache`.

use std::process::ExitCode;

use clap::Parser;
use hypercache::config::{self, Cli, Command};
use hypercache::node;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let done = match Cli::parse().command {
        Command::Server(args) => match config::load(&args, env) {
            Ok(config) => node::run(config).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        Command::Config { command } => match config::run_command(&command, env) {
            Ok(text) => {
                print!("{text}");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("hypercache: {text}");
            ExitCode::FAILURE
        }
    }
}
