//! Asks a member that runs for a backup, over HTTP, and waits for it.

use std::time::{Duration, Instant};

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use object_store::client::{HttpRequestBody, HttpService};
use serde_json::Value;

use super::Error;
use super::http::Client;

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);
/// The most bytes of an answer.
const MOST_BYTES: usize = 4 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(70);

/// A member's address, and what it asks for.
#[derive(Debug, Clone)]
pub struct Member {
    /// `http://HOST:PORT`.
    pub url: String,
    /// `auth.password`.
    pub password: Option<String>,
}

impl Member {
    async fn ask(&self, client: &Client, method: &str) -> Result<(u16, Value), Error> {
        let url = format!("{}/api/admin/backup", self.url.trim_end_matches('/'));
        let wrong = |reason: String| Error::Member(format!("{url}: {reason}"));
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(password) = &self.password {
            let both =
                base64::engine::general_purpose::STANDARD.encode(format!("default:{password}"));
            request = request.header("authorization", format!("Basic {both}"));
        }
        let body = HttpRequestBody::from(Bytes::new());
        let request = request.body(body).map_err(|error| wrong(error.to_string()))?;
        let answer =
            client.call(request).await.map_err(|error| wrong(super::http::chain(&error)))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect();
        let body = tokio::time::timeout(PATIENCE, body).await;
        let body = body.map_err(|_| wrong("the answer does not end".into()))?;
        let body = body.map_err(|error| wrong(error.to_string()))?.to_bytes();
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status >= 400 {
            let message = value["error"]["message"].as_str().unwrap_or("no reason was given");
            return Err(wrong(format!("status {status}: {message}")));
        }
        Ok((status, value))
    }

    /// Has it make a backup; what the member tells of it.
    ///
    /// # Errors
    /// It cannot be asked, it refuses, the backup failed, or it takes longer than `patience`.
    pub async fn create(&self, patience: Duration) -> Result<Value, Error> {
        let plain = !self.url.starts_with("https://");
        let client = Client::new(plain).map_err(|error| Error::Member(error.to_string()))?;
        let until = Instant::now() + patience;
        let (_, begun) = self.ask(&client, "POST").await?;
        let tried = begun["tried"].as_u64().unwrap_or_default();
        loop {
            let (_, status) = self.ask(&client, "GET").await?;
            let is_over = status["running_since_ms"].is_null()
                || status["tried"].as_u64().is_some_and(|now| now > tried);
            if is_over {
                return match status["last_error"].as_str() {
                    Some(reason) => Err(Error::Member(format!("the backup failed: {reason}"))),
                    None => Ok(status["last"].clone()),
                };
            }
            if Instant::now() >= until {
                return Err(Error::Member(format!(
                    "the backup is not complete after {patience:?}; it goes on"
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
