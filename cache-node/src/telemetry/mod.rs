//! Logs, traces, metrics, and what the process costs.

pub mod process;
