//! Backups of this member's disk: `/api/admin/backup`.

use axum::Json;
use axum::extract::State as Of;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::App;
use super::cache::query;
use super::error::ApiError;
use crate::backup::Error;
use crate::disk;

/// The query of [`begin`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupQuery {
    wait: bool,
}

fn refused(error: &Error) -> ApiError {
    let (status, code) = match error {
        Error::Busy => (StatusCode::CONFLICT, "backup_running"),
        Error::Setting { .. } => (StatusCode::CONFLICT, "no_destination"),
        Error::Disk(disk::Error::NotKept(_)) => (StatusCode::CONFLICT, "not_kept"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "backup_failed"),
    };
    ApiError::new(status, code, error.to_string())
}

/// `POST /api/admin/backup`: begins one, which goes on also when the client does not wait.
pub async fn begin(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let asked: BackupQuery = query(&uri)?;
    let made = app.backups.begin().map_err(|error| refused(&error))?;
    if !asked.wait {
        return Ok((StatusCode::ACCEPTED, Json(app.backups.status())).into_response());
    }
    let made = made.await.map_err(|_| refused(&Error::Member("the member stops".into())))?;
    let done = made.map_err(|error| refused(&error))?;
    Ok(Json(done).into_response())
}

/// `GET /api/admin/backup`
pub async fn status(Of(app): Of<App>) -> Response {
    Json(app.backups.status()).into_response()
}
