//! All metrics of a member: what is not here is not told, and docs/metrics.md is written from here.
//!
//! Names begin with `hypercache_` and end with their unit (`_bytes`, `_seconds`) and, for counters,
//! `_total`. Labels are bounded: families and commands of the table, stores and members of the cluster,
//! fixed words; never a key, a client or an address.

hypercache_core::metrics! {
    "The process" {
        BUILD_INFO: gauge "hypercache_build_info" ["version", "member"]
            "What runs here; always 1";
        START_TIME: gauge "hypercache_process_start_time_seconds" []
            "When the process started, since the Unix epoch";
        CPU: counter "hypercache_process_cpu_seconds_total" ["mode"]
            "CPU time of the process, in its own code (`user`) and in the system's (`system`)";
        RESIDENT_MEMORY: gauge "hypercache_process_resident_memory_bytes" []
            "Memory that the process holds";
        ALLOCATED_MEMORY: gauge "hypercache_process_allocated_memory_bytes" []
            "Memory that the program has allocated";
        THREADS: gauge "hypercache_process_threads" []
            "Threads of the process";
        OPEN_FDS: gauge "hypercache_process_open_fds" []
            "Open file descriptors";
        MAX_FDS: gauge "hypercache_process_max_fds" []
            "File descriptors that the process may have open";
        RUNTIME_WORKERS: gauge "hypercache_runtime_workers" []
            "Threads of the runtime of gossip, Raft, peers and HTTP";
        RUNTIME_TASKS: gauge "hypercache_runtime_tasks" []
            "Tasks of that runtime that live";
        RUNTIME_QUEUED: gauge "hypercache_runtime_queued_tasks" []
            "Tasks that wait in its common queue for a thread";
        RUNTIME_BUSY: counter "hypercache_runtime_busy_seconds_total" []
            "How long its threads ran tasks";
        LOOPS: gauge "hypercache_loops" []
            "I/O loops: a thread each, which serves clients' connections and the links to other members";
        LOOP_BUSY: counter "hypercache_loop_busy_seconds_total" ["loop"]
            "How long it was not waiting for anything to do; one that is busy all the time keeps its clients waiting";
        LOOP_CPU: counter "hypercache_loop_cpu_seconds_total" ["loop"]
            "CPU time of its thread: where it is far less than it was busy, it had to wait for a processor";
        LOOP_CONNECTIONS: gauge "hypercache_loop_connections" ["loop"]
            "RESP connections that it serves";
        SPANS_SENT: counter "hypercache_telemetry_spans_sent_total" []
            "Spans of traces that the endpoint took";
        SPANS_DROPPED: counter "hypercache_telemetry_spans_dropped_total" ["reason"]
            "Spans that are lost: the queue was full (`queue`), or the endpoint did not take them (`endpoint`)";
        POINTS_SENT: counter "hypercache_telemetry_points_sent_total" []
            "Values of metrics that the OTLP endpoint took";
        POINTS_DROPPED: counter "hypercache_telemetry_points_dropped_total" ["reason"]
            "Values that are lost: the endpoint did not take a request in time (`endpoint`), or took it without these (`refused`)";
    }
    "Clients" {
        CONNECTED_CLIENTS: gauge "hypercache_connected_clients" []
            "RESP connections that are open";
        MAX_CONNECTIONS: gauge "hypercache_max_connections" []
            "RESP connections that may be open";
        CONNECTIONS_RECEIVED: counter "hypercache_connections_received_total" []
            "RESP connections that were accepted";
        REJECTED_CONNECTIONS: counter "hypercache_rejected_connections_total" []
            "RESP connections that were refused at max_connections";
        REFUSED_LOGINS: counter "hypercache_refused_logins_total" ["protocol"]
            "Wrong passwords: over RESP (`resp`), and HTTP requests without the right one (`http`)";
        NET_INPUT: counter "hypercache_net_input_bytes_total" []
            "Bytes from RESP clients";
        NET_OUTPUT: counter "hypercache_net_output_bytes_total" []
            "Bytes to RESP clients";
        PROTOCOL_ERRORS: counter "hypercache_protocol_errors_total" []
            "Connections that a malformed frame ended";
        SLOW_SUBSCRIBERS_CLOSED: counter "hypercache_slow_subscribers_closed_total" []
            "Subscribers that were closed because they read too slowly";
        PUBLISHED_DROPPED: counter "hypercache_published_dropped_total" []
            "Published messages that did not reach another member";
        HTTP_REQUESTS: counter "hypercache_http_requests_total" ["route", "method", "status"]
            "HTTP requests that were answered, by route, method and status";
        HTTP_REQUEST_DURATION: histogram "hypercache_http_request_duration_seconds" []
            "From a request's head to its answer's";
        HTTP_CONNECTIONS: gauge "hypercache_http_connections" []
            "HTTP connections that are open";
        HTTP_REJECTED_CONNECTIONS: counter "hypercache_http_rejected_connections_total" []
            "HTTP connections that were refused at max_connections";
    }
    "Requests" {
        COMMANDS: counter "hypercache_commands_total" ["command"]
            "Commands that were run, by name; those of scripts and transactions too";
        REQUEST_DURATION: histogram "hypercache_request_duration_seconds" ["family", "store"]
            "Requests of clients, over RESP and HTTP, by the command's family and its first key's store: how long until the reply stood, with the way to another member and back; without what BLPOP and its kin wait for, and without the wait of a write here for its other owners and the disk";
        REQUEST_ERRORS: counter "hypercache_request_errors_total" ["family", "store", "fault"]
            "Of these, error replies: by a mistake of the client (`client`), because the cluster was not able to (`server`), or telling it to ask elsewhere or again (`nobody`)";
        ERRORS: counter "hypercache_errors_total" ["kind", "fault"]
            "Error replies by their first word, those to malformed and refused commands too; whose fault each is as above";
        ERROR_REPLIES: counter "hypercache_error_replies_total" []
            "Error replies over RESP";
        FORWARDED_REQUESTS: counter "hypercache_forwarded_requests_total" []
            "Commands that another member was asked to answer";
        FORWARD_ERRORS: counter "hypercache_forward_errors_total" []
            "Forwarded commands that no answer came for";
        FORWARD_DURATION: histogram "hypercache_forward_duration_seconds" []
            "How long another member took to answer what was forwarded to it together";
        CONFIRM_DURATION: histogram "hypercache_confirm_duration_seconds" []
            "How long writes here, answered together, waited until as many other owners had them as their store asks for";
    }
    "Stores" {
        STORE_KEYS: gauge "hypercache_store_keys" ["store"]
            "Keys on this member";
        STORE_KEYS_WITH_TTL: gauge "hypercache_store_keys_with_ttl" ["store"]
            "Keys here that expire";
        STORE_MEMORY: gauge "hypercache_store_memory_bytes" ["store"]
            "What the keys here cost";
        STORE_MAX_MEMORY: gauge "hypercache_store_max_memory_bytes" ["store"]
            "The budget on each member; absent when there is none";
        STORE_HITS: counter "hypercache_store_hits_total" ["store"]
            "Reads here that found their key";
        STORE_MISSES: counter "hypercache_store_misses_total" ["store"]
            "Reads here that found no key";
        STORE_EVICTED_KEYS: counter "hypercache_store_evicted_keys_total" ["store"]
            "Keys that left for room";
        STORE_EVICTIONS: counter "hypercache_store_evictions_total" ["store", "reason"]
            "The same by reason: the store's `budget`, or the `memory` of the member";
        STORE_EXPIRED_KEYS: counter "hypercache_store_expired_keys_total" ["store"]
            "Keys whose time was over";
        STORE_OOM_ERRORS: counter "hypercache_store_oom_errors_total" ["store"]
            "Writes that were refused for want of room";
        STORE_FILTER: gauge "hypercache_store_filter_bytes" ["store"]
            "What the store's cuckoo filter costs here, a part of the store's memory";
        STORE_FILTER_KEYS: gauge "hypercache_store_filter_keys" ["store"]
            "Keys that it knows here";
        STORE_FILTER_LOAD: gauge "hypercache_store_filter_load_ratio" ["store"]
            "How full it is here: fingerprints that it has of those that there is room for, 0 to 1; absent while there are none";
        STORE_FILTER_UNKNOWN_KEYS: gauge "hypercache_store_filter_unknown_keys" ["store"]
            "Keys of slots where it is not built yet";
        STORE_FILTER_CHECKS: counter "hypercache_store_filter_checks_total" ["store"]
            "Look-ups here that asked it";
        STORE_FILTER_NEGATIVES: counter "hypercache_store_filter_negatives_total" ["store"]
            "Look-ups here to which it said that the key is surely absent";
        STORE_FILTER_FALSE_POSITIVES: counter "hypercache_store_filter_false_positives_total" ["store"]
            "Look-ups here that it let through although the key was absent";
        STORE_LOG_SINCE_SNAPSHOT: gauge "hypercache_store_log_since_snapshot_bytes" ["store"]
            "What the log has of the store since its last snapshot";
        STORE_SNAPSHOT_TIME: gauge "hypercache_store_last_snapshot_time_seconds" ["store"]
            "When the store's last snapshot was complete, since the Unix epoch";
        STORE_SNAPSHOT_DURATION: gauge "hypercache_store_last_snapshot_duration_seconds" ["store"]
            "How long it took";
        STORE_SNAPSHOT: gauge "hypercache_store_last_snapshot_bytes" ["store"]
            "Its size";
        STORE_SNAPSHOT_KEYS: gauge "hypercache_store_last_snapshot_keys" ["store"]
            "The keys in it";
    }
    "Memory" {
        MEMORY_LIMIT: gauge "hypercache_memory_limit_bytes" []
            "What this member may have: of its control group, its configuration or the machine; 0 when nobody says";
        MEMORY_WORKING_SET: gauge "hypercache_memory_working_set_bytes" []
            "What counts against that limit";
        MEMORY_STAGE: gauge "hypercache_memory_stage" []
            "How far memory has run out: 0 there is room, 1 expired keys are looked for harder, 2 stores evict, 3 writes are refused as well";
        MEMORY_FRAGMENTATION: gauge "hypercache_memory_fragmentation_ratio" []
            "Memory that the allocator holds to memory that the program has allocated";
        MEMORY_ACTIVE: gauge "hypercache_memory_active_bytes" []
            "The pages that hold what the program has allocated";
        MEMORY_HELD: gauge "hypercache_memory_held_bytes" []
            "All pages that the allocator holds, those that it has not given back included";
        MEMORY_FREES_PENDING: gauge "hypercache_memory_frees_pending" []
            "Keys that are gone and whose memory waits to be given back";
        MEMORY_RELIEVED: counter "hypercache_memory_relieved_bytes_total" []
            "What stores evicted because this member's memory ran out";
        MEMORY_PURGES: counter "hypercache_memory_purges_total" []
            "How often free pages were given back to the system";
        MEMORY_MOVES: counter "hypercache_memory_moves_total" []
            "How often all keys' blocks were moved together";
        MEMORY_FREED_KEYS: counter "hypercache_memory_freed_keys_total" []
            "Keys whose memory was given back in the background";
    }
    "The disk, where the member has one" {
        DISK_TOTAL: gauge "hypercache_disk_total_bytes" []
            "The file system of the data directory";
        DISK_FREE: gauge "hypercache_disk_free_bytes" []
            "What of it this process may still take";
        DISK_DEGRADED: gauge "hypercache_disk_degraded" []
            "1 while stores that promise durability refuse writes, because the disk failed";
        DISK_LOADING: gauge "hypercache_disk_loading" []
            "1 while data is read from the disk after the start";
        LOG: gauge "hypercache_log_bytes" []
            "The log of all stores on the disk";
        LOG_SEGMENTS: gauge "hypercache_log_segments" []
            "Its files";
        LOG_LAST_FSYNC: gauge "hypercache_log_last_fsync_duration_seconds" []
            "How long the last fsync of the log took";
        LOG_LONGEST_FSYNC: gauge "hypercache_log_longest_fsync_duration_seconds" []
            "The longest fsync of the log since the start";
        LOG_WAITING_WRITERS: gauge "hypercache_log_waiting_writers" []
            "Writers that wait until what they wrote is on the disk";
        LOG_RECORDS: counter "hypercache_log_records_total" []
            "Records that went to the log";
        LOG_WRITTEN: counter "hypercache_log_written_bytes_total" []
            "Bytes written to the log";
        LOG_WRITES: counter "hypercache_log_writes_total" []
            "How often it was written";
        LOG_FSYNCS: counter "hypercache_log_fsyncs_total" []
            "How often it was forced to the disk";
        LOG_ERRORS: counter "hypercache_log_errors_total" []
            "Writes and fsyncs of it that failed";
        LOG_WRITE_DURATION: histogram "hypercache_log_write_duration_seconds" []
            "How long writing to the log took, without forcing it to the disk";
        LOG_FSYNC_DURATION: histogram "hypercache_log_fsync_duration_seconds" []
            "How long forcing the log to the disk took";
        SNAPSHOT_ERRORS: counter "hypercache_snapshot_errors_total" []
            "Snapshots that failed";
        SNAPSHOTS_IN_PROGRESS: gauge "hypercache_snapshots_in_progress" []
            "Snapshots that are being taken, or wait for their turn";
        RECOVERY_DURATION: gauge "hypercache_recovery_duration_seconds" []
            "How long the data was read from the disk at the start";
        RECOVERY_KEYS: gauge "hypercache_recovery_keys" []
            "Keys that were there then";
        RECOVERY_RECORDS: gauge "hypercache_recovery_records" []
            "Records of the log that were replayed";
        RECOVERY_DAMAGED_FRAMES: gauge "hypercache_recovery_damaged_frames" []
            "Places of the log that were lost to damage";
        RECOVERY_DAMAGED_SNAPSHOTS: gauge "hypercache_recovery_damaged_snapshots" []
            "Parts of snapshots in whose place older ones were used";
        RECOVERY_TORN: gauge "hypercache_recovery_torn_bytes" []
            "What was cut off the log's end";
    }
    "Backups, where they are configured" {
        BACKUP_RUNNING: gauge "hypercache_backup_running" []
            "1 while a backup is made";
        BACKUP_TIME: gauge "hypercache_backup_last_time_seconds" []
            "When the last backup that is complete was begun, since the Unix epoch; 0: none since the start";
        BACKUP_DURATION: gauge "hypercache_backup_last_duration_seconds" []
            "How long it took";
        BACKUP: gauge "hypercache_backup_last_bytes" []
            "Its size";
        BACKUPS: counter "hypercache_backups_total" []
            "Backups that were tried since the start";
        BACKUP_ERRORS: counter "hypercache_backup_errors_total" []
            "Backups that failed";
    }
    "The cluster" {
        CLUSTER_MEMBERS: gauge "hypercache_cluster_members" ["state"]
            "Members of the cluster, by how they seem to this one: `alive`, `suspect`, `down`";
        CLUSTER_QUORUM: gauge "hypercache_cluster_quorum" []
            "1 if a majority of voters stands behind this member";
        CLUSTER_LEADER: gauge "hypercache_cluster_leader" []
            "1 if this member leads";
        CLUSTER_EPOCH: gauge "hypercache_cluster_epoch" []
            "The epoch of the cluster's table";
        CLUSTER_SLOTS_OWNED: gauge "hypercache_cluster_slots_owned" []
            "Slots that this member is the primary of";
        CLUSTER_SLOTS: gauge "hypercache_cluster_slots" ["role"]
            "Slots that this member is the `primary` of, and those that it holds as a `replica`";
        CLUSTER_SLOTS_IN_SYNC: gauge "hypercache_cluster_slots_in_sync" []
            "Of both, those in which it has all that was acknowledged";
        CLUSTER_SLOTS_ASSIGNED: gauge "hypercache_cluster_slots_assigned" []
            "Slots that any member owns, of 16384";
        CLUSTER_SLOTS_MISPLACED: gauge "hypercache_cluster_slots_misplaced" []
            "Slots whose owners are not those that the ring wants, so that they move, or shall";
        RAFT_TERM: gauge "hypercache_raft_term" []
            "Raft's term";
        RAFT_LAST_INDEX: gauge "hypercache_raft_last_index" []
            "The last entry of this member's log of Raft";
        RAFT_COMMITTED_INDEX: gauge "hypercache_raft_committed_index" []
            "The last entry that this member knows is decided";
        RAFT_APPLIED_INDEX: gauge "hypercache_raft_applied_index" []
            "The last entry that is in this member's table";
        RAFT_COMMIT_LAG: gauge "hypercache_raft_commit_lag_entries" []
            "Entries of its log that are not decided, as far as it knows";
        RAFT_VOTERS: gauge "hypercache_raft_voters" ["state"]
            "Members that vote, by how they seem to this one: `alive`, `silent`";
        GOSSIP_DATAGRAMS: counter "hypercache_gossip_datagrams_total" ["event"]
            "Gossip's datagrams: `sent`, `received` and used, or dropped as `malformed`, of a `foreign_version`, `unauthenticated`, or of an `other_cluster`";
        FAIL_OVERS: counter "hypercache_fail_overs_total" []
            "How often this member, as the leader, gave slots another primary because theirs could not serve any more";
        FAILED_OVER_SLOTS: counter "hypercache_failed_over_slots_total" ["to"]
            "Slots that it gave to a `copy`, and those that were begun `empty`";
    }
    "Replication" {
        REPLICATION_SLOTS_PRIMARY: gauge "hypercache_replication_slots_primary" []
            "Slots of which this member is the primary";
        REPLICATION_SLOTS_UNDER_REPLICATED: gauge "hypercache_replication_slots_under_replicated" []
            "Of these, slots with fewer owners in sync than stores ask for and members can give";
        REPLICATION_SLOTS_HANDED_OVER: counter "hypercache_replication_slots_handed_over_total" []
            "Slots that this member gave to another with everything";
        REPLICATION_SLOTS_DEPOSED: counter "hypercache_replication_slots_deposed_total" []
            "Slots of which this member heard from a replica that another is the primary";
        REPLICATION_SLOTS_CHECKED: counter "hypercache_replication_slots_checked_total" []
            "Copies of slots on this member that were compared with what their primaries hold";
        REPLICATION_SLOTS_DIFFERING: counter "hypercache_replication_slots_differing_total" []
            "Of these, copies that were not the same";
        REPLICATION_SLOTS_REPAIRED: counter "hypercache_replication_slots_repaired_total" []
            "Of these, copies that their primaries have replaced";
        REPLICATION_SLOTS_UNCHECKED: counter "hypercache_replication_slots_unchecked_total" []
            "Times that a slot was not compared with its copies, as it holds too much to be read at once";
        LINK_UP: gauge "hypercache_replication_link_up" ["to"]
            "1 while the other member answers";
        LINK_BEHIND: gauge "hypercache_replication_link_behind_bytes" ["to"]
            "What the other member has not confirmed yet";
        LINK_BEHIND_RECORDS: gauge "hypercache_replication_link_behind_records" ["to"]
            "The same, in records: each is what a command, or what expired or left for room, did to a slot";
        LINK_BEHIND_CYCLES: gauge "hypercache_replication_link_behind_cycles" ["to"]
            "The same, in cycles of the link: each is all that waited to be sent at once";
        LINK_LAG: gauge "hypercache_replication_link_lag_seconds" ["to"]
            "How long the other member was not heard while something was asked of it";
        LINK_SESSIONS: counter "hypercache_replication_link_sessions_total" ["to"]
            "Sessions that were begun";
        LINK_RESUMED: counter "hypercache_replication_link_resumed_total" ["to"]
            "Connections over which a session went on";
        LINK_CYCLES: counter "hypercache_replication_link_cycles_total" ["to"]
            "Cycles that were sent";
        LINK_RESENT_CYCLES: counter "hypercache_replication_link_resent_cycles_total" ["to"]
            "Of these, again";
        LINK_SENT: counter "hypercache_replication_link_sent_bytes_total" ["to"]
            "What cycles and pieces of slots had";
        LINK_ATTACHED_BY_LOG: counter "hypercache_replication_link_attached_by_log_total" ["to"]
            "Slots that went on from where the other member was";
        LINK_ATTACHED_BY_SNAPSHOT: counter "hypercache_replication_link_attached_by_snapshot_total" ["to"]
            "Slots that the other member got as a whole";
        LINK_SNAPSHOT: counter "hypercache_replication_link_snapshot_bytes_total" ["to"]
            "What the pieces of these had: what moves of slots cost";
        LINK_REFUSED_SLOTS: counter "hypercache_replication_link_refused_slots_total" ["to"]
            "Slots of which the other member did not take records";
    }
}
