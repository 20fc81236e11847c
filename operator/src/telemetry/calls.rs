//! Counts requests to the API server, whoever makes them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Method, Request, Response, Uri};
use tower::{Layer, Service};
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Metrics, passes};

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
        let span = span(request.method(), verb);
        let answer = span.in_scope(|| self.inner.call(request));
        let called = async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.api_call(verb, status, began.elapsed().as_secs_f64());
            note(status);
            answer
        };
        Box::pin(called.instrument(span))
    }
}

/// The span of a request that is made in a pass. Watches are in none: they last.
fn span(method: &Method, verb: &'static str) -> Span {
    if Span::current().is_none() || verb == "watch" {
        return Span::none();
    }
    let span = tracing::info_span!("api_call");
    span.set_attribute("http.request.method", method.as_str().to_owned());
    span.set_attribute("k8s.verb", verb);
    span
}

/// Says in a request's span how it was answered. What somebody else has changed, or what is not there, is an answer.
fn note(status: Option<u16>) {
    match status {
        None => passes::fail("unreachable"),
        Some(code) => {
            passes::say("http.response.status_code", i64::from(code));
            if code >= 400 && code != 404 && code != 409 {
                passes::fail(&code.to_string());
            }
        }
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
    use std::convert::Infallible;

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

    /// A request to a server that answers with that status.
    async fn call(status: u16, uri: &str) {
        let service = tower::service_fn(move |_: Request<()>| async move {
            Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
        });
        let request = Request::builder().uri(uri).body(()).unwrap();
        CountCalls(Metrics::default()).layer(service).call(request).await.unwrap();
    }

    #[tokio::test]
    async fn a_request_of_a_pass_has_a_span_and_a_watch_or_one_of_no_pass_has_none() {
        let (kept, _guard) = passes::tests::kept();
        call(200, "/api/v1/pods").await;
        let pass = tracing::info_span!("reconcile");
        async {
            call(200, "/api/v1/namespaces/shop/pods?watch=true").await;
            call(404, "/api/v1/namespaces/shop/pods/demo-0").await;
            call(500, "/api/v1/namespaces/shop/pods").await;
        }
        .instrument(pass)
        .await;
        let spans = kept.spans();
        let told: Vec<_> = spans
            .iter()
            .filter(|span| span.name == "api_call")
            .map(|span| {
                let of = |key| passes::tests::attribute(span, key);
                (of("k8s.verb"), of("http.response.status_code"), of("error.type"))
            })
            .collect();
        let of = |verb: &str, status: &str, error: &str| {
            (verb.to_owned(), status.to_owned(), error.to_owned())
        };
        assert_eq!(told, [of("get", "404", ""), of("list", "500", "500")]);
        let root = spans.iter().find(|span| span.name == "reconcile").unwrap();
        let id = root.span_context.span_id();
        assert_eq!(spans.iter().filter(|span| span.parent_span_id == id).count(), 2);
    }
}
