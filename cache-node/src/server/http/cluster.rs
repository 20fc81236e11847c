//! The cluster: how it is, and what an operator wants it to be.
//!
//! This is the only file of the API that knows what the cluster's handle looks like.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hypercache_core::cluster::{Applied, Desired, Liveness, Refused, SLOTS};
use hypercache_core::store::{
    Durability, DurabilitySetting, FilterSetting, StoreNumber, StorePolicy,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;
use super::stores::{acks, durability, eviction_policy, filter, json_body};
use crate::{peer, raft};

/// How much longer than one request's timeout the cluster may take: it tries a leader more than
/// once, and what it says of that is better than that it took too long.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long this member may take to see a change that the leader has made.
const CATCH_UP: Duration = Duration::from_secs(2);

/// The longest that asking all members for their figures, or changing the table, may take.
fn deadline(app: &App) -> Duration {
    Duration::from_millis(app.config.network.request_timeout_ms) + PATIENCE
}

fn late(app: &App) -> ApiError {
    let message = format!("no answer from the cluster within {:?}", deadline(app));
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", message)
}

fn as_json(status: &raft::Status) -> Result<Value, ApiError> {
    serde_json::to_value(status).map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
    })
}

/// The cluster's status as JSON.
///
/// # Errors
/// 504 when it takes too long.
pub async fn status(app: &App) -> Result<Value, ApiError> {
    let status = tokio::time::timeout(deadline(app), app.cluster.status()).await;
    as_json(&status.map_err(|_| late(app))?)
}

/// Waits for what the cluster answers.
///
/// # Errors
/// Why it did not, 504 when it takes too long.
pub async fn within<T>(
    app: &App,
    change: impl Future<Output = Result<T, raft::Error>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(deadline(app), change).await {
        Ok(done) => done.map_err(|error| refused(&error)),
        Err(_) => Err(late(app)),
    }
}

/// Waits for a change of the table, and until this member has it as well, so that whoever asked
/// finds here what was just made.
///
/// # Errors
/// Why it was refused, 503 without a quorum, 504 when it takes too long.
pub async fn changed(
    app: &App,
    change: impl Future<Output = Result<Applied, raft::Error>>,
) -> Result<(), ApiError> {
    let applied = within(app, change).await?;
    let mut changed = app.cluster.changed();
    let seen = async {
        while app.cluster.view().epoch() < applied.epoch && changed.changed().await.is_ok() {}
    };
    // It is made in any case; a member that lags behind only answers from before it.
    let _ = tokio::time::timeout(CATCH_UP, seen).await;
    Ok(())
}

/// The HTTP error for a change that was not made.
fn refused(error: &raft::Error) -> ApiError {
    let unavailable =
        |code| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string());
    match error {
        raft::Error::NoQuorum(_) => unavailable("no_quorum"),
        raft::Error::Invalid(invalid) => {
            ApiError::field("invalid_request", &invalid.field, invalid.message.clone())
        }
        raft::Error::Refused(refused) => match refused {
            Refused::Existence { .. } => unavailable("no_quorum"),
            Refused::InvalidStore(invalid) => {
                ApiError::field("invalid_store", &invalid.field, invalid.message.clone())
            }
            Refused::InvalidDesired(invalid) => {
                ApiError::field("invalid_desired", &invalid.field, invalid.message.clone())
            }
            Refused::InvalidSteering(invalid) => {
                ApiError::field("invalid_request", &invalid.field, invalid.message.clone())
            }
            Refused::NoSuchStore(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "unknown_store", refused.to_string())
            }
            other => ApiError::new(StatusCode::CONFLICT, "refused", other.to_string()),
        },
        raft::Error::Peer(peer::Error::Deadline { .. }) => {
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", error.to_string())
        }
        raft::Error::Peer(_) => unavailable("unreachable"),
        raft::Error::Storage(_) | raft::Error::Bind { .. } | raft::Error::Failed(_) => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
        }
    }
}

/// `GET /api/admin/cluster`: answers as long as the process runs.
pub async fn get(Of(app): Of<App>) -> Result<Response, ApiError> {
    Ok(axum::Json(status(&app).await?).into_response())
}

/// `GET /api/cluster/members`
pub async fn members(Of(app): Of<App>) -> Result<Response, ApiError> {
    let mut status = status(&app).await?;
    let body = json!({
        "cluster_id": status["cluster_id"].take(),
        "epoch": status["epoch"].take(),
        "quorum": status["quorum"].take(),
        "leader": status["leader"].take(),
        "members": status["members"].take(),
    });
    Ok(axum::Json(body).into_response())
}

/// What an operator sends.
#[derive(Debug, Deserialize)]
struct DesiredBody {
    generation: u64,
    members: Vec<String>,
    #[serde(default)]
    stores: Vec<DesiredStore>,
}

#[derive(Debug, Deserialize)]
struct DesiredStore {
    name: String,
    number: StoreNumber,
    #[serde(default)]
    max_memory_bytes: Option<u64>,
    #[serde(default)]
    default_ttl_ms: Option<u64>,
    #[serde(default)]
    eviction_policy: Option<String>,
    #[serde(default)]
    key_prefixes: Vec<String>,
    #[serde(default)]
    cuckoo_filter: Option<FilterSetting>,
    #[serde(default)]
    persistence: Option<DurabilitySetting>,
    #[serde(default)]
    replication_factor: Option<u8>,
    #[serde(default)]
    acks: Option<String>,
}

impl DesiredStore {
    fn policy(self, app: &App, index: usize) -> Result<StorePolicy, ApiError> {
        let mut policy = StorePolicy::new(self.name, self.number);
        policy.max_memory_bytes = self.max_memory_bytes;
        policy.default_ttl_ms = self.default_ttl_ms;
        if let Some(word) = self.eviction_policy {
            let field = format!("stores[{index}].eviction_policy");
            policy.eviction_policy = eviction_policy(&word, &field)?;
        }
        policy.key_prefixes = self.key_prefixes;
        policy.filter = filter(self.cuckoo_filter, &format!("stores[{index}]."))?;
        let at = format!("stores[{index}].");
        policy.durability = durability(app, self.persistence, &Durability::default(), &at)?;
        policy.replication_factor = self.replication_factor.unwrap_or(1);
        if let Some(word) = self.acks {
            policy.acks = acks(&word, &format!("stores[{index}].acks"))?;
        }
        policy.managed = true;
        Ok(policy)
    }
}

/// `PUT /api/admin/desired`
pub async fn put_desired(
    Of(app): Of<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body: DesiredBody = json_body(&app, &headers, body).await?;
    let stores = body.stores.into_iter().enumerate().map(|(i, store)| store.policy(&app, i));
    let desired = Desired {
        generation: body.generation,
        members: body.members,
        stores: stores.collect::<Result<_, _>>()?,
    };
    let status = within(&app, app.cluster.set_desired(desired)).await?;
    Ok(axum::Json(as_json(&status)?).into_response())
}

/// `GET /livez`
pub async fn live() -> Response {
    axum::Json(json!({ "live": true })).into_response()
}

/// Why the member is not ready as long as it reads what is on its disk.
fn loading(app: &App) -> Option<String> {
    let loading = app.router.disk().loading()?;
    let percent = loading.percent();
    Some(format!("data is read from the disk: {percent:.0} %, {} of 16 lanes", loading.lanes_ready))
}

/// `GET /readyz`
pub async fn ready(Of(app): Of<App>) -> Response {
    let mut reasons = app.cluster.readiness();
    reasons.extend(loading(&app));
    if reasons.is_empty() {
        return axum::Json(json!({ "ready": true })).into_response();
    }
    let body = json!({ "ready": false, "reasons": reasons });
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

/// `GET /health`: how the cluster is, as this member sees it. Not well while any member cannot be
/// reached (L20), even if this one serves.
pub async fn health(Of(app): Of<App>) -> Response {
    let view = app.cluster.view();
    let mut unready = app.cluster.readiness();
    unready.extend(loading(&app));
    let mut problems = unready.clone();
    problems.extend(app.router.disk().is_degraded().map(|why| format!("disk: {why}")));
    let mut members = Vec::new();
    for member in view.state.members.values() {
        let liveness = view.liveness(member.id);
        if liveness != Liveness::Alive {
            problems.push(format!("member {} is {}", member.name, liveness.as_str()));
        }
        members.push(json!({ "name": member.name, "state": liveness.as_str() }));
    }
    let assigned = view.state.assignment.assigned();
    if assigned < u32::from(SLOTS) {
        problems.push(format!("{} slots have no owner", u32::from(SLOTS) - assigned));
    }
    let (code, status) = match (unready.is_empty() && view.quorum, problems.is_empty()) {
        (true, true) => (StatusCode::OK, "ok"),
        (true, false) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let leader = view.leader.and_then(|id| view.member(id)).map(|member| member.name.as_str());
    let body = json!({
        "status": status,
        "healthy": status == "ok",
        "member": app.config.node.id,
        "quorum": view.quorum,
        "leader": leader,
        "epoch": view.epoch(),
        "members": members,
        "problems": problems,
    });
    (code, axum::Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::store::Invalid;

    #[test]
    fn a_change_that_is_not_made_says_why() {
        let member = || "demo-1".to_owned();
        let invalid = Invalid { field: "stores[1].number".into(), message: "2 is taken".into() };
        for (error, status, code) in [
            (raft::Error::NoQuorum("no leader".into()), 503, "no_quorum"),
            (raft::Error::Refused(Refused::InvalidStore(invalid)), 400, "invalid_store"),
            (raft::Error::Refused(Refused::NoSuchStore("'x'".into())), 404, "unknown_store"),
            (raft::Error::Refused(Refused::NoSuchMember(1)), 409, "refused"),
            (
                raft::Error::Peer(peer::Error::Deadline { member: member() }),
                504,
                "deadline_exceeded",
            ),
            (raft::Error::Peer(peer::Error::Busy { member: member() }), 503, "unreachable"),
            (raft::Error::Failed("odd".into()), 500, "internal"),
        ] {
            let told = refused(&error);
            assert_eq!((told.status().as_u16(), told.code()), (status, code), "{error}");
        }
    }
}
