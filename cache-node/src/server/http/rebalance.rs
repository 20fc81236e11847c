//! How slots move: the plan, what steers it, and who leads.
//!
//! What is asked for stands in the cluster's table before it is answered, so that it holds whoever leads
//! next; all but a change of the leader may be asked for again.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Of};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use hypercache_core::cluster::Steer;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::App;
use super::audit::Detail;
use super::cluster::{changed, within};
use super::error::ApiError;
use super::stores::json_body;
use crate::raft;

/// `GET /api/admin/plan`
pub async fn plan(Of(app): Of<App>) -> Result<Response, ApiError> {
    Ok(Json(within(&app, planned(&app)).await?).into_response())
}

async fn planned(app: &App) -> Result<raft::Plan, raft::Error> {
    Ok(app.cluster.plan().await)
}

/// Changes how slots move, and answers with the plan after that.
async fn steer(app: &App, steer: Steer, detail: String) -> Result<Response, ApiError> {
    changed(app, app.cluster.steer(steer)).await?;
    let plan = within(app, planned(app)).await?;
    let mut response = Json(plan).into_response();
    response.extensions_mut().insert(Detail(detail));
    Ok(response)
}

/// What `PUT /api/admin/weights` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weights {
    weights: BTreeMap<String, Option<u32>>,
}

/// `PUT /api/admin/weights`
pub async fn weights(
    Of(app): Of<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Weights { weights } = json_body(&app, &headers, body).await?;
    let detail = weights.iter().map(|(name, weight)| match weight {
        Some(weight) => format!("{name}={weight}"),
        None => format!("{name}=its own"),
    });
    let detail = detail.collect::<Vec<_>>().join(", ");
    steer(&app, Steer::Weights(weights), detail).await
}

/// `POST /api/admin/members/{name}/drain`
pub async fn drain(Of(app): Of<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let detail = name.clone();
    steer(&app, Steer::Drain { name, drained: true }, detail).await
}

/// `DELETE /api/admin/members/{name}/drain`
pub async fn undrain(Of(app): Of<App>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let detail = name.clone();
    steer(&app, Steer::Drain { name, drained: false }, detail).await
}

/// What `POST /api/admin/members/{name}/forget` takes in its query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forget {
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/admin/members/{name}/forget`
pub async fn forget(
    Of(app): Of<App>,
    Path(name): Path<String>,
    query: Result<Query<Forget>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Forget { dry_run }) = query.map_err(|error| {
        ApiError::bad_request("invalid_query", format!("dry_run is true or false: {error}"))
    })?;
    let forgotten = within(&app, app.cluster.forget(&name, dry_run)).await?;
    let detail = match dry_run {
        true => format!("{name}, as a trial"),
        false => format!("{name}, {} slots begin empty", forgotten.begun_empty),
    };
    let mut response = Json(forgotten).into_response();
    response.extensions_mut().insert(Detail(detail));
    Ok(response)
}

/// `POST /api/admin/rebalance/pause`
pub async fn pause(Of(app): Of<App>) -> Result<Response, ApiError> {
    steer(&app, Steer::Pause(true), String::new()).await
}

/// `POST /api/admin/rebalance/resume`
pub async fn resume(Of(app): Of<App>) -> Result<Response, ApiError> {
    steer(&app, Steer::Pause(false), String::new()).await
}

/// `POST /api/admin/rebalance/abort`
pub async fn abort(Of(app): Of<App>) -> Result<Response, ApiError> {
    steer(&app, Steer::Abort, String::new()).await
}

/// What `PUT /api/admin/rebalance` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    /// It must be said: `null` is as configured.
    #[serde(deserialize_with = "given")]
    max_bytes_per_second: Option<u64>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(deserializer)
}

/// `PUT /api/admin/rebalance`
pub async fn rate(Of(app): Of<App>, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let Rate { max_bytes_per_second: rate } = json_body(&app, &headers, body).await?;
    let detail = rate.map_or("as configured".into(), |rate| format!("{rate} bytes a second"));
    steer(&app, Steer::MoveRate(rate), detail).await
}

/// What `POST /api/admin/leader` takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leader {
    #[serde(default)]
    to: Option<String>,
}

/// `POST /api/admin/leader`
pub async fn leader(
    Of(app): Of<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let Leader { to } = json_body(&app, &headers, body).await?;
    let leader = within(&app, app.cluster.transfer_leader(to.as_deref())).await?;
    let mut response = Json(json!({ "leader": leader })).into_response();
    response.extensions_mut().insert(Detail(leader));
    Ok(response)
}
