//! Whether what is there is what should be.
//!
//! The API server adds defaults to what is applied, so that the two are never equal. What is
//! there is as it should be when it has everything that should be (someone else may have added
//! more), and was applied from the very same wish (so that what the wish no longer has is taken
//! away): the digest in an annotation says that.

use hypercache_crds::quantity;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::names::APPLIED_ANNOTATION;

/// A short digest of a value, the same in every process.
pub fn digest(value: &Value) -> String {
    // serde_json's maps are sorted: the text is canonical.
    let hash = Sha256::digest(value.to_string().as_bytes());
    hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the live object must be applied again.
pub fn differs(live: &Value, wanted: &Value) -> bool {
    let digest = |object: &Value| object["metadata"]["annotations"][APPLIED_ANNOTATION].clone();
    digest(live) != digest(wanted) || !covers(live, wanted)
}

/// Whether `live` has all that `wanted` has.
pub fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match live.get(key) {
                Some(live) => covers(live, value),
                None => is_empty(value),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => lists_cover(live, wanted),
        (live, wanted) => live == wanted || same_quantity(live, wanted),
    }
}

/// The server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn lists_cover(live: &[Value], wanted: &[Value]) -> bool {
    let named = !wanted.is_empty() && wanted.iter().all(|item| item["name"].is_string());
    if named {
        // Kubernetes merges such lists by name: others may have added items of their own.
        return wanted.iter().all(|item| {
            live.iter().any(|other| other["name"] == item["name"] && covers(other, item))
        });
    }
    live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
}

/// The server writes quantities in one form: `1024Mi` comes back as `1Gi`.
fn same_quantity(live: &Value, wanted: &Value) -> bool {
    let read = |value: &Value| match value {
        Value::String(text) => quantity::millis(text).ok(),
        Value::Number(number) => quantity::millis(&number.to_string()).ok(),
        _ => None,
    };
    matches!((read(live), read(wanted)), (Some(live), Some(wanted)) if live == wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_and_items_of_others_are_no_difference() {
        let wanted = json!({ "spec": { "containers": [{ "name": "a", "args": ["x"] }], "tolerations": [] } });
        let live = json!({ "spec": {
            "containers": [{ "name": "side" }, { "name": "a", "args": ["x"], "tty": false }],
            "dnsPolicy": "ClusterFirst",
        } });
        assert!(covers(&live, &wanted));
    }

    #[test]
    fn a_changed_missing_or_shortened_value_is_a_difference() {
        let wanted = json!({ "a": 1, "list": ["x", "y"], "named": [{ "name": "n", "v": 1 }] });
        for live in [
            json!({ "a": 2, "list": ["x", "y"], "named": [{ "name": "n", "v": 1 }] }),
            json!({ "list": ["x", "y"], "named": [{ "name": "n", "v": 1 }] }),
            json!({ "a": 1, "list": ["x"], "named": [{ "name": "n", "v": 1 }] }),
            json!({ "a": 1, "list": ["y", "x"], "named": [{ "name": "n", "v": 1 }] }),
            json!({ "a": 1, "list": ["x", "y"], "named": [{ "name": "m", "v": 1 }] }),
            json!({ "a": 1, "list": ["x", "y"], "named": [{ "name": "n" }] }),
        ] {
            assert!(!covers(&live, &wanted), "{live}");
        }
    }

    #[test]
    fn quantities_are_compared_by_value() {
        assert!(covers(&json!("1Gi"), &json!("1024Mi")));
        assert!(covers(&json!("500m"), &json!("0.5")));
        assert!(!covers(&json!("1Gi"), &json!("1G")));
    }

    #[test]
    fn what_the_wish_no_longer_has_is_a_difference() {
        let with = |digest: &str, extra: bool| {
            let mut object =
                json!({ "metadata": { "annotations": { APPLIED_ANNOTATION: digest } }, "a": 1 });
            if extra {
                object["b"] = json!(2);
            }
            object
        };
        assert!(!differs(&with("1", true), &with("1", false)));
        assert!(differs(&with("1", true), &with("2", false)));
        assert!(differs(&json!({ "a": 1 }), &with("1", false)));
    }
}
