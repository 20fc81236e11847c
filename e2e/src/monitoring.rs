//! The Prometheus Operator in a test's namespace, and a Prometheus that it runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::kube::Kube;
use crate::project;
use crate::space::Space;
use crate::wait::until;

/// The module of the operator and of its API's definitions, with the version of `e2e/monitoring/go.mod`.
const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";
/// The definitions that are needed: what a Prometheus selects, and itself.
const DEFINITIONS: [&str; 5] =
    ["podmonitors", "probes", "prometheuses", "prometheusrules", "servicemonitors"];
const POD: &str = "prometheus-e2e-0";

/// A Prometheus that takes all monitors and rules of the cluster.
#[derive(Debug)]
pub struct Prometheus {
    kube: Kube,
    namespace: String,
}

impl Prometheus {
    /// Brings the API's definitions and the Prometheus Operator.
    ///
    /// # Errors
    /// What Go or Kubernetes complained of.
    pub fn operator(space: &Space) -> Result<()> {
        let (kube, module) = (space.kube(), module()?);
        let apply = ["apply", "--server-side", "--force-conflicts"];
        let mut words = apply.to_vec();
        let folder = format!("{module}/example/prometheus-operator-crd/monitoring.coreos.com_");
        let files = DEFINITIONS.map(|name| format!("--filename={folder}{name}.yaml"));
        words.extend(files.iter().map(String::as_str));
        kube.run(&words)?;
        let names = DEFINITIONS.map(|name| format!("crd/{name}.monitoring.coreos.com"));
        let mut words = vec!["wait", "--for=condition=Established", "--timeout=60s"];
        words.extend(names.iter().map(String::as_str));
        kube.run(&words)?;
        let role = format!(
            "{module}/example/rbac/prometheus-operator/prometheus-operator-cluster-role.yaml"
        );
        kube.run(&["apply", "-f", &role])?;
        space.apply("monitoring/operator.yaml")?;
        let status = ["rollout", "status", "deployment/prometheus-operator", "--timeout=90s"];
        kube.run(&[&["-n", space.namespace()], &status[..]].concat())?;
        Ok(())
    }

    /// Has the operator start a Prometheus, and waits until that answers. What it is to see from the beginning is there
    /// already: a later change of what is selected reaches it as late as the node looks after what it has mounted.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start(space: &Space) -> Result<Self> {
        space.apply("monitoring/prometheus.yaml")?;
        let this = Self { kube: space.kube().clone(), namespace: space.namespace().to_owned() };
        until("Prometheus is ready", 120, || {
            Ok(this.kube.pod_http(&this.namespace, POD, 9090, "/-/ready").is_ok())
        })?;
        Ok(this)
    }

    /// The `data` of what `/api/v1/…` answers.
    ///
    /// # Errors
    /// When it refuses, with why.
    pub fn api(&self, path: &str) -> Result<Value> {
        let text = self.kube.pod_http(&self.namespace, POD, 9090, &format!("/api/v1/{path}"))?;
        let mut answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].take())
    }

    /// The series that a query gives now.
    ///
    /// # Errors
    /// When the query is refused, with why.
    pub fn query(&self, text: &str) -> Result<Vec<Value>> {
        let mut data = self.api(&format!("query?query={}", encoded(text)))?;
        match data["result"].take() {
            Value::Array(series) => Ok(series),
            other => bail!("{text}: {other}"),
        }
    }

    /// Waits until a query gives so many series.
    ///
    /// # Errors
    /// When it does not in time, with what it gave.
    pub fn wait_series(&self, text: &str, count: usize) -> Result<()> {
        let mut last = Vec::new();
        until(&format!("{count} series of {text}"), 60, || {
            last = self.query(text)?;
            Ok(last.len() == count)
        })
        .with_context(|| format!("there were {last:?}"))
    }
}

/// The folder of the operator's module.
fn module() -> Result<String> {
    let output = Command::new("timeout")
        .args(["120", "go", "mod", "download", "-json", MODULE])
        .current_dir(project().join("e2e/monitoring"))
        .output()
        .context("Go cannot be run")?;
    let said: Value = serde_json::from_slice(&output.stdout).context("go mod download")?;
    let folder = said["Dir"].as_str().with_context(|| format!("go mod download: {said}"))?;
    ensure!(Path::new(folder).is_dir(), "{folder} is not there");
    Ok(folder.to_owned())
}

/// As a value of a URL's query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_query_is_one_value_of_a_url() {
        assert_eq!(encoded("up{a=\"b c\"} + 1"), "up%7Ba%3D%22b%20c%22%7D%20%2B%201");
    }
}
