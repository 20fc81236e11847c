//! CLIENT and its subcommands.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::resp::Writer;

use super::{Context, integer};
use crate::clock::now_ms;
use crate::router::Unblock;
use crate::server::resp::blocked;
use crate::server::resp::clients::Client;

pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// Whether a name keeps `CLIENT LIST` readable: visible ASCII without blanks.
pub(super) fn is_label(label: &[u8]) -> bool {
    label.iter().all(|b| (b'!'..=b'~').contains(b))
}

pub(super) fn get_name(context: &Context<'_>, out: &mut Writer<'_>) {
    let labels = context.session.client.labels.lock();
    if labels.name.is_empty() { out.null() } else { out.bulk(&labels.name) }
}

pub(super) fn set_name(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if !is_label(args[2]) {
        return out.error(BAD_NAME);
    }
    context.session.client.labels.lock().name = args[2].to_vec();
    out.simple("OK");
}

pub(super) fn set_info(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let option = args[2].to_ascii_lowercase();
    let known = matches!(&option[..], b"lib-name" | b"lib-ver");
    if !known {
        let option = String::from_utf8_lossy(args[2]);
        return out.error(&format!("ERR Unrecognized option '{}'", option.escape_debug()));
    }
    if !is_label(args[3]) {
        let option = String::from_utf8_lossy(&option);
        return out.error(&format!(
            "ERR {option} cannot contain spaces, newlines or special characters."
        ));
    }
    let mut labels = context.session.client.labels.lock();
    let label = if option == b"lib-name" { &mut labels.lib_name } else { &mut labels.lib_ver };
    *label = args[3].to_vec();
    out.simple("OK");
}

/// A kind of client, as `TYPE` names it.
#[derive(Clone, Copy)]
enum Kind {
    Normal,
    Subscriber,
    /// Masters and replicas: they are not clients here.
    Nobody,
}

impl Kind {
    fn takes(self, client: &Client) -> bool {
        match self {
            Self::Normal => !client.is_subscriber(),
            Self::Subscriber => client.is_subscriber(),
            Self::Nobody => false,
        }
    }
}

/// The kind of client that a word names.
fn kind(word: &[u8]) -> Result<Kind, String> {
    match &word.to_ascii_lowercase()[..] {
        b"normal" => Ok(Kind::Normal),
        b"pubsub" => Ok(Kind::Subscriber),
        b"master" | b"replica" | b"slave" => Ok(Kind::Nobody),
        _ => Err(format!(
            "ERR Unknown client type '{}'",
            String::from_utf8_lossy(word).escape_debug()
        )),
    }
}

pub(super) fn list(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let mut clients = context.shared.clients.all();
    match &args[2..] {
        [] => {}
        [option, word] if option.eq_ignore_ascii_case(b"TYPE") => match kind(word) {
            Ok(kind) => clients.retain(|client| kind.takes(client)),
            Err(text) => return out.error(&text),
        },
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let mut wanted = Vec::with_capacity(ids.len());
            for id in ids {
                match integer(id).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0) {
                    Some(id) => wanted.push(id),
                    None => return out.error("ERR Invalid client ID"),
                }
            }
            clients.retain(|c| wanted.contains(&c.id));
        }
        _ => return out.error("ERR syntax error"),
    }
    let now_ms = now_ms();
    let lines: Vec<u8> = clients.iter().flat_map(|c| c.line(now_ms)).collect();
    out.verbatim("txt", &lines);
}

/// What `CLIENT KILL` looks for.
struct Filter {
    id: Option<u64>,
    addr: Option<Vec<u8>>,
    laddr: Option<Vec<u8>>,
    kind: Option<Kind>,
    user: Option<Vec<u8>>,
    skip_me: bool,
    max_age_seconds: Option<u64>,
}

impl Filter {
    fn parse(options: &[&[u8]]) -> Result<Self, String> {
        let mut filter = Self {
            id: None,
            addr: None,
            laddr: None,
            kind: None,
            user: None,
            skip_me: true,
            max_age_seconds: None,
        };
        for pair in options.chunks(2) {
            let [option, value] = pair else { return Err("ERR syntax error".into()) };
            let number = || integer(value).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
            match &option.to_ascii_lowercase()[..] {
                b"id" => {
                    filter.id = Some(number().ok_or("ERR client-id should be greater than 0")?)
                }
                b"addr" => filter.addr = Some(value.to_vec()),
                b"laddr" => filter.laddr = Some(value.to_vec()),
                b"type" => filter.kind = Some(kind(value)?),
                b"user" if *value == b"default" => filter.user = Some(value.to_vec()),
                b"user" => {
                    return Err(format!(
                        "ERR No such user '{}'",
                        String::from_utf8_lossy(value).escape_debug()
                    ));
                }
                b"skipme" => {
                    filter.skip_me = match &value.to_ascii_lowercase()[..] {
                        b"yes" => true,
                        b"no" => false,
                        _ => return Err("ERR syntax error".into()),
                    }
                }
                b"maxage" => {
                    filter.max_age_seconds =
                        Some(number().ok_or("ERR maxage is not an integer or out of range")?);
                }
                _ => return Err("ERR syntax error".into()),
            }
        }
        Ok(filter)
    }

    fn takes(&self, client: &Client, now_ms: u64) -> bool {
        let is = |wanted: &Option<Vec<u8>>, addr: String| {
            wanted.as_ref().is_none_or(|w| *w == addr.into_bytes())
        };
        self.kind.is_none_or(|kind| kind.takes(client))
            && self.id.is_none_or(|id| id == client.id)
            && is(&self.addr, client.addr.to_string())
            && is(&self.laddr, client.laddr.to_string())
            && self
                .max_age_seconds
                .is_none_or(|s| now_ms.saturating_sub(client.created_ms) / 1000 >= s)
    }
}

/// CLIENT UNBLOCK client-id [TIMEOUT|ERROR]
pub(super) fn unblock(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let how = match args {
        [_, _, _] => Unblock::Timeout,
        [_, _, _, word] if word.eq_ignore_ascii_case(b"TIMEOUT") => Unblock::Timeout,
        [_, _, _, word] if word.eq_ignore_ascii_case(b"ERROR") => Unblock::Error,
        [_, _, _, _] => {
            return out.error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        _ => return out.error("ERR syntax error"),
    };
    let Some(id) = integer(args[2]) else {
        return out.error("ERR value is not an integer or out of range");
    };
    let client = u64::try_from(id).ok().and_then(|id| context.shared.clients.get(id));
    out.integer(client.is_some_and(|client| blocked::unblock(&client, how)).into());
}

pub(super) fn kill(context: &mut Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    // The old form, with an address alone, says OK or that there is none.
    let old = args.len() == 3;
    let filter = if old {
        Filter {
            skip_me: false,
            ..match Filter::parse(&[b"addr", args[2]]) {
                Ok(filter) => filter,
                Err(text) => return out.error(&text),
            }
        }
    } else {
        match Filter::parse(&args[2..]) {
            Ok(filter) => filter,
            Err(text) => return out.error(&text),
        }
    };
    let now_ms = now_ms();
    let me = context.session.client.id;
    let mut found: Vec<Arc<Client>> = context.shared.clients.all();
    found.retain(|c| filter.takes(c, now_ms) && !(filter.skip_me && c.id == me));
    for client in &found {
        if client.id == me {
            // It still gets its reply.
            context.session.closing = true;
        } else {
            client.kill();
        }
    }
    match (old, found.len()) {
        (true, 0) => out.error("ERR No such client"),
        (true, _) => out.simple("OK"),
        (false, n) => out.integer(n as i64),
    }
    context.session.client.last_ms.store(now_ms, Relaxed);
}
