//! Who changed what of the cluster or its stores, and what came of it: one line of the log each, with the
//! target `audit`, also for those who were not let in.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use hypercache_log::AUDIT;

use super::auth;
use super::routes::ROUTES;

/// Where a request came from; with the request.
#[derive(Debug, Clone, Copy)]
pub struct From(pub SocketAddr);

/// What a change was about beyond its path; with the answer.
#[derive(Debug, Clone)]
pub struct Detail(pub String);

/// Why it was not done; with the answer.
#[derive(Debug, Clone)]
pub struct Reason(pub String);

/// A request that leaves a line.
#[derive(Debug)]
pub struct Audited {
    who: String,
    from: Option<SocketAddr>,
    action: &'static str,
    path: String,
}

/// Whether a request leaves a line: it changes something of the cluster or of a store's policies. Values
/// are not of these.
pub fn audited(
    method: &Method,
    route: &str,
    path: &str,
    headers: &HeaderMap,
    from: Option<From>,
) -> Option<Audited> {
    let of_cluster = route.starts_with("/api/admin/");
    let of_store = route == "/api/stores" || route == "/api/stores/{name}";
    if !(of_cluster || of_store) || matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let known = ROUTES.iter().find(|of| of.path == route && of.method.as_str() == method.as_str());
    Some(Audited {
        who: auth::who(headers),
        from: from.map(|from| from.0),
        action: known.map_or("unknown", |route| route.id),
        path: path.to_owned(),
    })
}

impl Audited {
    /// Writes the line.
    pub fn log(&self, answer: &Response) {
        let status = answer.status();
        let (outcome, result) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ("failure", "denied"),
            status if status.is_success() => ("success", "done"),
            // It may have been done all the same.
            status if status.is_server_error() => ("unknown", "unknown"),
            _ => ("failure", "refused"),
        };
        let detail = answer.extensions().get::<Detail>().map(|detail| detail.0.as_str());
        let reason = answer.extensions().get::<Reason>().map(|reason| reason.0.as_str());
        tracing::info!(
            target: AUDIT,
            user = self.who,
            source = self.from.map(tracing::field::display),
            action = self.action,
            url_path = self.path,
            detail,
            outcome,
            result,
            reason,
            "an administrator's request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_cluster_or_a_store_is_audited_and_nothing_else() {
        let asks = |method, route: &str| {
            let of = audited(&method, route, route, &HeaderMap::new(), None)?;
            Some(of.action)
        };
        let pause = "/api/admin/rebalance/pause";
        assert_eq!(asks(Method::POST, pause), Some("pauseRebalancing"));
        assert_eq!(asks(Method::PUT, "/api/admin/desired"), Some("putDesired"));
        assert_eq!(asks(Method::PATCH, "/api/stores/{name}"), Some("changeStore"));
        assert_eq!(asks(Method::GET, "/api/admin/cluster"), None);
        assert_eq!(asks(Method::PUT, "/api/cache/{key}"), None);
        assert_eq!(asks(Method::PUT, "/api/stores/{name}/keys/{key}"), None);
    }
}
