//! What the operator and a cluster say to each other: `GET /api/admin/cluster` and
//! `PUT /api/admin/desired`.

mod access;
mod persistence;

use hypercache_crds::{CuckooFilter, FalsePositiveRate};
use serde::{Deserialize, Serialize};

pub use access::{ClusterAccess, Direct, Target, ThroughApiServer};
pub use persistence::Persistence;

/// The state that the operator proposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredState {
    /// The generation of the resource that this comes from.
    pub generation: i64,
    /// The members' names.
    pub members: Vec<String>,
    /// The stores, `default` among them.
    pub stores: Vec<DesiredStore>,
}

/// A store as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredStore {
    /// The store's name.
    pub name: String,
    /// Its number.
    pub number: u16,
    /// The bound on each member in bytes; `None` for no bound.
    pub max_memory_bytes: Option<u64>,
    /// The lifetime of keys that are written without one, in milliseconds.
    pub default_ttl_ms: Option<u64>,
    /// The word of the eviction policy.
    pub eviction_policy: String,
    /// Keys of database 0 that belong here.
    pub key_prefixes: Vec<String>,
    /// How many members hold each key.
    pub replication_factor: u8,
    /// The word of how many of them have a write before it is answered.
    pub acks: String,
    /// Its cuckoo filter.
    pub cuckoo_filter: FilterSetting,
    /// What of it is on disk.
    pub persistence: Persistence,
}

/// A store's cuckoo filter, as cache-node writes and reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilterSetting {
    /// Whether there is one.
    pub enabled: bool,
    /// The rate of false positives, of one that is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_positive_rate: Option<FalsePositiveRate>,
}

impl From<Option<CuckooFilter>> for FilterSetting {
    fn from(filter: Option<CuckooFilter>) -> Self {
        let on = filter.filter(|filter| filter.enabled);
        let false_positive_rate = on.map(|filter| filter.false_positive_rate);
        Self { enabled: on.is_some(), false_positive_rate }
    }
}

impl From<FilterSetting> for Option<CuckooFilter> {
    fn from(setting: FilterSetting) -> Self {
        setting.enabled.then(|| CuckooFilter {
            enabled: true,
            false_positive_rate: setting.false_positive_rate.unwrap_or_default(),
        })
    }
}

/// What a member says of its cluster.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The cluster's identity; none before it has formed.
    pub cluster_id: Option<String>,
    /// The version of the table.
    pub epoch: u64,
    /// Whether the table can be changed.
    pub quorum: bool,
    /// The member that leads.
    pub leader: Option<String>,
    /// The generation of the desired state that the cluster has last taken.
    pub desired_generation: Option<i64>,
    /// The members in the table.
    pub members: Vec<MemberReport>,
    /// How slots are spread.
    pub ring: RingReport,
    /// Whether every slot has all its owners, and all are in sync; `None` when it is not said.
    pub fully_replicated: Option<bool>,
    /// The stores there are.
    pub stores: Vec<StoreReport>,
    /// What keeps the cluster from the desired state.
    pub problems: Vec<ProblemReport>,
}

impl Report {
    /// A member of the table by its name.
    pub fn member(&self, name: &str) -> Option<&MemberReport> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Whether the cluster has formed.
    pub fn formed(&self) -> bool {
        self.cluster_id.as_deref().is_some_and(|id| !id.is_empty())
    }
}

/// A member in the table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
    /// The member's name: its pod's.
    pub name: String,
    /// `alive`, `suspect` or `down`.
    pub state: String,
    /// The slots it owns.
    pub slots: u32,
}

/// How slots are spread.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RingReport {
    /// Every member owns its share.
    pub balanced: bool,
    /// Why it is so, in one word.
    pub reason: Option<String>,
    /// Why it is so, in a sentence.
    pub message: Option<String>,
    /// Slots that have an owner.
    pub slots_assigned: u32,
}

/// A store that the cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StoreReport {
    /// The store's name.
    pub name: String,
    /// Its number.
    pub number: u16,
    /// The word of the eviction policy.
    pub eviction_policy: String,
    /// The bound on each member in bytes.
    pub max_memory_bytes: Option<u64>,
    /// The lifetime of keys that are written without one, in milliseconds.
    pub default_ttl_ms: Option<u64>,
    /// Keys of database 0 that belong here.
    pub key_prefixes: Vec<String>,
    /// How many members hold each key.
    pub replication_factor: u8,
    /// The word of how many of them have a write before it is answered.
    pub acks: String,
    /// Its cuckoo filter.
    pub cuckoo_filter: FilterSetting,
    /// What of it is on disk.
    pub persistence: Persistence,
    /// Made by the desired state.
    pub managed: bool,
    /// The keys on all members.
    pub keys: u64,
    /// The bytes on all members.
    pub used_memory_bytes: u64,
}

/// Something that keeps the cluster from the desired state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProblemReport {
    /// What kind it is, in one word.
    pub kind: String,
    /// The store or member that it is about.
    pub object: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Why a cluster did not answer, or not with what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No member could be asked.
    #[error("no member answers: {0}")]
    Unreachable(String),
    /// The members that answer are no quorum.
    #[error("the cluster has no quorum: {0}")]
    NoQuorum(String),
    /// The cluster does not take the desired state.
    #[error("{field}: {message}")]
    Invalid {
        /// The field that is wrong.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The cluster refuses with another status.
    #[error("the cluster answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}

/// The body of every error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorDetail {
    code: String,
    field: Option<String>,
    message: String,
}

/// Reads an answer.
fn answer(status: u16, body: &[u8]) -> Result<Report, Error> {
    if status == 200 {
        return serde_json::from_slice(body).map_err(|error| Error::Refused {
            status,
            message: format!("a body that is not the cluster's state: {error}"),
        });
    }
    let detail = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default().error;
    let message = if detail.message.is_empty() {
        String::from_utf8_lossy(body.get(..body.len().min(256)).unwrap_or_default()).into_owned()
    } else {
        detail.message
    };
    Err(match (status, detail.field) {
        (400, Some(field)) => Error::Invalid { field, message },
        (503, _) if detail.code == "no_quorum" => Error::NoQuorum(message),
        _ => Error::Refused { status, message },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_with_what_it_has() {
        let body = br#"{"cluster_id":"c1","epoch":7,"quorum":true,"leader":"demo-0",
            "desired_generation":3,"members":[{"id":"ab","name":"demo-0","state":"alive","slots":9}],
            "ring":{"balanced":false,"reason":"SlotsHoldData","message":"m","slots_assigned":16384},
            "stores":[{"name":"a","number":1,"eviction_policy":"lru","max_memory_bytes":null}],
            "problems":[{"kind":"StoreNotEmpty","object":"a","message":"m"}],"later":1}"#;
        let report = answer(200, body).unwrap();
        assert!(report.formed());
        assert_eq!(report.members[0].slots, 9);
        assert_eq!(report.stores[0].max_memory_bytes, None);
        assert_eq!(report.problems[0].kind, "StoreNotEmpty");
        assert!(!answer(200, b"{}").unwrap().formed());
        assert!(!answer(200, br#"{"cluster_id":null,"leader":null}"#).unwrap().formed());
    }

    #[test]
    fn errors_are_told_apart() {
        let invalid =
            br#"{"error":{"code":"invalid_store","field":"stores[1].number","message":"taken"}}"#;
        assert_eq!(
            answer(400, invalid),
            Err(Error::Invalid { field: "stores[1].number".into(), message: "taken".into() })
        );
        assert_eq!(
            answer(503, br#"{"error":{"code":"no_quorum","message":"1 of 3"}}"#),
            Err(Error::NoQuorum("1 of 3".into()))
        );
        assert_eq!(
            answer(502, b"<html>"),
            Err(Error::Refused { status: 502, message: "<html>".into() })
        );
        assert!(matches!(answer(200, b"nonsense"), Err(Error::Refused { status: 200, .. })));
    }
}
