//! CLIENT and its subcommands.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::resp::Writer;

use super::client_filter::Filter;
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

pub(super) fn list(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let filter = match Filter::parse(context, &args[2..], false) {
        Ok(filter) => filter,
        Err(text) => return out.error(&text),
    };
    let (now_ms, me) = (now_ms(), context.session.client.id);
    let mut clients = context.shared.clients.all();
    clients.retain(|client| filter.takes(client, me, now_ms));
    let lines: Vec<u8> = clients.iter().flat_map(|c| c.line(now_ms)).collect();
    out.verbatim("txt", &lines);
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
    let filter = match old {
        true => Filter::of_addr(args[2]),
        false => match Filter::parse(context, &args[2..], true) {
            Ok(filter) => filter,
            Err(text) => return out.error(&text),
        },
    };
    let now_ms = now_ms();
    let me = context.session.client.id;
    let mut found: Vec<Arc<Client>> = context.shared.clients.all();
    found.retain(|client| filter.takes(client, me, now_ms));
    for client in &found {
        if client.id == me {
            // It still gets its reply.
            context.session.closing = true;
        } else {
            client.kill();
            // It ends at its next wait; nobody sees it any more.
            context.shared.clients.leave(client.id);
        }
    }
    match (old, found.len()) {
        (true, 0) => out.error("ERR No such client"),
        (true, _) => out.simple("OK"),
        (false, n) => out.integer(n as i64),
    }
    context.session.client.last_ms.store(now_ms, Relaxed);
}

/// CLIENT CAPA: what is not known is no error, as in Valkey.
pub(super) fn capa(context: &Context<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    if args[2..].iter().any(|word| word.eq_ignore_ascii_case(b"redirect")) {
        context.session.client.can_redirect.store(true, Relaxed);
    }
    out.simple("OK");
}
