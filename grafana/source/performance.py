"""Performance Metrics: what is asked, how fast it is done, and what it costs."""

from panels import bars, dashboard as page, row, series

BY_MEMBER = "sum by (namespace, cluster, member)"
BY_STORE = "sum by (namespace, cluster, store)"


def rate(metric, selector="<member>", by=BY_MEMBER):
    return f"{by} (rate({metric}{{{selector}}}[$__rate_interval]))"


def per_member(title, text, unit, metric, **more):
    return series(title, text, unit, (rate(metric), "{{member}}"), **more)


def quantile(q, metric, by=""):
    return f"histogram_quantile({q}, sum by (namespace, cluster{by}, le) (rate({metric}_bucket{{<member>}}[$__rate_interval])))"


def ratio(part, *whole, selector="<store>", by=BY_STORE):
    total = " + ".join(rate(metric, selector, by) for metric in whole)
    return f"{rate(part, selector, by)} / (({total}) > 0)"


def dashboard():
    return page(
        "hypercache-performance",
        "HyperCache / Performance Metrics",
        "Requests, hits, filters, forwarding, replication, log and fsync, the network and the processes.",
        ["namespace", "cluster", "member", "store"],
        [
            row(
                "Requests",
                per_member("Commands", "At the member that the client is connected to.", "reqps", "hypercache_commands_total", stack=True, low=0),
                series(
                    "Commands by name", "The ten that are asked for most.", "reqps",
                    ("topk(10, sum by (command) (rate(hypercache_commands_total{<member>}[$__rate_interval])))", "{{command}}"), low=0,
                ),
                series(
                    "Time of a request, by family", "99 of 100 take no longer. At the member that the client is connected to, with the way to another member and back.",
                    "s", ("histogram_quantile(0.99, sum by (namespace, cluster, family, le) (rate(hypercache_request_duration_seconds_bucket{<store>}[$__rate_interval])))", "{{cluster}} {{family}}"),
                    low=0, exemplars=True,
                ),
                series(
                    "Time of a request, by store", "Half of them, and 99 of 100, take no longer.", "s",
                    (quantile(0.5, "hypercache_request_duration_seconds", ", store"), "{{cluster}} {{store}} p50"),
                    (quantile(0.99, "hypercache_request_duration_seconds", ", store"), "{{cluster}} {{store}} p99"),
                    low=0, exemplars=True,
                ),
                series(
                    "Requests by store", "In a second.", "reqps",
                    (rate("hypercache_request_duration_seconds_count", "<store>", BY_STORE), "{{cluster}} {{store}}"), stack=True, low=0,
                ),
                series(
                    "Time of a forwarded batch", "How long another member took to answer.", "s",
                    (quantile(0.5, "hypercache_forward_duration_seconds", ", member"), "{{member}} p50"),
                    (quantile(0.99, "hypercache_forward_duration_seconds", ", member"), "{{member}} p99"),
                    low=0,
                ),
                series(
                    "Forwarded", "Commands that another member was asked to answer, of all: 0 where clients know the owners.", "percentunit",
                    (ratio("hypercache_forwarded_requests_total", "hypercache_commands_total", selector="<member>", by=BY_MEMBER), "{{member}}"),
                    low=0,
                ),
                series(
                    "Clients", "RESP connections that are open.", "short",
                    ("sum by (namespace, cluster, member) (hypercache_connected_clients{<member>})", "{{member}}"), stack=True, low=0,
                ),
                series(
                    "HTTP by route", "Answered requests in a second.", "reqps",
                    ("sum by (route, method) (rate(hypercache_http_requests_total{<member>}[$__rate_interval]))", "{{method}} {{route}}"), low=0,
                ),
                series(
                    "HTTP: time to answer", "From a request's head to its answer's, all routes together.", "s",
                    (quantile(0.5, "hypercache_http_request_duration_seconds"), "{{cluster}} p50"),
                    (quantile(0.95, "hypercache_http_request_duration_seconds"), "{{cluster}} p95"),
                    (quantile(0.99, "hypercache_http_request_duration_seconds"), "{{cluster}} p99"),
                    low=0,
                ),
            ),
            row(
                "Stores",
                series(
                    "Hit ratio", "Reads that found their key, by store.", "percentunit",
                    (ratio("hypercache_store_hits_total", "hypercache_store_hits_total", "hypercache_store_misses_total"), "{{cluster}} {{store}}"),
                    low=0,
                ),
                series(
                    "Reads", "Hits and misses in a second.", "ops",
                    (rate("hypercache_store_hits_total", "<store>", BY_STORE), "{{store}} hits"),
                    (rate("hypercache_store_misses_total", "<store>", BY_STORE), "{{store}} misses"),
                    stack=True, low=0,
                ),
                series(
                    "Evicted", "Keys that left for the budget, in a second.", "ops",
                    (rate("hypercache_store_evicted_keys_total", "<store>", BY_STORE), "{{cluster}} {{store}}"), low=0,
                ),
                series(
                    "Expired", "Keys whose time was over, in a second.", "ops",
                    (rate("hypercache_store_expired_keys_total", "<store>", BY_STORE), "{{cluster}} {{store}}"), low=0,
                ),
            ),
            row(
                "Filters",
                series(
                    "Look-ups that the filter answered", "Of those that asked it: the key is surely absent, the table was not looked at.",
                    "percentunit",
                    (ratio("hypercache_store_filter_negatives_total", "hypercache_store_filter_checks_total"), "{{cluster}} {{store}}"), low=0,
                ),
                series(
                    "False positives", "Of look-ups of absent keys: the filter let them through.", "percentunit",
                    (
                        ratio(
                            "hypercache_store_filter_false_positives_total",
                            "hypercache_store_filter_false_positives_total", "hypercache_store_filter_negatives_total",
                        ),
                        "{{cluster}} {{store}}",
                    ),
                    low=0,
                ),
                series(
                    "Cost of a key", "Bytes of the filter for each key that it knows.", "bytes",
                    (
                        """sum by (namespace, cluster, store) (hypercache_store_filter_bytes{<store>})
                        / (sum by (namespace, cluster, store) (hypercache_store_filter_keys{<store>}) > 0)""",
                        "{{cluster}} {{store}}",
                    ),
                    low=0,
                ),
                series(
                    "How full", "Fingerprints that the filter has, of those that there is room for: nearly full, it is made anew, larger. On the member where it is fullest.",
                    "percentunit",
                    ("max by (namespace, cluster, store) (hypercache_store_filter_load_ratio{<store>})", "{{cluster}} {{store}}"), low=0,
                ),
            ),
            row(
                "Replication",
                series(
                    "Lag", "How long the other member was not heard while something was asked of it.", "s",
                    ("hypercache_replication_link_lag_seconds{<member>}", "{{member}} → {{to}}"), low=0,
                ),
                series(
                    "Time until a write is confirmed", "Until as many other owners have it as its store asks for.", "s",
                    (quantile(0.5, "hypercache_confirm_duration_seconds", ", member"), "{{member}} p50"),
                    (quantile(0.99, "hypercache_confirm_duration_seconds", ", member"), "{{member}} p99"),
                    low=0,
                ),
                series(
                    "Behind", "What the other member has not confirmed yet.", "bytes",
                    ("hypercache_replication_link_behind_bytes{<member>}", "{{member}} → {{to}}"), low=0,
                ),
                series(
                    "Behind, in records", "Writes that the other member has not confirmed yet, of all slots of this link.", "short",
                    ("hypercache_replication_link_behind_records{<member>}", "{{member}} → {{to}}"), low=0,
                ),
                series(
                    "Sent", "Records and pieces of slots.", "Bps",
                    (rate("hypercache_replication_link_sent_bytes_total", by="sum by (namespace, cluster, member, to)"), "{{member}} → {{to}}"), low=0,
                ),
                series(
                    "Pieces of slots", "What was sent for slots that go to another member as a whole: moves, and members that come back.", "Bps",
                    (rate("hypercache_replication_link_snapshot_bytes_total", by="sum by (namespace, cluster, member, to)"), "{{member}} → {{to}}"),
                    low=0,
                ),
                series(
                    "Slots attached", "Slots that went on from where the other member was, and slots that went as a whole.", "ops",
                    (rate("hypercache_replication_link_attached_by_log_total"), "{{member}} by log"),
                    (rate("hypercache_replication_link_attached_by_snapshot_total"), "{{member}} as a whole"),
                    low=0,
                ),
                per_member("Slots handed over", "Given to another member with everything.", "ops", "hypercache_replication_slots_handed_over_total", low=0),
            ),
            row(
                "Log",
                series(
                    "Time of an fsync", "Forcing the log to the disk.", "s",
                    (quantile(0.5, "hypercache_log_fsync_duration_seconds", ", member"), "{{member}} p50"),
                    (quantile(0.99, "hypercache_log_fsync_duration_seconds", ", member"), "{{member}} p99"),
                    low=0,
                ),
                series(
                    "Time of a write", "To the log, without forcing it to the disk.", "s",
                    (quantile(0.99, "hypercache_log_write_duration_seconds", ", member"), "{{member}} p99"), low=0,
                ),
                series(
                    "Waiting writers", "Writers that wait until what they wrote is on the disk.", "short",
                    ("hypercache_log_waiting_writers{<member>}", "{{member}}"), low=0,
                ),
                per_member("Written", "To the log.", "Bps", "hypercache_log_written_bytes_total", low=0),
                series(
                    "Records shared by an fsync", "How many records one fsync puts on the disk.", "short",
                    (ratio("hypercache_log_records_total", "hypercache_log_fsyncs_total", selector="<member>", by=BY_MEMBER), "{{member}}"), low=0,
                ),
                series(
                    "Time of the last snapshot", "By store.", "s",
                    ("max by (namespace, cluster, store) (hypercache_store_last_snapshot_duration_seconds{<store>})", "{{cluster}} {{store}}"), low=0,
                ),
                bars(
                    "Time of the last start", "How long reading the data from the disk took.", "s",
                    ("hypercache_recovery_duration_seconds{<member>}", "{{member}}"),
                ),
            ),
            row(
                "Network and processes",
                series(
                    "Network of clients", "Bytes from RESP clients (below the line) and to them.", "Bps",
                    (rate("hypercache_net_output_bytes_total"), "{{member}} out"),
                    (f"-{rate('hypercache_net_input_bytes_total')}", "{{member}} in"),
                ),
                series(
                    "CPU", "Cores in use, in own code and in the system's.", "short",
                    (rate("hypercache_process_cpu_seconds_total", by="sum by (namespace, cluster, member, mode)"), "{{member}} {{mode}}"),
                    stack=True, low=0,
                ),
                series(
                    "Memory of the process", "Resident, and what the program has allocated of it.", "bytes",
                    ("hypercache_process_resident_memory_bytes{<member>}", "{{member}} resident"),
                    ("hypercache_process_allocated_memory_bytes{<member>}", "{{member}} allocated"),
                    low=0,
                ),
                series(
                    "Open files", "Descriptors, connections among them, of what the process may have.", "percentunit",
                    ("hypercache_process_open_fds{<member>} / (hypercache_process_max_fds{<member>} > 0)", "{{member}}"), low=0,
                ),
                series(
                    "The cluster's own runtime", "How much of its threads is in use: gossip, Raft, peers and HTTP.", "percentunit",
                    (f"{rate('hypercache_runtime_busy_seconds_total')} / ({BY_MEMBER} (hypercache_runtime_workers{{<member>}}) > 0)", "{{member}}"), low=0,
                ),
                series(
                    "I/O loops", "How much of its time each is busy with clients and links: one that is always busy keeps its clients waiting.", "percentunit",
                    ("sum by (namespace, cluster, member, loop) (rate(hypercache_loop_busy_seconds_total{<member>}[$__rate_interval]))", "{{member}} {{loop}}"), low=0,
                ),
                series(
                    "I/O loops: waiting for a processor", "What of their busy time they did not run: too few cores, or the pod's limit of them.", "percentunit",
                    (
                        f"""clamp_min({rate('hypercache_loop_busy_seconds_total')} - {rate('hypercache_loop_cpu_seconds_total')}, 0)
                        / ({BY_MEMBER} (hypercache_loops{{<member>}}) > 0)""",
                        "{{member}}",
                    ),
                    low=0,
                ),
                series(
                    "Connections of an I/O loop", "RESP connections that each serves.", "short",
                    ("sum by (namespace, cluster, member, loop) (hypercache_loop_connections{<member>})", "{{member}} {{loop}}"), low=0,
                ),
                series("Threads", "Of the process.", "short", ("hypercache_process_threads{<member>}", "{{member}}"), low=0),
            ),
        ],
        since="now-1h",
    )
