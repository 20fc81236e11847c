//! Ways to a member's admin API.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Request;
use futures::future::BoxFuture;
use hypercache_trace::parent;
use kube::Client;

use super::{DesiredState, Error, Report, answer};

/// The longest body that is read from a member.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A member's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's address.
    pub address: IpAddr,
    /// The port of its HTTP.
    pub port: u16,
}

/// A way to members.
pub trait ClusterAccess: Send + Sync {
    /// Asks a member for the state of its cluster.
    fn report<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Report, Error>>;

    /// Proposes a desired state by way of a member, which answers with the cluster's state.
    fn propose<'a>(
        &'a self,
        target: &'a Target,
        desired: &'a DesiredState,
    ) -> BoxFuture<'a, Result<Report, Error>>;
}

/// How much longer a member may take to change the cluster's table than to tell of it: it finds
/// the leader, more than once if need be.
const PROPOSAL_FACTOR: u32 = 4;

/// Straight to the pod's address: the operator runs in the Kubernetes cluster.
#[derive(Debug, Clone)]
pub struct Direct {
    client: reqwest::Client,
    timeout: Duration,
}

impl Direct {
    /// A way on which questions end after `timeout`, and proposals after four times that.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, timeout })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Report, Error> {
        let unreachable = |error: reqwest::Error| Error::Unreachable(causes(&error));
        let request = match of_this_pass() {
            Some(parent) => request.header(parent::TRACEPARENT, parent),
            None => request,
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Error::Refused {
                    status,
                    message: format!("a body of more than {MAX_BODY_BYTES} bytes"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        answer(status, &body)
    }
}

fn url(target: &Target, path: &str) -> String {
    let host = match target.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    format!("http://{host}:{}{path}", target.port)
}

impl ClusterAccess for Direct {
    fn report<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(self.send(self.client.get(url(target, "/api/admin/cluster"))))
    }

    fn propose<'a>(
        &'a self,
        target: &'a Target,
        desired: &'a DesiredState,
    ) -> BoxFuture<'a, Result<Report, Error>> {
        let request = self.client.put(url(target, "/api/admin/desired")).json(desired);
        Box::pin(self.send(request.timeout(self.timeout * PROPOSAL_FACTOR)))
    }
}

/// Through the API server's proxy: the operator runs outside, on a developer's machine.
#[derive(Clone)]
pub struct ThroughApiServer {
    client: Client,
    timeout: Duration,
}

impl ThroughApiServer {
    /// A way on which questions end after `timeout`, and proposals after four times that.
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    async fn send(
        &self,
        target: &Target,
        method: &str,
        path: &str,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Report, Error> {
        let uri = format!(
            "/api/v1/namespaces/{}/pods/{}:{}/proxy{path}",
            target.namespace, target.pod, target.port
        );
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(parent) = of_this_pass() {
            request = request.header(parent::TRACEPARENT, parent);
        }
        let request = request
            .header("content-type", "application/json")
            .body(body)
            .map_err(|error| Error::Unreachable(error.to_string()))?;
        let asked = tokio::time::timeout(limit, self.client.request_text(request)).await;
        match asked {
            Err(_) => Err(Error::Unreachable(format!("no answer in {limit:?}"))),
            Ok(Ok(text)) => answer(200, text.as_bytes()),
            Ok(Err(kube::Error::Api(status))) if status.code == 400 || status.code == 503 => {
                // The member's own body stands in the message when it was not a Status.
                answer(status.code, status.message.as_bytes())
            }
            Ok(Err(error)) => Err(Error::Unreachable(causes(&error))),
        }
    }
}

impl ClusterAccess for ThroughApiServer {
    fn report<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(self.send(target, "GET", "/api/admin/cluster", Vec::new(), self.timeout))
    }

    fn propose<'a>(
        &'a self,
        target: &'a Target,
        desired: &'a DesiredState,
    ) -> BoxFuture<'a, Result<Report, Error>> {
        Box::pin(async move {
            let body =
                serde_json::to_vec(desired).map_err(|e| Error::Unreachable(e.to_string()))?;
            let limit = self.timeout * PROPOSAL_FACTOR;
            self.send(target, "PUT", "/api/admin/desired", body, limit).await
        })
    }
}

/// What a request is a part of, for its header: the member's spans go on with it.
fn of_this_pass() -> Option<String> {
    hypercache_trace::current_span().map(|span| parent::put(&span).0)
}

/// An error with what caused it, as one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::routing::{get, put};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use tracing::Instrument;

    use super::*;

    fn at(port: u16) -> Target {
        Target {
            namespace: "default".into(),
            pod: "demo-0".into(),
            address: Ipv4Addr::LOCALHOST.into(),
            port,
        }
    }

    async fn member(router: Router) -> (Target, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = at(listener.local_addr().unwrap().port());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (target, task)
    }

    fn direct() -> Direct {
        Direct::new(Duration::from_secs(5)).unwrap()
    }

    #[tokio::test]
    async fn a_member_is_asked_and_told_over_http() {
        let told: Arc<Mutex<Vec<u8>>> = Arc::default();
        let taken = Arc::clone(&told);
        let router = Router::new()
            .route("/api/admin/cluster", get(|| async { r#"{"cluster_id":"c1","quorum":true}"# }))
            .route(
                "/api/admin/desired",
                put(|body: Bytes| async move {
                    *taken.lock().unwrap() = body.to_vec();
                    (
                        StatusCode::BAD_REQUEST,
                        r#"{"error":{"code":"invalid_store","field":"stores[0].number","message":"m"}}"#,
                    )
                }),
            );
        let (target, task) = member(router).await;
        assert!(direct().report(&target).await.unwrap().formed());
        let desired =
            DesiredState { generation: 3, members: vec!["demo-0".into()], stores: vec![] };
        let refused = direct().propose(&target, &desired).await.unwrap_err();
        assert_eq!(refused.to_string(), "stores[0].number: m");
        let told: serde_json::Value = serde_json::from_slice(&told.lock().unwrap()).unwrap();
        assert_eq!(
            told,
            serde_json::json!({ "generation": 3, "members": ["demo-0"], "stores": [] })
        );
        task.abort();
    }

    #[tokio::test]
    async fn a_member_that_is_asked_in_a_pass_gets_that_as_its_parent() {
        let parents: Arc<Mutex<Vec<String>>> = Arc::default();
        let taken = Arc::clone(&parents);
        let router = Router::new().route(
            "/api/admin/cluster",
            get(move |headers: axum::http::HeaderMap| async move {
                let parent =
                    headers.get(parent::TRACEPARENT).map(|parent| parent.to_str().unwrap());
                taken.lock().unwrap().push(parent.unwrap_or_default().to_owned());
                "{}"
            }),
        );
        let (target, task) = member(router).await;
        let (kept, _guard) = crate::telemetry::passes::tests::kept();
        direct().report(&target).await.unwrap();
        let span = tracing::info_span!("ask");
        async { direct().report(&target).await.unwrap() }.instrument(span).await;
        let asked = kept.spans().remove(0).span_context;
        assert_eq!(*parents.lock().unwrap(), [String::new(), parent::put(&asked).0]);
        task.abort();
    }

    #[tokio::test]
    async fn a_member_that_is_away_or_silent_is_unreachable_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = at(listener.local_addr().unwrap().port());
        let impatient = Direct::new(Duration::from_millis(50)).unwrap();
        // It takes the connection and never answers.
        let silent = impatient.report(&target).await.unwrap_err();
        assert!(matches!(silent, Error::Unreachable(_)), "{silent}");
        drop(listener);
        let away = direct().report(&target).await.unwrap_err();
        assert!(matches!(away, Error::Unreachable(_)), "{away}");
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_not_read_to_the_end() {
        let router = Router::new()
            .route("/api/admin/cluster", get(|| async { vec![b' '; MAX_BODY_BYTES + 1] }));
        let (target, task) = member(router).await;
        let error = direct().report(&target).await.unwrap_err();
        assert!(error.to_string().contains("a body of more than"), "{error}");
        task.abort();
    }
}
