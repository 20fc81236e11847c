//! Request bodies: read within bounds, and what value and lifetime they hold.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// The largest value, as Redis's `proto-max-bulk-len` has it.
pub const MAX_VALUE_BYTES: usize = 512 << 20;
/// The largest body that describes stores or a desired state.
pub const MAX_ADMIN_BYTES: usize = 4 << 20;
/// All bodies that are being read at once, together.
const MAX_READING_KIB: usize = 1 << 20;
/// How long a body may pause before its request is given up.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest lifetime that can be asked for, as the configuration has it: 100 years.
const MAX_TTL_MS: f64 = 100.0 * 365.0 * 86_400_000.0;

/// Bounds the memory of all bodies that are being read at once. Memory is taken as bytes arrive,
/// not as they are announced.
#[derive(Debug, Clone)]
pub struct Reading(Arc<Semaphore>);

impl Default for Reading {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READING_KIB)))
    }
}

/// A body, and the share of memory that it holds until it is dropped.
#[derive(Debug)]
pub struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    _share: Vec<OwnedSemaphorePermit>,
}

impl Reading {
    /// Reads a body of at most `limit` bytes.
    ///
    /// # Errors
    /// 413 beyond the limit, 408 when nothing arrives for too long, 503 when too much is being
    /// read at once, 400 when the connection breaks.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<Whole, ApiError> {
        let too_large = || {
            let message = format!("the body is larger than {limit} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        };
        let announced = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut frames = body.into_data_stream();
        let mut bytes = BytesMut::new();
        let mut share = Vec::new();
        let mut held_kib = 0;
        loop {
            let frame = match tokio::time::timeout(PAUSE, frames.next()).await {
                Ok(None) => return Ok(Whole { bytes: bytes.freeze(), _share: share }),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let message = format!("the body broke off: {error}");
                    return Err(ApiError::bad_request("broken_body", message));
                }
                Err(_) => {
                    let message = format!("nothing of the body came for {PAUSE:?}");
                    return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message));
                }
            };
            if bytes.len() + frame.len() > limit {
                return Err(too_large());
            }
            let needed_kib = (bytes.len() + frame.len()).div_ceil(1024);
            if needed_kib > held_kib {
                let more = u32::try_from(needed_kib - held_kib).unwrap_or(u32::MAX);
                let permit = Arc::clone(&self.0).try_acquire_many_owned(more).map_err(|_| {
                    let message = "too many large bodies are being sent at once: try again later";
                    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
                })?;
                share.push(permit);
                held_kib = needed_kib;
            }
            bytes.extend_from_slice(&frame);
        }
    }
}

/// What a PUT stores.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// The lifetime that was asked for, in milliseconds.
    pub ttl_ms: Option<u64>,
}

/// Lifetimes in a query or a JSON body.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct Ttl {
    /// In seconds; fractions count.
    pub ttl_seconds: Option<f64>,
    /// In hours; fractions count.
    pub ttl_hours: Option<f64>,
}

impl Ttl {
    /// The lifetime in milliseconds, if one was given.
    ///
    /// # Errors
    /// 400 for both at once, and for one that is not between 1 ms and 100 years.
    pub fn ms(self) -> Result<Option<u64>, ApiError> {
        let (field, ms) = match (self.ttl_seconds, self.ttl_hours) {
            (None, None) => return Ok(None),
            (Some(seconds), None) => ("ttl_seconds", seconds * 1e3),
            (None, Some(hours)) => ("ttl_hours", hours * 3.6e6),
            (Some(_), Some(_)) => {
                let message = "ttl_seconds and ttl_hours are both given: one belongs here";
                return Err(ApiError::field("invalid_ttl", "ttl_hours", message));
            }
        };
        let ms = ms.round();
        if !(1.0..=MAX_TTL_MS).contains(&ms) {
            let message =
                "a lifetime is more than 0 and at most 100 years; leave it out for the store's own";
            return Err(ApiError::field("invalid_ttl", field, message));
        }
        Ok(Some(ms as u64))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBody<'a> {
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    value_base64: Option<String>,
    ttl_seconds: Option<f64>,
    ttl_hours: Option<f64>,
}

/// `null` is a value as well; only a field that is not there is none.
fn given<'a, 'de: 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads what a PUT is to store. JSON is `{"value": …, "ttl_seconds": …}`; everything else is the
/// value itself, with its lifetime in the query. What `curl -d` sends without a content type of its
/// own is JSON when it reads as an object with a value, and else the value itself.
///
/// # Errors
/// 400 for JSON that is none or has other fields, and for lifetimes that cannot be.
pub fn value(headers: &HeaderMap, bytes: &Bytes, query: Ttl) -> Result<Value, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = kind == "application/json" || kind.ends_with("+json");
    let maybe_json = kind == "application/x-www-form-urlencoded";
    if json || maybe_json {
        match serde_json::from_slice::<JsonBody<'_>>(bytes) {
            Ok(body) if json || body.value.is_some() => return from_json(body, query),
            Err(error) if json => {
                let message = format!(
                    "the body is not JSON of the form {{\"value\": …, \"ttl_seconds\": …}}: {error}"
                );
                return Err(ApiError::bad_request("invalid_json", message));
            }
            // `curl -d '{"value": 1, "tll": 5}'` was meant as JSON: better say so than store it.
            Err(error) if has_value(bytes) => {
                return Err(ApiError::bad_request("invalid_json", error.to_string()));
            }
            _ => {}
        }
    }
    Ok(Value { bytes: bytes.clone(), ttl_ms: query.ms()? })
}

/// Whether bytes are a JSON object with a field `value`.
fn has_value(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Any<'a> {
        #[serde(borrow, rename = "value")]
        _value: &'a RawValue,
    }
    serde_json::from_slice::<Any<'_>>(bytes).is_ok()
}

fn from_json(body: JsonBody<'_>, query: Ttl) -> Result<Value, ApiError> {
    let own = Ttl { ttl_seconds: body.ttl_seconds, ttl_hours: body.ttl_hours };
    let ttl_ms = match own.ms()? {
        Some(ms) => Some(ms),
        None => query.ms()?,
    };
    let bytes = match (body.value, body.value_base64) {
        (Some(raw), None) => json_value(raw)?,
        (None, Some(text)) => {
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| {
                ApiError::field("invalid_json", "value_base64", format!("not base64: {e}"))
            })?
        }
        (None, None) => {
            return Err(ApiError::field("invalid_json", "value", "the body has no 'value'"));
        }
        (Some(_), Some(_)) => {
            let message = "value and value_base64 are both given: one belongs here";
            return Err(ApiError::field("invalid_json", "value_base64", message));
        }
    };
    Ok(Value { bytes: bytes.into(), ttl_ms })
}

/// The bytes of a JSON value: a string's own, and for everything else its text without blanks, so
/// that numbers keep every digit and objects the order of their fields.
fn json_value(raw: &RawValue) -> Result<Vec<u8>, ApiError> {
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str::<String>(text)
            .map(String::into_bytes)
            .map_err(|e| ApiError::field("invalid_json", "value", e.to_string()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Ttl = Ttl { ttl_seconds: None, ttl_hours: None };

    fn put(kind: &str, body: &str) -> Result<Value, ApiError> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        value(&headers, &Bytes::copy_from_slice(body.as_bytes()), NONE)
    }

    fn stored(kind: &str, body: &str) -> String {
        String::from_utf8(put(kind, body).unwrap().bytes.to_vec()).unwrap()
    }

    #[test]
    fn l5_json_values_are_stored_as_their_text() {
        for (json, text) in [
            (r#""a \"b\" \u00e9\n""#, "a \"b\" é\n"),
            ("42", "42"),
            ("1.0", "1.0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (" { \"z\" : [ 1 , \"a \\\" b\" ] ,\n\"a\":null } ", r#"{"z":[1,"a \" b"],"a":null}"#),
            ("null", "null"),
            ("true", "true"),
            ("\"\"", ""),
        ] {
            assert_eq!(stored("application/json", &format!("{{\"value\":{json}}}")), text);
        }
        assert_eq!(
            put("application/json", r#"{"value_base64":"AP8="}"#).unwrap().bytes,
            &b"\x00\xff"[..]
        );
    }

    #[test]
    fn l5_lifetimes_are_honoured_in_hours_and_seconds() {
        let ttl = |body| put("application/json; charset=utf-8", body).unwrap().ttl_ms;
        assert_eq!(ttl(r#"{"value":"x","ttl_hours":1}"#), Some(3_600_000));
        assert_eq!(ttl(r#"{"value":"x","ttl_hours":0.5}"#), Some(1_800_000));
        assert_eq!(ttl(r#"{"value":"x","ttl_seconds":1.5}"#), Some(1_500));
        assert_eq!(ttl(r#"{"value":"x"}"#), None);
        for bad in ["0", "-1", "1e300", "1e-9"] {
            let error = put("application/json", &format!(r#"{{"value":1,"ttl_seconds":{bad}}}"#));
            assert_eq!(error.unwrap_err().code(), "invalid_ttl", "{bad}");
        }
        let both = put("application/json", r#"{"value":1,"ttl_seconds":1,"ttl_hours":1}"#);
        assert_eq!(both.unwrap_err().code(), "invalid_ttl");
    }

    #[test]
    fn l4_other_content_types_store_the_bytes_of_the_body() {
        for kind in ["application/octet-stream", "text/plain", "", "image/png"] {
            assert_eq!(stored(kind, r#"{"value":"x"}"#), r#"{"value":"x"}"#);
        }
    }

    #[test]
    fn what_curl_sends_without_a_content_type_is_json_when_it_reads_as_such() {
        let kind = "application/x-www-form-urlencoded";
        let value = put(kind, r#"{"value":"hello cluster","ttl_hours":1}"#).unwrap();
        assert_eq!((&value.bytes[..], value.ttl_ms), (&b"hello cluster"[..], Some(3_600_000)));
        assert_eq!(stored(kind, "a=1&b=2"), "a=1&b=2");
        assert_eq!(stored(kind, r#"{"other":1}"#), r#"{"other":1}"#);
        assert_eq!(put(kind, r#"{"value":1,"tll":5}"#).unwrap_err().code(), "invalid_json");
    }

    #[test]
    fn json_that_is_wrong_says_what_would_be_right() {
        for body in
            ["", "{", "[]", r#"{"valeu":1}"#, r#"{"value":1,"ttl_seconds":"x"}"#, "{\"value\":1}{"]
        {
            let error = put("application/json", body).unwrap_err();
            assert_eq!(error.code(), "invalid_json", "{body}");
            assert_eq!(error.status().as_u16(), 400);
        }
        assert!(put("application/json", "{}").unwrap_err().message().contains("value"));
    }

    #[test]
    fn s1_deep_json_is_only_text_to_us() {
        let deep = format!("{{\"value\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let length = put("application/json", &deep).map(|value| value.bytes.len());
        assert!(matches!(length, Ok(200_001)));
    }

    #[tokio::test]
    async fn a_body_beyond_its_limit_is_refused_announced_or_not() {
        let reading = Reading::default();
        let none = HeaderMap::new();
        let whole = reading.read(&none, Body::from(vec![7; 10]), 10).await.unwrap();
        assert_eq!(whole.bytes.len(), 10);
        let error = reading.read(&none, Body::from(vec![7; 11]), 10).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 413);
        let mut announced = HeaderMap::new();
        announced.insert(header::CONTENT_LENGTH, "11".parse().unwrap());
        let error = reading.read(&announced, Body::empty(), 10).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 413);
    }

    #[tokio::test]
    async fn s1_all_bodies_together_are_bounded_and_give_their_share_back() {
        let reading = Reading(Arc::new(Semaphore::new(2)));
        let none = HeaderMap::new();
        let first = reading.read(&none, Body::from(vec![0; 2000]), 1 << 20).await.unwrap();
        let error = reading.read(&none, Body::from(vec![0; 1]), 1 << 20).await.unwrap_err();
        assert_eq!(error.code(), "busy");
        drop(first);
        assert!(reading.read(&none, Body::from(vec![0; 1]), 1 << 20).await.is_ok());
    }
}
