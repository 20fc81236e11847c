//! What this member keeps on its disk, and snapshots when asked: `/api/admin/…`.

use axum::Json;
use axum::extract::State as Of;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::cache::{StoreQuery, query};
use super::error::ApiError;
use crate::disk::{Error, Which};

fn refused(error: &Error) -> ApiError {
    let (status, code) = match error {
        Error::NotKept(_) => (StatusCode::CONFLICT, "not_kept"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "disk"),
    };
    ApiError::new(status, code, error.to_string())
}

/// `GET /api/admin/persistence-stats`
pub async fn stats(Of(app): Of<App>) -> Response {
    Json(app.router.disk().stats()).into_response()
}

/// `POST /api/admin/snapshot`: takes a snapshot of one store, or of all that are kept, and answers
/// when it is on the disk.
pub async fn snapshot(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let asked: StoreQuery = query(&uri)?;
    let which = match &asked.store {
        Some(name) => Which::Store(app.policy(name)?.number),
        None => Which::All,
    };
    let taken = app.router.disk().snapshot(which).await.map_err(|error| refused(&error))?;
    let policies = app.keyspace.policies();
    let snapshots = taken.into_iter().map(|(number, snapshot)| {
        let name = policies.iter().find(|policy| policy.number == number).map(|p| p.name.clone());
        json!({ "number": number, "store": name, "snapshot": snapshot })
    });
    Ok(Json(json!({ "snapshots": snapshots.collect::<Vec<_>>() })).into_response())
}

/// `POST /api/admin/aof-rewrite`: begins to rewrite the log, and does not wait.
pub async fn rewrite(Of(app): Of<App>) -> Result<Response, ApiError> {
    let started = app.router.disk().rewrite().map_err(|error| refused(&error))?;
    let status = if started { "started" } else { "scheduled" };
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": status }))).into_response())
}
