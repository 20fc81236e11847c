//! The CEL rules that the API server checks. Every list and string they read is bounded, so that
//! their estimated cost stays within the server's budget.

use serde_json::{Value, json};

fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

fn at(field_path: &str, text: &str, message: &str) -> Value {
    json!({ "rule": text, "message": message, "fieldPath": field_path })
}

/// On the resource: its name becomes part of names of pods and Services; and a size that was never
/// asked of a volume can be taken back.
pub(crate) fn resource() -> Vec<Value> {
    vec![
        rule(
            "size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: must be at most 50 of a-z, 0-9 and '-', start with a letter and not end \
         with '-', as pods and Services are named after it",
        ),
        at(
            ".spec.storage.size",
            "!has(self.spec.storage) || !has(self.spec.storage.size) || !has(oldSelf.spec.storage) || \
             !has(oldSelf.spec.storage.size) || !isQuantity(self.spec.storage.size) || \
             !isQuantity(oldSelf.spec.storage.size) || \
             !quantity(self.spec.storage.size).isLessThan(quantity(oldSelf.spec.storage.size)) || \
             has(self.status) && has(self.status.volumeSize) && \
             isQuantity(self.status.volumeSize) && \
             !quantity(self.spec.storage.size).isLessThan(quantity(self.status.volumeSize))",
            "a volume cannot shrink: keep the size or name a bigger one",
        ),
    ]
}

/// On `spec`: no key can be on more members than there are, and to wait for others there must be
/// some. What a store leaves out it has from the cluster.
pub(crate) fn spec() -> Vec<Value> {
    const MEMBERS: &str = "(has(self.members) ? self.members : 3)";
    const FACTOR: &str = "(has(self.replicationFactor) ? self.replicationFactor : 1)";
    const ACKS: &str = "(has(self.acks) ? self.acks : 'one')";
    let of_store = |field: &str, else_: &str| format!("(has(s.{field}) ? s.{field} : {else_})");
    let (factor, acks) = (of_store("replicationFactor", FACTOR), of_store("acks", ACKS));
    let many = "more copies of a key than there are members: raise members or lower \
                replicationFactor, also before the cluster is scaled in";
    let alone = "quorum and all wait for other members, and with a replicationFactor of 1 there \
                 are none: set replicationFactor to 2 or more (3, to lose a member and go on), or \
                 acks to one";
    vec![
        at(".replicationFactor", &format!("{FACTOR} <= {MEMBERS}"), many),
        at(
            ".stores",
            &format!("!has(self.stores) || self.stores.all(s, {factor} <= {MEMBERS})"),
            &format!("stores[].replicationFactor: {many}"),
        ),
        at(".acks", &format!("{ACKS} == 'one' || {FACTOR} > 1"), alone),
        at(
            ".stores",
            &format!("!has(self.stores) || self.stores.all(s, {acks} == 'one' || {factor} > 1)"),
            &format!("stores[].acks: {alone}"),
        ),
    ]
}

/// On `spec.stores`.
pub(crate) fn stores() -> Vec<Value> {
    vec![
        rule(
            "self.all(a, self.exists_one(b, b.number == a.number))",
            "stores[].number: two stores have the same number; each needs one of its own",
        ),
        rule(
            "self.all(a, !has(a.keyPrefixes) || self.all(b, a.name == b.name || \
             !has(b.keyPrefixes) || a.keyPrefixes.all(p, !(p in b.keyPrefixes))))",
            "stores[].keyPrefixes: two stores have the same prefix; a key can belong to one store \
             only",
        ),
    ]
}

/// On each store.
pub(crate) fn store() -> Vec<Value> {
    vec![
        at(
            ".number",
            "(self.number == 0) == (self.name == 'default')",
            "number 0 and the name 'default' belong together; other stores have numbers 1 to 1023",
        ),
        at(
            ".keyPrefixes",
            "self.name != 'default' || !has(self.keyPrefixes) || size(self.keyPrefixes) == 0",
            "the store 'default' takes every key that no other store's prefix routes; it has no \
             prefixes",
        ),
    ]
}

/// On a store's `persistence`.
pub(crate) fn persistence() -> Vec<Value> {
    ["fsync", "fsyncInterval", "batchSize", "rewritePercentage", "rewriteMinSize"]
        .map(|field| {
            at(
                &format!(".{field}"),
                &format!("!has(self.{field}) || self.mode in ['aof', 'aof+snapshot']"),
                "is of a log, which there is only with mode aof or aof+snapshot: choose one of \
                 these or leave it out",
            )
        })
        .to_vec()
}

pub(crate) fn store_name() -> Vec<Value> {
    vec![rule(
        "self.matches('^[a-z][a-z0-9_-]*$')",
        "a store's name is a lower-case letter, then up to 62 of a-z, 0-9, '_' and '-'",
    )]
}

pub(crate) fn memory() -> Vec<Value> {
    vec![rule(
        "isQuantity(self) && !quantity(self).isLessThan(quantity('1Mi'))",
        "must be a quantity of at least 1Mi, such as 512Mi or 2Gi",
    )]
}

/// On an endpoint of traces: what members take.
pub(crate) fn endpoint() -> Vec<Value> {
    vec![rule(
        "self.matches('^http://[^[:space:]/]+(/[^[:space:]]*)?$')",
        "not a URL that takes OTLP: write http://HOST:4318, or the whole path (https comes with a later \
         version: send to a collector beside the members)",
    )]
}

/// A lifetime or timeout: not zero, in parts of ms, s, m, h and d.
pub(crate) fn lifetime() -> Vec<Value> {
    vec![rule(
        "self.matches('^([0-9]{1,8}(ms|s|m|h|d))+$') && self.matches('[1-9]')",
        "must be a duration over zero, such as 500ms, 30s, 5m, 1h30m or 7d",
    )]
}

pub(crate) fn storage_size() -> Vec<Value> {
    vec![rule(
        "isQuantity(self) && !quantity(self).isLessThan(quantity('64Mi'))",
        "must be a quantity of at least 64Mi, such as 1Gi",
    )]
}

/// On `spec.storage`.
pub(crate) fn storage() -> Vec<Value> {
    vec![at(
        ".storageClassName",
        "has(self.storageClassName) == has(oldSelf.storageClassName) && \
         (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "cannot change: volumes stay in the class they were made in",
    )]
}
