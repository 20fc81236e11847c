//! The operator: it keeps Kubernetes' objects and the cluster's desired state as a
//! `HyperCacheCluster` says. It proposes; the cluster decides, and goes on without it.
//!
//! A pass over one resource: [`facts`] are read from the watches' stores, the members are asked
//! ([`admin`]), [`plan`] says what differs (pure), [`apply`] carries it out, and [`status`]
//! (pure) says what to tell. What decides never waits, and what waits never decides.

pub mod admin;
pub mod apply;
pub mod build;
pub mod difference;
pub mod events;
pub mod facts;
pub mod names;
pub mod observe;
pub mod operator;
pub mod options;
pub mod plan;
pub mod reconcile;
pub mod status;
pub mod telemetry;
pub mod watch;
