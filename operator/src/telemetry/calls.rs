//! Counts requests to the API server, whoever makes them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request, Response, Uri};
use tower::{Layer, Service};

use super::Metrics;

/// A layer of the client that counts.
#[derive(Clone)]
pub struct CountCalls(pub Metrics);

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.0.clone() }
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (metrics, began) = (self.metrics.clone(), Instant::now());
        let verb = verb(request.method(), request.uri());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.api_call(verb, status, began.elapsed().as_secs_f64());
            answer
        })
    }
}

/// Kubernetes' word for what a request does.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    let watches = uri.query().is_some_and(|query| {
        query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"))
    });
    match method.as_str() {
        "GET" if watches => "watch",
        "GET" if is_named(uri.path()) => "get",
        "GET" => "list",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// Whether a path ends with the name of an object, or goes on behind it.
fn is_named(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // `api/v1` and `apis/group/version` come first, then it may be a namespace.
    let head = match parts.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        _ => return true,
    };
    parts.drain(..head.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    parts.len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_kubernetes_verb() {
        let of = |method: Method, uri: &str| verb(&method, &uri.parse().unwrap());
        let pods = "/api/v1/namespaces/shop/pods";
        assert_eq!(of(Method::GET, pods), "list");
        assert_eq!(of(Method::GET, &format!("{pods}?watch=true&x=1")), "watch");
        assert_eq!(of(Method::GET, &format!("{pods}/demo-0")), "get");
        assert_eq!(of(Method::GET, "/api/v1/namespaces/shop"), "get");
        assert_eq!(of(Method::GET, "/apis/hypercache.io/v1alpha1/hypercacheclusters"), "list");
        assert_eq!(of(Method::GET, "/version"), "get");
        assert_eq!(of(Method::PATCH, &format!("{pods}/demo-0")), "patch");
        assert_eq!(of(Method::OPTIONS, pods), "other");
    }
}
