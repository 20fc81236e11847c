//! A namespace of its own for each test.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::kube::Kube;
use crate::operator::install_operator;
use crate::project;

/// A namespace that lives as long as a test. It enforces the restricted pod security standard,
/// so that every pod in it shows that it complies.
#[derive(Debug)]
pub struct Space {
    kube: Kube,
    namespace: String,
}

/// Runs `test` in a new namespace of a cluster that has the operator; takes the namespace away
/// afterwards. When the test fails, the state of everything in it is printed first.
///
/// # Errors
/// What went wrong in the test, or before it.
pub fn in_space(subject: &str, test: impl FnOnce(&Space) -> Result<()>) -> Result<()> {
    let kube = Kube::from_environment()?;
    install_operator(&kube)?;
    let namespace = format!("e2e-{subject}-{}", std::process::id());
    kube.apply(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }))?;
    let space = Space { kube, namespace };
    let result = test(&space);
    if let Err(error) = &result {
        eprintln!("{subject}: {error:#}");
        space.report();
    }
    result
}

impl Space {
    /// The cluster's API server.
    pub fn kube(&self) -> &Kube {
        &self.kube
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client pod, ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn client(&self) -> Result<Client> {
        Client::start(self.kube.clone(), &self.namespace)
    }

    /// A `HyperCacheCluster` with this spec, applied and Ready.
    ///
    /// # Errors
    /// When it is refused or does not become Ready.
    pub fn cluster(&self, name: &str, spec: &Value) -> Result<Cluster> {
        let cluster = Cluster::apply(self.kube.clone(), &self.namespace, name, spec)?;
        cluster.wait_ready().with_context(|| format!("cluster {name}"))?;
        Ok(cluster)
    }

    /// Applies a manifest of `e2e/…`, in which NAMESPACE stands for the namespace.
    ///
    /// # Errors
    /// What the API server refused.
    pub fn apply(&self, file: &str) -> Result<()> {
        let path = project().join("e2e").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let text = text.replace("NAMESPACE", &self.namespace);
        self.kube
            .outcome_with(&["-n", &self.namespace, "apply", "-f", "-"], Some(&text))?
            .checked(&format!("kubectl apply of {file}"))?;
        Ok(())
    }

    /// Prints what a person would look at.
    fn report(&self) {
        let n = self.namespace.as_str();
        let looks: [&[&str]; 4] = [
            &["-n", n, "get", "hypercacheclusters", "-o", "yaml"],
            &["-n", n, "get", "pods,statefulsets,services,pdb", "-o", "wide"],
            &["-n", n, "get", "events", "--sort-by=.lastTimestamp"],
            &[
                "-n",
                crate::OPERATOR_NAMESPACE,
                "logs",
                "deployment/hypercache-operator",
                "--tail=60",
            ],
        ];
        for look in looks {
            self.print(look);
        }
        let pods = self.kube.run(&["-n", n, "get", "pods", "-o", "name"]).unwrap_or_default();
        for pod in pods.lines().filter(|pod| *pod != "pod/client") {
            self.print(&["-n", n, "logs", pod, "--tail=60"]);
            self.print(&["-n", n, "logs", pod, "--tail=30", "--previous"]);
        }
    }

    fn print(&self, look: &[&str]) {
        if let Ok(outcome) = self.kube.outcome(look)
            && outcome.ok
        {
            eprintln!("---- kubectl {}\n{}", look.join(" "), outcome.stdout);
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report();
        }
        if std::env::var_os("KEEP").is_none() {
            let _ = self.kube.outcome(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
    }
}
