//! The operator, installed by helm as the readme says.

use anyhow::Result;

use crate::kube::{Kube, Outcome, call};
use crate::project;

/// The helm release's name.
pub const RELEASE: &str = "hypercache";

/// The namespace that the operator runs in.
pub const OPERATOR_NAMESPACE: &str = "hypercache-system";

/// The chart's folder within the project.
pub const CHART: &str = "helm/hypercache";

/// The chart's path.
pub fn chart() -> String {
    project().join(CHART).to_string_lossy().into_owned()
}

/// `helm ARGUMENTS…` against a cluster, whatever it comes to.
///
/// # Errors
/// Only if `helm` could not be run.
pub fn helm(kube: &Kube, arguments: &[&str]) -> Result<Outcome> {
    let mut all = vec!["--kube-context", kube.context()];
    all.extend_from_slice(arguments);
    call("helm", &all, None)
}

/// What the chart is with these values, for a Kubernetes that has these APIs beside its own. Asks no cluster.
///
/// # Errors
/// Only if `helm` could not be run.
pub fn render(apis: &[&str], values: &[&str]) -> Result<Outcome> {
    let chart = chart();
    let mut arguments = vec!["template", RELEASE, &chart, "--namespace", OPERATOR_NAMESPACE];
    for api in apis {
        arguments.extend(["--api-versions", api]);
    }
    for value in values {
        arguments.extend(["--set", value]);
    }
    call("helm", &arguments, None)
}

/// The operator is not there as long as this lives.
#[derive(Debug)]
pub struct NoOperator {
    kube: Kube,
}

impl NoOperator {
    /// Takes the operator away, and waits until it is gone.
    ///
    /// # Errors
    /// What `kubectl` complained of.
    pub fn begin(kube: &Kube) -> Result<Self> {
        let without = Self { kube: kube.clone() };
        without.scale("0")?;
        let of = ["-l", "app.kubernetes.io/name=hypercache-operator", "--timeout=60s"];
        let gone = ["-n", OPERATOR_NAMESPACE, "wait", "--for=delete", "pod"];
        kube.run(&[&gone[..], &of[..]].concat())?;
        Ok(without)
    }

    fn scale(&self, replicas: &str) -> Result<()> {
        let deployment = "deployment/hypercache-operator";
        let replicas = format!("--replicas={replicas}");
        self.kube.run(&["-n", OPERATOR_NAMESPACE, "scale", deployment, &replicas])?;
        Ok(())
    }

    /// Brings it back, and waits until it is available.
    ///
    /// # Errors
    /// What `kubectl` complained of.
    pub fn end(self) -> Result<()> {
        self.scale("1")?;
        let status = ["rollout", "status", "deployment/hypercache-operator", "--timeout=120s"];
        self.kube.run(&[&["-n", OPERATOR_NAMESPACE], &status[..]].concat())?;
        Ok(())
    }
}

impl Drop for NoOperator {
    fn drop(&mut self) {
        // Also when the test fails: others need it.
        let _ = self.scale("1");
    }
}

/// Installs the operator, or upgrades the one that is there, and waits until it is available.
///
/// # Errors
/// What helm complained of.
pub fn install_operator(kube: &Kube) -> Result<()> {
    install_chart(kube, &chart())
}

/// As [`install_operator`], from another folder.
///
/// # Errors
/// What helm complained of.
pub fn install_chart(kube: &Kube, chart: &str) -> Result<()> {
    install_with(kube, chart, &[])
}

/// As [`install_chart`], with these values and no others than the chart's, whatever was installed with before.
///
/// # Errors
/// What helm complained of.
pub fn install_with(kube: &Kube, chart: &str, values: &[&str]) -> Result<()> {
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--reset-values",
        "--wait",
        "--timeout",
        "150s",
    ];
    for value in values {
        arguments.extend(["--set", value]);
    }
    helm(kube, &arguments)?.checked("helm upgrade --install")?;
    Ok(())
}
