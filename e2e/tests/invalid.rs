//! What cannot be right is refused by the API server, with the field in the message.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{Space, in_space, project};
use serde_json::{Value, json};

/// `kubectl apply --dry-run=server --validate=strict` of a text: accepted, or the complaint.
fn dry_run(space: &Space, text: &str) -> Result<Result<(), String>> {
    let outcome = space.kube().outcome_with(
        &["-n", space.namespace(), "apply", "--dry-run=server", "--validate=strict", "-f", "-"],
        Some(text),
    )?;
    Ok(if outcome.ok { Ok(()) } else { Err(outcome.stderr) })
}

fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = project().join(folder);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "no .yaml in {}", folder.display());
    Ok(files)
}

/// What the complaint must contain, by the first line of an example.
fn expectation<'a>(path: &Path, text: &'a str) -> Result<&'a str> {
    let first = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
    Ok(first.with_context(|| format!("{}: no '# expect: …'", path.display()))?.trim())
}

fn cluster(spec: &Value) -> String {
    json!({
        "apiVersion": "hypercache.io/v1alpha1",
        "kind": "HyperCacheCluster",
        "metadata": {"name": "wrong"},
        "spec": spec,
    })
    .to_string()
}

#[test]
fn the_api_server_refuses_what_cannot_be_and_names_the_field() -> Result<()> {
    in_space("invalid", |space| {
        let store = |name: &str, number: u32| json!({"name": name, "number": number});
        let cases = [
            (json!({"members": 0}), "spec.members"),
            (json!({"stores": [store("a", 1), store("a", 2)]}), "spec.stores[1]"),
            (json!({"stores": [store("a", 1), store("b", 1)]}), "spec.stores"),
            (
                json!({"stores": [{"name": "a", "number": 1, "evictionPolicy": "newest"}]}),
                "spec.stores[0].evictionPolicy",
            ),
            (json!({"memmbers": 3}), "memmbers"),
        ];
        for (spec, field) in cases {
            let refused = dry_run(space, &cluster(&spec))?;
            match refused {
                Ok(()) => anyhow::bail!("accepted: {spec}"),
                Err(complaint) => {
                    ensure!(complaint.contains(field), "{spec}: no '{field}' in: {complaint}")
                }
            }
        }
        Ok(())
    })
}

#[test]
fn every_invalid_example_of_the_crd_is_refused_as_it_expects_and_every_valid_one_passes()
-> Result<()> {
    in_space("examples", |space| {
        for path in files("crds/tests/invalid")? {
            let text = fs::read_to_string(&path)?;
            let expected = expectation(&path, &text)?;
            match dry_run(space, &text)? {
                Ok(()) => anyhow::bail!("accepted: {}", path.display()),
                Err(complaint) => ensure!(
                    complaint.contains(expected),
                    "{}: no '{expected}' in: {complaint}",
                    path.display()
                ),
            }
        }
        for path in files("crds/tests/valid")? {
            if let Err(complaint) = dry_run(space, &fs::read_to_string(&path)?)? {
                anyhow::bail!("{}: {complaint}", path.display());
            }
        }
        let sample = fs::read_to_string(project().join("e2e/samples/demo.yaml"))?
            .replace("namespace: default", "");
        if let Err(complaint) = dry_run(space, &sample)? {
            anyhow::bail!("e2e/samples/demo.yaml: {complaint}");
        }
        Ok(())
    })
}

#[test]
fn o8_a_change_that_cannot_be_is_refused_once_by_the_api_server() -> Result<()> {
    in_space("changes", |space| {
        for (number, path) in files("crds/tests/changes")?.into_iter().enumerate() {
            // A name for each: the volumes of a former one stay, and a size may go back to theirs.
            let text = fs::read_to_string(&path)?
                .replace("name: changed\n", &format!("name: changed-{number}\n"));
            let expected = expectation(&path, &text)?;
            let (before, after) = text
                .split_once("\n---\n")
                .with_context(|| format!("{}: not two documents", path.display()))?;
            let namespace = ["-n", space.namespace()];
            let apply = [namespace[0], namespace[1], "apply", "-f", "-"];
            space
                .kube()
                .outcome_with(&apply, Some(before))?
                .checked(&path.display().to_string())?;
            match dry_run(space, after)? {
                Ok(()) => anyhow::bail!("accepted: {}", path.display()),
                Err(complaint) => ensure!(
                    complaint.contains(expected),
                    "{}: no '{expected}' in: {complaint}",
                    path.display()
                ),
            }
            space.kube().run(&[
                namespace[0],
                namespace[1],
                "delete",
                "hypercacheclusters",
                "--all",
            ])?;
        }
        Ok(())
    })
}
