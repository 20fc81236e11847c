//! The chart: valid, upgrades its CRD, and never takes data away.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hypercache_e2e::{
    OPERATOR_NAMESPACE, RELEASE, chart, helm, in_space, install_chart, install_operator, until,
};
use serde_json::json;

const CRD: &str = "hypercacheclusters.hypercache.io";

#[test]
fn the_chart_passes_lint_and_the_api_servers_strict_check() -> Result<()> {
    in_space("chart", |space| {
        let chart = chart();
        helm(space.kube(), &["lint", "--strict", &chart])?.checked("helm lint")?;
        let filebeat = [
            "--set",
            "logging.filebeat.enabled=true",
            "--set",
            "logging.filebeat.elasticsearch.url=http://elasticsearch:9200",
            "--set",
            "logging.filebeat.elasticsearch.secretName=elasticsearch",
        ];
        let monitoring = ["--set", "monitoring.enabled=true,monitoring.dashboards.enabled=true"];
        for values in [&[][..], &monitoring, &filebeat] {
            let mut words = vec!["template", RELEASE, &chart, "--namespace", OPERATOR_NAMESPACE];
            words.extend_from_slice(values);
            let objects = helm(space.kube(), &words)?.checked("helm template")?;
            ensure!(objects.contains("kind: Deployment"), "no Deployment in the chart");
            let has_filebeat = objects.contains("kind: DaemonSet");
            ensure!(has_filebeat == (values == filebeat), "DaemonSet with {values:?}");
            space
                .kube()
                .outcome_with(
                    &[
                        "apply",
                        "--server-side",
                        "--force-conflicts",
                        "--dry-run=server",
                        "--validate=strict",
                        "-f",
                        "-",
                    ],
                    Some(&objects),
                )?
                .checked("strict dry run of the chart")?;
        }
        let outcome =
            helm(space.kube(), &["template", RELEASE, &chart, "--set", "replicaCount=many"])?;
        ensure!(!outcome.ok, "a value of the wrong type passes the schema");
        let outcome = helm(
            space.kube(),
            &["template", RELEASE, &chart, "--set", "logging.filebeat.enabled=true"],
        )?;
        ensure!(!outcome.ok, "Filebeat goes without a place for its lines");
        Ok(())
    })
}

/// The chart as an earlier version would have had it: its CRD lacks the short name.
fn earlier_chart(folder: &Path) -> Result<String> {
    fn copy(from: &Path, to: &Path) -> Result<bool> {
        fs::create_dir_all(to)?;
        let mut changed = false;
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            let target = to.join(path.file_name().context("no name")?);
            if path.is_dir() {
                changed |= copy(&path, &target)?;
            } else {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let earlier = text.replace("\n    - hc\n", "\n    - earlier\n");
                changed |= earlier != text;
                fs::write(target, earlier)?;
            }
        }
        Ok(changed)
    }
    let changed = copy(Path::new(&chart()), folder)?;
    ensure!(changed, "the chart's CRD has no short name 'hc'");
    Ok(folder.to_string_lossy().into_owned())
}

#[test]
fn upgrade_upgrades_the_crd_and_uninstall_keeps_resources_and_data() -> Result<()> {
    in_space("helm", |space| {
        let kube = space.kube();
        let short_names =
            || kube.run(&["get", "crd", CRD, "-o", "jsonpath={.spec.names.shortNames}"]);

        let folder = std::env::temp_dir().join(format!("hypercache-chart-{}", std::process::id()));
        let earlier = earlier_chart(&folder);
        let installed = earlier.and_then(|earlier| install_chart(kube, &earlier));
        fs::remove_dir_all(&folder)?;
        installed?;
        until("the earlier CRD is in", 60, || Ok(short_names()?.contains("earlier")))?;
        install_operator(kube)?;
        until("the upgraded CRD is in", 60, || Ok(short_names()?.contains("\"hc\"")))?;

        let client = space.client()?;
        let cluster = space.cluster("stays", &json!({"members": 2}))?;
        client.reaches(cluster.name())?;
        client.keys("hc-python", "plain", "fill", cluster.name(), 1_000, "stays")?;
        let pods = cluster.pods()?;

        helm(
            kube,
            &[
                "uninstall",
                RELEASE,
                "--namespace",
                OPERATOR_NAMESPACE,
                "--wait",
                "--timeout",
                "120s",
            ],
        )?
        .checked("helm uninstall")?;
        ensure!(
            !kube
                .outcome(&["-n", OPERATOR_NAMESPACE, "get", "deployment", "hypercache-operator"])?
                .ok,
            "the operator is still there"
        );
        cluster.resource().context("uninstall took the resource away")?;
        ensure!(cluster.pods()? == pods, "uninstall touched the members");
        client.keys("hc-python", "plain", "check", cluster.name(), 1_000, "stays")?;

        install_operator(kube)?;
        let patch = json!([{"op": "add", "path": "/spec/stores", "value": [{"name": "later", "number": 4}]}]);
        cluster.kubectl(&[
            "patch",
            "hypercachecluster",
            cluster.name(),
            "--type=json",
            "-p",
            &patch.to_string(),
        ])?;
        cluster.wait_condition("StoresApplied", "True")?;
        cluster.wait_ready()?;
        ensure!(cluster.pods()? == pods, "the operator that came back restarted members");
        client.keys("hc-go", "plain", "check", cluster.name(), 1_000, "stays")?;
        Ok(())
    })
}
