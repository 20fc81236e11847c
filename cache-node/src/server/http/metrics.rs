//! `/metrics`: the figures of this member, for whoever scrapes them or takes them by OTLP.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hypercache_core::cluster::Liveness;
use hypercache_core::keyspace::FilterStats;
use prometheus_client::registry::Registry;

use super::error::ApiError;
use super::{App, Shared};
use crate::server::stats::families::Requests;
use crate::telemetry::metrics::{ClusterSnapshot, Format, LoopSnapshot, RequestSnapshot, Snapshot};

/// The filters of stores that have one, by the store's name.
fn filters(app: &Shared) -> Vec<(String, FilterStats)> {
    let policies = app.keyspace.policies();
    let filtered = policies.iter().filter(|policy| policy.filter.is_some());
    filtered.filter_map(|p| Some((p.name.clone(), app.keyspace.filter_stats(p.number)?))).collect()
}

/// What the I/O loops did and serve.
fn loops(app: &Shared) -> Vec<LoopSnapshot> {
    let did = app.loops.figures().into_iter().enumerate();
    let of = |index| app.stats.connected_to(index);
    did.map(|(index, did)| LoopSnapshot { did, connections: of(index) }).collect()
}

/// Requests of stores that are still there, by their names.
fn requests(app: &Shared) -> Vec<(String, Requests)> {
    let policies = app.keyspace.policies();
    let name = |number| policies.iter().find(|p| p.number == number).map(|p| p.name.clone());
    let requests = app.stats.requests().into_iter();
    requests.filter_map(|requests| Some((name(requests.store)?, requests))).collect()
}

/// `GET /metrics`
pub async fn metrics(Of(app): Of<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let format =
        Format::of_accept(headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()));
    let text = text(&app, format).map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    })?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

/// All figures, as they are now.
pub(super) fn text(app: &Shared, format: Format) -> Result<String, fmt::Error> {
    let view = app.cluster.view();
    let mut by_state = [
        (Liveness::Alive.as_str(), 0),
        (Liveness::Suspect.as_str(), 0),
        (Liveness::Down.as_str(), 0),
    ];
    for member in view.state.members.values() {
        let state = view.liveness(member.id).as_str();
        by_state.iter_mut().filter(|(word, _)| *word == state).for_each(|(_, n)| *n += 1);
    }
    let gossip = app.cluster.gossip();
    let datagrams = [
        ("sent", &gossip.sent),
        ("received", &gossip.received),
        ("malformed", &gossip.malformed),
        ("foreign_version", &gossip.foreign_version),
        ("unauthenticated", &gossip.unauthenticated),
        ("other_cluster", &gossip.other_cluster),
    ];
    let times = app.router.times();
    let snapshot = Snapshot {
        member: app.config.node.id.clone(),
        started_at_ms: app.started_ms,
        loops: loops(app),
        spans: app.router.traces().figures(),
        points: app.points.figures(),
        requests: RequestSnapshot {
            server: app.stats.total(),
            requests: requests(app),
            errors: app.stats.errors.ever(),
            refused_http_logins: app.metrics.refused_logins(),
            max_connections: (app.max_connections)() as u64,
            forwarded: times.forwarded.counts(),
            confirmed: times.confirmed.counts(),
        },
        stores: app.keyspace.stats(),
        filters: filters(app),
        disk: app.router.disk().stats(),
        backups: app.backups.status(),
        memory: app.memory.snapshot(),
        cluster: ClusterSnapshot {
            members_by_state: by_state.to_vec(),
            quorum: view.quorum,
            is_leader: view.leader == Some(view.me),
            epoch: view.epoch(),
            slots: app.cluster.slot_figures(),
            raft: app.cluster.raft_figures(),
            datagrams: datagrams.map(|(word, count)| (word, count.load(Relaxed))).to_vec(),
        },
        replication: app.replicas.snapshot(),
    };
    let mut registry = Registry::default();
    app.metrics.register(&mut registry);
    snapshot.write(registry, format)
}
