//! SUBSCRIBE and its kin, PUBLISH, SPUBLISH and PUBSUB.

use hypercache_core::command::{Run, ShellCommand, Spec};
use hypercache_core::resp::Writer;

use super::Context;
use crate::pubsub::{Subscriber, Target, Topic};

/// Whether a client that is subscribed and speaks RESP2 may run this.
///
/// # Errors
/// Redis's words for that it may not.
pub fn allowed_while_subscribed(spec: &Spec) -> Result<(), String> {
    use ShellCommand as C;
    match spec.run {
        Run::Shell(
            C::Subscribe
            | C::PSubscribe
            | C::SSubscribe
            | C::Unsubscribe
            | C::PUnsubscribe
            | C::SUnsubscribe
            | C::Ping
            | C::Quit
            | C::Reset,
        ) => Ok(()),
        _ => Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context",
            spec.name
        )),
    }
}

/// PING among messages: looks like one.
pub(super) fn ping(args: &[&[u8]], out: &mut Writer<'_>) {
    let message: &[u8] = match args {
        [_] => b"",
        [_, message] => message,
        _ => return out.error("ERR wrong number of arguments for 'ping' command"),
    };
    out.array(2);
    out.bulk(b"pong");
    out.bulk(message);
}

/// Subscribes to each name, and says so for each.
pub(super) fn subscribe(
    context: &mut Context<'_>,
    topic: Topic,
    args: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let word: &[u8] = match topic {
        Topic::Channel => b"subscribe",
        Topic::Pattern => b"psubscribe",
        Topic::Shard => b"ssubscribe",
    };
    let session = &mut *context.session;
    session.notices = true;
    let (client, protocol) = (session.client.clone(), session.protocol);
    let registry = context.shared.pubsub.registry();
    let subscriber = session
        .subscriber
        .get_or_insert_with(|| Box::new(Subscriber::new(registry.clone(), client)));
    for name in &args[1..] {
        subscriber.subscribe(topic, name);
        changed(&mut Writer::new(out, protocol), word, Some(name), subscriber.count(topic));
    }
}

/// Unsubscribes from each name, or from all of the kind, and says so for each.
pub(super) fn unsubscribe(
    context: &mut Context<'_>,
    topic: Topic,
    args: &[&[u8]],
    out: &mut Vec<u8>,
) {
    let word: &[u8] = match topic {
        Topic::Channel => b"unsubscribe",
        Topic::Pattern => b"punsubscribe",
        Topic::Shard => b"sunsubscribe",
    };
    let session = &mut *context.session;
    session.notices = true;
    let protocol = session.protocol;
    let all = match &session.subscriber {
        Some(subscriber) if args.len() == 1 => subscriber.names(topic),
        _ => Vec::new(),
    };
    let mut left = |name: &[u8]| {
        let mut count = 0;
        if let Some(subscriber) = &mut session.subscriber {
            subscriber.unsubscribe(topic, name);
            count = subscriber.count(topic);
        }
        changed(&mut Writer::new(out, protocol), word, Some(name), count);
    };
    args[1..].iter().for_each(|name| left(name));
    all.iter().for_each(|name| left(name));
    if args.len() == 1 && all.is_empty() {
        let count = session.subscriber.as_ref().map_or(0, |subscriber| subscriber.count(topic));
        changed(&mut Writer::new(out, protocol), word, None, count);
    }
}

fn changed(out: &mut Writer<'_>, word: &[u8], name: Option<&[u8]>, count: usize) {
    out.push(3);
    out.bulk(word);
    match name {
        Some(name) => out.bulk(name),
        None => out.null(),
    }
    out.integer(count as i64);
}

pub(super) fn publish(context: &Context<'_>, target: Target, args: &[&[u8]], out: &mut Writer<'_>) {
    let receivers = context.shared.pubsub.publish(context.view, target, args[1], args[2]);
    out.integer(receivers as i64);
}

/// PUBSUB CHANNELS and SHARDCHANNELS.
pub(super) fn names(context: &Context<'_>, topic: Topic, args: &[&[u8]], out: &mut Writer<'_>) {
    if args.len() > 3 {
        let word = String::from_utf8_lossy(args[1]);
        return out.error(&format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
            word.escape_debug()
        ));
    }
    let names = context.shared.pubsub.registry().names(topic, args.get(2).copied());
    out.array(names.len());
    names.iter().for_each(|name| out.bulk(name));
}

/// PUBSUB NUMSUB and SHARDNUMSUB.
pub(super) fn counts(context: &Context<'_>, topic: Topic, args: &[&[u8]], out: &mut Writer<'_>) {
    out.array((args.len() - 2) * 2);
    for name in &args[2..] {
        out.bulk(name);
        out.integer(context.shared.pubsub.registry().listeners(topic, name) as i64);
    }
}
