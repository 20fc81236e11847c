//! The OpenAPI 3.1 document, made from [`ROUTES`] and the schemas below.

use axum::response::{IntoResponse, Response};
use hypercache_core::store::{
    Acks, Durability, EvictionPolicy, Fsync, MAX_REPLICATION_FACTOR, Mode,
};
use serde_json::{Map, Value, json};

use super::routes::{ROUTES, Route};

/// `GET /openapi.json`
pub async fn get() -> Response {
    axum::Json(document()).into_response()
}

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = route.method.as_str().to_lowercase();
        path[method] = operation(route);
        if route.method == super::routes::Method::Get && route.path.ends_with("{key}") {
            let mut head = operation(route);
            head["operationId"] = format!("{}Head", route.id).into();
            head["summary"] = "As GET, without the body".into();
            path["head"] = head;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "HyperCache",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Values, stores and the cluster over HTTP. Every member answers for every key. Every answer carries X-Correlation-ID: the request's own, if it had one, or a new one. Every error is JSON.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "The password of the configuration (auth.password); needed once there is one" },
                "basic": { "type": "http", "scheme": "basic", "description": "Any user, with that password" },
            },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn operation(route: &Route) -> Value {
    let mut params: Vec<Value> = route
        .params
        .iter()
        .map(|param| {
            json!({
                "name": param.name,
                "in": param.place,
                "required": param.place == "path",
                "description": param.about,
                "schema": { "type": param.kind },
            })
        })
        .collect();
    params.push(json!({
        "name": "X-Correlation-ID",
        "in": "header",
        "required": false,
        "description": "Up to 128 visible ASCII characters that name this request in the log",
        "schema": { "type": "string", "maxLength": 128 },
    }));
    let mut responses = Map::new();
    let (status, schema) = route.gives;
    responses
        .insert(status.to_string(), json!({ "description": "Done", "content": content(schema) }));
    let guarded = route.is_guarded();
    for status in route.errors.iter().copied().chain(guarded.then_some(401)) {
        // Health and readiness say what is wrong in their own form.
        let schema = if guarded { "Error" } else { schema };
        let body = json!({ "description": reason(status), "content": content(schema) });
        responses.insert(status.to_string(), body);
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": params,
        "responses": responses,
    });
    if let Some(schema) = route.takes {
        operation["requestBody"] = json!({ "required": true, "content": content(schema) });
    }
    if guarded {
        operation["security"] = json!([{}, { "bearer": [] }, { "basic": [] }]);
    }
    operation
}

fn content(schema: &str) -> Value {
    match schema {
        "Text" => json!({ "text/plain": { "schema": { "type": "string" } } }),
        "Value" | "NewValue" => json!({
            "application/json": { "schema": reference(schema) },
            "application/octet-stream": { "schema": {} },
        }),
        _ => json!({ "application/json": { "schema": reference(schema) } }),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request is wrong; the message says how",
        401 => "The password is missing or wrong",
        404 => "There is no such key or store",
        408 => "The body came too slowly",
        409 => "What is there does not allow it",
        413 => "The body is too large",
        415 => "The body is not JSON",
        503 => "The cluster cannot answer now, such as without a quorum",
        504 => "No answer within the deadline",
        507 => "The store is at its budget",
        _ => "Not done",
    }
}

/// An object's schema from its fields: name, type, what it is.
fn object(required: &[&str], fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn number(about: &str) -> Value {
    json!({ "type": "number", "description": about })
}

fn integer(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

fn boolean(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

fn or_null(kind: &str, about: &str) -> Value {
    json!({ "type": [kind, "null"], "description": about })
}

fn list(of: Value) -> Value {
    json!({ "type": "array", "items": of })
}

/// A store's filter as it is written; it is always shown by the names.
fn filter_setting() -> Value {
    let rate = json!({ "type": "number", "minimum": 0.001, "maximum": 0.1 });
    json!({
        "description": "The store's cuckoo filter: on or off, a rate of false positives (0.01 unless given), or both by name",
        "default": false,
        "oneOf": [
            { "type": ["boolean", "null"] },
            rate,
            {
                "type": "object",
                "additionalProperties": false,
                "properties": { "enabled": { "type": "boolean" }, "false_positive_rate": rate },
            },
        ],
    })
}

/// What of a store is on disk, as it is written; it is always shown by the names.
fn durability_setting() -> Value {
    let modes = Mode::ALL.map(|(word, _)| word);
    let mut words = modes.to_vec();
    words.push("aof_only");
    let default = Durability::default();
    let with = |mut schema: Value, default: Value| {
        schema["default"] = default;
        schema
    };
    json!({
        "description": "What of the store is on disk: a mode in one word (aof_only is aof), or fields by name; null is nothing. \
            What says something of a log is left out, and refused, with mode snapshot. PATCH keeps the fields that are left out",
        "default": "disabled",
        "oneOf": [
            { "enum": words },
            { "type": "null" },
            {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "mode": with(json!({ "enum": words }), json!("disabled")),
                    "fsync": with(
                        json!({ "enum": Fsync::ALL.map(|(word, _)| word), "description": "When the log is forced to the disk" }),
                        json!(default.fsync.as_str()),
                    ),
                    "fsync_interval_ms": with(integer("Of fsync periodic, 10 to 3600000"), json!(default.fsync_interval_ms)),
                    "batch_size": with(integer("The most writes of a frame of the log, 1 to 1000000"), json!(default.batch_size)),
                    "compression": with(boolean("Whether the log is compressed"), json!(default.compression)),
                    "snapshot_interval_ms": with(integer("Between two snapshots, 1000 to 604800000"), json!(default.snapshot_interval_ms)),
                    "rewrite_percentage": with(integer("The log is rewritten once it is larger than the snapshot by so much; 0 for never"), json!(default.rewrite_percentage)),
                    "rewrite_min_bytes": with(integer("… and at least this large, 1048576 or more"), json!(default.rewrite_min_bytes)),
                },
            },
        ],
    })
}

fn schemas() -> Value {
    let key = ("key", text("The key, when it is UTF-8"));
    let key_base64 = ("key_base64", text("The key as base64, when it is not UTF-8"));
    let store = ("store", text("The store's name"));
    let policies = [
        (
            "max_memory_bytes",
            or_null("integer", "The budget on each member, 1048576 at least; null is no bound"),
        ),
        (
            "default_ttl_ms",
            or_null("integer", "The lifetime of keys written without one; null is for ever"),
        ),
        ("eviction_policy", json!({ "enum": EvictionPolicy::ALL.map(|(word, _)| word) })),
        ("key_prefixes", list(text("Keys of database 0 that begin with this belong to the store"))),
        ("cuckoo_filter", filter_setting()),
        ("persistence", durability_setting()),
        (
            "replication_factor",
            json!({ "type": "integer", "minimum": 1, "maximum": MAX_REPLICATION_FACTOR,
                    "description": "How many members hold each key; 1 unless given" }),
        ),
        ("acks", json!({ "enum": Acks::ALL.map(|(word, _)| word) })),
    ];
    let named = [
        ("name", text("a lower-case letter, then up to 62 of a-z, 0-9, '_', '-'")),
        ("number", integer("What SELECT takes, up to 1023")),
    ];
    let with = |more: &[(&'static str, Value)]| {
        let mut fields = named.to_vec();
        fields.extend_from_slice(&policies);
        fields.extend_from_slice(more);
        fields
    };
    let member = object(
        &["name"],
        &[
            ("id", text("40 hexadecimal digits, as CLUSTER NODES shows them")),
            ("name", text("node.id of its configuration")),
            ("host", text("Where it is reached")),
            ("resp_port", integer("Redis's protocol")),
            ("http_port", integer("HTTP")),
            ("gossip_port", integer("Between members")),
            ("role", json!({ "enum": ["voter", "learner"] })),
            ("state", json!({ "enum": ["alive", "suspect", "down"] })),
            ("slots", integer("Slots that it owns")),
            ("keys", or_null("integer", "Keys that it holds; null when it did not say in time")),
            ("zone", or_null("string", "Its failure zone")),
            ("replica_slots", integer("Slots that it holds for another primary")),
            ("weight", integer("Its share of slots against the others'")),
            ("drained", boolean("It shall own no slots")),
        ],
    );
    let problem = object(
        &["kind", "message"],
        &[
            ("kind", text("A word for programs, such as StoreNotEmpty")),
            ("object", text("What it is about")),
            ("message", text("What it is, for people")),
        ],
    );
    let figures = [
        ("keys", integer("Keys")),
        ("used_memory_bytes", integer("What they cost")),
        ("hits", integer("Reads that found their key")),
        ("misses", integer("Reads that found none")),
        ("hit_ratio", or_null("number", "hits of all reads; null before the first")),
        ("evicted_keys", integer("Keys that left for the budget")),
        ("expired_keys", integer("Keys whose time was over")),
    ];
    let filter = [
        ("keys", integer("Keys that the filter knows")),
        ("keys_unfiltered", integer("Keys in slots where it is not built yet")),
        ("bytes", integer("What it costs; counted in the store's budget")),
        ("bytes_per_key", or_null("number", "bytes by keys")),
        ("checks", integer("Look-ups that asked it")),
        ("negatives", integer("Those that it answered: surely absent")),
        ("false_positives", integer("Those that it let through although the key was absent")),
        (
            "measured_false_positive_rate",
            or_null(
                "number",
                "false_positives of all look-ups of absent keys; null before the first",
            ),
        ),
    ];
    let filtered_member = object(
        &["name"],
        &[("name", text("The member")), ("answered", boolean("false when it did not in time"))]
            .into_iter()
            .chain(filter.iter().cloned())
            .collect::<Vec<_>>(),
    );
    let table = [
        ("cluster_id", or_null("string", "The cluster's own ID")),
        ("epoch", integer("Counts the changes of the table")),
        ("quorum", boolean("A majority of voters stands behind this")),
        ("leader", or_null("string", "Raft's leader, by name")),
        ("members", list(reference("Member"))),
    ];
    let mut cluster = table.to_vec();
    cluster.extend([
        (
            "protocol",
            integer("The version of what members say to each other that all of them know"),
        ),
        ("desired_generation", or_null("integer", "Of the last desired state that was taken")),
        (
            "ring",
            object(
                &[],
                &[
                    ("balanced", boolean("Slots are where the ring wants them")),
                    ("reason", or_null("string", "Why not, as a word")),
                    ("message", or_null("string", "Why not, for people")),
                    ("slots_assigned", integer("Of 16384")),
                ],
            ),
        ),
        ("stores", list(reference("Store"))),
        ("problems", list(reference("Problem"))),
    ]);
    json!({
        "Any": {},
        "Error": object(&["error"], &[("error", object(&["code", "message"], &[
            ("code", text("A word for programs")),
            ("message", text("What is wrong and what would be right")),
            ("field", text("The field that is wrong")),
        ]))]),
        "Value": object(&["store"], &[key.clone(), key_base64.clone(), store.clone(),
            ("value", text("The value, when it is UTF-8")),
            ("value_base64", text("The value as base64, when it is not UTF-8")),
            ("ttl_seconds", or_null("number", "What is left of its lifetime; null is for ever")),
        ]),
        "NewValue": object(&[], &[
            ("value", json!({ "description": "Any JSON: a string is stored as its bytes, everything else as its text" })),
            ("value_base64", text("Bytes as base64, instead of 'value'")),
            ("ttl_seconds", number("The lifetime in seconds; fractions count")),
            ("ttl_hours", number("The lifetime in hours, instead of ttl_seconds")),
        ]),
        "Stored": object(&["store", "stored"], &[key.clone(), key_base64.clone(), store.clone(), ("stored", boolean("true"))]),
        "Deleted": object(&["store", "deleted"], &[key, key_base64, store.clone(), ("deleted", boolean("true"))]),
        "Keys": object(&["store", "cursor", "keys"], &[store,
            ("cursor", integer("Where to go on; 0 when the scan is through")),
            ("keys", list(text("A key"))),
            ("keys_base64", list(text("A key that is not UTF-8, as base64"))),
        ]),
        "NewStore": object(&[], &with(&[])),
        "StorePatch": object(&[], &policies),
        "Store": object(&["name", "number"], &with(&[
            ("managed", boolean("An operator keeps it")),
            ("keys", integer("Keys in the whole cluster")),
            ("used_memory_bytes", integer("What they cost in the whole cluster")),
        ])),
        "Stores": object(&["stores"], &[("stores", list(reference("Store")))]),
        "Dropped": object(&["name", "dropped"], &[("name", text("The store's name")), ("dropped", boolean("true"))]),
        "FilterStats": object(&["store", "cuckoo_filter", "members"], &[
            ("store", text("The store's name")),
            ("cuckoo_filter", filter_setting()),
            ("members", list(filtered_member)),
        ].into_iter().chain(filter.iter().cloned()).collect::<Vec<_>>()),
        "FilterCheck": object(&["store", "member", "verdict"], &[
            ("key", text("The key, when it is UTF-8")),
            ("key_base64", text("The key as base64, when it is not UTF-8")),
            ("store", text("The store's name")),
            ("member", text("The member that owns the key, and answered")),
            ("verdict", json!({ "enum": ["surely_absent", "may_be_present", "no_filter"] })),
            ("may_be_present", or_null("boolean", "The verdict as a switch; null without a filter")),
        ]),
        "Member": member,
        "Members": object(&["members"], &table),
        "Problem": problem,
        "Cluster": object(&["members", "stores", "problems"], &cluster),
        "Desired": object(&["generation", "members"], &[
            ("generation", integer("Told back as desired_generation")),
            ("members", list(text("The name of a member that shall be"))),
            ("stores", list(reference("NewStore"))),
        ]),
        "Weights": object(&["weights"], &[("weights", json!({
            "type": "object",
            "description": "By member's name; null is as the member says itself",
            "additionalProperties": { "type": ["integer", "null"], "minimum": 1, "maximum": 100 },
        }))]),
        "Rebalance": object(&["max_bytes_per_second"], &[
            ("max_bytes_per_second", or_null("integer", "From one member to another one; at least 65536; null is as configured (cluster.move_rate)")),
        ]),
        "NewLeader": object(&[], &[("to", or_null("string", "The name of a member that votes and is alive; any unless given"))]),
        "Leader": object(&["leader"], &[("leader", text("Who leads now, by name"))]),
        "Forgotten": object(&["promoted", "begun_empty", "waiting"], &[
            ("promoted", integer("Slots that another owner answers for from now on")),
            ("begun_empty", integer("Slots that begin empty, as nobody else has them")),
            ("waiting", integer("Slots that wait for other members all the same")),
        ]),
        "Plan": object(&["state", "slots", "moves", "members"], &[
            ("state", json!({ "enum": ["Done", "Moving", "Paused", "NoCluster"] })),
            ("epoch", integer("Of the table")),
            ("paused", boolean("No slot begins to move")),
            ("max_bytes_per_second", integer("From one member to another one, at most")),
            ("slots", integer("Copies of slots that are to be brought")),
            ("slots_under_way", integer("Those that are under way")),
            ("least_slots", integer("How many must be at least, for everybody to own as many as it will")),
            ("keys", or_null("integer", "Keys that are to be brought; null when a member did not say in time")),
            ("least_keys", or_null("integer", "At least")),
            ("bytes", or_null("integer", "Their cost, by the mean of each store's keys")),
            ("least_bytes", or_null("integer", "At least")),
            ("primaries", integer("Slots that get another primary")),
            ("least_primaries", integer("At least")),
            ("removals", integer("Copies that go when others are there")),
            ("moves", list(object(&["from", "to", "slots"], &[
                ("from", text("The slots' primary")),
                ("to", text("Who gets them")),
                ("slots", integer("Slots")),
                ("slots_under_way", integer("Those that are under way")),
                ("keys", or_null("integer", "Keys")),
                ("bytes", or_null("integer", "Their cost, about")),
            ]))),
            ("members", list(object(&["name"], &[
                ("name", text("The member")),
                ("weight", integer("As the operator, or else the member itself says")),
                ("drained", boolean("It shall own no slots")),
                ("leaving", boolean("It is no longer listed")),
                ("primaries", integer("Slots that it is the primary of")),
                ("target_primaries", integer("Those that it will be")),
                ("owned", integer("Slots that it owns, as primary or replica")),
                ("target_owned", integer("Those that it will own")),
            ]))),
        ]),
        "Health": object(&["status", "members"], &[
            ("status", json!({ "enum": ["ok", "degraded", "unavailable"] })),
            ("healthy", boolean("status is ok")),
            ("member", text("Who answers")),
            ("quorum", boolean("A majority of voters stands behind this member")),
            ("leader", or_null("string", "Raft's leader, by name")),
            ("epoch", integer("Of the table")),
            ("members", list(reference("Member"))),
            ("problems", list(text("What is not well"))),
        ]),
        "Live": object(&["live"], &[("live", boolean("true"))]),
        "Ready": object(&["ready"], &[("ready", boolean("It can serve")), ("reasons", list(text("Why not")))]),
        "CacheStats": object(&["stores"], &figures.iter().cloned().chain([
            ("member", text("Who answers")),
            ("resident_memory_bytes", integer("Memory that the process holds")),
            ("stores", list(object(&["name"], &figures))),
        ]).collect::<Vec<_>>()),
        "Stats": object(&["member", "version", "uptime_seconds"], &[
            ("member", text("Who answers")),
            ("version", text("Of the server")),
            ("uptime_seconds", integer("Since the process started")),
            ("calls_by_command", json!({ "type": "object", "additionalProperties": { "type": "integer" } })),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_schema_that_is_named_is_there_and_used() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for reference in &found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        for name in schemas.keys() {
            assert!(found.iter().any(|r| r.ends_with(&format!("/{name}"))), "{name} is not used");
        }
    }

    #[test]
    fn every_route_is_an_operation() {
        let document = document();
        for route in ROUTES {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["operationId"], route.id);
            assert_eq!(operation["responses"]["401"].is_object(), route.path.starts_with("/api/"));
        }
    }
}
