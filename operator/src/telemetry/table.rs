//! All metrics of the operator: what is not here is not told, and docs/metrics.md is written from here.

hypercache_core::metrics! {
    "Passes over resources" {
        PASSES: counter "hypercache_operator_passes_total" ["result"]
            "Passes: `settled`, the resource is as it should be; `in_progress`, something is under way; `error`, the pass ended early";
        PASS: histogram "hypercache_operator_pass_seconds" []
            "How long a pass takes";
        PASSES_RUNNING: gauge "hypercache_operator_passes_running" []
            "Passes that run now";
        PASS_ERRORS: counter "hypercache_operator_pass_errors_total" ["kind"]
            "Passes that ended early: `status`, which could not be written; `too_long`";
        QUEUED: gauge "hypercache_operator_queued_changes" []
            "Changes that watches saw and no pass was planned for yet";
        READY: gauge "hypercache_operator_ready" []
            "1 once every watch has its first list: passes run. There is no election of a leader: one operator runs at a time";
    }
    "The API server and clusters" {
        API_CALLS: counter "hypercache_operator_api_calls_total" ["verb", "result"]
            "Requests to the API server by Kubernetes' verb, and by the class of the answer's status (`2xx`) or `unreachable`";
        API_CALL: histogram "hypercache_operator_api_call_duration_seconds" []
            "From a request to the head of its answer; without watches, which last";
        STEPS: counter "hypercache_operator_steps_total" ["action", "result"]
            "Writes to the API server, by action and result";
        CLUSTER_REQUESTS: counter "hypercache_operator_cluster_requests_total" ["action", "result"]
            "Requests to clusters, by action and result";
        WATCH_ERRORS: counter "hypercache_operator_watch_errors_total" ["kind"]
            "Watches that broke off, by kind";
    }
    "What is sent by OTLP" {
        SPANS_SENT: counter "hypercache_operator_spans_sent_total" []
            "Spans that the endpoint took";
        SPANS_DROPPED: counter "hypercache_operator_spans_dropped_total" ["reason"]
            "Spans that are lost: the queue was full (`queue`), or the endpoint did not take them (`endpoint`)";
        POINTS_SENT: counter "hypercache_operator_points_sent_total" []
            "Values of metrics that the endpoint took";
        POINTS_DROPPED: counter "hypercache_operator_points_dropped_total" ["reason"]
            "Values that are lost: the endpoint did not take a request in time (`endpoint`), or took it without these (`refused`)";
    }
    "Clusters, as the status of their resources says" {
        CLUSTERS: gauge "hypercache_operator_clusters" []
            "Resources that it looks after";
        CLUSTER_CONDITION: gauge "hypercache_operator_cluster_condition" ["cluster_namespace", "cluster", "condition"]
            "1 where a condition is true, 0 where it is false, -1 where it is unknown";
        CLUSTER_MEMBERS: gauge "hypercache_operator_cluster_members" ["cluster_namespace", "cluster", "state"]
            "Members that are `wanted`, that `exist`, and that are `ready`";
        CLUSTER_OPERATION: gauge "hypercache_operator_cluster_operation" ["cluster_namespace", "cluster", "kind", "step"]
            "1 for what a cluster is in the middle of; absent at rest";
        CLUSTER_PROBLEMS: gauge "hypercache_operator_cluster_problems" ["cluster_namespace", "cluster"]
            "What keeps the cluster from being as its resource says";
    }
}
