//! How commands differ from what Redis 7.0 and Valkey 9.1 do: what `docs/compatibility.md` says of
//! them. A difference that is no bug stands here; a test makes the document from it.

/// Commands that are here and differ, and in what. The names are those of the table.
pub const DIFFERS: &[(&str, &str)] = &[
    (
        "asking",
        "answers OK and changes nothing: a slot is another member's at one moment, with all that it holds, so that nobody \
         is sent by an ASK",
    ),
    (
        "bgrewriteaof",
        "snapshots of all logged stores, after which the log before them goes; an error when no store is logged",
    ),
    ("bgsave", "of the stores that are kept on this member's disk; an error when none is"),
    (
        "bitfield",
        "if it makes the key and all its writes fail, whoever watches the key hears of it; in Redis not",
    ),
    (
        "client|capa",
        "answers OK; there is nothing to redirect, as every member answers for every key",
    ),
    (
        "client|kill",
        "masters and replicas are no clients here: `TYPE master` and `TYPE replica` find none",
    ),
    (
        "client|list",
        "file descriptor, argument memory and output buffers of normal clients are not told (`fd=-1`)",
    ),
    (
        "client|no-evict",
        "kept and shown; connections are never closed for the memory of all of them together",
    ),
    (
        "client|no-touch",
        "holds for keys of the member that the client is connected to; keys of others are touched",
    ),
    (
        "client|pause",
        "pauses the clients of this member; commands for its slots that come from other members wait for up to \
         `network.request_timeout`, then answer CLUSTERDOWN; HTTP goes on. Keys whose lifetime ends meanwhile stay \
         unseen until the end of the pause, as in Valkey 9.1",
    ),
    ("client|trackinginfo", "always `off`: CLIENT TRACKING is not there yet"),
    (
        "cluster|info",
        "tells of this cluster in Redis's fields; there is no cluster bus, so nothing of its messages",
    ),
    ("cluster|nodes", "the port behind `@` is that of gossip"),
    (
        "command|docs",
        "summaries in words of our own; `history` follows from the versions of arguments",
    ),
    ("commandlog|get", "of this member; a transaction is one command"),
    ("config|get", "the parameters of the list below"),
    ("config|rewrite", "answers an error: the file is not the server's to write"),
    (
        "config|set",
        "the parameters of the list below; `maxmemory`, `maxmemory-policy`, `appendonly`, `appendfsync`, `save` (one \
         pair, of an interval and 1) and `auto-aof-rewrite-*` are the store `default`'s, for the whole cluster",
    ),
    ("copy", "takes `DB`, as the databases are the stores"),
    ("dbsize", "counts the keys of all members"),
    (
        "eval",
        "stopped at `script.time_limit` (at twice that once it has written) where Redis answers BUSY and goes on; in a \
         cluster of several members, keys that are not named are in the script's slot; decision 14 says more",
    ),
    ("evalsha", "as EVAL; the script may be one that any other member knows"),
    (
        "exec",
        "the keys of a transaction are in one slot, in a cluster of several members; the slow log shows EXEC, not its commands",
    ),
    ("flushall", "on all members"),
    ("flushdb", "on all members"),
    ("hello", "has no ACL users but `default`"),
    (
        "info",
        "the sections and fields that have a meaning here; `commandstats` counts where the client is connected; \
         `rdb_changes_since_last_save` counts records of logged stores",
    ),
    ("keys", "of all members"),
    ("script|debug", "there is no debugger: `YES` and `SYNC` answer an error"),
    ("script|exists", "1 where any member knows the script: each can run it then"),
    ("script|flush", "on all members"),
    ("script|kill", "ends the script, on any member, that has run longest without having written"),
    ("script|load", "on all members"),
    ("latency|doctor", "in words of our own"),
    ("latency|histogram", "as precise as a sixteenth of each time"),
    ("latency|latest", "the events are `command`, `fast-command` and `expire-cycle`"),
    ("lastsave", "of this member, whichever store it was; before the first snapshot, its start"),
    ("lpos", "`RANK -9223372036854775808` is refused by Redis 7.0 and here"),
    ("memory|doctor", "in words of our own"),
    (
        "memory|stats",
        "the figures that have a meaning here; a store's tables are counted with its keys",
    ),
    ("memory|usage", "counted, not estimated; `SAMPLES` changes nothing"),
    (
        "object|encoding",
        "small sets of strings are `hashtable`, as in Redis 7.0; lists are always `quicklist`",
    ),
    (
        "object|freq",
        "counts under `lfu` and `wtinylfu`; 5 for a key that was used once, 255 for the highest",
    ),
    ("object|refcount", "always 1: nothing is shared"),
    ("multi", "a MULTI or WATCH inside it spoils the transaction, as in Valkey 9.1; see EXEC"),
    ("publish", "to subscribers on all members; the number told is of those on this one"),
    ("randomkey", "of any member"),
    (
        "readonly",
        "`READONLY [MAXSTALE milliseconds]`: reads over one slot are answered from this member's copy while that is \
         surely no older than so (1000 by default, up to 60000); all others go to the slot's primary",
    ),
    ("readwrite", "ends READONLY"),
    ("save", "waits, and other clients go on; as BGSAVE"),
    ("scan", "of all members; cursors have 64 bits and carry the slot"),
    ("select", "takes the number or the name of a store"),
    (
        "slowlog|get",
        "of this member; the time is from the end of the command before it, parsing included; a script's commands, as \
         in Valkey 9.1, of scripts that ran here for clients of this member",
    ),
    (
        "sort",
        "in a cluster of several members, `BY` and `GET` patterns need the hash tag of the key, so that one member has all; \
         `ALPHA` compares all bytes of the strings, where Redis stops at the first NUL",
    ),
    ("sort_ro", "as SORT"),
    ("spublish", "as PUBLISH"),
    (
        "wait",
        "counts, slot by slot, the members beside the primary that have what the connection has written, and tells the \
         least; what a store promises without it is its `acks`",
    ),
    (
        "waitaof",
        "waits for all that was written on the member that the client is connected to, with `fsync never` too; other members \
         count once they have it on their disks",
    ),
    ("zrank", "takes `WITHSCORE`, as Redis 7.2 and Valkey"),
    ("zrevrank", "takes `WITHSCORE`, as Redis 7.2 and Valkey"),
];

/// Commands that will not be here, and why. The names are Redis's.
pub const NOT_HERE: &[(&str, &str)] = &[
    ("cluster|addslots", "slots are the cluster's to assign"),
    ("cluster|addslotsrange", "slots are the cluster's to assign"),
    ("cluster|bumpepoch", "epochs are the cluster's"),
    ("cluster|count-failure-reports", "failures are found by gossip, and decided by consensus"),
    ("cluster|delslots", "slots are the cluster's to assign"),
    ("cluster|delslotsrange", "slots are the cluster's to assign"),
    ("cluster|failover", "promotions are the cluster's to decide"),
    ("cluster|flushslots", "slots are the cluster's to assign"),
    ("cluster|forget", "members leave by the admin API"),
    ("cluster|meet", "members join by their configuration"),
    ("cluster|replicate", "who replicates what is the cluster's to assign"),
    ("cluster|reset", "members leave by the admin API"),
    ("cluster|saveconfig", "the cluster's table is always on disk"),
    ("cluster|set-config-epoch", "epochs are the cluster's"),
    ("cluster|setslot", "slots are the cluster's to assign"),
    ("debug", "for the developers of Redis"),
    ("failover", "promotions are the cluster's to decide"),
    ("module", "there are no modules"),
    ("module|help", "there are no modules"),
    ("module|list", "there are no modules"),
    ("module|load", "there are no modules"),
    ("module|loadex", "there are no modules"),
    ("module|unload", "there are no modules"),
    ("move", "stores are databases: COPY with `DB`, then DEL"),
    ("pfdebug", "for the developers of Redis"),
    ("pfselftest", "for the developers of Redis"),
    ("psync", "replication is not Redis's"),
    ("replconf", "replication is not Redis's"),
    ("replicaof", "who replicates what is the cluster's to assign"),
    ("restore-asking", "slots move by themselves"),
    ("shutdown", "SIGTERM ends a member in order"),
    ("slaveof", "who replicates what is the cluster's to assign"),
    ("swapdb", "stores have policies of their own, which do not swap"),
    ("sync", "replication is not Redis's"),
];

/// What differs in general: what, and why.
pub const IN_GENERAL: &[(&str, &str)] = &[
    (
        "Scores and other doubles are written in the shortest form that reads back as the same",
        "as Valkey 9.1; Redis 7.0 writes 17 digits",
    ),
    (
        "Negative counts of SRANDMEMBER, HRANDFIELD and ZRANDMEMBER below −4,194,304 are refused",
        "they ask for that many members with repetitions: one reply must not take all memory",
    ),
    (
        "A HyperLogLog whose bytes were changed so that they end within a run is refused as corrupted",
        "Redis reads, and PFADD writes, beyond the string's end",
    ),
    (
        "Cursors below 0 are refused",
        "`SCAN -1` is no cursor that anybody was given; Redis takes it for the largest",
    ),
    (
        "Commands over several keys answer CROSSSLOT if their keys are in different slots of a cluster of several \
         members, but for MGET, MSET, DEL, UNLINK, EXISTS and TOUCH, which are split",
        "see decision 4; a lone member takes any keys",
    ),
    (
        "DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL and FLUSHDB mean the whole cluster, whichever member is asked",
        "see decision 5",
    ),
    (
        "Who leaves a full store is chosen by other means than samples, and the default policy is `wtinylfu`",
        "see decision 7",
    ),
    (
        "A value stays in its large encoding when it becomes small again, and the thresholds are fixed",
        "see decision 6; OBJECT ENCODING says what Redis says with its defaults",
    ),
    (
        "EXPIRE and GETEX with a time that is over publish the event `expired`, and count as an expired key",
        "as Valkey 9.1; Redis 7.0 publishes `del`",
    ),
    (
        "A store's budget (`maxmemory`) is at least 1 MB",
        "below that there is no room for what a store needs itself",
    ),
    (
        "Errors of `redis.call` and of the library of scripts have Valkey's words (`Unknown command called from script`)",
        "as Valkey 9.1; the place behind them names the script's digest, as in Redis 7.0",
    ),
    (
        "In an inline command, more of a word may follow a closing quote; CR and LF are looked for behind every line and string",
        "as Valkey 9.1",
    ),
    (
        "SORT of a set by a constant, from a script, gives the members in order",
        "as in Redis and Valkey; outside of scripts in none",
    ),
    (
        "Ranges of members (ZRANGEBYLEX and its kin) in a sorted set whose scores differ",
        "what they give is not specified; in Redis it is a matter of chance once the set is large",
    ),
    (
        "HELP of a command is made from its arguments",
        "so that it is always true; the words are not Redis's",
    ),
];
