//! Under which name, and of which type, a field of an event stands in a line.
//!
//! One name has one type everywhere: [`TABLE`] is what members and the operator name themselves, and
//! documentation and Elasticsearch's templates are made from it. All else, as libraries name it, is a
//! text below [`OTHERS`].

use serde_json::Value;

/// The type of a field, in Elasticsearch's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A time.
    Date,
    /// Words to be found as a whole.
    Keyword,
    /// Words to be searched in.
    Text,
    /// A whole number.
    Long,
    /// A number of nanoseconds, named in milliseconds.
    Duration,
    /// Yes or no.
    Boolean,
}

/// A field of a line.
#[derive(Debug, Clone, Copy)]
pub struct Mapped {
    /// What the source calls it; empty for what each line has.
    pub own: &'static str,
    /// What it is called in a line.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it says.
    pub about: &'static str,
}

const fn row(own: &'static str, name: &'static str, kind: Kind, about: &'static str) -> Mapped {
    Mapped { own, name, kind, about }
}

/// The name of the cluster that a line is about.
pub const CLUSTER: &str = "hypercache.cluster";

/// Below this stands, as a text, what is in no table.
pub const OTHERS: &str = "hypercache.fields";

use Kind::{Boolean, Date, Duration, Keyword, Long, Text};

/// What the line itself says.
pub const OF_EACH_LINE: &[Mapped] = &[
    row("", "@timestamp", Date, "when, in UTC"),
    row("", "log.level", Keyword, "`error`, `warn`, `info`, `debug`, `trace`"),
    row("", "log.logger", Keyword, "the part of the source; `audit`"),
    row("", "message", Text, "what happened, in words"),
    row("", "ecs.version", Keyword, "the schema's version"),
    row("", "service.name", Keyword, "`hypercache`, `hypercache-operator`"),
    row("", "service.version", Keyword, "its version"),
    row("", "service.node.name", Keyword, "the member's name; the operator's pod"),
    row(
        "",
        "event.dataset",
        Keyword,
        "`hypercache.log`, `hypercache.audit`, `hypercache.operator`",
    ),
    row("", "trace.id", Keyword, "the trace, where the request is sampled"),
    row("", "span.id", Keyword, "its span"),
];

/// What events name, in the order of the names in lines.
pub const TABLE: &[Mapped] = &[
    row("address", "destination.address", Keyword, "where something was sent to"),
    row("code", "error.code", Keyword, "the first word of an error reply"),
    row("error", "error.message", Text, "what went wrong"),
    row("action", "event.action", Keyword, "the event's name, the same at each time"),
    row("duration_ms", "event.duration", Duration, "how long it took, in nanoseconds"),
    row("took_ms", "event.duration", Duration, "the same"),
    row("outcome", "event.outcome", Keyword, "`success`, `failure`, `unknown`"),
    row("reason", "event.reason", Keyword, "why"),
    row("file", "file.path", Keyword, "a file"),
    row("path", "file.path", Keyword, "the same"),
    row("correlation_id", "http.request.id", Keyword, "`X-Correlation-ID`"),
    row("method", "http.request.method", Keyword, "the method of an HTTP request"),
    row("status", "http.response.status_code", Long, "the status of an HTTP answer"),
    row("detail", "hypercache.audit.detail", Keyword, "what a change was about"),
    row("result", "hypercache.audit.result", Keyword, "`done`, `refused`, `denied`, `unknown`"),
    row("backup", "hypercache.backup", Keyword, "a backup's name"),
    row("begins", "hypercache.begins", Boolean, "whether a session begins anew"),
    row("begun_anew", "hypercache.begun_anew", Long, "slots that begin empty"),
    row("bind", "hypercache.bind", Keyword, "the address that is listened on"),
    row("bytes", "hypercache.bytes", Long, "how many bytes"),
    row("change", "hypercache.change", Text, "a change of the cluster's table"),
    row("client", "hypercache.client", Long, "a client's number, as CLIENT LIST has it"),
    row("cluster", "hypercache.cluster", Keyword, "the cluster's name"),
    row(
        "cluster_port",
        "hypercache.cluster_port",
        Long,
        "the port on which cluster-mode clients are sent to the members of their keys",
    ),
    row("command", "hypercache.command", Keyword, "a command's name"),
    row("damaged_frames", "hypercache.damaged_frames", Long, "frames of the log that are damaged"),
    row("damaged_snapshots", "hypercache.damaged_snapshots", Long, "snapshots that are damaged"),
    row("epoch", "hypercache.epoch", Long, "the epoch of the cluster's table"),
    row("events", "hypercache.events", Long, "how many keyspace events"),
    row("frames", "hypercache.frames", Long, "frames of the log"),
    row("generation", "hypercache.generation", Long, "the generation of a resource"),
    row("gossip_port", "hypercache.gossip_port", Long, "the port of gossip"),
    row("grace_ms", "hypercache.grace_ms", Long, "how long was waited, in milliseconds"),
    row("host", "hypercache.host", Keyword, "a member's address"),
    row("http_port", "hypercache.http_port", Long, "the port of HTTP"),
    row("huge_pages", "hypercache.huge_pages", Boolean, "whether huge pages are asked for"),
    row("is", "hypercache.is", Keyword, "the state after a change"),
    row("kept", "hypercache.kept", Long, "slots that were not handed over"),
    row("keys", "hypercache.keys", Long, "how many keys"),
    row("kind", "hypercache.kind", Keyword, "what sort of thing it is about"),
    row("lanes", "hypercache.lanes", Long, "parts of the data that are read"),
    row("leader", "hypercache.leader", Keyword, "who leads"),
    row("limit_bytes", "hypercache.limit_bytes", Long, "the member's memory limit"),
    row("member", "hypercache.member", Keyword, "another member: its name, else its number"),
    row("members", "hypercache.members", Long, "how many members"),
    row("messages", "hypercache.messages", Long, "how many published messages"),
    row("mode", "hypercache.mode", Keyword, "a store's durability"),
    row("names", "hypercache.names", Keyword, "several members"),
    row("namespaces", "hypercache.namespaces", Keyword, "namespaces that the operator looks after"),
    row("new", "hypercache.new", Keyword, "a member's number after a change"),
    row("old", "hypercache.old", Keyword, "a member's number before a change"),
    row("percent", "hypercache.percent", Long, "how far something is"),
    row("place", "hypercache.place", Keyword, "a place in the source"),
    row("port", "hypercache.port", Long, "a port"),
    row("promoted", "hypercache.promoted", Long, "slots that get another primary"),
    row("protocol", "hypercache.protocol", Long, "a version of what members say to each other"),
    row("quorum", "hypercache.quorum", Boolean, "whether there is a quorum"),
    row("records", "hypercache.records", Long, "records of the log"),
    row("resp_port", "hypercache.resp_port", Long, "the port of RESP"),
    row("route", "hypercache.route", Keyword, "the row of the table of routes"),
    row("script", "hypercache.script", Keyword, "a script's SHA-1"),
    row("segments", "hypercache.segments", Long, "segments of the log"),
    row("sent_bytes", "hypercache.sent_bytes", Long, "how many bytes were sent"),
    row("sequence", "hypercache.sequence", Long, "a sequence number of the log"),
    row("session", "hypercache.session", Keyword, "a session between members"),
    row("slot", "hypercache.slot", Long, "a slot"),
    row("slots", "hypercache.slots", Long, "how many slots"),
    row("slots_assigned", "hypercache.slots_assigned", Long, "slots that have an owner"),
    row("snapshot_keys", "hypercache.snapshot_keys", Long, "keys that snapshots had"),
    row("step", "hypercache.step", Keyword, "what the operator did to an object"),
    row("store", "hypercache.store", Keyword, "a store's name"),
    row("stores", "hypercache.stores", Long, "how many stores"),
    row(
        "suppressed",
        "hypercache.suppressed",
        Long,
        "such lines that were left out before this one",
    ),
    row("term", "hypercache.term", Long, "Raft's term"),
    row("threads", "hypercache.threads", Long, "how many I/O loops"),
    row("torn_bytes", "hypercache.torn_bytes", Long, "bytes cut from the log's end"),
    row("unsent_bytes", "hypercache.unsent_bytes", Long, "what waited for a subscriber"),
    row("wait_s", "hypercache.wait_s", Long, "when it is tried again, in seconds"),
    row("was", "hypercache.was", Keyword, "the state before a change"),
    row("what", "hypercache.what", Keyword, "what was done as it happened"),
    row("working_set_bytes", "hypercache.working_set_bytes", Long, "the memory in use"),
    row("namespace", "orchestrator.namespace", Keyword, "a resource's namespace"),
    row("object", "orchestrator.resource.name", Keyword, "a resource's kind and name"),
    row("source", "source.address", Keyword, "who connected, with the port"),
    row("url_path", "url.path", Keyword, "the path of an HTTP request"),
    row("user", "user.name", Keyword, "who asked, as they say; `cluster`: the cluster itself"),
];

/// Fields as they stand in a line, in the order of the tables.
pub fn mapped(named: &[(&'static str, Value)]) -> Vec<(String, Value)> {
    let (mut known, mut others) = (Vec::new(), Vec::new());
    for (own, value) in named {
        let place = TABLE.iter().position(|row| row.own == *own);
        match place.and_then(|at| Some((at, typed(TABLE[at].kind, value)?))) {
            // The innermost of two that mean the same.
            Some((at, value)) => {
                known.retain(|(other, _): &(usize, Value)| TABLE[*other].name != TABLE[at].name);
                known.push((at, value));
            }
            None => others.push((format!("{OTHERS}.{}", own.replace('.', "_")), text(value))),
        }
    }
    known.sort_by_key(|(at, _)| *at);
    let known = known.into_iter().map(|(at, value)| (TABLE[at].name.to_owned(), value));
    known.chain(others).collect()
}

/// A value of that type; `None` if it is none.
fn typed(kind: Kind, value: &Value) -> Option<Value> {
    match kind {
        Kind::Boolean => value.is_boolean().then(|| value.clone()),
        Kind::Date => None,
        Kind::Keyword | Kind::Text => Some(text(value)),
        // Elasticsearch has no larger ones.
        Kind::Long if value.is_u64() => value.as_i64().or(Some(i64::MAX)).map(Value::from),
        Kind::Long => value.as_i64().map(Value::from),
        Kind::Duration => {
            let ms = value.as_f64().filter(|ms| *ms >= 0.0)?;
            Some(Value::from((ms * 1e6).round() as i64))
        }
    }
}

fn text(value: &Value) -> Value {
    match value {
        Value::String(_) => value.clone(),
        other => Value::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn a_name_has_one_type_and_is_no_beginning_of_another() {
        let mut kinds = BTreeMap::new();
        for row in OF_EACH_LINE.iter().chain(TABLE) {
            let before = kinds.insert(row.name, row.kind);
            assert!(before.is_none_or(|kind| kind == row.kind), "{} has two types", row.name);
        }
        for name in kinds.keys() {
            let inside = format!("{name}.");
            let longer = kinds.keys().chain([&OTHERS]).find(|other| other.starts_with(&inside));
            assert_eq!(longer, None, "{name} is a value, and holds others");
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_its_names_and_names_nothing_twice() {
        let order: Vec<_> = TABLE.iter().map(|row| (row.name, row.own)).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(order, sorted);
        let mut own: Vec<_> = TABLE.iter().map(|row| row.own).collect();
        own.sort_unstable();
        own.dedup();
        assert_eq!(own.len(), TABLE.len());
    }

    #[test]
    fn a_value_of_another_type_is_kept_as_a_text_where_no_type_is_asked_for() {
        let named = [
            ("slot", json!("seven")),
            ("quorum", json!(1)),
            ("member", json!(17)),
            ("otel.kind", json!("client")),
            ("count", json!(3)),
        ];
        let wanted = [
            ("hypercache.member", json!("17")),
            ("hypercache.fields.slot", json!("seven")),
            ("hypercache.fields.quorum", json!("1")),
            ("hypercache.fields.otel_kind", json!("client")),
            ("hypercache.fields.count", json!("3")),
        ];
        assert_eq!(mapped(&named), wanted.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn numbers_are_such_as_elasticsearch_has() {
        let named = [("bytes", json!(u64::MAX)), ("duration_ms", json!(0.25)), ("slot", json!(-1))];
        let wanted = [
            ("event.duration", json!(250_000)),
            ("hypercache.bytes", json!(i64::MAX)),
            ("hypercache.slot", json!(-1)),
        ];
        assert_eq!(mapped(&named), wanted.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(typed(Kind::Duration, &json!(-1.0)), None);
    }

    #[test]
    fn of_two_names_for_the_same_the_later_one_stands() {
        let named = [("duration_ms", json!(1)), ("took_ms", json!(2))];
        assert_eq!(mapped(&named), [("event.duration".to_owned(), json!(2_000_000))]);
    }
}
