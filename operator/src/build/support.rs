//! The small objects: the pods' identity and their disruption budget.

use serde_json::json;

use super::{Kind, Wanted};
use crate::names::Names;

/// Members do not talk to the API server: their identity has no token.
pub(super) fn service_account(names: &Names) -> Wanted {
    Wanted {
        kind: Kind::ServiceAccount,
        name: names.instance.clone(),
        body: json!({ "automountServiceAccountToken": false }),
    }
}

/// One member at a time, so that the table's voters keep a majority.
pub(super) fn disruption_budget(names: &Names) -> Wanted {
    Wanted {
        kind: Kind::PodDisruptionBudget,
        name: names.instance.clone(),
        body: json!({
            "spec": {
                "maxUnavailable": 1,
                "selector": { "matchLabels": names.selector() },
                // A member that is not ready serves nobody: it must not hold up a drain.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            }
        }),
    }
}
