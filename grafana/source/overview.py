"""System Overview: is everything well, and where not."""

import logs
from panels import at_least, dashboard as page, figure, row, series, steps, table

LEADER = "(hypercache_cluster_leader{<cluster>} * hypercache_cluster_quorum == 1)"
BY_LEADER = f"and on (namespace, cluster, member) {LEADER}"


def dashboard():
    return page(
        "hypercache-overview",
        "HyperCache / System Overview",
        "Whether clusters are well: members, quorum, slots, copies, what fires, and the load in short.",
        ["namespace", "cluster", "member"],
        [
            row(
                "Now",
                figure(
                    "Members that answer", "Targets of the job hypercache that Prometheus reaches, and all of them.", "short",
                    ('sum(up{job="hypercache",<cluster>})', "up"),
                    ('count(up{job="hypercache",<cluster>})', "of"),
                    colors=at_least(1),
                ),
                figure(
                    "Quorum", "1 if at least one member has a majority of the voters behind it, in every chosen cluster.", "short",
                    ("min(max by (namespace, cluster) (hypercache_cluster_quorum{<cluster>}))", "quorum"),
                    colors=at_least(1), words={0: "lost", 1: "there"}, none="nobody answers",
                ),
                figure(
                    "Slots without an owner", "Of 16384 in each cluster, by the leader's table.", "short",
                    (f"sum(16384 - max by (namespace, cluster) (hypercache_cluster_slots_assigned{{<cluster>}} {BY_LEADER}))", "slots"),
                    colors=steps(1), none="no leader",
                ),
                figure(
                    "Slots that nobody serves",
                    "Slots of which no member that Prometheus reaches is the primary: their member is gone, or cannot be scraped.", "short",
                    ("sum(clamp_min(16384 - sum by (namespace, cluster) (hypercache_replication_slots_primary{<cluster>}), 0))", "slots"),
                    colors=steps(1), none="nobody answers",
                ),
                figure(
                    "Slots with too few copies", "Slots with fewer owners in sync than stores ask for and members can give.", "short",
                    ("sum(hypercache_replication_slots_under_replicated{<cluster>})", "slots"), colors=steps(1),
                ),
                figure(
                    "Disks that fail", "Members whose logged stores refuse writes because the disk failed.", "short",
                    ("sum(hypercache_disk_degraded{<cluster>}) or vector(0)", "members"), colors=steps(1),
                ),
                figure(
                    "Requests", "Commands of clients in a second.", "reqps",
                    ("sum(rate(hypercache_commands_total{<cluster>}[$__rate_interval]))", "commands"),
                ),
                figure(
                    "Error replies", "Replies that were errors, of all replies.", "percentunit",
                    (
                        """sum(rate(hypercache_error_replies_total{<cluster>}[$__rate_interval]))
                        / (sum(rate(hypercache_commands_total{<cluster>}[$__rate_interval])) > 0)""",
                        "errors",
                    ),
                    colors=steps(0.001, 0.01), none="no requests",
                ),
                figure(
                    "Hit ratio", "Reads that found their key.", "percentunit",
                    (
                        """sum(rate(hypercache_store_hits_total{<cluster>}[$__rate_interval]))
                        / ((sum(rate(hypercache_store_hits_total{<cluster>}[$__rate_interval]))
                        + sum(rate(hypercache_store_misses_total{<cluster>}[$__rate_interval]))) > 0)""",
                        "hits",
                    ),
                    none="no reads",
                ),
                figure("Keys", "Keys at their primaries and in copies.", "short", ("sum(hypercache_store_keys{<cluster>})", "keys")),
                figure(
                    "Memory of keys", "What keys cost on all members.", "bytes",
                    ("sum(hypercache_store_memory_bytes{<cluster>})", "memory"),
                ),
                figure(
                    "Clients", "RESP connections that are open.", "short",
                    ("sum(hypercache_connected_clients{<cluster>})", "clients"),
                ),
            ),
            row(
                "What fires",
                table(
                    "Alerts", "Alerts of grafana/rules that fire. Empty as well where Prometheus does not load them.",
                    ["alertname", "severity", "namespace", "cluster", "member", "store"],
                    ("fires", "short", 'ALERTS{alertname=~"HyperCache.*",alertstate="firing",<cluster>}'),
                    height=7,
                ),
            ),
            row(
                "Clusters",
                table(
                    "Clusters", "One line each.", ["namespace", "cluster"],
                    ("members up", "short", 'sum by (namespace, cluster) (up{job="hypercache",<cluster>})'),
                    ("quorum", "short", "max by (namespace, cluster) (hypercache_cluster_quorum{<cluster>})"),
                    ("keys", "short", "sum by (namespace, cluster) (hypercache_store_keys{<cluster>})"),
                    ("memory", "bytes", "sum by (namespace, cluster) (hypercache_store_memory_bytes{<cluster>})"),
                    ("requests", "reqps", "sum by (namespace, cluster) (rate(hypercache_commands_total{<cluster>}[$__rate_interval]))"),
                    height=6,
                    link=(
                        "cluster", "Performance of this cluster",
                        "/d/hypercache-performance?var-datasource=${datasource}&var-namespace=${__data.fields.namespace}"
                        "&var-cluster=${__data.fields.cluster}",
                    ),
                ),
                table(
                    "Members", "One line each. The stage of memory: 0 room, 1 expiring, 2 evicting, 3 refusing writes.",
                    ["namespace", "cluster", "member"],
                    ("up", "short", 'max by (namespace, cluster, member) (up{job="hypercache",<member>})'),
                    ("leader", "short", "max by (namespace, cluster, member) (hypercache_cluster_leader{<member>})"),
                    ("slots", "short", "max by (namespace, cluster, member) (hypercache_cluster_slots_owned{<member>})"),
                    ("keys", "short", "sum by (namespace, cluster, member) (hypercache_store_keys{<member>})"),
                    ("memory", "bytes", "max by (namespace, cluster, member) (hypercache_memory_working_set_bytes{<member>})"),
                    ("stage", "short", "max by (namespace, cluster, member) (hypercache_memory_stage{<member>})"),
                    ("up for", "s", "time() - max by (namespace, cluster, member) (hypercache_process_start_time_seconds{<member>})"),
                    link=("member", "Log of this member", logs.explore(logs.members(logs.FIELD, logs.CHOSEN))),
                ),
            ),
            row(
                "Over time",
                series(
                    "Members by state", "As the leader sees them.", "short",
                    (f"max by (namespace, cluster, state) (hypercache_cluster_members{{<cluster>}} {BY_LEADER})", "{{cluster}} {{state}}"),
                    low=0,
                ),
                series(
                    "Primaries", "Slots of which each member is the primary.", "short",
                    ("sum by (namespace, cluster, member) (hypercache_replication_slots_primary{<member>})", "{{member}}"),
                    stack=True, low=0,
                ),
                series(
                    "Requests", "Commands of clients in a second, at the member that they are connected to.", "reqps",
                    ("sum by (namespace, cluster, member) (rate(hypercache_commands_total{<member>}[$__rate_interval]))", "{{member}}"),
                    stack=True, low=0,
                ),
                series(
                    "Slots with too few copies", "They come and go as members do, and as slots move.", "short",
                    ("sum by (namespace, cluster, member) (hypercache_replication_slots_under_replicated{<member>})", "{{member}}"),
                    stack=True, low=0,
                ),
                series(
                    "Changes of the table", "How often the cluster's table got a new epoch, in a minute.", "short",
                    ("60 * max by (namespace, cluster) (deriv(hypercache_cluster_epoch{<cluster>}[$__rate_interval]))", "{{cluster}}"),
                    low=0,
                ),
                series(
                    "Versions", "Members by the version that they run.", "short",
                    ("count by (namespace, cluster, version) (hypercache_build_info{<cluster>})", "{{cluster}} {{version}}"),
                    stack=True, low=0,
                ),
            ),
        ],
    )
