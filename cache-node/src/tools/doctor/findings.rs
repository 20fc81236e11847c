//! What is wrong with a cluster, from what its members said.

use serde::Serialize;
use serde_json::Value;

use super::figures::Figures;

const SLOTS: u64 = 16_384;
/// A link sends no more while half of this is unconfirmed.
const BACKLOG_BYTES: f64 = 64.0 * 1024.0 * 1024.0;
/// A copy that is silent for longer is in sync no more.
const LAG_SECONDS: f64 = 5.0;
/// A backup a day, and two hours for it.
const OLD_SECONDS: f64 = 26.0 * 3600.0;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients feel it, or data is in danger.
    Critical,
    /// It becomes so if nothing is done.
    Warning,
    /// It was so once since the member started, and may be over.
    Note,
}

impl Severity {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The member that it is about; `None`: the cluster.
    pub member: Option<String>,
    /// What is wrong, in a sentence.
    pub problem: String,
    /// The page that says what to do.
    pub runbook: String,
}

/// A member, and what it said.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// Where it was asked.
    pub address: String,
    /// How the others see it.
    pub state: String,
    /// Its `/health` and `/metrics`, or why it did not say.
    pub said: Result<(Value, Figures), String>,
}

/// Collects findings about one thing.
struct About<'a> {
    member: Option<&'a str>,
    found: &'a mut Vec<Finding>,
}

impl About<'_> {
    fn add(&mut self, severity: Severity, alert: &str, problem: impl Into<String>) {
        let runbook = match alert {
            "" => "docs/operations/cluster.md".to_owned(),
            alert => format!("docs/operations/alerts/HyperCache{alert}.md"),
        };
        let member = self.member.map(str::to_owned);
        self.found.push(Finding { severity, member, problem: problem.into(), runbook });
    }
}

/// What is wrong, the worst first. `status` is what one member says of the cluster, `now_seconds` the time
/// since the Unix epoch.
pub fn findings(status: &Value, members: &[Asked], now_seconds: f64) -> Vec<Finding> {
    let mut found = Vec::new();
    of_cluster(status, &mut About { member: None, found: &mut found });
    let mut versions: Vec<&str> = Vec::new();
    for asked in members {
        let about = &mut About { member: Some(&asked.name), found: &mut found };
        match &asked.said {
            Err(reason) => unheard(asked, reason, about),
            Ok((health, figures)) => {
                of_health(health, about);
                of_figures(figures, now_seconds, about);
                versions.extend(figures.by("hypercache_build_info", "version").map(|(v, _)| v));
            }
        }
    }
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        let problem = format!("members run {} versions: {}", versions.len(), versions.join(", "));
        let about = &mut About { member: None, found: &mut found };
        about.add(Severity::Warning, "VersionsDiffer", problem);
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

fn of_cluster(status: &Value, about: &mut About<'_>) {
    use Severity::*;
    if status["cluster_id"].is_null() {
        about.add(
            Critical,
            "QuorumLost",
            "there is no cluster yet: its members have not found each other",
        );
        return;
    }
    if status["quorum"] != true {
        about.add(
            Critical,
            "QuorumLost",
            "no majority of the voters is reached: nothing is served",
        );
    }
    let assigned = status["ring"]["slots_assigned"].as_u64().unwrap_or(0);
    if assigned < SLOTS {
        let problem = format!("{} slots have no owner", SLOTS - assigned);
        about.add(Critical, "SlotsWithoutOwner", problem);
    }
    if status["fully_replicated"] != true {
        about.add(Warning, "UnderReplicated", "some slots have too few copies that are in sync");
    }
    if status["ring"]["reason"] == "Paused" {
        about.add(Warning, "RebalanceStuck", "slots should move, and moving is paused");
    }
    for problem in status["problems"].as_array().into_iter().flatten() {
        let text = |field: &str| problem[field].as_str().unwrap_or_default();
        let (severity, alert) = match text("kind") {
            "SlotsWait" => (Critical, "SlotsUnserved"),
            _ => (Warning, ""),
        };
        about.add(severity, alert, format!("{}: {}", text("object"), text("message")));
    }
}

fn unheard(asked: &Asked, reason: &str, about: &mut About<'_>) {
    let Asked { address, state, .. } = asked;
    match state.as_str() {
        "alive" => {
            let problem = format!(
                "the others hear it, and it does not answer at {address}: {reason}; its figures are not looked at"
            );
            about.add(Severity::Warning, "MemberDown", problem);
        }
        state => {
            let problem = format!("it is {state}, and does not answer at {address}: {reason}");
            about.add(Severity::Critical, "MemberLost", problem);
        }
    }
}

fn of_health(health: &Value, about: &mut About<'_>) {
    let problems: Vec<&str> =
        health["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if health["status"] == "unavailable" {
        let problem = format!("it is not ready: {}", problems.join("; "));
        about.add(Severity::Critical, "MemberCutOff", problem);
    }
}

fn of_figures(figures: &Figures, now_seconds: f64, about: &mut About<'_>) {
    use Severity::*;
    let one = |name: &str| figures.one(name).unwrap_or(0.0);
    match one("hypercache_memory_stage") as u64 {
        3.. => about.add(Critical, "MemoryExhausted", "it is out of memory and refuses writes"),
        2 => about.add(
            Warning,
            "MemoryPressure",
            "it runs out of memory: stores evict within their budgets",
        ),
        _ => {}
    }
    if one("hypercache_disk_degraded") > 0.0 {
        about.add(Critical, "DiskFailing", "its disk fails: logged stores refuse writes");
    }
    let (free, total) = (one("hypercache_disk_free_bytes"), one("hypercache_disk_total_bytes"));
    if total > 0.0 && free < 0.1 * total {
        let problem = format!("{:.1} % of its disk are free", free * 100.0 / total);
        about.add(Warning, "DiskNearlyFull", problem);
    }
    let damaged =
        one("hypercache_recovery_damaged_frames") + one("hypercache_recovery_damaged_snapshots");
    if damaged > 0.0 {
        let problem = format!("it found {damaged} damaged places on its disk when it started");
        about.add(Warning, "DataDamaged", problem);
    }
    let (clients, most) = (one("hypercache_connected_clients"), one("hypercache_max_connections"));
    if most > 0.0 && clients >= 0.9 * most {
        let problem = format!("{clients} of the {most} connections that it may have are open");
        about.add(Warning, "ConnectionsRefused", problem);
    }
    let (files, most) = (one("hypercache_process_open_fds"), one("hypercache_process_max_fds"));
    if most > 0.0 && files >= 0.9 * most {
        let problem = format!("{files} of the {most} files that it may have are open");
        about.add(Warning, "ConnectionsRefused", problem);
    }
    // A link over which nothing is asked is no trouble, whatever it is.
    for (to, seconds) in figures.by("hypercache_replication_link_lag_seconds", "to") {
        if seconds > LAG_SECONDS {
            let problem = format!("it has not heard {to} for {seconds:.0} s while it asked it");
            about.add(Warning, "ReplicationLag", problem);
        }
    }
    for (to, bytes) in figures.by("hypercache_replication_link_behind_bytes", "to") {
        if bytes > BACKLOG_BYTES {
            let problem = format!("{to} has not confirmed {:.0} MB of it", bytes / 1e6);
            about.add(Warning, "ReplicationBacklog", problem);
        }
    }
    of_backups(figures, now_seconds, about);
    for (name, alert, what) in [
        ("hypercache_log_errors_total", "LogErrors", "writes or fsyncs of its log failed"),
        ("hypercache_snapshot_errors_total", "SnapshotsFailing", "snapshots failed"),
        ("hypercache_backup_errors_total", "BackupFailing", "backups failed"),
        ("hypercache_rejected_connections_total", "ConnectionsRefused", "connections were refused"),
        ("hypercache_forward_errors_total", "ForwardErrors", "commands were forwarded in vain"),
    ] {
        let times = one(name);
        if times > 0.0 {
            about.add(Note, alert, format!("{what}: {times} since it started"));
        }
    }
    for (store, times) in figures.by("hypercache_store_oom_errors_total", "store") {
        if times > 0.0 {
            let problem = format!("the store {store} refused {times} writes for want of room");
            about.add(Note, "WritesRefused", problem);
        }
    }
}

fn of_backups(figures: &Figures, now_seconds: f64, about: &mut About<'_>) {
    let Some(last) = figures.one("hypercache_backup_last_time_seconds") else { return };
    let started = figures.one("hypercache_process_start_time_seconds").unwrap_or(now_seconds);
    // None since the start: then the start counts.
    let age = now_seconds - if last > 0.0 { last } else { started };
    if age > OLD_SECONDS {
        let problem = format!("no backup for {:.0} hours", age / 3600.0);
        about.add(Severity::Warning, "BackupTooOld", problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn well() -> Value {
        json!({"cluster_id": "1", "quorum": true, "fully_replicated": true, "problems": [],
               "ring": {"slots_assigned": 16384, "reason": "Balanced"}})
    }

    fn asked(health: Value, metrics: &str) -> Asked {
        let said = Ok((health, Figures::read(metrics)));
        Asked { name: "m-0".into(), address: "a:1".into(), state: "alive".into(), said }
    }

    fn found(status: &Value, members: &[Asked]) -> Vec<(Severity, String)> {
        let found = findings(status, members, 1_000_000.0);
        let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for finding in &found {
            assert!(pages.join(&finding.runbook).is_file(), "{}", finding.runbook);
        }
        let word = |page: &str| page.rsplit('/').next().unwrap_or_default().to_owned();
        found.iter().map(|finding| (finding.severity, word(&finding.runbook))).collect()
    }

    #[test]
    fn of_a_cluster_that_is_well_nothing_is_found() {
        let metrics = "hypercache_memory_stage 0\nhypercache_disk_total_bytes 100\n\
                       hypercache_disk_free_bytes 50\nhypercache_replication_link_lag_seconds{to=\"b\"} 0\n\
                       hypercache_backup_last_time_seconds 999000\n";
        assert_eq!(found(&well(), &[asked(json!({"status": "ok"}), metrics)]), []);
    }

    #[test]
    fn each_figure_that_is_bad_is_found_with_its_page_the_worst_first() {
        let metrics = "hypercache_memory_stage 3\nhypercache_disk_degraded 1\n\
                       hypercache_disk_total_bytes 100\nhypercache_disk_free_bytes 5\n\
                       hypercache_recovery_damaged_frames 2\nhypercache_replication_link_lag_seconds{to=\"b\"} 9\n\
                       hypercache_replication_link_behind_bytes{to=\"b\"} 1e9\n\
                       hypercache_backup_last_time_seconds 1\nhypercache_log_errors_total 4\n\
                       hypercache_store_oom_errors_total{store=\"s\"} 1\n\
                       hypercache_connected_clients 95\nhypercache_max_connections 100\n";
        let health = json!({"status": "unavailable", "problems": ["x"]});
        let found = found(&well(), &[asked(health, metrics)]);
        let of = |severity| found.iter().filter(|(s, _)| *s == severity).count();
        assert_eq!([of(Severity::Critical), of(Severity::Warning), of(Severity::Note)], [3, 6, 2]);
        assert!(found.is_sorted_by_key(|(severity, _)| *severity));
    }

    #[test]
    fn what_the_status_says_is_found() {
        let status = json!({"cluster_id": "1", "quorum": false, "fully_replicated": false,
            "ring": {"slots_assigned": 16000, "reason": "Paused"},
            "problems": [{"kind": "SlotsWait", "object": "m-1", "message": "5 slots"},
                         {"kind": "NameTaken", "object": "m-1", "message": "two"}]});
        let found = found(&status, &[]);
        let pages: Vec<&str> = found.iter().map(|(_, page)| page.as_str()).collect();
        let wanted = [
            "HyperCacheQuorumLost.md",
            "HyperCacheSlotsWithoutOwner.md",
            "HyperCacheSlotsUnserved.md",
            "HyperCacheUnderReplicated.md",
            "HyperCacheRebalanceStuck.md",
            "cluster.md",
        ];
        assert_eq!(pages, wanted);
    }

    #[test]
    fn a_member_that_does_not_answer_is_told_by_how_the_others_see_it() {
        let silent = |state: &str| Asked {
            said: Err("refused".into()),
            state: state.into(),
            ..asked(Value::Null, "")
        };
        assert_eq!(found(&well(), &[silent("alive")])[0].0, Severity::Warning);
        assert_eq!(found(&well(), &[silent("down")])[0].0, Severity::Critical);
    }

    #[test]
    fn members_of_several_versions_are_found() {
        let of = |version: &str| {
            let metrics =
                format!("hypercache_build_info{{version=\"{version}\",member=\"m\"}} 1\n");
            asked(json!({"status": "ok"}), &metrics)
        };
        assert_eq!(found(&well(), &[of("1"), of("1")]), []);
        assert_eq!(found(&well(), &[of("1"), of("2")]).len(), 1);
    }
}
