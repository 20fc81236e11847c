//! Publishing and subscribing.

use super::prelude::*;

const ASKS: F = F::PUBSUB.union(F::LOADING).union(F::STALE);
const SUBSCRIBES: F = ASKS.union(F::NOSCRIPT);

/// A channel stands where a key would, so that clients of a cluster find its slot.
const SHARD_CHANNELS: [Key; 1] = [Key::at(1, &["not_key"]).to(-1, 1)];
const SHARD_CHANNEL: [Key; 1] = [Key::at(1, &["not_key"])];

const PATTERN: [Arg; 1] = [Arg::new("pattern", "pattern").optional()];

/// Subcommands of PUBSUB.
pub(super) const PUBSUB_LIST: [Spec; 6] = [
    Spec::new(
        "pubsub|channels",
        -2,
        Group::PubSub,
        "2.8.0",
        "O(N) for N channels",
        "Lists the channels that clients of this member are subscribed to.",
    )
    .flags(ASKS)
    .args(&PATTERN)
    .run(Run::Shell(PubSubChannels)),
    Spec::new("pubsub|help", 2, Group::PubSub, "6.2.0", "O(1)", "Lists the subcommands.")
        .flags(F::LOADING.union(F::STALE))
        .run(Run::Shell(Help)),
    Spec::new(
        "pubsub|numpat",
        2,
        Group::PubSub,
        "2.8.0",
        "O(1)",
        "Counts the different patterns that clients of this member are subscribed to.",
    )
    .flags(ASKS)
    .run(Run::Shell(PubSubNumPat)),
    Spec::new(
        "pubsub|numsub",
        -2,
        Group::PubSub,
        "2.8.0",
        "O(N) for N channels named",
        "Counts this member's subscribers of each channel.",
    )
    .flags(ASKS)
    .args(&[Arg::new("channel", "string").optional().multiple()])
    .run(Run::Shell(PubSubNumSub)),
    Spec::new(
        "pubsub|shardchannels",
        -2,
        Group::PubSub,
        "7.0.0",
        "O(N) for N shard channels",
        "Lists the shard channels that clients of this member are subscribed to.",
    )
    .flags(ASKS)
    .args(&PATTERN)
    .run(Run::Shell(PubSubShardChannels)),
    Spec::new(
        "pubsub|shardnumsub",
        -2,
        Group::PubSub,
        "7.0.0",
        "O(N) for N shard channels named",
        "Counts this member's subscribers of each shard channel.",
    )
    .flags(ASKS)
    .args(&[Arg::new("shardchannel", "string").optional().multiple()])
    .run(Run::Shell(PubSubShardNumSub)),
];
static PUBSUB: [Spec; 6] = numbered(PUBSUB_LIST, super::PUBSUB_FIRST);

/// The commands of this family.
pub(super) const LIST: [Spec; 9] = [
    Spec::new(
        "subscribe",
        -2,
        Group::PubSub,
        "2.0.0",
        "O(N) for N channels named",
        "Listens to channels.",
    )
    .flags(SUBSCRIBES)
    .args(&[Arg::new("channel", "string").multiple()])
    .run(Run::Shell(Subscribe)),
    Spec::new(
        "unsubscribe",
        -1,
        Group::PubSub,
        "2.0.0",
        "O(N) for N channels",
        "Listens no longer to channels, or to any.",
    )
    .flags(SUBSCRIBES)
    .args(&[Arg::new("channel", "string").optional().multiple()])
    .run(Run::Shell(Unsubscribe)),
    Spec::new(
        "psubscribe",
        -2,
        Group::PubSub,
        "2.0.0",
        "O(N) for N patterns named",
        "Listens to the channels whose names match patterns.",
    )
    .flags(SUBSCRIBES)
    .args(&[Arg::new("pattern", "block").multiple().of(&[Arg::new("pattern", "pattern")])])
    .run(Run::Shell(PSubscribe)),
    Spec::new(
        "punsubscribe",
        -1,
        Group::PubSub,
        "2.0.0",
        "O(N) for N patterns",
        "Listens no longer to patterns, or to any.",
    )
    .flags(SUBSCRIBES)
    .args(&[Arg::new("pattern", "pattern").optional().multiple()])
    .run(Run::Shell(PUnsubscribe)),
    Spec::new(
        "ssubscribe",
        -2,
        Group::PubSub,
        "7.0.0",
        "O(N) for N shard channels named",
        "Listens to shard channels.",
    )
    .flags(SUBSCRIBES)
    .keyed(&SHARD_CHANNELS)
    .args(&[Arg::new("shardchannel", "string").multiple()])
    .run(Run::Shell(SSubscribe)),
    Spec::new(
        "sunsubscribe",
        -1,
        Group::PubSub,
        "7.0.0",
        "O(N) for N shard channels",
        "Listens no longer to shard channels, or to any.",
    )
    .flags(SUBSCRIBES)
    .keyed(&SHARD_CHANNELS)
    .args(&[Arg::new("shardchannel", "string").optional().multiple()])
    .run(Run::Shell(SUnsubscribe)),
    Spec::new(
        "publish",
        3,
        Group::PubSub,
        "2.0.0",
        "O(N+M) for N subscribers of the channel and M patterns in use",
        "Sends a message to a channel's subscribers on all members.",
    )
    .flags(ASKS.union(F::FAST))
    .args(&[Arg::new("channel", "string"), Arg::new("message", "string")])
    .run(Run::Shell(Publish)),
    Spec::new(
        "spublish",
        3,
        Group::PubSub,
        "7.0.0",
        "O(N) for N subscribers of the shard channel",
        "Sends a message to a shard channel's subscribers on all members.",
    )
    .flags(ASKS.union(F::FAST))
    .keyed(&SHARD_CHANNEL)
    .args(&[Arg::new("shardchannel", "string"), Arg::new("message", "string")])
    .run(Run::Shell(SPublish)),
    Spec::new(
        "pubsub",
        -2,
        Group::PubSub,
        "2.8.0",
        "As its subcommand",
        "Tells who listens to what on this member.",
    )
    .run(Run::Shell(Container))
    .subcommands(&PUBSUB),
];
