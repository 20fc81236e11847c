//! What the tests on a real cluster share: `kubectl` with deadlines, a namespace a test,
//! a cluster and a client pod in it, and waiting for what is to become true.
//!
//! The tests (`tests/*.rs`, one file a subject) are built with the feature `kind` alone and need
//! `HYPERCACHE_E2E_CONTEXT`, the `kubectl` context of a cluster that has the images.
//! `scripts/test` sees to both.

mod client;
mod cluster;
mod kube;
mod monitoring;
mod operator;
mod space;
mod wait;
mod writers;

pub use client::Client;
pub use cluster::{Cluster, Condition};
pub use kube::{Kube, Outcome};
pub use monitoring::Prometheus;
pub use operator::{
    CHART, NoOperator, OPERATOR_NAMESPACE, RELEASE, chart, helm, install_chart, install_operator,
    install_with, render,
};
pub use space::{Space, in_space};
pub use wait::{until, until_some};
pub use writers::{Noted, Writers};

use std::path::PathBuf;

/// The folder of the whole project.
pub fn project() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder
}
