//! HTTP for object storage: one TLS provider (ring), and a bound for every answer's beginning.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector as Connector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take to begin, the request's body included.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A client for `http://` only, or for `https://`.
#[derive(Debug, Clone)]
pub enum Client {
    /// Without TLS.
    Plain(legacy::Client<HttpConnector, HttpRequestBody>),
    /// With TLS, and without: a role's credentials may come from this machine. The system's certificates
    /// are trusted, or those of `SSL_CERT_FILE`.
    Tls(legacy::Client<HttpsConnector<HttpConnector>, HttpRequestBody>),
}

impl Client {
    /// A client; `plain` for `http://` only.
    ///
    /// # Errors
    /// There are no certificates to trust.
    pub fn new(plain: bool) -> std::io::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE).pool_max_idle_per_host(4);
        if plain {
            return Ok(Self::Plain(builder.build(connector)));
        }
        connector.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_native_roots()?;
        let https = tls.https_or_http().enable_http1().wrap_connector(connector);
        Ok(Self::Tls(builder.build(https)))
    }
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = async {
            match self {
                Self::Plain(client) => client.request(request).await,
                Self::Tls(client) => client.request(request).await,
            }
        };
        let answer = tokio::time::timeout(ANSWER, answer).await;
        let answer = answer.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
        let answer = answer.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => HttpErrorKind::Request,
            };
            HttpError::new(kind, Told(chain(&error)))
        })?;
        let (parts, body) = answer.into_parts();
        let body = body.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// An error with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

/// An error and its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let told = next.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = next.source();
    }
    text
}

/// Gives `object_store` its client.
#[derive(Debug)]
pub struct Connect {
    /// See [`Client::new`].
    pub plain: bool,
}

impl Connector for Connect {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::new(self.plain);
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn what_answers_without_tls_is_told_from_storage_and_nobody_waits_for_ever() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 no TLS here\r\n\r\n").await.unwrap();
        });
        // A machine without certificates says so.
        let Ok(client) = Client::new(false) else { return };
        let request = hyper::Request::get(format!("https://{address}/"));
        let request = request.body(HttpRequestBody::from(Bytes::new())).unwrap();
        let error = client.call(request).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Connect, "{}", chain(&error));
        served.await.unwrap();
    }
}
