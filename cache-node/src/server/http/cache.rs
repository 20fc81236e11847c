//! Values by key: `/api/cache/{key}` and `/api/stores/{name}/keys/{key}`.

use axum::body::Body;
use axum::extract::{Query, State as Of};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use bytes::Bytes;
use hypercache_core::resp::Reply;
use hypercache_core::store::{DEFAULT_STORE, StoreNumber};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::App;
use super::body::{self, MAX_VALUE_BYTES, Ttl};
use super::error::ApiError;
use super::key;
use super::reply::{checked, unexpected};

const CACHE: &str = "/api/cache/";

/// What the query of a value's request may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheQuery {
    store: Option<String>,
    ttl_seconds: Option<f64>,
    ttl_hours: Option<f64>,
}

/// A query that names a store, or none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreQuery {
    /// The store's name.
    pub store: Option<String>,
}

/// Reads a request's query.
///
/// # Errors
/// 400 for parameters that are unknown or cannot be read.
pub fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    Query::try_from_uri(uri)
        .map(|Query(query)| query)
        .map_err(|rejection| ApiError::bad_request("invalid_query", rejection.body_text()))
}

/// A text as JSON, or its base64 under another name when it is no UTF-8.
pub fn put_text(to: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => to.insert(name.to_owned(), text.into()),
        Err(_) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            to.insert(format!("{name}_base64"), text.into())
        }
    };
}

/// One key of one store.
pub struct Target {
    name: String,
    number: StoreNumber,
    key: Bytes,
}

impl Target {
    fn new(app: &App, name: String, key: Vec<u8>) -> Result<Self, ApiError> {
        let number = app.store_number(&name)?;
        Ok(Self { name, number, key: key.into() })
    }

    /// The key and store that `/api/cache/{key}?store=NAME` names, and the rest of the query.
    fn of_cache(app: &App, uri: &Uri) -> Result<(Self, Ttl), ApiError> {
        let query: CacheQuery = query(uri)?;
        let ttl = Ttl { ttl_seconds: query.ttl_seconds, ttl_hours: query.ttl_hours };
        let name = query.store.unwrap_or_else(|| DEFAULT_STORE.to_owned());
        Ok((Self::new(app, name, key::key_after(uri, CACHE)?)?, ttl))
    }

    /// The key and store that `/api/stores/{name}/keys/{key}` names, and the rest of the query.
    fn of_store(app: &App, uri: &Uri) -> Result<(Self, Ttl), ApiError> {
        let (name, key) = key::store_and_key(uri)?;
        let query: CacheQuery = query(uri)?;
        if query.store.is_some() {
            let message = "the path names the store already";
            return Err(ApiError::field("invalid_query", "store", message));
        }
        let ttl = Ttl { ttl_seconds: query.ttl_seconds, ttl_hours: query.ttl_hours };
        Ok((Self::new(app, name, key)?, ttl))
    }

    fn describe(&self) -> Map<String, Value> {
        let mut map = Map::new();
        put_text(&mut map, "key", &self.key);
        map.insert("store".into(), self.name.as_str().into());
        map
    }

    fn missing(&self) -> ApiError {
        let message = format!("store '{}' has no such key", self.name);
        let error = ApiError::new(StatusCode::NOT_FOUND, "not_found", message);
        self.describe().into_iter().fold(error, |error, (name, value)| error.with(&name, value))
    }

    async fn call(&self, app: &App, command: &'static str) -> Result<Reply, ApiError> {
        let args = vec![Bytes::from_static(command.as_bytes()), self.key.clone()];
        checked(app.router.call(self.number, args).await)
    }

    async fn store(
        &self,
        app: &App,
        headers: &HeaderMap,
        ttl: Ttl,
        body: Body,
    ) -> Result<Response, ApiError> {
        let whole = app.reading.read(headers, body, MAX_VALUE_BYTES).await?;
        let value = body::value(headers, &whole.bytes, ttl)?;
        let mut args = vec![Bytes::from_static(b"SET"), self.key.clone(), value.bytes];
        if let Some(ms) = value.ttl_ms {
            args.extend([Bytes::from_static(b"PX"), ms.to_string().into()]);
        }
        checked(app.router.call(self.number, args).await)?;
        let mut answer = self.describe();
        answer.insert("stored".into(), true.into());
        Ok(axum::Json(answer).into_response())
    }

    async fn fetch(&self, app: &App, headers: &HeaderMap) -> Result<Response, ApiError> {
        let raw = headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/octet-stream"));
        let (value, ttl) = if raw {
            (self.call(app, "GET").await?, None)
        } else {
            let (value, ttl) = tokio::join!(self.call(app, "GET"), self.call(app, "PTTL"));
            (value?, Some(ttl?))
        };
        let bytes = match value {
            Reply::Bulk(bytes) => bytes,
            Reply::Null => return Err(self.missing()),
            other => return Err(unexpected(&other)),
        };
        let Some(ttl) = ttl else {
            let kind = HeaderValue::from_static("application/octet-stream");
            return Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response());
        };
        let ttl_seconds = match ttl {
            Reply::Integer(ms) if ms >= 0 => json!(ms as f64 / 1e3),
            _ => Value::Null,
        };
        let mut answer = self.describe();
        put_text(&mut answer, "value", &bytes);
        answer.insert("ttl_seconds".into(), ttl_seconds);
        Ok(axum::Json(answer).into_response())
    }

    async fn remove(&self, app: &App) -> Result<Response, ApiError> {
        match self.call(app, "DEL").await? {
            Reply::Integer(0) => Err(self.missing()),
            Reply::Integer(_) => {
                let mut answer = self.describe();
                answer.insert("deleted".into(), true.into());
                Ok(axum::Json(answer).into_response())
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// `PUT /api/cache/{key}`
pub async fn put(
    Of(app): Of<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (target, ttl) = Target::of_cache(&app, &uri)?;
    target.store(&app, &headers, ttl, body).await
}

/// `GET` and `HEAD /api/cache/{key}`
pub async fn get(Of(app): Of<App>, uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    Target::of_cache(&app, &uri)?.0.fetch(&app, &headers).await
}

/// `DELETE /api/cache/{key}`
pub async fn delete(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    Target::of_cache(&app, &uri)?.0.remove(&app).await
}

/// `PUT /api/stores/{name}/keys/{key}`
pub async fn put_in_store(
    Of(app): Of<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (target, ttl) = Target::of_store(&app, &uri)?;
    target.store(&app, &headers, ttl, body).await
}

/// `GET` and `HEAD /api/stores/{name}/keys/{key}`
pub async fn get_from_store(
    Of(app): Of<App>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    Target::of_store(&app, &uri)?.0.fetch(&app, &headers).await
}

/// `DELETE /api/stores/{name}/keys/{key}`
pub async fn delete_from_store(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    Target::of_store(&app, &uri)?.0.remove(&app).await
}

/// What the query of a scan may hold.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysQuery {
    pattern: Option<String>,
    cursor: Option<u64>,
    count: Option<u32>,
}

/// The most keys that one step of a scan looks at.
const MAX_COUNT: u32 = 10_000;

/// `GET /api/stores/{name}/keys`: one step of a scan. Begin without `cursor`, go on with the one
/// that came back until it is 0. As with `SCAN`, a key that stays is told at least once.
pub async fn keys(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let name = key::store_name(&uri)?;
    let number = app.store_number(&name)?;
    let query: KeysQuery = query(&uri)?;
    let count = query.count.unwrap_or(100);
    if !(1..=MAX_COUNT).contains(&count) {
        let message = format!("count is from 1 to {MAX_COUNT}");
        return Err(ApiError::field("invalid_query", "count", message));
    }
    let mut args: Vec<Bytes> = vec![
        Bytes::from_static(b"SCAN"),
        query.cursor.unwrap_or(0).to_string().into(),
        Bytes::from_static(b"COUNT"),
        count.to_string().into(),
    ];
    if let Some(pattern) = query.pattern {
        args.extend([Bytes::from_static(b"MATCH"), pattern.into()]);
    }
    let reply = checked(app.router.call(number, args).await)?;
    let Reply::Array(parts) = &reply else { return Err(unexpected(&reply)) };
    let (Some(Reply::Bulk(cursor)), Some(Reply::Array(found))) = (parts.first(), parts.get(1))
    else {
        return Err(unexpected(&reply));
    };
    let cursor: u64 = String::from_utf8_lossy(cursor).parse().map_err(|_| unexpected(&reply))?;
    let mut keys = Vec::new();
    let mut keys_base64 = Vec::new();
    for key in found {
        let Reply::Bulk(key) = key else { return Err(unexpected(key)) };
        match std::str::from_utf8(key) {
            Ok(text) => keys.push(text.to_owned()),
            Err(_) => keys_base64.push(base64::engine::general_purpose::STANDARD.encode(key)),
        }
    }
    let mut answer = Map::new();
    answer.insert("store".into(), name.into());
    answer.insert("cursor".into(), cursor.into());
    answer.insert("keys".into(), keys.into());
    if !keys_base64.is_empty() {
        answer.insert("keys_base64".into(), keys_base64.into());
    }
    Ok(axum::Json(answer).into_response())
}
