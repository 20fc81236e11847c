//! The `CustomResourceDefinition`: the derived one, with what cannot be derived.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{HyperCacheCluster, rules};

/// Fields whose schema is Kubernetes' own: their descriptions are in Kubernetes' documentation.
const FOREIGN: [&str; 4] = ["affinity", "resources", "tolerations", "topologySpreadConstraints"];

/// Formats that the API server knows. Others only make it warn.
const FORMATS: [&str; 5] = ["int32", "int64", "date-time", "double", "float"];

/// Why the definition could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition does not go through JSON.
    #[error("the definition as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The definition does not go into YAML.
    #[error("the definition as YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// The definition as the API server takes it.
///
/// # Errors
/// When the derived schema is not what this function expects to complete.
pub fn definition() -> Result<CustomResourceDefinition, Error> {
    let mut crd = serde_json::to_value(HyperCacheCluster::crd())?;
    // Helm leaves it where it is on uninstall: with the definition every cluster would go.
    crd["metadata"]["annotations"] = json!({ "helm.sh/resource-policy": "keep" });
    crd["metadata"]["labels"] = json!({ "app.kubernetes.io/part-of": "hypercache" });
    if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
        for version in versions {
            let root = &mut version["schema"]["openAPIV3Schema"];
            root["x-kubernetes-validations"] = Value::Array(rules::resource());
            tidy(root);
            let spec = &mut root["properties"]["spec"]["properties"];
            for field in FOREIGN {
                strip_descriptions(&mut spec[field], true);
            }
        }
    }
    Ok(serde_json::from_value(crd)?)
}

/// The definition as YAML, with a line that says where it comes from.
///
/// # Errors
/// As [`definition`].
pub fn yaml() -> Result<String, Error> {
    let body = serde_saphyr::to_string(&serde_json::to_value(definition()?)?)?;
    Ok(format!("# Made by `cargo run -p hypercache-crds`; not edited by hand.\n{body}"))
}

/// Takes out what the API server would warn about or ignore.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let known =
                |format: &Value| format.as_str().is_none_or(|format| FORMATS.contains(&format));
            if !map.get("format").is_none_or(known) {
                map.remove("format");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Removes the descriptions below the top one.
fn strip_descriptions(schema: &mut Value, top: bool) {
    match schema {
        Value::Object(map) => {
            // A property that is called "description" has an object here, not a text.
            if !top && map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            map.values_mut().for_each(|value| strip_descriptions(value, false));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip_descriptions(item, false)),
        _ => {}
    }
}
