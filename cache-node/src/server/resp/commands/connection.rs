//! PING, HELLO, AUTH, SELECT and TIME.

use std::time::{SystemTime, UNIX_EPOCH};

use hypercache_core::resp::{Protocol, Writer};
use hypercache_core::store::StoreNumber;

use super::{Context, Shared, client, integer};
use crate::server::logins::shown_user;

/// The Redis version whose commands and replies these are; clients choose features by it.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

pub(super) fn ping(args: &[&[u8]], out: &mut Writer<'_>) {
    match args {
        [_] => out.simple("PONG"),
        [_, message] => out.bulk(message),
        _ => out.error("ERR wrong number of arguments for 'ping' command"),
    }
}

pub(super) fn time(out: &mut Writer<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    out.array(2);
    out.bulk(now.as_secs().to_string().as_bytes());
    out.bulk(now.subsec_micros().to_string().as_bytes());
}

/// Whether `user` and `password` are what the configuration asks for.
fn accepted(context: &Context<'_>, user: &[u8], password: &[u8]) -> bool {
    user == b"default"
        && match &context.shared.tunables.read().password {
            Some(wanted) => wanted.is(password),
            // As Redis's `nopass` user: any password will do when it is named.
            None => true,
        }
}

fn tell(context: &Context<'_>, command: &str, user: &[u8], is_let_in: bool) {
    let source = context.session.client.addr;
    context.shared.logins.tell(command, &shown_user(user), source, is_let_in);
}

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

pub(super) fn auth(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (user, password): (&[u8], &[u8]) = match args {
        [_, password] => {
            if context.shared.tunables.read().password.is_none() {
                return out.error(
                    "ERR AUTH <password> called without any password configured for the default user. \
                     Are you sure your configuration is correct?",
                );
            }
            (b"default", password)
        }
        [_, user, password] => (user, password),
        _ => return out.error("ERR syntax error"),
    };
    let is_let_in = accepted(context, user, password);
    tell(context, "auth", user, is_let_in);
    if is_let_in {
        context.session.set_authenticated(true);
        out.simple("OK");
    } else {
        out.error(WRONGPASS);
    }
}

pub(super) fn hello(context: &mut Context<'_>, args: &[&[u8]], out: &mut Vec<u8>) {
    let before = context.session.protocol;
    let refuse = |out: &mut Vec<u8>, text: &str| Writer::new(out, before).error(text);
    let mut protocol = before;
    let mut rest = &args[1..];
    if let Some((version, others)) = rest.split_first() {
        protocol = match integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return refuse(out, "NOPROTO unsupported protocol version"),
            None => return refuse(out, "ERR Protocol version is not an integer or out of range"),
        };
        rest = others;
    }
    let (mut shown, mut name) = (None, None);
    while let Some((option, others)) = rest.split_first() {
        rest = match others {
            [user, password, others @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                shown = Some((*user, *password));
                others
            }
            [label, others @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                if !client::is_label(label) {
                    return refuse(out, client::BAD_NAME);
                }
                name = Some(*label);
                others
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return refuse(out, &format!("ERR Syntax error in HELLO option '{option}'"));
            }
        };
    }
    if let Some((user, password)) = shown {
        let is_let_in = accepted(context, user, password);
        tell(context, "hello", user, is_let_in);
        if !is_let_in {
            return refuse(out, WRONGPASS);
        }
        context.session.set_authenticated(true);
    }
    if !context.session.authenticated {
        return refuse(
            out,
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
             the same time",
        );
    }
    if let Some(name) = name {
        context.session.client.labels.lock().name = name.to_vec();
    }
    context.session.set_protocol(protocol);
    let out = &mut Writer::new(out, protocol);
    // As Valkey tells those that read from the nearest member.
    let zone = context.view.myself().and_then(|member| member.zone.as_deref());
    out.map(7 + usize::from(zone.is_some()));
    out.bulk(b"server");
    out.bulk(b"redis");
    out.bulk(b"version");
    out.bulk(REDIS_VERSION.as_bytes());
    out.bulk(b"proto");
    out.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    out.bulk(b"id");
    out.integer(context.session.client.id as i64);
    out.bulk(b"mode");
    out.bulk(b"cluster");
    out.bulk(b"role");
    out.bulk(b"master");
    out.bulk(b"modules");
    out.array(0);
    if let Some(zone) = zone {
        out.bulk(b"availability_zone");
        out.bulk(zone.as_bytes());
    }
}

pub(super) fn select(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    match store_named(context.shared, args[1]) {
        Some(number) => {
            context.session.set_store(number);
            out.simple("OK");
        }
        None if integer(args[1]).is_some() => out.error("ERR DB index is out of range"),
        None => {
            let word = String::from_utf8_lossy(args[1]);
            out.error(&format!(
                "ERR no store is named '{}'; STORES lists those that are",
                word.escape_debug()
            ));
        }
    }
}

/// The store that a word says by its number or name.
pub(super) fn store_named(shared: &Shared, word: &[u8]) -> Option<StoreNumber> {
    let keyspace = shared.keyspace();
    match integer(word) {
        Some(number) => StoreNumber::try_from(number).ok().filter(|n| keyspace.has_store(*n)),
        None => {
            let policies = keyspace.policies();
            policies.iter().find(|p| p.name.as_bytes() == word).map(|p| p.number)
        }
    }
}
