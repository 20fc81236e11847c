"""Error Monitoring: what was refused, lost or broken."""

import logs
from panels import dashboard as page, figure, row, series, steps, table
from performance import BY_MEMBER, BY_STORE, per_member, rate, ratio

PROBES = 'route!~"/(livez|readyz|health)"'


def grew(metric, selector="<member>"):
    return f"sum(increase({metric}{{{selector}}}[$__range])) or vector(0)"


def dashboard():
    board = of_panels()
    board["panels"] = [logs.from_errors(panel) for panel in board["panels"]]
    return board


def of_panels():
    return page(
        "hypercache-errors",
        "HyperCache / Error Monitoring",
        "Error replies, refused writes and connections, forwarding, disk, replication, and what was damaged.",
        ["namespace", "cluster", "member", "store"],
        [
            row(
                "In the time that is shown",
                figure("Error replies", "To RESP clients, of any kind.", "short", (grew("hypercache_error_replies_total"), "replies")),
                figure("Failed HTTP requests", "Answered with 5xx; probes left out.", "short",
                       (grew("hypercache_http_requests_total", f'<member>,status=~"5..",{PROBES}'), "requests"), colors=steps(1, 100)),
                figure("Writes refused for memory", "OOM replies.", "short",
                       (grew("hypercache_store_oom_errors_total", "<store>"), "writes"), colors=steps(1, 100)),
                figure("Forwarded in vain", "Commands that no other member answered.", "short",
                       (grew("hypercache_forward_errors_total"), "commands"), colors=steps(1, 100)),
                figure("Errors of the log", "Writes and fsyncs that failed.", "short", (grew("hypercache_log_errors_total"), "errors"), colors=steps(1)),
                figure("Failed snapshots", "", "short", (grew("hypercache_snapshot_errors_total"), "snapshots"), colors=steps(1)),
            ),
            row(
                "Requests",
                series(
                    "Error replies", "Of all replies. Mistakes of clients (WRONGTYPE, unknown commands) are among them: INFO errorstats tells which.",
                    "percentunit",
                    (ratio("hypercache_error_replies_total", "hypercache_commands_total", selector="<member>", by=BY_MEMBER), "{{member}}"), low=0,
                ),
                per_member("Error replies in a second", "The same, counted.", "ops", "hypercache_error_replies_total", stack=True, low=0),
                series(
                    "Errors by kind", "By their first word. client: a mistake; server: the cluster could not; nobody: ask elsewhere, or again.", "ops",
                    ("sum by (kind, fault) (rate(hypercache_errors_total{<member>}[$__rate_interval])) > 0", "{{kind}} ({{fault}})"), stack=True, low=0,
                ),
                series(
                    "Failed, by no mistake of clients", "Of all requests; the objective allows 0.1 %.", "percentunit",
                    (
                        """sum by (namespace, cluster) (rate(hypercache_errors_total{<member>,fault="server"}[$__rate_interval]))
                        / (sum by (namespace, cluster) (rate(hypercache_request_duration_seconds_count{<member>}[$__rate_interval])) > 0)""",
                        "{{cluster}}",
                    ),
                    low=0, bound=0.001,
                ),
                series(
                    "Errors by store", "By whose fault.", "ops",
                    ("sum by (namespace, cluster, store, fault) (rate(hypercache_request_errors_total{<store>}[$__rate_interval])) > 0", "{{cluster}} {{store}} ({{fault}})"),
                    low=0,
                ),
                series(
                    "HTTP requests that failed", "By route and status, 4xx and 5xx.", "ops",
                    (
                        'sum by (route, method, status) (rate(hypercache_http_requests_total{<member>,status=~"[45].."}[$__rate_interval]))',
                        "{{status}} {{method}} {{route}}",
                    ),
                    low=0,
                ),
                per_member("Malformed requests", "Connections that a malformed frame ended.", "ops", "hypercache_protocol_errors_total", low=0),
            ),
            row(
                "Refused",
                series(
                    "Writes refused for memory", "By store: the budget is used up and nothing may leave, or the member is out of memory.", "ops",
                    (rate("hypercache_store_oom_errors_total", "<store>", BY_STORE), "{{cluster}} {{store}}"), low=0,
                ),
                series(
                    "Connections refused", "At max_connections.", "ops",
                    (rate("hypercache_rejected_connections_total"), "{{member}} RESP"),
                    (rate("hypercache_http_rejected_connections_total"), "{{member}} HTTP"),
                    low=0,
                ),
                series(
                    "Refused logins", "Wrong passwords, over RESP and HTTP.", "ops",
                    (rate("hypercache_refused_logins_total", by="sum by (namespace, cluster, member, protocol)"), "{{member}} {{protocol}}"), low=0,
                ),
                per_member("Slow subscribers closed", "They read too slowly.", "ops", "hypercache_slow_subscribers_closed_total", low=0),
            ),
            row(
                "Between members",
                per_member("Forwarded in vain", "Commands that no answer came for.", "ops", "hypercache_forward_errors_total", low=0),
                per_member("Messages dropped", "Published messages that did not reach another member.", "ops", "hypercache_published_dropped_total", low=0),
                series(
                    "Links that are down", "Links between primaries and copies whose other end does not answer.", "short",
                    ("hypercache_replication_link_up{<member>} == 0", "{{member}} → {{to}}"),
                ),
                series(
                    "Sent again, and refused", "Cycles that were sent again, slots that the other end did not take.", "ops",
                    (rate("hypercache_replication_link_resent_cycles_total"), "{{member}} again"),
                    (rate("hypercache_replication_link_refused_slots_total"), "{{member}} refused"),
                    (rate("hypercache_replication_link_resumed_total"), "{{member}} reconnected"),
                    low=0,
                ),
                per_member(
                    "Deposed", "Slots of which a member heard that another is the primary before it had stopped.", "ops",
                    "hypercache_replication_slots_deposed_total", low=0,
                ),
                series(
                    "Fail-overs", "Slots that got another primary because theirs could not serve: by a copy, or begun empty.", "short",
                    ("sum by (namespace, cluster, to) (increase(hypercache_failed_over_slots_total{<member>}[$__rate_interval]))", "{{cluster}} {{to}}"), low=0,
                ),
                series(
                    "Gossip's datagrams that were dropped", "Malformed, of another version or cluster, or without the secret.", "ops",
                    ('sum by (namespace, cluster, member, event) (rate(hypercache_gossip_datagrams_total{<member>,event!~"sent|received"}[$__rate_interval]))', "{{member}} {{event}}"),
                    low=0,
                ),
                series(
                    "Members without quorum", "1: a member that answers nothing, as it reaches no majority of voters.", "short",
                    ("1 - hypercache_cluster_quorum{<member>}", "{{member}}"), low=0,
                ),
            ),
            row(
                "Disk",
                series(
                    "Disks", "1: it fails, and logged stores refuse writes (MISCONF); or the data is still being read after a start (LOADING).", "short",
                    ("hypercache_disk_degraded{<member>}", "{{member}} fails"),
                    ("hypercache_disk_loading{<member>}", "{{member}} is read"),
                    low=0,
                ),
                series(
                    "Errors", "Writes and fsyncs of the log, and snapshots, that failed.", "ops",
                    (rate("hypercache_log_errors_total"), "{{member}} log"),
                    (rate("hypercache_snapshot_errors_total"), "{{member}} snapshots"),
                    low=0,
                ),
                table(
                    "Found at the last start", "What was lost to damage, replaced by older snapshots, or cut off the log's end.",
                    ["namespace", "cluster", "member"],
                    ("damaged places", "short", "max by (namespace, cluster, member) (hypercache_recovery_damaged_frames{<member>})"),
                    ("damaged snapshots", "short", "max by (namespace, cluster, member) (hypercache_recovery_damaged_snapshots{<member>})"),
                    ("cut off", "bytes", "max by (namespace, cluster, member) (hypercache_recovery_torn_bytes{<member>})"),
                    width=12,
                ),
                series(
                    "Failed backups", "By member.", "short",
                    ("sum by (namespace, cluster, member) (increase(hypercache_backup_errors_total{<member>}[1h]))", "{{member}}"), low=0,
                ),
                series(
                    "Restarts", "How often a member's process was started anew, in an hour.", "short",
                    ("sum by (namespace, cluster, member) (changes(hypercache_process_start_time_seconds{<member>}[1h]))", "{{member}}"), low=0,
                ),
            ),
        ],
    )
