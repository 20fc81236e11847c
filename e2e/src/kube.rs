//! `kubectl`, as a person would type it, each call with a deadline.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The longest that one call of a program may take.
const CALL_SECONDS: u64 = 180;

/// What one call of a program came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code was 0.
    pub ok: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Outcome {
    /// What it printed, if it went well.
    ///
    /// # Errors
    /// Everything it said, with `what` before it.
    pub fn checked(self, what: &str) -> Result<String> {
        if self.ok {
            return Ok(self.stdout);
        }
        bail!(
            "{what}: {}{}",
            self.stderr.trim(),
            if self.stdout.is_empty() {
                String::new()
            } else {
                format!(" ({})", self.stdout.trim())
            }
        )
    }
}

/// Runs `program` with `input` on its standard input, at most [`CALL_SECONDS`] long.
///
/// # Errors
/// Only if it could not be run at all.
pub(crate) fn call(program: &str, arguments: &[&str], input: Option<&str>) -> Result<Outcome> {
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", &CALL_SECONDS.to_string(), program])
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be run"))?;
    if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
        // One that ends without reading all of it says why on its standard error.
        let _ = pipe.write_all(text.as_bytes());
    }
    let output =
        child.wait_with_output().with_context(|| format!("{program} cannot be waited for"))?;
    Ok(Outcome {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// One cluster's API server, by the name of a `kubectl` context.
#[derive(Debug, Clone)]
pub struct Kube {
    context: String,
}

impl Kube {
    /// The cluster that `HYPERCACHE_E2E_CONTEXT` names.
    ///
    /// # Errors
    /// When it is not set: a test that needs a cluster must not pass without one.
    pub fn from_environment() -> Result<Self> {
        let context = std::env::var("HYPERCACHE_E2E_CONTEXT").unwrap_or_default();
        if context.is_empty() {
            bail!(
                "HYPERCACHE_E2E_CONTEXT is not set: these tests need a cluster with the images in it; run scripts/test"
            );
        }
        Ok(Self { context })
    }

    /// The context's name.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// `kubectl ARGUMENTS…`, whatever it comes to.
    ///
    /// # Errors
    /// Only if `kubectl` could not be run.
    pub fn outcome(&self, arguments: &[&str]) -> Result<Outcome> {
        self.outcome_with(arguments, None)
    }

    /// As [`Kube::outcome`], with `input` on its standard input.
    ///
    /// # Errors
    /// Only if `kubectl` could not be run.
    pub fn outcome_with(&self, arguments: &[&str], input: Option<&str>) -> Result<Outcome> {
        let mut all = vec!["--context", self.context.as_str()];
        all.extend_from_slice(arguments);
        call("kubectl", &all, input)
    }

    /// `kubectl ARGUMENTS…`, which must go well; what it printed.
    ///
    /// # Errors
    /// What it complained of.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        self.outcome(arguments)?.checked(&format!("kubectl {}", arguments.join(" ")))
    }

    /// `kubectl ARGUMENTS… -o json`.
    ///
    /// # Errors
    /// What it complained of, or that it printed no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = arguments.to_vec();
        all.extend_from_slice(&["-o", "json"]);
        let text = self.run(&all)?;
        serde_json::from_str(&text)
            .with_context(|| format!("kubectl {} printed no JSON", all.join(" ")))
    }

    /// `kubectl apply` of one object.
    ///
    /// # Errors
    /// What the API server refused, and why.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.outcome_with(&["apply", "-f", "-"], Some(&object.to_string()))?
            .checked("kubectl apply")?;
        Ok(())
    }

    /// A GET by the API server's proxy to `path` of a pod's `port`.
    ///
    /// # Errors
    /// What stood in the way, a status other than 200 among it.
    pub fn pod_http(&self, namespace: &str, pod: &str, port: u16, path: &str) -> Result<String> {
        self.run(&[
            "get",
            "--raw",
            &format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_says_what_the_program_complained_of() {
        let outcome = call("sh", &["-c", "cat; echo no >&2; exit 3"], Some("in")).unwrap();
        assert!(!outcome.ok);
        assert_eq!(outcome.checked("it").unwrap_err().to_string(), "it: no (in)");
    }
}
