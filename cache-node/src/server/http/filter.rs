//! What stores' filters are, did, and say of a key: `/api/filter/…`.

use axum::extract::State as Of;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hypercache_core::keyspace::{FilterStats, Verdict};
use hypercache_core::store::{DEFAULT_STORE, FilterSetting, StorePolicy};
use serde_json::{Map, Value, json};

use super::App;
use super::cache::{StoreQuery, put_text, query};
use super::cluster::within;
use super::error::ApiError;
use super::key::key_after;

const CHECK: &str = "/api/filter/check/";

fn policy(app: &App, uri: &Uri) -> Result<StorePolicy, ApiError> {
    let query: StoreQuery = query(uri)?;
    app.policy(query.store.as_deref().unwrap_or(DEFAULT_STORE))
}

/// Figures of one filter, or of several added up.
fn figures(stats: &FilterStats) -> Map<String, Value> {
    let bytes_per_key = (stats.keys > 0).then(|| stats.bytes as f64 / stats.keys as f64);
    let mut map = Map::new();
    for (name, value) in [
        ("keys", json!(stats.keys)),
        ("keys_unfiltered", json!(stats.keys_unfiltered)),
        ("bytes", json!(stats.bytes)),
        ("bytes_per_key", json!(bytes_per_key)),
        ("checks", json!(stats.checks)),
        ("negatives", json!(stats.negatives)),
        ("false_positives", json!(stats.false_positives)),
        ("measured_false_positive_rate", json!(stats.measured_rate())),
    ] {
        map.insert(name.to_owned(), value);
    }
    map
}

fn add(sum: &mut FilterStats, more: &FilterStats) {
    sum.keys += more.keys;
    sum.keys_unfiltered += more.keys_unfiltered;
    sum.bytes += more.bytes;
    sum.checks += more.checks;
    sum.negatives += more.negatives;
    sum.false_positives += more.false_positives;
}

/// `GET /api/filter/stats`: one store's filter on all members that say so in time, and on each.
pub async fn stats(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let policy = policy(&app, &uri)?;
    let mut sum = FilterStats { rate: policy.filter, ..FilterStats::default() };
    let mut members = Vec::new();
    for (name, stats) in app.cluster.filter_stats(policy.number).await {
        let mut member = match stats {
            Some(stats) => {
                add(&mut sum, &stats);
                figures(&stats)
            }
            // It did not say; that is no filter without keys.
            None => Map::from_iter([("answered".to_owned(), json!(false))]),
        };
        member.insert("name".to_owned(), name.into());
        members.push(member);
    }
    let mut body = figures(&sum);
    body.insert("store".to_owned(), policy.name.into());
    body.insert("cuckoo_filter".to_owned(), json!(FilterSetting::from(policy.filter)));
    body.insert("members".to_owned(), json!(members));
    Ok(axum::Json(body).into_response())
}

/// `GET /api/filter/check/{key}`: what the filter of the member that owns the key says of it.
pub async fn check(Of(app): Of<App>, uri: Uri) -> Result<Response, ApiError> {
    let policy = policy(&app, &uri)?;
    let key = key_after(&uri, CHECK)?;
    let mut body = Map::new();
    put_text(&mut body, "key", &key);
    let asked = app.cluster.filter_check(policy.number, key);
    let (member, verdict) = within(&app, asked).await?;
    let Some(verdict) = verdict else {
        let message = format!("member {member} does not know store '{}' yet", policy.name);
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unknown_store", message));
    };
    let (word, may_be_present) = match verdict {
        Verdict::SurelyAbsent => ("surely_absent", Some(false)),
        Verdict::MayBePresent => ("may_be_present", Some(true)),
        Verdict::NoFilter => ("no_filter", None),
    };
    body.insert("store".to_owned(), policy.name.into());
    body.insert("member".to_owned(), member.into());
    body.insert("verdict".to_owned(), word.into());
    body.insert("may_be_present".to_owned(), json!(may_be_present));
    Ok(axum::Json(body).into_response())
}
