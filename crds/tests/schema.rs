//! The definition: the checked-in copies are the generated one, and each bad resource in
//! `tests/invalid` and `tests/changes` is refused with the words of its first line, here without
//! an API server. The e2e tests send the same files to a real one.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

#[path = "schema/refuse.rs"]
mod refuse;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn schema() -> Value {
    let crd = serde_json::to_value(hypercache_crds::definition().unwrap()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// The documents of each file in a folder, with the text it is refused with.
fn files(folder: &str) -> Vec<(String, String, Vec<Value>)> {
    let mut files: Vec<_> = fs::read_dir(here(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let expected =
                text.lines().next().unwrap().strip_prefix("# expect: ").unwrap_or_default();
            let documents = serde_saphyr::from_multiple(&text).unwrap();
            (path.display().to_string(), expected.to_owned(), documents)
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

#[test]
fn the_checked_in_yaml_is_what_the_types_generate() {
    let generated = hypercache_crds::definition::yaml().unwrap();
    for copy in ["yaml/hypercacheclusters.hypercache.io.yaml", "../helm/hypercache/files/crd.yaml"]
    {
        let text = fs::read_to_string(here(copy)).unwrap();
        assert!(text == generated, "{copy} is old: cargo run -p hypercache-crds > {copy}");
    }
}

#[test]
fn bad_resources_are_refused_with_the_field_in_the_message() {
    let schema = schema();
    for (file, expected, documents) in files("tests/invalid") {
        assert!(!expected.is_empty(), "{file} does not say what is expected");
        let errors = refuse::errors(&schema, &documents[0], None);
        assert!(
            errors.iter().any(|error| error.contains(&expected)),
            "{file}: expected '{expected}', got {errors:?}"
        );
    }
}

#[test]
fn o8_changes_that_cannot_be_are_refused_by_the_schema() {
    let schema = schema();
    for (file, expected, documents) in files("tests/changes") {
        let [before, after] = documents.as_slice() else { panic!("{file}: two documents") };
        for alone in [before, after] {
            assert_eq!(refuse::errors(&schema, alone, None), Vec::<String>::new(), "{file}");
        }
        assert_eq!(refuse::errors(&schema, before, Some(before)), Vec::<String>::new(), "{file}");
        let errors = refuse::errors(&schema, after, Some(before));
        assert!(errors.iter().any(|error| error.contains(&expected)), "{file}: {errors:?}");
    }
}

#[test]
fn good_resources_pass_and_are_read_by_the_types() {
    let schema = schema();
    for (file, _, documents) in files("tests/valid") {
        for document in documents {
            assert_eq!(refuse::errors(&schema, &document, None), Vec::<String>::new(), "{file}");
            let read: hypercache_crds::HyperCacheCluster =
                serde_json::from_value(document).unwrap();
            // What the type writes again is valid as well.
            let written = serde_json::to_value(&read).unwrap();
            assert_eq!(refuse::errors(&schema, &written, None), Vec::<String>::new(), "{file}");
        }
    }
}

#[test]
fn a_volume_may_grow() {
    let cluster = |size: &str| json!({ "metadata": { "name": "a" }, "spec": { "storage": { "size": size } } });
    let errors = refuse::errors(&schema(), &cluster("2Gi"), Some(&cluster("1024Mi")));
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn o4_a_size_that_no_volume_was_asked_for_can_be_taken_back() {
    let cluster = |size: &str| {
        json!({
            "metadata": { "name": "a" },
            "spec": { "storage": { "size": size } },
            "status": { "volumeSize": "1Gi" },
        })
    };
    let schema = schema();
    let errors = refuse::errors(&schema, &cluster("1Gi"), Some(&cluster("2Gi")));
    assert_eq!(errors, Vec::<String>::new());
    let errors = refuse::errors(&schema, &cluster("512Mi"), Some(&cluster("2Gi")));
    assert!(errors[0].contains("a volume cannot shrink"), "{errors:?}");
}

#[test]
fn defaults_are_in_the_schema() {
    let spec = &schema()["properties"]["spec"]["properties"];
    assert_eq!(spec["members"]["default"], 3);
    assert_eq!(spec["members"]["minimum"], 1.0);
    assert_eq!(spec["members"]["maximum"], 100.0);
    assert_eq!(spec["storage"]["default"]["size"], "1Gi");
    assert_eq!(
        spec["image"]["default"],
        format!("hypercache/hypercache:{}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(spec["stores"]["items"]["properties"]["evictionPolicy"]["default"], "wtinylfu");
}

#[test]
fn scale_and_status_are_subresources_with_the_paths_of_members() {
    let crd = serde_json::to_value(hypercache_crds::definition().unwrap()).unwrap();
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.members");
    assert_eq!(version["subresources"]["scale"]["statusReplicasPath"], ".status.members");
    assert_eq!(version["subresources"]["scale"]["labelSelectorPath"], ".status.selector");
    assert!(version["subresources"]["status"].is_object());
    assert_eq!(crd["spec"]["names"]["shortNames"], json!(["hc"]));
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(columns, ["Members", "Ready", "Status", "Ring", "Leader", "Image", "Age"]);
}

#[test]
fn helm_leaves_the_definition_on_uninstall() {
    let crd = serde_json::to_value(hypercache_crds::definition().unwrap()).unwrap();
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
}

/// Lists that CEL rules read are bounded, as are the strings in them: else the API server refuses
/// the definition for the rules' estimated cost.
#[test]
fn what_rules_read_is_bounded() {
    fn walk(path: &str, schema: &Value, unbounded: &mut Vec<String>) {
        if schema["type"] == "array" && schema.get("maxItems").is_none() {
            unbounded.push(path.to_owned());
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, property) in properties {
                walk(&format!("{path}.{name}"), property, unbounded);
            }
        }
        if schema["items"].is_object() {
            walk(&format!("{path}[]"), &schema["items"], unbounded);
        }
    }
    let mut unbounded = Vec::new();
    walk("", &schema(), &mut unbounded);
    unbounded.retain(|path| {
        !["affinity", "resources", "topologySpreadConstraints"]
            .iter()
            .any(|foreign| path.starts_with(&format!(".spec.{foreign}")))
    });
    assert_eq!(unbounded, Vec::<String>::new());
}
