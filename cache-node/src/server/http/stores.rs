//! Stores at run time: `/api/stores`. Every change goes through Raft, so that all members take it
//! and it outlives the request.

use axum::body::Body;
use axum::extract::State as Of;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hypercache_core::store::{
    Acks, DEFAULT_STORE, Durability, DurabilitySetting, EvictionPolicy, FilterRate, FilterSetting,
    MAX_STORE_NUMBER, Mode, StoreNumber, StorePolicy,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::App;
use super::body::MAX_ADMIN_BYTES;
use super::cluster::{changed, status};
use super::error::ApiError;
use super::key::store_name;

/// A store as `POST` and `PUT` take it. Bounds and lifetimes carry their unit in the name; `null`
/// is no bound, no lifetime.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: Option<String>,
    number: Option<StoreNumber>,
    max_memory_bytes: Option<u64>,
    default_ttl_ms: Option<u64>,
    eviction_policy: Option<String>,
    #[serde(default)]
    key_prefixes: Vec<String>,
    cuckoo_filter: Option<FilterSetting>,
    persistence: Option<DurabilitySetting>,
    replication_factor: Option<u8>,
    acks: Option<String>,
}

/// What `PATCH` changes: a field that is left out stays, `null` takes a bound or lifetime away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    #[serde(default, deserialize_with = "given")]
    max_memory_bytes: Option<Option<u64>>,
    #[serde(default, deserialize_with = "given")]
    default_ttl_ms: Option<Option<u64>>,
    eviction_policy: Option<String>,
    key_prefixes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    cuckoo_filter: Option<Option<FilterSetting>>,
    #[serde(default, deserialize_with = "given")]
    persistence: Option<Option<DurabilitySetting>>,
    replication_factor: Option<u8>,
    acks: Option<String>,
}

/// Tells `null` from a field that is not there.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Reads a JSON body. Only `application/json` is taken: a web page that the reader of a
/// laptop's browser visits cannot send that without asking first.
///
/// # Errors
/// 415 for another content type, 400 for what does not read.
pub async fn json_body<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON with 'Content-Type: application/json'",
        ));
    }
    let whole = app.reading.read(headers, body, MAX_ADMIN_BYTES).await?;
    serde_json::from_slice(&whole.bytes)
        .map_err(|error| ApiError::bad_request("invalid_json", error.to_string()))
}

/// An eviction policy by its word.
pub fn eviction_policy(word: &str, field: &str) -> Result<EvictionPolicy, ApiError> {
    EvictionPolicy::parse(word).ok_or_else(|| {
        let known = EvictionPolicy::ALL.map(|(word, _)| word).join(", ");
        let message = format!("'{word}' is not an eviction policy; what works: {known}");
        ApiError::field("invalid_store", field, message)
    })
}

/// How many members have a write before it is answered, as a request writes it.
pub fn acks(word: &str, field: &str) -> Result<Acks, ApiError> {
    Acks::parse(word).ok_or_else(|| {
        let known = Acks::ALL.map(|(word, _)| word).join(", ");
        let message = format!("'{word}' is not one of: {known}");
        ApiError::field("invalid_store", field, message)
    })
}

/// A store's filter as a request writes it.
pub fn filter(setting: Option<FilterSetting>, at: &str) -> Result<Option<FilterRate>, ApiError> {
    setting.map_or(Ok(None), FilterSetting::rate).map_err(|invalid| {
        ApiError::field("invalid_store", &format!("{at}{}", invalid.field), invalid.message)
    })
}

/// A store's durability as a request writes it, over what it was; `null` is nothing on disk.
pub fn durability(
    app: &App,
    setting: Option<DurabilitySetting>,
    base: &Durability,
    at: &str,
) -> Result<Durability, ApiError> {
    let Some(setting) = setting else { return Ok(Durability::default()) };
    let refuse = |field: &str, message: String| {
        ApiError::field("invalid_store", &format!("{at}{field}"), message)
    };
    let durability =
        setting.over(base).map_err(|invalid| refuse(&invalid.field, invalid.message))?;
    if durability.mode != Mode::Disabled && app.config.node.data_dir.is_none() {
        let message = format!(
            "'{}' needs a place on disk: set 'node.data_dir' of the members first",
            durability.mode.as_str()
        );
        return Err(refuse("persistence", message));
    }
    Ok(durability)
}

fn valid(policy: StorePolicy) -> Result<StorePolicy, ApiError> {
    match policy.validate() {
        Ok(()) => Ok(policy),
        Err(invalid) => Err(ApiError::field("invalid_store", &invalid.field, invalid.message)),
    }
}

/// The policy of a store, unless an operator keeps it.
fn changeable(app: &App, name: &str) -> Result<StorePolicy, ApiError> {
    let policy = app.policy(name)?;
    if policy.managed {
        let message = format!(
            "store '{name}' is kept by the operator: change it in the HyperCacheCluster resource"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "managed_store", message));
    }
    Ok(app.cluster.view().state.asked_for(&policy))
}

/// One store with what it holds in the whole cluster, out of the cluster's status.
async fn described(app: &App, name: &str) -> Result<Value, ApiError> {
    let mut status = status(app).await?;
    let stores = status.get_mut("stores").and_then(Value::as_array_mut);
    let found = stores.and_then(|s| s.iter_mut().find(|store| store["name"] == name));
    found.map(Value::take).ok_or_else(|| app.unknown_store(name))
}

/// `GET /api/stores`
pub async fn list(Of(app): Of<App>) -> Result<Response, ApiError> {
    let mut status = status(&app).await?;
    Ok(axum::Json(json!({ "stores": status["stores"].take() })).into_response())
}

/// `GET /api/stores/{name}`
pub async fn get(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let name = store_name(&uri)?;
    app.policy(&name)?;
    Ok(axum::Json(described(&app, &name).await?).into_response())
}

/// `POST /api/stores`
pub async fn create(
    Of(app): Of<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let wanted: Wanted = json_body(&app, &headers, body).await?;
    let Some(name) = wanted.name.clone() else {
        return Err(ApiError::field("invalid_store", "name", "a store needs a name"));
    };
    let policies = app.keyspace.policies();
    if policies.iter().any(|policy| policy.name == name) {
        let message = format!("a store is named '{name}' already");
        return Err(
            ApiError::new(StatusCode::CONFLICT, "store_exists", message).with("field", "name")
        );
    }
    let free = || {
        (1..=MAX_STORE_NUMBER).find(|number| policies.iter().all(|policy| policy.number != *number))
    };
    let Some(number) = wanted.number.or_else(free) else {
        let message = format!("all numbers up to {MAX_STORE_NUMBER} are taken");
        return Err(ApiError::new(StatusCode::CONFLICT, "too_many_stores", message));
    };
    let policy = valid(wanted.policy(&app, StorePolicy::new(name.clone(), number))?)?;
    changed(&app, app.cluster.create_store(policy)).await?;
    Ok((StatusCode::CREATED, axum::Json(described(&app, &name).await?)).into_response())
}

impl Wanted {
    fn policy(self, app: &App, mut policy: StorePolicy) -> Result<StorePolicy, ApiError> {
        policy.max_memory_bytes = self.max_memory_bytes;
        policy.default_ttl_ms = self.default_ttl_ms;
        policy.eviction_policy = match self.eviction_policy {
            Some(word) => eviction_policy(&word, "eviction_policy")?,
            None => EvictionPolicy::default(),
        };
        policy.key_prefixes = self.key_prefixes;
        policy.filter = filter(self.cuckoo_filter, "")?;
        policy.durability = durability(app, self.persistence, &Durability::default(), "")?;
        policy.replication_factor = self.replication_factor.unwrap_or(1);
        policy.acks = acks(self.acks.as_deref().unwrap_or("one"), "acks")?;
        Ok(policy)
    }
}

/// `PUT /api/stores/{name}`: all policies at once; what is left out is as in a new store.
pub async fn replace(
    Of(app): Of<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = store_name(&uri)?;
    let wanted: Wanted = json_body(&app, &headers, body).await?;
    let old = changeable(&app, &name)?;
    if wanted.name.as_ref().is_some_and(|given| *given != name) {
        return Err(ApiError::field("invalid_store", "name", "a store keeps its name"));
    }
    if wanted.number.is_some_and(|given| given != old.number) {
        let message = format!("store '{name}' has number {}, which stays", old.number);
        return Err(ApiError::field("invalid_store", "number", message));
    }
    let policy = valid(wanted.policy(&app, old)?)?;
    changed(&app, app.cluster.change_store(policy)).await?;
    Ok(axum::Json(described(&app, &name).await?).into_response())
}

/// `PATCH /api/stores/{name}`
pub async fn change(
    Of(app): Of<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = store_name(&uri)?;
    let patch: Patch = json_body(&app, &headers, body).await?;
    let mut policy = changeable(&app, &name)?;
    if let Some(bytes) = patch.max_memory_bytes {
        policy.max_memory_bytes = bytes;
    }
    if let Some(ms) = patch.default_ttl_ms {
        policy.default_ttl_ms = ms;
    }
    if let Some(word) = patch.eviction_policy {
        policy.eviction_policy = eviction_policy(&word, "eviction_policy")?;
    }
    if let Some(prefixes) = patch.key_prefixes {
        policy.key_prefixes = prefixes;
    }
    if let Some(setting) = patch.cuckoo_filter {
        policy.filter = filter(setting, "")?;
    }
    if let Some(setting) = patch.persistence {
        policy.durability = durability(&app, setting, &policy.durability, "")?;
    }
    if let Some(factor) = patch.replication_factor {
        policy.replication_factor = factor;
    }
    if let Some(word) = patch.acks {
        policy.acks = acks(&word, "acks")?;
    }
    changed(&app, app.cluster.change_store(valid(policy)?)).await?;
    Ok(axum::Json(described(&app, &name).await?).into_response())
}

/// `DELETE /api/stores/{name}`: the store goes, and its data with it.
pub async fn remove(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let name = store_name(&uri)?;
    let policy = changeable(&app, &name)?;
    if policy.name == DEFAULT_STORE {
        let message = "the default store cannot be dropped; FLUSHDB empties it";
        return Err(ApiError::new(StatusCode::CONFLICT, "default_store", message));
    }
    changed(&app, app.cluster.drop_store(&policy.name)).await?;
    Ok(axum::Json(json!({ "name": name, "dropped": true })).into_response())
}
