//! The commands that the server carries out itself: of the connection, the server, the cluster.

mod client;
mod client_filter;
mod client_modes;
mod config;
mod config_disk;
pub mod config_kept;
mod connection;
mod latency;
mod memory;
pub(super) mod persistence;
mod pubsub;
pub(super) mod replication;
mod scripts;
mod slowlog;
mod stores;
mod transactions;

pub(crate) use connection::REDIS_VERSION;
pub use pubsub::allowed_while_subscribed;
pub(super) use transactions::{abandon, refused};

use hypercache_core::command::{Run, ShellCommand, Spec, introspect};
use hypercache_core::resp::Writer;

use super::session::Session;
use super::{Shared, audit, info};
use crate::clock::now_ms;
use crate::pubsub::{Target, Topic};
use hypercache_core::cluster::{View, cluster_reply};

/// What a command may read and change.
struct Context<'a> {
    shared: &'a Shared,
    session: &'a mut Session,
    view: &'a View,
}

/// Carries a command out and appends its reply to `out`.
pub fn run(
    shared: &Shared,
    session: &mut Session,
    view: &View,
    spec: &'static Spec,
    command: ShellCommand,
    args: &[&[u8]],
    out: &mut Vec<u8>,
) {
    use ShellCommand as C;
    let (protocol, start) = (session.protocol, out.len());
    let mut context = Context { shared, session, view };
    let writer = &mut Writer::new(out, protocol);
    match command {
        C::Ping if context.session.only_subscribes() => pubsub::ping(args, writer),
        C::Ping => connection::ping(args, writer),
        C::Echo => writer.bulk(args[1]),
        // HELLO answers in the protocol that it has just chosen.
        C::Hello => connection::hello(&mut context, args, out),
        C::Auth => connection::auth(&mut context, args, writer),
        C::Select => connection::select(&mut context, args, writer),
        C::Quit => {
            context.session.closing = true;
            writer.simple("OK");
        }
        C::Reset => {
            abandon(shared, context.session);
            let open = shared.tunables.read().password.is_none();
            context.session.reset(open);
            Writer::new(out, context.session.protocol).simple("RESET");
        }
        C::ClientId => writer.integer(context.session.client.id as i64),
        C::ClientGetName => client::get_name(&context, writer),
        C::ClientSetName => client::set_name(&context, args, writer),
        C::ClientSetInfo => client::set_info(&context, args, writer),
        C::ClientList => client::list(&context, args, writer),
        C::ClientInfo => writer.verbatim("txt", &context.session.client.line(now_ms())),
        C::ClientUnblock => client::unblock(&context, args, writer),
        C::ClientKill => client::kill(&mut context, args, writer),
        C::ClientPause => client_modes::pause(&context, args, writer),
        C::ClientUnpause => client_modes::unpause(&context, writer),
        C::ClientNoEvict => client_modes::no_evict(&context, args, writer),
        C::ClientNoTouch => client_modes::no_touch(&mut context, args, writer),
        C::ClientTrackingInfo => client_modes::tracking_info(writer),
        C::ClientReply => client_modes::reply(&mut context, args, writer),
        C::ClientGetRedir => writer.integer(-1),
        C::ClientCapa => client::capa(&context, args, writer),
        C::Info => writer.verbatim("txt", info::text(shared, view, &args[1..]).as_bytes()),
        C::Time => connection::time(writer),
        C::Command | C::Help => introspect(args, writer),
        C::ConfigGet => config::get(&context, args, writer),
        C::ConfigSet => config::set(&context, args, writer),
        C::ConfigResetStat => {
            shared.stats.reset();
            *shared.counted_before.lock() = info::StoreCounts::now(shared);
            writer.simple("OK");
        }
        C::ConfigRewrite => config::rewrite(writer),
        C::MemoryDoctor => memory::doctor(&context, writer),
        C::MemoryMallocStats => memory::malloc_stats(writer),
        C::MemoryPurge => memory::purge(writer),
        C::MemoryStats => memory::stats(&context, writer),
        C::SlowlogGet => slowlog::get(&context, args, writer),
        C::SlowlogLen => slowlog::len(&context, writer),
        C::SlowlogReset => slowlog::reset(&context, writer),
        C::CommandlogGet => slowlog::command_get(&context, args, writer),
        C::CommandlogLen => slowlog::command_len(&context, args, writer),
        C::CommandlogReset => slowlog::command_reset(&context, args, writer),
        C::LatencyDoctor => latency::doctor(&context, writer),
        C::LatencyGraph => latency::graph(&context, args, writer),
        C::LatencyHistogram => latency::histogram(&context, args, writer),
        C::LatencyHistory => latency::history(&context, args, writer),
        C::LatencyLatest => latency::latest(&context, writer),
        C::LatencyReset => latency::reset(&context, args, writer),
        C::ClusterShards
        | C::ClusterSlots
        | C::ClusterNodes
        | C::ClusterInfo
        | C::ClusterMyId
        | C::ClusterKeySlot
        | C::ClusterCountKeysInSlot => {
            let keyspace = shared.keyspace();
            let store = context.session.store;
            let count = |slot| keyspace.count_keys_in_slot(store, slot);
            let redirects = context.session.redirects;
            cluster_reply(view, &args[1..], redirects, count, now_ms(), writer);
        }
        C::Stores => stores::list(&context, writer),
        C::LastSave => persistence::last_save(&context, writer),
        C::BgSave => persistence::bg_save(&context, args, writer),
        C::BgRewriteAof => persistence::bg_rewrite_aof(&context, writer),
        // Inside a transaction: what is so now.
        C::WaitAof => persistence::wait_aof_now(&context, args, writer),
        C::Wait => replication::wait_now(&context, args, writer),
        C::Role => replication::role(&context, writer),
        C::ReadOnly => replication::read_only(&mut context, args, writer),
        // Slots move at one moment, with all that they hold: nobody was sent by an ASK.
        C::Asking => writer.simple("OK"),
        C::ReadWrite => {
            context.session.set_max_stale(None);
            writer.simple("OK");
        }
        C::Multi => transactions::multi(&mut context, writer),
        C::Discard => transactions::discard(&mut context, writer),
        C::Unwatch => transactions::unwatch(&mut context, writer),
        // These wait.
        C::Exec | C::Watch | C::Save => {
            writer.error("ERR this command is not one for a transaction")
        }
        C::ScriptLoad | C::ScriptExists | C::ScriptFlush | C::ScriptKill | C::ScriptShow => {
            writer.error("ERR this command waits for other members");
        }
        C::ScriptDebug => scripts::debug(args, writer),
        C::Subscribe => pubsub::subscribe(&mut context, Topic::Channel, args, out),
        C::PSubscribe => pubsub::subscribe(&mut context, Topic::Pattern, args, out),
        C::SSubscribe => pubsub::subscribe(&mut context, Topic::Shard, args, out),
        C::Unsubscribe => pubsub::unsubscribe(&mut context, Topic::Channel, args, out),
        C::PUnsubscribe => pubsub::unsubscribe(&mut context, Topic::Pattern, args, out),
        C::SUnsubscribe => pubsub::unsubscribe(&mut context, Topic::Shard, args, out),
        C::Publish => pubsub::publish(&context, Target::Channel, args, writer),
        C::SPublish => pubsub::publish(&context, Target::Shard, args, writer),
        C::PubSubChannels => pubsub::names(&context, Topic::Channel, args, writer),
        C::PubSubShardChannels => pubsub::names(&context, Topic::Shard, args, writer),
        C::PubSubNumSub => pubsub::counts(&context, Topic::Channel, args, writer),
        C::PubSubShardNumSub => pubsub::counts(&context, Topic::Shard, args, writer),
        C::PubSubNumPat => {
            writer.integer(shared.pubsub.registry().count(Topic::Pattern) as i64);
        }
        C::Container => {
            let name = spec.name;
            writer.error(&format!("ERR wrong number of arguments for '{name}' command"));
        }
    }
    audit::note(&context.session.client, spec, args, &out[start..]);
}

/// Whether a command has to wait for other members; [`run_and_wait`] carries it out then.
pub fn waits(command: ShellCommand, args: &[&[u8]]) -> bool {
    match command {
        ShellCommand::Exec
        | ShellCommand::Watch
        | ShellCommand::Save
        | ShellCommand::WaitAof
        | ShellCommand::Wait => true,
        command => scripts::waits(command) || config_waits(command, args),
    }
}

fn config_waits(command: ShellCommand, args: &[&[u8]]) -> bool {
    match command {
        ShellCommand::ConfigSet => config::set_waits(args),
        _ => false,
    }
}

/// Carries out a command that [`waits`] and appends its reply to `out`.
pub async fn run_and_wait(
    shared: &Shared,
    session: &mut Session,
    view: &View,
    spec: &'static Spec,
    args: &[&[u8]],
    out: &mut Vec<u8>,
) {
    if matches!(spec.run, Run::Shell(ShellCommand::Exec)) {
        return transactions::exec(shared, session, spec, out).await;
    }
    let writer = &mut Writer::new(out, session.protocol);
    if let Run::Shell(command) = spec.run
        && scripts::waits(command)
    {
        return scripts::run(shared, session.client.id, command, args, writer).await;
    }
    if matches!(spec.run, Run::Shell(ShellCommand::Watch)) {
        return transactions::watch(shared, session, args, writer).await;
    }
    if matches!(spec.run, Run::Shell(ShellCommand::Save)) {
        return persistence::save(shared, writer).await;
    }
    config::set_and_wait(&Context { shared, session, view }, args, writer).await;
}

/// Whether a command asks nothing of who calls it, so that a script may.
pub fn needs_no_client(command: ShellCommand) -> bool {
    use ShellCommand as C;
    matches!(
        command,
        C::Info
            | C::Command
            | C::Help
            | C::LastSave
            | C::WaitAof
            | C::Wait
            | C::Publish
            | C::SPublish
            | C::PubSubChannels
            | C::PubSubNumSub
            | C::PubSubNumPat
            | C::PubSubShardChannels
            | C::PubSubShardNumSub
            | C::ClusterShards
            | C::ClusterSlots
            | C::ClusterNodes
            | C::ClusterInfo
            | C::ClusterMyId
            | C::ClusterKeySlot
            | C::Stores
    )
}

/// The largest integer that a client may mean by a word, as Redis reads it: no sign but `-`, no
/// blanks, no leading zeros.
fn integer(word: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?;
    let n: i64 = text.parse().ok()?;
    (itoa::Buffer::new().format(n) == text).then_some(n)
}
