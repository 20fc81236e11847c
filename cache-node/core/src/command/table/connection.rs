//! The connection itself.

use super::prelude::*;

/// Subcommands of CLIENT.
pub(super) const CLIENT_LIST: [Spec; 17] = [
    Spec::new(
        "client|getname",
        2,
        Group::Connection,
        "2.6.9",
        "O(1)",
        "Tells the connection's name.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(ClientGetName)),
    Spec::new("client|help", 2, Group::Connection, "5.0.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .acl(Acl::CONNECTION)
        .run(Run::Shell(Help)),
    Spec::new("client|id", 2, Group::Connection, "5.0.0", "O(1)", "Tells the connection's number.")
        .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE))
        .acl(Acl::CONNECTION)
        .run(Run::Shell(ClientId)),
    Spec::new("client|info", 2, Group::Connection, "6.2.0", "O(1)", "Describes the connection.")
        .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE))
        .acl(Acl::CONNECTION)
        .tips(&["nondeterministic_output"])
        .run(Run::Shell(ClientInfo)),
    Spec::new(
        "client|kill",
        -3,
        Group::Connection,
        "2.4.0",
        "O(N) for N connections",
        "Ends connections.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("filter", "oneof").of(&[
        Arg::new("ip:port", "string"),
        Arg::new("new-format", "oneof").multiple().of(&[
            Arg::new("client-id", "integer").token("ID").since("2.8.12").optional(),
            Arg::new("normal_master_slave_pubsub", "oneof")
                .token("TYPE")
                .since("2.8.12")
                .optional()
                .of(&[
                    Arg::word("normal", "NORMAL"),
                    Arg::word("master", "MASTER").since("3.2.0"),
                    Arg::word("slave", "SLAVE"),
                    Arg::word("replica", "REPLICA").since("5.0.0"),
                    Arg::word("pubsub", "PUBSUB"),
                ]),
            Arg::new("username", "string").token("USER").optional(),
            Arg::new("ip:port", "string").token("ADDR").optional(),
            Arg::new("ip:port", "string").token("LADDR").since("6.2.0").optional(),
            Arg::new("yes/no", "string").token("SKIPME").optional(),
        ]),
    ])])
    .run(Run::Shell(ClientKill)),
    Spec::new(
        "client|list",
        -2,
        Group::Connection,
        "2.4.0",
        "O(N) for N connections",
        "Lists the connections.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .tips(&["nondeterministic_output"])
    .args(&[
        Arg::new("normal_master_replica_pubsub", "oneof")
            .token("TYPE")
            .since("5.0.0")
            .optional()
            .of(&[
                Arg::word("normal", "NORMAL"),
                Arg::word("master", "MASTER"),
                Arg::word("replica", "REPLICA"),
                Arg::word("pubsub", "PUBSUB"),
            ]),
        Arg::new("id", "block").token("ID").since("6.2.0").optional().of(&[Arg::new(
            "client-id",
            "integer",
        )
        .multiple()]),
    ])
    .run(Run::Shell(ClientList)),
    Spec::new("client|setname", 3, Group::Connection, "2.6.9", "O(1)", "Names the connection.")
        .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE))
        .acl(Acl::CONNECTION)
        .args(&[Arg::new("connection-name", "string")])
        .run(Run::Shell(ClientSetName)),
    Spec::new(
        "client|setinfo",
        4,
        Group::Connection,
        "7.2.0",
        "O(1)",
        "Tells the server which client library is in use.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .args(&[Arg::new("attr", "oneof").of(&[
        Arg::new("libname", "string").token("LIB-NAME"),
        Arg::new("libver", "string").token("LIB-VER"),
    ])])
    .run(Run::Shell(ClientSetInfo)),
    Spec::new(
        "client|pause",
        -3,
        Group::Connection,
        "3.0.0",
        "O(1)",
        "Lets commands wait for a time.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .args(&[
        Arg::new("timeout", "integer"),
        Arg::new("mode", "oneof")
            .since("6.2.0")
            .optional()
            .of(&[Arg::word("write", "WRITE"), Arg::word("all", "ALL")]),
    ])
    .run(Run::Shell(ClientPause)),
    Spec::new(
        "client|unpause",
        2,
        Group::Connection,
        "6.2.0",
        "O(N) for N paused connections",
        "Lets commands that wait go on.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(ClientUnpause)),
    Spec::new(
        "client|no-evict",
        3,
        Group::Connection,
        "7.0.0",
        "O(1)",
        "Keeps the connection when connections are closed for their memory.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("enabled", "oneof").of(&[Arg::word("on", "ON"), Arg::word("off", "OFF")])])
    .run(Run::Shell(ClientNoEvict)),
    Spec::new(
        "client|no-touch",
        3,
        Group::Connection,
        "7.2.0",
        "O(1)",
        "Says whether the connection's commands count as a use of their keys.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("enabled", "oneof").of(&[Arg::word("on", "ON"), Arg::word("off", "OFF")])])
    .run(Run::Shell(ClientNoTouch)),
    Spec::new(
        "client|trackinginfo",
        2,
        Group::Connection,
        "6.2.0",
        "O(1)",
        "Tells how the connection is told of changed keys.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(ClientTrackingInfo)),
    Spec::new(
        "client|reply",
        3,
        Group::Connection,
        "3.2.0",
        "O(1)",
        "Says whether the connection wants replies.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::NO_MULTI).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("action", "oneof").of(&[
        Arg::word("on", "ON"),
        Arg::word("off", "OFF"),
        Arg::word("skip", "SKIP"),
    ])])
    .run(Run::Shell(ClientReply)),
    Spec::new(
        "client|getredir",
        2,
        Group::Connection,
        "6.0.0",
        "O(1)",
        "Tells which connection is told of changed keys in this one's place.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .run(Run::Shell(ClientGetRedir)),
    Spec::new(
        "client|capa",
        -3,
        Group::Connection,
        "8.0.0",
        "O(1)",
        "Says what the client is able to do.",
    )
    .flags(F::NOSCRIPT.union(F::LOADING).union(F::STALE).union(F::ALLOW_BUSY))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("capability", "string").multiple()])
    .run(Run::Shell(ClientCapa)),
    Spec::new(
        "client|unblock",
        -3,
        Group::Connection,
        "5.0.0",
        "O(log N) for N connections",
        "Ends another connection's wait for keys.",
    )
    .flags(F::ADMIN.union(F::NOSCRIPT).union(F::LOADING).union(F::STALE))
    .acl(Acl::CONNECTION)
    .args(&[
        Arg::new("client-id", "integer"),
        Arg::new("timeout_error", "oneof")
            .optional()
            .of(&[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")]),
    ])
    .run(Run::Shell(ClientUnblock)),
];
static CLIENT: [Spec; 17] = numbered(CLIENT_LIST, super::CLIENT_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 8] = [
    Spec::new(
        "ping",
        -1,
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Answers PONG, or what it was given.",
    )
    .flags(F::FAST)
    .acl(Acl::CONNECTION)
    .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .args(&[Arg::new("message", "string").optional()])
    .run(Run::Shell(Ping)),
    Spec::new("echo", 2, Group::Connection, "1.0.0", "O(1)", "Answers what it was given.")
        .flags(F::LOADING.union(F::STALE).union(F::FAST))
        .acl(Acl::CONNECTION)
        .args(&[Arg::new("message", "string")])
        .run(Run::Shell(Echo)),
    Spec::new(
        "hello",
        -1,
        Group::Connection,
        "6.0.0",
        "O(1)",
        "Chooses the protocol version, and optionally authenticates and names the connection.",
    )
    .flags(
        F::NOSCRIPT
            .union(F::LOADING)
            .union(F::STALE)
            .union(F::FAST)
            .union(F::NO_AUTH)
            .union(F::ALLOW_BUSY),
    )
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("arguments", "block").optional().of(&[
        Arg::new("protover", "integer"),
        Arg::new("username_password", "block")
            .token("AUTH")
            .optional()
            .of(&[Arg::new("username", "string"), Arg::new("password", "string")]),
        Arg::new("clientname", "string").token("SETNAME").optional(),
    ])])
    .run(Run::Shell(Hello)),
    Spec::new("auth", -2, Group::Connection, "1.0.0", "O(1)", "Authenticates the connection.")
        .flags(
            F::NOSCRIPT
                .union(F::LOADING)
                .union(F::STALE)
                .union(F::FAST)
                .union(F::NO_AUTH)
                .union(F::ALLOW_BUSY),
        )
        .acl(Acl::CONNECTION)
        .args(&[
            Arg::new("username", "string").since("6.0.0").optional(),
            Arg::new("password", "string"),
        ])
        .run(Run::Shell(Auth)),
    Spec::new(
        "select",
        2,
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Chooses a store by number or name.",
    )
    .flags(F::LOADING.union(F::STALE).union(F::FAST))
    .acl(Acl::CONNECTION)
    .args(&[Arg::new("index", "integer")])
    .run(Run::Shell(Select)),
    Spec::new("quit", -1, Group::Connection, "1.0.0", "O(1)", "Ends the connection.")
        .flags(
            F::NOSCRIPT
                .union(F::LOADING)
                .union(F::STALE)
                .union(F::FAST)
                .union(F::NO_AUTH)
                .union(F::ALLOW_BUSY),
        )
        .acl(Acl::CONNECTION)
        .run(Run::Shell(Quit)),
    Spec::new(
        "reset",
        1,
        Group::Connection,
        "6.2.0",
        "O(1)",
        "Puts the connection back to how it began.",
    )
    .flags(
        F::NOSCRIPT
            .union(F::LOADING)
            .union(F::STALE)
            .union(F::FAST)
            .union(F::NO_AUTH)
            .union(F::ALLOW_BUSY),
    )
    .acl(Acl::CONNECTION)
    .run(Run::Shell(Reset)),
    Spec::new(
        "client",
        -2,
        Group::Connection,
        "2.4.0",
        "As its subcommand",
        "Looks at and changes connections.",
    )
    .run(Run::Shell(Container))
    .subcommands(&CLIENT),
];
