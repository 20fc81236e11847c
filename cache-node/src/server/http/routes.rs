//! The API as data: one row a route. The router and the OpenAPI document are both made from it.

use axum::routing::{MethodFilter, MethodRouter, on};

use super::{
    App, backups, cache, cluster, filter, metrics, openapi, persistence, rebalance, stats, stores,
};

/// A method that a route answers. `GET` answers `HEAD` as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "HTTP's own words")]
pub enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Method {
    /// The word in a request line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// A parameter in a route's path or query.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// `path`, `query` or `header`.
    pub place: &'static str,
    /// Its JSON type.
    pub kind: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// One route.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, parameters in braces. A last `{key}` takes the rest of the path, slashes included.
    pub path: &'static str,
    /// The name of the operation, unique.
    pub id: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Parameters.
    pub params: &'static [Param],
    /// The schema of the body that it takes.
    pub takes: Option<&'static str>,
    /// The schema of the body that it answers with, and the status when all is well.
    pub gives: (u16, &'static str),
    /// Statuses of the errors that are its own.
    pub errors: &'static [u16],
    handler: fn(MethodFilter) -> MethodRouter<App>,
}

impl Route {
    /// The path as the router writes it.
    pub fn pattern(&self) -> String {
        match self.path.strip_suffix("{key}") {
            Some(before) => format!("{before}{{*key}}"),
            None => self.path.to_owned(),
        }
    }

    /// Whether it needs the password, when there is one.
    pub fn is_guarded(&self) -> bool {
        self.path.starts_with("/api/")
    }

    /// The route for the router.
    pub(super) fn handler(&self) -> MethodRouter<App> {
        (self.handler)(self.method.filter())
    }
}

const KEY: Param = Param {
    name: "key",
    place: "path",
    kind: "string",
    about: "The key: the rest of the path, percent-decoded to bytes; slashes may stand as they are",
};
const NAME: Param =
    Param { name: "name", place: "path", kind: "string", about: "The store's name" };
const MEMBER_NAME: Param =
    Param { name: "name", place: "path", kind: "string", about: "The member's name" };
const DRY_RUN: Param = Param {
    name: "dry_run",
    place: "query",
    kind: "boolean",
    about: "Nothing is done, only told; false unless given",
};
const STORE: Param = Param {
    name: "store",
    place: "query",
    kind: "string",
    about: "The store's name; 'default' unless given",
};
const KEPT_STORE: Param = Param {
    name: "store",
    place: "query",
    kind: "string",
    about: "The store's name; all that are kept on disk unless given",
};
const TTL_SECONDS: Param = Param {
    name: "ttl_seconds",
    place: "query",
    kind: "number",
    about: "The lifetime in seconds, when the body is the value itself",
};
const TTL_HOURS: Param = Param {
    name: "ttl_hours",
    place: "query",
    kind: "number",
    about: "The lifetime in hours, when the body is the value itself",
};
const PATTERN: Param = Param {
    name: "pattern",
    place: "query",
    kind: "string",
    about: "Only keys that match this glob, as SCAN's MATCH",
};
const CURSOR: Param = Param {
    name: "cursor",
    place: "query",
    kind: "integer",
    about: "Where to go on: the cursor that the last step gave; 0 or nothing to begin",
};
const WAIT: Param = Param {
    name: "wait",
    place: "query",
    kind: "boolean",
    about: "Answer when it is done; not unless given",
};
const COUNT: Param = Param {
    name: "count",
    place: "query",
    kind: "integer",
    about: "About how many keys to look at, 1 to 10000; 100 unless given",
};

/// Every route.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/api/cache/stats",
        id: "getCacheStats",
        summary: "What each store holds and did on this member (for a key named 'stats' use /api/stores/{name}/keys/stats)",
        params: &[],
        takes: None,
        gives: (200, "CacheStats"),
        errors: &[],
        handler: |m| on(m, stats::cache),
    },
    Route {
        method: Method::Get,
        path: "/api/cache/{key}",
        id: "getValue",
        summary: "Reads a value; as JSON, or as its bytes with 'Accept: application/octet-stream'",
        params: &[KEY, STORE],
        takes: None,
        gives: (200, "Value"),
        errors: &[400, 404, 409, 503, 504],
        handler: |m| on(m, cache::get),
    },
    Route {
        method: Method::Put,
        path: "/api/cache/{key}",
        id: "putValue",
        summary: "Writes a value: JSON with 'value', or with any other content type the body's bytes",
        params: &[KEY, STORE, TTL_SECONDS, TTL_HOURS],
        takes: Some("NewValue"),
        gives: (200, "Stored"),
        errors: &[400, 404, 408, 413, 503, 504, 507],
        handler: |m| on(m, cache::put),
    },
    Route {
        method: Method::Delete,
        path: "/api/cache/{key}",
        id: "deleteValue",
        summary: "Deletes a key",
        params: &[KEY, STORE],
        takes: None,
        gives: (200, "Deleted"),
        errors: &[400, 404, 503, 504],
        handler: |m| on(m, cache::delete),
    },
    Route {
        method: Method::Get,
        path: "/api/stores",
        id: "listStores",
        summary: "Every store with its policies and what it holds in the whole cluster",
        params: &[],
        takes: None,
        gives: (200, "Stores"),
        errors: &[503, 504],
        handler: |m| on(m, stores::list),
    },
    Route {
        method: Method::Post,
        path: "/api/stores",
        id: "createStore",
        summary: "Creates a store on all members",
        params: &[],
        takes: Some("NewStore"),
        gives: (201, "Store"),
        errors: &[400, 409, 415, 503, 504],
        handler: |m| on(m, stores::create),
    },
    Route {
        method: Method::Get,
        path: "/api/stores/{name}",
        id: "getStore",
        summary: "One store with its policies and what it holds in the whole cluster",
        params: &[NAME],
        takes: None,
        gives: (200, "Store"),
        errors: &[404, 503, 504],
        handler: |m| on(m, stores::get),
    },
    Route {
        method: Method::Put,
        path: "/api/stores/{name}",
        id: "replaceStore",
        summary: "Sets all policies of a store; what is left out is as in a new one",
        params: &[NAME],
        takes: Some("NewStore"),
        gives: (200, "Store"),
        errors: &[400, 404, 409, 415, 503, 504],
        handler: |m| on(m, stores::replace),
    },
    Route {
        method: Method::Patch,
        path: "/api/stores/{name}",
        id: "changeStore",
        summary: "Changes some policies of a store; null takes a bound or lifetime away",
        params: &[NAME],
        takes: Some("StorePatch"),
        gives: (200, "Store"),
        errors: &[400, 404, 409, 415, 503, 504],
        handler: |m| on(m, stores::change),
    },
    Route {
        method: Method::Delete,
        path: "/api/stores/{name}",
        id: "dropStore",
        summary: "Drops a store and its data on all members",
        params: &[NAME],
        takes: None,
        gives: (200, "Dropped"),
        errors: &[404, 409, 503, 504],
        handler: |m| on(m, stores::remove),
    },
    Route {
        method: Method::Get,
        path: "/api/stores/{name}/keys",
        id: "scanKeys",
        summary: "One step of a scan over a store's keys",
        params: &[NAME, PATTERN, CURSOR, COUNT],
        takes: None,
        gives: (200, "Keys"),
        errors: &[400, 404, 503, 504],
        handler: |m| on(m, cache::keys),
    },
    Route {
        method: Method::Get,
        path: "/api/stores/{name}/keys/{key}",
        id: "getStoreValue",
        summary: "Reads a value of a store, as /api/cache/{key} does",
        params: &[NAME, KEY],
        takes: None,
        gives: (200, "Value"),
        errors: &[400, 404, 409, 503, 504],
        handler: |m| on(m, cache::get_from_store),
    },
    Route {
        method: Method::Put,
        path: "/api/stores/{name}/keys/{key}",
        id: "putStoreValue",
        summary: "Writes a value of a store, as /api/cache/{key} does",
        params: &[NAME, KEY, TTL_SECONDS, TTL_HOURS],
        takes: Some("NewValue"),
        gives: (200, "Stored"),
        errors: &[400, 404, 408, 413, 503, 504, 507],
        handler: |m| on(m, cache::put_in_store),
    },
    Route {
        method: Method::Delete,
        path: "/api/stores/{name}/keys/{key}",
        id: "deleteStoreValue",
        summary: "Deletes a key of a store",
        params: &[NAME, KEY],
        takes: None,
        gives: (200, "Deleted"),
        errors: &[400, 404, 503, 504],
        handler: |m| on(m, cache::delete_from_store),
    },
    Route {
        method: Method::Get,
        path: "/api/filter/stats",
        id: "getFilterStats",
        summary: "What a store's cuckoo filter is and did, on all members and on each",
        params: &[STORE],
        takes: None,
        gives: (200, "FilterStats"),
        errors: &[400, 404],
        handler: |m| on(m, filter::stats),
    },
    Route {
        method: Method::Get,
        path: "/api/filter/check/{key}",
        id: "checkFilter",
        summary: "What a store's cuckoo filter says of a key, asked of the member that owns it",
        params: &[KEY, STORE],
        takes: None,
        gives: (200, "FilterCheck"),
        errors: &[400, 404, 503, 504],
        handler: |m| on(m, filter::check),
    },
    Route {
        method: Method::Get,
        path: "/api/cluster/members",
        id: "listMembers",
        summary: "The members of the cluster",
        params: &[],
        takes: None,
        gives: (200, "Members"),
        errors: &[],
        handler: |m| on(m, cluster::members),
    },
    Route {
        method: Method::Get,
        path: "/api/admin/cluster",
        id: "getCluster",
        summary: "Members, slots, stores and problems of the cluster",
        params: &[],
        takes: None,
        gives: (200, "Cluster"),
        errors: &[],
        handler: |m| on(m, cluster::get),
    },
    Route {
        method: Method::Put,
        path: "/api/admin/desired",
        id: "putDesired",
        summary: "Says which members and stores shall be; the cluster decides how to get there",
        params: &[],
        takes: Some("Desired"),
        gives: (200, "Cluster"),
        errors: &[400, 415, 503, 504],
        handler: |m| on(m, cluster::put_desired),
    },
    Route {
        method: Method::Get,
        path: "/api/admin/plan",
        id: "getPlan",
        summary: "What the ring wants against what is: slots, keys and bytes to move, from whom to whom, and the least possible",
        params: &[],
        takes: None,
        gives: (200, "Plan"),
        errors: &[504],
        handler: |m| on(m, rebalance::plan),
    },
    Route {
        method: Method::Put,
        path: "/api/admin/weights",
        id: "putWeights",
        summary: "Gives members other weights than they say themselves; null takes that back, who is not named stays",
        params: &[],
        takes: Some("Weights"),
        gives: (200, "Plan"),
        errors: &[400, 415, 503, 504],
        handler: |m| on(m, rebalance::weights),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/members/{name}/drain",
        id: "drainMember",
        summary: "From now on the member owns no slots: it gives them away, and stays a member",
        params: &[MEMBER_NAME],
        takes: None,
        gives: (200, "Plan"),
        errors: &[400, 503, 504],
        handler: |m| on(m, rebalance::drain),
    },
    Route {
        method: Method::Delete,
        path: "/api/admin/members/{name}/drain",
        id: "undrainMember",
        summary: "The member may own slots again",
        params: &[MEMBER_NAME],
        takes: None,
        gives: (200, "Plan"),
        errors: &[400, 503, 504],
        handler: |m| on(m, rebalance::undrain),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/members/{name}/forget",
        id: "forgetMember",
        summary: "The member never comes back: nobody waits for it, what only it had begins empty, and it is no member any more; ?dry_run=true only says what that would do",
        params: &[MEMBER_NAME, DRY_RUN],
        takes: None,
        gives: (200, "Forgotten"),
        errors: &[400, 503, 504],
        handler: |m| on(m, rebalance::forget),
    },
    Route {
        method: Method::Put,
        path: "/api/admin/rebalance",
        id: "putRebalance",
        summary: "Bounds the bytes of slots that go from one member to another one in a second",
        params: &[],
        takes: Some("Rebalance"),
        gives: (200, "Plan"),
        errors: &[400, 415, 503, 504],
        handler: |m| on(m, rebalance::rate),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/rebalance/pause",
        id: "pauseRebalancing",
        summary: "No slot begins to move until that is resumed; members that fail are still replaced",
        params: &[],
        takes: None,
        gives: (200, "Plan"),
        errors: &[503, 504],
        handler: |m| on(m, rebalance::pause),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/rebalance/resume",
        id: "resumeRebalancing",
        summary: "Slots move again, from where they are",
        params: &[],
        takes: None,
        gives: (200, "Plan"),
        errors: &[503, 504],
        handler: |m| on(m, rebalance::resume),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/rebalance/abort",
        id: "abortRebalancing",
        summary: "Gives up what is under way: owners on their way that are not in sync go, slots stay where they are; and pauses",
        params: &[],
        takes: None,
        gives: (200, "Plan"),
        errors: &[503, 504],
        handler: |m| on(m, rebalance::abort),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/leader",
        id: "transferLeader",
        summary: "Lets another voter lead, and answers when it does",
        params: &[],
        takes: Some("NewLeader"),
        gives: (200, "Leader"),
        errors: &[400, 415, 503, 504],
        handler: |m| on(m, rebalance::leader),
    },
    Route {
        method: Method::Get,
        path: "/api/admin/persistence-stats",
        id: "getPersistenceStats",
        summary: "What this member keeps on its disk: the log, each store's snapshots, errors, what the start found",
        params: &[],
        takes: None,
        gives: (200, "Any"),
        errors: &[],
        handler: |m| on(m, persistence::stats),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/snapshot",
        id: "takeSnapshot",
        summary: "Takes a snapshot of a store, or of all that are kept on disk, on this member, and answers when it is on the disk",
        params: &[KEPT_STORE],
        takes: None,
        gives: (200, "Any"),
        errors: &[404, 409, 503],
        handler: |m| on(m, persistence::snapshot),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/aof-rewrite",
        id: "rewriteLog",
        summary: "Begins to rewrite this member's log as what its stores hold",
        params: &[],
        takes: None,
        gives: (202, "Any"),
        errors: &[409, 503],
        handler: |m| on(m, persistence::rewrite),
    },
    Route {
        method: Method::Post,
        path: "/api/admin/backup",
        id: "makeBackup",
        summary: "Begins a backup of this member's disk, to the destination of its configuration only; with wait=true answers 200 when it is complete",
        params: &[WAIT],
        takes: None,
        gives: (202, "Any"),
        errors: &[400, 409, 503],
        handler: |m| on(m, backups::begin),
    },
    Route {
        method: Method::Get,
        path: "/api/admin/backup",
        id: "getBackup",
        summary: "What is known of this member's backups: the one that is being made, the last one, the last error",
        params: &[],
        takes: None,
        gives: (200, "Any"),
        errors: &[],
        handler: |m| on(m, backups::status),
    },
    Route {
        method: Method::Get,
        path: "/health",
        id: "getHealth",
        summary: "Whether the whole cluster is well: 'ok', 'degraded' while a member cannot be reached, 'unavailable' (503) without a quorum",
        params: &[],
        takes: None,
        gives: (200, "Health"),
        errors: &[503],
        handler: |m| on(m, cluster::health),
    },
    Route {
        method: Method::Get,
        path: "/livez",
        id: "getLive",
        summary: "200 while the process runs",
        params: &[],
        takes: None,
        gives: (200, "Live"),
        errors: &[],
        handler: |m| on(m, cluster::live),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        id: "getReady",
        summary: "200 when this member can serve, else 503 with the reasons",
        params: &[],
        takes: None,
        gives: (200, "Ready"),
        errors: &[503],
        handler: |m| on(m, cluster::ready),
    },
    Route {
        method: Method::Get,
        path: "/stats",
        id: "getStats",
        summary: "What this member did and costs",
        params: &[],
        takes: None,
        gives: (200, "Stats"),
        errors: &[],
        handler: |m| on(m, stats::node),
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        id: "getMetrics",
        summary: "All figures for Prometheus, as text 0.0.4 or OpenMetrics",
        params: &[],
        takes: None,
        gives: (200, "Text"),
        errors: &[],
        handler: |m| on(m, metrics::metrics),
    },
    Route {
        method: Method::Get,
        path: "/openapi.json",
        id: "getOpenApi",
        summary: "This document",
        params: &[],
        takes: None,
        gives: (200, "Any"),
        errors: &[],
        handler: |m| on(m, openapi::get),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_own_name_and_route() {
        for (i, a) in ROUTES.iter().enumerate() {
            for b in &ROUTES[..i] {
                assert_ne!(a.id, b.id);
                assert!(a.path != b.path || a.method != b.method, "{}", a.path);
            }
        }
    }

    #[test]
    fn every_parameter_in_braces_is_described_and_no_other() {
        for route in ROUTES {
            for param in route.params.iter().filter(|p| p.place == "path") {
                assert!(route.path.contains(&format!("{{{}}}", param.name)), "{}", route.path);
            }
            let described = route.params.iter().filter(|p| p.place == "path").count();
            assert_eq!(route.path.matches('{').count(), described, "{}", route.path);
        }
    }
}
