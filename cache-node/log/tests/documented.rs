//! The table of fields is told in docs/operations/logs.md, and Elasticsearch's templates are made from
//! it.
//!
//! `LOG_FIELDS=write cargo test -p hypercache-log --test documented` writes them anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hypercache_log::fields::{CLUSTER, Kind, Mapped, OF_EACH_LINE, OTHERS, TABLE};
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
const BEGIN: &str = "<!-- fields:begin -->\n";
const END: &str = "<!-- fields:end -->\n";

/// Compares a file with what it should be, or writes it.
fn same(path: &str, wanted: &str) {
    let path = format!("{ROOT}{path}");
    if std::env::var("LOG_FIELDS").is_ok_and(|word| word == "write") {
        return std::fs::write(&path, wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "{path} is not up to date: LOG_FIELDS=write cargo test -p hypercache-log --test documented"
    );
}

fn all() -> impl Iterator<Item = &'static Mapped> {
    OF_EACH_LINE.iter().chain(TABLE)
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Date => "date",
        Kind::Keyword => "keyword",
        Kind::Text => "text",
        Kind::Long | Kind::Duration => "long",
        Kind::Boolean => "boolean",
    }
}

#[test]
fn the_document_has_the_table_of_fields() {
    let path = "docs/operations/logs.md";
    let document = std::fs::read_to_string(format!("{ROOT}{path}")).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut table = String::from("| field | type | |\n| --- | --- | --- |\n");
    let mut told = Vec::new();
    for row in all().filter(|row| row.about != "the same") {
        assert!(!told.contains(&row.name), "{} is told twice", row.name);
        told.push(row.name);
        let _ = writeln!(table, "| `{}` | {} | {} |", row.name, word(row.kind), row.about);
    }
    let _ = writeln!(table, "| `{OTHERS}.*` | keyword | what libraries name |");
    same(path, &format!("{before}{BEGIN}\n{table}\n{END}{after}"));
}

/// The fields as nested properties.
fn properties() -> Value {
    let mut tree = BTreeMap::new();
    for row in all() {
        let mut of = json!({ "type": word(row.kind) });
        if row.kind == Kind::Keyword {
            of["ignore_above"] = json!(1024);
        }
        tree.insert(row.name, of);
    }
    let mut properties = json!({});
    for (name, of) in tree {
        let mut at = &mut properties;
        let (last, parts) = {
            let mut parts: Vec<&str> = name.split('.').collect();
            (parts.pop().unwrap(), parts)
        };
        for part in parts {
            at = &mut at[part]["properties"];
        }
        at[last] = of;
    }
    properties
}

/// What both generations of Elasticsearch are told about the fields.
fn mappings() -> Value {
    json!({
        "date_detection": false,
        "numeric_detection": false,
        "dynamic_templates": [
            { "others": {
                "path_match": format!("{OTHERS}.*"),
                "mapping": { "type": "keyword", "ignore_above": 1024 },
            } },
            { "texts": {
                "match_mapping_type": "string",
                "mapping": { "type": "keyword", "ignore_above": 1024 },
            } },
        ],
        "properties": properties(),
    })
}

fn settings() -> Value {
    json!({
        "number_of_shards": 1,
        "number_of_replicas": 1,
        "refresh_interval": "5s",
        "mapping.total_fields.limit": 2000,
        "query.default_field": ["message", "error.message", "event.action", CLUSTER],
    })
}

fn pretty(value: &Value) -> String {
    format!("{:#}\n", value)
}

#[test]
fn the_template_for_elasticsearch_6_has_the_same_fields() {
    let template = json!({
        "index_patterns": ["logs-hypercache.*"],
        "order": 200,
        "settings": { "index": settings() },
        "mappings": { "doc": mappings() },
    });
    same("logging/elasticsearch/template-6.json", &pretty(&template));
}

#[test]
fn the_template_for_elasticsearch_7_and_newer_has_the_same_fields() {
    let template = json!({
        "index_patterns": ["logs-hypercache.*-*"],
        "priority": 200,
        "data_stream": {},
        "template": { "settings": { "index": settings() }, "mappings": mappings() },
    });
    same("logging/elasticsearch/template-7.json", &pretty(&template));
}
