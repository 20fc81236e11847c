"""Operator: what the operator does, how long it takes, and who refuses it."""

from panels import at_least, dashboard as page, figure, row, series, steps

RATE = "(rate({}{{<operator>}}[$__rate_interval]))"


def by(labels, metric):
    return f"sum by ({labels}) " + RATE.format(metric)


def quantile(q):
    return f"histogram_quantile({q}, sum by (le) {RATE.format('hypercache_operator_pass_seconds_bucket')})"


def dashboard():
    return page(
        "hypercache-operator",
        "HyperCache / Operator",
        "Passes over resources, writes to the API server, requests to clusters, watches. Caches go on while it is down.",
        ["operators"],
        [
            row(
                "Now",
                figure(
                    "Up", "Targets of the job hypercache-operator that Prometheus reaches.", "short",
                    ('sum(up{job="hypercache-operator",<operator>})', "up"), colors=at_least(1), none="no target", width=6,
                ),
                figure(
                    "Passes that failed", "In the time that is shown.", "short",
                    ('sum(increase(hypercache_operator_passes_total{<operator>,result="error"}[$__range])) or vector(0)', "passes"),
                    colors=steps(1, 10), width=6,
                ),
                figure(
                    "Writes that were refused", "By the API server, in the time that is shown.", "short",
                    ('sum(increase(hypercache_operator_steps_total{<operator>,result!="ok"}[$__range])) or vector(0)', "writes"),
                    colors=steps(1, 10), width=6,
                ),
                figure(
                    "Broken watches", "In the time that is shown. They start again by themselves.", "short",
                    ("sum(increase(hypercache_operator_watch_errors_total{<operator>}[$__range])) or vector(0)", "watches"),
                    colors=steps(10, 100), width=6,
                ),
            ),
            row(
                "Passes",
                series(
                    "Passes by result", "settled: the resource is as it should be; in_progress: something is under way; error: the pass ended early.",
                    "ops", (by("result", "hypercache_operator_passes_total"), "{{result}}"), stack=True, low=0,
                ),
                series(
                    "Time of a pass", "", "s", (quantile(0.5), "p50"), (quantile(0.99), "p99"),
                    (f"{by('namespace', 'hypercache_operator_pass_seconds_sum')} / {by('namespace', 'hypercache_operator_pass_seconds_count')}", "mean"),
                    low=0,
                ),
            ),
            row(
                "Kubernetes and clusters",
                series(
                    "Writes to the API server", "By action and result. At rest there are none.", "ops",
                    (by("action, result", "hypercache_operator_steps_total"), "{{action}} {{result}}"), low=0,
                ),
                series(
                    "Requests to the API server", "By Kubernetes' verb. At rest only watches are begun anew.", "ops",
                    (by("verb, result", "hypercache_operator_api_calls_total"), "{{verb}} {{result}}"), low=0,
                ),
                series(
                    "Time of a request to the API server", "Without watches.", "s",
                    (f"histogram_quantile(0.99, sum by (le) {RATE.format('hypercache_operator_api_call_duration_seconds_bucket')})", "p99"), low=0,
                ),
                series(
                    "Waiting and running", "Changes that wait for a pass, and passes that run.", "short",
                    ("sum by (namespace) (hypercache_operator_queued_changes{<operator>})", "{{namespace}} waiting"),
                    ("sum by (namespace) (hypercache_operator_passes_running{<operator>})", "{{namespace}} running"),
                    low=0,
                ),
                series(
                    "Requests to clusters", "By action and result.", "ops",
                    (by("action, result", "hypercache_operator_cluster_requests_total"), "{{action}} {{result}}"), low=0,
                ),
                series(
                    "Watches that broke off", "By kind.", "ops",
                    (by("kind", "hypercache_operator_watch_errors_total"), "{{kind}}"), low=0,
                ),
            ),
            row(
                "Clusters",
                series(
                    "Not ready", "Clusters whose condition Ready is not true.", "short",
                    ('hypercache_operator_cluster_condition{<operator>,condition="Ready"} < 1', "{{cluster_namespace}}/{{cluster}}"),
                ),
                series(
                    "Members", "Wanted, existing and ready.", "short",
                    ("hypercache_operator_cluster_members{<operator>}", "{{cluster_namespace}}/{{cluster}} {{state}}"), low=0,
                ),
                series(
                    "In the middle of", "1 for the operation and its step; none at rest.", "short",
                    ("hypercache_operator_cluster_operation{<operator>}", "{{cluster_namespace}}/{{cluster}} {{kind}} {{step}}"), low=0,
                ),
                series(
                    "Problems", "What keeps a cluster from being as its resource says.", "short",
                    ("hypercache_operator_cluster_problems{<operator>}", "{{cluster_namespace}}/{{cluster}}"), low=0,
                ),
            ),
        ],
    )
