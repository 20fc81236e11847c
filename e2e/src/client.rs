//! A pod that talks to clusters as applications do.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kube::{Kube, Outcome};
use crate::project;
use crate::wait::until;

/// The longest that a Service may take to lead to pods that are ready.
const SERVICE_SECONDS: u64 = 30;

/// The pod `client` of a namespace: redis-cli, Python with redis-py, `hc-python` and `hc-go`.
#[derive(Debug)]
pub struct Client {
    kube: Kube,
    namespace: String,
}

impl Client {
    pub(crate) fn start(kube: Kube, namespace: &str) -> Result<Self> {
        let manifest = project().join("e2e/samples/client.yaml");
        let manifest = manifest.to_str().context("the project's path is no text")?;
        kube.run(&["-n", namespace, "apply", "-f", manifest])?;
        kube.run(&[
            "-n",
            namespace,
            "wait",
            "--for=condition=Ready",
            "pod/client",
            "--timeout=90s",
        ])?;
        Ok(Self { kube, namespace: namespace.to_owned() })
    }

    /// Runs a program in the pod, whatever it comes to.
    ///
    /// # Errors
    /// Only if `kubectl` could not be run.
    pub fn outcome(&self, words: &[&str]) -> Result<Outcome> {
        let mut all = vec!["-n", self.namespace.as_str(), "exec", "client", "--", "timeout", "120"];
        all.extend_from_slice(words);
        self.kube.outcome(&all)
    }

    /// As [`Client::outcome`], with `input` on the program's standard input.
    ///
    /// # Errors
    /// Only if `kubectl` could not be run.
    pub fn outcome_with(&self, words: &[&str], input: &str) -> Result<Outcome> {
        let mut all =
            vec!["-n", self.namespace.as_str(), "exec", "-i", "client", "--", "timeout", "120"];
        all.extend_from_slice(words);
        self.kube.outcome_with(&all, Some(input))
    }

    pub(crate) fn kube(&self) -> &Kube {
        &self.kube
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs a program in the pod, which must go well; what it printed, without the last newline.
    ///
    /// # Errors
    /// What it complained of.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let printed = self.outcome(words)?.checked(&words.join(" "))?;
        Ok(printed.strip_suffix('\n').map(str::to_owned).unwrap_or(printed))
    }

    /// Waits until the Service `host` leads to a member. The nodes' packet filters learn of ready
    /// pods up to some seconds after the API server and the operator know them; until then the
    /// node refuses connections to the Service.
    ///
    /// # Errors
    /// When no member answered in half a minute.
    pub fn reaches(&self, host: &str) -> Result<()> {
        until(&format!("the Service {host} answers"), SERVICE_SECONDS, || {
            Ok(self.redis(host, &["PING"])? == "PONG")
        })
    }

    /// `redis-cli -h HOST -p 8080 WORDS…`; an error reply is an error here.
    ///
    /// # Errors
    /// The server's error reply, or why it was not reached.
    pub fn redis(&self, host: &str, words: &[&str]) -> Result<String> {
        self.redis_at(host, "8080", words)
    }

    /// The same, on another port; `-c` among the words follows MOVED.
    ///
    /// # Errors
    /// As [`Self::redis`].
    pub fn redis_at(&self, host: &str, port: &str, words: &[&str]) -> Result<String> {
        let mut all = vec!["redis-cli", "-e", "-h", host, "-p", port];
        all.extend_from_slice(words);
        self.run(&all)
    }

    /// `hc-python` or `hc-go` (see `e2e/clients`): the report it ends with, which must say that
    /// nothing is wrong.
    ///
    /// # Errors
    /// What is wrong.
    pub fn keys(
        &self,
        program: &str,
        mode: &str,
        action: &str,
        host: &str,
        count: usize,
        prefix: &str,
    ) -> Result<()> {
        let address = format!("{host}:8080");
        let printed = self.run(&[program, mode, action, &address, &count.to_string(), prefix])?;
        let last = printed.lines().last().unwrap_or_default();
        let report: Value =
            serde_json::from_str(last).with_context(|| format!("{program} ended with '{last}'"))?;
        if report["wrong"] != 0 || report["count"] != count {
            bail!("{program} {mode} {action} at {host}: {report}");
        }
        Ok(())
    }

    /// An HTTP request to port 9080 of `host`: the status and the body.
    ///
    /// # Errors
    /// Why it was not reached.
    pub fn http(
        &self,
        method: &str,
        host: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<(u16, String)> {
        const PROGRAM: &str = "\
import sys, http.client
method, host, path = sys.argv[1:4]
body = sys.argv[4].encode() if len(sys.argv) > 4 else None
c = http.client.HTTPConnection(host, 9080, timeout=20)
c.request(method, path, body, {'Content-Type': 'application/json'} if body else {})
r = c.getresponse()
print(r.status)
sys.stdout.write(r.read().decode('utf-8', 'backslashreplace'))";
        let mut words = vec!["python3", "-c", PROGRAM, method, host, path];
        words.extend(body);
        let printed =
            self.outcome(&words)?.checked(&format!("{method} http://{host}:9080{path}"))?;
        let (status, body) = printed.split_once('\n').context("no status line")?;
        Ok((status.parse()?, body.to_owned()))
    }
}
