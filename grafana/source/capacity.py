"""Capacity Planning: what is used of what there is, and when it will be used up."""

from panels import bars, dashboard as page, row, series, table

STORE = "by (namespace, cluster, member, store)"
USED = f"max {STORE} (hypercache_store_memory_bytes{{<store>}})"
BUDGET = f"max {STORE} (hypercache_store_max_memory_bytes{{<store>}})"
# Growth in a second by the last six hours; nothing where a store does not grow.
GROWTH = f"max {STORE} (deriv(hypercache_store_memory_bytes{{<store>}}[6h]) > 0)"
PART = [{"color": "green", "value": None}, {"color": "orange", "value": 0.8}, {"color": "red", "value": 0.95}]
DAYS = [{"color": "red", "value": None}, {"color": "orange", "value": 2}, {"color": "green", "value": 7}]
MEMBER = "by (namespace, cluster, member)"


def dashboard():
    return page(
        "hypercache-capacity",
        "HyperCache / Capacity Planning",
        "Budgets of stores, memory of members, logs and backups: what is used, how it grows, and how long it will do.",
        ["namespace", "cluster", "member", "store"],
        [
            row(
                "Budgets of stores",
                bars(
                    "Used of the budget", "On the member where it is fullest. A store that evicts stands near 100 %: that is what a budget is for.",
                    "percentunit", (f"max by (namespace, cluster, store) ({USED} / {BUDGET})", "{{cluster}} {{store}}"), colors=PART, high=1,
                ),
                bars(
                    "Days until the budget is reached",
                    "By the growth of the last six hours, on the member that gets there first. Stores that do not grow, or have no budget, are "
                    "not shown. After that they evict by their policies, or refuse writes if that is noeviction.",
                    "d", (f"min by (namespace, cluster, store) (clamp_min({BUDGET} - {USED}, 0) / {GROWTH}) / 86400", "{{cluster}} {{store}}"),
                    colors=DAYS,
                ),
                series(
                    "Memory of stores", "What their keys cost, on all members.", "bytes",
                    ("sum by (namespace, cluster, store) (hypercache_store_memory_bytes{<store>})", "{{cluster}} {{store}}"), stack=True, low=0,
                ),
                series(
                    "Used of the budget in a day", "The last six hours, drawn on for 24 hours; above 100 % the budget is reached by then.", "percentunit",
                    (
                        f"""max by (namespace, cluster, store)
                        (predict_linear(hypercache_store_memory_bytes{{<store>}}[6h], 86400) / hypercache_store_max_memory_bytes{{<store>}})""",
                        "{{cluster}} {{store}}",
                    ),
                    low=0, bound=1,
                ),
                table(
                    "Stores", "On all members together.", ["namespace", "cluster", "store"],
                    ("keys", "short", "sum by (namespace, cluster, store) (hypercache_store_keys{<store>})"),
                    ("with a lifetime", "short", "sum by (namespace, cluster, store) (hypercache_store_keys_with_ttl{<store>})"),
                    ("memory", "bytes", "sum by (namespace, cluster, store) (hypercache_store_memory_bytes{<store>})"),
                    ("budget", "bytes", "sum by (namespace, cluster, store) (hypercache_store_max_memory_bytes{<store>})"),
                    (
                        "bytes a key", "bytes",
                        """sum by (namespace, cluster, store) (hypercache_store_memory_bytes{<store>})
                        / (sum by (namespace, cluster, store) (hypercache_store_keys{<store>}) > 0)""",
                    ),
                    ("evicted a second", "ops", "sum by (namespace, cluster, store) (rate(hypercache_store_evicted_keys_total{<store>}[$__rate_interval]))"),
                ),
            ),
            row(
                "Memory of members",
                series(
                    "Used of the limit", "Of what the control group, the configuration or the machine allows.", "percentunit",
                    ("hypercache_memory_working_set_bytes{<member>} / (hypercache_memory_limit_bytes{<member>} > 0)", "{{member}}"), low=0, bound=0.9,
                ),
                bars(
                    "Days until the limit is reached", "By the growth of the last six hours. Members that do not grow are not shown.", "d",
                    (
                        f"""min {MEMBER} ((hypercache_memory_limit_bytes{{<member>}} - hypercache_memory_working_set_bytes{{<member>}} > 0)
                        / (deriv(hypercache_memory_working_set_bytes{{<member>}}[6h]) > 0)) / 86400""",
                        "{{member}}",
                    ),
                    colors=DAYS,
                ),
                series(
                    "Stage of memory", "0 there is room, 1 expired keys are looked for harder, 2 stores evict, 3 writes are refused as well.", "short",
                    ("hypercache_memory_stage{<member>}", "{{member}}"), low=0,
                ),
                series(
                    "Evicted for the member's sake", "What stores evicted within their budgets because the member's memory ran out.", "Bps",
                    (f"sum {MEMBER} (rate(hypercache_memory_relieved_bytes_total{{<member>}}[$__rate_interval]))", "{{member}}"), low=0,
                ),
                series(
                    "Resident beyond allocated", "Pages that the allocator holds and nothing is in: fragmentation, and what is kept for the next writes.",
                    "percentunit",
                    (
                        """hypercache_process_resident_memory_bytes{<member>}
                        / (hypercache_process_allocated_memory_bytes{<member>} > 0) - 1""",
                        "{{member}}",
                    ),
                ),
                series(
                    "Fragmentation", "What the allocator holds to what the program has allocated.", "short",
                    ("hypercache_memory_fragmentation_ratio{<member>}", "{{member}}"), low=1, bound=1.5,
                ),
                series(
                    "Given back", "How often free pages went back to the system, and keys were moved together.", "ops",
                    (f"sum {MEMBER} (rate(hypercache_memory_purges_total{{<member>}}[$__rate_interval]))", "{{member}} pages"),
                    (f"sum {MEMBER} (rate(hypercache_memory_moves_total{{<member>}}[$__rate_interval]))", "{{member}} moves"),
                    low=0,
                ),
                series(
                    "Keys to be freed", "Keys that are gone and whose memory waits to be given back; and how many were, in a second.", "short",
                    ("hypercache_memory_frees_pending{<member>}", "{{member}} waiting"),
                    (f"sum {MEMBER} (rate(hypercache_memory_freed_keys_total{{<member>}}[$__rate_interval]))", "{{member}} a second"),
                    low=0,
                ),
            ),
            row(
                "Disk",
                series(
                    "Used of the disk", "Of the file system of the data directory, by all that is on it.", "percentunit",
                    ("1 - hypercache_disk_free_bytes{<member>} / (hypercache_disk_total_bytes{<member>} > 0)", "{{member}}"), low=0, bound=0.9,
                ),
                bars(
                    "Days until the disk is full", "By the last six hours. Members whose disks do not fill are not shown.", "d",
                    (
                        f"min {MEMBER} (hypercache_disk_free_bytes{{<member>}} / (-deriv(hypercache_disk_free_bytes{{<member>}}[6h]) > 0)) / 86400",
                        "{{member}}",
                    ),
                    colors=DAYS,
                ),
                series("Log", "All segments.", "bytes", ("hypercache_log_bytes{<member>}", "{{member}}"), low=0),
                series(
                    "Log in a day", "The last six hours, drawn on for 24 hours. Snapshots shorten the log.", "bytes",
                    ("clamp_min(predict_linear(hypercache_log_bytes{<member>}[6h], 86400), 0)", "{{member}}"), low=0,
                ),
                series(
                    "Log since the last snapshot", "By store: what a start has to read beside the snapshot.", "bytes",
                    ("sum by (namespace, cluster, store) (hypercache_store_log_since_snapshot_bytes{<store>})", "{{cluster}} {{store}}"), low=0,
                ),
                table(
                    "Snapshots", "The last one of each store, on all members.", ["namespace", "cluster", "store"],
                    ("size", "bytes", "sum by (namespace, cluster, store) (hypercache_store_last_snapshot_bytes{<store>})"),
                    ("keys", "short", "sum by (namespace, cluster, store) (hypercache_store_last_snapshot_keys{<store>})"),
                    ("oldest", "s", "time() - min by (namespace, cluster, store) (hypercache_store_last_snapshot_time_seconds{<store>})"),
                    width=12,
                ),
                series("Segments", "Files of the log.", "short", ("hypercache_log_segments{<member>}", "{{member}}"), low=0),
            ),
            row(
                "Backups",
                table(
                    "Backups", "The last one of each member; empty where none are configured.", ["namespace", "cluster", "member"],
                    (
                        "age", "s",
                        f"time() - max {MEMBER} (hypercache_backup_last_time_seconds{{<member>}} > 0)",
                    ),
                    ("size", "bytes", f"max {MEMBER} (hypercache_backup_last_bytes{{<member>}})"),
                    ("took", "s", f"max {MEMBER} (hypercache_backup_last_duration_seconds{{<member>}})"),
                    ("tried", "short", f"max {MEMBER} (hypercache_backups_total{{<member>}})"),
                    ("failed", "short", f"max {MEMBER} (hypercache_backup_errors_total{{<member>}})"),
                    width=12,
                ),
                series("Backups that run", "", "short", ("hypercache_backup_running{<member>}", "{{member}}"), low=0),
            ),
            row(
                "Clients",
                series(
                    "Connections", "RESP and HTTP; each has the bound max_connections.", "short",
                    ("hypercache_connected_clients{<member>}", "{{member}} RESP"),
                    ("hypercache_max_connections{<member>}", "{{member}} bound"),
                    ("hypercache_http_connections{<member>}", "{{member}} HTTP"),
                    low=0,
                ),
                series(
                    "New connections", "In a second. Many of them: clients without a pool.", "ops",
                    (f"sum {MEMBER} (rate(hypercache_connections_received_total{{<member>}}[$__rate_interval]))", "{{member}}"), low=0,
                ),
            ),
        ],
        since="now-24h",
    )
