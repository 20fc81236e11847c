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
    let arguments = [
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--wait",
        "--timeout",
        "150s",
    ];
    helm(kube, &arguments)?.checked("helm upgrade --install")?;
    Ok(())
}
