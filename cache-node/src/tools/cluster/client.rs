//! Asks a member over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use object_store::client::{HttpRequestBody, HttpService};
use serde_json::Value;

use super::Error;
use super::args::Ask;
use crate::backup::http::{Client as Http, chain};

/// The most bytes of an answer.
const MOST_BYTES: usize = 16 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A member, and what it asks for.
pub struct Client {
    http: Http,
    url: String,
    password: Option<String>,
}

/// `http://HOST:PORT` of what was given.
fn url(given: &str) -> String {
    let given = given.trim_end_matches('/');
    if given.contains("://") { given.to_owned() } else { format!("http://{given}") }
}

impl Client {
    /// A client of the member that the flags, or else the environment, name.
    ///
    /// # Errors
    /// There are no certificates to trust.
    pub fn new(ask: &Ask, env: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let given = ask.http.clone().or_else(|| env("HYPERCACHE_MEMBER"));
        let url = url(given.as_deref().unwrap_or("127.0.0.1:9080"));
        let http = Http::new(!url.starts_with("https://"));
        let http = http.map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Self { http, url, password: ask.token.clone().or_else(|| env("HYPERCACHE_PASSWORD")) })
    }

    fn lost(&self, reason: &str) -> Error {
        Error::Unreachable(format!("{}: {reason}", self.url))
    }

    /// The status and body of what a member answers, whatever they are.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it does not in time.
    pub async fn fetch(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Bytes), Error> {
        let url = format!("{}{path}", self.url);
        let mut request = Request::builder().method(method).uri(&url);
        if let Some(password) = &self.password {
            request = request.header("authorization", format!("Bearer {password}"));
        }
        let mut bytes = Bytes::new();
        if let Some(body) = body {
            request = request.header("content-type", "application/json");
            bytes = body.to_string().into();
        }
        let request = request
            .body(HttpRequestBody::from(bytes))
            .map_err(|error| Error::Refused(format!("{url}: {error}")))?;
        let answer = async {
            let answer =
                self.http.call(request).await.map_err(|error| self.lost(&chain(&error)))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
            let body = body.map_err(|error| self.lost(&error.to_string()))?.to_bytes();
            Ok::<_, Error>((status, body))
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.map_err(|_| self.lost(&format!("no answer in {PATIENCE:?}")))?
    }

    /// What a member answers.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it does not in time, [`Error::Refused`] with its reason.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Error> {
        let (status, body) = self.fetch(method, path, body).await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        match status {
            200..300 => Ok(value),
            _ => {
                let message = value["error"]["message"].as_str().unwrap_or("no reason was given");
                let told = match value["error"]["field"].as_str() {
                    Some(field) => format!("{field}: {message}"),
                    None => format!("status {status}: {message}"),
                };
                Err(if status >= 500 { self.lost(&told) } else { Error::Refused(told) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn an_address_may_be_written_with_or_without_its_scheme() {
        assert_eq!(url("demo-0:9080"), "http://demo-0:9080");
        assert_eq!(url("https://demo-0:9080/"), "https://demo-0:9080");
    }
}
