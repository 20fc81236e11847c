//! The command line of `hypercache log`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::clock::parse_rfc3339;

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print what the log has, one command a line; damaged places are told where they are
    Dump(DumpArgs),
    /// Check every checksum, and tell what is missing. Ends with 0: all is well, 1: something is damaged,
    /// 2: what is there cannot be understood
    Verify(VerifyArgs),
    /// Cut out what is damaged, and keep it aside; the member must be down
    Repair(RepairArgs),
    /// Write the data as commands that redis-server replays
    Export(ExportArgs),
}

/// What is read.
#[derive(Debug, Clone, Default, Args)]
pub struct From {
    /// The data directory, or files of a log or snapshot
    #[arg(value_name = "DATA_DIR")]
    pub paths: Vec<PathBuf>,
    /// The data directory
    #[arg(long, value_name = "DIR", conflicts_with = "paths")]
    pub data_dir: Option<PathBuf>,
}

/// Flags of `log dump`.
#[derive(Debug, Clone, Default, Args)]
pub struct DumpArgs {
    /// What is read.
    #[command(flatten)]
    pub from: From,
    /// Only of this store, by name or number
    #[arg(long)]
    pub store: Option<String>,
    /// Only commands of this key
    #[arg(long)]
    pub key: Option<String>,
    /// Only from this sequence on
    #[arg(long, value_name = "N")]
    pub from_sequence: Option<u64>,
    /// Only up to this sequence
    #[arg(long, value_name = "N")]
    pub to_sequence: Option<u64>,
    /// Only from this time on: as RFC 3339 has it, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub from_time: Option<u64>,
    /// Only up to this time: as RFC 3339 has it, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub to_time: Option<u64>,
    /// The snapshots instead of the log
    #[arg(long)]
    pub snapshots: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Flags of `log verify`.
#[derive(Debug, Clone, Default, Args)]
pub struct VerifyArgs {
    /// What is read.
    #[command(flatten)]
    pub from: From,
    /// A member uses it: that the log ends within a frame is no damage. Found out by itself where
    /// the member runs on this machine
    #[arg(long)]
    pub live: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `log repair`.
#[derive(Debug, Clone, Default, Args)]
pub struct RepairArgs {
    /// What is repaired: a data directory.
    #[command(flatten)]
    pub from: From,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Take out everything after this sequence, in whole batches
    #[arg(long, value_name = "N")]
    pub truncate_after: Option<u64>,
}

/// Flags of `log export`.
#[derive(Debug, Clone, Default, Args)]
pub struct ExportArgs {
    /// What is read.
    #[command(flatten)]
    pub from: From,
    /// Where it is written to; a file that is there is not overwritten. The standard output unless set
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The history that the log has, as it is, and not the data that comes of it
    #[arg(long)]
    pub raw: bool,
    /// Only these stores, by name or number; may be given several times
    #[arg(long)]
    pub store: Vec<String>,
    /// The data as it was after this sequence
    #[arg(long, value_name = "N")]
    pub to_sequence: Option<u64>,
    /// The data as it was at this time: as RFC 3339 has it, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = time_ms, conflicts_with = "to_sequence")]
    pub to_time: Option<u64>,
    /// How many databases the redis-server has that is to read it
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub databases: u16,
    /// Into which database a store goes: STORE=N; its own number unless set
    #[arg(long, value_name = "STORE=N")]
    pub map: Vec<String>,
}

/// How commands are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Redis's append-only file: RESP
    #[default]
    Aof,
    /// One command a line, as redis-cli reads it
    Commands,
}

/// Reads a time: Unix milliseconds.
fn time_ms(text: &str) -> Result<u64, String> {
    let found = text.parse().ok().or_else(|| parse_rfc3339(text));
    found.ok_or_else(|| {
        "it is neither a time like 2026-11-29T02:44:38Z nor Unix milliseconds".to_owned()
    })
}
